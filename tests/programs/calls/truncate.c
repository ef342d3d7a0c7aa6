/* truncate(2), fallocate(2), copy_file_range(2), sendfile(2) */
#include "show.h"
#include <sys/sendfile.h>
static long size(int f) { struct stat st; return fstat(f, &st) ? -1 : st.st_size; }
int main(void) {
    int f = open("f", O_RDWR | O_CREAT, 0600), g = open("g", O_RDWR | O_CREAT, 0600), r = open("f", O_RDONLY);
    char a[64];
    SHOW(ftruncate(f, 10));
    SHOW(size(f));
    SHOW(read(f, a, 64));
    SHOW(a[0] + a[9]);
    SHOW(pwrite(f, "0123456789", 10, 0));
    SHOW(truncate("f", 4));
    SHOW(ftruncate(f, 8));
    SHOW(pread(f, a, 64, 0));
    SHOW(a[3] * 1000 + a[4]);
    SHOW(ftruncate(f, -1));
    SHOW(ftruncate(r, 1));
    SHOW(ftruncate(99, 1));
    SHOW(truncate("missing", 1));
    SHOW(truncate(".", 1));
    SHOW(truncate("f", -1));
    SHOW(fallocate(f, 0, 0, 20));
    SHOW(size(f));
    SHOW(fallocate(f, FALLOC_FL_KEEP_SIZE, 0, 100));
    SHOW(size(f));
    SHOW(fallocate(f, 0, -1, 20));
    SHOW(fallocate(f, 0, 0, 0));
    SHOW(fallocate(r, 0, 0, 20));
    SHOW(posix_fallocate(f, 0, 30));
    SHOW(size(f));
    SHOW(pwrite(f, "copied content", 14, 0));
    loff_t from = 7, to = 2;
    SHOW(copy_file_range(f, &from, g, &to, 7, 0));
    SHOW(from * 100 + to);
    SHOW(pread(g, a, 64, 0));
    printf("%.7s\n", a + 2);
    SHOW(copy_file_range(f, &from, g, &to, 7, 1));
    SHOW(copy_file_range(f, NULL, r, NULL, 7, 0));
    SHOW(copy_file_range(99, NULL, g, NULL, 7, 0));
    off_t at = 0;
    int ends[2];
    MUST(pipe(ends) == 0);
    SHOW(sendfile(ends[1], f, &at, 6));
    SHOW(at);
    SHOW(read(ends[0], a, 64));
    SHOW(lseek(f, 7, SEEK_SET));
    SHOW(sendfile(ends[1], f, NULL, 7));
    SHOW(lseek(f, 0, SEEK_CUR));
    SHOW(read(ends[0], a, 64));
    printf("%.7s\n", a);
    SHOW(sendfile(ends[1], ends[0], NULL, 7));
    SHOW(sendfile(r, f, NULL, 7));
    SHOW(sendfile(99, f, NULL, 7));
    SHOW(sendfile(ends[1], f, NOWHERE, 7));
}
