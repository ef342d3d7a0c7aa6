/* Reads everything that a server at 127.0.0.1 sends: prints the bytes and the seconds it took. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **arguments) {
    static char into[1 << 18];
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timespec began, ended;
    long long bytes = 0;
    ssize_t got;
    if (count != 2) return 2;
    server.sin_port = htons((unsigned short)atoi(arguments[1]));
    int line = socket(AF_INET, SOCK_STREAM, 0);
    if (line < 0 || connect(line, (struct sockaddr *)&server, sizeof server)) return 1;
    clock_gettime(CLOCK_MONOTONIC, &began);
    while ((got = read(line, into, sizeof into)) > 0) bytes += got;
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%lld %.6f\n", bytes, (ended.tv_sec - began.tv_sec) + (ended.tv_nsec - began.tv_nsec) / 1e9);
    return got < 0;
}
