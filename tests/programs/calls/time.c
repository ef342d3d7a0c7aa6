/* clock_gettime(2), nanosleep(2), clock_nanosleep(2), times(2), getrusage(2) */
#include "show.h"
#include <sys/resource.h>
#include <sys/times.h>
static volatile int alarms;
static void handler(int signal) { (void)signal; alarms++; }
int main(void) {
    struct timespec a, b, left;
    SHOW(clock_gettime(CLOCK_MONOTONIC, &a));
    SHOW(clock_gettime(9999, &a));
    SHOW(syscall(SYS_clock_gettime, CLOCK_REALTIME, NOWHERE));
    SHOW(clock_getres(CLOCK_MONOTONIC, &b));
    SHOW(clock_getres(CLOCK_MONOTONIC, NULL));
    SHOW(clock_getres(9999, &b));
    SHOW(clock_settime(CLOCK_MONOTONIC, &b));
    clock_gettime(CLOCK_MONOTONIC, &a);
    SHOW(nanosleep(&(struct timespec){0, 5000000}, NULL));
    clock_gettime(CLOCK_MONOTONIC, &b);
    SHOW((b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec >= 5000000);
    SHOW(nanosleep(&(struct timespec){0, -1}, NULL));
    SHOW(nanosleep(&(struct timespec){-1, 0}, NULL));
    SHOW(nanosleep(&(struct timespec){0, 1000000000}, NULL));
    SHOW(syscall(SYS_nanosleep, NOWHERE, NULL));
    SHOW(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &a, NULL));
    SHOW(clock_nanosleep(9999, 0, &a, NULL));
    SHOW(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &(struct timespec){0, 1}, NULL));
    SHOW(clock_nanosleep(CLOCK_REALTIME, 0, &(struct timespec){0, 1000}, NULL));
    clock_gettime(CLOCK_MONOTONIC, &b);
    b.tv_nsec += 5000000;
    if (b.tv_nsec >= 1000000000) b.tv_sec++, b.tv_nsec -= 1000000000;
    SHOW(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &b, NULL));
    clock_gettime(CLOCK_MONOTONIC, &a);
    SHOW(a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec >= b.tv_nsec));
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGALRM, &action, NULL);
    ualarm(20000, 20000);
    SHOW(nanosleep(&(struct timespec){5, 0}, &left));
    SHOW(left.tv_sec == 4 && left.tv_nsec > 0);
    ualarm(20000, 20000);
    SHOW(clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){5, 0}, &left));
    SHOW(left.tv_sec);
    struct tms ticks;
    SHOW(times(&ticks) > 0);
    SHOW(syscall(SYS_times, NOWHERE));
    SHOW(sysconf(_SC_CLK_TCK));
    struct timespec cpu, more;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    for (volatile long i = 0; i < 3000000; i++) {}
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &more);
    SHOW(more.tv_sec > cpu.tv_sec || more.tv_nsec > cpu.tv_nsec);
    struct rusage used;
    SHOW(getrusage(RUSAGE_SELF, &used));
    SHOW(used.ru_utime.tv_sec * 1000000 + used.ru_utime.tv_usec + used.ru_stime.tv_usec > 0);
    SHOW(used.ru_maxrss > 0);
    SHOW(getrusage(RUSAGE_CHILDREN, &used));
    SHOW(getrusage(RUSAGE_THREAD, &used));
    SHOW(getrusage(99, &used));
    SHOW(getrusage(RUSAGE_SELF, NOWHERE));
    struct timeval tv;
    SHOW(gettimeofday(&tv, NULL));
    SHOW(time(NULL) - tv.tv_sec <= 1);
}
