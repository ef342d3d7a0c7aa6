/* fcntl(2), "advisory record locking"; flock(2) */
#include "show.h"
#include <sys/file.h>
static struct flock range(int type, int start, int length) {
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
}
static void look(int f, int type, int start, int length) {
    struct flock l = range(type, start, length);
    int answer = fcntl(f, F_GETLK, &l);
    printf("look %d %d+%d: %d type %d start %ld length %ld %s\n", type, start, length, answer, l.l_type,
           (long)l.l_start, (long)l.l_len, l.l_type == F_UNLCK ? "" : l.l_pid == getppid() ? "parent's" : "whose?");
}
static int set(int f, int command, int type, int start, int length) {
    struct flock l = range(type, start, length);
    return fcntl(f, command, &l);
}
/* Locks of one sort that touch are one; each sort and each place is found in its order. */
static void joined(void) {
    int f = open("joined", O_RDWR | O_CREAT, 0600);
    set(f, F_SETLK, F_RDLCK, 10, 5);
    set(f, F_SETLK, F_RDLCK, 30, 5);
    set(f, F_SETLK, F_RDLCK, 5, 5);
    set(f, F_SETLK, F_RDLCK, 12, 8);
    set(f, F_SETLK, F_WRLCK, 20, 2);
    CHILD("who finds them", look(f, F_WRLCK, 0, 0); look(f, F_WRLCK, 20, 0); look(f, F_WRLCK, 22, 0));
    struct flock far = {.l_type = F_WRLCK, .l_start = LONG_MAX, .l_len = 2};
    SHOW(fcntl(f, F_SETLK, &far));
    struct flock of_process = {.l_type = F_WRLCK, .l_len = 1, .l_pid = 1};
    SHOW(fcntl(f, F_OFD_SETLK, &of_process));
    struct flock none = {.l_type = F_UNLCK};
    SHOW(fcntl(f, F_GETLK, &none));
}
/* Who waits for who waits for it is told. */
static void circle(void) {
    int f = open("circle", O_RDWR | O_CREAT, 0600), ready[2];
    MUST(pipe(ready) == 0);
    MUST(set(f, F_SETLK, F_WRLCK, 0, 1) == 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        MUST(set(f, F_SETLK, F_WRLCK, 1, 1) == 0);
        write(ready[1], "x", 1);
        exit(set(f, F_SETLKW, F_WRLCK, 0, 1) == 0 ? 0 : 1);
    }
    char byte;
    read(ready[0], &byte, 1);
    asleep(child);
    SHOW(set(f, F_SETLKW, F_WRLCK, 1, 1));
    SHOW(set(f, F_SETLK, F_UNLCK, 0, 0));
    int status;
    wait(&status);
    show_end("the other", status);
}
int main(void) {
    int f = open("f", O_RDWR | O_CREAT, 0600), r = open("f", O_RDONLY);
    SHOW(set(f, F_SETLK, F_WRLCK, 10, 10));
    SHOW(set(f, F_SETLK, F_RDLCK, 12, 2));
    SHOW(set(f, F_SETLK, 99, 0, 1));
    SHOW(set(r, F_SETLK, F_WRLCK, 50, 1));
    SHOW(set(f, F_SETLK, F_WRLCK, -1, 1));
    SHOW(fcntl(f, F_SETLK, NOWHERE));
    CHILD("child",
          look(f, F_WRLCK, 0, 5); look(f, F_WRLCK, 0, 0); look(f, F_RDLCK, 12, 2); look(f, F_RDLCK, 14, 1);
          SHOW(set(f, F_SETLK, F_RDLCK, 12, 2)); SHOW(set(f, F_SETLK, F_WRLCK, 12, 1)); SHOW(set(f, F_SETLK, F_WRLCK, 0, 10)));
    SHOW(set(f, F_SETLK, F_UNLCK, 0, 0));
    SHOW(set(f, F_SETLK, F_WRLCK, 0, 0));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        SHOW(set(f, F_SETLKW, F_WRLCK, 5, 1));
        exit(0);
    }
    asleep(child);
    puts("the parent lets go");
    close(r); /* Any descriptor of the file takes them all away. */
    wait(NULL);
    int g = open("f", O_RDWR);
    SHOW(flock(f, LOCK_EX));
    SHOW(flock(g, LOCK_SH | LOCK_NB));
    SHOW(flock(f, LOCK_SH));
    SHOW(flock(g, LOCK_SH | LOCK_NB));
    SHOW(flock(g, LOCK_EX | LOCK_NB));
    SHOW(flock(f, LOCK_UN));
    SHOW(flock(g, LOCK_EX | LOCK_NB));
    SHOW(flock(f, 16));
    SHOW(flock(99, LOCK_EX));
    int copy = dup(g);
    close(g);
    SHOW(flock(f, LOCK_EX | LOCK_NB));
    close(copy);
    SHOW(flock(f, LOCK_EX | LOCK_NB));
    g = open("f", O_RDWR);
    SHOW(set(f, F_OFD_SETLK, F_WRLCK, 0, 5));
    SHOW(set(g, F_OFD_SETLK, F_RDLCK, 4, 5));
    SHOW(set(g, F_OFD_SETLK, F_RDLCK, 5, 5));
    SHOW(set(f, F_OFD_SETLK, F_UNLCK, 0, 0));
    SHOW(set(g, F_OFD_SETLK, F_RDLCK, 4, 5));
    int d = open(".", O_RDONLY);
    SHOW(flock(d, LOCK_EX));
    joined();
    circle();
}
