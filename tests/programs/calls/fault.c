/* siginfo_t of faults: sigaction(2), "si_code" */
#include "show.h"
static sigjmp_buf back;
static siginfo_t last;
static void handler(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    last = *info;
    siglongjmp(back, 1);
}
#define TRY(name, what, at) do { \
    memset(&last, 0, sizeof last); \
    if (sigsetjmp(back, 1) == 0) { what; } \
    printf("%s: signal %d code %d at %ld\n", name, last.si_signo, last.si_code, \
           last.si_signo ? (long)((char *)last.si_addr - (char *)(at)) : -1L); \
} while (0)
int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    for (int i = 0; i < 5; i++) sigaction(signals[i], &action, NULL);
    char *page = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(page != MAP_FAILED);
    munmap(page + 4096, 4096);
    TRY("write to a read-only page", *(volatile char *)(page + 5) = 1, page);
    TRY("read where nothing is", *(volatile char *)(page + 4096 + 7), page);
    TRY("null", *(volatile int *)0 = 1, 0);
    mprotect(page, 4096, PROT_NONE);
    TRY("a page without access", *(volatile char *)page, page);
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
    TRY("execution of data", ((void (*)(void))page)(), page);
    TRY("a good access", *(volatile char *)page = 1, page);
    TRY("no canonical address", *(volatile char *)0x8000000000000000, 0);
    volatile int zero = 0;
    memset(&last, 0, sizeof last);
    if (sigsetjmp(back, 1) == 0) printf("%d\n", 1 / zero);
    printf("division: signal %d code %d\n", last.si_signo, last.si_code);
    memset(&last, 0, sizeof last);
    if (sigsetjmp(back, 1) == 0) __asm__ volatile("ud2");
    printf("ud2: signal %d code %d\n", last.si_signo, last.si_code);
    memset(&last, 0, sizeof last);
    if (sigsetjmp(back, 1) == 0) __asm__ volatile("int3");
    printf("int3: signal %d code %d\n", last.si_signo, last.si_code);
    memset(&last, 0, sizeof last);
    if (sigsetjmp(back, 1) == 0) __asm__ volatile("hlt");
    printf("hlt: signal %d code %d\n", last.si_signo, last.si_code);
    int file = open("f", O_RDWR | O_CREAT, 0600);
    MUST(ftruncate(file, 100) == 0);
    char *mapped = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    MUST(mapped != MAP_FAILED);
    TRY("within the last page", mapped[4095] = 1, mapped);
    TRY("beyond the file", mapped[4096] = 1, mapped);
    CHILD("no handler", signal(SIGSEGV, SIG_DFL); *(volatile int *)0 = 1);
    CHILD("ignored", signal(SIGSEGV, SIG_IGN); *(volatile int *)0 = 1);
    sigset_t set;
    sigfillset(&set);
    CHILD("blocked", sigprocmask(SIG_BLOCK, &set, NULL); *(volatile int *)0 = 1);
}
