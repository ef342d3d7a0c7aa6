/* proc(5): files that are read again say what holds now, descriptors are told of, and file systems recognised. */
#include "show.h"
#include <sys/eventfd.h>
#include <sys/vfs.h>
static char text[1 << 16];
static int again(int file) {
    MUST(lseek(file, 0, SEEK_SET) == 0);
    long count = read(file, text, sizeof text - 1);
    text[count > 0 ? count : 0] = 0;
    return count > 0;
}
static int has(const char *words) { return strstr(text, words) != NULL; }
static void *of_a_thread(void *unused) {
    char wanted[64], found[64] = "";
    snprintf(wanted, sizeof wanted, "%d/task/%d", getpid(), gettid());
    SHOW(readlink("/proc/thread-self", found, sizeof found) == (long)strlen(wanted));
    SHOW(strcmp(wanted, found));
    return NULL;
}
static void info(int number) {
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fdinfo/%d", number);
    int file = open(name, O_RDONLY);
    MUST(file >= 0);
    SHOW(again(file));
    close(file);
}
int main(void) {
    struct statfs system;
    int status = open("/proc/self/status", O_RDONLY), maps = open("/proc/self/maps", O_RDONLY);
    MUST(status >= 0 && maps >= 0);
    umask(022);
    SHOW(again(status));
    SHOW(has("Umask:\t0022"));
    umask(077);
    SHOW(has("Umask:\t0077"));
    SHOW(again(status));
    SHOW(has("Umask:\t0077"));
    umask(027);
    MUST(pread(status, text, sizeof text - 1, 0) > 0);
    SHOW(has("Umask:\t0027"));
    SHOW(again(maps));
    char *page = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), line[64];
    snprintf(line, sizeof line, "%lx r-xp", (unsigned long)page + 4096);
    SHOW(again(maps));
    SHOW(has(line));
    munmap(page, 4096);
    SHOW(again(maps));
    SHOW(has(line));
    CHILD("a child sees its parent", SHOW(again(status)));

    SHOW(statfs("/proc", &system));
    SHOW(system.f_type == 0x9fa0);
    SHOW(statfs("/proc/self/stat", &system));
    SHOW(system.f_type == 0x9fa0);
    SHOW(fstatfs(status, &system));
    SHOW(system.f_type == 0x9fa0);
    int ends[2], counter = eventfd(7, 0);
    MUST(pipe(ends) == 0);
    SHOW(fstatfs(ends[0], &system));
    SHOW(system.f_type == 0x50495045);
    SHOW(fstatfs(counter, &system));
    SHOW(system.f_type == 0x09041934);

    int file = open("file", O_RDWR | O_CREAT | O_APPEND, 0600);
    MUST(file >= 0);
    MUST(write(file, "12345", 5) == 5);
    info(file);
    SHOW(has("pos:\t5\n"));
    SHOW(has("02002\n") || has("0102002\n"));
    info(counter);
    SHOW(has("eventfd-count:                7\n"));
    SHOW(open("/proc/self/fdinfo/1000", O_RDONLY));

    char name[64], target[4096] = "";
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    MUST(readlink(name, target, sizeof target - 1) > 0);
    SHOW(strstr(target, " (deleted)") != NULL);
    MUST(unlink("file") == 0);
    memset(target, 0, sizeof target);
    MUST(readlink(name, target, sizeof target - 1) > 0);
    SHOW(strstr(target, "/file (deleted)") != NULL);

    struct stat one, other;
    SHOW(stat("/proc/self/stat", &one));
    int stat_file = open("/proc/self/stat", O_RDONLY);
    SHOW(fstat(stat_file, &other));
    SHOW(one.st_ino == other.st_ino);
    snprintf(name, sizeof name, "/proc/%d/stat", getpid());
    SHOW(stat(name, &other));
    SHOW(one.st_ino == other.st_ino);

    pthread_t thread;
    of_a_thread(NULL);
    MUST(pthread_create(&thread, NULL, of_a_thread, NULL) == 0);
    pthread_join(thread, NULL);

    snprintf(name, sizeof name, "/proc/%d", getpid());
    int folder = open("/proc/self", O_RDONLY | O_DIRECTORY), same = open(name, O_RDONLY | O_DIRECTORY);
    int other_folder = open("/proc", O_RDONLY | O_DIRECTORY);
    MUST(folder >= 0 && same >= 0 && other_folder >= 0);
    SHOW(syscall(SYS_pidfd_send_signal, same, 0, NULL, 0));
    SHOW(syscall(SYS_pidfd_send_signal, other_folder, 0, NULL, 0));
    SHOW(syscall(SYS_pidfd_send_signal, stat_file, 0, NULL, 0));

    /* Who waits is seen to sleep, and who is stopped to be stopped. */
    int go_on[2];
    MUST(pipe(go_on) == 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) { char byte; exit(read(go_on[0], &byte, 1) == 1 ? 7 : 8); }
    snprintf(name, sizeof name, "/proc/%d/status", child);
    int childs = open(name, O_RDONLY);
    MUST(childs >= 0);
    do MUST(again(childs)); while (!has("State:\tS (sleeping)"));
    SHOW(has("PPid:"));
    kill(child, SIGSTOP);
    do MUST(again(childs)); while (!has("State:\tT (stopped)"));
    kill(child, SIGCONT);
    MUST(write(go_on[1], "x", 1) == 1);
    do MUST(again(childs)); while (!has("State:\tZ (zombie)"));
    int ended;
    MUST(waitpid(child, &ended, 0) == child);
    show_end("a child that slept", ended);
    SHOW(open(name, O_RDONLY));
    MUST(again(status));
    SHOW(has("State:\tR (running)"));
}
