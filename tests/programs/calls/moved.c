/* rename(2): folders that somebody is in or has open, and names that change places; linkat(2): files without a name. */
#include "show.h"
static void where(const char *what) {
    char path[PATH_MAX], start[PATH_MAX];
    char *is = getcwd(path, sizeof path);
    printf("%s: %s\n", what, is ? strrchr(is, '/') : strerrorname_np(errno));
}
static void put(const char *name, const char *text) {
    int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    MUST(file >= 0 && write(file, text, strlen(text)) > 0);
    close(file);
}
static void get(const char *name) {
    char text[64] = "";
    int file = open(name, O_RDONLY);
    long count = file < 0 ? -1 : read(file, text, sizeof text - 1);
    printf("%s holds %s\n", name, count < 0 ? strerrorname_np(errno) : text);
    close(file);
}
int main(void) {
    MUST(mkdir("a", 0755) == 0 && mkdir("a/below", 0755) == 0);
    int top = open("a", O_RDONLY | O_DIRECTORY), below = open("a/below", O_PATH), start = open(".", O_RDONLY);
    SHOW(rename("a", "b"));
    SHOW(mkdirat(top, "made", 0755));
    SHOW(symlinkat("x", below, "link"));
    SHOW(access("b/made", F_OK));
    SHOW(unlinkat(below, "link", 0));
    SHOW(fchdir(below));
    where("below");
    SHOW(chdir(".."));
    where("above");
    SHOW(renameat(start, "b", start, "c"));
    where("moved");
    SHOW(access("made", F_OK));
    SHOW(rmdir("made"));
    SHOW(fchdir(start));
    MUST(mkdir("gone", 0755) == 0 && chdir("gone") == 0 && rmdir("../gone") == 0);
    where("removed");
    SHOW(fchdir(start));

    put("one", "1");
    MUST(mkdir("two", 0755) == 0);
    put("two/in", "2");
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "one", AT_FDCWD, "two", 2));
    get("two");
    get("one/in");
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "one", AT_FDCWD, "none", 2));
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "one", AT_FDCWD, "one/in", 2));
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "one", AT_FDCWD, "two", 3));
    SHOW(rename(".", "new"));
    SHOW(rename("one/.", "new"));
    SHOW(rename("one", "c/.."));
    SHOW(rename("two", "new/"));

    int nameless = open(".", O_TMPFILE | O_RDWR, 0600);
    struct stat found;
    if (nameless >= 0) { /* Not every file system has it. */
        MUST(write(nameless, "late", 4) == 4 && fstat(nameless, &found) == 0 && found.st_nlink == 0);
        char path[64];
        sprintf(path, "/proc/self/fd/%d", nameless);
        MUST(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW) == 0);
        MUST(fstat(nameless, &found) == 0 && found.st_nlink == 1);
        int never = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600);
        sprintf(path, "/proc/self/fd/%d", never);
        MUST(linkat(AT_FDCWD, path, AT_FDCWD, "never", AT_SYMLINK_FOLLOW) == -1 && errno == ENOENT);
    } else {
        put("named", "late");
    }
    get("named");
    SHOW(linkat(start, "", AT_FDCWD, "again", 0));
}
