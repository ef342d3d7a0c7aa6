/* Tries to have more of the host than is due: its stack, its time, its memory. One thing for each word. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MUST(what) do { if (!(what)) { printf("line %d: %s: %s\n", __LINE__, #what, strerror(errno)); exit(1); } } while (0)

/* A script whose interpreter is the link to whatever runs; then links that lead to themselves. */
static void own_image(char **words) {
    if (!words[2]) {
        int script = open("/data/script", O_CREAT | O_WRONLY | O_TRUNC, 0755);
        MUST(script >= 0 && write(script, "#!/proc/self/exe own-image\n", 27) == 27 && close(script) == 0);
        execl("/data/script", "script", NULL);
        MUST(!"exec");
    }
    char path[256];
    struct stat status;
    MUST(open("/proc/self/exe", O_RDONLY) >= 0 && stat("/proc/self/exe", &status) == 0);
    MUST(readlink("/proc/self/exe", path, sizeof path) > 0);
    MUST(mkdir("/tmp/there", 0755) == 0 && chdir("/tmp/there") == 0);
    MUST(rename("/tmp/there", "/tmp/moved") == 0 && symlink("/proc/self/cwd", "/tmp/there") == 0);
    MUST(open("/proc/self/cwd", O_RDONLY) >= 0 && stat("/proc/self/cwd", &status) == 0);
    /* A folder that is gone is known by its name alone. */
    MUST(chdir("/tmp/moved") == 0 && rmdir("/tmp/moved") == 0 && symlink("/proc/self/cwd", "/tmp/moved") == 0);
    MUST(open("/proc/self/cwd", O_RDONLY) == -1 && errno == ELOOP);
    MUST(stat("/proc/self/cwd", &status) == -1 && errno == ELOOP);
}

static int pass(int through, int what) {
    char byte = 1, control[CMSG_SPACE(4)] = {0};
    struct iovec part = {&byte, 1};
    struct msghdr message = {0, 0, &part, 1, control, sizeof control, 0};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_len = CMSG_LEN(4), head->cmsg_level = SOL_SOCKET, head->cmsg_type = SCM_RIGHTS;
    memcpy(CMSG_DATA(head), &what, 4);
    return sendmsg(through, &message, 0);
}

/* Sockets in flight in sockets in flight. */
static void in_flight(void) {
    int before = -1;
    for (int depth = 0; depth < 6000; depth++) {
        int ends[2];
        MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
        if (before >= 0) MUST(pass(ends[0], before) == 1 && close(before) == 0);
        close(ends[0]);
        before = ends[1];
    }
    close(before);
}

/* Sets in sets, each a hundred times. */
static void fan(void) {
    enum { WIDTH = 100, LEVELS = 6 };
    int sets[LEVELS];
    struct epoll_event event = {.events = EPOLLIN};
    for (int level = 0; level < LEVELS; level++) sets[level] = epoll_create1(0);
    for (int level = LEVELS - 2; level >= 0; level--)
        for (int each = 0; each < WIDTH; each++)
            if (epoll_ctl(sets[level], EPOLL_CTL_ADD, dup(sets[level + 1]), &event)) MUST(errno == ELOOP);
    MUST(epoll_wait(sets[0], &event, 1, 0) == 0 && epoll_wait(sets[1], &event, 1, 0) == 0);
}

/* The same page at many places, and all of them gone at once. */
static void shared_pages(void) {
    int file = memfd_create("pages", 0);
    MUST(ftruncate(file, 1 << 20) == 0);
    char *all = mmap(NULL, 400 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int each = 0; each < 400; each++)
        MUST(mmap(all + ((long)each << 20), 1 << 20, PROT_READ, MAP_SHARED | MAP_FIXED | MAP_POPULATE, file, 0) != MAP_FAILED);
    MUST(munmap(all, 400 << 20) == 0);
}

static volatile int round_wanted, round_done;

static void *other_way(void *none) {
    for (int round = 1;; round++) {
        while (round_wanted < round) sched_yield();
        rename("/tmp/b", "/tmp/a/y");
        round_done = round;
    }
    return none;
}

/* Two folders moved into each other at the same time. */
static void cycle(void) {
    pthread_t other;
    MUST(pthread_create(&other, NULL, other_way, NULL) == 0);
    for (int round = 1; round < 1500; round++) {
        mkdir("/tmp/a", 0755), mkdir("/tmp/b", 0755);
        round_wanted = round;
        rename("/tmp/a", "/tmp/b/x");
        while (round_done < round) sched_yield();
        MUST(access("/tmp/a", F_OK) == 0 || access("/tmp/b", F_OK) == 0);
        rmdir("/tmp/a/y"), rmdir("/tmp/b/x");
    }
}

/* Numbers at their ends. */
static void extremes(void) {
    siginfo_t info;
    MUST(waitid(P_PGID, 0x80000000u, &info, WEXITED) == -1 && errno == EINVAL);
    MUST(waitid(P_PID, 0, &info, WEXITED) == -1 && errno == EINVAL);
    int file = open("/tmp/file", O_CREAT | O_RDWR, 0600);
    MUST(file >= 0 && ftruncate(file, 4096) == 0);
    char *at = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0x7ffffffffffff000 - 4096);
    if (at != MAP_FAILED) {
        char *more = mremap(at, 4096, 1L << 40, MREMAP_MAYMOVE);
        if (more != MAP_FAILED) munmap(more, 1L << 39);
    }
    memset(malloc(1 << 20), 1, 1 << 20);
    long long name[200];
    memset(name, 0xff, sizeof name);
    char path[260] = "/tmp/";
    memset(path + 5, 0xff, 250);
    MUST(open(path, O_CREAT | O_RDWR, 0600) >= 0);
    int folder = open("/tmp", O_RDONLY | O_DIRECTORY);
    MUST(syscall(SYS_getdents64, folder, name, sizeof name) > 0);
}

/* The lowest addresses are nobody's, however one gets there. */
static void lowest(void) {
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page[0] = 42;
    for (unsigned long at = 0; at < 0x10000; at += 0x1000)
        MUST(mremap(page, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)at) == MAP_FAILED && errno == EPERM);
    MUST(page[0] == 42);
}

static int nothing(void *none) { return none != NULL; }

/* Addresses no processor takes. */
static void impossible(void) {
    static char stack[65536];
    for (int bit = 46; bit < 64; bit++)
        MUST(clone(nothing, stack + sizeof stack, CLONE_SETTLS | SIGCHLD, NULL, NULL, (void *)(1UL << bit), NULL) == -1 && errno == EPERM);
    unsigned char program[4096] = {0};
    int self = open("/proc/self/exe", O_RDONLY), copy = open("/tmp/program", O_CREAT | O_WRONLY, 0755);
    long length, first = 1;
    while ((length = read(self, program, sizeof program)) > 0) {
        if (first) memset(program + 24, 0x80, 8), first = 0;
        MUST(write(copy, program, length) == length);
    }
    close(copy);
    execl("/tmp/program", "program", NULL);
    MUST(errno == ENOEXEC);
}

/* Holes in one mapping. */
static void holes(void) {
    char *all = mmap(NULL, 1UL << 40, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    long part = 0, hole = 0;
    while (part < 40000 && mprotect(all + part * 8192 + 4096, 4096, PROT_READ) == 0) part++;
    MUST(part > 30000 && part < 33000 && errno == ENOMEM);
    char *rest = all + (1UL << 39);
    while (hole < 1000 && munmap(rest + hole * 8192, 4096) == 0) hole++;
    MUST(hole < 10 && errno == ENOMEM);
    MUST(mremap(rest + (1UL << 30), 4096, 8192, MREMAP_MAYMOVE) == MAP_FAILED && errno == ENOMEM);
    MUST(munmap(all, 1UL << 40) == 0);
}

/* Those who ended and were not asked for. */
static void zombies(char **words) {
    if (!words[2]) {
        static char big[100000];
        memset(big, 'a', sizeof big - 1);
        char *with[18] = {words[0], words[1]};
        for (int i = 2; i < 17; i++) with[i] = big;
        execv("/proc/self/exe", with);
        MUST(!"exec");
    }
    for (int each = 0; each < 100; each++) MUST(vfork() != 0 || (_exit(0), 1));
    for (int each = 0; each < 100; each++) MUST(wait(NULL) > 0);
}

/* One child after the other, and nobody asks. */
static void unasked(void) {
    for (int each = 0; each < 1000; each++)
        if (vfork() == 0) _exit(0);
}

/* A long text that the host makes, again and again; nobody reads it. */
static void texts(void) {
    char path[4096] = "/tmp";
    for (int deep = 0; deep < 15; deep++) {
        strcat(path, "/");
        size_t length = strlen(path);
        memset(path + length, 0xff, 250), path[length + 250] = 0;
        mkdir(path, 0755);
    }
    strcat(path, "/f");
    int file = open(path, O_CREAT | O_RDWR, 0644);
    MUST(file >= 0 && ftruncate(file, 4096) == 0);
    for (int each = 0; each < 1000; each++) MUST(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0) != MAP_FAILED);
    static char text[1 << 16];
    int maps = open("/proc/self/maps", O_RDONLY);
    struct stat status;
    MUST(maps >= 0 && read(maps, text, sizeof text - 1) > 4096 && memchr(text, 0xff, sizeof text) && stat("/proc/self/maps", &status) == 0);
    puts("opened"), fflush(stdout);
    for (int each = 0; each < 100; each++) MUST(open("/proc/self/maps", O_RDONLY) >= 0);
}

/* The same pages at many places: what is small for the program is long for the host's list. */
static void lists(void) {
    int file = memfd_create("pages", 0), null = open("/dev/null", O_WRONLY);
    MUST(ftruncate(file, 1 << 20) == 0);
    for (int each = 0; each < 2000; each++) {
        char *at = mmap(NULL, 1 << 20, PROT_READ, MAP_SHARED, file, 0);
        MUST(at != MAP_FAILED && write(null, at, 1 << 20) == 1 << 20);
        if (each == 100) MUST(mprotect(at, 1 << 20, PROT_NONE) == 0 && mprotect(at, 1 << 20, PROT_READ) == 0 && *at == 0);
        if (each == 200 && fork() == 0) _exit(*at);
    }
}

/* Pipes that were full once and hold a byte. */
static void drained(void) {
    char *bytes = calloc(1, 1 << 20);
    for (int each = 0; each < 100; each++) {
        int ends[2];
        MUST(pipe(ends) == 0 && fcntl(ends[1], F_SETPIPE_SZ, 1 << 20) == 1 << 20);
        MUST(write(ends[1], bytes, 1 << 20) == 1 << 20);
        for (int left = 1 << 20; left > 1;) left -= read(ends[0], bytes, left - 1);
    }
}

/* Sets of semaphores as large as they can be. */
static void semaphores(void) {
    for (int each = 0; each < 200; each++) MUST(semget(IPC_PRIVATE, 32000, 0600) >= 0);
}

/* What is to be undone when the process ends. */
static void undone(void) {
    struct sembuf all[500];
    for (int each = 0; each < 20; each++) {
        int id = semget(IPC_PRIVATE, 32000, 0600);
        for (int first = 0; first < 32000; first += 500) {
            for (int at = 0; at < 500; at++) all[at] = (struct sembuf){first + at, 1, SEM_UNDO};
            MUST(semop(id, all, 500) == 0);
        }
    }
}

/* Queues of messages without a text, and of long ones. */
static void messages(void) {
    static struct { long kind; char text[8192]; } message = {1};
    for (int each = 0; each < 2000; each++) {
        int id = msgget(IPC_PRIVATE, 0600);
        MUST(id >= 0);
        while (msgsnd(id, &message, each % 2 ? 8192 : 0, IPC_NOWAIT) == 0) {}
    }
}

/* Connections that nobody accepts, of clients that are gone. */
static void unaccepted(void) {
    for (int each = 0; each < 40; each++) {
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        sprintf(at.sun_path + 1, "l%d", each);
        int listening = socket(AF_UNIX, SOCK_STREAM, 0);
        MUST(bind(listening, (void *)&at, sizeof at) == 0 && listen(listening, 4096) == 0);
        for (int client = 0; client < 1000; client++) {
            int fd = socket(AF_UNIX, SOCK_STREAM, 0);
            MUST(connect(fd, (void *)&at, sizeof at) == 0);
            close(fd);
        }
    }
}

/* Sets with many members. */
static void members(void) {
    int ends[2], copies[1000];
    MUST(pipe(ends) == 0);
    for (int each = 0; each < 1000; each++) copies[each] = dup(ends[0]);
    struct epoll_event event = {.events = EPOLLIN};
    for (int sets = 0; sets < 500; sets++) {
        int set = epoll_create1(0);
        for (int each = 0; each < 1000; each++) MUST(epoll_ctl(set, EPOLL_CTL_ADD, copies[each], &event) == 0);
    }
}

/* Timers that nobody waits for. */
static void timers(void) {
    int armed = 0;
    for (int child = 0; child < 20; child++) {
        int told[2];
        MUST(pipe(told) == 0);
        if (fork() == 0) {
            sigset_t all;
            sigfillset(&all), sigprocmask(SIG_BLOCK, &all, NULL);
            int here = 0;
            for (int each = 0; each < 32; each++) {
                timer_t timer;
                struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGURG};
                struct itimerspec often = {{0, 1000000}, {0, 1000000}};
                if (timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &often, NULL) == 0) here++;
            }
            MUST(write(told[1], &here, sizeof here) == sizeof here);
            sigwaitinfo(&all, NULL);
            pause();
        }
        int here = 0;
        MUST(read(told[0], &here, sizeof here) == sizeof here);
        armed += here;
    }
    MUST(armed >= 64 && armed <= 256);
}

/* As many timers as it can have, at most so many. */
static int armed(int most) {
    int here = 0;
    for (timer_t timer; here < most; here++) {
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGURG};
        struct itimerspec late = {{0, 0}, {100000, 0}};
        if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &late, NULL)) break;
    }
    return here;
}

/* How many of these forks can be done. */
static int forks(int wanted) {
    int done = 0;
    for (int each = 0; each < wanted; each++) {
        pid_t child = fork();
        if (child == 0) _exit(0);
        if (child < 0) continue;
        MUST(waitpid(child, NULL, 0) == child);
        done++;
    }
    return done;
}

/* No child begins while there is no timer for its limit; afterwards they do. */
static void failed_forks(void) {
    pid_t children[7];
    int told[2], here = 0;
    MUST(pipe(told) == 0);
    for (int each = 0; each < 7; each++) {
        children[each] = fork();
        if (children[each] == 0) {
            here = armed(32);
            MUST(write(told[1], &here, sizeof here) == sizeof here);
            for (;;) pause();
        }
        MUST(read(told[0], &here, sizeof here) == sizeof here && here == 32);
    }
    struct rlimit limit = {100000, 200000};
    MUST(setrlimit(RLIMIT_CPU, &limit) == 0 && armed(32) == 30);
    MUST(forks(40) == 0 && errno == EAGAIN);
    for (int each = 0; each < 7; each++) MUST(kill(children[each], SIGKILL) == 0 && waitpid(children[each], NULL, 0) > 0);
    MUST(forks(40) == 40);
}

/* The list of what is open, opened again and again. */
static void folders(void) {
    for (int each = 0; each < 2000; each++) MUST(dup(1) >= 0);
    for (int each = 0; each < 500; each++) MUST(open("/proc/self/fd", O_RDONLY | O_DIRECTORY) >= 0);
}

/* Arguments for nothing: the second list is nowhere. */
static void arguments(void) {
    static char text[32] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", *list[65501];
    for (int each = 0; each < 65500; each++) list[each] = text;
    MUST(syscall(SYS_execve, "/nonexistent", list, 8) == -1 && errno == EFAULT);
}

static char much[1 << 20];

static void *writing(void *end) {
    MUST(write((int)(long)end, much, sizeof much) > 0);
    return NULL;
}

/* Bytes of calls that wait until somebody reads them. */
static void waiting(void) {
    for (int each = 0; each < 20; each++) {
        int ends[2];
        pthread_t thread;
        MUST(pipe(ends) == 0 && pthread_create(&thread, NULL, writing, (void *)(long)ends[1]) == 0);
        MUST(read(ends[0], much, 1) == 1);
    }
    _exit(0);
}

static void caught(int signal) { (void)signal; }

static long begin_with(struct clone_args how, size_t size) { return syscall(SYS_clone3, &how, size); }

/* Ways to begin that nobody knows, and those that are seldom used. */
static void beginnings(void) {
    MUST(begin_with((struct clone_args){.flags = 1UL << 40, .exit_signal = SIGCHLD}, 88) == -1 && errno == EINVAL);
    MUST(begin_with((struct clone_args){.flags = CLONE_SIGHAND, .exit_signal = SIGCHLD}, 88) == -1 && errno == EINVAL);
    MUST(begin_with((struct clone_args){.flags = 0x400000, .exit_signal = SIGCHLD}, 88) == -1 && errno == EINVAL);
    MUST(begin_with((struct clone_args){.flags = 0x200000000, .exit_signal = SIGCHLD, .cgroup = 99}, 88) == -1);
    MUST(begin_with((struct clone_args){.flags = CLONE_PARENT, .exit_signal = SIGCHLD}, 88) == -1 && errno == EINVAL);
    MUST(begin_with((struct clone_args){.stack_size = 4096, .exit_signal = SIGCHLD}, 88) == -1 && errno == EINVAL);
    MUST(begin_with((struct clone_args){.exit_signal = 65}, 88) == -1 && errno == EINVAL);
    pid_t wanted = 1;
    MUST(begin_with((struct clone_args){.set_tid = (unsigned long)&wanted, .exit_signal = SIGCHLD}, 88) == -1 && errno == EINVAL);
    MUST(begin_with((struct clone_args){.set_tid = (unsigned long)&wanted, .set_tid_size = 1, .exit_signal = SIGCHLD}, 88) == -1);
    struct { struct clone_args known; unsigned long more; } longer = {{.exit_signal = SIGCHLD}, 1};
    MUST(syscall(SYS_clone3, &longer, sizeof longer) == -1 && errno == E2BIG);
    MUST(syscall(SYS_clone3, &longer, 63) == -1 && errno == EINVAL && syscall(SYS_clone3, &longer, 1 << 20) == -1 && errno == E2BIG);
    /* No handlers, and what is ignored stays ignored. */
    signal(SIGUSR1, caught), signal(SIGUSR2, SIG_IGN);
    longer.more = 0, longer.known.flags = 0x100000000;
    pid_t child = syscall(SYS_clone3, &longer, sizeof longer);
    if (child == 0) _exit(signal(SIGUSR1, SIG_IGN) == SIG_DFL && signal(SIGUSR2, SIG_DFL) == SIG_IGN);
    int status;
    MUST(child > 0 && waitpid(child, &status, 0) == child && status == 1 << 8 && signal(SIGUSR1, SIG_DFL) != SIG_DFL);
    /* A grandchild that is a child. */
    int told[2];
    MUST(pipe(told) == 0 && (child = fork()) >= 0);
    if (child == 0) {
        pid_t brother = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
        pid_t parent = getppid();
        if (brother == 0) _exit(write(told[1], &parent, sizeof parent) != sizeof parent);
        _exit(brother < 0);
    }
    for (int each = 0; each < 2; each++) MUST(wait(&status) > 0 && status == 0);
    pid_t parent;
    MUST(read(told[0], &parent, sizeof parent) == sizeof parent && parent == getpid());
    MUST(wait(NULL) == -1 && errno == ECHILD);
}

/* The heap grows and loses its last page, again and again. */
static void heap(void) {
    MUST(sbrk(-(long)sbrk(0) & 4095) != (void *)-1);
    for (long round = 0; round < 200000; round++) {
        char *end = sbrk(8192);
        if (end == (void *)-1) {
            MUST(errno == ENOMEM);
            return;
        }
        MUST(munmap(end + 4096, 4096) == 0);
    }
    MUST(!"an end");
}

/* A page that goes to ever other places, each with tables of its own. */
static void tables(void) {
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(page != MAP_FAILED);
    *page = 7;
    for (long round = 0; round < 20000; round++) {
        char *there = mremap(page, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, (char *)0x100000000 + (round << 21));
        if (there == MAP_FAILED) {
            MUST(errno == ENOMEM && *page == 7);
            return;
        }
        page = there;
    }
    MUST(!"an end");
}

/* Somebody is in a folder, which moves ever further down. */
static void farther(void) {
    char top[64], last[64] = "/tmp/begin", path[8192];
    struct stat status;
    MUST(mkdir(last, 0755) == 0 && mkdir("/tmp/begin/in", 0755) == 0 && chdir("/tmp/begin/in") == 0);
    MUST(open(".", O_RDONLY | O_DIRECTORY) >= 0);
    for (int round = 0; round < 100; round++) {
        sprintf(top, "/tmp/top%d", round);
        strcpy(path, top);
        MUST(mkdir(path, 0755) == 0);
        for (int depth = 0; depth < 14; depth++) {
            char *end = path + strlen(path);
            *end = '/';
            memset(end + 1, 'a', 250);
            end[251] = 0;
            MUST(mkdir(path, 0755) == 0);
        }
        strcat(path, "/last");
        if (rename(last, path) == -1) {
            MUST(errno == ENAMETOOLONG && round > 0 && stat(".", &status) == 0 && access(last, F_OK) == 0);
            return;
        }
        strcpy(last, top);
    }
    MUST(!"an end");
}

int main(int count, char **words) {
    const char *word = count > 1 ? words[1] : "";
    if (!strcmp(word, "own-image")) own_image(words);
    else if (!strcmp(word, "in-flight")) in_flight();
    else if (!strcmp(word, "fan")) fan();
    else if (!strcmp(word, "shared-pages")) shared_pages();
    else if (!strcmp(word, "cycle")) cycle();
    else if (!strcmp(word, "extremes")) extremes();
    else if (!strcmp(word, "lowest")) lowest();
    else if (!strcmp(word, "impossible")) impossible();
    else if (!strcmp(word, "holes")) holes();
    else if (!strcmp(word, "zombies")) zombies(words);
    else if (!strcmp(word, "unasked")) unasked();
    else if (!strcmp(word, "texts")) texts();
    else if (!strcmp(word, "lists")) lists();
    else if (!strcmp(word, "drained")) drained();
    else if (!strcmp(word, "semaphores")) semaphores();
    else if (!strcmp(word, "undone")) undone();
    else if (!strcmp(word, "messages")) messages();
    else if (!strcmp(word, "unaccepted")) unaccepted();
    else if (!strcmp(word, "members")) members();
    else if (!strcmp(word, "timers")) timers();
    else if (!strcmp(word, "failed-forks")) failed_forks();
    else if (!strcmp(word, "folders")) folders();
    else if (!strcmp(word, "arguments")) arguments();
    else if (!strcmp(word, "waiting")) waiting();
    else if (!strcmp(word, "beginnings")) beginnings();
    else if (!strcmp(word, "heap")) heap();
    else if (!strcmp(word, "tables")) tables();
    else if (!strcmp(word, "farther")) farther();
    else return 99;
    printf("ok %s\n", word);
    return 0;
}
