/* Where a path leads: steps up behind links, links of /proc on the way, slashes at the end. path_resolution(7) */
#include "show.h"
#include <sys/syscall.h>
static char top[PATH_MAX];
static void put(const char *name, int size) {
    int file = open(name, O_CREAT | O_WRONLY, 0644);
    MUST(file >= 0 && ftruncate(file, size) == 0);
    close(file);
}
static void size(const char *path) {
    struct stat found;
    int answer = stat(path, &found);
    printf("%s: %s %ld\n", path[0] == '/' ? "absolute" : path, answer ? strerrorname_np(errno) : "ok", answer ? 0L : S_ISREG(found.st_mode) ? (long)found.st_size : -1L);
}
static int file_of(const char *path) {
    int file = open(path, O_RDONLY);
    MUST(file >= 0);
    return file;
}
/* The current folder, seen from where it all began. */
static void here(const char *what) {
    char now[PATH_MAX];
    MUST(getcwd(now, sizeof now));
    printf("%s: %s\n", what, strncmp(now, top, strlen(top)) ? "elsewhere" : now + strlen(top));
}
int main(int count, char **arguments) {
    (void)count, (void)arguments;
    MUST(getcwd(top, sizeof top));
    MUST(mkdir("a", 0755) == 0 && mkdir("a/b", 0755) == 0 && mkdir("a/b/c", 0755) == 0);
    put("file", 1), put("a/file", 2), put("a/b/file", 3), put("a/b/c/file", 4);
    MUST(symlink("a/b", "link") == 0 && symlink("a/b/c/file", "to_file") == 0 && symlink("nothing", "dangling") == 0);
    size("link/file"), size("link/../file"), size("link/../../file"), size("link/c/../../file"), size("link/..");
    size("missing/../file"), size("file/../file"), size("dangling/../file"), size("./a/./b/../file"), size("to_file/..");
    size("link/"), size("link/."), size("to_file/"), size("file/."), size("dangling/");
    char path[2 * PATH_MAX];
    const char *through[] = {"/usr/..", "/etc/..", "/proc/..", "/tmp/..", "/usr/bin/../..", "/proc/self/.."};
    for (int i = 0; i < 6; i++) {
        snprintf(path, sizeof path, "%s%s/file", through[i], top);
        size(path);
    }
    SHOW(unlink("link/../file"));
    size("file"), size("a/file");
    SHOW(mkdir("link/../new", 0755));
    SHOW(access("a/new", F_OK));
    SHOW(rename("link/../new", "link/../newer"));
    SHOW(access("a/newer", F_OK));
    SHOW(rmdir("link/../newer"));
    struct stat found;
    SHOW(lstat("link", &found) == 0 && S_ISLNK(found.st_mode));
    SHOW(lstat("link/", &found) == 0 && S_ISDIR(found.st_mode));
    SHOW(lstat("link/.", &found) == 0 && S_ISDIR(found.st_mode));
    char said[64];
    SHOW(readlink("link", said, sizeof said));
    SHOW(readlink("link/", said, sizeof said));
    SHOW(readlink("link/.", said, sizeof said));
    SHOW(open("link", O_RDONLY | O_NOFOLLOW));
    SHOW(close(open("link/", O_RDONLY | O_NOFOLLOW | O_DIRECTORY)));
    SHOW(unlink("link/"));
    SHOW(unlink("link/."));
    SHOW(unlink("link/.."));
    SHOW(rmdir("link/"));
    SHOW(rmdir("link/."));
    SHOW(rmdir("a/b/.."));
    SHOW(lstat("link", &found));
    /* Who goes through a link is where it leads. */
    MUST(chdir("link") == 0);
    here("through a link");
    MUST(chdir("..") == 0);
    here("and up");
    MUST(chdir("../link/../b/c") == 0);
    here("by steps");
    size("../file"), size("../../../to_file");
    MUST(chdir(top) == 0);
    int folder = open("link", O_RDONLY | O_DIRECTORY);
    MUST(fchdir(folder) == 0);
    size("../b/file");
    MUST(chdir(top) == 0);
    /* From the top, no folder is asked for. */
    SHOW(faccessat(99, "/usr/../usr/bin", F_OK, 0));
    SHOW(faccessat(99, "usr/../usr/bin", F_OK, 0));
    SHOW(faccessat(file_of("file"), "/usr/../usr/bin", F_OK, 0));
    SHOW(faccessat(file_of("file"), "../file", F_OK, 0));
    /* Links of /proc lead on. */
    snprintf(path, sizeof path, "/proc/self/fd/%d/c/file", folder);
    size(path);
    snprintf(path, sizeof path, "/proc/self/fd/%d/../../to_file", folder);
    size(path);
    snprintf(path, sizeof path, "/dev/fd/%d/file", folder);
    size(path);
    size("/proc/self/cwd/to_file");
    snprintf(path, sizeof path, "/proc/self/root%s/to_file", top);
    size(path);
    int file = open("to_file", O_RDONLY);
    snprintf(path, sizeof path, "/proc/self/fd/%d/x", file);
    size(path);
    SHOW(open("/proc/self/cwd/new", O_CREAT | O_WRONLY, 0600) >= 0);
    SHOW(access("new", F_OK));
    /* A program is found by its descriptor, also when its name is another's. */
    char buffer[65536];
    int from = open("/bin/true", O_RDONLY), to = open("program", O_CREAT | O_WRONLY, 0755);
    ssize_t bytes;
    while ((bytes = read(from, buffer, sizeof buffer)) > 0) MUST(write(to, buffer, bytes) == bytes);
    close(to);
    int program = open("program", O_RDONLY | O_CLOEXEC);
    MUST(rename("program", "moved") == 0);
    CHILD("moved", fexecve(program, (char *[]){"true", NULL}, environ));
    put("program", 0), chmod("program", 0755);
    CHILD("replaced", fexecve(program, (char *[]){"true", NULL}, environ));
    MUST(unlink("moved") == 0 && unlink("program") == 0);
    CHILD("removed", fexecve(program, (char *[]){"true", NULL}, environ));
    MUST(symlink("/bin/true", "truth") == 0);
    CHILD("by a link", execv("truth", (char *[]){"truth", NULL}));
    /* What is not there in what nobody may change. */
    SHOW(mkdir("/usr/bin", 0755));
    SHOW(mkdir("/usr/no/such", 0755));
    SHOW(mkdir("/bin/true/such", 0755));
    SHOW(unlink("/usr/no/such"));
    SHOW(rename("/usr/no/such", "here"));
    SHOW(symlink("there", "/usr/no/such"));
    SHOW(open("/usr/no/such", O_CREAT | O_WRONLY, 0600));
}
