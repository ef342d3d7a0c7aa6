/* mremap(2) */
#include "show.h"
#define P 4096
int main(void) {
    char *a = mmap(NULL, 4 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 4; i++) a[i * P] = i + 1;
    SHOW(mremap(a, 4 * P, 2 * P, 0) == a);
    SHOW(mremap(a, 2 * P, 3 * P, 0) == a);
    SHOW(a[2 * P]);
    a[2 * P] = 5;
    char *wall = mmap(a + 3 * P, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    MUST(wall == a + 3 * P);
    TELL(mremap(a, 3 * P, 8 * P, 0));
    char *b = mremap(a, 3 * P, 8 * P, MREMAP_MAYMOVE);
    MUST(b != MAP_FAILED);
    SHOW(b != a);
    printf("%d %d %d %d\n", b[0], b[P], b[2 * P], b[7 * P]);
    TELL(mremap(a, P, P, 0));
    char *c = mmap(NULL, 2 * P, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SHOW(mremap(b, P, P, MREMAP_MAYMOVE | MREMAP_FIXED, c) == c);
    SHOW(c[0]);
    TELL(mremap(b, P, P, 0));
    TELL(mremap(c, P, P, MREMAP_FIXED, b));
    TELL(mremap(c + 1, P, P, 0));
    TELL(mremap(c, P, 0, 0));
    TELL(mremap(c, P, P, 0x100));
    TELL(mremap(c, P, P, MREMAP_MAYMOVE | MREMAP_FIXED, c));
    int f = open("f", O_RDWR | O_CREAT, 0600);
    MUST(ftruncate(f, 4 * P) == 0 && pwrite(f, "third", 5, 2 * P) == 5);
    char *shared = mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
    shared = mremap(shared, P, 3 * P, MREMAP_MAYMOVE);
    MUST(shared != MAP_FAILED);
    puts(shared + 2 * P);
    shared[2 * P] = 'T';
    char text[6] = {0};
    pread(f, text, 5, 2 * P);
    puts(text);
    char *twice = mremap(shared, 0, P, MREMAP_MAYMOVE);
    MUST(twice != MAP_FAILED);
    shared[0] = '!';
    SHOW(twice != shared && twice[0] == '!');
    TELL(mremap(b + 4 * P, 0, P, MREMAP_MAYMOVE));
    char *from = mmap(NULL, 2 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    strcpy(from, "moved");
    char *to = mremap(from, 2 * P, 2 * P, MREMAP_MAYMOVE | 4 /* MREMAP_DONTUNMAP */, NULL);
    MUST(to != MAP_FAILED);
    puts(to);
    SHOW(from[0]);
    TELL(mremap(from, 2 * P, P, MREMAP_MAYMOVE | 4, NULL));
    TELL(mremap(from, 2 * P, 2 * P, 4, NULL));
    TELL(mremap(from, 2 * P, 2 * P, MREMAP_MAYMOVE | 4, to + 1));
    SHOW(mremap(to, 2 * P, 2 * P, MREMAP_MAYMOVE | MREMAP_FIXED | 4, from) == from);
    puts(from);
    SHOW(to[0]);
}
