/* Asks the supervisor more than it can do at once. One thing for each first argument. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int is(const char *a, const char *b) { return strcmp(a, b) == 0; }

static struct sockaddr_in local(const char *port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
}

static int reach(const char *port) {
    struct sockaddr_in at = local(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (void *)&at, sizeof at) == 0) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static void *connector(void *port) {
    while (reach(port) < 0) {}
    return NULL;
}

static void start(const char *port, int count) {
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    for (int i = 0; i < count; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &small, connector, (void *)port)) exit(3);
    }
}

/* Lets whoever listens at `port` know how far it is, and waits for them. */
static void meet(const char *port) {
    char byte;
    int fd = reach(port);
    if (fd < 0) exit(4);
    while (read(fd, &byte, 1) > 0) {}
    close(fd);
}

/* Waits until the first thread has ended, and reaches a port and listens at another. */
static void *second(void *port) {
    char state = 0;
    while (state != 'Z') {
        FILE *file = fopen("/proc/self/stat", "r");
        if (!file || fscanf(file, "%*d (%*[^)]) %c", &state) != 1) exit(3);
        fclose(file);
    }
    struct sockaddr_in at = local("0");
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int reached = reach(port), bound = bind(fd, (void *)&at, sizeof at);
    printf("%d %d %d\n", reached < 0, bound, listen(fd, 1));
    exit(0);
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "";
    if (is(what, "wait-and-spin")) { /* a port that never answers, how many threads wait for it */
        start(words[2], atoi(words[3]));
        for (;;) {}
    }
    if (is(what, "wait-and-end")) { /* the same; then it ends with 7 */
        start(words[2], atoi(words[3]));
        exit(7);
    }
    if (is(what, "wait-and-die")) { /* the same with processes, which are killed; the port to tell of it */
        int children = atoi(words[3]);
        for (int i = 0; i < children; i++) {
            pid_t child = fork();
            if (child < 0) return 3;
            if (child == 0) {
                reach(words[2]);
                pause();
            }
            /* It hangs in `connect` by now, or is about to. */
            usleep(5000);
            kill(child, SIGKILL);
            waitpid(child, NULL, 0);
        }
        meet(words[4]);
        return 0;
    }
    if (is(what, "first-thread-gone")) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, second, words[2])) return 3;
        syscall(SYS_exit, 0);
    }
    if (is(what, "hold")) { /* so many connections at once, twice; how many there were, and why no more */
        int most = atoi(words[3]);
        for (int turn = 0; turn < 2; turn++) {
            int held[256], n = 0;
            while (n < most && (held[n] = reach(words[2])) >= 0) n++;
            printf("%d %s\n", n, n < most ? strerrorname_np(errno) : "");
            while (n > 0) close(held[--n]);
            /* One after the other they are free again. */
            for (n = 0; n < most && turn == 0; n++) {
                int fd;
                while ((fd = reach(words[2])) < 0) {}
                close(fd);
            }
        }
        return 0;
    }
    if (is(what, "names")) { /* asks for names without waiting for answers; the port to tell of it */
        int fd = socket(AF_INET, SOCK_DGRAM, 0), turns = atoi(words[2]);
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(53)};
        inet_pton(AF_INET, "127.53.53.53", &at.sin_addr);
        for (int i = 0; i < turns; i++) {
            unsigned char question[64] = {i >> 8, i & 255, 1, 0, 0, 1};
            int length = 12;
            length += sprintf((char *)question + length, "%cslow%d%ctest", 4 + snprintf(NULL, 0, "%d", i), i, 4) + 1;
            memcpy(question + length, "\0\1\0\1", 4);
            sendto(fd, question, (size_t)length + 4, 0, (void *)&at, sizeof at);
        }
        meet(words[3]);
        return 0;
    }
    fprintf(stderr, "unknown: %s\n", what);
    return 99;
}
