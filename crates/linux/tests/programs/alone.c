/* What a process that is to stay alone can make: prints what works and must not, and how much memory it has. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIECE (1 << 20)

static void *thread(void *nothing) {
    return nothing;
}

int main(void) {
    pthread_t second;
    if (pthread_create(&second, NULL, thread, NULL) || pthread_join(second, NULL)) printf("no thread\n");
    if (mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) printf("shared\n");
    if (mmap(NULL, PIECE, PROT_READ, MAP_SHARED_VALIDATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) printf("validated\n");
    if (syscall(SYS_memfd_create, "x", 0) >= 0) printf("a file in memory\n");
    if (syscall(SYS_shmget, 0, PIECE, 01600) >= 0) printf("a segment\n");
    pid_t child = fork();
    if (child == 0) _exit(0);
    if (child > 0) printf("a process\n"), waitpid(child, NULL, 0);
    child = vfork();
    if (child == 0) _exit(0);
    if (child > 0) printf("a process in its memory\n"), waitpid(child, NULL, 0);
    /* Reserving is not using. */
    char *reserved = mmap(NULL, 4L << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED) return printf("nothing reserved\n"), 0;
    long used = 0;
    while (used < 1024 && mprotect(reserved + used * PIECE, PIECE, PROT_READ | PROT_WRITE) == 0) {
        memset(reserved + used * PIECE, 1, PIECE);
        used++;
    }
    while (used < 1024) {
        char *more = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (more == MAP_FAILED) break;
        memset(more, 1, PIECE);
        used++;
    }
    printf("%s\n", used >= 32 && used <= 64 ? "about its limit" : "another amount");
    return 0;
}
