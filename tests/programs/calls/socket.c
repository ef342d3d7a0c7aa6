/* socket(2), socketpair(2): which there are, and in which order it is looked. */
#include "show.h"
#include <netinet/in.h>
#include <sys/socket.h>
int main(void) {
    int pair[2];
    SHOW(socket(0, SOCK_STREAM, 0));
    SHOW(socket(46, 0, 0));
    SHOW(socket(46, 75, 0));
    SHOW(socket(-1, SOCK_STREAM, 0));
    SHOW(socket(AF_INET, 75, 0));
    SHOW(socket(AF_UNIX, 75, 0));
    SHOW(socket(AF_UNIX, SOCK_STREAM, 99));
    TELL(socket(AF_UNIX, SOCK_STREAM, AF_UNIX));
    TELL(socket(AF_UNIX, SOCK_RAW, 0));
    SHOW(socket(AF_UNIX, SOCK_RDM, 0));
    SHOW(socket(AF_UNIX, 0, 0));
    TELL(socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP));
    TELL(socket(AF_INET, SOCK_STREAM, IPPROTO_TCP));
    SHOW(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
    SHOW(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP));
    SHOW(socket(AF_INET, SOCK_STREAM, IPPROTO_ICMP));
    SHOW(socket(AF_INET, SOCK_RAW, 0));
    SHOW(socket(AF_INET, SOCK_SEQPACKET, 0));
    SHOW(socket(AF_INET, 0, 0));
    SHOW(socketpair(0, SOCK_STREAM, 0, pair));
    SHOW(socketpair(AF_INET, 75, 0, pair));
    SHOW(socketpair(AF_INET, SOCK_DGRAM, 0, pair));
    SHOW(socketpair(AF_INET, SOCK_DGRAM, IPPROTO_UDP, pair));
    SHOW(socketpair(AF_INET, SOCK_STREAM, IPPROTO_TCP, pair));
    SHOW(socketpair(AF_INET, SOCK_STREAM, IPPROTO_UDP, pair));
    SHOW(socketpair(AF_INET, SOCK_DGRAM, IPPROTO_TCP, pair));
    SHOW(socketpair(AF_INET, SOCK_RAW, 0, pair));
    SHOW(socketpair(AF_UNIX, SOCK_STREAM, 99, pair));
    SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, NOWHERE));
    TELL(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    int kind = 0;
    socklen_t length = sizeof kind;
    TELL(socketpair(AF_UNIX, SOCK_RAW, 0, pair));
    SHOW(getsockopt(pair[0], SOL_SOCKET, SO_TYPE, &kind, &length));
    SHOW(kind);
}
