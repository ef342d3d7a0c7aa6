/* getrlimit(2), setrlimit(2), prlimit(2) */
#include "show.h"
#include <sys/resource.h>
#include <sys/sendfile.h>
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
    /* However a file grows. */
    int from = open("from", O_RDWR | O_CREAT, 0600);
    MUST(from >= 0 && write(from, "0123456789abcdefghij", 20) == 20 && ftruncate(f, 100000) == 0 && lseek(f, 0, SEEK_END) == 100000);
    SHOW(fallocate(f, 0, 100000, 10));
    SHOW(fallocate(f, 0, 100000, 11));
    SHOW(fallocate(f, 0, 200000, 11));
    SHOW(fallocate(f, 0, 0, 11));
    SHOW(truncate("f", 100011));
    SHOW(truncate("f", 100010));
    SHOW(lseek(f, 100004, SEEK_SET));
    off_t at = 0;
    SHOW(sendfile(f, from, &at, 20));
    SHOW(at);
    SHOW(sendfile(f, from, &at, 20));
    SHOW(at);
    loff_t start = 0, end = 100003;
    SHOW(copy_file_range(from, &start, f, &end, 20, 0));
    SHOW(start);
    SHOW(end);
    SHOW(copy_file_range(from, &start, f, &end, 20, 0));
    SHOW(lseek(f, 0, SEEK_END));
    MUST(pipe(ends) == 0 && write(ends[1], "0123456789", 10) == 10);
    end = 100008;
    SHOW(splice(ends[0], NULL, f, &end, 10, 0));
    SHOW(end);
    SHOW(splice(ends[0], NULL, f, &end, 10, 0));
    SHOW(setrlimit(RLIMIT_FSIZE, &(struct rlimit){50000, 200000}));
    SHOW(ftruncate(f, 60000));
    SHOW(truncate("f", 55000));
    SHOW(ftruncate(f, 60000));
    SHOW(lseek(f, 0, SEEK_END));
    SHOW(setrlimit(RLIMIT_FSIZE, &(struct rlimit){100010, 200000}));
    SHOW(lseek(f, 100010, SEEK_SET));
    CHILD("SIGXFSZ of fallocate", signal(SIGXFSZ, SIG_DFL); fallocate(f, 0, 100000, 11));
    CHILD("SIGXFSZ", signal(SIGXFSZ, SIG_DFL); write(f, "0123456", 7));
    SHOW(setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}));
    SHOW(getrlimit(RLIMIT_CORE, &l));
    SHOW(l.rlim_max);
}
