/* fork(2), wait(2), waitid(2), _exit(2) */
#include "show.h"
#include <sys/resource.h>
int main(void) {
    int status;
    siginfo_t info;
    SHOW(wait(&status));
    SHOW(waitpid(-1, &status, WNOHANG));
    SHOW(waitpid(99999, &status, 0));
    SHOW(waitpid(-1, &status, 0x12345000));
    SHOW(waitid(P_ALL, 0, &info, 0));
    SHOW(waitid(99, 0, &info, WEXITED));
    CHILD("exit 0", exit(0));
    CHILD("exit 300", _exit(300));
    CHILD("SIGKILL", kill(getpid(), SIGKILL));
    int ends[2];
    MUST(pipe(ends) == 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        char byte;
        close(ends[1]);
        read(ends[0], &byte, 1);
        _exit(7);
    }
    SHOW(waitpid(child, &status, WNOHANG));
    memset(&info, 1, sizeof info);
    SHOW(waitid(P_PID, child, &info, WEXITED | WNOHANG));
    SHOW(info.si_pid);
    close(ends[1]);
    SHOW(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    SHOW(info.si_pid == child && info.si_code == CLD_EXITED && info.si_signo == SIGCHLD && info.si_uid == getuid());
    SHOW(info.si_status);
    struct rusage used;
    SHOW(wait4(child, &status, 0, &used) == child);
    show_end("child", status);
    SHOW(waitpid(child, &status, 0));
    fflush(stdout);
    child = fork();
    if (child == 0) raise(SIGABRT);
    SHOW(waitid(P_ALL, 0, &info, WEXITED));
    SHOW(info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED);
    SHOW(info.si_status);
    signal(SIGCHLD, SIG_IGN);
    if (fork() == 0) _exit(1);
    SHOW(wait(&status));
    signal(SIGCHLD, SIG_DFL);
    for (int i = 0; i < 8; i++) if (fork() == 0) _exit(i);
    int sum = 0, count = 0;
    while (wait(&status) > 0) sum += WEXITSTATUS(status), count++;
    printf("%d children, %d\n", count, sum);
    /* A grandchild has another parent when its own is gone. */
    MUST(pipe(ends) == 0);
    if (fork() == 0) {
        pid_t parent = getpid();
        if (fork() == 0) {
            while (getppid() == parent) sched_yield();
            write(ends[1], "orphan\n", 7);
            _exit(0);
        }
        _exit(0);
    }
    wait(NULL);
    close(ends[1]);
    char text[16];
    long length = read(ends[0], text, sizeof text);
    printf("%.*s", (int)length, text);
    pid_t vforked = vfork();
    if (vforked == 0) _exit(9);
    SHOW(waitpid(vforked, &status, 0) == vforked);
    show_end("vfork", status);
    SHOW(waitpid(-getpgrp(), &status, 0));
}
