/* Locks that are handed on: FUTEX_LOCK_PI and those with it. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MUST(what) do { if (!(what)) { printf("line %d: %s: %s\n", __LINE__, #what, strerror(errno)); exit(1); } } while (0)

static long futex(unsigned *word, int operation, const struct timespec *until) {
    return syscall(SYS_futex, word, operation, 0, until, NULL, 0);
}

static unsigned own(void) { return syscall(SYS_gettid); }

static pthread_mutex_t *mutex(int robust) {
    pthread_mutex_t *made = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t how;
    pthread_mutexattr_init(&how);
    pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED);
    MUST(pthread_mutexattr_setprotocol(&how, PTHREAD_PRIO_INHERIT) == 0);
    if (robust) pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST);
    MUST(pthread_mutex_init(made, &how) == 0);
    return made;
}

static void errors(void) {
    unsigned word = 0;
    struct timespec past = {1, 0}, soon;
    MUST(futex(&word, FUTEX_LOCK_PI, NULL) == 0 && word == own());
    MUST(futex(&word, FUTEX_LOCK_PI, NULL) == -1 && errno == EDEADLK);
    MUST(futex(&word, FUTEX_TRYLOCK_PI, NULL) == -1 && errno == EDEADLK);
    MUST(futex(&word, FUTEX_UNLOCK_PI, NULL) == 0 && word == 0);
    MUST(futex(&word, FUTEX_UNLOCK_PI, NULL) == -1 && errno == EPERM);
    MUST(futex(&word, FUTEX_TRYLOCK_PI, NULL) == 0 && word == own());
    /* Nobody has this number. */
    word = 0x1ffffff0;
    MUST(futex(&word, FUTEX_LOCK_PI, NULL) == -1 && errno == ESRCH);
    word = 1 << 30;
    MUST(futex(&word, FUTEX_LOCK_PI, NULL) == 0 && word == (own() | 1 << 30));
    MUST(futex((unsigned *)8, FUTEX_LOCK_PI, NULL) == -1 && errno == EFAULT);
    MUST(futex((unsigned *)((char *)&word + 1), FUTEX_LOCK_PI, NULL) == -1 && errno == EINVAL);
    /* Of somebody else, until it is too late. */
    unsigned *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *shared = getpid();
    pid_t child = fork();
    if (child == 0) {
        MUST(futex(shared, FUTEX_LOCK_PI, &past) == -1 && errno == ETIMEDOUT);
        clock_gettime(CLOCK_MONOTONIC, &soon);
        soon.tv_nsec += 20000000;
        if (soon.tv_nsec >= 1000000000) soon.tv_sec++, soon.tv_nsec -= 1000000000;
        MUST(futex(shared, 13 /* FUTEX_LOCK_PI2 */, &soon) == -1 && errno == ETIMEDOUT);
        struct timespec bad = {0, -1};
        MUST(futex(shared, FUTEX_LOCK_PI, &bad) == -1 && errno == EINVAL);
        MUST(futex(shared, FUTEX_TRYLOCK_PI, NULL) == -1 && errno == EAGAIN);
        _exit(0);
    }
    int status;
    MUST(waitpid(child, &status, 0) == child && status == 0);
    MUST(futex(shared, FUTEX_UNLOCK_PI, NULL) == 0 && *shared == 0);
}

static pthread_mutex_t *lock;
static long *counted;

static void *counts(void *many) {
    for (long i = 0; i < (long)many; i++) {
        MUST(pthread_mutex_lock(lock) == 0);
        ++*counted;
        MUST(pthread_mutex_unlock(lock) == 0);
    }
    return NULL;
}

/* Nobody is let in beside another, threads or processes, and nobody is forgotten. */
static void crowd(void) {
    enum { THREADS = 4, PROCESSES = 2, EACH = 300 };
    lock = mutex(0);
    counted = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < PROCESSES; i++)
        if (fork() == 0) {
            pthread_t threads[THREADS];
            for (int each = 0; each < THREADS; each++) pthread_create(&threads[each], NULL, counts, (void *)EACH);
            for (int each = 0; each < THREADS; each++) pthread_join(threads[each], NULL);
            _exit(0);
        }
    int status;
    for (int i = 0; i < PROCESSES; i++) MUST(wait(&status) > 0 && status == 0);
    MUST(*counted == THREADS * PROCESSES * EACH);
}

/* Who ends with a lock leaves it to who waits; also when it is killed, and also when there are several. */
static void left(void) {
    lock = mutex(1);
    int ready[2];
    MUST(pipe(ready) == 0);
    pid_t owner = fork();
    if (owner == 0) {
        MUST(pthread_mutex_lock(lock) == 0 && write(ready[1], "x", 1) == 1);
        for (;;) pause();
    }
    char byte;
    MUST(read(ready[0], &byte, 1) == 1);
    enum { HEIRS = 3 };
    for (int i = 0; i < HEIRS; i++)
        if (fork() == 0) {
            MUST(write(ready[1], "x", 1) == 1);
            int got = pthread_mutex_lock(lock);
            MUST(got == 0 || got == EOWNERDEAD);
            if (got == EOWNERDEAD) MUST(pthread_mutex_consistent(lock) == 0);
            MUST(pthread_mutex_unlock(lock) == 0);
            _exit(got == EOWNERDEAD);
        }
    for (int i = 0; i < HEIRS; i++) MUST(read(ready[0], &byte, 1) == 1);
    /* Until somebody waits for it. */
    while (!(*(volatile unsigned *)lock & FUTEX_WAITERS)) usleep(1000);
    kill(owner, SIGKILL);
    int status, dead = 0, ended = 0;
    for (pid_t who; (who = wait(&status)) > 0;) {
        if (who == owner) { MUST(WIFSIGNALED(status)); continue; }
        MUST(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
        ended++, dead += WEXITSTATUS(status);
    }
    MUST(ended == HEIRS && dead == 1);
}

static void *ends_with_it(void *mutex) {
    int got = pthread_mutex_lock(mutex);
    MUST(got == 0 || got == EOWNERDEAD);
    if (got) MUST(pthread_mutex_consistent(mutex) == 0);
    return NULL;
}

static void takes_over(void) {
    int got = pthread_mutex_lock(lock);
    MUST(got == 0 || got == EOWNERDEAD);
    if (got) MUST(pthread_mutex_consistent(lock) == 0);
    MUST(pthread_mutex_unlock(lock) == 0);
}

/* Threads end with the lock at the very moment somebody asks for it. */
static void ended(void) {
    lock = mutex(1);
    for (int round = 0; round < 300; round++) {
        pthread_t threads[2];
        for (int each = 0; each < 2; each++) MUST(pthread_create(&threads[each], NULL, ends_with_it, lock) == 0);
        takes_over();
        for (int each = 0; each < 2; each++) pthread_join(threads[each], NULL);
        takes_over();
    }
}

static volatile int *handled;
static void handle(int number) { ++*handled; }

/* A handler breaks nothing off. */
static void interrupted(void) {
    lock = mutex(0);
    struct sigaction action = {.sa_handler = handle};
    sigaction(SIGALRM, &action, NULL);
    handled = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t parent = getpid();
    int turns[2];
    MUST(pipe(turns) == 0);
    pid_t child = fork();
    if (child == 0) {
        MUST(pthread_mutex_lock(lock) == 0 && write(turns[1], "x", 1) == 1);
        while (!(*(volatile unsigned *)lock & FUTEX_WAITERS)) usleep(1000);
        kill(parent, SIGALRM);
        while (!*handled) usleep(1000);
        MUST(pthread_mutex_unlock(lock) == 0);
        _exit(0);
    }
    char byte;
    MUST(read(turns[0], &byte, 1) == 1);
    MUST(pthread_mutex_lock(lock) == 0 && *handled == 1);
    MUST(pthread_mutex_unlock(lock) == 0);
    int status;
    MUST(waitpid(child, &status, 0) == child && status == 0);
}

int main(int count, char **words) {
    for (int i = 1; i < count; i++) {
        if (!strcmp(words[i], "errors")) errors();
        else if (!strcmp(words[i], "crowd")) crowd();
        else if (!strcmp(words[i], "left")) left();
        else if (!strcmp(words[i], "ended")) ended();
        else if (!strcmp(words[i], "interrupted")) interrupted();
        else return 99;
        printf("ok %s\n", words[i]);
        fflush(stdout);
    }
    return 0;
}
