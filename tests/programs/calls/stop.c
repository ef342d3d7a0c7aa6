/* signal(7): stopping and continuing; waitpid(2), WUNTRACED, WCONTINUED */
#include "show.h"
static volatile int continued;
static void handler(int signal) { (void)signal; continued = 1; }
int main(void) {
    int status, ends[2];
    siginfo_t info;
    MUST(pipe(ends) == 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGCONT, handler);
        raise(SIGSTOP);
        write(ends[1], continued ? "c" : "n", 1);
        for (;;) pause();
    }
    SHOW(waitpid(child, &status, WUNTRACED) == child);
    show_end("child", status);
    SHOW(waitpid(child, &status, WUNTRACED | WNOHANG));
    SHOW(kill(child, SIGCONT));
    SHOW(waitpid(child, &status, WCONTINUED) == child);
    show_end("child", status);
    SHOW(kill(child, SIGSTOP));
    SHOW(waitpid(child, &status, WUNTRACED) == child);
    SHOW(kill(child, SIGUSR1));
    SHOW(waitpid(child, &status, WNOHANG));
    SHOW(kill(child, SIGCONT));
    SHOW(waitpid(child, &status, 0) == child);
    show_end("child", status);
    fflush(stdout);
    child = fork();
    if (child == 0) {
        for (;;) {}
    }
    SHOW(kill(child, SIGSTOP));
    SHOW(waitid(P_PID, child, &info, WSTOPPED));
    SHOW(info.si_code == CLD_STOPPED && info.si_status == SIGSTOP && info.si_pid == child);
    SHOW(kill(child, SIGCONT));
    SHOW(waitid(P_PID, child, &info, WCONTINUED));
    SHOW(info.si_code == CLD_CONTINUED && info.si_status == SIGCONT);
    SHOW(kill(child, SIGSTOP));
    SHOW(waitpid(child, &status, WUNTRACED) == child);
    SHOW(kill(child, SIGKILL));
    SHOW(waitpid(child, &status, 0) == child);
    show_end("killed while stopped", status);
    fflush(stdout);
    child = fork();
    if (child == 0) {
        signal(SIGTSTP, SIG_IGN);
        raise(SIGTSTP);
        exit(4);
    }
    SHOW(waitpid(child, &status, WUNTRACED) == child);
    show_end("ignored", status);
    /* A wait goes on behind a stop. */
    MUST(pipe(ends) == 0);
    fflush(stdout);
    child = fork();
    if (child == 0) {
        char byte;
        close(ends[1]);
        exit(read(ends[0], &byte, 1) == 1 ? 8 : 9);
    }
    kill(child, SIGSTOP);
    waitpid(child, &status, WUNTRACED);
    show_end("reader", status);
    write(ends[1], "x", 1);
    SHOW(waitpid(child, &status, WNOHANG));
    kill(child, SIGCONT);
    waitpid(child, &status, 0);
    show_end("reader", status);
}
