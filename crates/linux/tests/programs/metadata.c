/* What can be done to files beside reading and writing them. Prints each attempt that works. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>

static void did(const char *what, long result) {
    if (result >= 0) printf("%s\n", what);
}

/* Files with set-user-id bits in a folder that can be written. */
static void set_id(void) {
    int fd = open("/data/plain", O_CREAT | O_RDWR, 0755);
    did("made plain", fd);
    did("mode 0700", fchmod(fd, 0700));
    did("fchmod", fchmod(fd, 04755));
    did("fchmod group", fchmod(fd, 02755));
    did("chmod", chmod("/data/plain", 04755));
    did("fchmodat", fchmodat(AT_FDCWD, "/data/plain", 06755, 0));
    did("fchmodat2", syscall(452, AT_FDCWD, "/data/plain", 04755, 0));
    did("open", open("/data/opened", O_CREAT | O_WRONLY, 04755));
    did("openat", openat(AT_FDCWD, "/data/opened-at", O_CREAT | O_WRONLY, 04755));
    did("creat", syscall(SYS_openat, AT_FDCWD, "/data/created", O_CREAT | O_TRUNC | O_WRONLY, 02755));
    int unnamed = open("/data", O_TMPFILE | O_WRONLY, 04755);
    did("unnamed", unnamed);
    struct open_how how = {.flags = O_CREAT | O_WRONLY, .mode = 04755};
    did("openat2", syscall(SYS_openat2, AT_FDCWD, "/data/opened-2", &how, sizeof how));
    did("mknod", mknod("/data/node", S_IFREG | 04755, 0));
    did("reading with a mode that counts for nothing", open("/data/plain", O_RDONLY, 04755));
}

/* What is done to descriptor 0, which is a file of somebody else's. */
static void stream(void) {
    struct timespec times[2] = {{1, 0}, {1, 0}};
    int flags = FS_NODUMP_FL | FS_NOATIME_FL, version = 1234;
    did("fchmod", fchmod(0, 0777));
    did("fchown", fchown(0, geteuid(), getegid()));
    did("futimens", futimens(0, times));
    did("chmod by its link", chmod("/proc/self/fd/0", 0777));
    did("fsetxattr", fsetxattr(0, "user.x", "y", 1, 0));
    did("setflags", ioctl(0, FS_IOC_SETFLAGS, &flags));
    did("setversion", ioctl(0, _IOW('v', 2, long), &version));
    struct fsxattr attributes = {0};
    did("fssetxattr", ioctl(0, FS_IOC_FSSETXATTR, &attributes));
    did("lease", fcntl(0, F_SETLEASE, F_RDLCK));
    did("reopened", open("/proc/self/fd/0", O_WRONLY));
    did("truncated", ftruncate(0, 0));
    did("entered", fchdir(0));
}

/* The same for a file that may be read only. */
static void look(const char *path) {
    int fd = open(path, O_RDONLY), flags = FS_NODUMP_FL, found = 0;
    did("opened", fd);
    did("flags seen", ioctl(fd, FS_IOC_GETFLAGS, &found));
    did("setflags", ioctl(fd, FS_IOC_SETFLAGS, &flags));
    did("lease", fcntl(fd, F_SETLEASE, F_RDLCK));
    did("notify", fcntl(open("/data", O_RDONLY), F_NOTIFY, DN_ACCESS));
    did("exclusive", ioctl(0, TIOCEXCL));
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    if (strcmp(argv[1], "set-id") == 0) set_id();
    else if (strcmp(argv[1], "stream") == 0) stream();
    else if (strcmp(argv[1], "look") == 0) look(argv[2]);
    else return 2;
    return 0;
}
