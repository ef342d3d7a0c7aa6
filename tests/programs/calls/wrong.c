/* What no program should ask for: every call is answered, and nothing breaks. */
#include "show.h"
#include <sys/socket.h>
#define WRONG(name, ...) SHOW(syscall(SYS_##name, __VA_ARGS__))
int main(void) {
    int ends[2];
    struct stat st;
    MUST(pipe(ends) == 0);
    int f = open("f", O_RDWR | O_CREAT, 0600);
    MUST(write(f, "content", 7) == 7 && lseek(f, 0, SEEK_SET) == 0);
    void *kernel = (void *)0xffff800000000000;
    for (void **at = (void *[]){NOWHERE, kernel, (void *)-1, NULL}; *at; at++) {
        WRONG(read, f, *at, 0);
        WRONG(write, f, *at, 10);
        WRONG(open, *at, O_RDONLY, 0);
        WRONG(stat, *at, &st);
        WRONG(fstat, f, *at);
        WRONG(poll, *at, 1, 0);
        WRONG(pipe, *at);
        WRONG(nanosleep, *at, 0);
        WRONG(uname, *at);
        WRONG(getcwd, *at, 100);
        WRONG(rt_sigaction, SIGUSR1, *at, 0, 8);
        WRONG(rt_sigprocmask, SIG_BLOCK, *at, 0, 8);
        WRONG(writev, f, *at, 1);
        WRONG(getrlimit, 7, *at);
        WRONG(sysinfo, *at);
        WRONG(futex, *at, 0, 0, 0, 0, 0);
        WRONG(clock_gettime, 0, *at);
        WRONG(socketpair, AF_UNIX, SOCK_STREAM, 0, *at);
        WRONG(getrandom, *at, 10, 0);
        WRONG(execve, *at, 0, 0);
        WRONG(readlink, *at, *at, 10);
        WRONG(rename, *at, *at);
        WRONG(statx, -100, *at, 0, 0, *at);
        WRONG(timer_create, 0, *at, *at);
        WRONG(set_robust_list, *at, 1);
    }
    WRONG(mmap, 0, -1L, 3, 0x22, -1, 0);
    WRONG(munmap, 0x1000, -1L);
    WRONG(mprotect, 0x1000, -1L, 1);
    WRONG(lseek, f, -1L, 0);
    WRONG(poll, 0, 0xffffffff, 0);
    WRONG(readv, f, 0, -1L);
    WRONG(kill, 0x80000000, 0);
    WRONG(wait4, 0x80000000, 0, 0, 0);
    WRONG(fcntl, f, -1, 0);
    WRONG(ioctl, f, -1L, 0);
    WRONG(dup2, f, -1);
    WRONG(ftruncate, f, -1L);
    WRONG(getrandom, &st, 10, 99);
    WRONG(getrandom, &st, 10, 0);
    WRONG(arch_prctl, 99, 0);
    WRONG(clone, 0x10000, 0, 0, 0, 0);
    WRONG(clone3, 0, 0);
    WRONG(clone3, 8, 88);
    WRONG(flock, f, 0);
    WRONG(mremap, 0x1000, 0x1000, 0x2000, 1, 0);
    SHOW(syscall(1000));
    SHOW(syscall(-1));
    SHOW(syscall(SYS_uselib, 0));
}
