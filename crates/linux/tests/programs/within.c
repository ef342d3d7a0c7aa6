/* Unix sockets of a program's own: within PATH ..., where a PATH that begins with @ is an abstract name. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static socklen_t address(const char *path, struct sockaddr_un *at) {
    memset(at, 0, sizeof *at);
    at->sun_family = AF_UNIX;
    strncpy(at->sun_path, path, sizeof at->sun_path - 1);
    if (path[0] == '@') at->sun_path[0] = 0;
    return offsetof(struct sockaddr_un, sun_path) + strlen(path) + (path[0] != '@');
}

static void say(const char *what, int result) {
    printf("%s %s\n", what, result < 0 ? strerrorname_np(errno) : "done");
    fflush(stdout);
}

static int try_bind(const char *path) {
    struct sockaddr_un at;
    socklen_t length = address(path, &at);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    say("bind", bind(fd, (void *)&at, length));
    return fd;
}

static int try_connect(const char *path) {
    struct sockaddr_un at;
    socklen_t length = address(path, &at);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    say("connect", connect(fd, (void *)&at, length));
    return fd;
}

/* A child connects and says a word; who it is and what the socket is called is what it is without walls. */
static void talk(const char *path, int kind) {
    struct sockaddr_un at, named;
    socklen_t length = address(path, &at), size = sizeof named;
    int listener = socket(AF_UNIX, kind, 0);
    if (bind(listener, (void *)&at, length) || listen(listener, 4)) return say("listen", -1);
    if (getsockname(listener, (void *)&named, &size) || size != length || memcmp(&at, &named, size)) puts("another name");
    struct stat found;
    if (path[0] != '@' && (stat(path, &found) || !S_ISSOCK(found.st_mode))) puts("no socket there");
    pid_t child = fork();
    if (child == 0) {
        int fd = socket(AF_UNIX, kind | SOCK_NONBLOCK, 0);
        if (connect(fd, (void *)&at, length)) say("connect", -1);
        size = sizeof named;
        if (getpeername(fd, (void *)&named, &size) || size != length || memcmp(&at, &named, size)) puts("another peer");
        if (connect(fd, (void *)&at, length) == 0 || errno != EISCONN) puts("connected twice");
        _exit(write(fd, "word", 4) != 4);
    }
    int stream = accept(listener, NULL, NULL);
    char word[8] = {0};
    if (read(stream, word, 4) < 0) say("read", -1);
    struct ucred who;
    size = sizeof who;
    getsockopt(stream, SOL_SOCKET, SO_PEERCRED, &who, &size);
    int status;
    waitpid(child, &status, 0);
    printf("heard %s, %s user, %d\n", word, who.uid == geteuid() ? "the same" : "another", status);
    fflush(stdout);
    close(listener);
    close(stream);
}

static void *connecting(void *path) {
    try_connect(path);
    return NULL;
}

/* A connection for which there is no room waits until there is, as many of them as there are. */
static void crowded(const char *path) {
    struct sockaddr_un at;
    socklen_t length = address(path, &at);
    enum { CROWD = 40 };
    pthread_t crowd[CROWD];
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), at_once = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(listener, (void *)&at, length) || listen(listener, 0)) return say("listen", -1);
    try_connect(path);
    say("at once", connect(at_once, (void *)&at, length));
    for (int i = 0; i < CROWD; i++) pthread_create(&crowd[i], NULL, connecting, (void *)path);
    for (int i = 0; i < CROWD + 1; i++) close(accept(listener, NULL, NULL));
    for (int i = 0; i < CROWD; i++) pthread_join(crowd[i], NULL);
}

static int given_up;
static struct sockaddr_un full;
static socklen_t full_length;

static void *waits_for_nobody(void *none) {
    connect(given_up, (void *)&full, full_length);
    return none;
}

/* Ends while a connection is waited for that nobody accepts, whose socket is connected elsewhere meanwhile and holds the
   very listener. */
static void give_up(const char *path, int toggles) {
    char name[64];
    snprintf(name, sizeof name, "%s.%d", path, getpid());
    struct sockaddr_un other;
    full_length = address(name, &full);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), first = socket(AF_UNIX, SOCK_STREAM, 0), ends = 0;
    if (bind(listener, (void *)&full, full_length) || listen(listener, 0)) return say("listen", -1);
    if (connect(first, (void *)&full, full_length)) return say("connect", -1);
    strcat(name, "b");
    socklen_t length = address(name, &other);
    int second = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(second, (void *)&other, length) || listen(second, 4)) return say("listen", -1);
    given_up = socket(AF_UNIX, SOCK_STREAM | (toggles ? SOCK_NONBLOCK : 0), 0);
    pthread_t thread;
    pthread_create(&thread, NULL, waits_for_nobody, NULL);
    for (int i = 0; toggles && i < 20000; i++) fcntl(given_up, F_SETFL, i % 2 ? O_NONBLOCK : 0);
    usleep(20000);
    fcntl(given_up, F_SETFL, O_NONBLOCK);
    connect(given_up, (void *)&other, length);
    fcntl(second, F_SETFL, O_NONBLOCK);
    if ((ends = accept(second, NULL, NULL)) >= 0) {
        char control[CMSG_SPACE(sizeof(int))] = {0}, byte = 'x';
        struct iovec part = {&byte, 1};
        struct msghdr message = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS, header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &listener, sizeof listener);
        sendmsg(ends, &message, 0);
    }
}

/* However many give up, others are served. */
static void stuck(const char *path) {
    int status;
    for (int i = 0; i < 40; i++)
        if (fork() == 0) {
            give_up(path, i % 2);
            _exit(0);
        }
    while (wait(&status) > 0) {}
    talk(path, SOCK_STREAM);
}

static struct sockaddr_un shared;
static const char *names[2];
static volatile int racing = 1;

static void *swap_names(void *unused) {
    for (int i = 0; racing; i++) strcpy(shared.sun_path, names[i % 2]);
    return unused;
}

/* The name changes while it is looked at. */
static void race(const char *own, const char *outside) {
    struct sockaddr_un at;
    address(own, &at);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), connected = 0, denied = 0;
    if (bind(listener, (void *)&at, sizeof at) || listen(listener, 100)) return say("listen", -1);
    names[0] = own, names[1] = outside;
    shared = at;
    pthread_t thread;
    pthread_create(&thread, NULL, swap_names, NULL);
    for (int i = 0; i < 2000 || !connected || !denied; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(fd, (void *)&shared, sizeof shared) == 0) connected++;
        else denied++;
        close(fd);
        close(accept(listener, NULL, NULL));
    }
    racing = 0;
    pthread_join(thread, NULL);
    puts("raced");
}

static int ends[3];

static void *swap_sockets(void *unused) {
    for (int i = 0; racing; i++) dup2(ends[i % 2], ends[2]);
    return unused;
}

/* A socket of TCP takes the place of a Unix socket that is just being bound, or listens. What was given for a connection
   that nobody takes is the host's, and is free again when it is called off. */
static void swapped(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    ends[1] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    say("connect", connect(ends[1], (void *)&to, sizeof to));
    say("shutdown", shutdown(ends[1], SHUT_RDWR));
    socklen_t size;
    struct sockaddr_in was = {0}, is;
    size = sizeof was;
    getsockname(ends[1], (void *)&was, &size);
    ends[0] = socket(AF_UNIX, SOCK_STREAM, 0);
    ends[2] = dup(ends[0]);
    union {
        struct sockaddr_un within;
        struct sockaddr_in outside;
    } at = {0};
    pthread_t thread;
    pthread_create(&thread, NULL, swap_sockets, NULL);
    int bound = 0, listens = 0;
    for (int i = 0; i < 4000; i++) {
        at.within.sun_family = i % 3 ? AF_UNIX : AF_INET;
        bind(ends[2], (void *)&at, sizeof at.within);
        listen(ends[2], 1);
        int value = 0;
        size = sizeof is;
        if (getsockname(ends[1], (void *)&is, &size) || is.sin_port != was.sin_port) bound++;
        size = sizeof value;
        getsockopt(ends[1], SOL_SOCKET, SO_ACCEPTCONN, &value, &size);
        listens += value;
    }
    racing = 0;
    pthread_join(thread, NULL);
    printf("bound %d, listened %d\n", bound, listens);
}

int main(int count, char **words) {
    for (int i = 1; i < count; i++) {
        const char *what = words[i], *path = words[i + 1];
        if (!strcmp(what, "talk")) talk(path, SOCK_STREAM), i++;
        else if (!strcmp(what, "talk-packets")) talk(path, SOCK_SEQPACKET), i++;
        else if (!strcmp(what, "bind")) try_bind(path), i++;
        else if (!strcmp(what, "connect")) try_connect(path), i++;
        else if (!strcmp(what, "link")) say("link", symlink(words[i + 2], path)), i += 2;
        else if (!strcmp(what, "cd")) say("cd", chdir(path)), i++;
        else if (!strcmp(what, "crowded")) crowded(path), i++;
        else if (!strcmp(what, "stuck")) stuck(path), i++;
        else if (!strcmp(what, "race")) race(path, words[i + 2]), i += 2;
        else if (!strcmp(what, "swapped")) swapped(atoi(path)), i++;
        else return 99;
    }
    return 0;
}
