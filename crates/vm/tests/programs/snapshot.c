/* Programs that are captured, one for each first argument. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* "RFNG": 1 in an instance that goes on from here. */
static int marker(void) { return prctl(0x52464e47, 0, 0, 0, 0); }

static long long now(int clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static volatile sig_atomic_t rung;
static void ring(int signal) { rung = signal; }

static int pipes[2], event, turns;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static _Thread_local double own;

static void *wait_for_turn(void *number) {
    own = (double)(intptr_t)number + 0.5;
    pthread_mutex_lock(&lock);
    while (turns < (intptr_t)number) pthread_cond_wait(&changed, &lock);
    turns += own == (double)(intptr_t)number + 0.5;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return 0;
}

static int fail(const char *what) {
    printf("%s: %s\n", what, strerror(errno));
    return 1;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "hello";
    if (!strcmp(what, "hello")) {
        puts("hello");
    } else if (!strcmp(what, "registers")) {
        /* What is in vector registers and in memory across the marker. */
        volatile double values[64];
        double sum = 0;
        for (int i = 0; i < 64; i++) values[i] = i / 3.0;
        for (int i = 0; i < 64; i++) sum += values[i];
        char *heap = malloc(3 << 20);
        memset(heap, 7, 3 << 20);
        int clone = marker();
        for (int i = 0; i < 64; i++) sum -= values[i];
        printf("%d %.3f %d\n", clone, sum, heap[(3 << 20) - 1]);
    } else if (!strcmp(what, "spoil")) {
        /* Everything that can be written is written to, and has to be as it was at the beginning. */
        static char data[1 << 20];
        char *shared = mmap(0, 1 << 16, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        char *mapped = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memset(data, 1, sizeof data);
        memset(shared, 2, 1 << 16);
        memset(mapped, 3, 1 << 20);
        int file = open("/tmp/file", O_RDWR | O_CREAT, 0600);
        if (file < 0 || write(file, "four", 4) != 4) return fail("/tmp/file");
        marker();
        for (size_t i = 0; i < sizeof data; i++) if (data[i] != 1 || mapped[i] != 3) return puts("spoiled");
        for (size_t i = 0; i < 1 << 16; i++) if (shared[i] != 2) return puts("spoiled and shared");
        char text[5] = "";
        struct stat stat;
        if (pread(file, text, 4, 0) != 4 || strcmp(text, "four")) return puts("spoiled file");
        if (fstat(file, &stat) || stat.st_size != 4) return puts("spoiled size");
        if (access("/tmp/secret", F_OK) == 0) return puts("somebody else's file");
        char random[8];
        getrandom(random, sizeof random, 0);
        memset(data, 0x66, sizeof data);
        memset(mapped, 0x66, 1 << 20);
        memset(shared, 0x66, 1 << 16);
        /* Also code, which is private. */
        char *code = (char *)((uintptr_t)&fail & ~4095UL);
        if (mprotect(code, 4096, PROT_READ | PROT_WRITE | PROT_EXEC)) return fail("mprotect");
        code[4095] ^= 1;
        munmap(mapped + 4096, 1 << 16);
        pwrite(file, "secret", 6, 0);
        int secret = open("/tmp/secret", O_RDWR | O_CREAT, 0600);
        if (write(secret, random, 8) != 8) return fail("/tmp/secret");
        write(1, "clean ", 6);
        for (int i = 0; i < 8; i++) dprintf(1, "%02x", (unsigned char)random[i]);
        write(1, "\n", 1);
    } else if (!strcmp(what, "things")) {
        /* Everything that can be open. */
        char text[64] = "";
        int file = open("/data/file", O_RDWR);
        if (file < 0) return fail("/data/file");
        if (read(file, text, 3) != 3 || flock(file, LOCK_EX)) return fail("read");
        int folder = open("/data", O_RDONLY | O_DIRECTORY), self = open("/proc/self/maps", O_RDONLY);
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC), system = open("/usr/bin", O_RDONLY | O_DIRECTORY);
        if (folder < 0 || self < 0 || null < 0 || system < 0) return fail("open");
        if (pipe(pipes)) return fail("pipe");
        write(pipes[1], "in the pipe", 11);
        event = eventfd(5, EFD_NONBLOCK);
        int timer = timerfd_create(CLOCK_MONOTONIC, 0), set = epoll_create1(0);
        struct itimerspec left = {.it_value = {0, 300000000}};
        timerfd_settime(timer, 0, &left, 0);
        struct epoll_event wish = {.events = EPOLLIN, .data.u64 = 77};
        if (epoll_ctl(set, EPOLL_CTL_ADD, event, &wish)) return fail("epoll_ctl");
        int memory = memfd_create("memory", 0);
        write(memory, "memory", 6);
        mkdir("/tmp/folder", 0700);
        symlink("/tmp/folder/file", "/tmp/link");
        int named = open("/tmp/folder/file", O_RDWR | O_CREAT, 0640);
        write(named, "named", 5);
        if (link("/tmp/folder/file", "/tmp/other")) return fail("link");
        char *pages = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, named, 0);
        char *shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (pages == MAP_FAILED || shared == MAP_FAILED) return fail("mmap");
        pages[0] = 'N';
        signal(SIGALRM, ring);
        alarm(1);
        chdir("/tmp/folder");
        umask(077);
        long long monotonic = now(CLOCK_MONOTONIC);
        int clone = marker();
        if (now(CLOCK_MONOTONIC) < monotonic) return puts("time went back");
        memset(text, 0, sizeof text);
        read(file, text, 3);
        printf("%d %s", clone, text);
        memset(text, 0, sizeof text);
        read(pipes[0], text, sizeof text - 1);
        printf(" %s", text);
        uint64_t number = 0;
        struct epoll_event found = {0};
        int ready = epoll_wait(set, &found, 1, 0);
        read(event, &number, 8);
        printf(" %d %llu %llu", ready, (unsigned long long)found.data.u64, (unsigned long long)number);
        number = 0;
        read(timer, &number, 8);
        memset(text, 0, sizeof text);
        pread(memory, text, 6, 0);
        printf(" %llu %s", (unsigned long long)number, text);
        memset(text, 0, sizeof text);
        int again = open("/tmp/link", O_RDONLY), other = open("/tmp/other", O_RDONLY), here = open("file", O_RDONLY);
        struct stat one, two;
        fstat(again, &one);
        fstat(other, &two);
        read(here, text, 5);
        printf(" %s %d %o %d", text, one.st_ino == two.st_ino && one.st_nlink == 2, (unsigned)umask(0),
               fcntl(null, F_GETFD));
        while (!rung) pause();
        shared[0] = 'S';
        printf(" %d\n", rung);
    } else if (!strcmp(what, "threads")) {
        pthread_t threads[4];
        for (intptr_t i = 0; i < 4; i++) pthread_create(&threads[i], 0, wait_for_turn, (void *)(i + 1));
        int to[2], from[2];
        if (pipe(to) || pipe(from)) return fail("pipe");
        pid_t child = fork();
        if (!child) {
            char byte;
            while (read(to[0], &byte, 1) == 1) write(from[1], &byte, 1);
            _exit(3);
        }
        pid_t zombie = fork();
        if (!zombie) _exit(5);
        siginfo_t info;
        waitid(P_PID, zombie, &info, WEXITED | WNOWAIT);
        int clone = marker(), status = 0, dead = 0;
        pthread_mutex_lock(&lock);
        turns = 1;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
        for (int i = 0; i < 4; i++) pthread_join(threads[i], 0);
        char byte = 'x';
        write(to[1], "y", 1);
        read(from[0], &byte, 1);
        kill(child, SIGTERM);
        waitpid(zombie, &dead, 0);
        waitpid(child, &status, 0);
        printf("%d %d %c %d %d\n", clone, turns, byte, WEXITSTATUS(dead), WTERMSIG(status));
    } else if (!strcmp(what, "sleep")) {
        /* A wait that is given up for the capture goes on for what it still had. */
        long long began = now(CLOCK_MONOTONIC);
        struct timespec time = {1, 400000000};
        int slept = nanosleep(&time, 0), polled = poll(0, 0, 100);
        long long took = (now(CLOCK_MONOTONIC) - began) / 1000000;
        printf("%d %d %s\n", slept, polled, took >= 1500 ? "enough" : "too little");
    } else if (!strcmp(what, "spin")) {
        volatile unsigned long long sum = 0;
        for (unsigned long long i = 0; i < 600000000ULL; i++) sum += i;
        printf("%llu\n", sum);
    } else if (!strcmp(what, "socket")) {
        if (socket(AF_UNIX, SOCK_STREAM, 0) < 0) return fail("socket");
        marker();
        puts("went on");
    } else if (!strcmp(what, "grow")) {
        marker();
        for (int i = 0; i < 64; i++) memset(malloc(1 << 20), i + 1, 1 << 20);
        puts("grew");
    } else if (!strcmp(what, "time")) {
        static unsigned char random[8];
        marker();
        getrandom(random, sizeof random, 0);
        printf("%lld %lld ", now(CLOCK_REALTIME), now(CLOCK_MONOTONIC));
        for (int i = 0; i < 8; i++) printf("%02x", random[i]);
        puts("");
    } else {
        return 2;
    }
    return 0;
}
