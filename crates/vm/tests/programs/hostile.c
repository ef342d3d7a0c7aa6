/* What a hostile program tries, one thing for each first argument. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long call(long number, const uint64_t *a) {
    long answer;
    register uint64_t r10 __asm__("r10") = a[3];
    register uint64_t r8 __asm__("r8") = a[4];
    register uint64_t r9 __asm__("r9") = a[5];
    __asm__ volatile("syscall" : "=a"(answer) : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return answer;
}

/* Calls that end, replace or stop the caller for good, or change the memory it stands on. */
static int spared(int number) {
    switch (number) {
    case 11: case 10: case 9: case 25: case 28: case 12: case 15: case 23: case 34: case 35: case 7: case 56: case 57:
    case 58: case 59: case 60: case 61: case 62: case 130: case 158: case 200: case 202: case 230: case 231:
    case 65: case 69: case 70: case 220: case 234: case 247: case 270: case 271: case 322: case 435: case 3: case 436: case 33: case 292: case 13: case 14:
        return 1;
    }
    return 0;
}

static uint64_t state;

static uint64_t chance(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

/* Random calls with boundary arguments, and pointers to chance. */
static void fuzz_calls(const uint64_t *bad, int count, int calls) {
    static unsigned char chaos[1 << 16];
    for (unsigned i = 0; i < sizeof chaos; i++) chaos[i] = chance(4) ? 0 : chance(256);
    strcpy((char *)chaos + 512, "/tmp/name");
    strcpy((char *)chaos + 1024, "/proc/self/fd/3");
    for (int done = 0; done < calls; done++) {
        uint64_t a[6], number = chance(460);
        /* Ends, and children that would do the same again; signals to those who watch. */
        if (number == 60 || number == 231 || (number >= 56 && number <= 58) || number == 435 || number == 62 || number == 200 || number == 234 ||
            number == 129 || number == 297 || number == 424) continue;
        for (int i = 0; i < 6; i++)
            switch (chance(6)) {
            case 0: a[i] = bad[chance(count)]; break;
            case 1: a[i] = chance(16); break;
            case 2: a[i] = (uint64_t)chaos + chance(8) * 512; break;
            case 3: a[i] = (uint64_t)chaos + chance(sizeof chaos); break;
            case 4: a[i] = 1ull << chance(64); break;
            default: a[i] = chance(5000); break;
            }
        call(number, a);
        if (chance(8) == 0)
            /* What others read may change at any time. */
            *(uint64_t *)(chaos + chance(sizeof chaos - 8)) = bad[chance(count)];
    }
}

static void fuzz(uint64_t seed, int children, int calls, const uint64_t *bad, int count) {
    sigset_t child_ended;
    sigemptyset(&child_ended);
    sigaddset(&child_ended, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child_ended, NULL);
    for (int i = 0; i < children; i++) {
        state = seed * 2654435761u + i * 40503u + 1;
        pid_t child = fork();
        if (child == 0) {
            fuzz_calls(bad, count, calls);
            _exit(0);
        }
        /* It may wait for ever, and block whatever would end it. */
        struct timespec patience = {0, 500000000};
        while (child > 0 && waitpid(child, NULL, WNOHANG) == 0)
            if (sigtimedwait(&child_ended, NULL, &patience) < 0) kill(child, SIGKILL);
    }
    puts("survived");
}

static void hide(const char *where, int port) {
    static char block[65536];
    for (int i = 0; i < 2000; i++) {
        int ends[2];
        if (!strcmp(where, "pipes")) {
            if (pipe2(ends, O_NONBLOCK)) break;
            if (write(ends[1], block, sizeof block) != sizeof block) break;
        } else if (!strcmp(where, "sockets")) {
            if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends)) break;
            if (write(ends[1], block, sizeof block) <= 0) break;
        } else if (!strcmp(where, "datagrams")) {
            if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends)) break;
            while (send(ends[1], block, 32768, 0) > 0);
        } else if (!strcmp(where, "passed")) {
            /* A socket that is on its way through itself. */
            union { struct cmsghdr head; char room[CMSG_SPACE(sizeof(int))]; } control = {0};
            struct iovec part = {"x", 1};
            struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
            if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) break;
            control.head = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
            memcpy(CMSG_DATA(&control.head), &ends[0], sizeof(int));
            if (sendmsg(ends[1], &message, 0) != 1) break;
            close(ends[0]);
            close(ends[1]);
        } else if (!strcmp(where, "peeked")) {
            struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
            ends[0] = socket(AF_INET, SOCK_STREAM, 0);
            if (connect(ends[0], (struct sockaddr *)&to, sizeof to)) break;
            if (recv(ends[0], block, sizeof block, MSG_PEEK | MSG_WAITALL) <= 0) break;
        } else if (!strcmp(where, "links")) {
            char name[32];
            sprintf(name, "/tmp/%d", i);
            memset(block, 'x', 4000);
            if (symlink(block, name)) break;
            if (i == 1999) puts("all made");
        } else if (!strcmp(where, "locks")) {
            static int file;
            if (!file) file = open("/tmp/locked", O_RDWR | O_CREAT, 0600);
            for (int j = 0; j < 40; j++) {
                /* Of three bytes each: giving up the one in the middle would make two of one. */
                struct flock part = {.l_type = F_WRLCK, .l_start = (i * 40 + j) * 4, .l_len = 3};
                struct flock middle = {.l_type = F_UNLCK, .l_start = 1, .l_len = 1};
                if (fcntl(file, F_SETLK, &part)) {
                    printf("%d locks%s\n", i * 40 + j, fcntl(file, F_SETLK, &middle) ? "" : " and one more");
                    return;
                }
            }
        }
    }
    puts("hidden");
}

/* Trees that are moved below each other, deeper than any path is long. */
static void deep(int rounds) {
    static char path[4096], to[4096];
    for (int round = 0; round < rounds; round++) {
        int length = sprintf(path, "/tmp/%d", round);
        mkdir(path, 0700);
        while (length < 4000) {
            length += sprintf(path + length, "/d");
            if (mkdir(path, 0700)) break;
        }
        if (round) {
            sprintf(path + length, "/r");
            sprintf(to, "/tmp/%d", round - 1);
            if (rename(to, path)) perror("rename");
        }
    }
    puts("made");
}

static void iovecs(void) {
    static char block[1 << 20];
    static struct iovec parts[1024];
    int ends[2], file = open("/tmp/file", O_RDWR | O_CREAT, 0600);
    pipe2(ends, O_NONBLOCK);
    for (int kind = 0; kind < 3; kind++) {
        for (int i = 0; i < 1024; i++) {
            parts[i].iov_base = kind == 1 ? (void *)0x3fffffe00000 : block;
            parts[i].iov_len = kind == 2 ? INT64_MAX : sizeof block;
        }
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 1024};
        for (int i = 0; i < 2; i++) {
            int to = i ? file : ends[1], from = i ? file : ends[0];
            /* Into the file that would be what it says: a gigabyte. */
            if (kind || !i) writev(to, parts, 1024);
            readv(from, parts, 1024);
            if (kind) pwritev(to, parts, 1024, 0);
            preadv(from, parts, 1024, INT64_MAX);
            sendmsg(to, &message, 0);
            syscall(SYS_writev, to, parts, -1);
            readv(from, (void *)-8, 1);
        }
    }
    puts("survived");
}

/* A system call from compatibility mode: at the low addresses there, code of four bytes. */
static void compatible(void) {
    uint8_t *code = mmap((void *)0x10000, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    memcpy(code, "\x0f\x05\x0f\x0b", 4);
    __asm__ volatile("push $0x23\n push %0\n lretq" : : "r"((uint64_t)code) : "memory");
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    static const uint64_t bad[] = {0, 1, 16, 0xfff, 0x3ffffffff000, 0x3fffffe00000, 0x400000000000, 0x7fffffffffff,
                                   0x800000000000, 0xffffffff80000000, 0xffffffff80010004, UINT64_MAX, UINT64_MAX - 4095,
                                   INT64_MAX, 0x100000000, 0x7fffffff};
    const int count = sizeof bad / sizeof *bad;
    if (!strcmp(what, "compatible")) compatible();
    if (!strcmp(what, "pointers")) {
        for (int number = 0; number < 520; number++) {
            if (spared(number)) continue;
            for (int i = 0; i < count; i++) {
                uint64_t a[6];
                for (int j = 0; j < 6; j++) a[j] = bad[(i + j * (1 + number % 5)) % count];
                call(number, a);
                a[0] = 1;
                call(number, a);
                a[0] = (uint64_t)-100;
                call(number, a);
            }
        }
        for (int number = 9; number < 436; number++) {
            if (!spared(number) || number == 3 || number == 436 || number == 34 || number == 130) continue;
            pid_t child = fork();
            if (child == 0) {
                alarm(1);
                for (int i = 0; i < count; i++) {
                    uint64_t a[6] = {bad[i], bad[(i + 3) % count], bad[(i + 5) % count], bad[(i + 7) % count], bad[(i + 9) % count], bad[i]};
                    if (number == 61 || number == 247 || number == 62 || number == 200 || number == 202 || number == 23 || number == 7) break;
                    call(number, a);
                }
                _exit(0);
            }
            int status;
            waitpid(child, &status, 0);
        }
        write(1, "survived\n", 9);
    } else if (!strcmp(what, "fuzz")) {
        fuzz(strtoull(argv[2], NULL, 10), atoi(argv[3]), atoi(argv[4]), bad, count);
    } else if (!strcmp(what, "hide")) {
        hide(argv[2], argc > 3 ? atoi(argv[3]) : 0);
    } else if (!strcmp(what, "deep")) {
        deep(atoi(argv[2]));
    } else if (!strcmp(what, "iovecs")) {
        iovecs();
    } else if (!strcmp(what, "over-stubs")) {
        /* No call reads, writes, maps or moves what is not the program's. */
        static const uint64_t theirs[] = {0x3fffffe00000, 0xffffffff80000000, 0xffffffff80004000, 0xffffffff80010000};
        char *own = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        for (int i = 0; i < 4; i++) {
            void *at = (void *)theirs[i];
            if (write(1, at, 16) != -1 || read(0, at, 16) == 16) printf("copied %p\n", at);
            if (mmap(at, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED) printf("mapped %p\n", at);
            if (mprotect(at, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) != -1) printf("protected %p\n", at);
            if (munmap(at, 4096) == 0) printf("unmapped %p\n", at);
            if (mremap(own, 8192, 8192, MREMAP_MAYMOVE | MREMAP_FIXED, at) != MAP_FAILED) printf("moved to %p\n", at);
            if (mremap(at, 4096, 8192, MREMAP_MAYMOVE) != MAP_FAILED) printf("moved from %p\n", at);
            if (madvise(at, 4096, MADV_DONTNEED) == 0) printf("discarded %p\n", at);
        }
        puts("tried");
    } else if (!strcmp(what, "jump")) {
        uint64_t to = strtoull(argv[2], NULL, 16);
        ((void (*)(void))to)();
    } else if (!strcmp(what, "read")) {
        printf("%d\n", *(volatile char *)strtoull(argv[2], NULL, 16));
    } else if (!strcmp(what, "write")) {
        *(volatile char *)strtoull(argv[2], NULL, 16) = 1;
    } else if (!strcmp(what, "port")) {
        __asm__ volatile("outb %%al, $0x80" : : "a"(1));
    } else if (!strcmp(what, "own-exit")) {
        /* As the stub does it, from elsewhere and with a return address that no program can have. */
        __asm__ volatile("outb %%al, $0x90" : : "a"(39), "c"(0xffff800000000000), "d"(0) : "r11");
    } else if (!strcmp(what, "privileged")) {
        switch (argv[2][0]) {
        case 'h': __asm__ volatile("hlt"); break;
        case 'c': __asm__ volatile("mov %%cr3, %%rax" : : : "rax"); break;
        case 'm': __asm__ volatile("rdmsr" : : "c"(0xc0000082) : "rax", "rdx"); break;
        case 'l': __asm__ volatile("cli"); break;
        case 'i': __asm__ volatile("int $0x20"); break;
        }
    } else if (!strcmp(what, "flags")) {
        /* IOPL, NT, VM and what is reserved, handed to the host as the flags to return with. */
        __asm__ volatile("pushfq; pop %%r11; or $0x37000, %%r11; push %%r11; popfq; mov $39, %%eax; syscall" : : : "rax", "rcx", "r11", "memory");
        puts("returned");
    } else if (!strcmp(what, "forks")) {
        for (;;) fork();
    } else if (!strcmp(what, "tables")) {
        /* A page in each two megabytes: as many page tables as pages. */
        for (uint64_t at = 0x100000000; ; at += 0x200000) {
            char *page = mmap((void *)at, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
            if (page == MAP_FAILED) break;
            *page = 1;
        }
        puts("none left");
    }
    return 0;
}
