/* inode(7), the set-group-ID bit; chmod(2), chown(2). Who is not user 0 has nothing to show. */
#include "show.h"
static void stand(const char *name) {
    struct stat found;
    if (lstat(name, &found)) printf("%s: %s\n", name, strerrorname_np(errno));
    else printf("%s: %o %d:%d\n", name, found.st_mode, found.st_uid, found.st_gid);
}
static void as_nobody(void) {
    MUST(setgid(65534) == 0 && setuid(65534) == 0);
    close(open("shared/theirs", O_CREAT | O_WRONLY, 0777));
    int file = open("shared/runs", O_CREAT | O_WRONLY, 02775);
    stand("shared/theirs");
    stand("shared/runs");
    SHOW(chmod("shared/theirs", 02755));
    stand("shared/theirs");
    SHOW(chown("guarded", -1, -1));
    SHOW(mkdir("shared", 0700));
    SHOW(mkdir("other", 0700));
    SHOW(symlink("x", "guarded"));
    SHOW(mkfifo("guarded", 0600));
    SHOW(link("shared/theirs", "guarded"));
    SHOW(open("guarded", O_CREAT | O_EXCL | O_WRONLY, 0600));
    SHOW(open("other", O_CREAT | O_EXCL | O_WRONLY, 0600));
    SHOW(open("guarded", O_CREAT | O_WRONLY, 0600));
    SHOW(chdir("closed"));
    SHOW(open("closed/in", O_RDONLY));
    int closed = open("closed", O_PATH);
    SHOW(closed < 0 ? -1 : fchdir(closed));
    char *words[] = {"in", NULL};
    SHOW(execv("closed/in", words));
}
int main(void) {
    umask(0);
    if (geteuid() != 0 || chmod(".", 0755)) return 0;
    MUST(mkdir("shared", 0777) == 0 && chown("shared", 0, 777) == 0 && chmod("shared", 02777) == 0);
    SHOW(mkdir("shared/folder", 0755));
    close(open("shared/file", O_CREAT | O_WRONLY, 0644));
    SHOW(symlink("x", "shared/link"));
    SHOW(mkfifo("shared/fifo", 0644));
    stand("shared/folder");
    stand("shared/file");
    stand("shared/link");
    stand("shared/fifo");
    SHOW(mkdir("plain", 07777));
    stand("plain");
    close(open("guarded", O_CREAT | O_WRONLY, 0755));
    SHOW(chmod("guarded", 06755));
    SHOW(chown("guarded", -1, -1));
    stand("guarded");
    SHOW(chmod("guarded", 06755));
    MUST(mkdir("closed", 0700) == 0);
    close(open("closed/in", O_CREAT | O_WRONLY, 0755));
    CHILD("nobody", as_nobody());
}
