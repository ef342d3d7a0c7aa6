/* Looks for what enters the place: as soon as a process appears, tries to open its program, what it has open, its
 * folders and its memory, and says so when that leads to the file of this device and inode (the supervisor's program),
 * or anywhere at all in pid 1. Ends when a file appears. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned long long device, inode;
static unsigned long looked, leaks;

static void look(const char *path, int flags) {
    struct stat found;
    int descriptor = open(path, flags | O_CLOEXEC);
    if (descriptor < 0) return;
    if (fstat(descriptor, &found) == 0 && (unsigned long long)found.st_ino == inode && (unsigned long long)found.st_dev == device) {
        leaks++;
        printf("leak %s\n", path);
    }
    close(descriptor);
}

int main(int count, char **words) {
    if (count < 4) return 2;
    device = strtoull(words[1], 0, 10);
    inode = strtoull(words[2], 0, 10);
    puts("watching");
    fflush(stdout);
    while (access(words[3], F_OK) != 0) {
        DIR *all = opendir("/proc");
        if (!all) return 3;
        for (struct dirent *entry; (entry = readdir(all));) {
            int pid = atoi(entry->d_name);
            if (pid <= 0 || pid == getpid()) continue;
            char path[64];
            const char *names[] = {"exe", "cwd", "root", "fd/0", "fd/3", "fd/4", "fd/5", "fd/6", "fd/7", "fd/8", "mem", "maps"};
            for (unsigned name = 0; name < sizeof names / sizeof *names; name++) {
                snprintf(path, sizeof path, "/proc/%d/%s", pid, names[name]);
                /* Pid 1 is never anybody's to look into. */
                if (pid == 1) {
                    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
                    if (descriptor >= 0) {
                        leaks++;
                        printf("leak %s\n", path);
                        close(descriptor);
                    }
                    continue;
                }
                look(path, O_PATH);
                look(path, O_RDONLY | O_NONBLOCK);
                look(path, O_RDWR | O_NONBLOCK);
            }
            looked++;
        }
        closedir(all);
    }
    printf("over %s %lu\n", looked > 0 ? "looked" : "blind", leaks);
    return 0;
}
