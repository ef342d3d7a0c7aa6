/* Timers that send signals, locks of threads that end, room in files: one thing for each argument. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(what) do { if (!(what)) { printf("line %d: %s: %s\n", __LINE__, #what, strerror(errno)); exit(1); } } while (0)

static volatile sig_atomic_t rung;

static void ring(int signal) {
    (void)signal;
    rung++;
}

/* Waits for so many, and misses none between looking and waiting. */
static void wait_for(int count) {
    sigset_t both, before;
    sigemptyset(&both);
    sigaddset(&both, SIGALRM);
    sigaddset(&both, SIGUSR1);
    sigprocmask(SIG_BLOCK, &both, &before);
    while (rung < count) sigsuspend(&before);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static void alarms(void) {
    signal(SIGALRM, ring);
    CHECK(alarm(100) == 0 && alarm(0) == 100);
    struct itimerval every = {{0, 20000}, {0, 20000}}, left;
    CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
    wait_for(3);
    CHECK(getitimer(ITIMER_REAL, &left) == 0 && left.it_interval.tv_usec == 20000 && left.it_value.tv_usec <= 20000);
    memset(&every, 0, sizeof every);
    CHECK(setitimer(ITIMER_REAL, &every, &left) == 0 && left.it_interval.tv_usec == 20000);
    CHECK(getitimer(ITIMER_REAL, &left) == 0 && left.it_value.tv_usec == 0 && left.it_value.tv_sec == 0);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGALRM, SIG_DFL);
        alarm(1);
        for (;;) pause();
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
    puts("ok alarms");
}

static void timers(void) {
    timer_t timer, silent;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct sigevent none = {.sigev_notify = SIGEV_NONE};
    struct itimerspec soon = {{0, 0}, {0, 10000000}}, left;
    rung = 0;
    signal(SIGUSR1, ring);
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_create(CLOCK_REALTIME, &none, &silent) == 0);
    CHECK(timer_settime(timer, 0, &soon, NULL) == 0);
    wait_for(1);
    CHECK(timer_gettime(timer, &left) == 0 && left.it_value.tv_nsec == 0 && timer_getoverrun(timer) == 0);
    soon.it_value.tv_sec = 50;
    CHECK(timer_settime(silent, 0, &soon, NULL) == 0 && timer_gettime(silent, &left) == 0 && left.it_value.tv_sec >= 49);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    soon.it_value = now;
    CHECK(timer_settime(timer, TIMER_ABSTIME, &soon, NULL) == 0);
    wait_for(2);
    CHECK(timer_delete(timer) == 0 && timer_delete(silent) == 0);
    puts("ok timers");
}

static pthread_mutex_t *mutex;

static void *leave(void *unused) {
    (void)unused;
    pthread_mutex_lock(mutex);
    return NULL;
}

static void robust(void) {
    pthread_mutexattr_t how;
    mutex = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_init(&how);
    pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(mutex, &how);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, leave, NULL) == 0 && pthread_join(thread, NULL) == 0);
    CHECK(pthread_mutex_lock(mutex) == EOWNERDEAD && pthread_mutex_consistent(mutex) == 0);
    CHECK(pthread_mutex_unlock(mutex) == 0);
    pid_t child = fork();
    if (child == 0) {
        pthread_mutex_lock(mutex);
        raise(SIGKILL);
    }
    CHECK(waitpid(child, NULL, 0) == child && pthread_mutex_lock(mutex) == EOWNERDEAD);
    puts("ok robust");
}

static void room(const char *folder) {
    char path[64], text[8] = "";
    struct stat status;
    snprintf(path, sizeof path, "%s/from", folder);
    int from = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    snprintf(path, sizeof path, "%s/to", folder);
    int to = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(from >= 0 && to >= 0 && write(from, "content", 7) == 7 && lseek(from, 3, SEEK_SET) == 3);
    off_t at = 2;
    CHECK(copy_file_range(from, NULL, to, &at, 100, 0) == 4 && at == 6 && lseek(from, 0, SEEK_CUR) == 7);
    CHECK(pread(to, text, 6, 0) == 6 && !memcmp(text, "\0\0tent", 6));
    CHECK(posix_fallocate(to, 0, 20000) == 0 && fstat(to, &status) == 0 && status.st_size == 20000);
    puts("ok room");
}

static _Atomic long long latest;

static long long asked(clockid_t clock, int by_call) {
    struct timespec time;
    CHECK((by_call ? syscall(SYS_clock_gettime, clock, &time) : clock_gettime(clock, &time)) == 0);
    CHECK(time.tv_nsec >= 0 && time.tv_nsec < 1000000000);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Whatever any thread saw, nobody sees less afterwards. */
static void *watch(void *count) {
    for (int i = 0; i < (int)(long)count; i++) {
        long long before = latest, now = asked(CLOCK_MONOTONIC, i % 1000 == 999);
        CHECK(now >= before);
        while (before < now && !atomic_compare_exchange_weak(&latest, &before, now));
    }
    return NULL;
}

static void clocks(void) {
    static const clockid_t all[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME,
                                    CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        for (int round = 0; round < 20; round++) {
            long long before = asked(all[i], 1), between = asked(all[i], 0), after = asked(all[i], 1);
            CHECK(before <= between && between <= after);
        }
    struct timespec none;
    CHECK(clock_gettime(77, &none) == -1 && errno == EINVAL);
    struct timeval day;
    long long before = asked(CLOCK_REALTIME, 0);
    CHECK(gettimeofday(&day, NULL) == 0);
    CHECK(day.tv_sec * 1000000LL + day.tv_usec >= before / 1000 && time(NULL) >= before / 1000000000);
    unsigned processor = 9, node = 9;
    CHECK(getcpu(&processor, &node) == 0 && processor == 0 && node == 0);
    char *image = (char *)getauxval(AT_SYSINFO_EHDR);
    pthread_t threads[3];
    void *rounds = (void *)(image ? 100000L : 2000L);
    for (int i = 0; i < 3; i++) CHECK(pthread_create(&threads[i], NULL, watch, rounds) == 0);
    for (int i = 0; i < 3; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    pid_t child = fork();
    if (child == 0) {
        watch((void *)1000L);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    /* Nobody writes to the pages but the host. */
    if (image) {
        CHECK(!memcmp(image, "\177ELF", 4));
        CHECK(mprotect(image, 4096, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
        CHECK(mprotect(image - 4096, 4096, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
        int zero = open("/dev/zero", O_RDONLY);
        CHECK(read(zero, image - 4096, 8) == -1 && errno == EFAULT);
        CHECK(munmap(image - 4096, 4096) == 0);
    }
    puts(image ? "ok clocks" : "ok clocks without a page of time");
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "alarms")) alarms();
        if (!strcmp(argv[i], "timers")) timers();
        if (!strcmp(argv[i], "clocks")) clocks();
        if (!strcmp(argv[i], "robust")) robust();
        if (!strcmp(argv[i], "room")) room(argv[++i]);
        if (!strcmp(argv[i], "affinity")) {
            cpu_set_t set;
            CHECK(sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0);
            CHECK(sched_setaffinity(0, sizeof set, &set) == 0);
            CPU_ZERO(&set);
            CHECK(sched_setaffinity(0, sizeof set, &set) == -1 && errno == EINVAL);
            puts("ok affinity");
        }
    }
    return 0;
}
