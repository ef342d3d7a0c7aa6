/* Uses the network as an ordinary program does. Each word is done after the other; each prints a line. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int is(const char *a, const char *b) { return strcmp(a, b) == 0; }

static void failed(void) {
    printf("err %s\n", strerrorname_np(errno));
    fflush(stdout);
}

static socklen_t address(const char *host, const char *port, struct sockaddr_storage *at) {
    struct sockaddr_in *four = (void *)at;
    struct sockaddr_in6 *six = (void *)at;
    memset(at, 0, sizeof *at);
    if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(atoi(port));
        return sizeof *four;
    }
    if (inet_pton(AF_INET6, host, &six->sin6_addr) != 1) exit(98);
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(atoi(port));
    return sizeof *six;
}

/* Sends a word and reads it back, until the other end closes. */
static void echo(int fd) {
    char buffer[64] = {0};
    size_t got = 0;
    if (send(fd, "hello", 5, 0) != 5) return failed();
    shutdown(fd, SHUT_WR);
    for (;;) {
        ssize_t n = read(fd, buffer + got, sizeof buffer - 1 - got);
        if (n < 0) return failed();
        if (n == 0) break;
        got += (size_t)n;
    }
    printf("ok %s\n", buffer);
}

static void tcp(const char *host, const char *port) {
    struct sockaddr_storage at;
    socklen_t length = address(host, port, &at);
    int fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, now = 0;
    socklen_t size = sizeof now;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (void *)&at, length)) failed();
    else {
        getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &now, &size);
        if (now != 1 || (fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0 || (fcntl(fd, F_GETFL) & O_NONBLOCK)) printf("settings lost ");
        if (connect(fd, (void *)&at, length) == 0 || errno != EISCONN) printf("connected twice ");
        echo(fd);
    }
    close(fd);
}

/* On a socket that is bound to the device datagrams leave by. */
static void tcp_device(const char *host, const char *port) {
    struct sockaddr_storage at;
    socklen_t length = address(host, port, &at);
    int fd = socket(at.ss_family, SOCK_STREAM, 0);
    if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "net", 3)) failed();
    else if (connect(fd, (void *)&at, length)) failed();
    else echo(fd);
    close(fd);
}

static void nonblocking(const char *host, const char *port) {
    struct sockaddr_storage at;
    socklen_t length = address(host, port, &at);
    int fd = socket(at.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0), error = 0;
    socklen_t size = sizeof error;
    if (connect(fd, (void *)&at, length) && errno != EINPROGRESS) return failed();
    struct pollfd ready = {fd, POLLOUT, 0};
    poll(&ready, 1, 10000);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        errno = error;
        return failed();
    }
    if (!(fcntl(fd, F_GETFL) & O_NONBLOCK)) printf("waits ");
    fcntl(fd, F_SETFL, 0);
    echo(fd);
    close(fd);
}

static void udp(const char *host, const char *port, int connected) {
    struct sockaddr_storage at;
    socklen_t length = address(host, port, &at);
    int fd = socket(at.ss_family, SOCK_DGRAM, 0);
    char buffer[64] = {0};
    struct timeval patience = {.tv_sec = 5};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connected && connect(fd, (void *)&at, length)) return failed();
    struct iovec part = {"hello", 5};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (!connected) message.msg_name = &at, message.msg_namelen = length;
    if (sendmsg(fd, &message, 0) != 5) return failed();
    struct sockaddr_storage from;
    socklen_t size = sizeof from;
    if (recvfrom(fd, buffer, sizeof buffer - 1, 0, (void *)&from, &size) < 0) return failed();
    if (size != length || memcmp(&from, &at, 8)) printf("from another ");
    printf("ok %s\n", buffer);
    close(fd);
}

/* Sends until there is an answer. */
static void udp_again(const char *host, const char *port) {
    struct sockaddr_storage at;
    socklen_t length = address(host, port, &at);
    int fd = socket(at.ss_family, SOCK_DGRAM, 0);
    struct timeval patience = {.tv_usec = 200000};
    char buffer[64] = {0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (void *)&at, length)) return failed();
    for (int tries = 0; tries < 50; tries++) {
        send(fd, "hello", 5, 0);
        if (recv(fd, buffer, sizeof buffer - 1, 0) > 0) {
            printf("ok %s\n", buffer);
            close(fd);
            return;
        }
    }
    failed();
}

/* Sends by every call there is, to an address and connected; prints how each went at once. */
static void udp_ways(const char *host, const char *port) {
    struct sockaddr_storage at;
    socklen_t length = address(host, port, &at);
    int fd = socket(at.ss_family, SOCK_DGRAM, 0);
    struct iovec part = {"secret", 6};
    struct mmsghdr many[2] = {0};
    for (int i = 0; i < 2; i++) {
        many[i].msg_hdr.msg_name = &at, many[i].msg_hdr.msg_namelen = length;
        many[i].msg_hdr.msg_iov = &part, many[i].msg_hdr.msg_iovlen = 1;
    }
    printf("%d", sendto(fd, "secret", 6, 0, (void *)&at, length) == 6);
    printf(" %d", sendmsg(fd, &many[0].msg_hdr, 0) == 6);
    printf(" %d", sendmmsg(fd, many, 2, 0) == 2);
    if (connect(fd, (void *)&at, length)) printf(" %s", strerrorname_np(errno));
    else printf(" %d %d", send(fd, "secret", 6, 0) == 6, write(fd, "secret", 6) == 6);
    printf("\n");
    close(fd);
}

/* Many sockets at once, each with a word of its own; prints how many words came back to their own socket. */
static void udp_many(const char *host, const char *port, int count) {
    struct sockaddr_storage at;
    socklen_t length = address(host, port, &at);
    int *fds = calloc((size_t)count, sizeof *fds), back = 0;
    struct timeval patience = {.tv_usec = 500000};
    char word[32], buffer[64];
    for (int i = 0; i < count; i++) {
        fds[i] = socket(at.ss_family, SOCK_DGRAM, 0);
        setsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (i % 2 && connect(fds[i], (void *)&at, length)) return failed();
        sendto(fds[i], word, (size_t)sprintf(word, "word %d", i), 0, i % 2 ? NULL : (void *)&at, i % 2 ? 0 : length);
    }
    for (int i = 0; i < count; i++) {
        ssize_t n, size = sprintf(word, "word %d", i);
        /* On a busy machine one is lost now and then. */
        for (int tries = 0; (n = recv(fds[i], buffer, sizeof buffer, 0)) < 0 && errno == EAGAIN && tries < 10; tries++)
            sendto(fds[i], word, (size_t)size, 0, i % 2 ? NULL : (void *)&at, i % 2 ? 0 : length);
        if (n == size && memcmp(word, buffer, (size_t)n) == 0) back++;
        else printf("lost %d: %s ", i, n < 0 ? strerrorname_np(errno) : "another");
        close(fds[i]);
    }
    printf("back %d\n", back);
}

/* Datagrams of many sizes; prints those that did not come back as they were. */
static void udp_sizes(const char *host, const char *port) {
    static char sent[65536], got[65536];
    int sizes[] = {0, 1, 512, 1472, 1473, 9000, 32768, 65000, 65487};
    struct sockaddr_storage at;
    socklen_t length = address(host, port, &at);
    int fd = socket(at.ss_family, SOCK_DGRAM, 0);
    struct timeval patience = {.tv_sec = 5};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (void *)&at, length)) return failed();
    for (size_t i = 0; i < sizeof sent; i++) sent[i] = (char)(i * 7 + i / 251);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = (size_t)sizes[i];
        if (send(fd, sent, size, 0) != (ssize_t)size) return failed();
        ssize_t n = recv(fd, got, sizeof got, 0);
        if (n != (ssize_t)size || memcmp(sent, got, size)) printf("%d became %d ", sizes[i], (int)n);
    }
    printf("ok\n");
    close(fd);
}

/* One call that the kernel makes three datagrams of. */
static void udp_segments(const char *host, const char *port) {
    struct sockaddr_storage at;
    socklen_t length = address(host, port, &at);
    int fd = socket(at.ss_family, SOCK_DGRAM, 0), size = 100;
    struct timeval patience = {.tv_sec = 5};
    char sent[250] = {0}, got[512];
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (setsockopt(fd, IPPROTO_UDP, 103 /* UDP_SEGMENT */, &size, sizeof size)) return failed();
    if (sendto(fd, sent, sizeof sent, 0, (void *)&at, length) != sizeof sent) return failed();
    for (int i = 0; i < 3; i++) printf("%d ", (int)recv(fd, got, sizeof got, 0));
    printf("\n");
    close(fd);
}

/* To a port nobody is at: what a connected socket is told, and that it goes on. */
static void udp_refused(const char *host, const char *port) {
    struct sockaddr_storage at;
    socklen_t length = address(host, port, &at);
    int fd = socket(at.ss_family, SOCK_DGRAM, 0);
    struct timeval patience = {.tv_sec = 5};
    char byte;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (void *)&at, length)) return failed();
    for (int i = 0; i < 2; i++) {
        if (send(fd, "x", 1, 0) != 1 || recv(fd, &byte, 1, 0) >= 0) printf("answered ");
        failed();
    }
    close(fd);
}

/* Binds, prints the port, and answers so many datagrams; then does it again on another socket. */
static void udp_serve(const char *host, const char *port, int count) {
    char buffer[65536], number[16];
    for (int turn = 0; turn < 2; turn++) {
        struct sockaddr_storage at, peer;
        socklen_t length = address(host, turn ? number : port, &at), size = sizeof at;
        int fd = socket(at.ss_family, SOCK_DGRAM, 0);
        if (bind(fd, (void *)&at, length)) return failed();
        if (bind(fd, (void *)&at, length) == 0) printf("bound twice ");
        getsockname(fd, (void *)&at, &size);
        sprintf(number, "%d", ntohs(((struct sockaddr_in *)&at)->sin_port));
        printf("port %s\n", number);
        fflush(stdout);
        for (int i = 0; i < count; i++) {
            size = sizeof peer;
            ssize_t n = recvfrom(fd, buffer, sizeof buffer, 0, (void *)&peer, &size);
            if (n < 0 || sendto(fd, buffer, (size_t)n, 0, (void *)&peer, size) != n) return failed();
        }
        close(fd);
    }
    printf("served\n");
}

/* Sends and is gone. */
static void udp_send(const char *host, const char *port) {
    struct sockaddr_storage at;
    socklen_t length = address(host, port, &at);
    if (sendto(socket(at.ss_family, SOCK_DGRAM, 0), "last", 4, 0, (void *)&at, length) != 4) failed();
}

/* From many source ports to many destinations, over and over. */
static void udp_flood(const char *host, int count) {
    struct sockaddr_storage at;
    for (int i = 0; i < count; i++) {
        char port[16];
        sprintf(port, "%d", 1 + i % 65535);
        socklen_t length = address(host, port, &at);
        int fd = socket(at.ss_family, SOCK_DGRAM, 0);
        sendto(fd, "flood", 5, 0, (void *)&at, length);
        close(fd);
    }
    printf("flooded\n");
}

/* Over so many connections at once: sends so many bytes on each, takes what comes, and prints how much came. */
static void transfer(const char *host, const char *port, int count, long bytes) {
    struct sockaddr_storage at;
    socklen_t length = address(host, port, &at);
    static char chunk[65536];
    long sent[64] = {0}, got = 0;
    int open = count;
    struct pollfd fds[64];
    for (int i = 0; i < count; i++) {
        int fd = socket(at.ss_family, SOCK_STREAM, 0);
        if (connect(fd, (void *)&at, length)) return failed();
        fcntl(fd, F_SETFL, O_NONBLOCK);
        if (!bytes) shutdown(fd, SHUT_WR);
        fds[i] = (struct pollfd){fd, POLLIN | (bytes ? POLLOUT : 0), 0};
    }
    while (open && poll(fds, (nfds_t)count, 20000) > 0)
        for (int i = 0; i < count; i++) {
            if (fds[i].revents & POLLOUT && sent[i] < bytes) {
                long left = bytes - sent[i];
                ssize_t n = send(fds[i].fd, chunk, left < 65536 ? (size_t)left : 65536, MSG_NOSIGNAL);
                if (n > 0) sent[i] += n;
                if (sent[i] == bytes) fds[i].events = POLLIN, shutdown(fds[i].fd, SHUT_WR);
            }
            if (fds[i].revents & ~POLLOUT) {
                ssize_t n = recv(fds[i].fd, chunk, sizeof chunk, 0);
                if (n > 0) got += n;
                else if (n == 0 || errno != EAGAIN) {
                    if (n < 0) failed();
                    fds[i].fd = -1 - fds[i].fd, open--;
                }
            }
        }
    printf("got %ld\n", got);
}

static void resolve(const char *name) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found, *each;
    int error = getaddrinfo(name, "443", &hints, &found);
    if (error) {
        printf("err %s\n", gai_strerror(error));
        return;
    }
    printf("ok");
    for (each = found; each; each = each->ai_next) {
        char text[64];
        getnameinfo(each->ai_addr, each->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST);
        printf(" %s", text);
    }
    printf("\n");
    freeaddrinfo(found);
}

static void by_name(const char *name, const char *port) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(name, port, &hints, &found)) {
        printf("err no name\n");
        return;
    }
    int fd = socket(found->ai_family, SOCK_STREAM, 0);
    if (connect(fd, found->ai_addr, found->ai_addrlen)) failed();
    else echo(fd);
    close(fd);
}

/* Binds, listens, prints the port, and echoes one connection. */
static void serve(const char *host, const char *port, int bound) {
    struct sockaddr_storage at;
    socklen_t length = address(host, port, &at), size = sizeof at;
    int fd = socket(at.ss_family, SOCK_STREAM, 0);
    if (bound && bind(fd, (void *)&at, length)) return failed();
    if (listen(fd, 8) || listen(fd, 16)) return failed();
    getsockname(fd, (void *)&at, &size);
    printf("port %d\n", ntohs(((struct sockaddr_in *)&at)->sin_port));
    fflush(stdout);
    int peer = accept(fd, NULL, NULL);
    if (peer < 0) return failed();
    char buffer[64];
    for (ssize_t n; (n = read(peer, buffer, sizeof buffer)) > 0;)
        if (write(peer, buffer, (size_t)n) != n) return failed();
    close(peer);
    close(fd);
    printf("served\n");
}

static void print_end(const char *what, int (*end)(int, struct sockaddr *, socklen_t *), int fd) {
    struct sockaddr_storage at;
    socklen_t length = sizeof at;
    char host[64], port[8];
    if (end(fd, (void *)&at, &length)) return failed();
    getnameinfo((void *)&at, length, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    printf("%s %s %s\n", what, host, port);
}

/* Listens, prints the port, and so many times: accepts, prints both ends, sends so many bytes and echoes what comes. */
static void serve_each(const char *host, const char *port, int count, long bytes) {
    struct sockaddr_storage at;
    socklen_t length = address(host, port, &at), size = sizeof at;
    static char chunk[65536];
    int fd = socket(at.ss_family, SOCK_STREAM, 0);
    if (bind(fd, (void *)&at, length) || listen(fd, 8)) return failed();
    getsockname(fd, (void *)&at, &size);
    printf("port %d\n", ntohs(((struct sockaddr_in *)&at)->sin_port));
    fflush(stdout);
    for (int i = 0; i < count; i++) {
        /* As servers do: not before it is ready. */
        struct pollfd waiting = {fd, POLLIN, 0};
        if (poll(&waiting, 1, 20000) != 1) return failed();
        int peer = accept(fd, NULL, NULL);
        if (peer < 0) return failed();
        print_end("from", getpeername, peer);
        print_end("at", getsockname, peer);
        fflush(stdout);
        for (long left = bytes; left > 0;) {
            ssize_t n = write(peer, chunk, left < 65536 ? (size_t)left : 65536);
            if (n < 0) return failed();
            left -= n;
        }
        for (ssize_t n; (n = read(peer, chunk, sizeof chunk)) > 0;)
            if (write(peer, chunk, (size_t)n) != n) return failed();
        close(peer);
    }
    close(fd);
}

static void bind_only(const char *host, const char *port, int kind) {
    struct sockaddr_storage at;
    socklen_t length = address(host, port, &at);
    int fd = socket(at.ss_family, kind, 0);
    if (bind(fd, (void *)&at, length)) failed();
    else printf("ok\n");
    close(fd);
}

/* Binds and closes over and over, each time the same port; then listens at it. */
static void bind_again(const char *host, const char *port, int count) {
    struct sockaddr_storage at;
    socklen_t length = address(host, port, &at);
    for (int i = 0; i < count; i++) {
        int fd = socket(at.ss_family, SOCK_STREAM, 0);
        if (bind(fd, (void *)&at, length)) return failed();
        if (i == count - 1 && listen(fd, 8)) return failed();
        close(fd);
    }
    printf("ok\n");
}

/* Binds in one process and listens in another, while others are bound. */
static void bind_and_hand_over(const char *host) {
    struct sockaddr_storage at;
    socklen_t length = address(host, "0", &at);
    int first = socket(at.ss_family, SOCK_STREAM, 0), second = socket(at.ss_family, SOCK_STREAM, 0);
    if (bind(first, (void *)&at, length)) return failed();
    fflush(stdout);
    if (fork() == 0) {
        if (bind(second, (void *)&at, length) || listen(first, 8) || listen(second, 8)) failed();
        else printf("ok\n");
        exit(0);
    }
    close(first);
    wait(NULL);
}

/* One thread changes the address all the time while the other connects. */
static struct sockaddr_in shared;
static volatile int racing = 1;
static uint16_t ports[2];

static void *swapper(void *nothing) {
    while (racing) {
        *(volatile uint16_t *)&shared.sin_port = ports[0];
        *(volatile uint16_t *)&shared.sin_port = ports[1];
    }
    return nothing;
}

static void race(const char *allowed, const char *forbidden) {
    pthread_t thread;
    int connected = 0, denied = 0;
    ports[0] = htons(atoi(allowed));
    ports[1] = htons(atoi(forbidden));
    shared.sin_family = AF_INET;
    inet_pton(AF_INET, "127.0.0.1", &shared.sin_addr);
    pthread_create(&thread, NULL, swapper, NULL);
    /* Until both have happened: the other thread may not run for a while. */
    for (int i = 0; i < 400 || !connected || !denied; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (void *)&shared, sizeof shared) == 0) connected++;
        else if (errno == EACCES) denied++;
        close(fd);
    }
    racing = 0;
    pthread_join(thread, NULL);
    printf("raced %d %d\n", connected > 0, denied > 0);
}

/* Tries to lead a socket that was handed over elsewhere. */
static void reuse(const char *allowed, const char *forbidden) {
    struct sockaddr_storage at, other;
    socklen_t length = address("127.0.0.1", allowed, &at), elsewhere = address("127.0.0.1", forbidden, &other);
    struct linger at_once = {1, 0};
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (void *)&at, length)) return failed();
    if (connect(fd, &nobody, sizeof nobody) == 0) printf("disconnected\n");
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    shutdown(fd, SHUT_RDWR);
    char byte;
    while (read(fd, &byte, 1) > 0) {}
    struct sockaddr_storage peer;
    for (socklen_t size = sizeof peer; getpeername(fd, (void *)&peer, &size) == 0; size = sizeof peer) usleep(100);
    if (connect(fd, (void *)&other, elsewhere)) failed();
    if (sendto(fd, "x", 1, MSG_FASTOPEN, (void *)&other, elsewhere) < 0) failed();
    if (bind(fd, (void *)&other, elsewhere)) failed();
    if (listen(fd, 1)) failed();
    close(fd);
}

int main(int count, char **words) {
    signal(SIGPIPE, SIG_IGN);
    for (int i = 1; i < count; i++) {
        const char *what = words[i];
        if (is(what, "tcp")) tcp(words[i + 1], words[i + 2]), i += 2;
        else if (is(what, "nonblocking")) nonblocking(words[i + 1], words[i + 2]), i += 2;
        else if (is(what, "udp")) udp(words[i + 1], words[i + 2], 0), i += 2;
        else if (is(what, "udp-connected")) udp(words[i + 1], words[i + 2], 1), i += 2;
        else if (is(what, "udp-again")) udp_again(words[i + 1], words[i + 2]), i += 2;
        else if (is(what, "udp-ways")) udp_ways(words[i + 1], words[i + 2]), i += 2;
        else if (is(what, "udp-serve")) udp_serve(words[i + 1], words[i + 2], atoi(words[i + 3])), i += 3;
        else if (is(what, "udp-send")) udp_send(words[i + 1], words[i + 2]), i += 2;
        else if (is(what, "tcp-device")) tcp_device(words[i + 1], words[i + 2]), i += 2;
        else if (is(what, "transfer")) transfer(words[i + 1], words[i + 2], atoi(words[i + 3]), atol(words[i + 4])), i += 4;
        else if (is(what, "udp-many")) udp_many(words[i + 1], words[i + 2], atoi(words[i + 3])), i += 3;
        else if (is(what, "udp-sizes")) udp_sizes(words[i + 1], words[i + 2]), i += 2;
        else if (is(what, "udp-segments")) udp_segments(words[i + 1], words[i + 2]), i += 2;
        else if (is(what, "udp-refused")) udp_refused(words[i + 1], words[i + 2]), i += 2;
        else if (is(what, "udp-flood")) udp_flood(words[i + 1], atoi(words[i + 2])), i += 2;
        else if (is(what, "resolve")) resolve(words[i + 1]), i += 1;
        else if (is(what, "name")) by_name(words[i + 1], words[i + 2]), i += 2;
        else if (is(what, "serve")) serve(words[i + 1], words[i + 2], 1), i += 2;
        else if (is(what, "serve-each")) serve_each(words[i + 1], words[i + 2], atoi(words[i + 3]), atol(words[i + 4])), i += 4;
        else if (is(what, "serve-unbound")) serve("0.0.0.0", "0", 0);
        else if (is(what, "bind-again")) bind_again(words[i + 1], words[i + 2], atoi(words[i + 3])), i += 3;
        else if (is(what, "bind-and-hand-over")) bind_and_hand_over(words[i + 1]), i += 1;
        else if (is(what, "bind")) bind_only(words[i + 1], words[i + 2], SOCK_STREAM), i += 2;
        else if (is(what, "bind-udp")) bind_only(words[i + 1], words[i + 2], SOCK_DGRAM), i += 2;
        else if (is(what, "race")) race(words[i + 1], words[i + 2]), i += 2;
        else if (is(what, "reuse")) reuse(words[i + 1], words[i + 2]), i += 2;
        else return 99;
    }
    return 0;
}
