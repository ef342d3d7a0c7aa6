/* Which error comes first when several things are wrong: descriptors that only name a file, directions, offsets, addresses. */
#include "show.h"
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>
#include <sys/timerfd.h>
#include <linux/futex.h>
#include <linux/stat.h>
#define RAW(...) SHOW(syscall(__VA_ARGS__))
static char buffer[4096];
static int file, reader, writer, folder, name, ends[2];
static void of_descriptor(const char *what, int f) {
    struct iovec part = { buffer, 4 }, nowhere = { NOWHERE, 4 };
    struct stat st;
    struct statfs fs;
    off_t at = 0;
    printf("-- %s\n", what);
    if (f != ends[0]) {
        SHOW(read(f, NOWHERE, 4));
        SHOW(readv(f, &nowhere, 1));
        SHOW(readv(f, &part, -1));
        SHOW(readv(f, NOWHERE, 1));
        SHOW(readv(f, &part, 0));
    }
    SHOW(write(f, NOWHERE, 4));
    SHOW(writev(f, &nowhere, 1));
    SHOW(writev(f, &part, -1));
    SHOW(pread(f, buffer, 1, -1));
    SHOW(pread(f, buffer, 0, 0));
    SHOW(pwrite(f, buffer, 1, -1));
    SHOW(pwrite(f, buffer, 0, 0));
    SHOW(preadv(f, &part, 1, -1));
    SHOW(preadv(f, &part, -1, 0));
    SHOW(pwritev(f, &part, 1, -1));
    SHOW(preadv2(f, &part, 1, 0, 0x40000000));
    SHOW(lseek(f, 0, SEEK_SET));
    SHOW(lseek(f, -1, SEEK_SET));
    SHOW(lseek(f, 0, 99));
    SHOW(ftruncate(f, -1));
    SHOW(ftruncate(f, 10));
    SHOW(fchmod(f, 0644));
    SHOW(fchown(f, -1, -1));
    SHOW(fstat(f, &st));
    SHOW(fstat(f, NOWHERE));
    SHOW(fstatfs(f, NOWHERE));
    SHOW(fallocate(f, 0, -1, 10));
    SHOW(fallocate(f, 0, 0, 0));
    SHOW(posix_fadvise(f, 0, 0, 0));
    SHOW(posix_fadvise(f, 0, 0, 99));
    SHOW(readahead(f, 0, 10));
    SHOW(flock(f, LOCK_UN));
    SHOW(syncfs(f));
    SHOW(sync_file_range(f, 0, 0, 99));
    SHOW(sync_file_range(f, -1, 0, 0));
    if (f != folder) {
        RAW(SYS_getdents64, f, buffer, sizeof buffer);
        RAW(SYS_getdents64, f, NOWHERE, sizeof buffer);
        RAW(SYS_getdents, f, buffer, sizeof buffer);
    }
    SHOW(dup3(f, f, 0));
    SHOW(dup3(f, 50, 99));
    SHOW(sendfile(f, file, &at, 0));
    at = -1;
    SHOW(sendfile(ends[1], f, &at, 1));
    SHOW(sendfile(ends[1], f, NOWHERE, 1));
    SHOW(copy_file_range(f, NULL, file, NULL, 1, 99));
    SHOW(epoll_ctl(f, EPOLL_CTL_ADD, 0, NULL));
    SHOW(fcntl(f, F_DUPFD, -1));
    SHOW(fcntl(f, F_GETLK, NOWHERE));
    SHOW(fcntl(f, 9999, 0));
    SHOW(fcntl(f, F_GETFD));
    SHOW(mmap(0, 4096, PROT_READ, MAP_SHARED, f, 100) == MAP_FAILED ? -1 : 0);
    (void)st; (void)fs;
}
static void of_paths(void) {
    static char longest[5000];
    memset(longest, '/', sizeof longest - 1);
    for (unsigned i = 1; i < sizeof longest - 1; i += 2) longest[i] = '.';
    char *paths[] = { "missing", "file/x", "loop", longest, "", NOWHERE, "loop/x" };
    struct statfs fs;
    struct statx sx;
    struct stat st;
    for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) {
        char *path = paths[i];
        printf("-- path %u\n", i);
        SHOW(open(path, O_RDONLY));
        SHOW(stat(path, &st));
        SHOW(statx(AT_FDCWD, path, 0, STATX_ALL, &sx));
        SHOW(statfs(path, &fs));
        SHOW(access(path, F_OK));
        SHOW(chmod(path, 0755));
        SHOW(chown(path, -1, -1));
        SHOW(truncate(path, 0));
        SHOW(chdir(path));
        SHOW(rmdir(path));
        RAW(SYS_utimensat, AT_FDCWD, path, NULL, 0);
        SHOW(mkfifo(i == 0 ? "file" : path, 0600) == 0);
        SHOW(mknod(i == 0 ? "file" : path, S_IFREG | 0600, 0) == 0);
        SHOW(execve(path, NULL, NULL));
    }
    SHOW(statfs(".", NOWHERE));
    SHOW(linkat(AT_FDCWD, "file", AT_FDCWD, "x", 1));
    SHOW(fchownat(AT_FDCWD, "file", -1, -1, 1));
    SHOW(faccessat(AT_FDCWD, "file", F_OK, 0x40));
    RAW(SYS_faccessat2, AT_FDCWD, "file", F_OK, 1);
    RAW(SYS_utimensat, AT_FDCWD, "file", NULL, 1);
    struct timespec wrong[2] = { { 0, 2000000000 }, { 0, 0 } };
    RAW(SYS_utimensat, -1, NULL, wrong, 0);
    RAW(SYS_utimensat, AT_FDCWD, "file", wrong, 0);
}
static void of_memory(void) {
    char *memory = mmap(0, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *const hole = (char *)0x10000000000;
    puts("-- memory");
    TELL(mmap(0, 4096, PROT_READ, 0, -1, 0));
    TELL(mmap(0, 0, PROT_READ, MAP_SHARED, 99, 0));
    TELL(mmap(0, 4096, PROT_READ, MAP_SHARED_VALIDATE | MAP_ANONYMOUS, -1, 0));
    TELL(mmap(0, 4096, PROT_READ, MAP_SHARED_VALIDATE | 1 << 25, file, 0));
    SHOW(madvise(memory + 1, 4096, MADV_NORMAL));
    SHOW(madvise(hole, 4096, MADV_NORMAL));
    SHOW(madvise(memory, -1L, MADV_NORMAL));
    SHOW(madvise(memory, 0, MADV_NORMAL));
    SHOW(madvise(memory, 4096, 1212));
    SHOW(madvise(memory, 4096, MADV_HUGEPAGE) == -1 && errno != EINVAL);
    SHOW(madvise(memory, 4096, MADV_DONTDUMP));
    unsigned char there[4];
    SHOW(mincore(memory + 1, 4096, there));
    SHOW(mincore(hole, 4096, there));
    SHOW(mincore(memory, -1L, there));
    SHOW(mincore(memory, 4 * 4096, there));
    printf("%d\n", there[0] & 1);
    memory[0] = 1;
    SHOW(mincore(memory, 4096, there));
    printf("%d\n", there[0] & 1);
    SHOW(mlock(hole, 4096));
    SHOW(mlock(memory, 0));
    SHOW(munlock(hole, 4096));
    SHOW(mlockall(0));
    SHOW(mlockall(99));
    SHOW(mlockall(MCL_ONFAULT));
    RAW(SYS_mlock2, memory, 4096, 99);
}
static void of_others(void) {
    uint32_t word = 0;
    struct timespec wrong = { 0, -1 }, zero = { 0, 0 };
    struct itimerspec both = { { 0, -1 }, { 0, 0 } };
    puts("-- processes and time");
    SHOW(kill(999999, 2000));
    SHOW(kill(getpid(), 2000));
    RAW(SYS_kill, 0x80000000, 0);
    RAW(SYS_tkill, -1, SIGUSR1);
    RAW(SYS_waitid, P_PIDFD, -1, 0, WEXITED, 0);
    SHOW(getpriority(PRIO_PROCESS, -1));
    RAW(SYS_rt_sigpending, buffer, 16);
    RAW(SYS_rt_sigpending, buffer, 4);
    RAW(SYS_clock_settime, CLOCK_REALTIME, NOWHERE);
    RAW(SYS_clock_settime, CLOCK_REALTIME, &wrong);
    RAW(SYS_clock_settime, CLOCK_MONOTONIC, &zero);
    RAW(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &zero, 0);
    RAW(SYS_gettimeofday, 0, NOWHERE);
    RAW(SYS_timer_create, CLOCK_MONOTONIC_RAW, 0, &word);
    RAW(SYS_timer_create, CLOCK_TAI, 0, &word);
    RAW(SYS_timer_settime, 0, 0, 0, 0);
    SHOW(timerfd_settime(-1, 0, &both, 0));
    SHOW(timerfd_settime(file, 0, NOWHERE, 0));
    RAW(SYS_select, 0, 0, 0, 0, (long[]){ 0, 1000001 });
    RAW(SYS_select, 0, 0, 0, 0, (long[]){ 0, -1 });
    RAW(SYS_sched_getparam, 0, NULL);
    RAW(SYS_sched_setparam, 0, NULL);
    RAW(SYS_sched_getattr, 0, NULL, 48, 0);
    RAW(SYS_sched_setattr, 0, NULL, 0);
    RAW(SYS_futex, &word, FUTEX_CMP_REQUEUE, -1, 0, &word, 0);
    RAW(SYS_futex, &word, FUTEX_CMP_REQUEUE, 1, -1, &word, 0);
    RAW(SYS_get_robust_list, 999999, buffer, buffer + 8);
    RAW(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0);
    RAW(SYS_clone3, NULL, 63);
    RAW(SYS_clone3, NULL, 5000);
    RAW(SYS_clone3, NOWHERE, 64);
    uint64_t arguments[16] = { 0 };
    arguments[4] = 99;
    RAW(SYS_clone3, arguments, 64);
    arguments[4] = 0, arguments[5] = 4096;
    RAW(SYS_clone3, arguments, 64);
    arguments[5] = 0, arguments[12] = 1;
    RAW(SYS_clone3, arguments, 128);
    arguments[0] = CLONE_SIGHAND;
    RAW(SYS_clone3, arguments, 64);
    puts("-- affinity");
    cpu_set_t all, one;
    MUST(sched_getaffinity(0, sizeof all, &all) == 0);
    int last = CPU_SETSIZE - 1;
    while (!CPU_ISSET(last, &all)) last--;
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    SHOW(sched_setaffinity(0, sizeof one, &one));
    MUST(sched_getaffinity(0, sizeof all, &all) == 0);
    printf("%d %d\n", CPU_COUNT(&all), CPU_ISSET(last, &all) != 0);
    unsigned here = -1;
    RAW(SYS_getcpu, &here, NULL, NULL);
    printf("%d\n", here == (unsigned)last);
    CPU_ZERO(&one);
    SHOW(sched_setaffinity(0, sizeof one, &one));
}
static void below_files(void) {
    struct stat st;
    const char *paths[] = { "/etc/group/x", "/etc/passwd/x/y", "/usr/bin/env/x", "/proc/self/maps/x", "/dev/null/x", "/etc/group/", "/usr/bin/env/" };
    for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) {
        printf("-- %s\n", paths[i]);
        SHOW(open(paths[i], O_RDONLY));
        SHOW(stat(paths[i], &st));
        SHOW(access(paths[i], F_OK));
    }
}
int main(void) {
    below_files();
    signal(SIGPIPE, SIG_IGN);
    file = open("file", O_RDWR | O_CREAT, 0644), reader = open("file", O_RDONLY), writer = open("file", O_WRONLY);
    folder = open(".", O_RDONLY | O_DIRECTORY), name = open("file", O_PATH);
    MUST(pipe(ends) == 0 && write(file, "0123456789", 10) == 10 && symlink("loop", "loop") == 0);
    of_descriptor("none", -1);
    of_descriptor("reader", reader);
    of_descriptor("writer", writer);
    of_descriptor("folder", folder);
    of_descriptor("name", name);
    of_descriptor("pipe to read", ends[0]);
    of_descriptor("pipe to write", ends[1]);
    of_paths();
    of_memory();
    of_others();
}
