/* getrlimit(2), setrlimit(2), prlimit(2) */
#include "show.h"
#include <sys/resource.h>
int main(void) {
    struct rlimit l, old;
    SHOW(getrlimit(99, &l));
    SHOW(getrlimit(RLIMIT_NOFILE, NOWHERE));
    SHOW(getrlimit(RLIMIT_NOFILE, &l));
    SHOW(l.rlim_cur <= l.rlim_max);
    SHOW(setrlimit(RLIMIT_NOFILE, &(struct rlimit){10, 5}));
    SHOW(setrlimit(RLIMIT_NOFILE, &(struct rlimit){6, l.rlim_max}));
    SHOW(getrlimit(RLIMIT_NOFILE, &l));
    SHOW(l.rlim_cur);
    for (int i = 0; i < 5; i++) SHOW(dup(1));
    SHOW(dup2(1, 6));
    SHOW(fcntl(1, F_DUPFD, 6));
    int ends[2];
    SHOW(pipe(ends));
    SHOW(close(5));
    SHOW(pipe(ends));
    SHOW(prlimit(0, RLIMIT_NOFILE, &(struct rlimit){20, 20}, &old));
    SHOW(old.rlim_cur);
    SHOW(prlimit(0, RLIMIT_NOFILE, NULL, &old));
    SHOW(old.rlim_max);
    SHOW(prlimit(99999, RLIMIT_NOFILE, NULL, &old));
    CHILD("inherited", getrlimit(RLIMIT_NOFILE, &l); exit(l.rlim_cur));
    int f = open("f", O_RDWR | O_CREAT, 0600);
    signal(SIGXFSZ, SIG_IGN);
    SHOW(setrlimit(RLIMIT_FSIZE, &(struct rlimit){100010, 200000}));
    SHOW(lseek(f, 100000, SEEK_SET));
    SHOW(write(f, "0123456", 7));
    SHOW(write(f, "0123456", 7));
    SHOW(write(f, "0123456", 7));
    SHOW(ftruncate(f, 100050));
    CHILD("SIGXFSZ", signal(SIGXFSZ, SIG_DFL); write(f, "0123456", 7));
    SHOW(setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}));
    SHOW(getrlimit(RLIMIT_CORE, &l));
    SHOW(l.rlim_max);
}
