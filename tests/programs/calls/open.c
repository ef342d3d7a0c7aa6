/* open(2), creat(2), close(2) */
#include "show.h"
#include <sys/socket.h>
int main(void) {
    char name[300];
    memset(name, 'n', sizeof name - 1);
    name[299] = 0;
    SHOW(open("missing", O_RDONLY));
    SHOW(open("", O_RDONLY));
    SHOW(open(NOWHERE, O_RDONLY));
    SHOW(open(name, O_RDONLY | O_CREAT, 0600));
    SHOW(open("a", O_RDWR | O_CREAT | O_EXCL, 0640));
    SHOW(open("a", O_RDWR | O_CREAT | O_EXCL, 0640));
    SHOW(write(3, "content", 7));
    SHOW(open("a/b", O_RDONLY));
    SHOW(open("a/", O_RDONLY));
    SHOW(open("a", O_RDONLY | O_DIRECTORY));
    SHOW(mkdir("d", 0755));
    SHOW(open("d", O_WRONLY));
    SHOW(open("d", O_RDONLY | O_DIRECTORY));
    SHOW(open("d/../a/../a", O_RDONLY));
    SHOW(symlink("a", "l"));
    SHOW(symlink("loop", "loop"));
    SHOW(open("l", O_RDONLY | O_NOFOLLOW));
    SHOW(open("loop", O_RDONLY));
    SHOW(open("l", O_RDONLY));
    char buffer[16];
    SHOW(read(5, buffer, 16));
    SHOW(open("l", O_WRONLY | O_TRUNC));
    SHOW(lseek(6, 0, SEEK_END));
    SHOW(read(6, buffer, 1));
    SHOW(write(5, buffer, 1));
    SHOW(open("a", O_WRONLY | O_APPEND));
    SHOW(write(7, "xy", 2));
    SHOW(pwrite(6, "ab", 2, 0));
    SHOW(write(7, "z", 1));
    SHOW(lseek(7, 0, SEEK_CUR));
    SHOW(fcntl(7, F_GETFL) & (O_ACCMODE | O_APPEND));
    SHOW(fcntl(7, F_SETFL, 0));
    SHOW(fcntl(7, F_GETFL) & (O_ACCMODE | O_APPEND));
    SHOW(close(7));
    SHOW(close(7));
    SHOW(close(-1));
    SHOW(creat("a", 0600));
    SHOW(close(99999));
    SHOW(open("a", O_PATH));
    SHOW(read(8, buffer, 1));
    SHOW(fchmod(8, 0600));

    /* proc_pid_fd(5): what is open is opened once more, with a position and a mode of its own. */
    int named = open("again", O_RDWR | O_CREAT, 0600), memory = memfd_create("x", 0), ends[2], both[] = {named, memory};
    MUST(pipe(ends) == 0);
    for (int index = 0; index < 2; index++) {
        char path[64], text[8] = "";
        write(both[index], "abcdef", 6);
        sprintf(path, "/proc/self/fd/%d", both[index]);
        int reader = open(path, O_RDONLY);
        SHOW(read(reader, text, 3));
        SHOW(lseek(both[index], 0, SEEK_CUR));
        SHOW(write(reader, "x", 1));
        SHOW(open(path, O_RDONLY | O_DIRECTORY));
        close(open(path, O_WRONLY | O_TRUNC));
        SHOW(lseek(both[index], 0, SEEK_END));
        sprintf(path, "/dev/fd/%d", ends[index]);
        SHOW(write(open(path, O_WRONLY), "p", 1));
        SHOW(read(open(path, O_RDONLY), text, 1));
    }
    int pair[2];
    char path[64];
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    sprintf(path, "/proc/self/fd/%d", pair[0]);
    SHOW(open(path, O_RDWR));
}
