/* What an ordinary program does, one thing for each first argument. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int counter;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *count(void *unused) {
    for (int i = 0; i < 100; i++) {
        pthread_mutex_lock(&lock);
        counter++;
        pthread_mutex_unlock(&lock);
    }
    return unused;
}

static volatile sig_atomic_t seen;
static void *fault_at;
static void handle(int signal) { seen = signal; }
static void repair(int signal, siginfo_t *info, void *unused) {
    (void)signal;
    (void)unused;
    if (info->si_addr == fault_at && mprotect(fault_at, 4096, PROT_READ | PROT_WRITE) == 0) seen = 1;
    else _exit(9);
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "hello";
    if (!strcmp(what, "hello")) {
        puts("hello");
    } else if (!strcmp(what, "status")) {
        return atoi(argv[2]);
    } else if (!strcmp(what, "echo")) {
        char line[256];
        while (fgets(line, sizeof line, stdin)) fputs(line, stdout);
    } else if (!strcmp(what, "arguments")) {
        printf("%s %s %s\n", argv[2], argv[3], getenv("COLOUR"));
    } else if (!strcmp(what, "spin")) {
        puts("spinning");
        fflush(stdout);
        for (;;) __asm__ volatile("");
    } else if (!strcmp(what, "sleep")) {
        puts("sleeping");
        fflush(stdout);
        for (;;) pause();
    } else if (!strcmp(what, "memory")) {
        size_t size = (size_t)atoi(argv[2]) << 20;
        char *memory = malloc(size);
        for (size_t at = 0; at < size; at += 4096) memory[at] = 1;
        puts("held");
    } else if (!strcmp(what, "crash")) {
        *(volatile int *)16 = 1;
    } else if (!strcmp(what, "protect")) {
        char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        struct sigaction action = {.sa_sigaction = repair, .sa_flags = SA_SIGINFO};
        sigaction(SIGSEGV, &action, NULL);
        page[0] = 'a';
        mprotect(page, 4096, PROT_READ);
        fault_at = page;
        ((volatile char *)page)[0] = 'b';
        printf("%c %d\n", page[0], (int)seen);
    } else if (!strcmp(what, "reuse")) {
        for (int i = 0; i < 50; i++) {
            char *page = mmap((void *)0x10000000, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
            for (int at = 0; at < 1 << 20; at += 4096) {
                if (page[at]) return 1;
                page[at] = 1;
            }
            munmap(page, 1 << 20);
        }
        puts("empty");
    } else if (!strcmp(what, "threads")) {
        pthread_t threads[4];
        for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, count, NULL);
        for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
        printf("%d\n", counter);
    } else if (!strcmp(what, "fork")) {
        int pipes[2], status;
        if (pipe(pipes)) return 1;
        counter = 7;
        pid_t child = fork();
        if (child == 0) {
            counter++;
            dprintf(pipes[1], "%d from a child", counter);
            _exit(3);
        }
        close(pipes[1]);
        char text[64] = {0};
        if (read(pipes[0], text, sizeof text - 1) < 0) return 1;
        if (waitpid(child, &status, 0) != child) return 2;
        printf("%s, %d here, status %d\n", text, counter, WEXITSTATUS(status));
    } else if (!strcmp(what, "signal")) {
        signal(SIGUSR1, handle);
        raise(SIGUSR1);
        printf("%d\n", (int)(seen == SIGUSR1));
    } else if (!strcmp(what, "clock")) {
        struct timespec before, after, wait = {0, 5000000};
        clock_gettime(CLOCK_MONOTONIC, &before);
        nanosleep(&wait, NULL);
        clock_gettime(CLOCK_MONOTONIC, &after);
        long passed = (after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec;
        puts(passed >= 5000000 ? "slept" : "woke too early");
    } else if (!strcmp(what, "files")) {
        char text[32] = {0};
        struct stat found;
        int file = open("/data/new", O_CREAT | O_RDWR | O_EXCL, 0644);
        if (file < 0) { perror("open"); return 1; }
        if (write(file, "content", 7) != 7 || lseek(file, 3, SEEK_SET) != 3) return 2;
        if (read(file, text, 31) != 4 || strcmp(text, "tent")) return 3;
        if (pwrite(file, "C", 1, 0) != 1 || pread(file, text, 7, 0) != 7) return 4;
        if (fstat(file, &found) || found.st_size != 7 || !S_ISREG(found.st_mode)) return 5;
        char *mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0);
        if (mapped == MAP_FAILED || memcmp(mapped, "Content", 7)) return 6;
        close(file);
        if (mkdir("/data/folder", 0755) || rename("/data/new", "/data/folder/old")) return 7;
        if (symlink("folder/old", "/data/link") || readlink("/data/link", text, 31) != 10) return 8;
        DIR *folder = opendir("/data");
        int entries = 0;
        while (readdir(folder)) entries++;
        closedir(folder);
        if (unlink("/data/link")) return 9;
        if (open("/data/missing", O_RDONLY) >= 0 || errno != ENOENT) return 10;
        printf("%d entries\n", entries);
    } else if (!strcmp(what, "open")) {
        int file = open(argv[2], argc > 3 ? O_RDWR | O_CREAT : O_RDONLY, 0644);
        puts(file >= 0 ? "opened" : strerror(errno));
    }
    return 0;
}
