/* What belongs to processes, captured and gone on from, one case for each first argument. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int marker(void) { return prctl(0x52464e47, 0, 0, 0, 0); }

static long long now(int clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static long long asked(int clock) {
    struct timespec time;
    syscall(SYS_clock_gettime, clock, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static volatile sig_atomic_t rung;
static void ring(int signal) { rung = signal; }

static int fail(const char *what) {
    printf("%s: %s\n", what, strerror(errno));
    return 1;
}

static int processes(void) {
    char name[16] = "", text[32] = "";
    struct rlimit limit = {100, 200};
    prctl(PR_SET_NAME, "renamed");
    prctl(PR_SET_PDEATHSIG, SIGUSR2);
    prctl(PR_SET_DUMPABLE, 0);
    if (nice(3) != 3 || setrlimit(RLIMIT_NOFILE, &limit)) return fail("nice");
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigaddset(&blocked, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &blocked, 0);
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 7});
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 8});
    syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1);
    if (mkfifo("/tmp/fifo", 0600)) return fail("mkfifo");
    struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "/tmp/name"};
    int server = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(server, (void *)&at, sizeof at) || close(server)) return fail("bind");
    int both = open("/tmp/fifo", O_RDWR);
    if (write(both, "through", 7) != 7) return fail("/tmp/fifo");
    pid_t stopped = fork();
    if (!stopped) {
        setsid();
        raise(SIGSTOP);
        _exit(9);
    }
    siginfo_t info;
    if (waitid(P_PID, stopped, &info, WSTOPPED | WNOWAIT)) return fail("waitid");
    pid_t grouped = fork();
    if (!grouped) {
        for (;;) pause();
    }
    setpgid(grouped, grouped);
    pid_t gone = fork();
    if (!gone) _exit(4);
    int of_gone = syscall(SYS_pidfd_open, gone, 0), of_grouped = syscall(SYS_pidfd_open, grouped, 0), status;
    waitpid(gone, &status, 0);
    struct itimerval busy = {.it_value = {0, 20000}};
    signal(SIGVTALRM, ring);
    setitimer(ITIMER_VIRTUAL, &busy, 0);
    long long used = now(CLOCK_PROCESS_CPUTIME_ID), mine = now(CLOCK_THREAD_CPUTIME_ID);
    int clone = marker();
    if (now(CLOCK_PROCESS_CPUTIME_ID) < used || now(CLOCK_THREAD_CPUTIME_ID) < mine) return puts("used less");
    struct stat node;
    server = socket(AF_UNIX, SOCK_STREAM, 0);
    if (stat("/tmp/name", &node) || !S_ISSOCK(node.st_mode)) return fail("/tmp/name");
    if (!bind(server, (void *)&at, sizeof at) || errno != EADDRINUSE || unlink("/tmp/name")) return puts("free");
    if (bind(server, (void *)&at, sizeof at) || close(server)) return fail("bind");
    struct rlimit limits;
    getrlimit(RLIMIT_NOFILE, &limits);
    prctl(PR_GET_NAME, name);
    int at_end = 0;
    prctl(PR_GET_PDEATHSIG, &at_end);
    printf("%d %s %d %d %d %d %d", clone, name, getpriority(PRIO_PROCESS, 0), (int)limits.rlim_cur,
           (int)limits.rlim_max, at_end, prctl(PR_GET_DUMPABLE));
    printf(" %d", dup2(0, 150));
    for (int i = 0; i < 3; i++) {
        sigwaitinfo(&blocked, &info);
        printf(" %d:%d", info.si_code, info.si_code == SI_QUEUE ? info.si_value.sival_int : info.si_pid == getpid());
    }
    int other = open("/tmp/fifo", O_RDONLY | O_NONBLOCK);
    read(other, text, sizeof text - 1);
    printf(" %s", text);
    waitpid(stopped, &status, WUNTRACED);
    printf(" %d %d", WIFSTOPPED(status), getsid(stopped) == stopped && getsid(0) != stopped);
    kill(stopped, SIGCONT);
    waitpid(stopped, &status, 0);
    printf(" %d %d", WEXITSTATUS(status), getpgid(grouped) == grouped);
    struct pollfd ends[2] = {{of_gone, POLLIN, 0}, {of_grouped, POLLIN, 0}};
    int ready = poll(ends, 2, 0);
    printf(" %d%d", ready, ends[0].revents == POLLIN);
    syscall(SYS_pidfd_send_signal, of_grouped, SIGTERM, 0, 0);
    waitid(P_PIDFD, of_grouped, &info, WEXITED);
    printf(" %d", info.si_status);
    while (!rung) {}
    printf(" %d\n", rung == SIGVTALRM);
    return 0;
}

static int line[2];
static void *named(void *ready) {
    char byte;
    prctl(PR_SET_NAME, "second");
    prctl(PR_SET_TIMERSLACK, 70000);
    write(*(int *)ready, "x", 1);
    read(line[0], &byte, 1);
    printf("%d ", prctl(PR_GET_TIMERSLACK));
    return NULL;
}

static const char *said(const char *file, const char *key) {
    static char found[128];
    char text[128];
    FILE *opened = fopen(file, "r");
    found[0] = 0;
    while (opened && fgets(text, sizeof text, opened)) {
        if (strncmp(text, key, strlen(key))) continue;
        strcpy(found, text + strlen(key));
        found[strcspn(found, "\n")] = 0;
        break;
    }
    if (opened) fclose(opened);
    return found;
}

/* What a program said of itself and of its memory. */
static int told(void) {
    char byte, path[64];
    int ready[2], f = open("/proc/self/oom_score_adj", O_WRONLY);
    if (write(f, "700", 3) != 3 || pipe(line) || pipe(ready)) return fail("oom_score_adj");
    personality(ADDR_NO_RANDOMIZE);
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    char *memory = mmap(0, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(memory, 5, 16384);
    if (madvise(memory, 4096, MADV_WIPEONFORK) || mlock(memory + 4096, 8192)) return fail("mlock");
    pthread_t thread;
    pthread_create(&thread, NULL, named, ready + 1);
    read(ready[0], &byte, 1);
    struct dirent *entry;
    pid_t other = 0;
    DIR *threads = opendir("/proc/self/task");
    while ((entry = readdir(threads))) if (atoi(entry->d_name) > 0 && atoi(entry->d_name) != getpid()) other = atoi(entry->d_name);
    closedir(threads);
    int clone = marker();
    snprintf(path, sizeof path, "/proc/self/task/%d/comm", other);
    printf("%d %s ", clone, said(path, ""));
    printf("%s %x ", said("/proc/self/oom_score_adj", ""), personality(0xffffffff));
    printf("%d %d ", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), atoi(said("/proc/self/status", "VmLck:")));
    fflush(stdout);
    pid_t child = fork();
    if (!child) _exit(memory[0] * 16 + memory[4096]);
    int status;
    waitpid(child, &status, 0);
    write(line[1], "x", 1);
    pthread_join(thread, NULL);
    printf("%d\n", WEXITSTATUS(status));
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "processes")) return processes();
    if (!strcmp(what, "told")) return told();
    if (!strcmp(what, "clocks")) {
        /* However often it is captured meanwhile: time is one, and never goes back. */
        long long began = now(CLOCK_MONOTONIC), last = began, wall = now(CLOCK_REALTIME);
        for (int i = 0; i < 20000 || last - began < 400000000; i++) {
            long long shown = now(CLOCK_MONOTONIC);
            if (shown < last) return printf("back by %lld\n", last - shown);
            last = shown;
            if (i % 64) continue;
            shown = asked(CLOCK_MONOTONIC);
            if (shown < last) return printf("behind by %lld\n", last - shown);
            last = shown;
        }
        long long apart = (now(CLOCK_REALTIME) - wall) - (now(CLOCK_MONOTONIC) - began);
        printf("%s\n", llabs(apart) < 50000000 ? "right" : "two clocks");
        return 0;
    }
    if (!strcmp(what, "terminal")) {
        if (open("/dev/ptmx", O_RDWR | O_NOCTTY) < 0) return fail("/dev/ptmx");
        marker();
        puts("went on");
        return 0;
    }
    if (!strcmp(what, "semget") || !strcmp(what, "msgget")) {
        int id = *what == 's' ? semget(IPC_PRIVATE, 1, 0600) : msgget(IPC_PRIVATE, 0600);
        if (id < 0) return fail(what);
        marker();
        puts("went on");
        return 0;
    }
    return 2;
}
