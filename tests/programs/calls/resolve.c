/* openat2(2): how a path is walked. */
#include "show.h"
#define SYS_OPENAT2 437
enum { NO_XDEV = 1, NO_MAGICLINKS = 2, NO_SYMLINKS = 4, BENEATH = 8, IN_ROOT = 16 };
struct how { uint64_t flags, mode, resolve; };
static const char *names[] = {"any", "no xdev", "no magic links", "no links", "beneath", "in root"};
static const uint64_t rules[] = {0, NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH, IN_ROOT};
static int folder;
static void all(const char *path, int flags) {
    for (int rule = 0; rule < 6; rule++) {
        struct how how = {.flags = flags, .resolve = rules[rule], .mode = flags & O_CREAT ? 0600 : 0};
        int file = syscall(SYS_OPENAT2, folder, path, &how, sizeof how);
        struct stat found = {0};
        if (file >= 0) fstat(file, &found);
        printf("%s, %s: %s %o %ld\n", path, names[rule], file < 0 ? strerrorname_np(errno) : "ok", found.st_mode & S_IFMT,
               S_ISREG(found.st_mode) ? (long)found.st_size : 0);
        close(file);
    }
}
static void put(const char *name, int size) {
    int file = open(name, O_CREAT | O_WRONLY, 0644);
    MUST(file >= 0 && ftruncate(file, size) == 0);
    close(file);
}
int main(void) {
    MUST(mkdir("top", 0755) == 0 && mkdir("top/in", 0755) == 0);
    put("outside", 1);
    put("top/file", 2);
    put("top/in/file", 3);
    MUST(symlink("in/file", "top/near") == 0 && symlink("../outside", "top/out") == 0 && symlink("/file", "top/far") == 0);
    MUST(symlink("in", "top/folder") == 0 && symlink("round", "top/round") == 0 && symlink("../in", "top/in/back") == 0);
    folder = open("top", O_PATH | O_DIRECTORY);
    MUST(folder >= 0);
    all("file", O_RDONLY);
    all("in/../in/file", O_RDONLY);
    all("near", O_RDONLY);
    all("folder/file", O_RDONLY);
    all("in/back/file", O_RDONLY);
    all("out", O_RDONLY);
    all("../outside", O_RDONLY);
    all("in/../../outside", O_RDONLY);
    all("round", O_RDONLY);
    all("none/file", O_RDONLY);
    all("file/in", O_RDONLY);
    all("near", O_RDONLY | O_NOFOLLOW);
    all("new", O_RDWR | O_CREAT);
    all("in/", O_RDONLY);
    all("file/", O_RDONLY);
    all("file/.", O_RDONLY);
    all("near/", O_RDONLY);
    all("folder/", O_RDONLY | O_NOFOLLOW);
    all("none/", O_RDONLY);
    all("none/", O_RDWR | O_CREAT);
    all("in/", O_RDWR | O_CREAT);
    MUST(symlink("nothing", "top/dangling") == 0);
    all("dangling", O_RDWR | O_CREAT | O_EXCL);
    all("dangling", O_RDONLY);
    struct how how = {.flags = O_RDONLY, .resolve = IN_ROOT};
    SHOW(close(syscall(SYS_OPENAT2, folder, "/in/file", &how, sizeof how)));
    SHOW(close(syscall(SYS_OPENAT2, folder, "far", &how, sizeof how)));
    SHOW(close(syscall(SYS_OPENAT2, folder, "../../file", &how, sizeof how)));
    SHOW(syscall(SYS_OPENAT2, folder, "/proc/version", &how, sizeof how));
    how.resolve = BENEATH;
    SHOW(syscall(SYS_OPENAT2, folder, "/in/file", &how, sizeof how));
    SHOW(syscall(SYS_OPENAT2, folder, "far", &how, sizeof how));
    how.resolve = NO_XDEV;
    SHOW(syscall(SYS_OPENAT2, folder, "/proc/version", &how, sizeof how));
    how.resolve = NO_MAGICLINKS;
    SHOW(syscall(SYS_OPENAT2, folder, "/proc/self/exe", &how, sizeof how));
    SHOW(close(syscall(SYS_OPENAT2, folder, "/proc/version", &how, sizeof how)));
    how.resolve = BENEATH | IN_ROOT;
    SHOW(syscall(SYS_OPENAT2, folder, "file", &how, sizeof how));
    how.resolve = 0x40;
    SHOW(syscall(SYS_OPENAT2, folder, "file", &how, sizeof how));
    how.resolve = 0, how.flags = 1ull << 31;
    SHOW(syscall(SYS_OPENAT2, folder, "file", &how, sizeof how));
}
