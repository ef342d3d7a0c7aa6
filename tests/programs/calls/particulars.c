/* What openat2(2), close_range(2), select(2), kill(2) and posix_fadvise(2) say besides: flags that contradict each
   other, a table of descriptors of its own, the time that was left, threads, and lengths below zero. */
#include "show.h"
#include <sys/select.h>
struct how { uint64_t flags, mode, resolve; };
static long open_by(uint64_t flags, uint64_t mode) {
    struct how how = { flags, mode, 0 };
    return syscall(SYS_openat2, AT_FDCWD, ".", &how, sizeof how);
}
static volatile int came;
static void count(int signal) { (void)signal; came++; }
static volatile pid_t number;
static int ready[2], go_on[2];
static void *wait_there(void *unused) {
    char byte;
    number = gettid();
    MUST(write(ready[1], "x", 1) == 1);
    while (read(go_on[0], &byte, 1) < 0 && errno == EINTR) {}
    return NULL;
}
static int child_of_shared_files(void *unused) {
    SHOW(syscall(SYS_close_range, 3, ~0U, 2 /* CLOSE_RANGE_UNSHARE */));
    SHOW(fcntl(60, F_GETFD));
    return 0;
}
static struct timeval left;
int main(void) {
    SHOW(open_by(O_TMPFILE | O_PATH | O_RDWR, 0));
    SHOW(open_by(O_TMPFILE | O_CREAT | O_RDWR, 0600));
    SHOW(open_by(O_TMPFILE | O_RDONLY, 0600));
    SHOW(open_by(O_PATH | O_RDWR, 0));
    SHOW(open_by(O_PATH | O_CREAT, 0600));
    SHOW(open_by(O_PATH | O_EXCL, 0));
    SHOW(open_by(O_PATH | O_NOCTTY, 0));
    TELL(open_by(O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0));
    SHOW(open("absent", O_PATH | O_CREAT, 0600));
    SHOW(open("absent", O_TMPFILE | O_RDONLY, 0600));
    SHOW(access("absent", F_OK));

    MUST(symlink("leads nowhere", "link") == 0);
    int link = open("link", O_PATH | O_NOFOLLOW);
    TELL(link);
    struct stat found;
    char target[64] = "";
    SHOW(fstat(link, &found));
    SHOW(S_ISLNK(found.st_mode));
    SHOW(readlinkat(link, "", target, sizeof target));
    printf("%s\n", target);
    SHOW(read(link, target, 1));
    SHOW(readlinkat(0, "", target, sizeof target));
    SHOW(open("link", O_RDONLY | O_NOFOLLOW));

    MUST(dup2(1, 60) == 60);
    char *stack = malloc(1 << 16);
    fflush(stdout);
    pid_t child = clone(child_of_shared_files, stack + (1 << 16), CLONE_FILES | CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
    int status;
    MUST(waitpid(child, &status, 0) == child);
    show_end("a child with the same descriptors", status);
    SHOW(fcntl(60, F_GETFD));

    fd_set set;
    FD_ZERO(&set);
    left = (struct timeval){ 0, 1000 };
    SHOW(select(0, NULL, NULL, NULL, &left));
    SHOW(left.tv_sec);
    SHOW(left.tv_usec);
    MUST(pipe(ready) == 0 && pipe(go_on) == 0 && write(ready[1], "x", 1) == 1);
    FD_SET(ready[0], &set);
    left = (struct timeval){ 100, 0 };
    SHOW(select(ready[0] + 1, &set, NULL, NULL, &left));
    SHOW(left.tv_sec < 100 && left.tv_sec > 0);
    SHOW(read(ready[0], target, 1));
    struct timespec rest = { 0, 1000 };
    SHOW(syscall(SYS_ppoll, NULL, 0, &rest, NULL, 8));
    SHOW(rest.tv_nsec);
    rest = (struct timespec){ 0, 1000 };
    SHOW(syscall(SYS_pselect6, 0, NULL, NULL, NULL, &rest, NULL));
    SHOW(rest.tv_nsec);

    pthread_t thread;
    signal(SIGUSR1, count);
    MUST(pthread_create(&thread, NULL, wait_there, NULL) == 0);
    MUST(read(ready[0], target, 1) == 1);
    SHOW(kill(number, 0));
    SHOW(kill(number, SIGUSR1));
    SHOW(syscall(SYS_tgkill, number, number, 0));
    MUST(write(go_on[1], "x", 1) == 1);
    pthread_join(thread, NULL);
    SHOW(came);

    int file = open("file", O_RDWR | O_CREAT, 0600);
    SHOW(posix_fadvise(file, 0, -1, POSIX_FADV_NORMAL));
    SHOW(posix_fadvise(file, 0, 0, POSIX_FADV_NORMAL));
    SHOW(posix_fadvise(file, 0, 0, 17));
    SHOW(posix_fadvise(ready[0], 0, 0, POSIX_FADV_NORMAL));

    /* A lock goes with any descriptor of the file, but not with one that only names it. */
    struct flock lock = { .l_type = F_WRLCK };
    SHOW(fcntl(file, F_SETLK, &lock));
    close(open("file", O_PATH));
    CHILD("still locked", struct flock other = { .l_type = F_WRLCK }; SHOW(fcntl(file, F_GETLK, &other)); SHOW(other.l_type));
    close(open("file", O_RDONLY));
    CHILD("no longer", struct flock other = { .l_type = F_WRLCK }; SHOW(fcntl(file, F_GETLK, &other)); SHOW(other.l_type));

    /* What nobody shares is set apart already. */
    SHOW(unshare(CLONE_FILES | CLONE_FS | CLONE_SYSVSEM));
    SHOW(unshare(0x10));
    /* Namespaces are for who is privileged. */
    CHILD("apart", setresuid(65534, 65534, 65534);
        SHOW(unshare(CLONE_NEWNS));
        SHOW(syscall(SYS_clone, SIGCHLD | CLONE_NEWNS, 0, 0, 0, 0));
        SHOW(syscall(SYS_clone, SIGCHLD | CLONE_NEWNET | CLONE_NEWPID, 0, 0, 0, 0));
        SHOW(syscall(SYS_clone, SIGCHLD | CLONE_NEWNS | CLONE_FS, 0, 0, 0, 0)));

    /* The upper half of the number of a call is not looked at. */
    long answer, call = 1L << 32 | SYS_getppid;
    __asm__ volatile("syscall" : "=a"(answer) : "a"(call) : "rcx", "r11", "memory");
    SHOW(answer == getppid());
}
