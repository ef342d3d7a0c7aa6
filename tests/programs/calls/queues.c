/* Messages in queues by a number: msgget(2), msgsnd(2), msgrcv(2), msgctl(2). */
#include "show.h"
#include <grp.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#define COPY 040000 /* MSG_COPY */
#define BEGIN(child, ...) do { fflush(stdout); child = fork(); if (child == 0) { __VA_ARGS__; _exit(0); } } while (0)
static struct { long kind; char text[10000]; } out, in;
static volatile int came;
static void count(int signal) { (void)signal; came++; }
static int end_of(pid_t child) {
    int status;
    MUST(waitpid(child, &status, 0) == child);
    return status;
}
static long put(int id, long kind, const char *text, int flags) {
    out.kind = kind;
    strcpy(out.text, text);
    return msgsnd(id, &out, strlen(text), flags);
}
static long take(int id, size_t most, long kind, int flags) {
    memset(&in, '.', sizeof in);
    return msgrcv(id, &in, most, kind, flags);
}
/* Of what is taken, also what it is. */
#define TAKE(id, most, kind_, flags) do { \
    SHOW(take(id, most, kind_, flags)); \
    printf("  %ld %.12s\n", in.kind == 0x2e2e2e2e2e2e2e2e ? -1 : in.kind, in.text); \
} while (0)
static void state(int id) {
    struct msqid_ds found = {0};
    if (msgctl(id, IPC_STAT, &found)) {
        printf("state: %s\n", strerrorname_np(errno));
        return;
    }
    pid_t me = getpid();
    printf("mode %o, %lu messages, %lu of %lu bytes, mine %d %d, sent by %s, received by %s, times %d %d %d\n", found.msg_perm.mode,
           (unsigned long)found.msg_qnum, (unsigned long)found.__msg_cbytes, (unsigned long)found.msg_qbytes,
           found.msg_perm.uid == geteuid(), found.msg_perm.cgid == getegid(), found.msg_lspid == me ? "me" : found.msg_lspid ? "other" : "-",
           found.msg_lrpid == me ? "me" : found.msg_lrpid ? "other" : "-", found.msg_stime != 0, found.msg_rtime != 0, found.msg_ctime != 0);
}
static void making(void) {
    key_t key = 0x51460000 + getpid();
    SHOW(msgget(key, 0600));
    int id = msgget(key, IPC_CREAT | IPC_EXCL | 0640);
    MUST(id >= 0);
    state(id);
    SHOW(msgget(key, IPC_CREAT | IPC_EXCL | 0600));
    SHOW(msgget(key, IPC_CREAT | 0600) == id);
    SHOW(msgget(key, 0) == id);
    int other = msgget(IPC_PRIVATE, 0600);
    SHOW(other >= 0 && other != id);
    SHOW(msgctl(other, IPC_RMID, NULL));
    SHOW(msgctl(other, IPC_RMID, NULL));
    SHOW(msgctl(id, IPC_RMID, NULL));
    SHOW(msgget(key, 0));
    SHOW(put(id, 1, "x", IPC_NOWAIT));
    SHOW(take(id, 1, 0, IPC_NOWAIT));
    state(id);
}
static void wrong(void) {
    int id = msgget(IPC_PRIVATE, 0600);
    out.kind = 1;
    SHOW(msgsnd(-1, NOWHERE, 1, 0));
    SHOW(msgsnd(-1, &out, 1, 0));
    SHOW(msgsnd(id + 20000, &out, 1, 0));
    SHOW(msgsnd(id, &out, 8193, IPC_NOWAIT));
    SHOW(msgsnd(id, &out, -1, IPC_NOWAIT));
    SHOW(msgsnd(id, &out, ~0UL >> 1, IPC_NOWAIT));
    SHOW(msgsnd(id, &out, 1UL << 32, IPC_NOWAIT));
    SHOW(msgsnd(id, NOWHERE, 8193, IPC_NOWAIT));
    SHOW(msgsnd(id, (void *)-8, 1, IPC_NOWAIT));
    char *edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(munmap(edge + 4096, 4096) == 0);
    *(long *)(edge + 4096 - 8) = 1;
    SHOW(msgsnd(id, edge + 4096 - 8, 1, IPC_NOWAIT));
    SHOW(msgsnd(id + 20000, edge + 4096 - 8, 1, IPC_NOWAIT));
    SHOW(msgsnd(id, edge + 4096 - 8, 0, IPC_NOWAIT));
    SHOW(msgsnd(id, edge + 4096 - 4, 0, IPC_NOWAIT));
    SHOW(put(id, 0, "x", 0));
    SHOW(put(id, -1, "x", 0));
    SHOW(put(id + 20000, LONG_MIN, "x", 0));
    SHOW(put(id, LONG_MAX, "longest", 0));
    state(id);
    SHOW(msgrcv(-1, NOWHERE, 1, 0, IPC_NOWAIT));
    SHOW(msgrcv(id + 20000, NOWHERE, 1, 0, IPC_NOWAIT));
    SHOW(msgrcv(id, &in, -1, 0, IPC_NOWAIT));
    TAKE(id, 100, 0, IPC_NOWAIT);
    TAKE(id, 1, 0, IPC_NOWAIT);
    TAKE(id, 1, 0, IPC_NOWAIT | MSG_NOERROR);
    TAKE(id, 1, 0, IPC_NOWAIT | MSG_NOERROR);
    /* What cannot be told is lost. */
    SHOW(put(id, 5, "lost", 0));
    SHOW(msgrcv(id, NOWHERE, 100, 0, IPC_NOWAIT));
    state(id);
    SHOW(put(id, 5, "lost", 0));
    SHOW(msgrcv(id, edge + 4096 - 8, 100, 0, IPC_NOWAIT));
    SHOW(*(long *)(edge + 4096 - 8));
    SHOW(put(id, 5, "", 0));
    SHOW(msgrcv(id, edge + 4096 - 8, ~0UL >> 1, 0, IPC_NOWAIT));
    state(id);
    SHOW(msgctl(-1, IPC_INFO, NOWHERE));
    SHOW(msgctl(id, IPC_INFO, NOWHERE));
    SHOW(msgctl(id, -1, NULL));
    SHOW(msgctl(id, 99, NULL));
    SHOW(msgctl(id, IPC_STAT, NOWHERE));
    SHOW(msgctl(id, IPC_SET, NOWHERE));
    SHOW(msgctl(id + 20000, IPC_SET, NOWHERE));
    SHOW(msgctl(id, IPC_RMID, NULL));
}
static void kinds(void) {
    int id = msgget(IPC_PRIVATE, 0600);
    long all[] = {5, 3, 9, 3, 7, 1, 9};
    for (int at = 0; at < 7; at++) {
        char text[] = {'a' + at, 0};
        MUST(put(id, all[at], text, 0) == 0);
    }
    TAKE(id, 9, 4, IPC_NOWAIT);
    TAKE(id, 9, 9, IPC_NOWAIT);
    TAKE(id, 9, -4, IPC_NOWAIT);
    TAKE(id, 9, -4, IPC_NOWAIT);
    TAKE(id, 9, 5, IPC_NOWAIT | MSG_EXCEPT);
    TAKE(id, 9, -2, IPC_NOWAIT);
    TAKE(id, 9, 0, IPC_NOWAIT);
    TAKE(id, 9, 0, IPC_NOWAIT | MSG_EXCEPT);
    TAKE(id, 9, 9, IPC_NOWAIT | MSG_EXCEPT);
    TAKE(id, 9, LONG_MIN, IPC_NOWAIT);
    TAKE(id, 9, LONG_MIN, IPC_NOWAIT);
    for (int at = 0; at < 3; at++) MUST(put(id, all[at], "a copy", 0) == 0);
    SHOW(take(id, 9, 0, COPY));
    SHOW(take(id, 9, 0, COPY | IPC_NOWAIT | MSG_EXCEPT));
    SHOW(msgrcv(id, NOWHERE, 9, 0, COPY | IPC_NOWAIT));
    SHOW(msgctl(id, IPC_RMID, NULL));
}
static void copies(void) {
    int id = msgget(IPC_PRIVATE, 0600);
    MUST(put(id, 8, "first", 0) == 0 && put(id, 9, "second", 0) == 0);
    TAKE(id, 9, 0, COPY | IPC_NOWAIT);
    if (errno != ENOSYS) {
        TAKE(id, 9, 1, COPY | IPC_NOWAIT);
        TAKE(id, 9, 2, COPY | IPC_NOWAIT);
        TAKE(id, 9, -1, COPY | IPC_NOWAIT);
        TAKE(id, 2, 1, COPY | IPC_NOWAIT);
        TAKE(id, 2, 1, COPY | IPC_NOWAIT | MSG_NOERROR);
    }
    state(id);
    SHOW(msgctl(id, IPC_RMID, NULL));
}
static void room(void) {
    int id = msgget(IPC_PRIVATE, 0600);
    struct msqid_ds set;
    out.kind = 1;
    SHOW(msgsnd(id, &out, 8192, IPC_NOWAIT));
    SHOW(msgsnd(id, &out, 8191, IPC_NOWAIT));
    SHOW(msgsnd(id, &out, 2, IPC_NOWAIT));
    SHOW(msgsnd(id, &out, 1, IPC_NOWAIT));
    SHOW(msgsnd(id, &out, 1, IPC_NOWAIT));
    SHOW(msgsnd(id, &out, 0, IPC_NOWAIT));
    state(id);
    pid_t one, two;
    BEGIN(one, MUST(put(id, 2, "waited for room", 0) == 0));
    asleep(one);
    BEGIN(two, MUST(put(id, 3, "", 0) == 0));
    SHOW(end_of(two));
    state(id);
    TAKE(id, 1, 3, 0);
    MUST(msgrcv(id, &in, 8191, 0, MSG_NOERROR) == 8191);
    SHOW(end_of(one));
    TAKE(id, 100, 2, 0);
    MUST(msgctl(id, IPC_STAT, &set) == 0);
    /* As much as there may be is said, and who waits looks again. */
    set.msg_qbytes = 2;
    SHOW(msgctl(id, IPC_SET, &set));
    state(id);
    while (take(id, 10000, 0, IPC_NOWAIT) >= 0) {}
    SHOW(put(id, 1, "abc", IPC_NOWAIT));
    SHOW(put(id, 1, "", IPC_NOWAIT));
    SHOW(put(id, 1, "", IPC_NOWAIT));
    SHOW(put(id, 1, "", IPC_NOWAIT));
    BEGIN(one, MUST(put(id, 2, "waited for more", 0) == 0));
    asleep(one);
    set.msg_qbytes = 100;
    SHOW(msgctl(id, IPC_SET, &set));
    SHOW(end_of(one));
    TAKE(id, 100, 2, 0);
    set.msg_qbytes = 0;
    SHOW(msgctl(id, IPC_SET, &set));
    SHOW(put(id, 1, "", IPC_NOWAIT));
    set.msg_perm.gid = -1;
    SHOW(msgctl(id, IPC_SET, &set));
    SHOW(msgctl(id, IPC_RMID, NULL));
}
static void waiting(void) {
    int id = msgget(IPC_PRIVATE, 0600);
    pid_t one, two, three;
    BEGIN(one, MUST(take(id, 100, 7, 0) == 5 && !memcmp(in.text, "seven.", 6)));
    BEGIN(two, MUST(take(id, 100, -3, 0) == 3 && !memcmp(in.text, "two.", 4)));
    asleep(one), asleep(two);
    SHOW(put(id, 4, "four", 0));
    state(id);
    SHOW(put(id, 2, "two", 0));
    SHOW(put(id, 7, "seven", 0));
    /* Both were handed over when they were sent. */
    SHOW(take(id, 100, 7, IPC_NOWAIT));
    state(id);
    SHOW(end_of(one) + end_of(two));
    TAKE(id, 100, 0, 0);
    /* Who came first is first; what is too long for one is the next one's. */
    BEGIN(one, SHOW(take(id, 2, 0, 0)));
    asleep(one);
    BEGIN(two, MUST(take(id, 2, 0, MSG_NOERROR) == 2 && !memcmp(in.text, "lo.", 3)));
    asleep(two);
    BEGIN(three, MUST(take(id, 100, 0, 0) == 6));
    asleep(three);
    MUST(put(id, 1, "long", 0) == 0);
    SHOW(end_of(one));
    SHOW(end_of(two));
    state(id);
    SHOW(put(id, 1, "longer", 0));
    SHOW(end_of(three));
    /* Signals: no handler lets it go on waiting. */
    struct sigaction action = {.sa_handler = count, .sa_flags = SA_RESTART};
    BEGIN(one, sigaction(SIGUSR1, &action, NULL); SHOW(take(id, 2, 0, 0)); SHOW(came));
    asleep(one);
    kill(one, SIGUSR1);
    SHOW(end_of(one));
    out.kind = 1;
    MUST(msgsnd(id, &out, 8192, 0) == 0 && msgsnd(id, &out, 8192, 0) == 0);
    BEGIN(one, sigaction(SIGUSR1, &action, NULL); SHOW(put(id, 1, "x", 0)); SHOW(came));
    asleep(one);
    kill(one, SIGUSR1);
    SHOW(end_of(one));
    /* Who is killed is neither handed anything, nor sends. */
    BEGIN(one, put(id, 9, "x", 0));
    asleep(one);
    BEGIN(two, take(id, 100, 5, 0));
    asleep(two);
    kill(one, SIGKILL), kill(two, SIGKILL);
    SHOW(end_of(one) + end_of(two));
    MUST(take(id, 10000, 0, 0) == 8192 && take(id, 10000, 0, 0) == 8192);
    SHOW(take(id, 10000, 0, IPC_NOWAIT));
    SHOW(put(id, 5, "five", 0));
    state(id);
    /* Stopped, and going on, it still waits. */
    BEGIN(one, MUST(take(id, 100, 6, 0) == 3));
    asleep(one);
    int status;
    kill(one, SIGSTOP);
    MUST(waitpid(one, &status, WUNTRACED) == one && WIFSTOPPED(status));
    kill(one, SIGCONT);
    SHOW(put(id, 6, "six", 0));
    SHOW(end_of(one));
    /* Removed, while others wait for messages and for room. */
    MUST(msgsnd(id, &out, 8192, 0) == 0 && msgsnd(id, &out, 8188, 0) == 0);
    BEGIN(one, MUST(take(id, 100, 8, 0) == -1 && errno == EIDRM));
    BEGIN(two, MUST(put(id, 1, "x", 0) == -1 && errno == EIDRM));
    asleep(one), asleep(two);
    SHOW(msgctl(id, IPC_RMID, NULL));
    SHOW(end_of(one) + end_of(two));
    SHOW(put(id, 1, "x", 0));
}
/* Forty who take what twenty send, through a queue that is always full; some are killed while they wait. */
static void crowd(void) {
    int id = msgget(IPC_PRIVATE, 0600), done = msgget(IPC_PRIVATE, 0600);
    pid_t takers[40], givers[20];
    struct msqid_ds set;
    MUST(msgctl(id, IPC_STAT, &set) == 0);
    set.msg_qbytes = 64;
    MUST(msgctl(id, IPC_SET, &set) == 0);
    for (int at = 0; at < 40; at++)
        BEGIN(takers[at], long sum = 0; for (;;) {
            if (take(id, 100, at % 2 ? 0 : -1000, 0) < 0) break;
            if (in.kind == 1000) { out.kind = sum + 1; msgsnd(done, &out, 0, 0); pause(); }
            sum += in.kind;
        });
    for (int at = 0; at < 20; at++)
        BEGIN(givers[at], for (int sent = 0; sent < 50; sent++) MUST(put(id, 1 + sent, "0123456789abcdef", 0) == 0));
    for (int at = 0; at < 20; at++) MUST(end_of(givers[at]) == 0);
    for (int at = 0; at < 40; at++) MUST(put(id, 1000, "", 0) == 0);
    long sum = 0;
    for (int at = 0; at < 40; at++) {
        MUST(take(done, 0, 0, 0) == 0);
        sum += in.kind - 1;
    }
    SHOW(sum);
    for (int at = 0; at < 40; at++) kill(takers[at], SIGKILL), end_of(takers[at]);
    struct msqid_ds found;
    MUST(msgctl(id, IPC_STAT, &found) == 0);
    SHOW(found.msg_qnum + found.__msg_cbytes);
    SHOW(msgctl(id, IPC_RMID, NULL) + msgctl(done, IPC_RMID, NULL));
}
static void told(void) {
    int id = msgget(IPC_PRIVATE, 0600);
    MUST(put(id, 1, "12345", 0) == 0 && put(id, 1, "678", 0) == 0);
    unsigned char raw[136];
    memset(raw, 0xee, sizeof raw);
    SHOW(syscall(SYS_msgctl, id, IPC_STAT, raw));
    for (int at = 0; at < 136; at += 8) {
        uint64_t word;
        memcpy(&word, raw + at, 8);
        /* The number of its use, times and processes differ. */
        int differs = at == 24 || (at >= 48 && at < 72) || at == 96;
        printf(" %lx", differs ? 0UL : (unsigned long)word);
    }
    puts("");
    struct msginfo info;
    memset(&info, 0xee, sizeof info);
    int last = msgctl(id, IPC_INFO, (void *)&info);
    printf("last %d: %d %d %d %d %d %d %d %u\n", last >= 0, info.msgpool, info.msgmap, info.msgmax, info.msgmnb, info.msgmni, info.msgssz,
           info.msgtql, info.msgseg);
    last = msgctl(id, MSG_INFO, (void *)&info);
    printf("last %d: queues %d, messages %d, bytes %d\n", last >= 0, info.msgpool > 0, info.msgmap >= 2, info.msgtql >= 8);
    struct msqid_ds found;
    int seen = 0;
    for (int at = 0; at <= last; at++) seen += msgctl(at, MSG_STAT, &found) == id && found.msg_qnum == 2;
    SHOW(seen);
    for (int at = 0; at <= last; at++) seen += msgctl(at, 13 /* MSG_STAT_ANY */, &found) == id && found.msg_qnum == 2;
    SHOW(seen);
    SHOW(msgctl(last + 1, MSG_STAT, &found));
    SHOW(msgctl(id, IPC_RMID, NULL));
}
static void others(void) {
    if (geteuid() != 0) return;
    key_t key = 0x51470000 + getpid();
    int id = msgget(key, IPC_CREAT | 0604), written = msgget(IPC_PRIVATE, 0602), mine = msgget(IPC_PRIVATE, 0600);
    MUST(id >= 0 && written >= 0 && mine >= 0);
    MUST(put(id, 1, "one", 0) == 0);
    struct msqid_ds found;
    MUST(msgctl(mine, IPC_STAT, &found) == 0);
    found.msg_perm.uid = 65534;
    SHOW(msgctl(mine, IPC_SET, &found));
    CHILD("nobody",
        MUST(setgroups(0, NULL) == 0 && setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
        SHOW(msgget(key, 0) == id); SHOW(msgget(key, 0600)); SHOW(msgget(key, 0444) == id); SHOW(msgget(key, IPC_CREAT | IPC_EXCL));
        SHOW(put(id, 1, "x", 0)); TAKE(id, 100, 0, IPC_NOWAIT); SHOW(take(id, 100, 0, IPC_NOWAIT));
        SHOW(put(written, 1, "x", 0)); SHOW(take(written, 0, 0, 0)); SHOW(msgctl(written, IPC_STAT, NOWHERE)); SHOW(msgctl(written, IPC_RMID, NULL));
        SHOW(msgctl(id, IPC_SET, &found));
        found.msg_qbytes = 16384; SHOW(msgctl(mine, IPC_SET, &found)); found.msg_qbytes = 16385; SHOW(msgctl(mine, IPC_SET, &found)));
    /* Who waits and may not any more does not wait on. */
    pid_t one;
    BEGIN(one, MUST(setresuid(65534, 65534, 65534) == 0); MUST(take(mine, 100, 0, 0) == -1 && errno == EACCES));
    asleep(one);
    found.msg_perm.mode = 0;
    SHOW(msgctl(mine, IPC_SET, &found));
    SHOW(end_of(one));
    SHOW(msgctl(id, IPC_RMID, NULL) + msgctl(written, IPC_RMID, NULL) + msgctl(mine, IPC_RMID, NULL));
}
int main(void) {
    making();
    wrong();
    kinds();
    copies();
    room();
    waiting();
    crowd();
    told();
    others();
}
