/* splice(2), tee(2), vmsplice(2) */
#include "show.h"
int main(void) {
    int a[2], b[2], f = open("f", O_RDWR | O_CREAT, 0600);
    char text[64] = {0};
    MUST(pipe(a) == 0 && pipe(b) == 0 && write(f, "from the file", 13) == 13);
    loff_t at = 5;
    SHOW(splice(f, &at, a[1], NULL, 8, 0));
    SHOW(at);
    SHOW(tee(a[0], b[1], 100, 0));
    SHOW(read(b[0], text, 64));
    SHOW(splice(a[0], NULL, b[1], NULL, 3, 0));
    SHOW(read(b[0], text, 64));
    printf("%.3s\n", text);
    at = 20;
    SHOW(splice(a[0], NULL, f, &at, 64, 0));
    SHOW(at);
    SHOW(pread(f, text, 64, 20));
    printf("%.5s\n", text);
    SHOW(splice(f, NULL, f, NULL, 8, 0));
    SHOW(splice(a[0], &at, b[1], NULL, 8, 0));
    SHOW(splice(99, NULL, b[1], NULL, 8, 0));
    SHOW(splice(a[0], NULL, b[1], NULL, 8, SPLICE_F_NONBLOCK));
    SHOW(tee(a[0], b[1], 8, SPLICE_F_NONBLOCK));
    SHOW(tee(a[0], f, 8, 0));
    SHOW(tee(a[0], b[1], 0, 0));
    SHOW(tee(a[0], f, 0, 0));
    SHOW(tee(99, 99, 0, 0));
    SHOW(tee(99, 99, 0, 0x80));
    SHOW(tee(99, 99, 8, 0x80));
    SHOW(splice(a[0], NULL, b[1], NULL, 0, 0));
    SHOW(splice(99, NULL, 99, NULL, 0, 0x80));
    SHOW(splice(99, NULL, 99, NULL, 8, 0x80));
    struct iovec parts[2] = {{"gathered", 8}, {" parts", 6}};
    SHOW(vmsplice(a[1], parts, 2, 0));
    SHOW(read(a[0], text, 64));
    printf("%.14s\n", text);
    SHOW(vmsplice(f, parts, 2, 0));
    close(a[1]);
    SHOW(splice(a[0], NULL, b[1], NULL, 8, 0));
    SHOW(tee(a[0], b[1], 8, 0));
}
