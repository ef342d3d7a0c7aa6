/* What a hostile program tries, one thing for each first argument. Prints what came of it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static int is(const char *a, const char *b) { return strcmp(a, b) == 0; }

static char *fill(size_t bytes) {
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) exit(3);
    memset(memory, 1, bytes);
    return memory;
}

static void write_all(int fd, size_t bytes) {
    static char page[65536];
    memset(page, 1, sizeof page);
    while (bytes > 0) {
        ssize_t n = write(fd, page, bytes < sizeof page ? bytes : sizeof page);
        if (n <= 0) exit(4);
        bytes -= (size_t)n;
    }
}

/* Takes about 64 MiB in one way or another. */
static int take(const char *way) {
    const size_t much = 64u << 20;
    if (is(way, "cow")) { /* the same pages in many processes, then written */
        const size_t part = 8u << 20;
        char *memory = fill(part);
        for (int i = 0; i < 8; i++)
            if (fork() == 0) {
                memset(memory, 2, part);
                pause();
            }
        pause();
    } else if (is(way, "memfd")) {
        write_all(memfd_create("x", 0), much);
    } else if (is(way, "shm")) {
        write_all(open("/dev/shm/x", O_CREAT | O_WRONLY, 0600), much);
    } else if (is(way, "pipes")) {
        for (int i = 0; i < 600; i++) {
            int ends[2];
            if (pipe2(ends, O_NONBLOCK)) return 5;
            fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
            char page[65536];
            memset(page, 1, sizeof page);
            while (write(ends[1], page, sizeof page) > 0) {}
        }
    } else if (is(way, "sockets")) {
        for (int i = 0; i < 2000; i++) {
            int ends[2];
            if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends)) return 5;
            char page[65536];
            memset(page, 1, sizeof page);
            while (write(ends[1], page, sizeof page) > 0) {}
        }
    } else if (is(way, "udp")) { /* what was received and not read, in sockets that send to themselves */
        static char datagram[60000];
        for (int i = 0; i < 600; i++) {
            struct sockaddr_in at = {.sin_family = AF_INET};
            socklen_t length = sizeof at;
            int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), most = 1 << 24;
            if (fd < 0 || bind(fd, (void *)&at, length) || getsockname(fd, (void *)&at, &length)) return 5;
            at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &most, sizeof most);
            for (int k = 0; k < 16; k++) sendto(fd, datagram, sizeof datagram, 0, (void *)&at, length);
        }
        pause();
    } else if (is(way, "tables")) { /* one page in each 2 MiB: the page tables are what costs */
        const size_t step = 2u << 20;
        for (size_t i = 0; i < 40000; i++) {
            char *at = mmap(NULL, step, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (at == MAP_FAILED) return 5;
            madvise(at, step, MADV_NOHUGEPAGE);
            *(volatile char *)at; /* the zero page: nothing but its table is taken */
        }
    } else if (is(way, "many")) { /* many small processes */
        for (int i = 0; i < 4000; i++) {
            pid_t pid = fork();
            if (pid < 0) break;
            if (pid == 0) {
                fill(64u << 10);
                pause();
            }
        }
        pause();
    } else if (is(way, "shared")) {
        memset(mmap(NULL, much, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), 1, much);
    }
    return 0;
}

static void *sleeper(void *nothing) {
    pause();
    return nothing;
}

static int descriptors(int count) {
    for (int i = 0; i < count; i++)
        if (dup(0) < 0) {
            printf("%s after %d\n", strerror(errno), i);
            fflush(stdout);
            pause();
        }
    return 0;
}

/* In a thread: holds so many descriptors, and lives on when the first thread has ended. */
static int holder(void *most) {
    for (int i = 0; i < *(int *)most; i++)
        if (syscall(SYS_dup, 0) < 0) break;
    for (;;) syscall(SYS_pause);
}

/* Starts it by hand: with the table of descriptors of this thread, or with one of its own. */
static void start_holder(int *most, int flags) {
    char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int thread = CLONE_VM | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    if (clone(holder, stack + 65536, thread | flags, most) >= 0) return;
    printf("refused\n");
    exit(0);
}

/* Appends so many bytes to a file, one by one. */
static void step(int fd, int times) {
    for (int i = 0; i < times; i++)
        if (write(fd, "x", 1) != 1) exit(6);
}

static int steps(const char *path, int times, int children) {
    int fd = open(path, O_CREAT | O_WRONLY | O_APPEND, 0600);
    if (fd < 0) return 7;
    if (children == 0) {
        step(fd, times);
        return 0;
    }
    signal(SIGCHLD, SIG_IGN); /* the kernel forgets what they used */
    for (int i = 0; i < children; i++)
        if (fork() == 0) {
            step(fd, times);
            kill(getpid(), SIGKILL);
        }
    while (wait(NULL) > 0) {}
    return 0;
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "";
    if (is(what, "memory")) {
        fill((size_t)atol(words[2]));
        return 0;
    }
    if (is(what, "take")) return take(words[2]);
    if (is(what, "threads")) {
        for (int i = 0; i < atoi(words[2]); i++) {
            pthread_t thread;
            if (pthread_create(&thread, NULL, sleeper, NULL)) break;
        }
        pause();
    }
    if (is(what, "descriptors")) return descriptors(atoi(words[2]));
    if (is(what, "descriptors-of-many")) {
        for (int i = 0; i < atoi(words[2]); i++)
            if (fork() == 0) {
                descriptors(atoi(words[3]));
                pause();
            }
        pause();
    }
    if (is(what, "tables-of-threads")) { /* how many threads, how many descriptors each has for itself */
        int most = atoi(words[3]);
        for (int i = 0; i < atoi(words[2]); i++) start_holder(&most, 0);
        pause();
    }
    if (is(what, "first-threads-gone")) { /* how many processes, how many descriptors of their second threads */
        int most = atoi(words[3]);
        for (int i = 0; i < atoi(words[2]); i++)
            if (fork() == 0) {
                start_holder(&most, CLONE_FILES);
                syscall(SYS_exit, 0);
            }
        pause();
    }
    if (is(what, "steps")) return steps(words[2], atoi(words[3]), 0);
    if (is(what, "steps-of-children")) return steps(words[2], atoi(words[4]), atoi(words[3]));
    if (is(what, "exits")) { /* how many processes sleep, how many end beside them, with ten descriptors each */
        for (int i = 0; i < atoi(words[2]); i++)
            if (fork() == 0) {
                pause();
                _exit(0);
            }
        for (int i = 0; i < atoi(words[3]); i++) {
            pid_t child = vfork();
            if (child < 0) return 5;
            if (child == 0) {
                for (int k = 0; k < 10; k++) dup(0);
                _exit(0);
            }
            waitpid(child, NULL, 0);
        }
        return 0;
    }
    fprintf(stderr, "unknown: %s\n", what);
    return 99;
}
