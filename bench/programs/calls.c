/* Times loops of system calls: prints a name and the nanoseconds of a round, a line each. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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

int main(void) {
    static char page[4096];
    struct stat found;
    int file = open("/usr/bin/env", O_RDONLY);
    if (file < 0) return 1;
    volatile unsigned long sum = 0;
    LOOP("processor", 20, for (unsigned long j = 0; j < 300000; j++) sum += j * j);
    LOOP("getpid", 200000, syscall(SYS_getpid));
    LOOP("pread of 4 KiB", 100000, if (pread(file, page, sizeof page, 0) < 0) return 2);
    LOOP("open and close", 30000, int fd = open("/usr/bin/env", O_RDONLY); close(fd));
    LOOP("stat", 50000, if (stat("/usr/bin/env", &found)) return 3);
    LOOP("mmap and munmap", 30000, munmap(mmap(0, 65536, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 65536));
    return 0;
}
