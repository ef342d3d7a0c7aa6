/* What a handler is told of the exception: the registers of the processor in its context, sigaction(2). */
#include "show.h"
#include <ucontext.h>
static sigjmp_buf back;
static void hear(int signal, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    printf("signal %d, code %d, trap %lld, error %lld, address %d\n", signal, info->si_code, registers[REG_TRAPNO],
           registers[REG_ERR], registers[REG_CR2] == (greg_t)info->si_addr);
    siglongjmp(back, 1);
}
#define TRY(what) do { \
    printf("%s: ", #what); \
    if (sigsetjmp(back, 1) == 0) { what; puts("nothing"); } \
} while (0)
int main(void) {
    struct sigaction act = {.sa_sigaction = hear, .sa_flags = SA_SIGINFO | SA_NODEFER};
    MUST(sigaction(SIGSEGV, &act, 0) == 0 && sigaction(SIGFPE, &act, 0) == 0 && sigaction(SIGILL, &act, 0) == 0);
    MUST(sigaction(SIGTRAP, &act, 0) == 0 && sigaction(SIGBUS, &act, 0) == 0);
    volatile char *reads = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    volatile char *none = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    reads[0] = 1;
    MUST(mprotect((void *)reads, 4096, PROT_READ) == 0);
    volatile int zero = 0;
    TRY(reads[0] = 2);
    TRY((void)none[0]);
    TRY(none[0] = 1);
    TRY(((void (*)(void))(uintptr_t)none)());
    TRY(__asm__ volatile("divl %0" : : "r"(zero), "a"(1), "d"(0)));
    TRY(__asm__ volatile("ud2"));
}
