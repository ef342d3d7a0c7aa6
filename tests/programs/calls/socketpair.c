/* socketpair(2), send(2), recvmsg(2), unix(7) */
#include "show.h"
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
int main(void) {
    int a[2], d[2], type, left = -1;
    socklen_t length = sizeof type;
    char buffer[64] = {0};
    SHOW(socketpair(AF_UNIX, 99, 0, a));
    SHOW(socketpair(AF_INET, SOCK_STREAM, 0, a));
    SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, NOWHERE));
    SHOW(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a));
    SHOW(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, d));
    SHOW(getsockopt(a[0], SOL_SOCKET, SO_TYPE, &type, &length));
    SHOW(type);
    SHOW(getsockopt(a[0], SOL_SOCKET, SO_ERROR, &type, &length));
    SHOW(type);
    SHOW(getsockopt(a[0], SOL_SOCKET, 9999, &type, &length));
    SHOW(getsockopt(a[0], SOL_SOCKET, SO_DOMAIN, &type, &length));
    SHOW(type);
    SHOW(send(a[0], "hello", 5, 0));
    SHOW(ioctl(a[1], FIONREAD, &left));
    SHOW(left);
    SHOW(recv(a[1], buffer, 3, MSG_PEEK));
    SHOW(recv(a[1], buffer, 3, 0));
    SHOW(recv(a[1], buffer, sizeof buffer, MSG_DONTWAIT));
    SHOW(recv(a[1], buffer, sizeof buffer, MSG_DONTWAIT));
    SHOW(send(d[0], "first", 5, 0));
    SHOW(send(d[0], "", 0, 0));
    SHOW(send(d[0], "second", 6, 0));
    SHOW(recv(d[1], buffer, 2, MSG_TRUNC));
    SHOW(recv(d[1], buffer, 64, 0));
    SHOW(recv(d[1], buffer, 64, 0));
    SHOW(recv(d[1], buffer, 64, 0));
    /* A descriptor travels. */
    int ends[2];
    MUST(pipe(ends) == 0);
    union { char room[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control = {0};
    struct iovec part = {"fd", 2};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(header), &ends[1], sizeof(int));
    SHOW(sendmsg(a[0], &message, 0));
    close(ends[1]);
    memset(&control, 0, sizeof control);
    part = (struct iovec){buffer, sizeof buffer};
    message.msg_controllen = sizeof control;
    SHOW(recvmsg(a[1], &message, MSG_CMSG_CLOEXEC));
    header = CMSG_FIRSTHDR(&message);
    SHOW(header != NULL && header->cmsg_type == SCM_RIGHTS);
    int got = -1;
    if (header) memcpy(&got, CMSG_DATA(header), sizeof got);
    SHOW(fcntl(got, F_GETFD));
    SHOW(write(got, "through", 7));
    SHOW(read(ends[0], buffer, 64));
    /* Half closed. */
    SHOW(shutdown(a[0], SHUT_WR));
    SHOW(recv(a[1], buffer, 64, 0));
    SHOW(send(a[0], "x", 1, MSG_NOSIGNAL));
    SHOW(send(a[1], "back", 4, 0));
    SHOW(recv(a[0], buffer, 64, 0));
    SHOW(shutdown(a[0], 9));
    close(a[0]);
    SHOW(send(a[1], "x", 1, MSG_NOSIGNAL));
    SHOW(recv(a[1], buffer, 64, 0));
    SHOW(listen(a[1], 1));
    SHOW(accept(ends[0], NULL, NULL));
    SHOW(send(ends[0], "x", 1, 0));
    SHOW(socket(12345, SOCK_STREAM, 0));
    SHOW(socket(AF_UNIX, SOCK_RAW | 0x10000, 0));
    SHOW(connect(99, NULL, 0));
}
