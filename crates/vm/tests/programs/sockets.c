/* What sockets answer on Linux, each case for one word; the same program says the same on the host. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUST(what) do { if (!(what)) { printf("line %d: %s: %s\n", __LINE__, #what, strerror(errno)); exit(1); } } while (0)
#define FAILS(what, why) do { errno = 0; if ((what) != -1 || errno != (why)) { \
    printf("line %d: %s: %s, not %s\n", __LINE__, #what, strerror(errno), strerror(why)); exit(1); } } while (0)

typedef struct sockaddr *Any;

static struct sockaddr_in local(void) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

/* A socket that is bound to the host itself; where, is told in `at`. */
static int bound(int type, struct sockaddr_in *at) {
    socklen_t length = sizeof *at;
    int fd = socket(AF_INET, type, 0);
    *at = local();
    MUST(fd >= 0 && bind(fd, (Any)at, sizeof *at) == 0 && getsockname(fd, (Any)at, &length) == 0);
    if (type == SOCK_STREAM) MUST(listen(fd, 5) == 0);
    return fd;
}

/* The unspecified address as a peer means the host itself. */
static void unspecified(void) {
    struct sockaddr_in at, peer;
    socklen_t length = sizeof peer;
    char text[8];
    int server = bound(SOCK_STREAM, &at), client = socket(AF_INET, SOCK_STREAM, 0);
    at.sin_addr.s_addr = INADDR_ANY;
    MUST(connect(client, (Any)&at, sizeof at) == 0 && accept(server, NULL, NULL) >= 0);
    MUST(getpeername(client, (Any)&peer, &length) == 0 && peer.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    server = bound(SOCK_DGRAM, &at), client = socket(AF_INET, SOCK_DGRAM, 0);
    at.sin_addr.s_addr = INADDR_ANY;
    MUST(sendto(client, "one", 3, 0, (Any)&at, sizeof at) == 3 && recv(server, text, 8, 0) == 3);
    MUST(connect(client, (Any)&at, sizeof at) == 0 && send(client, "four", 4, 0) == 4);
    MUST(recv(server, text, 8, 0) == 4);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    server = socket(AF_INET6, SOCK_STREAM, 0), client = socket(AF_INET6, SOCK_STREAM, 0);
    length = sizeof six;
    if (bind(server, (Any)&six, length) == -1 && errno == EADDRNOTAVAIL) return;
    MUST(getsockname(server, (Any)&six, &length) == 0 && listen(server, 1) == 0);
    six.sin6_addr = in6addr_any;
    MUST(connect(client, (Any)&six, length) == 0 && accept(server, NULL, NULL) >= 0);
}

int main(int count, char **words) {
    signal(SIGPIPE, SIG_IGN);
    for (int each = 1; each < count; each++) {
        const char *word = words[each];
        if (!strcmp(word, "unspecified")) unspecified();
        else return 99;
        printf("ok %s\n", word);
        fflush(stdout);
    }
    return 0;
}
