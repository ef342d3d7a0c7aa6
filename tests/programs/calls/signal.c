/* sigaction(2), sigprocmask(2), sigqueue(3), sigtimedwait(2), sigsuspend(2) */
#include "show.h"
static volatile int seen, depth, deepest, order[16];
static volatile siginfo_t last;
static void plain(int signal) { order[seen++ % 16] = signal; }
static void told(int signal, siginfo_t *info, void *context) {
    (void)context;
    *(siginfo_t *)&last = *info;
    order[seen++ % 16] = signal;
}
static void again(int signal) {
    if (++depth > deepest) deepest = depth;
    if (depth < 3) raise(signal);
    depth--;
}
static void on(int signal, void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    MUST(sigaction(signal, &action, NULL) == 0);
}
int main(void) {
    struct sigaction action = {.sa_sigaction = told, .sa_flags = SA_SIGINFO}, old;
    sigset_t set, before;
    SHOW(sigaction(SIGKILL, &action, NULL));
    SHOW(sigaction(SIGSTOP, NULL, &old));
    SHOW(sigaction(0, NULL, &old));
    SHOW(sigaction(65, &action, NULL));
    SHOW(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4));
    SHOW(sigaction(SIGUSR1, &action, NULL));
    SHOW(sigaction(SIGUSR1, NULL, &old));
    SHOW((old.sa_flags & ~0x04000000) == SA_SIGINFO && old.sa_sigaction == told);
    SHOW(kill(getpid(), SIGUSR1));
    SHOW(last.si_signo);
    SHOW(last.si_code == SI_USER && last.si_pid == getpid() && last.si_uid == getuid());
    SHOW(raise(SIGUSR1));
    SHOW(last.si_code == SI_TKILL && last.si_pid == getpid());
    SHOW(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 4711}));
    SHOW(last.si_code == SI_QUEUE ? last.si_value.sival_int : -2);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGRTMIN);
    SHOW(sigprocmask(SIG_BLOCK, &set, &before));
    SHOW(sigismember(&before, SIGUSR1));
    SHOW(sigprocmask(99, &set, NULL));
    SHOW(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NOWHERE, NULL, 8));
    seen = 0;
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR1);
    SHOW(seen);
    sigset_t waiting;
    SHOW(sigpending(&waiting));
    SHOW(sigismember(&waiting, SIGUSR1) * 10 + sigismember(&waiting, SIGUSR2));
    SHOW(sigprocmask(SIG_SETMASK, &before, NULL));
    SHOW(seen);
    /* Signals of real time are queued, with their values in order. */
    sigaction(SIGRTMIN, &action, NULL);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < 4; i++) sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i});
    sigset_t real;
    sigemptyset(&real);
    sigaddset(&real, SIGRTMIN);
    siginfo_t info;
    for (int i = 0; i < 4; i++) {
        int got = sigtimedwait(&real, &info, &(struct timespec){1, 0});
        printf("took %s %d\n", got == SIGRTMIN ? "SIGRTMIN" : "?", info.si_value.sival_int);
    }
    SHOW(sigtimedwait(&real, &info, &(struct timespec){0, 1000000}));
    SHOW(sigtimedwait(&real, &info, &(struct timespec){0, 2000000000}));
    kill(getpid(), SIGUSR2);
    sigset_t two;
    sigemptyset(&two);
    sigaddset(&two, SIGUSR2);
    SHOW(sigwaitinfo(&two, &info) == SIGUSR2 && info.si_pid == getpid());
    seen = 0;
    kill(getpid(), SIGUSR1);
    SHOW(sigsuspend(&before));
    SHOW(seen);
    SHOW(sigprocmask(SIG_SETMASK, NULL, &waiting));
    SHOW(sigismember(&waiting, SIGUSR1));
    sigprocmask(SIG_SETMASK, &before, NULL);
    on(SIGUSR2, again, SA_NODEFER);
    raise(SIGUSR2);
    SHOW(deepest);
    on(SIGUSR2, plain, SA_RESETHAND);
    raise(SIGUSR2);
    SHOW(sigaction(SIGUSR2, NULL, &old));
    SHOW(old.sa_handler == SIG_DFL);
    on(SIGUSR2, SIG_IGN, 0);
    SHOW(raise(SIGUSR2));
    /* A call that is interrupted, and one that goes on. */
    int ends[2];
    char byte;
    MUST(pipe(ends) == 0);
    on(SIGALRM, plain, 0);
    ualarm(20000, 20000);
    SHOW(read(ends[0], &byte, 1));
    ualarm(0, 0);
    on(SIGALRM, plain, SA_RESTART);
    fflush(stdout);
    int before_that = seen;
    if (fork() == 0) {
        asleep(getppid());
        kill(getppid(), SIGALRM);
        asleep(getppid());
        write(ends[1], "x", 1);
        exit(0);
    }
    SHOW(read(ends[0], &byte, 1));
    SHOW(seen - before_that);
    while (wait(NULL) < 0 && errno == EINTR) {}
    SHOW(kill(99999, 0));
    SHOW(kill(getpid(), 65));
    SHOW(kill(getpid(), 0));
    SHOW(syscall(SYS_tgkill, getpid(), 99999, 0));
    SHOW(syscall(SYS_tgkill, -1, getpid(), 0));
    CHILD("abort", abort());
    CHILD("SIGTERM", raise(SIGTERM));
    CHILD("SIGCHLD is ignored", raise(SIGCHLD));
    CHILD("blocked kill", sigfillset(&set); sigprocmask(SIG_BLOCK, &set, NULL); kill(getpid(), SIGKILL));
}
