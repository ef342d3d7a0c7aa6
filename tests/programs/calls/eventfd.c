/* eventfd(2) */
#include "show.h"
#include <sys/eventfd.h>
int main(void) {
    uint64_t value = 0;
    SHOW(eventfd(0, 12345));
    int e = eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC), s = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
    SHOW(fcntl(e, F_GETFD));
    SHOW(read(e, &value, 4));
    SHOW(read(e, &value, 8));
    SHOW(value);
    SHOW(read(e, &value, 8));
    value = 5;
    SHOW(write(e, &value, 8));
    SHOW(write(e, &value, 7));
    value = UINT64_MAX;
    SHOW(write(e, &value, 8));
    value = UINT64_MAX - 6;
    SHOW(write(e, &value, 8));
    value = 1;
    SHOW(write(e, &value, 8));
    struct pollfd p = {.fd = e, .events = POLLIN | POLLOUT};
    SHOW(poll(&p, 1, 0));
    SHOW(p.revents);
    SHOW(read(e, &value, 8));
    SHOW(value == UINT64_MAX - 1);
    SHOW(poll(&p, 1, 0));
    SHOW(p.revents);
    for (int i = 0; i < 3; i++) {
        SHOW(read(s, &value, 8));
        SHOW(value);
    }
    SHOW(pread(e, &value, 8, 0));
    SHOW(write(e, NOWHERE, 8));
}
