/* Handlers have the vector registers to themselves: sigreturn(2) */
#include "show.h"
#include <immintrin.h>
static volatile int seen;
static volatile double noise;
static void handler(int signal) {
    (void)signal;
    __m128i ones = _mm_set1_epi8(-1);
    __asm__ volatile("movdqa %0, %%xmm0\n movdqa %0, %%xmm5\n movdqa %0, %%xmm15" : : "x"(ones) : "xmm0", "xmm5", "xmm15");
    noise = noise * 1.5 + seen;
    _mm_setcsr(_mm_getcsr() | 0x8000);
    seen++;
}
static int differs(unsigned char wanted) {
    unsigned char out[48];
    __m128i pattern = _mm_set1_epi8((char)wanted);
    int start = seen, csr = _mm_getcsr();
    __asm__ volatile(
        "movdqa %[p], %%xmm0\n movdqa %[p], %%xmm5\n movdqa %[p], %%xmm15\n"
        "1: pause\n cmpl %[start], %[seen]\n je 1b\n"
        "movdqu %%xmm0, %[a]\n movdqu %%xmm5, %[b]\n movdqu %%xmm15, %[c]\n"
        : [a] "=m"(*(char(*)[16])out), [b] "=m"(*(char(*)[16])(out + 16)), [c] "=m"(*(char(*)[16])(out + 32))
        : [p] "x"(pattern), [seen] "m"(seen), [start] "r"(start)
        : "xmm0", "xmm5", "xmm15", "cc", "memory");
    int wrong = (_mm_getcsr() & 0x8000) != (csr & 0x8000);
    for (int i = 0; i < 48; i++) wrong += out[i] != wanted;
    return wrong;
}
int main(void) {
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGALRM, &action, NULL);
    ualarm(5000, 5000);
    int wrong = 0;
    for (int i = 0; i < 20; i++) wrong += differs(i * 11 + 1);
    ualarm(0, 0);
    SHOW(wrong);
    /* A frame that a program made up is taken or refused, and nothing else. */
    CHILD("a frame that is none", __asm__ volatile("mov $0, %%rsp\n mov $15, %%eax\n syscall" : : : "memory", "rax", "rcx", "r11"));
}
