/* pipe(2), pipe(7) */
#include "show.h"
#include <sys/ioctl.h>
static volatile int broken;
static void sigpipe(int signal) { (void)signal; broken++; }
int main(void) {
    int ends[2], waiting = -1;
    static char big[200000];
    SHOW(pipe2(ends, 0x40000000));
    SHOW(pipe(NOWHERE));
    SHOW(pipe2(ends, O_NONBLOCK | O_CLOEXEC));
    SHOW(fcntl(ends[0], F_GETFD));
    SHOW(fcntl(ends[1], F_GETFL) & (O_ACCMODE | O_NONBLOCK));
    SHOW(fcntl(ends[0], F_GETFL) & (O_ACCMODE | O_NONBLOCK));
    SHOW(read(ends[0], big, 10));
    SHOW(read(ends[0], big, 0));
    SHOW(read(ends[1], big, 10));
    SHOW(write(ends[0], big, 10));
    SHOW(lseek(ends[0], 0, SEEK_CUR));
    SHOW(pread(ends[0], big, 1, 0));
    SHOW(pwrite(ends[1], big, 1, 0));
    SHOW(fcntl(ends[0], F_GETPIPE_SZ));
    SHOW(write(ends[1], big, sizeof big));
    SHOW(write(ends[1], big, 1));
    SHOW(ioctl(ends[0], FIONREAD, &waiting));
    SHOW(waiting);
    SHOW(read(ends[0], big, 4096));
    SHOW(write(ends[1], big, 4097));
    SHOW(read(ends[0], big, sizeof big));
    SHOW(fcntl(ends[1], F_SETPIPE_SZ, 5000));
    SHOW(fcntl(ends[1], F_SETPIPE_SZ, 0));
    SHOW(write(ends[1], NOWHERE, 5));
    SHOW(write(ends[1], "hello", 5));
    SHOW(read(ends[0], NOWHERE, 5));
    SHOW(read(ends[0], big, 5));
    SHOW(write(ends[1], "hello", 5));
    SHOW(close(ends[1]));
    SHOW(read(ends[0], big, 3));
    SHOW(read(ends[0], big, 3));
    SHOW(read(ends[0], big, 3));
    close(ends[0]);
    MUST(pipe(ends) == 0);
    close(ends[0]);
    signal(SIGPIPE, sigpipe);
    SHOW(write(ends[1], "x", 1));
    SHOW(broken);
    signal(SIGPIPE, SIG_IGN);
    SHOW(write(ends[1], "x", 1));
    CHILD("killed by SIGPIPE", signal(SIGPIPE, SIG_DFL); write(ends[1], "x", 1));
    MUST(pipe(ends) == 0);
    fflush(stdout);
    if (fork() == 0) {
        close(ends[0]);
        for (int i = 0; i < 50; i++) MUST(write(ends[1], big, 10000) == 10000);
        exit(0);
    }
    close(ends[1]);
    long total = 0, count;
    while ((count = read(ends[0], big, sizeof big)) > 0) total += count;
    printf("total %ld\n", total);
    wait(NULL);
}
