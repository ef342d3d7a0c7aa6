/* elf(5): a program that says so runs code on its stack; mmap(2): an area that grows downwards. */
#include "show.h"
#define P 4096
#ifdef __clang__
static int applied(int x) { return x + 1; }
#else
static int __attribute__((noinline)) apply(int (*function)(int)) { return function(1); }
static int __attribute__((noinline)) applied(int x) {
    int add(int y) { return x + y; }
    return apply(add);
}
#endif
static sigjmp_buf back;
static void handler(int signal) { siglongjmp(back, signal); }
static int touch(volatile char *at) {
    int signal = sigsetjmp(back, 1);
    if (signal == 0) *at = 1;
    return signal;
}
int main(void) {
    SHOW(applied(4));
    signal(SIGSEGV, handler);
    signal(SIGBUS, handler);
    char *room = mmap(NULL, 1024 * P, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    MUST(room != MAP_FAILED && munmap(room, 1024 * P) == 0);
    char *top = room + 1020 * P;
    MUST(mmap(top, 4 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0) == top);
    SHOW(touch(top));
    SHOW(touch(top - P));
    SHOW(touch(top - 300 * P));
    SHOW(mprotect(top, P, PROT_READ | PROT_GROWSDOWN));
    SHOW(touch(top - P));
    SHOW(mprotect(top, 4 * P, PROT_READ | PROT_WRITE | PROT_GROWSDOWN));
    SHOW(touch(top - P));
    /* It stays away from what is below it. */
    char *wall = top - 500 * P;
    MUST(mmap(wall, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == wall);
    SHOW(touch(wall + 2 * P));
    SHOW(touch(wall + 300 * P));
    char *plain = mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SHOW(mprotect(plain, P, PROT_READ | PROT_GROWSDOWN));
    SHOW(mprotect(plain, P, PROT_READ | PROT_GROWSUP));
    SHOW(mprotect(plain, P, PROT_READ | PROT_GROWSDOWN | PROT_GROWSUP));
    SHOW(mprotect(plain, P, PROT_READ | PROT_WRITE | 8 /* PROT_SEM */));
    TELL(mmap(NULL, P, PROT_READ, MAP_SHARED | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0));
}
