/* read(2), pread(2), readv(2), preadv2(2), lseek(2) */
#include "show.h"
static int ftrunc(int file) {
    return ftruncate(file, 1 << 20) || pwrite(file, "x", 1, 16384) != 1 ? -1 : 0;
}
int main(void) {
    int f = open("f", O_RDWR | O_CREAT, 0600), r = open("f", O_RDONLY), w = open("f", O_WRONLY);
    char a[16] = {0}, b[16] = {0};
    struct iovec parts[3] = {{"one", 3}, {"", 0}, {"three", 5}}, into[2] = {{a, 4}, {b, 16}}, wrong[2] = {{a, 4}, {NOWHERE, 4}};
    SHOW(writev(f, parts, 3));
    SHOW(writev(f, parts, -1));
    SHOW(writev(f, parts, 2000));
    SHOW(writev(f, NOWHERE, 1));
    SHOW(writev(f, (struct iovec[]){{a, -1}}, 1));
    SHOW(writev(f, parts, 0));
    SHOW(read(w, a, 1));
    SHOW(write(r, a, 1));
    SHOW(readv(r, into, 2));
    printf("%s %s\n", a, b);
    SHOW(lseek(r, 0, SEEK_SET));
    SHOW(readv(r, wrong, 2));
    SHOW(lseek(r, 0, SEEK_CUR));
    SHOW(read(r, NOWHERE, 2));
    SHOW(read(r, NOWHERE, 0));
    SHOW(pread(r, a, 4, 5));
    SHOW(pread(r, a, 4, 500));
    SHOW(pread(r, a, 4, -1));
    SHOW(pwrite(f, "END", 3, 10));
    SHOW(pwrite(f, "END", 3, -1));
    SHOW(lseek(f, 0, SEEK_END));
    SHOW(lseek(f, -100, SEEK_CUR));
    SHOW(lseek(f, 5, 99));
    SHOW(lseek(f, 100, SEEK_END));
    SHOW(read(f, a, 1));
    SHOW(lseek(f, 500, SEEK_DATA));
    SHOW(lseek(f, 2, SEEK_DATA));
    SHOW(preadv(f, into, 2, 3));
    SHOW(preadv2(f, into, 2, 1, 0));
    SHOW(preadv2(f, into, 1, -1, 0));
    SHOW(preadv2(f, into, 2, 0, 0x4000));
    SHOW(pwritev2(f, parts, 1, 0, RWF_DSYNC));
    SHOW(pwritev2(f, parts, 3, 0, RWF_APPEND));
    SHOW(lseek(f, 0, SEEK_END));
    SHOW(pwritev(f, parts, 3, -5));
    SHOW(lseek(99, 0, SEEK_SET));
    SHOW(fsync(f));
    SHOW(fsync(99));
    SHOW(fdatasync(f));
    SHOW(posix_fadvise(f, 0, 10, POSIX_FADV_DONTNEED));
    SHOW(posix_fadvise(f, 0, 10, 99));
    SHOW(syscall(SYS_readahead, f, 0L, 10));
    SHOW(sync_file_range(f, 0, 10, SYNC_FILE_RANGE_WRITE));
    SHOW(sync_file_range(f, 0, 10, 99));
    int z = open("/dev/zero", O_RDWR), n = open("/dev/null", O_RDWR), full = open("/dev/full", O_RDWR);
    SHOW(read(z, a, 16));
    SHOW(a[3]);
    SHOW(read(n, a, 16));
    SHOW(write(n, a, 16));
    SHOW(write(full, a, 1));
    SHOW(lseek(n, 5, SEEK_SET));

    /* A file with holes; on some file systems it is all data. */
    int holes = open("holes", O_RDWR | O_CREAT, 0600);
    MUST(ftrunc(holes) == 0);
    SHOW(lseek(holes, 1 << 20, SEEK_DATA));
    SHOW(lseek(holes, 1 << 20, SEEK_HOLE));
    SHOW(lseek(holes, -1, SEEK_HOLE));
    SHOW(lseek(holes, 16384, SEEK_DATA) >= 16384);
    SHOW(lseek(holes, 16384 + 5, SEEK_DATA));
}
