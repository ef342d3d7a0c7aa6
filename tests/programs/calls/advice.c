/* madvise(2), mlock(2), mlockall(2), getrusage(2): what a program says of its memory */
#include "show.h"
#include <sys/resource.h>
#define P 4096
#define ANYWHERE(flags) mmap(NULL, 8 * P, PROT_READ | PROT_WRITE, flags, -1, 0)
static int there(char *at, int pages) {
    unsigned char found[64];
    int count = 0;
    if (mincore(at, (size_t)pages * P, found)) return -errno;
    for (int i = 0; i < pages; i++) count += found[i] & 1;
    return count;
}
static int locked(void) {
    char line[256];
    int amount = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, file)) if (sscanf(line, "VmLck: %d", &amount) == 1) break;
    fclose(file);
    return amount;
}
static const char *of_area(char *where, const char *key) {
    static char line[256], value[256];
    unsigned long start, end;
    int inside = 0;
    strcpy(value, "nothing");
    FILE *file = fopen("/proc/self/smaps", "r");
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2 && strchr(line, '-') < strchr(line, ' '))
            inside = (unsigned long)where >= start && (unsigned long)where < end;
        else if (inside && strncmp(line, key, strlen(key)) == 0) {
            snprintf(value, sizeof value, "%d", atoi(line + strlen(key)));
            break;
        }
    }
    if (file) fclose(file);
    return value;
}
static long most(int who) { struct rusage usage; getrusage(who, &usage); return usage.ru_maxrss; }
int main(void) {
    int f = open("f", O_RDWR | O_CREAT, 0600);
    MUST(ftruncate(f, 8 * P) == 0);
    char *a = ANYWHERE(MAP_PRIVATE | MAP_ANONYMOUS), *both = ANYWHERE(MAP_SHARED | MAP_ANONYMOUS);
    char *own = mmap(NULL, 8 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE, f, 0);
    char *shared = mmap(NULL, 8 * P, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
    memset(a, 7, 8 * P);
    memset(both, 7, 8 * P);

    SHOW(madvise(a, P, MADV_DONTFORK));
    CHILD("without a page", SHOW(there(a, 1)); SHOW(a[P]));
    SHOW(madvise(a, P, MADV_DOFORK));
    CHILD("with it again", SHOW(a[0]));
    SHOW(madvise(a + P, P, MADV_WIPEONFORK));
    CHILD("an empty page", SHOW(a[0]); SHOW(a[P]); a[P] = 1; CHILD("and again", SHOW(a[P])));
    SHOW(a[P]);
    SHOW(madvise(a + P, P, MADV_KEEPONFORK));
    CHILD("a full one", SHOW(a[P]));
    SHOW(madvise(both, P, MADV_WIPEONFORK));
    SHOW(madvise(own, P, MADV_WIPEONFORK));

    SHOW(madvise(both, P, MADV_REMOVE));
    SHOW(both[0]);
    SHOW(both[P]);
    SHOW(madvise(a, P, MADV_REMOVE));
    SHOW(madvise(own, P, MADV_REMOVE));
    SHOW(madvise(own, P, MADV_FREE));
    SHOW(madvise(both, P, MADV_FREE));
    SHOW(madvise(a, P, MADV_FREE));
    char *empty = mmap(NULL, 8 * P, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SHOW(madvise(empty, P, MADV_POPULATE_READ));
    SHOW(mprotect(empty, 8 * P, PROT_READ));
    SHOW(madvise(empty, P, MADV_POPULATE_WRITE));
    SHOW(madvise(empty, 2 * P, MADV_POPULATE_READ));
    SHOW(there(empty, 8));
    SHOW(madvise(a, 0, 25 /* MADV_COLLAPSE */));
    munmap(empty + 4 * P, P);
    SHOW(madvise(empty, 8 * P, MADV_NORMAL));
    SHOW(madvise(empty, 8 * P, MADV_DONTNEED));

    char *b = ANYWHERE(MAP_PRIVATE | MAP_ANONYMOUS);
    SHOW(mlock(b + 2 * P, 3 * P));
    SHOW(there(b, 8));
    SHOW(locked());
    puts(of_area(b + 2 * P, "Locked:"));
    puts(of_area(b + 2 * P, "Rss:"));
    puts(of_area(b, "Locked:"));
    SHOW(madvise(b + 2 * P, P, MADV_DONTNEED));
    SHOW(madvise(b + 2 * P, P, MADV_FREE));
    SHOW(madvise(b + 2 * P, P, MADV_COLD));
    SHOW(madvise(b + 2 * P, P, 24 /* MADV_DONTNEED_LOCKED */));
    SHOW(msync(b, 8 * P, MS_SYNC | MS_INVALIDATE));
    SHOW(munlock(b + 3 * P, P));
    SHOW(locked());
    SHOW(munlock(b, 8 * P));
    SHOW(locked());
    SHOW(msync(b, 8 * P, MS_SYNC | MS_INVALIDATE));
    SHOW(syscall(SYS_mlock2, b + 6 * P, 2 * P, 1 /* MLOCK_ONFAULT */));
    SHOW(there(b + 6 * P, 2));
    SHOW(locked());
    CHILD("nothing of it is a child's", SHOW(locked()));
    SHOW(munlock(b, 8 * P));
    SHOW(syscall(SYS_mlock2, b, P, -1));
    SHOW(mlock((void *)0x10000, P));
    SHOW(mlock(b, -P));
    SHOW(mlock(b, 0));
    mprotect(b, P, PROT_NONE);
    SHOW(mlock(b, P));
    SHOW(munlock(b, P));
    char *beyond = mmap(NULL, 16 * P, PROT_READ, MAP_SHARED, f, 0);
    SHOW(mlock(beyond, 16 * P));
    SHOW(munlock(beyond, 16 * P));
    char *c = ANYWHERE(MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED);
    SHOW(there(c, 8));
    SHOW(locked());
    SHOW(munmap(c, 8 * P));
    SHOW(locked());
    SHOW(mlockall(MCL_FUTURE));
    c = ANYWHERE(MAP_PRIVATE | MAP_ANONYMOUS);
    SHOW(there(c, 8));
    SHOW(locked());
    SHOW(munlockall());
    SHOW(locked());
    SHOW(mlockall(0));
    SHOW(mlockall(8));
    SHOW(mlockall(MCL_ONFAULT));
    CHILD("somebody who may lock a little", MUST(getuid() != 0 || setuid(65534) == 0);
          struct rlimit limit = {3 * P, 3 * P}; setrlimit(RLIMIT_MEMLOCK, &limit);
          SHOW(mlock(c, 4 * P)); SHOW(mlock(c, 3 * P)); SHOW(mlock(c, 3 * P)); SHOW(mlockall(MCL_CURRENT));
          TELL(ANYWHERE(MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED)); limit.rlim_cur = 0; setrlimit(RLIMIT_MEMLOCK, &limit);
          SHOW(mlock(c, P)); SHOW(mlockall(MCL_FUTURE)); SHOW(munlock(c, 3 * P));
          TELL(ANYWHERE(MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED)));

    CHILD("a child with much memory", char *much = mmap(NULL, 64 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
          memset(much, 1, 64 << 20); munmap(much, 64 << 20); SHOW(most(RUSAGE_SELF) >= 65536));
    SHOW(most(RUSAGE_CHILDREN) >= 65536);
    SHOW(most(RUSAGE_SELF) > 0 && most(RUSAGE_SELF) < 32768);
    struct rusage usage;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        char *much = mmap(NULL, 16 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memset(much, 1, 16 << 20);
        _exit(0);
    }
    int status;
    SHOW(wait4(child, &status, 0, &usage) == child);
    SHOW(usage.ru_maxrss >= 16384 && usage.ru_maxrss < 65536);
}
