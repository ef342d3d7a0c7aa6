/* dup(2), fcntl(2), close_range(2) */
#include "show.h"
#include <sys/ioctl.h>
#include <sys/socket.h>
int main(void) {
    int f = open("f", O_RDWR | O_CREAT, 0600);
    SHOW(f);
    SHOW(dup(f));
    SHOW(dup(99));
    SHOW(dup2(f, f));
    SHOW(dup2(99, 99));
    SHOW(dup2(f, 20));
    SHOW(dup2(f, -1));
    SHOW(dup3(f, f, 0));
    SHOW(dup3(f, 21, O_CLOEXEC));
    SHOW(dup3(f, 22, O_APPEND));
    SHOW(fcntl(21, F_GETFD));
    SHOW(fcntl(20, F_GETFD));
    SHOW(fcntl(21, F_SETFD, 0));
    SHOW(fcntl(21, F_GETFD));
    SHOW(fcntl(f, F_DUPFD, 30));
    SHOW(fcntl(f, F_DUPFD_CLOEXEC, 30));
    SHOW(fcntl(31, F_GETFD));
    SHOW(fcntl(f, F_DUPFD, -1));
    SHOW(fcntl(f, 98765, 0));
    /* Who is told of what becomes ready: kept. */
    int ends[2], on = 1, off = 0;
    SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    SHOW(ioctl(ends[0], FIOASYNC, &on));
    SHOW(fcntl(ends[0], F_GETFL) & O_ASYNC);
    SHOW(ioctl(ends[0], FIOASYNC, &off));
    SHOW(fcntl(ends[0], F_GETFL) & O_ASYNC);
    SHOW(fcntl(ends[0], F_GETOWN));
    SHOW(fcntl(ends[0], F_SETOWN, getpid()));
    SHOW(fcntl(ends[0], F_GETOWN) == getpid());
    SHOW(mkfifo("fifo", 0600));
    SHOW(ioctl(open("fifo", O_RDWR), FIOASYNC, &on));
    SHOW(ioctl(f, FIOASYNC, &on));
    SHOW(ioctl(f, FIOASYNC, NULL));
    SHOW(write(20, "shared", 6));
    SHOW(lseek(f, 0, SEEK_CUR));
    SHOW(fcntl(20, F_SETFL, O_APPEND | O_NONBLOCK));
    SHOW(fcntl(f, F_GETFL) & (O_APPEND | O_NONBLOCK | O_ACCMODE));
    SHOW(close_range(20, 25, 0));
    SHOW(fcntl(20, F_GETFD));
    SHOW(fcntl(30, F_GETFD));
    SHOW(close_range(30, ~0U, CLOSE_RANGE_CLOEXEC));
    SHOW(fcntl(30, F_GETFD));
    SHOW(close_range(5, 4, 0));
    SHOW(close_range(5, 6, 99));
    CHILD("unshared", SHOW(close_range(3, ~0U, CLOSE_RANGE_UNSHARE)); SHOW(fcntl(f, F_GETFD)));
    SHOW(fcntl(f, F_GETFD));
}
