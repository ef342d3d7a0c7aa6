/* setitimer(2), timer_create(2), alarm(2), setrlimit(2) RLIMIT_CPU */
#include "show.h"
#include <sys/resource.h>
static volatile int counts[65], value;
static void handler(int signal, siginfo_t *info, void *context) {
    (void)context;
    counts[signal]++;
    value = info->si_code == SI_TIMER ? info->si_value.sival_int : -1;
}
static void arrives(int signal) {
    while (counts[signal] == 0) usleep(1000);
}
static void spin(int signal) {
    for (volatile long i = 0; counts[signal] == 0 && i < 4000000000; i++) {}
}
int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    int signals[] = {SIGALRM, SIGVTALRM, SIGPROF, SIGUSR1, SIGXCPU};
    for (int i = 0; i < 5; i++) sigaction(signals[i], &action, NULL);
    struct itimerval it = {.it_value = {0, 10000}}, old;
    SHOW(setitimer(99, &it, NULL));
    SHOW(setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {0, 1000000}}, NULL));
    SHOW(setitimer(ITIMER_REAL, NOWHERE, NULL));
    SHOW(setitimer(ITIMER_REAL, &it, &old));
    SHOW(old.it_value.tv_sec + old.it_value.tv_usec);
    arrives(SIGALRM);
    SHOW(counts[SIGALRM]);
    SHOW(alarm(100));
    SHOW(alarm(0));
    SHOW(alarm(0));
    SHOW(getitimer(ITIMER_REAL, &old));
    SHOW(old.it_value.tv_sec);
    SHOW(setitimer(ITIMER_VIRTUAL, &it, NULL));
    spin(SIGVTALRM);
    SHOW(counts[SIGVTALRM]);
    SHOW(setitimer(ITIMER_PROF, &it, NULL));
    spin(SIGPROF);
    SHOW(counts[SIGPROF]);
    SHOW(getitimer(ITIMER_PROF, &old));
    SHOW(old.it_value.tv_usec);
    timer_t t = 0;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 77};
    SHOW(timer_create(9999, &event, &t));
    SHOW(timer_create(CLOCK_MONOTONIC, &event, &t));
    struct itimerspec set = {.it_value = {0, 5000000}}, was;
    SHOW(timer_settime(t, 0, &set, &was));
    arrives(SIGUSR1);
    SHOW(counts[SIGUSR1]);
    SHOW(value);
    SHOW(timer_getoverrun(t));
    SHOW(timer_gettime(t, &was));
    SHOW(was.it_value.tv_sec + was.it_value.tv_nsec);
    SHOW(timer_settime(t, 0, &(struct itimerspec){.it_value = {0, -1}}, NULL));
    SHOW(timer_delete(t));
    SHOW(syscall(SYS_timer_delete, 4242));
    SHOW(syscall(SYS_timer_settime, 4242, 0, &set, NULL));
    counts[SIGUSR1] = 0;
    SHOW(timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &t));
    SHOW(timer_settime(t, 0, &set, NULL));
    spin(SIGUSR1);
    SHOW(counts[SIGUSR1]);
    counts[SIGUSR1] = 0;
    SHOW(timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &t));
    SHOW(timer_settime(t, 0, &set, NULL));
    spin(SIGUSR1);
    SHOW(counts[SIGUSR1]);
    event.sigev_notify = 98;
    SHOW(timer_create(CLOCK_MONOTONIC, &event, &t));
    event.sigev_notify = 4;
    ((int *)&event)[4] = gettid();
    counts[SIGUSR1] = 0;
    SHOW(timer_create(CLOCK_MONOTONIC, &event, &t));
    SHOW(timer_settime(t, 0, &set, NULL));
    arrives(SIGUSR1);
    SHOW(counts[SIGUSR1]);
    CHILD("no more processor time", signal(SIGXCPU, SIG_DFL); setrlimit(RLIMIT_CPU, &(struct rlimit){1, 1}); for (;;) {});
}
