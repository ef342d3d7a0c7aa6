/* memfd_create(2), file seals of fcntl(2) */
#include "show.h"
int main(void) {
    SHOW(memfd_create(NOWHERE, 0));
    SHOW(memfd_create("x", 0x800));
    int m = memfd_create("name", MFD_ALLOW_SEALING | MFD_CLOEXEC), n = memfd_create("other", 0);
    MUST(m > 0 && n > 0);
    SHOW(fcntl(m, F_GETFD));
    SHOW(fcntl(m, F_GET_SEALS));
    SHOW(fcntl(n, F_GET_SEALS));
    SHOW(fcntl(n, F_ADD_SEALS, F_SEAL_WRITE));
    SHOW(write(m, "content", 7));
    SHOW(ftruncate(m, 8192));
    SHOW(fcntl(m, F_ADD_SEALS, F_SEAL_SHRINK));
    SHOW(ftruncate(m, 4096));
    SHOW(ftruncate(m, 12288));
    SHOW(fcntl(m, F_ADD_SEALS, F_SEAL_GROW));
    SHOW(ftruncate(m, 16384));
    SHOW(pwrite(m, "x", 1, 12288));
    char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0);
    SHOW(map != MAP_FAILED);
    SHOW(fcntl(m, F_ADD_SEALS, F_SEAL_WRITE));
    map[0] = 'C';
    SHOW(munmap(map, 4096));
    SHOW(fcntl(m, F_ADD_SEALS, F_SEAL_WRITE));
    SHOW(pwrite(m, "x", 1, 0));
    TELL(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0));
    TELL(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, m, 0));
    char text[8] = {0};
    SHOW(pread(m, text, 7, 0));
    puts(text);
    SHOW(fcntl(m, F_ADD_SEALS, F_SEAL_SEAL));
    SHOW(fcntl(m, F_ADD_SEALS, F_SEAL_GROW));
    SHOW(fcntl(m, F_GET_SEALS));
    SHOW(fcntl(m, F_ADD_SEALS, 0x10000));
    SHOW(fcntl(0, F_GET_SEALS));
    struct stat st;
    SHOW(fstat(m, &st));
    SHOW(S_ISREG(st.st_mode));
    SHOW(st.st_nlink);
}
