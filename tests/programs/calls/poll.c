/* poll(2), select(2), ppoll(2), pselect(2) */
#include "show.h"
#include <sys/select.h>
static void nothing(int signal) { (void)signal; }
int main(void) {
    int ends[2], file = open("f", O_RDWR | O_CREAT, 0600);
    MUST(pipe(ends) == 0);
    struct pollfd p[4] = {{ends[0], POLLIN, 9}, {ends[1], POLLOUT | POLLIN, 0}, {-1, POLLIN, 9}, {99, POLLIN, 0}};
    SHOW(poll(p, 4, 0));
    for (int i = 0; i < 4; i++) printf("%x ", p[i].revents);
    puts("");
    SHOW(poll(NOWHERE, 1, 0));
    SHOW(poll(NULL, 0, 1));
    SHOW(poll(p, 1, 1));
    struct pollfd f = {file, POLLIN | POLLOUT, 0};
    SHOW(poll(&f, 1, 0));
    SHOW(f.revents);
    fd_set r, w;
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_SET(ends[0], &r);
    FD_SET(ends[1], &w);
    struct timeval tv = {0, 0};
    SHOW(select(ends[1] + 1, &r, &w, NULL, &tv));
    SHOW(FD_ISSET(ends[0], &r) * 10 + FD_ISSET(ends[1], &w));
    write(ends[1], "x", 1);
    FD_SET(ends[0], &r);
    SHOW(select(ends[1] + 1, &r, &w, NULL, NULL));
    SHOW(FD_ISSET(ends[0], &r) * 10 + FD_ISSET(ends[1], &w));
    SHOW(select(-1, NULL, NULL, NULL, &tv));
    tv.tv_sec = -1;
    SHOW(select(0, NULL, NULL, NULL, &tv));
    FD_SET(50, &r);
    tv.tv_sec = 0;
    SHOW(select(51, &r, NULL, NULL, &tv));
    SHOW(select(1, NOWHERE, NULL, NULL, &tv));
    tv = (struct timeval){0, 2000};
    SHOW(select(0, NULL, NULL, NULL, &tv));
    struct timespec wrong = {0, 1000000000};
    SHOW(ppoll(p, 1, &wrong, NULL));
    /* A signal that only comes during the wait. */
    struct sigaction action = {.sa_handler = nothing};
    sigaction(SIGUSR1, &action, NULL);
    sigset_t set, open;
    sigemptyset(&open);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    kill(getpid(), SIGUSR1);
    SHOW(ppoll(NULL, 0, NULL, &open));
    kill(getpid(), SIGUSR1);
    SHOW(pselect(0, NULL, NULL, NULL, NULL, &open));
    char byte;
    read(ends[0], &byte, 1);
    close(ends[1]);
    p[0].revents = 0;
    SHOW(poll(p, 1, -1));
    SHOW(p[0].revents);
    MUST(pipe(ends) == 0);
    close(ends[0]);
    p[0] = (struct pollfd){ends[1], POLLOUT, 0};
    SHOW(poll(p, 1, -1));
    SHOW(p[0].revents);
}
