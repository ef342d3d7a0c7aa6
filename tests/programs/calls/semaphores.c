/* Semaphores by a number: semget(2), semop(2), semtimedop(2), semctl(2). */
#include "show.h"
#include <grp.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#define BAD ((struct sembuf *)NOWHERE)
union argument { int val; struct semid_ds *buf; unsigned short *array; struct seminfo *info; };
#define CONTROL(id, number, command, ...) semctl(id, number, command, (union argument){__VA_ARGS__})
#define DO(id, ...) semop(id, (struct sembuf[]){__VA_ARGS__}, sizeof((struct sembuf[]){__VA_ARGS__}) / sizeof(struct sembuf))
#define UNTIL(id, time, ...) semtimedop(id, (struct sembuf[]){__VA_ARGS__}, sizeof((struct sembuf[]){__VA_ARGS__}) / sizeof(struct sembuf), time)
#define BEGIN(child, ...) do { fflush(stdout); child = fork(); if (child == 0) { __VA_ARGS__; _exit(0); } } while (0)
static volatile int came;
static void count(int signal) { (void)signal; came++; }
static void state(int id) {
    struct semid_ds found = {0};
    if (CONTROL(id, 0, IPC_STAT, .buf = &found)) {
        printf("state: %s\n", strerrorname_np(errno));
        return;
    }
    printf("%lu of mode %o, mine %d %d, made by me %d %d, times %d %d\n", (unsigned long)found.sem_nsems, found.sem_perm.mode,
           found.sem_perm.uid == geteuid(), found.sem_perm.gid == getegid(), found.sem_perm.cuid == geteuid(),
           found.sem_perm.cgid == getegid(), found.sem_otime != 0, found.sem_ctime != 0);
}
static void values(int id, int most) {
    for (int number = 0; number < most; number++)
        printf(" %d(%s,%d,%d)", semctl(id, number, GETVAL), semctl(id, number, GETPID) == getpid() ? "me" : semctl(id, number, GETPID) ? "other" : "-",
               semctl(id, number, GETNCNT), semctl(id, number, GETZCNT));
    puts("");
}
static int end_of(pid_t child) {
    int status;
    MUST(waitpid(child, &status, 0) == child);
    return status;
}
static void making(void) {
    key_t key = 0x53460000 + getpid();
    SHOW(semget(key, 1, 0600));
    SHOW(semget(key, -1, IPC_CREAT | 0600));
    SHOW(semget(key, 32001, IPC_CREAT | 0600));
    SHOW(semget(key, INT_MAX, 0));
    SHOW(semget(key, 0, IPC_CREAT | 0600));
    SHOW(semget(IPC_PRIVATE, 0, 0600));
    int id = semget(key, 3, IPC_CREAT | IPC_EXCL | 0640);
    MUST(id >= 0);
    state(id);
    SHOW(semget(key, 3, IPC_CREAT | IPC_EXCL | 0600));
    SHOW(semget(key, 40000, IPC_CREAT | IPC_EXCL | 0600));
    SHOW(semget(key, 4, IPC_CREAT | 0600));
    SHOW(semget(key, 4, IPC_CREAT | IPC_EXCL | 0600));
    SHOW(semget(key, 3, IPC_CREAT | 0600) == id);
    SHOW(semget(key, 0, 0) == id);
    int most = semget(IPC_PRIVATE, 32000, 0600);
    MUST(most >= 0 && most != id);
    SHOW(semctl(most, 31999, GETVAL));
    SHOW(semctl(most, 32000, GETVAL));
    SHOW(DO(most, {31999, 1, 0}));
    SHOW(DO(most, {32000, 1, 0}));
    unsigned short *all = calloc(32000, 2);
    SHOW(CONTROL(most, 0, GETALL, .array = all));
    SHOW(all[31998] + all[31999]);
    SHOW(semctl(most, 0, IPC_RMID));
    SHOW(semctl(most, 0, IPC_RMID));
    SHOW(semctl(id, 0, IPC_RMID));
    SHOW(semget(key, 0, 0));
    state(id);
}
static void controls(void) {
    int id = semget(IPC_PRIVATE, 3, 0600);
    unsigned short three[4] = {1, 2, 3, 9};
    SHOW(semctl(-1, 0, GETVAL));
    SHOW(semctl(-1, 0, IPC_RMID));
    SHOW(semctl(id, 0, 99));
    SHOW(semctl(id, 0, -1));
    SHOW(semctl(id, 0, IPC_STAT | 0x100, NULL));
    SHOW(semctl(id, -1, GETVAL));
    SHOW(semctl(id, 3, GETPID));
    SHOW(semctl(id, 3, GETNCNT));
    SHOW(semctl(id, INT_MAX, GETZCNT));
    SHOW(CONTROL(id, 3, SETVAL, .val = 1));
    SHOW(CONTROL(id, 3, SETVAL, .val = -1));
    SHOW(CONTROL(id, 0, SETVAL, .val = 32768));
    SHOW(CONTROL(-5, 0, SETVAL, .val = 32768));
    SHOW(CONTROL(id, 0, SETVAL, .val = -1));
    SHOW(CONTROL(id, 0, SETVAL, .val = 32767));
    values(id, 3);
    state(id);
    SHOW(CONTROL(id, 77, SETALL, .array = three));
    values(id, 3);
    three[1] = 32768;
    SHOW(CONTROL(id, 0, SETALL, .array = three));
    values(id, 3);
    memset(three, 0xff, sizeof three);
    SHOW(CONTROL(id, 0, GETALL, .array = three));
    printf("%u %u %u %u\n", three[0], three[1], three[2], three[3]);
    SHOW(CONTROL(id, 0, GETALL, .array = NOWHERE));
    SHOW(CONTROL(id, 0, SETALL, .array = NOWHERE));
    SHOW(CONTROL(id, 0, IPC_STAT, .buf = NOWHERE));
    SHOW(CONTROL(id, 0, IPC_SET, .buf = NOWHERE));
    SHOW(CONTROL(-2, 0, IPC_SET, .buf = NOWHERE));
    SHOW(CONTROL(id + 20000, 0, IPC_SET, .buf = NOWHERE));
    SHOW(CONTROL(id, 0, SEM_INFO, .buf = NOWHERE));
    SHOW(CONTROL(-1, 0, IPC_INFO, .buf = NOWHERE));
    struct semid_ds found;
    MUST(CONTROL(id, 0, IPC_STAT, .buf = &found) == 0);
    found.sem_perm.mode = 07444;
    found.sem_nsems = 77;
    found.sem_perm.uid = -1;
    SHOW(CONTROL(id, 0, IPC_SET, .buf = &found));
    found.sem_perm.uid = geteuid();
    SHOW(CONTROL(id, 0, IPC_SET, .buf = &found));
    state(id);
    /* Nothing of what the kernel keeps beside is told. */
    unsigned char raw[120];
    memset(raw, 0xee, sizeof raw);
    SHOW(syscall(SYS_semctl, id, 0, IPC_STAT, raw));
    for (int at = 0; at < 120; at += 8) {
        uint64_t word;
        memcpy(&word, raw + at, 8);
        /* The key and the number of its use differ, and so do times. */
        printf(" %s%lx", at == 0 || at == 24 || at == 48 || at == 64 ? "*" : "", at == 24 || at == 48 || at == 64 ? 0UL : (unsigned long)word);
    }
    puts("");
    struct seminfo info = {0};
    int last = CONTROL(id, 0, IPC_INFO, .info = &info);
    printf("last %d: %d %d %d %d %d %d %d %d %d %d\n", last >= 0, info.semmap, info.semmni, info.semmns, info.semmnu, info.semmsl,
           info.semopm, info.semume, info.semusz, info.semvmx, info.semaem);
    last = CONTROL(id, 0, SEM_INFO, .info = &info);
    printf("last %d: sets %d, semaphores %d\n", last >= 0, info.semusz > 0, info.semaem >= 3);
    int seen = 0;
    for (int at = 0; at <= last; at++)
        seen += CONTROL(at, 0, SEM_STAT, .buf = &found) == id && found.sem_nsems == 3;
    SHOW(seen);
    for (int at = 0; at <= last; at++)
        seen += CONTROL(at, 0, SEM_STAT_ANY, .buf = &found) == id && found.sem_nsems == 3;
    SHOW(seen);
    SHOW(CONTROL(last + 1, 0, SEM_STAT, .buf = &found));
    SHOW(semctl(id, 55, IPC_RMID));
}
static void operations(void) {
    int id = semget(IPC_PRIVATE, 3, 0600);
    struct sembuf many[501];
    struct timespec bad = {0, 1000000000}, past = {-1, 0}, none = {0, 0}, little = {0, 20000000};
    memset(many, 0, sizeof many);
    SHOW(semop(id, many, 0));
    SHOW(semop(id, BAD, 0));
    SHOW(semop(id, many, 501));
    SHOW(semop(id, BAD, 501));
    SHOW(semop(-1, BAD, 501));
    SHOW(syscall(SYS_semop, id, BAD, 0xffffffffUL));
    SHOW(syscall(SYS_semop, id, many, 0x100000001UL));
    SHOW(semop(id, BAD, 1));
    SHOW(semop(-1, BAD, 1));
    SHOW(semop(id, (struct sembuf *)(~0UL - 5), 1));
    SHOW(semop(-1, many, 1));
    SHOW(semop(id + 20000, many, 1));
    SHOW(semop(id, many, 500));
    SHOW(semtimedop(id, many, 1, NOWHERE));
    SHOW(semtimedop(id, many, 501, NOWHERE));
    SHOW(semtimedop(id, many, 501, &bad));
    SHOW(semtimedop(id, BAD, 1, &bad));
    SHOW(semtimedop(id, many, 1, &bad));
    SHOW(semtimedop(id, many, 1, &past));
    SHOW(semtimedop(id + 20000, many, 1, &past));
    SHOW(DO(id, {3, 1, 0}));
    SHOW(DO(id, {0, 1, 0}, {65535, 1, 0}));
    values(id, 3);
    SHOW(DO(id, {0, 5, 0}, {1, -1, IPC_NOWAIT}));
    values(id, 3);
    SHOW(DO(id, {0, 5, 0}, {1, 0, 0}, {2, 1, 0}));
    values(id, 3);
    SHOW(DO(id, {0, -5, 0}, {0, 0, IPC_NOWAIT}, {0, 7, 0}));
    values(id, 3);
    SHOW(DO(id, {0, 0, IPC_NOWAIT}));
    SHOW(DO(id, {1, 1, 0}, {0, 32761, 0}));
    values(id, 3);
    SHOW(DO(id, {0, 32760, 0}));
    SHOW(DO(id, {0, 1, 0}));
    SHOW(DO(id, {1, 32767, 0}, {1, 1, 0}));
    SHOW(DO(id, {0, -32768, IPC_NOWAIT}));
    SHOW(DO(id, {0, -32767, 0}));
    values(id, 3);
    SHOW(UNTIL(id, &none, {0, -1, 0}));
    SHOW(UNTIL(id, &little, {0, -1, 0}));
    SHOW(UNTIL(id, &little, {2, 0, 0}));
    SHOW(UNTIL(id, &little, {2, -1, 0}));
    SHOW(UNTIL(id, NULL, {2, 0, 0}));
    values(id, 3);
    /* What waits first has to be possible with what was done before it, and is not half done. */
    SHOW(UNTIL(id, &little, {0, 1, 0}, {1, 1, SEM_UNDO}, {2, -1, 0}));
    values(id, 3);
    SHOW(semctl(id, 0, IPC_RMID));
    SHOW(semop(id, many, 1));
}
static void waiting(void) {
    int id = semget(IPC_PRIVATE, 4, 0600);
    pid_t one, two, three;
    BEGIN(one, MUST(DO(id, {0, -2, 0}) == 0));
    asleep(one);
    BEGIN(two, MUST(DO(id, {0, -1, 0}, {1, -1, 0}) == 0));
    asleep(two);
    BEGIN(three, MUST(DO(id, {2, 0, 0}, {0, 0, 0}, {3, -1, 0}) == 0));
    asleep(three);
    values(id, 4);
    /* The second is waited for by the one who could have the first. */
    SHOW(DO(id, {0, 1, 0}));
    values(id, 4);
    SHOW(DO(id, {1, 1, 0}));
    SHOW(end_of(two));
    values(id, 4);
    SHOW(CONTROL(id, 0, SETVAL, .val = 2));
    SHOW(end_of(one));
    printf("%d %d\n", semctl(id, 0, GETPID) == one, semctl(id, 1, GETPID) == two);
    values(id, 4);
    unsigned short all[4] = {0, 0, 0, 1};
    SHOW(CONTROL(id, 0, SETALL, .array = all));
    SHOW(end_of(three));
    values(id, 4);
    printf("%d\n", semctl(id, 2, GETPID) == three);
    /* Whoever came first is first, also where a later one would be content with less. */
    int line[2];
    char order[3] = "";
    MUST(pipe(line) == 0);
    BEGIN(one, MUST(DO(id, {0, -1, 0}) == 0 && write(line[1], "a", 1) == 1));
    asleep(one);
    BEGIN(two, MUST(DO(id, {0, -1, 0}) == 0 && write(line[1], "b", 1) == 1));
    asleep(two);
    SHOW(DO(id, {0, 1, 0}));
    MUST(read(line[0], order, 1) == 1);
    SHOW(DO(id, {0, 1, 0}));
    MUST(read(line[0], order + 1, 1) == 1);
    puts(order);
    SHOW(end_of(one) + end_of(two));
    /* One lets on the next, and that the one after it. */
    BEGIN(one, MUST(DO(id, {0, -1, 0}, {1, 1, 0}) == 0));
    BEGIN(two, MUST(DO(id, {1, -1, 0}, {2, 1, 0}) == 0));
    BEGIN(three, MUST(DO(id, {2, -1, 0}) == 0));
    asleep(one), asleep(two), asleep(three);
    SHOW(DO(id, {0, 1, 0}));
    SHOW(end_of(one) + end_of(two) + end_of(three));
    values(id, 4);
    /* An operation that cannot be done any more, or would wait where it may not, ends the wait. */
    BEGIN(one, SHOW(DO(id, {0, -1, 0}, {1, 32767, 0})));
    asleep(one);
    MUST(DO(id, {0, 1, 0}, {1, 1, 0}) == 0);
    SHOW(end_of(one));
    CONTROL(id, 3, SETVAL, .val = 1);
    BEGIN(one, SHOW(DO(id, {3, -1, 0}, {2, -1, IPC_NOWAIT})));
    SHOW(end_of(one));
    CONTROL(id, 3, SETVAL, .val = 0);
    BEGIN(one, SHOW(DO(id, {3, -1, 0}, {2, -1, IPC_NOWAIT})));
    asleep(one);
    MUST(DO(id, {3, 1, 0}) == 0);
    SHOW(end_of(one));
    values(id, 4);
    /* Removed while others wait, in threads and processes. */
    BEGIN(one, SHOW(DO(id, {2, -1, SEM_UNDO})));
    asleep(one);
    BEGIN(two, struct timespec hour = {3600, 0}; MUST(UNTIL(id, &hour, {0, 0, 0}) == -1 && errno == EIDRM));
    asleep(two);
    BEGIN(three, for (;;) if (DO(id, {2, -1, 0}) == -1) _exit(errno == EIDRM ? 7 : 8));
    asleep(three);
    SHOW(semctl(id, 2, GETNCNT));
    MUST(semctl(id, 0, IPC_RMID) == 0);
    SHOW(end_of(one));
    SHOW(end_of(two));
    SHOW(end_of(three));
}
static void signals(void) {
    int id = semget(IPC_PRIVATE, 2, 0600);
    pid_t one, two;
    struct sigaction action = {.sa_handler = count, .sa_flags = SA_RESTART};
    BEGIN(one, sigaction(SIGUSR1, &action, NULL); SHOW(DO(id, {0, -1, 0})); SHOW(came));
    asleep(one);
    MUST(kill(one, SIGUSR1) == 0);
    SHOW(end_of(one));
    BEGIN(one, struct timespec hour = {3600, 0}; sigaction(SIGUSR1, &action, NULL); SHOW(UNTIL(id, &hour, {0, 1, SEM_UNDO}, {0, -2, SEM_UNDO})));
    asleep(one);
    MUST(kill(one, SIGUSR1) == 0);
    SHOW(end_of(one));
    values(id, 2);
    /* What is ignored does not disturb. */
    BEGIN(one, signal(SIGUSR1, SIG_IGN); MUST(DO(id, {0, -1, 0}) == 0));
    asleep(one);
    MUST(kill(one, SIGUSR1) == 0);
    /* Who is killed waits no more, and takes nothing. */
    BEGIN(two, DO(id, {0, -1, 0}));
    asleep(two);
    SHOW(semctl(id, 0, GETNCNT));
    MUST(kill(two, SIGKILL) == 0);
    SHOW(end_of(two));
    SHOW(semctl(id, 0, GETNCNT));
    SHOW(DO(id, {0, 2, 0}));
    SHOW(end_of(one));
    SHOW(semctl(id, 0, GETVAL));
    SHOW(semctl(id, 0, IPC_RMID));
}
static void *in_a_thread(void *id) {
    MUST(DO(*(int *)id, {0, 4, SEM_UNDO}) == 0);
    return NULL;
}
static void undoing(void) {
    int id = semget(IPC_PRIVATE, 3, 0600);
    pid_t one, two;
    BEGIN(one, MUST(DO(id, {0, 5, SEM_UNDO}, {1, 3, 0}, {1, -1, SEM_UNDO}) == 0); values(id, 3));
    SHOW(end_of(one));
    values(id, 3);
    printf("%d\n", semctl(id, 0, GETPID) == one);
    state(id);
    /* Killed, and with one who waits for that. */
    BEGIN(one, MUST(DO(id, {1, -3, SEM_UNDO}, {2, 1, SEM_UNDO}) == 0); pause());
    asleep(one);
    values(id, 3);
    BEGIN(two, MUST(DO(id, {1, -1, 0}, {2, 0, 0}) == 0));
    asleep(two);
    MUST(kill(one, SIGKILL) == 0);
    SHOW(end_of(one));
    SHOW(end_of(two));
    values(id, 3);
    /* What cannot be undone as a whole is undone as far as that goes. */
    BEGIN(one, MUST(DO(id, {0, 5, SEM_UNDO}) == 0); MUST(DO(id, {0, -4, 0}) == 0));
    SHOW(end_of(one));
    values(id, 3);
    BEGIN(one, MUST(DO(id, {0, 7, 0}) == 0 && DO(id, {0, -7, SEM_UNDO}) == 0 && DO(id, {0, 32765, 0}) == 0));
    SHOW(end_of(one));
    values(id, 3);
    /* SETVAL and SETALL of anybody forget it. */
    BEGIN(one, MUST(DO(id, {2, 3, SEM_UNDO}, {1, 3, SEM_UNDO}) == 0); pause());
    asleep(one);
    SHOW(CONTROL(id, 2, SETVAL, .val = 10));
    kill(one, SIGKILL);
    SHOW(end_of(one));
    values(id, 3);
    unsigned short all[3] = {20, 20, 20};
    BEGIN(one, MUST(DO(id, {2, 3, SEM_UNDO}, {1, 3, SEM_UNDO}) == 0); pause());
    asleep(one);
    SHOW(CONTROL(id, 0, SETALL, .array = all));
    kill(one, SIGKILL);
    SHOW(end_of(one));
    values(id, 3);
    /* It stays over exec, is not a child's, and is not done at the end of a thread. */
    BEGIN(one, MUST(DO(id, {0, -5, SEM_UNDO}) == 0); execl("/proc/self/exe", "exe", "wait", NULL));
    asleep(one);
    values(id, 3);
    kill(one, SIGKILL);
    SHOW(end_of(one));
    values(id, 3);
    BEGIN(one, MUST(DO(id, {0, -5, SEM_UNDO}) == 0); BEGIN(two, MUST(DO(id, {0, 2, SEM_UNDO}) == 0)); end_of(two); values(id, 1));
    SHOW(end_of(one));
    values(id, 3);
    BEGIN(one, pthread_t thread; MUST(!pthread_create(&thread, NULL, in_a_thread, &id)); pthread_join(thread, NULL); values(id, 1));
    SHOW(end_of(one));
    values(id, 3);
    BEGIN(one, MUST(DO(id, {0, 3, SEM_UNDO}) == 0); SHOW(unshare(CLONE_SYSVSEM)); values(id, 1));
    SHOW(end_of(one));
    /* No more is undone than fits. */
    CONTROL(id, 0, SETVAL, .val = 32767);
    BEGIN(one, SHOW(DO(id, {0, -32767, SEM_UNDO})); SHOW(DO(id, {0, 32767, 0})); SHOW(DO(id, {0, -1, SEM_UNDO})); SHOW(DO(id, {0, -1, SEM_UNDO | IPC_NOWAIT}));
          SHOW(DO(id, {0, -1, 0})));
    SHOW(end_of(one));
    values(id, 3);
    CONTROL(id, 0, SETVAL, .val = 0);
    BEGIN(one, SHOW(DO(id, {0, 32767, SEM_UNDO})); SHOW(DO(id, {0, -32767, 0})); SHOW(DO(id, {0, 1, SEM_UNDO})); SHOW(DO(id, {0, 2, SEM_UNDO})));
    SHOW(end_of(one));
    values(id, 3);
    /* And nothing is when it is gone. */
    BEGIN(one, MUST(DO(id, {0, 3, SEM_UNDO}) == 0); MUST(semctl(id, 0, IPC_RMID) == 0));
    SHOW(end_of(one));
}
/* Sixty processes that wait, of whom a third is killed while the others are served. */
static void crowd(void) {
    int id = semget(IPC_PRIVATE, 2, 0600);
    pid_t all[60];
    for (int at = 0; at < 60; at++)
        BEGIN(all[at], for (int times = 0; times < 20; times++) MUST(DO(id, {0, -1, SEM_UNDO}, {1, 1, 0}) == 0 && DO(id, {0, 1, SEM_UNDO}) == 0);
              if (at % 3 == 0) { DO(id, {0, -1, SEM_UNDO}); raise(SIGKILL); });
    SHOW(CONTROL(id, 0, SETVAL, .val = 3));
    int killed = 0;
    for (int at = 0; at < 60; at++) killed += WIFSIGNALED(end_of(all[at]));
    SHOW(killed);
    SHOW(semctl(id, 0, GETVAL));
    SHOW(semctl(id, 1, GETVAL));
    SHOW(semctl(id, 0, GETNCNT));
    for (int at = 0; at < 60; at++) BEGIN(all[at], _exit(DO(id, {0, -30000, 0}) == -1 && errno == EIDRM ? 3 : 4));
    for (int at = 0; at < 60; at++) asleep(all[at]);
    SHOW(semctl(id, 0, GETNCNT));
    for (int at = 0; at < 60; at += 2) kill(all[at], SIGKILL);
    for (int at = 0; at < 60; at += 2) MUST(end_of(all[at]) == SIGKILL);
    SHOW(semctl(id, 0, GETNCNT));
    SHOW(semctl(id, 0, IPC_RMID));
    int gone = 0;
    for (int at = 1; at < 60; at += 2) gone += end_of(all[at]) == 3 << 8;
    SHOW(gone);
}
/* Somebody else, where there is one: what is not to be seen is not, whoever began the program. */
static void others(void) {
    if (geteuid() != 0) return;
    key_t key = 0x53470000 + getpid();
    int id = semget(key, 2, IPC_CREAT | 0604), shut = semget(IPC_PRIVATE, 1, 0600), written = semget(IPC_PRIVATE, 1, 0662);
    MUST(id >= 0 && shut >= 0 && written >= 0);
    CHILD("nobody",
        struct semid_ds found; unsigned short all[2] = {0};
        MUST(setgroups(0, NULL) == 0 && setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
        SHOW(semget(key, 2, 0) == id); SHOW(semget(key, 2, 0400) == id); SHOW(semget(key, 2, 04) == id); SHOW(semget(key, 2, 0600)); SHOW(semget(key, 3, 0600));
        SHOW(semget(key, 2, IPC_CREAT | IPC_EXCL | 0600));
        SHOW(DO(id, {0, 0, 0})); SHOW(DO(id, {0, 1, 0})); SHOW(DO(id, {2, 1, 0})); SHOW(DO(shut, {0, 0, 0})); SHOW(DO(written, {0, 1, 0})); SHOW(DO(written, {0, 0, IPC_NOWAIT}));
        SHOW(semctl(id, 0, GETVAL)); SHOW(semctl(shut, 9, GETVAL)); SHOW(CONTROL(id, 0, SETVAL, .val = 1)); SHOW(CONTROL(id, 9, SETVAL, .val = 1));
        SHOW(CONTROL(shut, 0, GETALL, .array = NOWHERE)); SHOW(CONTROL(id, 0, SETALL, .array = NOWHERE)); SHOW(CONTROL(id, 0, GETALL, .array = all));
        SHOW(CONTROL(shut, 0, IPC_STAT, .buf = NOWHERE)); SHOW(CONTROL(id, 0, IPC_STAT, .buf = &found)); SHOW(CONTROL(id, 0, IPC_SET, .buf = &found));
        SHOW(CONTROL(shut, 0, IPC_RMID, 0)); SHOW(semctl(written, 0, IPC_RMID)));
    struct semid_ds found;
    MUST(CONTROL(shut, 0, IPC_STAT, .buf = &found) == 0);
    found.sem_perm.uid = 65534;
    SHOW(CONTROL(shut, 0, IPC_SET, .buf = &found));
    state(shut);
    CHILD("its owner", MUST(setresuid(65534, 65534, 65534) == 0); SHOW(DO(shut, {0, 1, 0})); found.sem_perm.mode = 0; SHOW(CONTROL(shut, 0, IPC_SET, .buf = &found));
          SHOW(DO(shut, {0, 1, 0})); SHOW(semctl(shut, 0, IPC_RMID)));
    SHOW(semctl(id, 0, IPC_RMID));
    SHOW(semctl(written, 0, IPC_RMID));
}
int main(int count, char **words) {
    (void)words;
    if (count > 1) for (;;) pause();
    making();
    controls();
    operations();
    waiting();
    signals();
    undoing();
    crowd();
    others();
}
