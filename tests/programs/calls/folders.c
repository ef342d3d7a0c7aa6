/* chdir(2), getcwd(2), mkdir(2), rename(2), renameat2(2), link(2) */
#include "show.h"
static void put(const char *name, const char *text) {
    int f = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    MUST(f >= 0 && write(f, text, strlen(text)) == (long)strlen(text));
    close(f);
}
static void get(const char *name) {
    char text[64] = {0};
    int f = open(name, O_RDONLY);
    if (f < 0 || read(f, text, 63) < 0) printf("%s: %s\n", name, strerrorname_np(errno));
    else printf("%s: %s\n", name, text);
    if (f >= 0) close(f);
}
int main(void) {
    char where[512], small[2];
    MUST(getcwd(where, sizeof where));
    size_t base = strlen(where);
    SHOW(getcwd(small, 2) == NULL ? -1 : 0);
    SHOW(syscall(SYS_getcwd, NULL, 0));
    SHOW(mkdir("d", 0755));
    SHOW(mkdir("d", 0755));
    SHOW(mkdir("missing/d", 0755));
    SHOW(mkdir("", 0755));
    SHOW(chdir("d"));
    getcwd(where, sizeof where);
    puts(where + base);
    SHOW(chdir("missing"));
    put("file", "one");
    SHOW(chdir("file"));
    SHOW(mkdir("file/x", 0700));
    SHOW(chdir(".."));
    int d = open("d", O_RDONLY | O_DIRECTORY);
    SHOW(fchdir(d));
    SHOW(fchdir(99));
    int f = open("file", O_RDONLY);
    SHOW(fchdir(f));
    SHOW(chdir(".."));
    put("a", "first");
    put("b", "second");
    SHOW(rename("a", "b"));
    get("a");
    get("b");
    SHOW(rename("missing", "b"));
    SHOW(rename("b", "d"));
    SHOW(mkdir("e", 0755));
    SHOW(rename("e", "b"));
    SHOW(rename("e", "d"));
    SHOW(rename("d", "e"));
    SHOW(rename("e", "e/inner"));
    SHOW(rename("b", "b"));
    get("e/file");
    SHOW(mkdir("empty", 0700));
    SHOW(rename("e", "empty"));
    get("empty/file");
    put("a", "third");
    SHOW(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE));
    SHOW(renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_NOREPLACE));
    SHOW(renameat2(AT_FDCWD, "c", AT_FDCWD, "b", RENAME_NOREPLACE | RENAME_EXCHANGE));
    SHOW(renameat2(AT_FDCWD, "c", AT_FDCWD, "b", 99));
    get("c");
    SHOW(link("c", "h"));
    SHOW(link("c", "h"));
    SHOW(link("missing", "h2"));
    SHOW(link("empty", "h2"));
    SHOW(rename("c", "h"));
    get("c");
    SHOW(symlink("c", "s"));
    SHOW(link("s", "s2"));
    struct stat st;
    SHOW(lstat("s2", &st));
    SHOW(S_ISLNK(st.st_mode));
    SHOW(unlink("s"));
    SHOW(unlink("empty"));
    SHOW(unlink("missing"));
    SHOW(unlink("c/x"));
    SHOW(rmdir("empty"));
    SHOW(symlink("x", "s2"));
    SHOW(symlink("", "s3"));
    SHOW(readlink("c", where, 10));
    SHOW(readlink("s2", where, 10));
    SHOW(readlink("s2", where, 0));
    /* A folder that is gone. */
    SHOW(mkdir("gone", 0700));
    SHOW(chdir("gone"));
    SHOW(rmdir("../gone"));
    SHOW(open("x", O_CREAT | O_WRONLY, 0600));
}
