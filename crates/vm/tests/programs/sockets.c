/* What sockets answer on Linux, each case for one word; the same program says the same on the host. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
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

static struct sockaddr_un named(const char *path) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    strcpy(at.sun_path, path);
    return at;
}

static int binds(int type, const char *path) {
    struct sockaddr_un at = named(path);
    int fd = socket(AF_UNIX, type, 0);
    if (bind(fd, (Any)&at, sizeof at) == 0) return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static int connects(int type, const char *path) {
    struct sockaddr_un at = named(path);
    int fd = socket(AF_UNIX, type, 0);
    if (connect(fd, (Any)&at, sizeof at) == 0) return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

/* A name of a socket is a node, whatever becomes of the socket. */
static void nodes(void) {
    char folder[] = "/tmp/nodesXXXXXX";
    struct stat status, again;
    struct sockaddr_un peer;
    socklen_t length = sizeof peer;
    MUST(mkdtemp(folder) && chdir(folder) == 0);
    umask(027);
    int server = binds(SOCK_STREAM, "name");
    MUST(server >= 0 && stat("name", &status) == 0 && status.st_mode == (S_IFSOCK | 0750));
    MUST(status.st_uid == geteuid() && status.st_nlink == 1 && access("name", W_OK) == 0);
    MUST(mkdir("folder", 0755) == 0 && close(open("file", O_CREAT | O_WRONLY, 0644)) == 0);
    FAILS(open("name", O_RDWR), ENXIO);
    FAILS(open("name", O_CREAT | O_EXCL | O_RDWR, 0644), EEXIST);
    FAILS(binds(SOCK_STREAM, "name"), EADDRINUSE);
    FAILS(binds(SOCK_STREAM, "file"), EADDRINUSE);
    FAILS(binds(SOCK_DGRAM, "folder"), EADDRINUSE);
    FAILS(binds(SOCK_STREAM, "file/name"), ENOTDIR);
    FAILS(binds(SOCK_STREAM, "none/name"), ENOENT);
    FAILS(connects(SOCK_STREAM, "name"), ECONNREFUSED);
    FAILS(connects(SOCK_STREAM, "file"), ECONNREFUSED);
    FAILS(connects(SOCK_STREAM, "none"), ENOENT);
    FAILS(connects(SOCK_STREAM, "file/name"), ENOTDIR);
    struct sockaddr_un second = named("second");
    FAILS(bind(server, (Any)&second, sizeof second), EINVAL);
    if (access("second", F_OK) == 0) unlink("second");
    MUST(listen(server, 9) == 0 && chmod("name", 0700) == 0);
    MUST(stat("name", &status) == 0 && status.st_mode == (S_IFSOCK | 0700));
    char whole[64];
    snprintf(whole, sizeof whole, "%s/folder/../name", folder);
    int client = connects(SOCK_STREAM, whole);
    MUST(client >= 0 && connects(SOCK_STREAM, "./name") >= 0);
    MUST(getpeername(client, (Any)&peer, &length) == 0 && !strcmp(peer.sun_path, "name"));
    FAILS(connects(SOCK_DGRAM, "name"), EPROTOTYPE);
    MUST(symlink("name", "leads") == 0 && connects(SOCK_STREAM, "leads") >= 0);
    FAILS(binds(SOCK_STREAM, "leads"), EADDRINUSE);
    MUST(rename("name", "other") == 0 && link("other", "third") == 0 && connects(SOCK_STREAM, "third") >= 0);
    FAILS(connects(SOCK_STREAM, "name"), ENOENT);
    MUST(stat("other", &again) == 0 && again.st_ino == status.st_ino);
    close(server);
    FAILS(connects(SOCK_STREAM, "other"), ECONNREFUSED);
    FAILS(binds(SOCK_STREAM, "other"), EADDRINUSE);
    MUST(unlink("other") == 0 && unlink("third") == 0);
    server = binds(SOCK_STREAM, "other");
    MUST(server >= 0 && unlink("other") == 0 && binds(SOCK_STREAM, "other") >= 0);
    FAILS(connects(SOCK_STREAM, "other"), ECONNREFUSED);
    MUST(mknod("made", S_IFSOCK | 0700, 0) == 0 && stat("made", &status) == 0 && S_ISSOCK(status.st_mode));
    FAILS(connects(SOCK_STREAM, "made"), ECONNREFUSED);
    /* A mailbox that is gone, and one in its place. */
    char text[8];
    int box = binds(SOCK_DGRAM, "box"), sender = connects(SOCK_DGRAM, "box");
    MUST(box >= 0 && sender >= 0 && send(sender, "one", 3, 0) == 3 && recv(box, text, 8, 0) == 3);
    close(box);
    FAILS(send(sender, "two", 3, 0), ECONNREFUSED);
    FAILS(connects(SOCK_DGRAM, "box"), ECONNREFUSED);
    MUST(unlink("box") == 0 && (box = binds(SOCK_DGRAM, "box")) >= 0 && connects(SOCK_DGRAM, "box") >= 0);
}

/* Who may not write to a folder or a socket makes no name and finds nobody. */
static void strangers(void) {
    if (geteuid() != 0) return;
    char folder[] = "/tmp/strangersXXXXXX";
    MUST(mkdtemp(folder) && chdir(folder) == 0 && chmod(folder, 0755) == 0);
    umask(022);
    int status, server = binds(SOCK_STREAM, "name");
    MUST(listen(server, 5) == 0);
    if (!fork()) {
        MUST(setuid(65534) == 0);
        FAILS(binds(SOCK_STREAM, "own"), EACCES);
        FAILS(connects(SOCK_STREAM, "name"), EACCES);
        FAILS(unlink("name"), EACCES);
        struct sockaddr_in low = local();
        low.sin_port = htons(81);
        FAILS(bind(socket(AF_INET, SOCK_STREAM, 0), (Any)&low, sizeof low), EACCES);
        _exit(0);
    }
    MUST(wait(&status) > 0 && status == 0);
}

/* Who finds that too many wait to be accepted waits as well. */
static void crowded(void) {
    struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "\0crowded"};
    int server = socket(AF_UNIX, SOCK_STREAM, 0), clients[4], status;
    MUST(bind(server, (Any)&at, 10) == 0 && listen(server, 1) == 0);
    for (int each = 0; each < 4; each++) clients[each] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    MUST(connect(clients[0], (Any)&at, 10) == 0 && connect(clients[1], (Any)&at, 10) == 0);
    FAILS(connect(clients[2], (Any)&at, 10), EAGAIN);
    int child = fork();
    if (!child) {
        int client = socket(AF_UNIX, SOCK_STREAM, 0);
        MUST(close(server) == 0 && connect(client, (Any)&at, 10) == 0 && write(client, "x", 1) == 1);
        _exit(0);
    }
    for (int each = 0; each < 3; each++) MUST(accept(server, NULL, NULL) >= 0);
    MUST(wait(&status) == child && status == 0);
    /* Nobody accepts any more. */
    MUST(connect(clients[2], (Any)&at, 10) == 0 && connect(clients[3], (Any)&at, 10) == 0);
    if (!(child = fork())) {
        close(server);
        FAILS(connect(socket(AF_UNIX, SOCK_STREAM, 0), (Any)&at, 10), ECONNREFUSED);
        _exit(0);
    }
    close(server);
    MUST(wait(&status) == child && status == 0);
}

/* Without a name one is chosen. */
static void chosen(void) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    socklen_t length = sizeof at;
    int server = socket(AF_UNIX, SOCK_STREAM, 0), other = socket(AF_UNIX, SOCK_STREAM, 0);
    MUST(bind(server, (Any)&at, 2) == 0 && bind(server, (Any)&at, 2) == 0 && bind(other, (Any)&at, 2) == 0);
    MUST(getsockname(server, (Any)&at, &length) == 0 && length == 8 && at.sun_path[0] == 0);
    for (int each = 1; each < 6; each++) MUST(strchr("0123456789abcdef", at.sun_path[each]));
    int client = socket(AF_UNIX, SOCK_STREAM, 0);
    MUST(listen(server, 1) == 0 && connect(client, (Any)&at, length) == 0);
    FAILS(connect(client, (Any)&at, 2), EINVAL);
}

/* Nothing is granted. */
static void ungranted(void) {
    FAILS(binds(SOCK_STREAM, "/tmp/name"), EACCES);
    FAILS(connects(SOCK_STREAM, "/tmp/name"), ENOENT);
    struct stat status;
    FAILS(stat("/tmp/name", &status), ENOENT);
}

/* On a folder of the host the name can be removed and looked at, and is free again. */
static void outside(const char *folder) {
    struct stat status;
    MUST(chdir(folder) == 0);
    int server = binds(SOCK_STREAM, "name");
    MUST(server >= 0 && stat("name", &status) == 0 && S_ISSOCK(status.st_mode) && listen(server, 2) == 0);
    FAILS(binds(SOCK_STREAM, "name"), EADDRINUSE);
    char whole[256];
    MUST(getcwd(whole, 200) && strcat(whole, "/name") && connects(SOCK_STREAM, whole) >= 0);
    MUST(unlink("name") == 0);
    FAILS(unlink("name"), ENOENT);
    FAILS(stat("name", &status), ENOENT);
    FAILS(connects(SOCK_STREAM, "name"), ENOENT);
    MUST((server = binds(SOCK_STREAM, "name")) >= 0 && unlink("name") == 0);
}

/* Headers of messages that are wrong, and addresses nobody wants. */
static void headers(void) {
    struct sockaddr_in at, from;
    socklen_t length = sizeof from;
    char text[16];
    struct iovec part = {text, 4}, many[1025] = {{0}};
    struct msghdr header = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &part, .msg_iovlen = 1};
    int server = bound(SOCK_STREAM, &at), client = socket(AF_INET, SOCK_STREAM, 0);
    MUST(connect(client, (Any)&at, sizeof at) == 0 && (server = accept(server, NULL, NULL)) >= 0);
    MUST(send(client, "0123456789", 10, 0) == 10);
    memset(&from, 7, sizeof from);
    MUST(recvmsg(server, &header, 0) == 4 && header.msg_namelen == 0 && from.sin_family == 0x707);
    MUST(recvfrom(server, text, 2, 0, (Any)-1, &length) == 2 && length == 0);
    header.msg_namelen = -1;
    FAILS(recvmsg(server, &header, 0), EINVAL);
    FAILS(sendmsg(server, &header, 0), EINVAL);
    header.msg_name = NULL;
    header.msg_iov = many, header.msg_iovlen = 1025;
    FAILS(recvmsg(server, &header, 0), EMSGSIZE);
    FAILS(sendmsg(server, &header, 0), EMSGSIZE);
    length = sizeof from;
    FAILS(syscall(SYS_getsockname, server, NULL, &length), EFAULT);
    FAILS(syscall(SYS_getpeername, server, NULL, &length), EFAULT);
    int ends[2];
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0);
    FAILS(send(ends[0], "x", 1, MSG_OOB), EOPNOTSUPP);
    FAILS(recv(ends[0], text, 1, MSG_OOB), EOPNOTSUPP);
    FAILS(accept(ends[0], NULL, NULL), EOPNOTSUPP);
    length = sizeof from;
    MUST(send(ends[0], "x", 1, 0) == 1 && recvfrom(ends[1], text, 4, 0, (Any)&from, &length) == 1 && length == 0);
    /* A control message of another level is passed over, one of an unknown sort is not. */
    union { struct cmsghdr head; char room[CMSG_SPACE(4)]; } control = {.head = {CMSG_LEN(4), IPPROTO_IP, 1}};
    part.iov_len = 1;
    header = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    MUST(sendmsg(ends[0], &header, 0) == 1);
    control.head.cmsg_level = SOL_SOCKET, control.head.cmsg_type = 99;
    FAILS(sendmsg(ends[0], &header, 0), EINVAL);
    MUST(shutdown(socket(AF_UNIX, SOCK_STREAM, 0), SHUT_RDWR) == 0);
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    struct sockaddr_un none = named("/tmp/none");
    FAILS(sendto(ends[0], "x", 1, 0, (Any)&none, sizeof none), EISCONN);
    FAILS(sendto(socket(AF_UNIX, SOCK_STREAM, 0), "x", 1, 0, (Any)&none, sizeof none), EOPNOTSUPP);
    FAILS(socket(AF_INET, SOCK_DGRAM, 999), EINVAL);
    FAILS(socket(AF_INET, SOCK_STREAM, -1), EINVAL);
}

typedef union { struct cmsghdr head; char room[CMSG_SPACE(sizeof(struct ucred))]; } Credentials;

static int tells(int fd, struct ucred who) {
    Credentials control = {.head = {CMSG_LEN(sizeof who), SOL_SOCKET, SCM_CREDENTIALS}};
    struct iovec part = {"x", 1};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    memcpy(CMSG_DATA(&control.head), &who, sizeof who);
    return sendmsg(fd, &header, MSG_NOSIGNAL);
}

static int peer(int fd, struct ucred *who) {
    socklen_t length = sizeof *who;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, who, &length);
}

/* Who is at the other end, and who sent something. */
static void credentials(void) {
    struct ucred who, own = {getpid(), getuid(), getgid()};
    struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "\0credentials"};
    int server = socket(AF_UNIX, SOCK_STREAM, 0), on = 1, status, ends[2];
    MUST(peer(server, &who) == 0 && who.pid == 0 && who.uid == -1 && who.gid == -1);
    MUST(bind(server, (Any)&at, 14) == 0 && listen(server, 1) == 0);
    int child = fork();
    if (!child) {
        int client = socket(AF_UNIX, SOCK_STREAM, 0);
        if (own.uid == 0) MUST(setgid(65533) == 0 && setuid(65534) == 0);
        MUST(connect(client, (Any)&at, 14) == 0 && peer(client, &who) == 0);
        MUST(who.pid == own.pid && who.uid == own.uid && who.gid == own.gid);
        MUST(send(client, "x", 1, 0) == 1);
        struct ucred false_one = {getpid(), own.uid + 1, getgid()};
        FAILS(tells(client, false_one), EPERM);
        _exit(0);
    }
    int accepted = accept(server, NULL, NULL);
    MUST(accepted >= 0 && wait(&status) == child && status == 0);
    MUST(peer(accepted, &who) == 0 && who.pid == child && who.uid == (own.uid ? own.uid : 65534));
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0 && peer(ends[0], &who) == 0 && who.pid == own.pid);
    MUST(setsockopt(ends[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
    Credentials control;
    char text[4];
    struct iovec part = {text, 4};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    MUST(send(ends[0], "x", 1, 0) == 1 && recvmsg(ends[1], &header, 0) == 1);
    MUST(header.msg_controllen == sizeof control && control.head.cmsg_type == SCM_CREDENTIALS);
    memcpy(&who, CMSG_DATA(&control.head), sizeof who);
    MUST(who.pid == own.pid && who.uid == own.uid && who.gid == own.gid);
    header.msg_controllen = 20;
    MUST(tells(ends[0], own) == 1 && recvmsg(ends[1], &header, 0) == 1);
    MUST(header.msg_flags == MSG_CTRUNC && header.msg_controllen == 20 && control.head.cmsg_len == 20);
    own.pid = 4194303;
    FAILS(tells(ends[0], own), own.uid ? EPERM : ESRCH);
}

static int sets(int fd, int level, int name, int value) {
    return setsockopt(fd, level, name, &value, sizeof value);
}

/* Settings that are there, and those that are not. */
static void settings(void) {
    int tcp = socket(AF_INET, SOCK_STREAM, 0), local = socket(AF_UNIX, SOCK_STREAM, 0), value = 7;
    socklen_t length = sizeof value;
    FAILS(getsockopt(tcp, 500, 1, &value, &length), EOPNOTSUPP);
    FAILS(getsockopt(local, 500, 1, &value, &length), EOPNOTSUPP);
    FAILS(getsockopt(tcp, SOL_SOCKET, 999, &value, &length), ENOPROTOOPT);
    FAILS(sets(tcp, 500, 1, 1), ENOPROTOOPT);
    FAILS(sets(local, 500, 1, 1), EOPNOTSUPP);
    FAILS(sets(tcp, SOL_SOCKET, 999, 1), ENOPROTOOPT);
    FAILS(sets(socket(AF_INET, SOCK_DGRAM, 0), IPPROTO_TCP, 1, 1), ENOPROTOOPT);
    FAILS(sets(tcp, SOL_SOCKET, SO_LINGER, 1), EINVAL);
    FAILS(setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &value, -1), EINVAL);
    MUST(sets(tcp, SOL_SOCKET, SO_TIMESTAMP, 1) == 0);
    MUST(getsockopt(tcp, SOL_SOCKET, SO_TIMESTAMP, &value, &length) == 0 && value == 1 && length == 4);
    MUST(ioctl(tcp, SIOCATMARK, &value) == 0 && value == 0);
    if (geteuid()) FAILS(sets(tcp, SOL_SOCKET, SO_SNDBUFFORCE, 65536), EPERM);
    else MUST(sets(tcp, SOL_SOCKET, SO_SNDBUFFORCE, 65536) == 0 && sets(local, SOL_SOCKET, SO_RCVBUFFORCE, 65536) == 0);
    int ends[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && shutdown(ends[0], SHUT_RDWR) == 0);
    struct pollfd both[] = {{ends[0], POLLIN | POLLRDHUP, 0}, {ends[1], POLLIN | POLLRDHUP, 0}};
    MUST(poll(both, 2, 0) == 2 && both[0].revents == both[1].revents && both[0].revents & POLLHUP);
}

/* A stream is let go of and connected again. */
static void dissolved(void) {
    struct sockaddr_in at, peer;
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    socklen_t length = sizeof peer;
    char text[4];
    int server = bound(SOCK_STREAM, &at), client = socket(AF_INET, SOCK_STREAM, 0);
    MUST(connect(client, &nobody, sizeof nobody) == 0);
    for (int each = 0; each < 3; each++) {
        MUST(connect(client, (Any)&at, sizeof at) == 0);
        FAILS(connect(client, (Any)&at, sizeof at), EISCONN);
        int accepted = accept(server, NULL, NULL);
        MUST(accepted >= 0 && send(client, "x", 1, 0) == 1 && recv(accepted, text, 4, 0) == 1);
        MUST(connect(client, &nobody, sizeof nobody) == 0);
        FAILS(getpeername(client, (Any)&peer, &length), ENOTCONN);
        close(accepted);
    }
    int ends[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    FAILS(connect(ends[0], &nobody, sizeof nobody), EINVAL);
}

/* What is sent with more to come is one datagram with the last of it. */
static void more(void) {
    struct sockaddr_in at, elsewhere;
    char text[32], *large = calloc(1, 65000);
    int server = bound(SOCK_DGRAM, &at), other = bound(SOCK_DGRAM, &elsewhere), client = socket(AF_INET, SOCK_DGRAM, 0);
    FAILS(send(client, "x", 1, MSG_MORE), EDESTADDRREQ);
    MUST(sendto(client, "ab", 2, MSG_MORE, (Any)&at, sizeof at) == 2);
    FAILS(recv(server, text, 32, MSG_DONTWAIT), EAGAIN);
    MUST(sendto(client, "cd", 2, MSG_MORE, (Any)&elsewhere, sizeof elsewhere) == 2);
    MUST(send(client, "ef", 2, 0) == 2 && recv(server, text, 32, 0) == 6 && !memcmp(text, "abcdef", 6));
    FAILS(recv(other, text, 32, MSG_DONTWAIT), EAGAIN);
    MUST(connect(client, (Any)&at, sizeof at) == 0 && send(client, "gh", 2, MSG_MORE) == 2);
    MUST(write(client, "i", 1) == 1 && recv(server, text, 32, 0) == 3 && !memcmp(text, "ghi", 3));
    MUST(send(client, large, 65000, MSG_MORE) == 65000);
    FAILS(send(client, large, 65000, MSG_MORE), EMSGSIZE);
    MUST(send(client, "j", 1, 0) == 1 && recv(server, text, 32, 0) == 1);
}

/* A connection: the end that connected, and the other. */
static void pair_of(int ends[2]) {
    struct sockaddr_in at;
    int server = bound(SOCK_STREAM, &at);
    ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    MUST(connect(ends[0], (Any)&at, sizeof at) == 0 && (ends[1] = accept(server, NULL, NULL)) >= 0);
    close(server);
}

/* A thread that waits in a set, and the events it was told. */
struct waiter {
    pthread_t thread;
    int set, count;
    _Atomic pid_t id;
    struct epoll_event event;
};

static void *wait_in(void *of) {
    struct waiter *waiter = of;
    waiter->id = gettid();
    waiter->count = epoll_wait(waiter->set, &waiter->event, 1, 20000);
    return NULL;
}

static void begin_to_wait(struct waiter *waiter, int set) {
    waiter->set = set, waiter->id = 0;
    MUST(pthread_create(&waiter->thread, NULL, wait_in, waiter) == 0);
    while (!waiter->id) sched_yield();
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", waiter->id);
    while (state != 'S') {
        FILE *stat = fopen(path, "r");
        MUST(stat != NULL && fscanf(stat, "%*d (%*[^)]) %c", &state) == 1);
        fclose(stat);
    }
}

static void watch(int set, int fd, unsigned events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
}

/* Who waits for an edge is woken by it though what was told before was taken by another thread meanwhile. */
static void edges(void) {
    int ends[2], set = epoll_create1(0);
    char text[8];
    struct epoll_event event;
    struct waiter waiter;
    pair_of(ends);
    MUST(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    watch(set, ends[0], EPOLLIN | EPOLLET);
    for (int time = 0; time < 20; time++) {
        MUST(send(ends[1], "x", 1, 0) == 1 && epoll_wait(set, &event, 1, 20000) == 1);
        MUST(epoll_wait(set, &event, 1, 0) == 0);
        begin_to_wait(&waiter, set);
        MUST(recv(ends[0], text, 8, 0) == 1);
        FAILS(recv(ends[0], text, 8, 0), EAGAIN);
        MUST(send(ends[1], "y", 1, 0) == 1 && pthread_join(waiter.thread, NULL) == 0 && waiter.count == 1);
        MUST(recv(ends[0], text, 8, 0) == 1);
        FAILS(recv(ends[0], text, 8, 0), EAGAIN);
    }
    /* What is news in one direction is told with what holds in the other. */
    set = epoll_create1(0);
    watch(set, ends[0], EPOLLIN | EPOLLOUT | EPOLLET);
    MUST(epoll_wait(set, &event, 1, 20000) == 1 && event.events == EPOLLOUT);
    MUST(send(ends[1], "z", 1, 0) == 1 && epoll_wait(set, &event, 1, 20000) == 1);
    MUST(event.events == (EPOLLIN | EPOLLOUT));
}

static _Atomic int is_over;

static void *watch_all(void *of) {
    struct epoll_event events[8];
    while (!is_over) MUST(epoll_wait(*(int *)of, events, 8, 10) >= 0);
    return NULL;
}

static _Atomic int told;

static void *count_told(void *of) {
    struct epoll_event event;
    while (!is_over) told += epoll_wait(*(int *)of, &event, 1, -1) == 1;
    return NULL;
}

static void drain(int fd) {
    char text[8];
    while (recv(fd, text, 8, 0) > 0) continue;
    MUST(errno == EAGAIN);
}

/* Who waits for edges hears of the next one though another thread took one that it was just woken for. */
static void taken(void) {
    int ends[2], set = epoll_create1(0);
    struct epoll_event event;
    pthread_t waiter;
    pair_of(ends);
    MUST(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    watch(set, ends[0], EPOLLIN | EPOLLET);
    is_over = 0;
    MUST(pthread_create(&waiter, NULL, count_told, &set) == 0);
    for (int time = 0; time < 2000; time++) {
        int before = told;
        MUST(send(ends[1], "x", 1, 0) == 1);
        while (epoll_wait(set, &event, 1, 0) == 0 && told == before) continue;
        drain(ends[0]);
        before = told;
        MUST(send(ends[1], "y", 1, 0) == 1);
        alarm(20);
        while (told == before) sched_yield();
        alarm(0);
        drain(ends[0]);
    }
    is_over = 1;
    MUST(send(ends[1], "z", 1, 0) == 1 && pthread_join(waiter, NULL) == 0);
}

/* Threads that look at a socket at once find out the same of how it was connected. */
static void settled(void) {
    struct sockaddr_in at, peer;
    int server = bound(SOCK_STREAM, &at), set = epoll_create1(0);
    pthread_t watcher;
    is_over = 0;
    MUST(pthread_create(&watcher, NULL, watch_all, &set) == 0);
    for (int time = 0; time < 200; time++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), error = 0;
        socklen_t length = sizeof peer;
        MUST(connect(fd, (Any)&at, sizeof at) == 0 || errno == EINPROGRESS);
        watch(set, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
        struct pollfd out = {fd, POLLOUT, 0};
        MUST(poll(&out, 1, 20000) == 1 && out.revents == POLLOUT);
        MUST(getpeername(fd, (Any)&peer, &length) == 0 && peer.sin_port == at.sin_port);
        length = sizeof error;
        MUST(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0);
        int other = accept(server, NULL, NULL);
        MUST(other >= 0 && send(fd, "x", 1, 0) == 1 && recv(other, &error, 1, 0) == 1);
        close(other), close(fd);
    }
    is_over = 1;
    MUST(pthread_join(watcher, NULL) == 0);
}

/* What is closed is closed, also while a thread waits for it in a set. */
static void closed(void) {
    int ends[2], pipes[2], set = epoll_create1(0);
    struct waiter waiter;
    struct timeval most = {20, 0};
    char text;
    struct sockaddr_in at;
    MUST(pipe(pipes) == 0);
    watch(set, pipes[0], EPOLLIN);
    pair_of(ends);
    MUST(setsockopt(ends[1], SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most) == 0);
    watch(set, ends[0], EPOLLIN);
    int server = bound(SOCK_STREAM, &at);
    watch(set, server, EPOLLIN);
    begin_to_wait(&waiter, set);
    close(ends[0]);
    MUST(recv(ends[1], &text, 1, 0) == 0);
    close(server);
    int again = socket(AF_INET, SOCK_STREAM, 0), answer;
    while ((answer = bind(again, (Any)&at, sizeof at)) == -1 && errno == EADDRINUSE) sched_yield();
    MUST(answer == 0 && listen(again, 1) == 0);
    MUST(write(pipes[1], "x", 1) == 1 && pthread_join(waiter.thread, NULL) == 0);
    MUST(waiter.count == 1 && waiter.event.data.fd == pipes[0]);
}

/* What a socket does not take stays in the pipe. */
static void spliced(void) {
    int ends[2], pipes[2], there = 0;
    static char much[60000], back[1 << 20];
    pair_of(ends);
    MUST(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 && pipe(pipes) == 0);
    long sent = 0, received = 0, count;
    while ((count = write(ends[0], much, sizeof much)) > 0) sent += count;
    for (int each = 0; each < 60000; each++) much[each] = each % 251;
    MUST(write(pipes[1], much, 60000) == 60000);
    FAILS(splice(pipes[0], NULL, ends[0], NULL, 60000, SPLICE_F_NONBLOCK), EAGAIN);
    MUST(ioctl(pipes[0], FIONREAD, &there) == 0 && there == 60000);
    long left = 60000;
    while (received < sent + 60000) {
        count = left ? splice(pipes[0], NULL, ends[0], NULL, left, SPLICE_F_NONBLOCK) : 0;
        MUST(count >= 0 || errno == EAGAIN);
        if (count > 0) left -= count;
        count = recv(ends[1], back, sizeof back, left ? MSG_DONTWAIT : 0);
        MUST(count > 0 || errno == EAGAIN);
        for (long each = 0; each < count; each++) {
            long at = received + each - sent;
            if (at >= 0) MUST(back[each] == (char)(at % 251));
        }
        if (count > 0) received += count;
    }
    MUST(received == sent + 60000);
}

/* A server at the unspecified address of IPv6 hears both families, unless it is told not to. */
static void families(void) {
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT}, peer;
    for (int alone = 0; alone < 2; alone++) {
        int server = socket(AF_INET6, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
        socklen_t length = sizeof any;
        any.sin6_port = 0;
        MUST(setsockopt(server, IPPROTO_IPV6, IPV6_V6ONLY, &alone, sizeof alone) == 0);
        MUST(bind(server, (Any)&any, sizeof any) == 0 && listen(server, 5) == 0);
        MUST(getsockname(server, (Any)&any, &length) == 0 && any.sin6_port != 0);
        struct sockaddr_in at = local();
        at.sin_port = any.sin6_port;
        if (alone) {
            FAILS(connect(client, (Any)&at, sizeof at), ECONNREFUSED);
            continue;
        }
        length = sizeof peer;
        MUST(connect(client, (Any)&at, sizeof at) == 0);
        int other = accept(server, (Any)&peer, &length);
        MUST(other >= 0 && length == sizeof peer && peer.sin6_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&peer.sin6_addr));
        length = sizeof peer;
        MUST(getpeername(other, (Any)&peer, &length) == 0 && IN6_IS_ADDR_V4MAPPED(&peer.sin6_addr));
        MUST(write(client, "x", 1) == 1 && read(other, &length, 1) == 1);
        client = socket(AF_INET6, SOCK_STREAM, 0);
        peer = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT, .sin6_port = any.sin6_port};
        MUST(connect(client, (Any)&peer, sizeof peer) == 0 || errno == EADDRNOTAVAIL);
    }
}

int main(int count, char **words) {
    signal(SIGPIPE, SIG_IGN);
    for (int each = 1; each < count; each++) {
        const char *word = words[each];
        if (!strcmp(word, "unspecified")) unspecified();
        else if (!strcmp(word, "nodes")) nodes();
        else if (!strcmp(word, "strangers")) strangers();
        else if (!strcmp(word, "crowded")) crowded();
        else if (!strcmp(word, "chosen")) chosen();
        else if (!strcmp(word, "headers")) headers();
        else if (!strcmp(word, "settings")) settings();
        else if (!strcmp(word, "dissolved")) dissolved();
        else if (!strcmp(word, "more")) more();
        else if (!strcmp(word, "edges")) edges();
        else if (!strcmp(word, "taken")) taken();
        else if (!strcmp(word, "families")) families();
        else if (!strcmp(word, "settled")) settled();
        else if (!strcmp(word, "closed")) closed();
        else if (!strcmp(word, "spliced")) spliced();
        else if (!strcmp(word, "credentials")) credentials();
        else if (!strcmp(word, "ungranted")) ungranted();
        else if (word[0] == '/') outside(word);
        else return 99;
        printf("ok %s\n", word);
        fflush(stdout);
    }
    return 0;
}
