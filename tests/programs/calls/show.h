/* Shows what system calls answer: the same program prints the same on Linux and on what claims to be Linux. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A call, its answer and its error. */
#define SHOW(call) do { \
    errno = 0; \
    long answer_ = (long)(call); \
    printf("%s = %ld%s%s\n", #call, answer_, answer_ == -1 ? " " : "", answer_ == -1 ? strerrorname_np(errno) : ""); \
} while (0)

/* The same of an answer that differs from run to run: only whether there is one. */
#define TELL(call) do { \
    errno = 0; \
    long answer_ = (long)(call); \
    printf("%s: %s\n", #call, answer_ == -1 ? strerrorname_np(errno) : "ok"); \
} while (0)

/* Without what nothing else makes sense. */
#define MUST(what) do { \
    if (!(what)) { printf("line %d: %s: %s\n", __LINE__, #what, strerrorname_np(errno)); exit(1); } \
} while (0)

/* An address where nothing is. */
#define NOWHERE ((void *)8)

__attribute__((constructor)) static void lines(void) { setvbuf(stdout, NULL, _IOLBF, 4096); }

/* How a child ended. */
static inline void show_end(const char *who, int status) {
    if (WIFEXITED(status)) printf("%s: exit %d\n", who, WEXITSTATUS(status));
    else if (WIFSIGNALED(status)) printf("%s: signal %d\n", who, WTERMSIG(status));
    else if (WIFSTOPPED(status)) printf("%s: stopped %d\n", who, WSTOPSIG(status));
    else if (WIFCONTINUED(status)) printf("%s: continued\n", who);
}

/* Waits until a process sleeps (proc_pid_stat(5)): one that has nothing more to do than the call it waits in. */
static inline void asleep(pid_t who) {
    char name[64], text[512], *state;
    snprintf(name, sizeof name, "/proc/%d/stat", who);
    do {
        int file = open(name, O_RDONLY);
        MUST(file >= 0);
        long count = read(file, text, sizeof text - 1);
        MUST(count > 0);
        close(file);
        text[count] = 0;
        state = strrchr(text, ')');
        MUST(state != NULL);
    } while (state[2] != 'S');
}

/* Runs in a child, and shows how that ended. */
#define CHILD(name, ...) do { \
    fflush(stdout); \
    pid_t child_ = fork(); \
    if (child_ == 0) { __VA_ARGS__; exit(0); } \
    int status_; \
    while (waitpid(child_, &status_, 0) < 0 && errno == EINTR) {} \
    show_end(name, status_); \
} while (0)
