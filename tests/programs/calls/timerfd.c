/* timerfd_create(2) */
#include "show.h"
#include <sys/timerfd.h>
int main(void) {
    uint64_t count = 0;
    struct itimerspec set = {.it_value = {0, 5000000}, .it_interval = {0, 5000000}}, old, never = {0};
    SHOW(timerfd_create(99, 0));
    SHOW(timerfd_create(CLOCK_MONOTONIC, 99));
    int t = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    SHOW(read(t, &count, 8));
    SHOW(timerfd_settime(t, 0, &set, &old));
    SHOW(old.it_value.tv_sec + old.it_value.tv_nsec);
    struct pollfd p = {.fd = t, .events = POLLIN};
    SHOW(poll(&p, 1, 1000));
    SHOW(read(t, &count, 4));
    SHOW(read(t, &count, 8));
    SHOW(count >= 1);
    SHOW(timerfd_gettime(t, &old));
    SHOW(old.it_interval.tv_nsec);
    SHOW(old.it_value.tv_nsec > 0 && old.it_value.tv_nsec <= 5000000);
    SHOW(timerfd_settime(t, 0, &never, NULL));
    SHOW(timerfd_gettime(t, &old));
    SHOW(old.it_value.tv_sec + old.it_value.tv_nsec);
    SHOW(poll(&p, 1, 20));
    set = (struct itimerspec){.it_value = {1, 0}};
    SHOW(timerfd_settime(t, TFD_TIMER_ABSTIME, &set, NULL));
    SHOW(poll(&p, 1, 1000));
    SHOW(read(t, &count, 8));
    SHOW(count);
    SHOW(read(t, &count, 8));
    set.it_value.tv_nsec = 1000000000;
    SHOW(timerfd_settime(t, 0, &set, NULL));
    SHOW(timerfd_settime(t, 99, &never, NULL));
    SHOW(timerfd_settime(t, 0, NOWHERE, NULL));
    SHOW(timerfd_settime(0, 0, &never, NULL));
    SHOW(timerfd_gettime(99, &old));
    SHOW(timerfd_gettime(t, NOWHERE));
    int r = timerfd_create(CLOCK_REALTIME, 0);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_nsec += 20000000;
    if (now.tv_nsec >= 1000000000) now.tv_sec++, now.tv_nsec -= 1000000000;
    set = (struct itimerspec){.it_value = now};
    SHOW(timerfd_settime(r, TFD_TIMER_ABSTIME, &set, NULL));
    SHOW(read(r, &count, 8));
    SHOW(count);
    SHOW(write(r, &count, 8));
}
