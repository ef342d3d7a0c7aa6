/* signalfd(2) */
#include "show.h"
#include <sys/signalfd.h>
int main(void) {
    sigset_t set;
    struct signalfd_siginfo got[2];
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    SHOW(signalfd(-1, &set, 12345));
    SHOW(signalfd(99, &set, 0));
    SHOW(signalfd(0, &set, 0));
    int s = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    SHOW(read(s, got, sizeof got));
    SHOW(read(s, got, 4));
    kill(getpid(), SIGUSR1);
    struct pollfd p = {.fd = s, .events = POLLIN};
    SHOW(poll(&p, 1, 1000));
    SHOW(read(s, got, sizeof got) / (long)sizeof *got);
    SHOW(got[0].ssi_signo == SIGUSR1 && got[0].ssi_pid == (unsigned)getpid() && got[0].ssi_uid == getuid());
    SHOW(got[0].ssi_code);
    sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 99});
    SHOW(read(s, got, sizeof got) / (long)sizeof *got);
    SHOW(got[0].ssi_int);
    SHOW(got[0].ssi_code);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) _exit(6);
    SHOW(poll(&p, 1, 5000));
    SHOW(read(s, got, sizeof got) / (long)sizeof *got);
    SHOW(got[0].ssi_signo == SIGCHLD && got[0].ssi_pid == (unsigned)child && got[0].ssi_code == CLD_EXITED);
    SHOW(got[0].ssi_status);
    wait(NULL);
    sigemptyset(&set);
    SHOW(signalfd(s, &set, 0) == s);
    kill(getpid(), SIGUSR1);
    SHOW(poll(&p, 1, 0));
    SHOW(write(s, got, 8));
}
