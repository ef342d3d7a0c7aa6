/* mprotect(2) */
#include "show.h"
#define P 4096
static sigjmp_buf back;
static void handler(int signal) { (void)signal; siglongjmp(back, 1); }
static const char *may(volatile char *at) {
    static char answer[3];
    strcpy(answer, "--");
    if (sigsetjmp(back, 1) == 0) { (void)*at; answer[0] = 'r'; }
    if (sigsetjmp(back, 1) == 0) { *at = *at; answer[1] = 'w'; }
    return answer;
}
int main(void) {
    signal(SIGSEGV, handler);
    char *a = mmap(NULL, 5 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(a, 7, 5 * P);
    munmap(a + 4 * P, P);
    SHOW(mprotect(a + P, 2 * P, PROT_READ));
    for (int i = 0; i < 4; i++) printf("page %d: %s\n", i, may(a + i * P));
    SHOW(mprotect(a + 2 * P, P, PROT_NONE));
    for (int i = 0; i < 4; i++) printf("page %d: %s\n", i, may(a + i * P));
    SHOW(mprotect(a + 3 * P, 2 * P, PROT_READ));
    printf("before the gap: %s\n", may(a + 3 * P));
    SHOW(mprotect(a + 1, P, PROT_READ));
    SHOW(mprotect(a, 0, PROT_READ));
    SHOW(mprotect(a, P, 0x1000));
    SHOW(mprotect((void *)(1UL << 63), P, PROT_READ));
    SHOW(mprotect(a, 4 * P, PROT_READ | PROT_WRITE));
    for (int i = 0; i < 4; i++) printf("page %d: %s %d\n", i, may(a + i * P), a[i * P]);
    int f = open("f", O_RDWR | O_CREAT, 0600);
    MUST(ftruncate(f, P) == 0);
    int r = open("f", O_RDONLY);
    char *shared = mmap(NULL, P, PROT_READ, MAP_SHARED, r, 0), *private = mmap(NULL, P, PROT_READ, MAP_PRIVATE, r, 0);
    SHOW(mprotect(shared, P, PROT_READ | PROT_WRITE));
    SHOW(mprotect(private, P, PROT_READ | PROT_WRITE));
    printf("private: %s\n", may(private));
    /* Code that is written and then run. */
    unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};
    char *room = mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(room, code, sizeof code);
    SHOW(mprotect(room, P, PROT_READ | PROT_EXEC));
    SHOW(((int (*)(void))room)());
    SHOW(mprotect(room, P, PROT_READ | PROT_WRITE));
    room[1] = 43;
    SHOW(mprotect(room, P, PROT_READ | PROT_EXEC));
    SHOW(((int (*)(void))room)());
    CHILD("a copy is the child's own", a[0] = 9; exit(a[0]));
    SHOW(a[0]);
}
