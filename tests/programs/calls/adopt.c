/* prctl(2): adopting the children of descendants, and what else a process says of itself */
#include "show.h"
#include <sys/prctl.h>
int main(void) {
    int adopts = -1;
    SHOW(prctl(PR_GET_CHILD_SUBREAPER, &adopts)); printf("%d\n", adopts);
    SHOW(prctl(PR_SET_CHILD_SUBREAPER, 1));
    SHOW(prctl(PR_GET_CHILD_SUBREAPER, &adopts)); printf("%d\n", adopts);
    SHOW(prctl(PR_GET_CHILD_SUBREAPER, NOWHERE));
    CHILD("not inherited", { prctl(PR_GET_CHILD_SUBREAPER, &adopts); exit(adopts); });
    int go[2], come[2];
    MUST(pipe(go) == 0 && pipe(come) == 0);
    pid_t me = getpid(), child = fork();
    if (child == 0) {
        if (fork() == 0) {
            char byte;
            read(go[0], &byte, 1);
            byte = getppid() == me;
            write(come[1], &byte, 1);
            _exit(5);
        }
        _exit(3);
    }
    int status;
    MUST(waitpid(child, &status, 0) == child);
    show_end("child", status);
    MUST(write(go[1], "x", 1) == 1);
    char mine = 0;
    MUST(read(come[0], &mine, 1) == 1);
    printf("adopted %d\n", mine);
    MUST(wait(&status) > 0);
    show_end("orphan", status);
    /* One that is over already when its parent ends. */
    child = fork();
    if (child == 0) {
        pid_t over = fork();
        if (over == 0) _exit(7);
        siginfo_t info;
        waitid(P_PID, over, &info, WEXITED | WNOWAIT);
        _exit(0);
    }
    MUST(waitpid(child, &status, 0) == child);
    MUST(wait(&status) > 0);
    show_end("orphan that was over", status);
    SHOW(wait(&status));
    SHOW(prctl(PR_SET_TIMERSLACK, 70000));
    SHOW(prctl(PR_GET_TIMERSLACK));
    CHILD("slack is inherited", SHOW(prctl(PR_GET_TIMERSLACK)));
    SHOW(prctl(PR_SET_TIMERSLACK, 0));
    SHOW(prctl(PR_SET_TIMING, 1));
    SHOW(prctl(PR_GET_TIMING));
    SHOW(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
    SHOW(prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0));
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0));
    SHOW(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    SHOW(prctl(PR_SET_KEEPCAPS, 2));
    SHOW(prctl(PR_CAPBSET_READ, 99));
    SHOW(prctl(PR_GET_TID_ADDRESS, NOWHERE));
    int counter = 0;
    SHOW(prctl(PR_GET_TSC, &counter)); printf("%d\n", counter);
    SHOW(prctl(PR_GET_SECCOMP));
    SHOW(prctl(9999));
}
