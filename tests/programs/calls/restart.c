/* Signals that come while a call waits no longer than till a moment, and those nobody wants: signal(7). */
#include "show.h"
#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/wait.h>
static volatile sig_atomic_t heard;
static void hear(int signal) {
    (void)signal;
    heard++;
}
int main(void) {
    struct sigaction act = {.sa_handler = hear, .sa_flags = SA_RESTART};
    MUST(sigaction(SIGALRM, &act, 0) == 0);
    struct itimerval often = {{0, 20000}, {0, 20000}}, never = {{0, 0}, {0, 0}};
    struct timespec wait = {0, 500000000};
    int word = 0, pair[2];
    char byte;
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    MUST(setitimer(ITIMER_REAL, &often, 0) == 0);
    SHOW(syscall(SYS_futex, &word, FUTEX_WAIT, 0, &wait, 0, 0));
    struct timeval most = {0, 500000};
    MUST(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most) == 0);
    SHOW(recv(pair[0], &byte, 1, 0));
    SHOW(read(pair[0], &byte, 1));
    /* Without a moment it is made again, and ends when something comes. */
    most.tv_usec = 0;
    MUST(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most) == 0);
    pid_t child = fork();
    MUST(child >= 0);
    if (child == 0) {
        struct timespec a_while = {0, 200000000};
        nanosleep(&a_while, 0);
        _exit(write(pair[1], "x", 1) != 1);
    }
    SHOW(recv(pair[0], &byte, 1, 0));
    SHOW(waitpid(child, 0, 0) == child);
    MUST(setitimer(ITIMER_REAL, &never, 0) == 0);
    printf("heard: %d\n", heard > 3);

    /* What is ignored by itself is not kept for who blocks it afterwards. */
    sigset_t wanted, waits;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGCHLD), sigaddset(&wanted, SIGURG), sigaddset(&wanted, SIGWINCH);
    siginfo_t info = {0};
    if ((child = fork()) == 0) _exit(0);
    SHOW(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    MUST(kill(getpid(), SIGURG) == 0 && kill(getpid(), SIGWINCH) == 0);
    MUST(sigprocmask(SIG_BLOCK, &wanted, 0) == 0 && sigpending(&waits) == 0);
    printf("wait: %d %d %d\n", sigismember(&waits, SIGCHLD), sigismember(&waits, SIGURG), sigismember(&waits, SIGWINCH));
    struct timespec now = {0, 0};
    SHOW(sigtimedwait(&wanted, 0, &now));
    MUST(kill(getpid(), SIGURG) == 0);
    SHOW(sigtimedwait(&wanted, 0, &now));
    SHOW(waitpid(child, 0, 0) == child);
}
