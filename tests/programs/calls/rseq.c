/* rseq(2), membarrier(2) */
#include "show.h"
#include <linux/membarrier.h>
#include <linux/rseq.h>
#define SIGNATURE 0x53053053
static struct rseq *area;
static volatile int stop, ready;
static volatile long aborts, commits;
/* Counts in a sequence of its own, which is aborted when the thread is disturbed within it. */
static int spin(volatile long *turns, long limit) {
    static struct rseq_cs sequence __attribute__((aligned(32)));
    long left = limit;
    int aborted = 0;
    __asm__ volatile(
        "leaq 1f(%%rip), %%rax\n\t movq %%rax, 8(%[cs])\n\t"
        "leaq 2f(%%rip), %%rcx\n\t subq %%rax, %%rcx\n\t movq %%rcx, 16(%[cs])\n\t"
        "leaq 4f(%%rip), %%rax\n\t movq %%rax, 24(%[cs])\n\t"
        "movq %[cs], 8(%[area])\n\t"
        "1:\n\t incq (%[turns])\n\t pause\n\t decq %[left]\n\t jnz 1b\n\t"
        "2:\n\t jmp 5f\n\t"
        ".byte 0x0f, 0xb9, 0x3d\n\t .long 0x53053053\n\t"
        "4:\n\t movl $1, %[aborted]\n\t"
        "5:\n\t"
        : [left] "+r"(left), [aborted] "+r"(aborted)
        : [cs] "r"(&sequence), [area] "r"(area), [turns] "r"(turns)
        : "rax", "rcx", "memory", "cc");
    return aborted;
}
static volatile int handled, place_was;
static void handle(int signal) { (void)signal; handled++; place_was = *(volatile uint64_t *)((char *)area + 8) != 0; }
static void *disturb(void *who) {
    pthread_t thread = *(pthread_t *)who;
    while (!ready) sched_yield();
    while (!stop) { pthread_kill(thread, SIGUSR1); usleep(500); }
    return NULL;
}
static void *barriers(void *who) {
    (void)who;
    while (!ready) sched_yield();
    while (!stop) { syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0); usleep(500); }
    return NULL;
}
/* Passes barriers while others do, and while others are on their way into and out of calls. */
static void *pass(void *turns) {
    long failed = 0;
    for (long left = (long)turns; left > 0; left--) {
        getppid();
        failed += syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0;
    }
    return (void *)failed;
}
static long rseq(void *at, unsigned length, int flags, unsigned signature) { return syscall(SYS_rseq, at, length, flags, signature); }
int main(void) {
    /* What a C library may have registered already belongs to the thread that it made. */
    area = aligned_alloc(32, 64); memset(area, 0, 64); struct rseq *other = aligned_alloc(32, 64);
    CHILD("registered", {
        extern const ptrdiff_t __rseq_offset __attribute__((weak)); extern const unsigned __rseq_size __attribute__((weak));
        if (&__rseq_size && __rseq_size) MUST(rseq((char *)__builtin_thread_pointer() + __rseq_offset, 32, RSEQ_FLAG_UNREGISTER, SIGNATURE) == 0 || errno == EINVAL);
        SHOW(rseq(area, 32, RSEQ_FLAG_UNREGISTER, SIGNATURE));
        SHOW(rseq(area, 16, 0, SIGNATURE));
        SHOW(rseq((char *)area + 8, 32, 0, SIGNATURE));
        SHOW(rseq(area, 32, 8, SIGNATURE));
        SHOW(rseq((void *)-4096L, 32, 0, SIGNATURE));
        SHOW(rseq(area, 32, 0, SIGNATURE));
        SHOW(rseq(area, 32, 0, SIGNATURE));
        SHOW(rseq(area, 32, 0, 1));
        SHOW(rseq(other, 32, 0, SIGNATURE));
        printf("number %d\n", area->cpu_id < 4096 && area->cpu_id == area->cpu_id_start);
        signal(SIGUSR1, handle);
        pthread_t me = pthread_self(), thread;
        volatile long turns = 0;
        printf("undisturbed %d\n", ({ int tries = 0; while (spin(&turns, 1000) && tries < 1000) tries++; tries < 1000; }));
        pthread_create(&thread, NULL, disturb, &me);
        ready = 1;
        /* The host's scheduler aborts it, too. */
        while (!spin(&turns, 1000000000) || !handled) {}
        stop = 1; pthread_join(thread, NULL);
        printf("aborted, handled %d, cleared %d %d\n", handled > 0, !place_was, *(volatile uint64_t *)((char *)area + 8) == 0);
        SHOW(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0));
        SHOW(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0));
        signal(SIGUSR1, SIG_IGN);
        stop = 0;
        pthread_create(&thread, NULL, barriers, NULL);
        while (!spin(&turns, 1000000000)) {}
        stop = 1; pthread_join(thread, NULL);
        puts("aborted by a barrier");
        CHILD("a child has it too", { SHOW(rseq(area, 32, 0, SIGNATURE)); printf("number %d\n", area->cpu_id < 4096); });
        SHOW(rseq(area, 32, RSEQ_FLAG_UNREGISTER, 1));
        SHOW(rseq(area, 32, 3, SIGNATURE));
        SHOW(rseq(area, 32, RSEQ_FLAG_UNREGISTER, SIGNATURE));
        SHOW(rseq(area, 32, RSEQ_FLAG_UNREGISTER, SIGNATURE));
        printf("number %d\n", (int)area->cpu_id);
        CHILD("a wrong signature", { MUST(rseq(area, 32, 0, 7) == 0); signal(SIGUSR1, handle); stop = 0; pthread_create(&thread, NULL, disturb, &me); for (;;) spin(&turns, 1000000000); });
    });
    puts("barriers");
    SHOW(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0) & 0x1ff);
    SHOW(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 1, 0));
    SHOW(syscall(SYS_membarrier, 3, 0, 0));
    SHOW(syscall(SYS_membarrier, -1, 0, 0));
    SHOW(syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0));
    SHOW(syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 1, 0));
    SHOW(syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0));
    SHOW(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
    SHOW(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0));
    SHOW(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
    SHOW(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 1, 0));
    SHOW(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0));
    SHOW(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0));
    SHOW(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0));
    SHOW(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0));
    SHOW(syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0));
    CHILD("inherited", SHOW(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0)));
    pthread_t many[4];
    void *failed;
    for (int one = 0; one < 4; one++) MUST(pthread_create(&many[one], NULL, pass, (void *)100L) == 0);
    for (int one = 0; one < 4; one++) { pthread_join(many[one], &failed); printf("failed barriers of many: %ld\n", (long)failed); }
}
