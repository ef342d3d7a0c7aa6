/* What programs do at and with places of their code that were rewritten, one thing for each first argument. All of it
   is the same where none is. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* Pages of the host's in programs that have such places. */
#define TABLE 0x60000ul
#define DESK ((volatile uint32_t *)0x61000)
#define CODE 0x62000ul
#define END 0x68000ul
#ifndef OFTEN
#define OFTEN 3000
#endif

/* Both kinds of places, and what must survive them. `middle` is where the instruction itself was. */
__asm__(".globl set, middle, compared, behind, flagged, red, other, led, wide\n"
        ".p2align 4\n"
        "set: mov $110, %eax\n"
        "middle: syscall\n"
        "ret\n"
        "compared: mov %rdi, %rax\n"
        "    mov %rsi, %rdi\n"
        "    mov %rdx, %rsi\n"
        "    mov %rcx, %rdx\n"
        "    syscall\n"
        "behind: cmp $-4095, %rax\n"
        "    sbb %rcx, %rcx\n"  /* all ones unless it failed */
        "    and %rcx, %rax\n"
        "    ret\n"
        /* With these flags; which there were afterwards. */
        "flagged: push %rdi\n"
        "    popf\n"
        "    call set\n"
        "    pushf\n"
        "    pop %rax\n"
        "    ret\n"
        /* What is below the stack pointer stays, and so does everything in registers that are not said to change. */
        "red: push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "    mov $1, %ebx; mov $2, %ebp; mov $3, %r12d; mov $4, %r13d; mov $5, %r14d; mov $6, %r15d\n"
        "    mov $7, %edi; mov $8, %esi; mov $9, %edx; mov $10, %r10d; mov $11, %r8d; mov $12, %r9d\n"
        "    movq %rsp, %xmm0; movq $77, -8(%rsp); movq $78, -120(%rsp); mov %rsp, -64(%rsp)\n"
        "    mov $110, %eax\n"
        "    syscall\n"
        "    cmp $-4095, %rax\n"
        "    mov $0, %eax; jae 1f\n"
        "    cmp -64(%rsp), %rsp; jne 1f; cmpq $77, -8(%rsp); jne 1f; cmpq $78, -120(%rsp); jne 1f\n"
        "    lea (%rbx,%rbp), %eax; add %r12d, %eax; add %r13d, %eax; add %r14d, %eax; add %r15d, %eax\n"
        "    add %edi, %eax; add %esi, %eax; add %edx, %eax; add %r10d, %eax; add %r8d, %eax; add %r9d, %eax\n"
        "1:  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "    ret\n"
        /* Looks like the first kind, and is the end of a longer instruction. */
        ".p2align 4; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop\n"
        "other: .byte 0xc7, 0x44, 0x24, 0xb8, 39, 0, 0, 0\n"
        "    syscall\n"
        "    ret\n"
        /* The same, with what they did to another register: lea 39(%rax), %edi; movabs $0x27b8123456, %rdi. */
        "led: .byte 0x8d, 0xb8, 39, 0, 0, 0\n"
        "    syscall; mov %rdi, %rax\n"
        "    ret\n"
        "wide: .byte 0x48, 0xbf, 0x56, 0x34, 0x12, 0xb8, 39, 0, 0, 0\n"
        "    syscall; mov %rdi, %rax\n"
        "    ret\n");
extern long set(void), flagged(long), red(void), compared(long, long, long, long);
extern char middle[], behind[], other[], led[], wide[];

static long enter(void *at, long rax) {
    long answer;
    __asm__ volatile("lea 1f(%%rip), %%rbx; push %%rbx; jmp *%2; 1:"
                     : "=a"(answer) : "0"(rax), "r"(at) : "rbx", "rcx", "rdi", "r11", "memory", "cc");
    return answer;
}

static int wrong(const char *what, long got, long wanted) {
    printf("%s: %ld, not %ld\n", what, got, wanted);
    return 1;
}

static int both(void) {
    for (int i = 0; i < OFTEN; i++) {
        if (set() != getppid()) return wrong("set", set(), getppid());
        if (compared(SYS_getpid, 0, 0, 0) != getpid()) return wrong("compared", 0, getpid());
        if (compared(SYS_lseek, 99, 0, 0) != 0) return wrong("an error", 1, 0);
        if (red() != 78) return wrong("registers", red(), 78);
    }
    return 0;
}

static volatile sig_atomic_t rung, in_handler;
static int pipes[2];
static void *until_told(void *unused) {
    char byte;
    /* What it takes is given back, for who told it. */
    if (read(pipes[0], &byte, 1) == 1) write(pipes[1], &byte, 1);
    return unused;
}
static sigjmp_buf back;
static void ring(int signal) {
    (void)signal;
    rung++;
    in_handler += set() == getppid() && compared(SYS_getuid, 0, 0, 0) == (long)getuid();
}
static volatile int *interrupted;
static void count_up(int signal) {
    (void)signal;
    ++*interrupted;
}
static void out(int signal) {
    (void)signal;
    rung++;
    siglongjmp(back, 1);
}

static void ring_often(void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigaction(SIGALRM, &action, 0);
    struct itimerval often = {{0, 300}, {0, 300}};
    setitimer(ITIMER_REAL, &often, 0);
}

static void *also(void *unused) {
    return both() ? (void *)1 : unused;
}

/* Each byte goes through the pipe once, in order. */
static int in_order(int count) {
    for (int i = 0; i < count; i++) {
        unsigned char byte = (unsigned char)i, got = 0;
        if (write(pipes[1], &byte, 1) != 1 || read(pipes[0], &got, 1) != 1 || got != byte) return wrong("a byte", got, byte);
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "both";
    if (pipe(pipes) != 0 || both() != 0) return 1;
    if (!strcmp(what, "both")) {
        puts("ok");
    } else if (!strcmp(what, "on")) {
        while (both() == 0) {}
    } else if (!strcmp(what, "flags")) {
        const long arithmetic = 0x8d5;
        for (long flags = 0; flags < 0x1000; flags++)
            if (flags == (flags & arithmetic) && (flagged(flags | 0x202) & arithmetic) != flags)
                return wrong("flags", flagged(flags | 0x202) & arithmetic, flags);
        puts("ok");
    } else if (!strcmp(what, "middle")) {
        for (int i = 0; i < 100; i++) {
            if (enter(middle, SYS_getppid) != getppid()) return wrong("in the middle", 0, getppid());
            if (enter(middle, SYS_getpid) != getpid()) return wrong("another call", 0, getpid());
        }
        puts("ok");
    } else if (!strcmp(what, "behind")) {
        for (int i = 0; i < 100; i++) {
            if (enter(behind, 1234567) != 1234567) return wrong("behind a call", 0, 1234567);
            if (enter(behind, -5) != 0) return wrong("behind one that failed", 1, 0);
            if (enter(other, SYS_getpid) != getpid()) return wrong("a longer instruction", 0, getpid());
            if (enter(led, SYS_getpid) != 78) return wrong("the end of lea", 0, 78);
            if (enter(wide, SYS_getpid) != 0x27b8123456) return wrong("the end of movabs", 0, 0x27b8123456);
        }
        puts("ok");
    } else if (!strcmp(what, "heard")) {
        /* A signal that comes close to a call is heard also by who makes no other one. */
        struct sigaction action = {.sa_handler = ring};
        sigaction(SIGALRM, &action, 0);
        interrupted = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        pid_t child = fork();
        if (child == 0) {
            for (int turn = 1; turn <= 1500; turn++) {
                while (*interrupted != turn) __builtin_ia32_pause();
                for (volatile int i = 0; i < turn * 7919 % 40000; i++) {}
                kill(getppid(), SIGALRM);
            }
            _exit(0);
        }
        for (int turn = 1; turn <= 1500; turn++) {
            rung = 0;
            *interrupted = turn;
            for (int call = 0; call < turn % 8; call++) compared(SYS_getppid, 0, 0, 0);
            while (!rung) __builtin_ia32_pause();
        }
        waitpid(child, 0, 0);
        puts("ok");
    } else if (!strcmp(what, "reads")) {
        /* From the ports, which is a fault like any other. */
        int port = atoi(argv[2]), status = 0;
        pid_t child = fork();
        if (child == 0) {
            __asm__ volatile("in %%dx, %%al" : : "d"(port) : "eax");
            _exit(0);
        }
        waitpid(child, &status, 0);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSEGV) return wrong("a port", status, SIGSEGV);
        puts("ok");
    } else if (!strcmp(what, "sealed")) {
        /* What it may only read is not written for it, whatever it says these pages are. */
        int file = memfd_create("sealed", MFD_ALLOW_SEALING);
        static char copy[END - TABLE];
        memcpy(copy, (void *)TABLE, END - TABLE);
        if (ftruncate(file, END - TABLE) != 0 || write(file, copy, END - TABLE) != END - TABLE) return wrong("write", errno, 0);
        fcntl(file, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK);
        for (unsigned long at = TABLE; at < END; at += 4096) {
            int protection = at == (unsigned long)DESK ? PROT_READ : at < CODE ? PROT_READ : PROT_READ | PROT_EXEC;
            if (mmap((void *)at, 4096, protection, MAP_SHARED | MAP_FIXED, file, (off_t)(at - TABLE)) == MAP_FAILED) return wrong("mmap", errno, 0);
        }
        if (both() != 0 || fork() == 0) _exit(0);
        wait(0);
        munmap((void *)TABLE, END - TABLE);
        static char now[END - TABLE];
        if (pread(file, now, sizeof now, 0) != sizeof now || memcmp(now, copy, sizeof now) != 0) return wrong("it was written", 1, 0);
        puts("ok");
    } else if (!strcmp(what, "itself")) {
        /* Pages like those, of its own: signals come all the same. */
        munmap((void *)TABLE, END - TABLE);
        mmap((void *)TABLE, END - TABLE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        memset((void *)TABLE, 1, CODE - TABLE);
        memset((void *)CODE, 0x90, END - CODE);
        memcpy((void *)(END - 16), "\xeb\xfe", 2);
        pid_t child = fork();
        int status = 0;
        if (child == 0) {
            alarm(1);
            ((void (*)(void))CODE)();
        }
        waitpid(child, &status, 0);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGALRM) return wrong("a signal", status, SIGALRM);
        if (*DESK != 0x01010101) return wrong("its own word", *DESK, 0x01010101);
        /* A word of its own at the desk stays what it is. */
        for (uint32_t word = 0; word < 8; word++) {
            *DESK = word;
            if (in_order(300) != 0 || *DESK != word) return wrong("a word", *DESK, word);
        }
        puts("ok");
    } else if (!strcmp(what, "signals")) {
        ring_often(ring, SA_RESTART);
        while (rung < 300) if (in_order(200) != 0 || both() != 0) return 1;
        if (in_handler != rung) return wrong("handlers", in_handler, rung);
        puts("ok");
    } else if (!strcmp(what, "jumps")) {
        volatile long done = 0;
        if (sigsetjmp(back, 1) == 0) ring_often(out, SA_NODEFER);
        while (rung < 300) {
            sigsetjmp(back, 1);
            for (int i = 0; i < 1000; i++) done += set() == getppid();
        }
        setitimer(ITIMER_REAL, &(struct itimerval){0}, 0);
        return done > 0 && both() == 0 && puts("ok") > 0 ? 0 : 1;
    } else if (!strcmp(what, "waits")) {
        /* A read that is interrupted again and again, and made again from the same place. */
        if (in_order(1000) != 0) return 1;
        interrupted = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        pid_t child = fork();
        if (child == 0) {
            for (int i = 0; i < 50; i++) {
                for (int before = *interrupted; *interrupted < before + 5;) sched_yield();
                write(pipes[1], "x", 1);
            }
            _exit(0);
        }
        ring_often(count_up, SA_RESTART);
        char byte = 0;
        for (int i = 0; i < 50; i++) if (read(pipes[0], &byte, 1) != 1 || byte != 'x') return wrong("a byte", byte, 'x');
        setitimer(ITIMER_REAL, &(struct itimerval){0}, 0);
        waitpid(child, 0, 0);
        puts("ok");
    } else if (!strcmp(what, "processes")) {
        pthread_t threads[3];
        for (int i = 0; i < 3; i++) pthread_create(&threads[i], 0, also, 0);
        void *failed = 0;
        for (int i = 0; i < 3 && !failed; i++) pthread_join(threads[i], &failed);
        if (failed) return 1;
        for (int i = 0; i < 3; i++) {
            pid_t child = i == 2 ? vfork() : fork();
            if (child == 0) _exit(i == 2 ? getpid() == getppid() : both() || in_order(1000));
            int status = 1;
            if (waitpid(child, &status, 0) != child || status != 0) return wrong("a child", status, 0);
            if (both() != 0) return 1;
        }
        puts("ok");
    } else if (!strcmp(what, "fresh")) {
        /* Code that nobody has run, read from its file while there is another thread. */
        char byte;
        pthread_t other_thread;
        if (both() || pipe(pipes) != 0 || pthread_create(&other_thread, 0, until_told, 0) != 0) return 1;
        extern char __executable_start[];
        long from = (char *)compared - __executable_start, page = from & ~4095l;
        int file = open("/proc/self/exe", O_RDONLY);
        char *code = mmap(0, 2 * 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, page);
        if (code == MAP_FAILED) return wrong("mmap", errno, 0);
        code += from - page;
        long (*copy)(long, long, long, long) = (long (*)(long, long, long, long))code;
        /* A jump is what it is at once, but where libraries have all the slots for such places. */
        int is_full = ((volatile uint64_t *)TABLE)[440] != 0;
        const char *found = is_full || (unsigned char)code[behind - 2 - (char *)compared] == 0xff ? "rewritten" : "plain";
        for (int i = 0; i < OFTEN; i++) if (copy(SYS_getpid, 0, 0, 0) != getpid()) return wrong("a copy", 0, getpid());
        if (write(pipes[1], "x", 1) != 1 || pthread_join(other_thread, 0) != 0 || read(pipes[0], &byte, 1) != 1) return 1;
        puts(found);
    } else if (!strcmp(what, "rewrites")) {
        /* Code that it changes is what it was, and does what it was changed to. */
        unsigned char *place = (unsigned char *)set, was[8] = {0xb8, 110, 0, 0, 0, 0x0f, 0x05, 0xc3};
        void *page = (void *)((uintptr_t)place & ~4095ul);
        if (mprotect(page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) return wrong("mprotect", errno, 0);
        if (memcmp(place, was, 8) != 0) return wrong("code", place[0], 0xb8);
        place[1] = SYS_getpid;
        for (int i = 0; i < OFTEN; i++) if (set() != getpid()) return wrong("getpid", set(), getpid());
        if (mprotect(page, 8192, PROT_READ | PROT_EXEC) != 0) return wrong("mprotect", errno, 0);
        for (int i = 0; i < OFTEN; i++) if (set() != getpid()) return wrong("getpid again", set(), getpid());
        /* As it is in the file, whatever else was allowed in between, and whether it was ever run. */
        int file = open("/proc/self/exe", O_RDONLY);
        size_t size = lseek(file, 0, SEEK_END);
        unsigned char *all = malloc(size), *code = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0);
        if (code == MAP_FAILED || pread(file, all, size, 0) != (ssize_t)size) return wrong("the file", errno, 0);
        for (size_t at = 0, sum = 0; at < size; at += 4096) sum += ((volatile unsigned char *)code)[at];
        getppid();
        for (int allowed = 0; allowed < 2; allowed++)
            if (mprotect(code, size, allowed ? PROT_READ : PROT_NONE) != 0) return wrong("mprotect", errno, 0);
        if (mprotect(code, size, PROT_READ | PROT_WRITE) != 0) return wrong("mprotect", errno, 0);
        for (size_t at = 0; at < size; at++) if (code[at] != all[at]) return wrong("a byte", code[at], all[at]);
        puts("ok");
    } else if (!strcmp(what, "takes")) {
        /* It wants the addresses for itself. */
        void *mine = mmap((void *)TABLE, END - TABLE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        if (mine != (void *)TABLE) return wrong("mmap", errno, 0);
        memset(mine, 0xcc, END - TABLE);
        if (both() != 0 || in_order(1000) != 0) return 1;
        for (unsigned char *at = mine; at < (unsigned char *)END; at++) if (*at != 0xcc) return wrong("a byte", *at, 0xcc);
        pid_t child = fork();
        if (child == 0) _exit(both() || *(unsigned char *)DESK != 0xcc);
        int status = 1;
        waitpid(child, &status, 0);
        return status ? wrong("a child", status, 0) : puts("ok") < 0;
    } else if (!strcmp(what, "unmaps")) {
        int part = atoi(argv[2]);
        munmap((void *)(TABLE + part * 4096ul), 4096);
        if (both() != 0 || in_order(1000) != 0) return 1;
        puts("ok");
    } else if (!strcmp(what, "protects")) {
        if (mprotect((void *)TABLE, END - TABLE, PROT_READ | PROT_WRITE | PROT_EXEC) == 0) memset((void *)TABLE, 0x90, 4096);
        if (both() != 0 || in_order(1000) != 0) return 1;
        puts("ok");
    } else if (!strcmp(what, "forges")) {
        /* Nonsense at the desk harms nobody else. */
        unsigned seed = 1;
        for (int i = 0; i < 3000; i++) {
            pid_t child = i % 300 == 0 ? fork() : -1;
            if (child == 0) {
                both();
                for (int j = 0; j < 200; j++) {
                    uint64_t *call = (uint64_t *)(DESK + 2);
                    for (int word = 0; word < 8; word++) {
                        seed = seed * 1103515245 + 12345;
                        call[word] = word == 0 ? seed >> 8 & 511 : (uint64_t)seed << (seed & 31);
                    }
                    /* Not what ends or stops it, or waits. */
                    if (call[0] == SYS_exit || call[0] == SYS_exit_group) call[0] = SYS_getpid;
                    *DESK = j % 5 == 0 ? seed >> 8 : 2;
                    for (int look = 0; look < 2000 && *DESK == 2; look++) __builtin_ia32_pause();
                    set();
                }
                _exit(0);
            }
            if (child > 0) waitpid(child, 0, 0);
        }
        puts("survived");
    } else if (!strcmp(what, "strays")) {
        /* Jumps to wherever the host's code is. */
        for (unsigned long at = TABLE; at < END; at += at < CODE + 0x140 && at >= CODE ? 1 : 509) {
            pid_t child = fork();
            if (child == 0) {
                alarm(2);
                enter((void *)at, (long)at % 400);
                _exit(0);
            }
            waitpid(child, 0, 0);
        }
        puts("survived");
    } else if (!strcmp(what, "captured")) {
        if (in_order(1000) != 0) return 1;
        int again = prctl(0x52464e47, 0, 0, 0, 0), slots = 0, more = 0;
        const volatile uint64_t *table = (const volatile uint64_t *)TABLE;
        for (int slot = 0; slot < 512; slot++) slots += table[slot] != 0;
        if (both() != 0 || in_order(1000) != 0) return 1;
        /* A place that is not plain from its bytes, that nobody came to before, and code that changes. */
        for (int i = 0; i < 100; i++) {
            long answer = SYS_getppid;
            __asm__ volatile("syscall; cmpq $-200, %%rax" : "+a"(answer) : : "rcx", "r11", "memory", "cc");
            if (answer != getppid() || access("/", F_OK) != 0) return 1;
        }
        for (int slot = 0; slot < 512; slot++) more += table[slot] != 0;
        printf("ok %d %d %s\n", again, slots, more > slots ? "and more" : "and no more");
        fflush(stdout);
        if (again) mprotect((void *)TABLE, 4096, PROT_READ | PROT_WRITE);
    }
    return 0;
}
