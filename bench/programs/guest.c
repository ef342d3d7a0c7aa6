/* What the benchmarks of level microvm run, by the first argument. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

#define LOOP(name, times, body)                                     \
    do {                                                            \
        double best = 1e18;                                         \
        for (int round = 0; round < 7; round++) {                   \
            double began = now();                                   \
            for (int i = 0; i < (times); i++) { body; }             \
            double took = (now() - began) / (times);                \
            if (took < best) best = took;                           \
        }                                                           \
        printf("%s %.1f\n", name, best);                            \
    } while (0)

static int loops(void) {
    static char page[4096];
    const size_t size = 128 << 20;
    volatile unsigned long sum = 0;
    LOOP("processor", 20, for (unsigned long j = 0; j < 300000; j++) sum += j * j);
    char *memory = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 2;
    double began = now();
    for (size_t at = 0; at < size; at += 4096) memory[at] = 1;
    printf("first touch of a page %.1f\n", (now() - began) / (size / 4096));
    LOOP("memory in order", 1, for (size_t at = 0; at < size; at += 64) sum += memory[at]);
    unsigned where = 1;
    LOOP("memory at random", 1, for (int j = 0; j < 2000000; j++) {
        where = where * 1664525 + 1013904223;
        sum += memory[where % size];
    });
    LOOP("clock_gettime", 1000, now());
    LOOP("getpid", 500, syscall(SYS_getpid));
    int file = open("/usr/bin/env", O_RDONLY);
    if (file >= 0) LOOP("read of 4 KiB", 300, if (pread(file, page, sizeof page, 0) < 0) return 3);
    int there[2], back[2];
    char byte = 1;
    if (pipe(there) || pipe(back)) return 4;
    pid_t child = fork();
    if (child == 0) {
        close(there[1]);
        while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1) {}
        _exit(0);
    }
    LOOP("there and back through pipes", 200, if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) return 5);
    close(there[1]);
    waitpid(child, NULL, 0);
    return 0;
}

static int idle(void) {
    sigset_t set;
    int signal;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    sigwait(&set, &signal);
    return 7;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "hello";
    if (!strcmp(what, "loops")) return loops();
    if (!strcmp(what, "idle")) return idle();
    if (!strcmp(what, "spin")) for (volatile unsigned long i = 0;; i++) {}
    puts("hello");
    if (getpid() == 1 && getppid() == 0) {
        /* The first program of a machine. */
        fflush(stdout);
        reboot(RB_AUTOBOOT);
    }
    return 0;
}
