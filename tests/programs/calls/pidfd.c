/* pidfd_open(2), pidfd_send_signal(2), waitid(2) with P_PIDFD */
#include "show.h"
static long open_process(pid_t id, unsigned flags) { return syscall(SYS_pidfd_open, id, flags); }
static long send_signal(int fd, int signal, void *info, unsigned flags) {
    return syscall(SYS_pidfd_send_signal, fd, signal, info, flags);
}
int main(void) {
    siginfo_t info;
    SHOW(open_process(-1, 0));
    SHOW(open_process(99999, 0));
    SHOW(open_process(getpid(), 12345));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) for (;;) pause();
    int fd = open_process(child, 0);
    SHOW(fcntl(fd, F_GETFD));
    struct pollfd p = {.fd = fd, .events = POLLIN};
    SHOW(poll(&p, 1, 0));
    SHOW(send_signal(fd, 0, NULL, 0));
    SHOW(send_signal(fd, 99, NULL, 0));
    SHOW(send_signal(fd, SIGTERM, NULL, 99));
    SHOW(send_signal(0, SIGTERM, NULL, 0));
    SHOW(send_signal(fd, SIGTERM, NULL, 0));
    SHOW(poll(&p, 1, 5000));
    SHOW(p.revents);
    SHOW(waitid(P_PIDFD, fd, &info, WEXITED));
    SHOW(info.si_pid == child && info.si_status == SIGTERM && info.si_code == CLD_KILLED);
    SHOW(waitid(P_PIDFD, fd, &info, WEXITED));
    SHOW(send_signal(fd, SIGTERM, NULL, 0));
    SHOW(waitid(P_PIDFD, 99, &info, WEXITED));
    char byte;
    SHOW(read(fd, &byte, 1));
    /* clone3(2) gives one, too. */
    int given = -1;
    uint64_t wanted[11] = {0x1000, (uint64_t)&given, 0, 0, SIGCHLD};
    fflush(stdout);
    long id = syscall(SYS_clone3, wanted, 88);
    if (id == 0) _exit(3);
    SHOW(id > 0 && given > 2);
    SHOW(waitid(P_PIDFD, given, &info, WEXITED));
    SHOW(info.si_status);
}
