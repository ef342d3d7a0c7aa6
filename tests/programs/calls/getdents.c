/* getdents64(2), readdir(3), rmdir(2) */
#include "show.h"
#include <dirent.h>
static int order(const void *one, const void *other) { return strcmp(*(char **)one, *(char **)other); }
static void list(DIR *folder) {
    char *names[64];
    int count = 0;
    for (struct dirent *entry; (entry = readdir(folder)) && count < 64;) {
        char *text = malloc(300);
        snprintf(text, 300, "%s %d", entry->d_name, entry->d_type);
        names[count++] = text;
    }
    qsort(names, count, sizeof *names, order);
    for (int i = 0; i < count; i++) puts(names[i]);
}
int main(void) {
    char buffer[4096], name[16];
    SHOW(mkdir("d", 0755));
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "d/file%02d", i);
        close(open(name, O_CREAT | O_WRONLY, 0600));
    }
    SHOW(mkdir("d/sub", 0700));
    SHOW(symlink("nothing", "d/link"));
    int d = open("d", O_RDONLY | O_DIRECTORY), f = open("d/file00", O_RDONLY);
    SHOW(syscall(SYS_getdents64, d, buffer, 8));
    SHOW(syscall(SYS_getdents64, d, NOWHERE, 4096));
    SHOW(syscall(SYS_getdents64, f, buffer, sizeof buffer));
    SHOW(syscall(SYS_getdents64, 99, buffer, sizeof buffer));
    DIR *folder = fdopendir(d);
    list(folder);
    rewinddir(folder);
    list(folder);
    SHOW(rmdir("d"));
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "d/file%02d", i);
        unlink(name);
    }
    rewinddir(folder);
    list(folder);
    SHOW(rmdir("d/sub"));
    SHOW(unlink("d/link"));
    SHOW(rmdir("d/file00"));
    SHOW(rmdir("d"));
    SHOW(rmdir("d"));
    SHOW(syscall(SYS_getdents64, d, buffer, sizeof buffer));
    SHOW(unlink("."));
    SHOW(rmdir("."));
}
