/* Files in memory, shared mappings and locks, one thing for each argument. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what) do { if (!(what)) { printf("line %d: %s: %s\n", __LINE__, #what, strerror(errno)); exit(1); } } while (0)
#define FAILS(what, error) do { errno = 0; CHECK((what) == -1 && errno == (error)); } while (0)

static int count(const char *path) {
    DIR *folder = opendir(path);
    CHECK(folder);
    int found = 0;
    while (readdir(folder)) found++;
    closedir(folder);
    return found;
}

static void names(void) {
    char text[64];
    struct stat status;
    CHECK(chdir("/tmp") == 0 && mkdir("folder", 0750) == 0);
    CHECK(stat("folder", &status) == 0 && S_ISDIR(status.st_mode) && (status.st_mode & 0777) == 0750);
    FAILS(mkdir("folder", 0777), EEXIST);
    int file = open("folder/file", O_RDWR | O_CREAT | O_EXCL, 0600);
    CHECK(file >= 0);
    FAILS(open("folder/file", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
    FAILS(open("missing/file", O_RDWR | O_CREAT, 0600), ENOENT);
    FAILS(open("folder/file/more", O_RDONLY), ENOTDIR);
    FAILS(open("folder", O_WRONLY), EISDIR);
    CHECK(write(file, "one two", 7) == 7 && lseek(file, 3, SEEK_SET) == 3 && read(file, text, 9) == 4);
    CHECK(!memcmp(text, " two", 4) && pwrite(file, "ONE", 3, 0) == 3 && pread(file, text, 3, 0) == 3 && !memcmp(text, "ONE", 3));
    CHECK(lseek(file, 10000, SEEK_SET) == 10000 && write(file, "far", 3) == 3);
    CHECK(fstat(file, &status) == 0 && status.st_size == 10003 && status.st_nlink == 1);
    CHECK(pread(file, text, 8, 9998) == 5 && !memcmp(text, "\0\0far", 5));
    CHECK(ftruncate(file, 5) == 0 && ftruncate(file, 9) == 0 && pread(file, text, 9, 0) == 9 && !memcmp(text, "ONE t\0\0\0\0", 9));
    int more = open("folder/file", O_WRONLY | O_APPEND);
    CHECK(more >= 0 && write(more, "end", 3) == 3 && fstat(file, &status) == 0 && status.st_size == 12);
    FAILS(read(more, text, 1), EBADF);
    CHECK(link("folder/file", "second") == 0 && fstat(file, &status) == 0 && status.st_nlink == 2);
    CHECK(symlink("folder/file", "link") == 0 && readlink("link", text, 64) == 11 && stat("link", &status) == 0 && status.st_size == 12);
    CHECK(lstat("link", &status) == 0 && S_ISLNK(status.st_mode));
    FAILS(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
    CHECK(symlink("round", "round") == 0);
    FAILS(open("round", O_RDONLY), ELOOP);
    CHECK(symlink("../tmp/folder", "way") == 0 && access("way/file", R_OK) == 0);
    FAILS(rmdir("folder"), ENOTEMPTY);
    FAILS(unlink("folder"), EISDIR);
    FAILS(rmdir("second"), ENOTDIR);
    FAILS(rename("folder", "folder/inside"), EINVAL);
    CHECK(rename("second", "third") == 0 && mkdir("empty", 0777) == 0 && rename("folder", "empty") == 0);
    CHECK(access("folder", F_OK) == -1 && access("empty/file", F_OK) == 0);
    CHECK(unlink("empty/file") == 0 && unlink("third") == 0 && pread(file, text, 3, 9) == 3 && !memcmp(text, "end", 3));
    CHECK(fstat(file, &status) == 0 && status.st_nlink == 0);
    for (int i = 0; i < 500; i++) {
        sprintf(text, "empty/%d", i);
        CHECK((more = open(text, O_CREAT | O_WRONLY, 0666)) >= 0 && close(more) == 0);
    }
    CHECK(count("empty") == 502);
    /* Removing while listing leaves nothing out. */
    DIR *folder = opendir("empty");
    for (struct dirent *entry; (entry = readdir(folder));)
        if (entry->d_name[0] != '.') CHECK(unlinkat(dirfd(folder), entry->d_name, 0) == 0);
    closedir(folder);
    CHECK(count("empty") == 2 && rmdir("empty") == 0 && chmod("/tmp", 01777) == 0);
    CHECK(utimensat(AT_FDCWD, "round", (struct timespec[]){{1, 0}, {2, 5}}, AT_SYMLINK_NOFOLLOW) == 0);
    CHECK(lstat("round", &status) == 0 && status.st_mtim.tv_sec == 2 && status.st_mtim.tv_nsec == 5);
    char name[] = "/tmp/madeXXXXXX";
    CHECK((more = mkstemp(name)) >= 0);
    FAILS(rename(name, "/dev/shm/moved"), EXDEV);
    CHECK((more = open("/tmp", O_TMPFILE | O_RDWR, 0600)) >= 0 && write(more, "x", 1) == 1);
    puts("ok names");
}

static void maps(void) {
    int file = open("/dev/shm/mapped", O_RDWR | O_CREAT, 0600);
    CHECK(file >= 0 && ftruncate(file, 8192) == 0);
    char *all = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    char *own = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    CHECK(all != MAP_FAILED && own != MAP_FAILED);
    strcpy(all, "shared");
    strcpy(all + 4096, "second");
    CHECK(!strcmp(own, "shared"));
    strcpy(own, "private");
    char text[16] = "";
    CHECK(pread(file, text, 7, 0) == 7 && !strcmp(text, "shared"));
    CHECK(pwrite(file, "SHARED", 6, 0) == 6 && !strcmp(all, "SHARED") && !strcmp(own, "private"));
    pid_t child = fork();
    if (child == 0) {
        CHECK(!strcmp(own, "private") && !strcmp(all + 4096, "second"));
        strcpy(all + 4096, "from a child");
        strcpy(own, "lost");
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(!strcmp(all + 4096, "from a child") && !strcmp(own, "private"));
    child = fork();
    if (child == 0) {
        all[8192] = 1;
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    int reader = open("/dev/shm/mapped", O_RDONLY);
    FAILS((long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, reader, 0), EACCES);
    char *seen = mmap(NULL, 4096, PROT_READ, MAP_SHARED, reader, 0);
    CHECK(seen != MAP_FAILED && !strcmp(seen, "SHARED"));
    FAILS(mprotect(seen, 4096, PROT_READ | PROT_WRITE), EACCES);
    CHECK(unlink("/dev/shm/mapped") == 0 && close(file) == 0 && !strcmp(all, "SHARED"));
    CHECK(munmap(all, 3 * 4096) == 0 && !strcmp(seen, "SHARED"));
    int memory = memfd_create("name", MFD_ALLOW_SEALING);
    CHECK(memory >= 0 && write(memory, "content", 7) == 7 && fcntl(memory, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_WRITE) == 0);
    FAILS(pwrite(memory, "x", 1, 0), EPERM);
    FAILS((long)mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, memory, 0), EPERM);
    CHECK(fcntl(memory, F_GET_SEALS) == (F_SEAL_GROW | F_SEAL_WRITE));
    puts("ok maps");
}

/* A file of the host's, at the path. */
static void host(const char *path) {
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(file >= 0 && ftruncate(file, 10000) == 0);
    char *all = mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    CHECK(all != MAP_FAILED);
    strcpy(all, "by memory");
    strcpy(all + 9000, "behind");
    char text[16] = "";
    CHECK(pread(file, text, 9, 0) == 9 && !strcmp(text, "by memory"));
    CHECK(pwrite(file, "BY", 2, 0) == 2 && !strcmp(all, "BY memory"));
    CHECK(msync(all, 10000, MS_SYNC) == 0);
    pid_t child = fork();
    if (child == 0) {
        strcpy(all + 5000, "a child");
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0 && !strcmp(all + 5000, "a child"));
    int reader = open(path, O_RDONLY);
    char *seen = mmap(NULL, 4096, PROT_READ, MAP_SHARED, reader, 4096);
    CHECK(seen != MAP_FAILED && !strcmp(seen + 904, "a child"));
    all[8] = '!';
    CHECK(munmap(all, 10000) == 0 && munmap(seen, 4096) == 0 && close(file) == 0);
    CHECK(pread(reader, text, 9, 0) == 9 && !strcmp(text, "BY memor!"));
    puts("ok host");
}

static void locks(const char *path) {
    int file = open(path, O_RDWR | O_CREAT, 0600), other = open(path, O_RDWR), ready[2], status;
    struct flock part = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10};
    CHECK(file >= 0 && other >= 0 && pipe(ready) == 0 && fcntl(file, F_SETLK, &part) == 0);
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        struct flock wish = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 15, .l_len = 1};
        FAILS(fcntl(file, F_SETLK, &wish), EAGAIN);
        CHECK(fcntl(file, F_GETLK, &wish) == 0 && wish.l_type == F_WRLCK && wish.l_pid == parent && wish.l_start == 10 && wish.l_len == 10);
        wish = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 20, .l_len = 1};
        CHECK(fcntl(file, F_SETLK, &wish) == 0 && write(ready[1], "x", 1) == 1);
        wish = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};
        CHECK(fcntl(file, F_SETLKW, &wish) == 0);
        _exit(0);
    }
    char text;
    CHECK(read(ready[0], &text, 1) == 1);
    /* Closing any descriptor of the file gives the lock up. */
    CHECK(close(other) == 0 && waitpid(child, &status, 0) == child && status == 0);
    CHECK(fcntl(file, F_SETLK, &part) == 0 && (other = open(path, O_RDWR)) >= 0);
    CHECK(flock(file, LOCK_EX) == 0);
    FAILS(flock(other, LOCK_SH | LOCK_NB), EAGAIN);
    child = fork();
    if (child == 0) {
        CHECK(write(ready[1], "x", 1) == 1 && flock(other, LOCK_EX) == 0);
        _exit(0);
    }
    CHECK(read(ready[0], &text, 1) == 1 && flock(file, LOCK_UN) == 0);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    puts("ok locks");
}

/* What may only be read and made in one folder is not written by way of another, nor once more by its descriptor. */
static void gain(void) {
    char text[64];
    int file = open("/tmp/ro/file", O_RDONLY | O_CREAT, 0666), place = open("/tmp/ro/file", O_PATH);
    CHECK(file >= 0 && place >= 0);
    FAILS(open("/tmp/ro/file", O_WRONLY), EACCES);
    FAILS(link("/tmp/ro/file", "/tmp/rw/file"), EXDEV);
    FAILS(linkat(file, "", AT_FDCWD, "/tmp/rw/file", AT_EMPTY_PATH), EXDEV);
    FAILS(linkat(place, "", AT_FDCWD, "/tmp/rw/file", AT_EMPTY_PATH), EXDEV);
    sprintf(text, "/proc/self/fd/%d", file);
    FAILS(linkat(AT_FDCWD, text, AT_FDCWD, "/tmp/rw/file", AT_SYMLINK_FOLLOW), EXDEV);
    FAILS(access("/tmp/rw/file", F_OK), ENOENT);
    FAILS(open(text, O_RDWR), EACCES);
    CHECK(mkfifo("/tmp/ro/pipe", 0666) == 0);
    int pipe = open("/tmp/ro/pipe", O_RDONLY | O_NONBLOCK);
    CHECK(pipe >= 0);
    FAILS(open("/tmp/ro/pipe", O_WRONLY | O_NONBLOCK), EACCES);
    sprintf(text, "/proc/self/fd/%d", pipe);
    FAILS(open(text, O_WRONLY | O_NONBLOCK), EACCES);
    FAILS(open(text, O_RDWR | O_NONBLOCK), EACCES);
    CHECK(open(text, O_RDONLY | O_NONBLOCK) >= 0);
    puts("ok gain");
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "names")) names();
        if (!strcmp(argv[i], "gain")) gain();
        if (!strcmp(argv[i], "maps")) maps();
        if (!strcmp(argv[i], "host")) host(argv[++i]);
        if (!strcmp(argv[i], "locks")) locks(argv[++i]);
        if (!strcmp(argv[i], "fill")) {
            /* So many MiB into one file; what cannot be written is told. */
            char block[4096] = {1};
            int file = open(argv[++i], O_WRONLY | O_CREAT, 0600);
            CHECK(file >= 0);
            for (int left = atoi(argv[++i]) * 256; left; left--)
                CHECK(write(file, block, sizeof block) == sizeof block);
            puts("filled");
        }
        if (!strcmp(argv[i], "churn"))
            /* The same MiB again and again. */
            for (int left = 20; left; left--) {
                static char block[1 << 20];
                int file = open("/tmp/churned", O_WRONLY | O_CREAT | O_TRUNC, 0600);
                CHECK(file >= 0 && write(file, block, sizeof block) == sizeof block && close(file) == 0 && unlink("/tmp/churned") == 0);
                if (left == 1) puts("churned");
            }
        if (!strcmp(argv[i], "many")) {
            for (int number = 0;; number++) {
                char name[32];
                sprintf(name, "/tmp/%d", number);
                int file = open(name, O_WRONLY | O_CREAT, 0600);
                CHECK(file >= 0 && close(file) == 0);
            }
        }
        if (!strcmp(argv[i], "open")) {
            int file = open(argv[++i], O_RDONLY);
            puts(file >= 0 ? "opened" : strerror(errno));
        }
        if (!strcmp(argv[i], "make")) {
            int file = open(argv[++i], O_WRONLY | O_CREAT, 0600);
            puts(file >= 0 ? "made" : strerror(errno));
        }
    }
    return 0;
}
