/* epoll_ctl(2), epoll_wait(2) */
#include "show.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
static struct epoll_event found[8];
static int ready(int set, int wait) {
    int count = epoll_wait(set, found, 8, wait);
    printf("ready %d:", count);
    /* The order is nobody's promise. */
    if (count == 2 && found[0].data.fd > found[1].data.fd) {
        struct epoll_event first = found[0];
        found[0] = found[1];
        found[1] = first;
    }
    for (int i = 0; i < count; i++) printf(" %x/%d", found[i].events, found[i].data.fd);
    puts("");
    return count;
}
int main(void) {
    int ends[2], set = epoll_create1(0);
    MUST(pipe(ends) == 0);
    struct epoll_event in = {.events = EPOLLIN, .data.fd = 1}, out = {.events = EPOLLOUT, .data.fd = 2};
    SHOW(epoll_create(0));
    SHOW(epoll_create1(77));
    SHOW(epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &in));
    SHOW(epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &in));
    SHOW(epoll_ctl(set, EPOLL_CTL_MOD, ends[1], &out));
    SHOW(epoll_ctl(set, EPOLL_CTL_DEL, ends[1], NULL));
    SHOW(epoll_ctl(set, EPOLL_CTL_ADD, 99, &in));
    SHOW(epoll_ctl(set, 9, ends[1], &in));
    SHOW(epoll_ctl(ends[0], EPOLL_CTL_ADD, ends[1], &in));
    SHOW(epoll_ctl(set, EPOLL_CTL_ADD, ends[1], NOWHERE));
    SHOW(epoll_wait(set, found, 0, 0));
    SHOW(epoll_wait(set, found, -1, 0));
    SHOW(epoll_wait(ends[0], found, 1, 0));
    ready(set, 0);
    SHOW(epoll_ctl(set, EPOLL_CTL_ADD, ends[1], &out));
    ready(set, 100);
    write(ends[1], "x", 1);
    ready(set, 100);
    out.events = EPOLLOUT | EPOLLONESHOT;
    SHOW(epoll_ctl(set, EPOLL_CTL_MOD, ends[1], &out));
    ready(set, 100);
    ready(set, 100);
    in.events = EPOLLIN | EPOLLET;
    SHOW(epoll_ctl(set, EPOLL_CTL_MOD, ends[0], &in));
    ready(set, 100);
    ready(set, 0);
    write(ends[1], "y", 1);
    ready(set, 100);
    char buffer[8];
    SHOW(read(ends[0], buffer, 8));
    SHOW(epoll_ctl(set, EPOLL_CTL_DEL, ends[0], NULL));
    write(ends[1], "z", 1);
    ready(set, 0);
    int outer = epoll_create1(0), bell = eventfd(0, 0);
    struct epoll_event nested = {.events = EPOLLIN, .data.fd = 3}, ring = {.events = EPOLLIN, .data.fd = 4};
    SHOW(epoll_ctl(outer, EPOLL_CTL_ADD, set, &nested));
    ready(outer, 0);
    SHOW(epoll_ctl(set, EPOLL_CTL_ADD, bell, &ring));
    SHOW(eventfd_write(bell, 1));
    ready(outer, 100);
    SHOW(epoll_ctl(set, EPOLL_CTL_ADD, outer, &nested));
    int copy = dup(bell);
    close(bell);
    ready(set, 0);
    close(copy);
    ready(set, 0);
    MUST(pipe(ends) == 0);
    in.events = EPOLLIN | EPOLLRDHUP;
    epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &in);
    close(ends[1]);
    ready(set, 100);
    struct epoll_event one[1], alone = {.events = EPOLLIN | EPOLLEXCLUSIVE};
    SHOW(epoll_wait(set, one, INT_MAX, 0));
    MUST(pipe(ends) == 0);
    SHOW(epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &alone));
    SHOW(epoll_ctl(set, EPOLL_CTL_MOD, ends[0], &in));
    SHOW(epoll_ctl(set, EPOLL_CTL_DEL, ends[0], NULL));
    alone.events |= EPOLLRDHUP;
    SHOW(epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &alone));
    alone.events = EPOLLIN | EPOLLEXCLUSIVE;
    SHOW(epoll_ctl(set, EPOLL_CTL_ADD, epoll_create1(0), &alone));
    SHOW(epoll_ctl(set, EPOLL_CTL_ADD, open("/dev/zero", O_RDONLY), &in));
    /* Edges: what is left after a part was read is no news, nor is more room where there was some. */
    int edges = epoll_create1(0);
    MUST(pipe2(ends, O_NONBLOCK) == 0);
    struct epoll_event edge = {.events = EPOLLIN | EPOLLET};
    epoll_ctl(edges, EPOLL_CTL_ADD, ends[0], &edge);
    write(ends[1], "abcd", 4);
    SHOW(epoll_wait(edges, one, 1, 0));
    read(ends[0], buffer, 1);
    SHOW(epoll_wait(edges, one, 1, 0));
    write(ends[1], "e", 1);
    SHOW(epoll_wait(edges, one, 1, 0));
    epoll_ctl(edges, EPOLL_CTL_DEL, ends[0], NULL);
    static char page[4096];
    edge.events = EPOLLOUT | EPOLLET;
    epoll_ctl(edges, EPOLL_CTL_ADD, ends[1], &edge);
    SHOW(epoll_wait(edges, one, 1, 0));
    while (read(ends[0], page, sizeof page) > 0) {}
    while (write(ends[1], page, sizeof page) > 0) {}
    SHOW(epoll_wait(edges, one, 1, 0));
    read(ends[0], page, sizeof page);
    SHOW(epoll_wait(edges, one, 1, 0));
    read(ends[0], page, sizeof page);
    SHOW(epoll_wait(edges, one, 1, 0));
    int inner = epoll_create1(0);
    epoll_ctl(inner, EPOLL_CTL_ADD, ends[0], &nested);
    for (int depth = 0; depth < 6; depth++) {
        int next = epoll_create1(0);
        SHOW(epoll_ctl(next, EPOLL_CTL_ADD, inner, &nested));
        inner = next;
    }
}
