/* Users, owners and modes of the instance's own: a folder that can be changed is the first word. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUST(what) do { if (!(what)) { printf("line %d: %s: %s\n", __LINE__, #what, strerror(errno)); exit(1); } } while (0)
#define FAILS(call, error) do { errno = 0; MUST((long)(call) == -1 && errno == (error)); } while (0)

static unsigned mode_of(const char *path) {
    struct stat found;
    MUST(lstat(path, &found) == 0);
    return found.st_mode & 07777;
}

static void modes(void) {
    umask(027);
    int f = open("f", O_CREAT | O_RDWR, 0666);
    MUST(f >= 0 && mode_of("f") == 0640);
    MUST(open("f", O_CREAT | O_RDWR, 0600) >= 0 && mode_of("f") == 0640);
    MUST(mkdir("d", 0777) == 0 && mode_of("d") == 0750);
    umask(022);
    MUST(open("e", O_CREAT | O_EXCL | O_RDWR, 0666) >= 0 && mode_of("e") == 0644);
    MUST(chmod("f", 04755) == 0 && mode_of("f") == 04755);
    /* The C library does this by way of /proc/self/fd. */
    MUST(fchmodat(AT_FDCWD, "f", 0640, AT_SYMLINK_NOFOLLOW) == 0 && mode_of("f") == 0640);
    MUST(fchmod(f, 0600) == 0 && mode_of("f") == 0600);
    MUST(rename("f", "g") == 0 && mode_of("g") == 0600);
    MUST(link("g", "h") == 0 && mode_of("h") == 0600);
    MUST(unlink("g") == 0 && unlink("h") == 0);
    MUST(open("f", O_CREAT | O_RDWR, 0664) >= 0 && mode_of("f") == 0644);
    FAILS(execl("./f", "f", NULL), EACCES);
    FAILS(access("f", X_OK), EACCES);
}

/* Nobody, who is held to owners and modes. */
static void nobody(void) {
    struct stat found;
    MUST(setgroups(0, NULL) == 0 && setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
    FAILS(setuid(0), EPERM);
    FAILS(setgid(0), EPERM);
    FAILS(setgroups(0, NULL), EPERM);
    FAILS(open("f", O_RDWR), EACCES);
    MUST(open("f", O_RDONLY) >= 0);
    FAILS(open("d/x", O_RDONLY), EACCES);
    FAILS(chdir("d"), EACCES);
    FAILS(open("new", O_CREAT | O_RDWR, 0600), EACCES);
    FAILS(mkdir("new", 0700), EACCES);
    FAILS(unlink("f"), EACCES);
    FAILS(rename("f", "g"), EACCES);
    FAILS(chmod("f", 0777), EPERM);
    FAILS(chown("f", 65534, -1), EPERM);
    FAILS(truncate("f", 0), EACCES);
    FAILS(utimensat(AT_FDCWD, "f", NULL, 0), EACCES);
    FAILS(kill(getppid(), SIGTERM), EPERM);
    MUST(open("all/mine", O_CREAT | O_RDWR, 0600) >= 0);
    MUST(stat("all/mine", &found) == 0 && found.st_uid == 65534 && found.st_gid == 65534);
    MUST(chmod("all/mine", 0) == 0);
    FAILS(open("all/mine", O_RDONLY), EACCES);
    FAILS(unlink("all/root"), EPERM);
    MUST(unlink("all/mine") == 0);
    /* What is asked about is what is changed, whoever exchanges the names meanwhile. */
    MUST(open("all/own", O_CREAT | O_RDWR, 0600) >= 0 && symlink("own", "all/link") == 0);
    pid_t exchanging = fork();
    while (exchanging == 0) {
        for (int which = 0; which < 2; which++) {
            symlink(which ? "own" : "../f", "all/next");
            rename("all/next", "all/link");
        }
    }
    for (int round = 0; round < 1500; round++) chmod("all/link", 0777);
    MUST(kill(exchanging, SIGKILL) == 0 && waitpid(exchanging, NULL, 0) == exchanging);
    MUST(mode_of("f") == 0644);
}

int main(int count, char **words) {
    MUST(count == 2 && chdir(words[1]) == 0);
    modes();
    if (geteuid() != 0) {
        puts("ok, as somebody who cannot become another");
        return 0;
    }
    struct stat found;
    int status;
    MUST(chown("f", 1000, 2000) == 0 && stat("f", &found) == 0 && found.st_uid == 1000 && found.st_gid == 2000);
    MUST(chown("f", -1, 0) == 0 && stat("f", &found) == 0 && found.st_uid == 1000 && found.st_gid == 0);
    MUST(chmod("f", 06755) == 0 && chown("f", 0, 0) == 0 && mode_of("f") == 0755);
    MUST(chmod("f", 0644) == 0 && chmod(".", 0755) == 0 && chmod("d", 0700) == 0);
    MUST(mkdir("all", 0777) == 0 && chmod("all", 01777) == 0 && open("all/root", O_CREAT | O_RDWR, 0666) >= 0);
    pid_t child = fork();
    if (child == 0) {
        nobody();
        exit(7);
    }
    MUST(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    MUST(setresuid(-1, 65534, 0) == 0);
    FAILS(open("f", O_RDWR), EACCES);
    FAILS(access("d/x", R_OK), ENOENT);
    MUST(setresuid(-1, 0, -1) == 0 && open("f", O_RDWR) >= 0);
    puts("ok");
    return 0;
}
