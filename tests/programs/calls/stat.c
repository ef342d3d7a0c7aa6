/* stat(2), statx(2), access(2), chmod(2), umask(2) */
#include "show.h"
#include <sys/sysmacros.h>
static void mode(const char *path) {
    struct stat st;
    if (lstat(path, &st)) { printf("%s: %s\n", path, strerrorname_np(errno)); return; }
    printf("%s: %o size %ld links %ld\n", path, st.st_mode, S_ISDIR(st.st_mode) ? 0 : (long)st.st_size,
           S_ISDIR(st.st_mode) ? 0 : (long)st.st_nlink);
}
int main(void) {
    struct stat st;
    struct statx sx;
    SHOW(umask(027));
    int f = open("f", O_RDWR | O_CREAT, 0666);
    SHOW(mkdir("d", 0777));
    SHOW(umask(022));
    mode("f");
    mode("d");
    SHOW(write(f, "12345", 5));
    SHOW(link("f", "g"));
    SHOW(symlink("f", "s"));
    mode("g");
    mode("s");
    SHOW(chmod("s", 0751));
    mode("f");
    SHOW(fchmod(f, 0600));
    mode("g");
    SHOW(chmod("nothing", 0600));
    SHOW(stat("f/g", &st));
    SHOW(stat("f", NOWHERE));
    SHOW(stat(NOWHERE, &st));
    SHOW(fstat(88, &st));
    SHOW(statx(AT_FDCWD, "s", 0, STATX_BASIC_STATS, &sx));
    SHOW(sx.stx_mode);
    SHOW(sx.stx_size);
    SHOW(sx.stx_nlink);
    SHOW((sx.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
    SHOW(statx(AT_FDCWD, "s", AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &sx));
    SHOW(sx.stx_mode);
    SHOW(statx(f, "", AT_EMPTY_PATH, STATX_SIZE, &sx));
    SHOW(statx(f, "", 0, STATX_SIZE, &sx));
    SHOW(statx(AT_FDCWD, "f", 0x8000000, STATX_SIZE, &sx));
    SHOW(statx(AT_FDCWD, "f", 0, 0x80000000, &sx));
    SHOW(statx(AT_FDCWD, "f", 0, STATX_SIZE, NOWHERE));
    SHOW(access("f", F_OK));
    SHOW(access("f", R_OK | W_OK));
    SHOW(access("d", X_OK));
    SHOW(access("f", 1 << 8));
    SHOW(stat("/dev/null", &st));
    SHOW(S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
    int ends[2];
    MUST(pipe(ends) == 0);
    SHOW(fstat(ends[0], &st));
    SHOW(S_ISFIFO(st.st_mode));
    SHOW(unlink("g"));
    mode("f");
    SHOW(unlink("f"));
    SHOW(fstat(f, &st));
    SHOW(st.st_nlink);
    SHOW(st.st_size);
    char buffer[8];
    SHOW(pread(f, buffer, 8, 1));
}
