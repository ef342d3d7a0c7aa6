/* Leaves a secret everywhere it can, and before that looks whether another instance did. One word says how it ends. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int marker(void) { return prctl(0x52464e47, 0, 0, 0, 0); }

/* Never both in one place: what is looked for is not in the program that looks. */
static volatile uint64_t half = 0x9d3f6a1be2c75841, mask = 0x5555aaaa3333cccc;
static uint64_t secret(void) { return half ^ mask; }

/* In the file, and not to be written to: a page of it is, at random. */
static const char constants[64][4096] __attribute__((aligned(4096))) = {"constant"};

static sigjmp_buf back;
static void jump(int signal) { (void)signal; siglongjmp(back, 1); }

static int can(int write, volatile uint64_t *at) {
    if (sigsetjmp(back, 0)) return 0;
    uint64_t word = *at;
    if (write) *at = word;
    return 1;
}

/* How many words in all memory that can be read are the secret; the first is named. */
static size_t search(uint64_t *first) {
    static char maps[1 << 16];
    int file = open("/proc/self/maps", O_RDONLY);
    ssize_t length = 0, more;
    while ((more = read(file, maps + length, sizeof maps - 1 - length)) > 0) length += more;
    close(file);
    maps[length] = 0;
    size_t found = 0;
    for (char *line = maps; *line; line = strchr(line, '\n') + 1) {
        uint64_t start, end;
        if (sscanf(line, "%lx-%lx", &start, &end) != 2) continue;
        for (uint64_t page = start; page < end; page += 4096) {
            if (!can(0, (uint64_t *)page)) continue;
            for (uint64_t *word = (uint64_t *)page; word < (uint64_t *)(page + 4096); word++)
                if ((*word ^ mask) == half) {
                    if (!found++) *first = (uint64_t)word;
                }
        }
    }
    return found;
}

static void fill(void *at, size_t size) {
    for (uint64_t *word = at; word < (uint64_t *)((char *)at + size); word++) *word = secret();
}

static void __attribute__((noinline)) deep(void) {
    volatile uint64_t words[1 << 16];
    fill((void *)words, sizeof words);
}

static void *thread(void *arg) {
    deep();
    return arg;
}

struct registers {
    uint64_t vectors[16][2];
    uint32_t mxcsr;
    uint16_t control;
    uint64_t gs;
} __attribute__((aligned(16)));

static void __attribute__((noinline)) look_at(struct registers *r) {
    asm volatile("movdqu %%xmm0, 0(%0); movdqu %%xmm1, 16(%0); movdqu %%xmm2, 32(%0); movdqu %%xmm3, 48(%0);"
                 "movdqu %%xmm4, 64(%0); movdqu %%xmm5, 80(%0); movdqu %%xmm6, 96(%0); movdqu %%xmm7, 112(%0);"
                 "movdqu %%xmm8, 128(%0); movdqu %%xmm9, 144(%0); movdqu %%xmm10, 160(%0); movdqu %%xmm11, 176(%0);"
                 "movdqu %%xmm12, 192(%0); movdqu %%xmm13, 208(%0); movdqu %%xmm14, 224(%0); movdqu %%xmm15, 240(%0);"
                 "stmxcsr 256(%0); fnstcw 260(%0)" ::"r"(r) : "memory");
    if (!sigsetjmp(back, 0)) asm volatile("rdgsbase %0" : "=r"(r->gs));
}

/* To the end, with the secret in every register. */
static void __attribute__((noreturn)) end_with(int status) {
    uint64_t word = secret();
    uint32_t mxcsr = 0x7f80;
    uint16_t control = 0x0f7f;
    asm volatile("ldmxcsr %0; fldcw %1; fildll %2" ::"m"(mxcsr), "m"(control), "m"(word));
    if (__builtin_cpu_supports("avx2"))
        asm volatile("vpbroadcastq %0, %%ymm0; vmovdqa %%ymm0, %%ymm7; vmovdqa %%ymm0, %%ymm15" ::"m"(word));
    if (__builtin_cpu_supports("avx512f"))
        asm volatile("vpbroadcastq %0, %%zmm31; kmovw %k1, %%k5" ::"m"(word), "r"((uint32_t)word));
    asm volatile("movq %1, %%xmm1; movq %1, %%xmm14; mov %1, %%r12; mov %1, %%r13; mov %1, %%r14; mov %1, %%r15;"
                 "mov %1, %%rbx; syscall; hlt"
                 ::"a"((uint64_t)SYS_exit_group), "r"(word), "D"((uint64_t)status) : "rbx", "r12", "r13", "r14", "r15");
    __builtin_unreachable();
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    static char data[1 << 18];
    char *heap = malloc(1 << 16), *mapped = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *shared = mmap(0, 1 << 14, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(data, 1, sizeof data / 2);
    memset(heap, 2, 1 << 16);
    memset(mapped, 3, 1 << 19);
    memset(shared, 4, 1 << 13);
    struct sigaction jumping = {.sa_handler = jump, .sa_flags = SA_NODEFER};
    sigaction(SIGSEGV, &jumping, 0);
    sigaction(SIGBUS, &jumping, 0);
    sigaction(SIGILL, &jumping, 0);
    unsigned sum = 0;
    for (int i = 0; i < 64; i++) sum += ((volatile const char *)constants[i])[1];
    struct registers before, now;
    memset(&before, 0, sizeof before);
    memset(&now, 0, sizeof now);
    look_at(&before);
    marker();
    look_at(&now);

    /* Looks. */
    if (memcmp(&before.mxcsr, &now.mxcsr, 6) || before.gs != now.gs) return puts("other control registers");
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 2; j++)
            if ((now.vectors[i][j] ^ mask) == half) return puts("a vector register");
    char *fresh = mmap(0, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < 4 << 20; i++) if (fresh[i]) return puts("fresh memory that is not empty");
    char *grown = sbrk(1 << 20);
    for (size_t i = 0; i < 1 << 20; i++) if (grown[i]) return puts("a heap that is not empty");
    for (size_t i = 0; i < 1 << 20; i++) if (mapped[i] != (i < 1 << 19 ? 3 : 0)) return puts("changed memory");
    for (size_t i = 0; i < 1 << 14; i++) if (shared[i] != (i < 1 << 13 ? 4 : 0)) return puts("changed shared memory");
    for (int i = 0; i < 64; i++)
        for (int j = i ? 0 : 8; j < 4096; j++) if (((volatile const char *)constants[i])[j]) return puts("changed constants");
    uint64_t first = 0;
    size_t found = search(&first);
    if (found) return printf("%zu at %lx\n", found, first), 0;
    if (!access("/tmp/left", F_OK) || !access("/dev/shm/left", F_OK)) return puts("a file");
    if (umask(022) != 022 || getpriority(PRIO_PROCESS, 0) || syscall(SYS_getpid) != 2) return puts("the process");
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur == 77) return puts("a limit");
    uint64_t random;
    getrandom(&random, sizeof random, 0);

    /* Leaves. */
    fill(data, sizeof data);
    fill(heap, 1 << 16);
    fill(mapped, 1 << 20);
    fill(shared, 1 << 14);
    fill(fresh, 4 << 20);
    fill(grown, 1 << 20);
    deep();
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], 0, thread, 0);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], 0);
    /* Code and constants, where they are and under what they were. */
    char *code = (char *)((uintptr_t)&search & ~4095UL);
    if (mprotect(code, 4096, PROT_READ | PROT_WRITE | PROT_EXEC)) return puts("mprotect");
    uint64_t *spare = (uint64_t *)(code + 4088), word = *spare;
    *spare = secret();
    *spare = word;
    char *constant = (char *)constants[random % 64];
    if (mprotect(constant, 4096, PROT_READ | PROT_WRITE)) return puts("mprotect");
    fill(constant, 4096);
    char *rest = mmap(0, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fill(rest, 1 << 16);
    /* Moved, given back, and made again where it was. */
    mapped = mremap(mapped, 1 << 20, 2 << 20, MREMAP_MAYMOVE);
    fill(mapped, 2 << 20);
    munmap(mapped + 8192, 1 << 18);
    mmap(mapped + 8192, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    fill(mapped + 8192, 4096);
    mprotect(mapped, 4096, PROT_NONE);
    madvise(fresh, 1 << 20, MADV_DONTNEED);
    fill(fresh, 1 << 19);
    /* Each in tables of its own. */
    for (uintptr_t at = 0x10000000; at < 0x10000000 + ((strcmp(how, "far") ? 3UL : 30UL) << 30); at += 1UL << 30) {
        char *far = mmap((void *)at, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (far != MAP_FAILED) fill(far, 4096);
    }
    /* The pages of time and of the stubs, which nobody may write to. */
    uint64_t time = getauxval(AT_SYSINFO_EHDR), stubs = (1UL << 46) - (2UL << 20);
    if (time && (can(1, (uint64_t *)time) || can(1, (uint64_t *)(time - 4096)))) return puts("the page of time is written to");
    if (can(1, (uint64_t *)stubs)) return puts("the stubs are written to");
    if (time && !mprotect((void *)time, 4096, PROT_READ | PROT_WRITE)) return puts("the page of time can be made writable");
    if (time) mremap((void *)(time - 4096), 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)0x20000000);
    const char *names[] = {"/tmp/left", "/dev/shm/left"};
    for (int i = 0; i < 2; i++) {
        int file = open(names[i], O_RDWR | O_CREAT, 0600);
        if (file < 0 || write(file, data, 8192) != 8192) return puts(names[i]);
        char *there = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (there != MAP_FAILED) fill(there, 8192);
    }
    int ends[2];
    if (pipe(ends) || write(ends[1], data, 4096) != 4096) return puts("pipe");
    umask(077);
    setpriority(PRIO_PROCESS, 0, 5);
    limit.rlim_cur = 77;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (!sigsetjmp(back, 0)) asm volatile("wrgsbase %0" ::"r"(secret() & 0x3fffffffffff));
    found = search(&first);
    dprintf(1, "%s %016lx\n", found > 100000 + (sum > 1 << 20) ? "clean" : "the search is broken", random);
    if (!strcmp(how, "fork")) {
        if (!fork()) _exit(0);
        wait(0);
    } else if (!strcmp(how, "spin")) {
        for (;;) __asm__ volatile("");
    } else if (!strcmp(how, "crash")) {
        signal(SIGSEGV, SIG_DFL);
        *(volatile int *)0 = 1;
    } else if (!strcmp(how, "many")) {
        /* More changes than are taken down. */
        size_t size = 1200UL << 20;
        char *much = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        for (size_t at = 0; at < size; at += 2 << 20) *(uint64_t *)(much + at) = secret();
    }
    end_with(0);
}
