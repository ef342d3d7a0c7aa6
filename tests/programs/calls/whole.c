/* read(2), write(2): a file is read and written as a whole; open(2), "O_APPEND"; execve(2), "ETXTBSY", "E2BIG". */
#include "show.h"
#define MANY (5 << 20)
static char many[MANY], more[MANY];
int main(int count, char **words) {
    if (count > 1) return 7;
    int file = open("many", O_RDWR | O_CREAT, 0644);
    for (int at = 0; at < MANY; at++) many[at] = at * 2654435761u >> 24;
    SHOW(write(file, many, MANY));
    SHOW(pread(file, more, MANY, 0));
    printf("same: %d\n", memcmp(many, more, MANY) == 0);
    struct iovec parts[] = {{more, MANY - 5}, {more, 5}, {more, 5}};
    SHOW(lseek(file, 0, SEEK_SET));
    SHOW(readv(file, parts, 3));
    SHOW(pwrite(file, many, MANY, 3));
    SHOW(lseek(file, 0, SEEK_END));
    SHOW(read(open("/dev/zero", O_RDONLY), more, MANY));
    int end = open("end", O_RDWR | O_CREAT | O_APPEND, 0644);
    SHOW(write(end, "abc", 3));
    SHOW(pwrite(end, "def", 3, 0));
    char text[8] = "";
    SHOW(pread(end, text, 7, 0));
    puts(text);
    printf("%x %x\n", fcntl(end, F_GETFL), fcntl(open("end", O_RDONLY | O_NONBLOCK), F_GETFL));
    int ends[2];
    MUST(pipe(ends) == 0 && close(ends[0]) == 0);
    SHOW(write(ends[1], "", 0));

    /* A copy of this program, which is run and written. */
    int own = open("/proc/self/exe", O_RDONLY), copy = open("copy", O_WRONLY | O_CREAT, 0755);
    long length = read(own, many, MANY);
    MUST(length > 0 && length < MANY && write(copy, many, length) == length);
    char *again[] = {"copy", "again", NULL};
    CHILD("written", SHOW(execv("copy", again)));
    close(copy);
    CHILD("closed", SHOW(execv("copy", again)));
    memset(many, 'x', MANY);
    many[200 << 10] = 0;
    char *long_one[] = {"copy", many, NULL};
    CHILD("long", SHOW(execv("copy", long_one)));
    char name[300];
    memset(name, 'n', 299);
    name[299] = 0;
    SHOW(open(name, O_RDONLY));
    SHOW(access(name, F_OK));
    SHOW(link("copy", name));
    SHOW(truncate(mkfifo("fifo", 0600) ? "" : "fifo", 0));
}
