/* unix(7): names; bind(2), listen(2), accept(2) */
#include "show.h"
#include <sys/socket.h>
#include <sys/un.h>
int main(void) {
    struct sockaddr_un here = {.sun_family = AF_UNIX}, peer;
    strcpy(here.sun_path + 1, "ringfence-shows");
    socklen_t size = offsetof(struct sockaddr_un, sun_path) + 16, length = sizeof peer;
    char buffer[64] = {0};
    int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
    SHOW(connect(c, (void *)&here, size));
    SHOW(accept(l, NULL, NULL));
    SHOW(bind(l, (void *)&here, size));
    SHOW(bind(l, (void *)&here, size));
    SHOW(connect(c, (void *)&here, size));
    SHOW(listen(l, 5));
    int second = socket(AF_UNIX, SOCK_STREAM, 0);
    SHOW(bind(second, (void *)&here, size));
    SHOW(getsockname(l, (void *)&peer, &length));
    SHOW(length == size && memcmp(&peer, &here, size) == 0);
    SHOW(connect(c, (void *)&here, size));
    SHOW(connect(c, (void *)&here, size));
    length = sizeof peer;
    int s = accept4(l, (void *)&peer, &length, SOCK_NONBLOCK);
    MUST(s > 0);
    SHOW(length);
    SHOW(read(s, buffer, 8));
    SHOW(write(c, "hello", 5));
    SHOW(read(s, buffer, 8));
    puts(buffer);
    length = sizeof peer;
    SHOW(getpeername(c, (void *)&peer, &length));
    SHOW(length == size);
    length = sizeof peer;
    SHOW(getpeername(l, (void *)&peer, &length));
    struct ucred who;
    length = sizeof who;
    SHOW(getsockopt(s, SOL_SOCKET, SO_PEERCRED, &who, &length));
    SHOW(who.pid == getpid() && who.uid == getuid());
    SHOW(fcntl(l, F_SETFL, O_NONBLOCK));
    SHOW(accept(l, NULL, NULL));
    close(s);
    SHOW(read(c, buffer, 8));
    close(l);
    close(c);
    c = socket(AF_UNIX, SOCK_STREAM, 0);
    SHOW(connect(c, (void *)&here, size));
    here.sun_family = 99;
    SHOW(connect(c, (void *)&here, size));
    here.sun_family = AF_UNIX;
    int d = socket(AF_UNIX, SOCK_DGRAM, 0), e = socket(AF_UNIX, SOCK_DGRAM, 0);
    SHOW(bind(d, (void *)&here, size));
    SHOW(sendto(e, "datagram", 8, 0, (void *)&here, size));
    length = sizeof peer;
    SHOW(recvfrom(d, buffer, 4, 0, (void *)&peer, &length));
    SHOW(connect(e, (void *)&here, size));
    SHOW(send(e, "more", 4, 0));
    SHOW(recv(d, buffer, 64, 0));
    SHOW(send(d, "nobody", 6, 0));
}
