/* futex(2) */
#include "show.h"
#include <linux/futex.h>
static int word, other;
static long futex(void *at, int operation, int value, const void *timeout, void *second, int third) {
    return syscall(SYS_futex, at, operation, value, timeout, second, third);
}
static volatile int woken;
static void *waiter(void *argument) {
    (void)argument;
    while (futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) == -1 && errno == EINTR) {}
    __atomic_add_fetch(&woken, 1, __ATOMIC_SEQ_CST);
    return NULL;
}
int main(void) {
    struct timespec soon = {0, 2000000}, wrong = {0, 1000000000};
    SHOW(futex(&word, FUTEX_WAIT, 1, NULL, NULL, 0));
    SHOW(futex(&word, FUTEX_WAIT, 0, &soon, NULL, 0));
    SHOW(futex(&word, FUTEX_WAIT, 0, &wrong, NULL, 0));
    SHOW(futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0));
    SHOW(futex(NOWHERE, FUTEX_WAIT, 0, &soon, NULL, 0));
    SHOW(futex((char *)&word + 1, FUTEX_WAIT, 0, &soon, NULL, 0));
    SHOW(futex((char *)&word + 1, FUTEX_WAKE, 0, NULL, NULL, 0));
    SHOW(futex(&word, 77, 0, NULL, NULL, 0));
    SHOW(futex(&word, FUTEX_WAIT_BITSET, 0, &soon, NULL, 0));
    SHOW(futex(&word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 0));
    struct timespec past = {1, 0};
    SHOW(futex(&word, FUTEX_WAIT_BITSET, 0, &past, NULL, -1));
    SHOW(futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)1, &other, 5));
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, waiter, NULL);
    long moved = 0;
    for (int tries = 0; tries < 5000 && moved < 3; tries++) {
        long now = futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)(3 - moved), &other, 0);
        if (now > 0) moved += now;
        usleep(500);
    }
    printf("moved %ld\n", moved);
    long count = 0;
    while (count < 3) {
        long now = futex(&other, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0);
        if (now > 0) count += now;
    }
    printf("woken behind %ld\n", count);
    while (futex(&word, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0) == 0 && woken < 4) usleep(500);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    printf("woken %d\n", woken);
    /* Between processes. */
    int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    fflush(stdout);
    if (fork() == 0) {
        while (__atomic_load_n(shared, __ATOMIC_SEQ_CST) == 0) futex(shared, FUTEX_WAIT, 0, NULL, NULL, 0);
        puts("the child goes on");
        exit(0);
    }
    __atomic_store_n(shared, 1, __ATOMIC_SEQ_CST);
    futex(shared, FUTEX_WAKE, 1, NULL, NULL, 0);
    wait(NULL);
}
