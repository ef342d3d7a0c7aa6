/* fifo(7), mkfifo(3), mknod(2) */
#include "show.h"
int main(void) {
    char buffer[16] = {0}, name[64];
    snprintf(name, sizeof name, "/tmp/fifo-%d", getpid());
    struct stat st;
    SHOW(mkfifo(name, 0640));
    SHOW(mkfifo(name, 0640));
    SHOW(stat(name, &st));
    SHOW(st.st_mode);
    SHOW(mknod(name, S_IFREG | 0600, 0));
    SHOW(open(name, O_WRONLY | O_NONBLOCK));
    int r = open(name, O_RDONLY | O_NONBLOCK);
    MUST(r >= 0);
    SHOW(read(r, buffer, 16));
    int w = open(name, O_WRONLY);
    MUST(w >= 0);
    SHOW(read(r, buffer, 16));
    SHOW(write(w, "hello", 5));
    SHOW(read(r, buffer, 16));
    puts(buffer);
    SHOW(lseek(r, 0, SEEK_SET));
    close(w);
    SHOW(read(r, buffer, 16));
    close(r);
    fflush(stdout);
    if (fork() == 0) {
        int out = open(name, O_WRONLY);
        write(out, "from the child", 14);
        exit(0);
    }
    r = open(name, O_RDONLY);
    SHOW(read(r, buffer, 16));
    SHOW(read(r, buffer, 16));
    wait(NULL);
    int both = open(name, O_RDWR);
    SHOW(write(both, "x", 1));
    SHOW(read(both, buffer, 16));
    SHOW(unlink(name));
    SHOW(stat(name, &st));
}
