/* Waits for things as event loops do. Each word is one try; it prints what came of it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MUST(what) do { if (!(what)) { printf("line %d: %s: %s\n", __LINE__, #what, strerror(errno)); exit(1); } } while (0)

static int watch(int set, int fd, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
}

static void levels(void) {
    int ends[2], set = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event found[4];
    MUST(pipe(ends) == 0 && watch(set, ends[0], EPOLLIN) == 0);
    MUST(watch(set, ends[0], EPOLLIN) == -1 && errno == EEXIST);
    MUST(epoll_wait(set, found, 4, 0) == 0);
    MUST(write(ends[1], "ab", 2) == 2);
    for (int i = 0; i < 2; i++) MUST(epoll_wait(set, found, 4, 1000) == 1 && found[0].events == EPOLLIN && found[0].data.fd == ends[0]);
    char two[2];
    MUST(read(ends[0], two, 2) == 2 && epoll_wait(set, found, 4, 10) == 0);
    close(ends[1]);
    MUST(epoll_wait(set, found, 4, 1000) == 1 && found[0].events == EPOLLHUP);
    close(ends[0]);
    MUST(epoll_wait(set, found, 4, 0) == 0);
    int file = open("/proc/self/maps", 0);
    MUST(watch(set, file, EPOLLIN) == -1 && errno == EPERM);
    MUST(watch(set, set, EPOLLIN) == -1 && errno == EINVAL);
}

static void edges(void) {
    int set = epoll_create1(0), bell = eventfd(0, EFD_NONBLOCK);
    struct epoll_event found[4];
    MUST(watch(set, bell, EPOLLIN | EPOLLET) == 0 && epoll_wait(set, found, 4, 0) == 0);
    uint64_t one = 1, count;
    for (int i = 0; i < 3; i++) {
        MUST(write(bell, &one, 8) == 8);
        MUST(epoll_wait(set, found, 4, 1000) == 1 && epoll_wait(set, found, 4, 0) == 0);
    }
    MUST(read(bell, &count, 8) == 8 && count == 3 && read(bell, &count, 8) == -1 && errno == EAGAIN);
    struct epoll_event once = {.events = EPOLLIN | EPOLLONESHOT};
    MUST(epoll_ctl(set, EPOLL_CTL_MOD, bell, &once) == 0 && write(bell, &one, 8) == 8);
    MUST(epoll_wait(set, found, 4, 1000) == 1 && write(bell, &one, 8) == 8 && epoll_wait(set, found, 4, 0) == 0);
    MUST(epoll_ctl(set, EPOLL_CTL_MOD, bell, &once) == 0 && epoll_wait(set, found, 4, 0) == 1);
    int outer = epoll_create1(0);
    MUST(epoll_ctl(set, EPOLL_CTL_MOD, bell, &once) == 0 && watch(outer, set, EPOLLIN) == 0);
    MUST(epoll_wait(outer, found, 4, 0) == 1);
    MUST(watch(set, outer, EPOLLIN) == -1 && errno == ELOOP);
}

static void *ringer(void *bell) {
    uint64_t one = 1;
    MUST(write((int)(intptr_t)bell, &one, 8) == 8);
    return NULL;
}

static void threads(void) {
    int set = epoll_create1(0), bell = eventfd(0, EFD_SEMAPHORE);
    struct epoll_event found;
    MUST(watch(set, bell, EPOLLIN) == 0);
    for (int i = 0; i < 20; i++) {
        pthread_t other;
        uint64_t count;
        MUST(pthread_create(&other, NULL, ringer, (void *)(intptr_t)bell) == 0);
        MUST(epoll_wait(set, &found, 1, -1) == 1 && read(bell, &count, 8) == 8 && count == 1);
        pthread_join(other, NULL);
    }
}

static void timers(void) {
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), set = epoll_create1(0);
    struct itimerspec spec = {.it_interval.tv_nsec = 5000000, .it_value.tv_nsec = 5000000};
    struct epoll_event found;
    uint64_t count, total = 0;
    MUST(read(timer, &count, 8) == -1 && errno == EAGAIN);
    MUST(timerfd_settime(timer, 0, &spec, NULL) == 0 && watch(set, timer, EPOLLIN) == 0);
    while (total < 5) {
        MUST(epoll_wait(set, &found, 1, 5000) == 1);
        MUST(read(timer, &count, 8) == 8 && count > 0);
        total += count;
    }
    struct itimerspec none = {0}, before;
    MUST(timerfd_settime(timer, 0, &none, &before) == 0 && before.it_interval.tv_nsec == 5000000);
    MUST(epoll_wait(set, &found, 1, 20) == 0);
}

static void signals(void) {
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigaddset(&mask, SIGCHLD);
    MUST(sigprocmask(SIG_BLOCK, &mask, NULL) == 0);
    int fd = signalfd(-1, &mask, SFD_NONBLOCK);
    struct signalfd_siginfo info;
    MUST(read(fd, &info, sizeof info) == -1 && errno == EAGAIN);
    raise(SIGUSR1);
    struct pollfd ready = {fd, POLLIN, 0};
    MUST(poll(&ready, 1, 1000) == 1 && read(fd, &info, sizeof info) == sizeof info && info.ssi_signo == SIGUSR1);
    if (fork() == 0) _exit(7);
    ready.revents = 0;
    MUST(poll(&ready, 1, 5000) == 1 && read(fd, &info, sizeof info) == sizeof info && info.ssi_signo == SIGCHLD);
    int status;
    MUST(wait(&status) > 0 && WEXITSTATUS(status) == 7);
    raise(SIGUSR1);
    struct timespec patience = {1, 0};
    MUST(sigtimedwait(&mask, NULL, &patience) == SIGUSR1);
    patience.tv_sec = 0;
    MUST(sigtimedwait(&mask, NULL, &patience) == -1 && errno == EAGAIN);
}

static void pairs(void) {
    int ends[2], pipes[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && pipe(pipes) == 0);
    if (fork() == 0) {
        char control[CMSG_SPACE(sizeof(int))] = {0}, byte;
        struct iovec part = {&byte, 1};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        close(pipes[1]);
        MUST(recvmsg(ends[1], &message, 0) == 1 && byte == 'x');
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        MUST(head && head->cmsg_type == SCM_RIGHTS);
        int fd;
        memcpy(&fd, CMSG_DATA(head), sizeof fd);
        MUST(write(fd, "through", 7) == 7);
        _exit(0);
    }
    char control[CMSG_SPACE(sizeof(int))] = {0}, text[16] = {0};
    struct iovec part = {"x", 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &pipes[1], sizeof(int));
    MUST(sendmsg(ends[0], &message, 0) == 1);
    close(pipes[1]);
    MUST(read(pipes[0], text, 16) == 7 && strcmp(text, "through") == 0);
    close(ends[1]);
    int status;
    MUST(wait(&status) > 0 && status == 0);
    MUST(read(ends[0], text, 1) == 0);
    MUST(send(ends[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
    MUST(write(ends[0], "one", 3) == 3 && write(ends[0], "four", 4) == 4);
    MUST(recv(ends[1], text, 2, MSG_TRUNC) == 3 && read(ends[1], text, 16) == 4);
}

static void named(void) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    strcpy(at.sun_path + 1, "here");
    socklen_t length = sizeof(sa_family_t) + 5;
    int server = socket(AF_UNIX, SOCK_STREAM, 0);
    MUST(bind(server, (void *)&at, length) == 0 && listen(server, 5) == 0);
    if (fork() == 0) {
        int client = socket(AF_UNIX, SOCK_STREAM, 0);
        char text[8] = {0};
        MUST(connect(client, (void *)&at, length) == 0 && write(client, "ping", 4) == 4);
        MUST(read(client, text, 8) == 4 && strcmp(text, "pong") == 0);
        _exit(0);
    }
    char text[8] = {0};
    int peer = accept(server, NULL, NULL), status;
    MUST(peer >= 0 && read(peer, text, 8) == 4 && strcmp(text, "ping") == 0 && write(peer, "pong", 4) == 4);
    MUST(wait(&status) > 0 && status == 0);
    int other = socket(AF_UNIX, SOCK_STREAM, 0);
    at.sun_path[1] = 'x';
    MUST(connect(other, (void *)&at, length) == -1 && errno == ECONNREFUSED);
}

static struct sockaddr_in local(const char *port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
}

/* A client whose socket is in the set before it is connected, as event loops have it. */
static void client(const char *port) {
    struct sockaddr_in at = local(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), set = epoll_create1(0), error = 1;
    struct epoll_event found;
    socklen_t size = sizeof error;
    MUST(watch(set, fd, EPOLLIN | EPOLLOUT | EPOLLET) == 0);
    MUST(connect(fd, (void *)&at, sizeof at) == 0 || errno == EINPROGRESS);
    do MUST(epoll_wait(set, &found, 1, 5000) == 1); while (found.events == (EPOLLOUT | EPOLLHUP));
    MUST(found.events & EPOLLOUT);
    MUST(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0);
    MUST(send(fd, "hello", 5, 0) == 5 && shutdown(fd, SHUT_WR) == 0);
    char text[16] = {0};
    ssize_t got;
    while ((got = recv(fd, text, 2, MSG_PEEK)) == -1) {
        MUST(errno == EAGAIN && epoll_wait(set, &found, 1, 5000) == 1);
    }
    size_t total = 0;
    while ((got = read(fd, text + total, sizeof text - total)) != 0) {
        if (got < 0) MUST(errno == EAGAIN && epoll_wait(set, &found, 1, 5000) == 1);
        else total += (size_t)got;
    }
    MUST(strcmp(text, "hello") == 0);
}

static void refused(const char *port) {
    struct sockaddr_in at = local(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), error = 0;
    socklen_t size = sizeof error;
    if (connect(fd, (void *)&at, sizeof at) == -1 && errno == ECONNREFUSED) return;
    MUST(errno == EINPROGRESS);
    struct pollfd ready = {fd, POLLOUT, 0};
    MUST(poll(&ready, 1, 5000) == 1);
    MUST(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == ECONNREFUSED);
}

/* Serves and calls itself. */
static void server(void) {
    struct sockaddr_in at = local("0");
    socklen_t length = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    MUST(bind(listener, (void *)&at, sizeof at) == 0 && listen(listener, 5) == 0);
    MUST(getsockname(listener, (void *)&at, &length) == 0 && at.sin_port != 0);
    if (fork() == 0) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        MUST(connect(fd, (void *)&at, length) == 0 && send(fd, "ping", 4, 0) == 4);
        char text[8] = {0};
        MUST(recv(fd, text, 4, MSG_WAITALL) == 4 && strcmp(text, "pong") == 0);
        _exit(0);
    }
    fd_set set;
    FD_ZERO(&set);
    FD_SET(listener, &set);
    MUST(select(listener + 1, &set, NULL, NULL, NULL) == 1 && FD_ISSET(listener, &set));
    int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC), status;
    char text[8] = {0};
    MUST(peer >= 0 && recv(peer, text, 8, 0) == 4 && strcmp(text, "ping") == 0);
    struct iovec parts[2] = {{"po", 2}, {"ng", 2}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    MUST(sendmsg(peer, &message, 0) == 4 && wait(&status) > 0 && status == 0);
}

static void datagrams(const char *port) {
    struct sockaddr_in at = local(port), from;
    socklen_t length = sizeof from;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    char text[16] = {0};
    struct timeval patience = {.tv_sec = 5};
    MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    MUST(sendto(fd, "hello", 5, 0, (void *)&at, sizeof at) == 5);
    MUST(recvfrom(fd, text, 2, MSG_PEEK | MSG_TRUNC, NULL, NULL) == 5);
    MUST(recvfrom(fd, text, 16, 0, (void *)&from, &length) == 5 && from.sin_port == at.sin_port && strcmp(text, "hello") == 0);
    patience = (struct timeval){.tv_usec = 20000};
    MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    MUST(recv(fd, text, 16, 0) == -1 && errno == EAGAIN);
}

static void name(const char *host) {
    struct addrinfo wish = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int failed = getaddrinfo(host, "80", &wish, &found);
    if (failed) {
        printf("%s: %s\n", host, gai_strerror(failed));
        return;
    }
    for (; found; found = found->ai_next) {
        char text[64];
        getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST);
        printf("%s: %s\n", host, text);
    }
}

int main(int count, char **words) {
    for (int i = 1; i < count; i++) {
        const char *word = words[i];
        if (!strcmp(word, "levels")) levels();
        else if (!strcmp(word, "edges")) edges();
        else if (!strcmp(word, "threads")) threads();
        else if (!strcmp(word, "timers")) timers();
        else if (!strcmp(word, "signals")) signals();
        else if (!strcmp(word, "pairs")) pairs();
        else if (!strcmp(word, "named")) named();
        else if (!strcmp(word, "server")) server();
        else if (!strcmp(word, "client")) client(words[++i]);
        else if (!strcmp(word, "refused")) refused(words[++i]);
        else if (!strcmp(word, "datagrams")) datagrams(words[++i]);
        else if (!strcmp(word, "name")) { name(words[++i]); continue; }
        else return 99;
        printf("ok %s\n", word);
    }
    return 0;
}
