/* proc_pid_fd(5), O_PATH of open(2): what is reached by a descriptor instead of a name */
#include "show.h"
#include <poll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static char *by(int fd) {
    static char path[2][64];
    static int turn;
    char *at = path[turn ^= 1];
    sprintf(at, "/proc/self/fd/%d", fd);
    return at;
}

static void kind(const char *what, int fd) {
    struct stat status;
    if (fstat(fd, &status)) { printf("%s: %s\n", what, strerrorname_np(errno)); return; }
    int flags = fcntl(fd, F_GETFL);
    printf("%s: %o, %s\n", what, status.st_mode & S_IFMT, flags & O_PATH ? "a path" : "open");
}

static long modified(const char *path) {
    struct stat status;
    return stat(path, &status) ? -1 : status.st_mtime;
}

static struct sockaddr_un named(const char *path) {
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    strcpy(name.sun_path, path);
    return name;
}

int main(void) {
    /* Times, of what is only looked at. */
    close(open("f", O_CREAT | O_WRONLY, 0600));
    int path = open("f", O_PATH | O_NOFOLLOW);
    struct timespec first[2] = { { 1000, 0 }, { 2000, 0 } }, second[2] = { { 3000, 0 }, { 4000, 0 } };
    SHOW(futimens(path, first));
    SHOW(utimensat(AT_FDCWD, by(path), first, 0));
    SHOW(modified("f"));
    SHOW(syscall(SYS_utimensat, path, "", second, AT_EMPTY_PATH));
    SHOW(modified("f"));
    SHOW(syscall(SYS_utimensat, path, "", second, 0));
    int file = open("f", O_RDWR);
    SHOW(syscall(SYS_utimensat, file, NULL, first, AT_SYMLINK_NOFOLLOW));
    SHOW(syscall(SYS_utimensat, file, NULL, first, 0));
    SHOW(modified("f"));
    SHOW(utimensat(AT_FDCWD, by(99), first, 0));

    /* Being told of it. */
    int in = inotify_init1(IN_NONBLOCK);
    SHOW(inotify_add_watch(in, by(path), IN_ATTRIB | IN_OPEN | IN_CLOSE));
    SHOW(utimensat(AT_FDCWD, by(path), NULL, 0));
    SHOW(chmod(by(path), 0640));
    close(open("f", O_PATH));
    close(open("f", O_RDONLY));
    char buffer[512] __attribute__((aligned(8)));
    ssize_t n = read(in, buffer, sizeof buffer);
    for (char *at = buffer; at < buffer + n; at += sizeof(struct inotify_event) + ((struct inotify_event *)at)->len)
        printf("  %#x\n", ((struct inotify_event *)at)->mask);
    mkdir("d", 0700);
    int folder = open("d", O_PATH | O_DIRECTORY);
    SHOW(inotify_add_watch(in, by(folder), IN_CREATE));
    close(open("d/new", O_CREAT | O_WRONLY, 0600));
    n = read(in, buffer, sizeof buffer);
    printf("  %s\n", n > 0 ? ((struct inotify_event *)buffer)->name : "nothing");

    /* The links themselves. */
    SHOW(open(by(file), O_RDONLY | O_NOFOLLOW));
    SHOW(open(by(file), O_RDONLY | O_CREAT | O_EXCL, 0600));
    int link = open(by(file), O_PATH | O_NOFOLLOW);
    kind("a link of /proc", link);
    char target[4096] = "";
    SHOW(readlinkat(link, "", target, sizeof target) > 2 && !strcmp(strrchr(target, '/'), "/f"));
    SHOW(open(by(link), O_RDONLY));
    kind("the link again", open(by(link), O_PATH));
    symlink("f", "s");
    kind("a link", link = open("s", O_PATH | O_NOFOLLOW));
    SHOW(open(by(link), O_RDONLY));
    SHOW(open("s", O_PATH | O_NOFOLLOW | O_DIRECTORY));
    kind("through it", open("s", O_PATH));
    kind("a link of the system", open("/proc/self", O_PATH | O_NOFOLLOW));
    kind("where it leads", open("/proc/self", O_PATH));
    char real[4096], wanted[64];
    sprintf(wanted, "/proc/%d/fd", getpid());
    SHOW(realpath("/dev/fd", real) && !strcmp(real, wanted));
    SHOW(readlink("/dev/stdin", target, sizeof target));
    SHOW(realpath("/dev/fd/..", real) && !strncmp(real, wanted, strlen(real)));

    /* Opened once more. */
    kind("a folder", open(by(folder), O_RDONLY | O_DIRECTORY));
    int proc = open("/proc", O_PATH | O_DIRECTORY);
    kind("/proc", open(by(proc), O_RDONLY | O_DIRECTORY));
    SHOW(open(by(proc), O_RDWR));
    int null = open("/dev/null", O_PATH);
    kind("a device", null = open(by(null), O_WRONLY));
    SHOW(write(null, "x", 1));
    kind("a file of /proc", open(by(open("/proc/self/comm", O_PATH)), O_RDONLY));

    /* Sockets, whatever the length of their paths. */
    char at[64];
    sprintf(at, "/proc/self/fd/%d/socket", folder);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un name = named(at);
    SHOW(bind(listener, (void *)&name, sizeof name));
    SHOW(listen(listener, 1));
    SHOW(access("d/socket", F_OK));
    SHOW(open("d/socket", O_RDWR));
    int socket_path = open("d/socket", O_PATH);
    kind("a socket", socket_path);
    name = named(by(path));
    SHOW(connect(client, (void *)&name, sizeof name));
    name = named(by(socket_path));
    SHOW(connect(client, (void *)&name, sizeof name));
    SHOW(accept(listener, NULL, NULL) >= 0);
    int again = socket(AF_UNIX, SOCK_STREAM, 0);
    name = named("d/socket");
    SHOW(bind(again, (void *)&name, sizeof name));
    name = named("d/new");
    SHOW(bind(again, (void *)&name, sizeof name));
    name = named("/");
    SHOW(bind(again, (void *)&name, sizeof name));

    /* Of datagrams there is no end. */
    int pair[2];
    MUST(!socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    close(pair[1]);
    SHOW(recv(pair[0], buffer, sizeof buffer, MSG_DONTWAIT));
    SHOW(send(pair[0], "x", 1, 0));
    struct pollfd poller = { pair[0], POLLIN | POLLOUT };
    SHOW(poll(&poller, 1, 0));
    printf("%#x\n", poller.revents);

    /* Each is itself and no other: `diff` does not look into what is the same. */
    int pipes[2][2], sockets[2];
    MUST(!pipe(pipes[0]) && !pipe(pipes[1]) && !socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) && !mkfifo("/tmp/p", 0600));
    int fifo = open("/tmp/p", O_RDWR);
    struct stat own[7];
    int all[7] = { pipes[0][0], pipes[0][1], pipes[1][0], sockets[0], sockets[1], fifo, -1 };
    for (int i = 0; i < 6; i++) MUST(!fstat(all[i], &own[i]));
    MUST(!stat("/tmp/p", &own[6]));
    unlink("/tmp/p");
    for (int i = 0; i < 7; i++) {
        for (int j = 0; j < 7; j++) putchar(own[i].st_ino == own[j].st_ino && own[i].st_dev == own[j].st_dev ? '=' : '.');
        putchar('\n');
    }
    const char *names[4] = { "pipe", "pipe", "pipe", "socket" };
    for (int i = 0; i < 4; i++) {
        sprintf(wanted, "%s:[%lu]", names[i], (unsigned long)own[i].st_ino);
        target[readlink(by(all[i]), target, sizeof target - 1)] = 0;
        SHOW(strcmp(target, wanted));
    }

    /* A process that has ended is there until somebody was told. */
    pid_t child = fork();
    if (!child) _exit(7);
    int process = syscall(SYS_pidfd_open, child, 0);
    siginfo_t info;
    SHOW(waitid(P_PIDFD, process, &info, WEXITED | WNOWAIT));
    for (int round = 0; round < 2; round++) {
        sprintf(at, "/proc/self/fdinfo/%d", process);
        FILE *text = fopen(at, "r");
        while (fgets(buffer, sizeof buffer, text))
            if (!strncmp(buffer, "Pid:", 4)) printf("%s\n", atoi(buffer + 4) == child ? "its number" : buffer);
        fclose(text);
        SHOW(waitid(P_PIDFD, process, &info, WEXITED));
    }
    return 0;
}
