/* inotify(7) */
#include "show.h"
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
static int in;
static void tell(const char *after) {
    char buffer[8192] __attribute__((aligned(8)));
    printf("%s:\n", after);
    uint32_t cookie = 0;
    for (;;) {
        ssize_t n = read(in, buffer, sizeof buffer);
        if (n < 0) { if (errno != EAGAIN) printf("  %s\n", strerrorname_np(errno)); return; }
        for (char *at = buffer; at < buffer + n; at += sizeof(struct inotify_event) + ((struct inotify_event *)at)->len) {
            struct inotify_event *e = (void *)at;
            printf("  %d %#x %s length %u%s\n", e->wd, e->mask, e->len ? e->name : "-", e->len, !e->cookie ? "" : e->cookie == cookie ? " the same" : " new");
            cookie = e->cookie;
        }
    }
}
int main(void) {
    SHOW(inotify_init1(0x10));
    in = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    SHOW(fcntl(in, F_GETFD));
    SHOW(fcntl(in, F_GETFL) & O_NONBLOCK);
    char small[8];
    SHOW(read(in, small, sizeof small));
    SHOW(write(in, small, 1));
    SHOW(mkdir("d", 0700));
    int f = open("d/f", O_CREAT | O_RDWR, 0600);
    close(f);
    SHOW(inotify_add_watch(in, "d", IN_ALL_EVENTS));
    SHOW(inotify_add_watch(in, "d", IN_ALL_EVENTS));
    SHOW(inotify_add_watch(in, "d/f", IN_ALL_EVENTS));
    SHOW(inotify_add_watch(in, "d", IN_ALL_EVENTS | IN_MASK_CREATE));
    SHOW(inotify_add_watch(in, "d/f", IN_ALL_EVENTS | IN_ONLYDIR));
    SHOW(inotify_add_watch(in, "missing", IN_ALL_EVENTS));
    SHOW(inotify_add_watch(in, "d", IN_ONLYDIR));
    SHOW(inotify_add_watch(in, "d", IN_ALL_EVENTS));
    SHOW(inotify_add_watch(in, "d", IN_MASK_ADD | IN_MASK_CREATE | IN_OPEN));
    SHOW(syscall(SYS_inotify_add_watch, in, "d", 0));
    SHOW(inotify_rm_watch(in, 99));
    SHOW(inotify_rm_watch(0, 1));
    f = open("d/f", O_RDWR);
    tell("opened");
    MUST(write(f, "0123456789", 10) == 10);
    MUST(write(f, "0123456789", 10) == 10);
    tell("written twice");
    lseek(f, 0, SEEK_SET);
    char buffer[64];
    SHOW(read(f, buffer, 10));
    SHOW(read(f, buffer, 64));
    SHOW(read(f, buffer, 64));
    tell("read");
    SHOW(ftruncate(f, 5));
    SHOW(fchmod(f, 0640));
    tell("cut and changed");
    int pending = -1;
    SHOW(ioctl(in, FIONREAD, &pending)); printf("%d\n", pending);
    close(f);
    SHOW(ioctl(in, FIONREAD, &pending)); printf("%d\n", pending);
    struct pollfd p = { in, POLLIN, 0 };
    SHOW(poll(&p, 1, 0)); printf("%#x\n", p.revents);
    SHOW(read(in, small, sizeof small));
    tell("closed");
    SHOW(poll(&p, 1, 0));
    close(open("d/new", O_CREAT | O_WRONLY, 0600));
    tell("made");
    close(open("d/new", O_CREAT | O_TRUNC | O_WRONLY, 0600));
    tell("made again");
    SHOW(mkdir("d/sub", 0700));
    SHOW(symlink("f", "d/link"));
    SHOW(link("d/f", "d/hard"));
    tell("names");
    SHOW(chmod("d", 0755));
    SHOW(chmod("d/sub", 0755));
    SHOW(truncate("d/new", 3));
    SHOW(utimensat(AT_FDCWD, "d/f", NULL, 0));
    tell("changed");
    int s = open("d/sub", O_RDONLY | O_DIRECTORY);
    char entries[512];
    syscall(SYS_getdents64, s, entries, sizeof entries);
    close(s);
    tell("listed");
    SHOW(rename("d/new", "d/newer"));
    tell("moved within");
    SHOW(rename("d/newer", "away"));
    tell("moved away");
    SHOW(rename("away", "d/back"));
    tell("moved back");
    SHOW(rename("d/back", "d/hard"));
    tell("moved over");
    SHOW(rmdir("d/sub"));
    SHOW(unlink("d/link"));
    tell("removed");
    SHOW(unlink("d/f"));
    tell("removed itself");
    SHOW(unlink("d/hard"));
    SHOW(rename("d", "e"));
    close(open("e/later", O_CREAT | O_WRONLY, 0600));
    tell("the folder moved");
    SHOW(unlink("e/later"));
    SHOW(rmdir("e"));
    tell("the folder gone");
    SHOW(inotify_rm_watch(in, 1));
    SHOW(inotify_add_watch(in, ".", IN_CREATE | IN_ONESHOT));
    close(open("one", O_CREAT | O_WRONLY, 0600));
    close(open("two", O_CREAT | O_WRONLY, 0600));
    tell("once");
    SHOW(inotify_add_watch(in, ".", IN_DELETE));
    CHILD("another process", unlink("one"));
    SHOW(inotify_rm_watch(in, 4));
    tell("by another");
    int other = inotify_init();
    SHOW(inotify_add_watch(other, "two", IN_OPEN));
    fflush(stdout);
    if (fork() == 0) { close(open("two", O_RDONLY)); _exit(0); }
    char event[64];
    SHOW(read(other, event, sizeof event));
    wait(NULL);
    SHOW(close(other));
    SHOW(close(in));
}
