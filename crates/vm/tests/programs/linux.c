/* What Linux does in hard cases, each for one word. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <xmmintrin.h>

#define MUST(what) do { if (!(what)) { printf("line %d: %s: %s\n", __LINE__, #what, strerror(errno)); exit(1); } } while (0)

static volatile int got;

static void spoil(int number, siginfo_t *info, void *context) {
    ucontext_t *c = context;
    MUST(_mm_getcsr() == 0x1f80 && c->uc_mcontext.fpregs && c->uc_mcontext.fpregs->mxcsr == 0x7f80);
    __asm__ volatile("pcmpeqd %%xmm7,%%xmm7\n fldz\n" ::: "xmm7");
    _mm_setcsr(0x3f80);
    got++;
}

/* A handler changes the vector registers; who was interrupted has them as they were. */
static void vectors(void) {
    struct sigaction action = {.sa_sigaction = spoil, .sa_flags = SA_SIGINFO};
    struct itimerval often = {{0, 2000}, {0, 2000}};
    MUST(sigaction(SIGALRM, &action, NULL) == 0);
    _mm_setcsr(0x7f80);
    MUST(setitimer(ITIMER_REAL, &often, NULL) == 0);
    while (got < 12) {
        unsigned long after;
        __asm__ volatile("pxor %%xmm7,%%xmm7\n mov $20000,%%ecx\n 1: dec %%ecx\n jnz 1b\n movq %%xmm7,%0" : "=r"(after)::"xmm7", "ecx");
        MUST(after == 0 && _mm_getcsr() == 0x7f80);
    }
}

static void forge(int number, siginfo_t *info, void *context) {
    ucontext_t *c = context;
    struct _libc_fpstate *state = c->uc_mcontext.fpregs;
    switch (got++) {
    case 0: state->mxcsr = 0xffffffff; break;
    case 1: memset((char *)state + 464, 0xff, 48 + 64); break;
    case 2: memset((char *)state + 512, 0xff, 64); break;
    case 3: c->uc_mcontext.fpregs = NULL; break;
    case 4: state->_xmm[13].element[0] = 0x5ec2e7; break;
    case 5: c->uc_mcontext.fpregs = (void *)8; break;
    }
}

/* What a handler makes of the saved registers is taken as far as a processor can take it (Linux ends the
   program instead). */
static void forged(void) {
    struct sigaction action = {.sa_sigaction = forge, .sa_flags = SA_SIGINFO};
    MUST(sigaction(SIGUSR1, &action, NULL) == 0);
    for (int round = 0; round < 4; round++) raise(SIGUSR1);
    MUST(_mm_getcsr() == 0x1f80);
    unsigned long after, process = getpid(), number;
    __asm__ volatile("syscall\n movq %%xmm13,%1" : "=a"(number), "=r"(after) : "0"((long)SYS_kill), "D"(process), "S"((long)SIGUSR1) : "rcx", "r11", "memory", "xmm13");
    MUST(after == 0x5ec2e7 && got == 5);
    int child = fork(), status;
    if (!child) raise(SIGUSR1), _exit(0);
    MUST(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

/* A program begins with fresh vector registers. */
static void fresh(char **words) {
    unsigned long there;
    __asm__ volatile("movq %%xmm13,%0" : "=r"(there));
    if (!words[2]) {
        _mm_setcsr(0x7f80);
        __asm__ volatile("movq %0,%%xmm13" ::"r"(0x5ec2e7UL) : "xmm13");
        execl("/proc/self/exe", "linux", "fresh", "again", NULL);
        MUST(!"exec");
    }
    MUST(_mm_getcsr() == 0x1f80 && there != 0x5ec2e7);
}

static void mark(int number) { got = 1; }

/* A signal that comes while a page is made, or before the first instruction, is not lost. */
static void prompt(void) {
    MUST(signal(SIGALRM, mark) != SIG_ERR);
    for (int round = 0; round < 20; round++) {
        got = 0;
        char *pages = mmap(NULL, 24 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        struct itimerval soon = {{0, 0}, {0, 1000}};
        setitimer(ITIMER_REAL, &soon, NULL);
        for (long at = 0; at < (24 << 20); at += 131072) pages[at] = 1;
        while (!got);
        munmap(pages, 24 << 20);
    }
    for (int round = 0; round < 20; round++) {
        int child = fork(), status;
        if (!child) for (;;);
        kill(child, SIGTERM);
        MUST(waitpid(child, &status, 0) == child && WTERMSIG(status) == SIGTERM);
    }
}

/* One client of a named socket goes, the next is served. */
static void datagrams(void) {
    struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "/tmp/log"};
    struct sockaddr_un own = {.sun_family = AF_UNIX, .sun_path = "/tmp/own"};
    char text[8];
    int server = socket(AF_UNIX, SOCK_DGRAM, 0);
    MUST(bind(server, (void *)&at, sizeof at) == 0);
    for (int each = 0; each < 3; each++) {
        int client = socket(AF_UNIX, SOCK_DGRAM, 0);
        MUST(connect(client, (void *)&at, sizeof at) == 0 && send(client, "hi", 2, 0) == 2);
        MUST(recv(server, text, 8, MSG_DONTWAIT) == 2);
        if (each == 1) {
            MUST(bind(client, (void *)&own, sizeof own) == 0 && shutdown(client, SHUT_WR) == 0);
            MUST(send(client, "no", 2, MSG_NOSIGNAL) == -1 && errno == EPIPE);
        }
        close(client);
    }
    int pair[2];
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0 && close(pair[0]) == 0);
    MUST(send(pair[1], "no", 2, 0) == -1 && errno == ECONNREFUSED);
}

static void *other(void *none) {
    for (;;) pause();
    return none;
}

static void nothing(int number) {}

static long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Of many waits one ends by its time: each is interrupted for a signal that one of the threads takes. */
static void *polls(void *none) {
    for (int each = 0;; each++) {
        long before = now();
        MUST(each < 200);
        if (poll(NULL, 0, 100) == 0 && now() - before >= 100) return none;
    }
}

/* A wait ends although other threads take signals more often than it lasts. */
static void waits(void) {
    struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
    pthread_t threads[5];
    MUST(sigaction(SIGALRM, &action, NULL) == 0);
    for (int each = 0; each < 5; each++) pthread_create(&threads[each], NULL, each ? other : polls, NULL);
    struct itimerval often = {{0, 30000}, {0, 30000}};
    MUST(setitimer(ITIMER_REAL, &often, NULL) == 0);
    MUST(pthread_join(threads[0], NULL) == 0);
}

static void *execs(void *none) {
    execl("/proc/self/exe", "linux", "replaced", "again", NULL);
    return none;
}

/* A program replaces itself whichever of its threads asks for it, and the others end. */
static void replaced(char **words) {
    if (words[2] && !strcmp(words[2], "again")) {
        MUST(getpid() == syscall(SYS_gettid));
        pthread_t thread;
        MUST(pthread_create(&thread, NULL, other, NULL) == 0);
        execl("/proc/self/exe", "linux", "replaced", "thrice", NULL);
        MUST(!"exec");
    }
    if (words[2]) return;
    pthread_t threads[5];
    for (int each = 0; each < 4; each++) pthread_create(&threads[each], NULL, other, NULL);
    pthread_create(&threads[4], NULL, execs, NULL);
    for (;;) pause();
}

/* Who waits to be accepted still does after a second listen. */
static void listens(void) {
    struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "\0queue"};
    int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    MUST(bind(server, (void *)&at, sizeof at) == 0 && listen(server, 5) == 0);
    MUST(connect(client, (void *)&at, sizeof at) == 0 && listen(server, 10) == 0);
    struct pollfd asked = {server, POLLIN, 0};
    MUST(poll(&asked, 1, 0) == 1 && accept(server, NULL, NULL) >= 0);
}

static int set, bell, told;

static void *takes(void *none) {
    struct epoll_event event;
    while (epoll_wait(set, &event, 1, 50) == 1) __sync_fetch_and_add(&told, 1);
    return none;
}

/* Of many who wait, one is told what is to be told once. */
static void once(void) {
    set = epoll_create1(0), bell = eventfd(1, EFD_NONBLOCK);
    for (int round = 0; round < 30; round++) {
        pthread_t threads[4];
        struct epoll_event event = {.events = EPOLLIN | (round % 2 ? EPOLLONESHOT : EPOLLET)};
        told = 0;
        for (int each = 0; each < 4; each++) pthread_create(&threads[each], NULL, takes, NULL);
        MUST(epoll_ctl(set, EPOLL_CTL_ADD, bell, &event) == 0);
        for (int each = 0; each < 4; each++) pthread_join(threads[each], NULL);
        MUST(told == 1 && epoll_ctl(set, EPOLL_CTL_DEL, bell, NULL) == 0);
    }
}

static void *short_lived(void *none) { return none; }

/* What is listed again is what is there now; a name's number is that of the file. */
static void listed(void) {
    DIR *threads = opendir("/proc/self/task"), *here;
    pthread_t thread;
    MUST(threads && pthread_create(&thread, NULL, short_lived, NULL) == 0 && pthread_join(thread, NULL) == 0);
    int count;
    do {
        count = 0;
        for (rewinddir(threads); readdir(threads);) count++;
    } while (count != 3);
    struct stat found;
    MUST(mkdir("listed", 0700) == 0 && mkdir("listed/folder", 0700) == 0 && close(creat("listed/file", 0600)) == 0);
    MUST(here = opendir("listed"));
    for (struct dirent *entry; (entry = readdir(here));) {
        if (entry->d_name[0] == '.') continue;
        MUST(fstatat(dirfd(here), entry->d_name, &found, 0) == 0 && found.st_ino == entry->d_ino);
    }
    /* A hole takes no room. */
    int file = open("listed/file", O_RDWR);
    MUST(pwrite(file, "x", 1, 16 << 20) == 1 && fstat(file, &found) == 0 && found.st_blocks * 512 <= 1 << 20);
    MUST(pwrite(file, "x", 1, 0) == 1 && fstat(file, &found) == 0 && found.st_blocks > 0);
    MUST(unlink("listed/file") == 0 && rmdir("listed/folder") == 0 && rmdir("listed") == 0);
}

static void *is_on_one(void *none) {
    cpu_set_t all, one;
    long processors = sysconf(_SC_NPROCESSORS_CONF);
    MUST(sched_getaffinity(0, sizeof all, &all) == 0);
    for (int each = 0; each < CPU_SETSIZE; each++) {
        if (!CPU_ISSET(each, &all)) continue;
        unsigned processor, node;
        CPU_ZERO(&one);
        CPU_SET(each, &one);
        MUST(sched_getcpu() >= 0 && sched_getcpu() < processors);
        MUST(sched_setaffinity(0, sizeof one, &one) == 0 && sched_getcpu() == each);
        MUST(getcpu(&processor, &node) == 0 && (int)processor == each && node == 0);
        MUST(sched_setaffinity(0, sizeof all, &all) == 0);
    }
    return none;
}

/* The processor one is on is one of those there are, and that one may run on, for every thread. */
static void processors(void) {
    pthread_t threads[8];
    for (int each = 0; each < 8; each++) pthread_create(&threads[each], NULL, is_on_one, NULL);
    for (int each = 0; each < 8; each++) pthread_join(threads[each], NULL);
    is_on_one(NULL);
}

/* No more is on the way than was asked for; a timer that is not armed has no interval; a terminal is one's own by either end. */
static void small(void) {
    static char much[16384];
    int ends[2], size = 1, one = 1;
    socklen_t length = sizeof size;
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    MUST(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &one, sizeof one) == 0);
    MUST(getsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, &length) == 0 && size == 4608);
    MUST(write(ends[0], much, sizeof much) < (long)sizeof much);
    struct pollfd asked = {ends[0], POLLOUT, 0};
    MUST(poll(&asked, 1, 0) == 0);
    while (read(ends[1], much, sizeof much) > 0) {}
    MUST(poll(&asked, 1, 0) == 1);
    struct itimerval timer = {{10, 20}, {0, 0}};
    MUST(setitimer(ITIMER_REAL, &timer, NULL) == 0 && getitimer(ITIMER_REAL, &timer) == 0);
    MUST(timer.it_interval.tv_sec == 0 && timer.it_interval.tv_usec == 0);
    MUST(sched_getscheduler(getppid()) == SCHED_OTHER);
    pid_t child = fork();
    if (child == 0) {
        int master = posix_openpt(O_RDWR | O_NOCTTY);
        MUST(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0 && setsid() > 0);
        MUST(ioctl(master, TIOCSCTTY, 0) == 0 && open("/dev/tty", O_RDWR) >= 0);
        _exit(0);
    }
    int status;
    MUST(waitpid(child, &status, 0) == child && status == 0);
}

static void *reads_records(void *end) {
    long record[2];
    for (long each = 0; each < 20000; each++) {
        MUST(read((int)(long)end, record, sizeof record) == sizeof record && record[0] == each && record[1] == ~each);
    }
    return NULL;
}

static void *copies(void *ends) {
    int *at = ends, none = open("/dev/null", O_WRONLY);
    for (long left = 20000 * 16; left > 0;) {
        long copied = tee(at[0], at[1], 1 << 30, 0);
        MUST(copied > 0);
        for (long rest = copied; rest > 0;) {
            long gone = splice(at[0], NULL, none, NULL, rest, 0);
            MUST(gone > 0);
            rest -= gone;
        }
        left -= copied;
    }
    return NULL;
}

/* What is copied to a full pipe waits for room, and is not cut to pieces. */
static void copied(void) {
    int from[2], to[2];
    pthread_t reader, copier;
    MUST(pipe(from) == 0 && pipe(to) == 0 && fcntl(to[1], F_SETPIPE_SZ, 4096) == 4096);
    int ends[2] = {from[0], to[1]};
    pthread_create(&copier, NULL, copies, ends);
    pthread_create(&reader, NULL, reads_records, (void *)(long)to[0]);
    for (long each = 0; each < 20000; each++) {
        long record[2] = {each, ~each};
        MUST(write(from[1], record, sizeof record) == sizeof record);
    }
    pthread_join(copier, NULL);
    pthread_join(reader, NULL);
    MUST(tee(from[0], to[1], 1, SPLICE_F_NONBLOCK) == -1 && errno == EAGAIN);
    close(from[1]);
    MUST(tee(from[0], to[1], 1, 0) == 0);
}

/* Settings of a terminal as System V had them: the lower halves. */
static void old(void) {
    struct { unsigned short input, output, control, local; unsigned char line, characters[8]; } given, now;
    struct termios before, after;
    int master = posix_openpt(O_RDWR | O_NOCTTY), terminal;
    MUST(grantpt(master) == 0 && unlockpt(master) == 0 && (terminal = open(ptsname(master), O_RDWR | O_NOCTTY)) >= 0);
    MUST(tcgetattr(terminal, &before) == 0 && ioctl(terminal, TCGETA, &given) == 0);
    MUST(given.input == (before.c_iflag & 0xffff) && given.output == (before.c_oflag & 0xffff));
    MUST(given.control == (before.c_cflag & 0xffff) && given.local == (before.c_lflag & 0xffff));
    MUST(memcmp(given.characters, before.c_cc, 8) == 0);
    given.local &= ~ECHO;
    given.characters[VINTR] = 5;
    MUST(ioctl(terminal, TCSETAF, &given) == 0 && ioctl(terminal, TCGETA, &now) == 0);
    MUST(tcgetattr(terminal, &after) == 0 && now.local == given.local && after.c_cc[VINTR] == 5);
    MUST(after.c_lflag == (before.c_lflag & ~ECHO) && after.c_iflag == before.c_iflag && after.c_cc[VSUSP] == before.c_cc[VSUSP]);
}

int main(int count, char **words) {
    const char *word = count > 1 ? words[1] : "";
    if (!strcmp(word, "vectors")) vectors();
    else if (!strcmp(word, "forged")) forged();
    else if (!strcmp(word, "fresh")) fresh(words);
    else if (!strcmp(word, "prompt")) prompt();
    else if (!strcmp(word, "datagrams")) datagrams();
    else if (!strcmp(word, "waits")) waits();
    else if (!strcmp(word, "replaced")) replaced(words);
    else if (!strcmp(word, "listens")) listens();
    else if (!strcmp(word, "once")) once();
    else if (!strcmp(word, "listed")) listed();
    else if (!strcmp(word, "processors")) processors();
    else if (!strcmp(word, "small")) small();
    else if (!strcmp(word, "copied")) copied();
    else if (!strcmp(word, "old")) old();
    else return 99;
    printf("ok %s\n", word);
    return 0;
}
