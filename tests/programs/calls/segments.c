/* Segments of memory by a number: shmget(2), shmat(2), shmdt(2), shmctl(2). */
#include "show.h"
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/wait.h>
static void state(int id) {
    struct shmid_ds found = {0};
    if (shmctl(id, IPC_STAT, &found)) {
        printf("state: %s\n", strerrorname_np(errno));
        return;
    }
    printf("size %zu, attached %lu, mode %o, mine %d, made here %d, times %d %d\n", found.shm_segsz,
           (unsigned long)found.shm_nattch, found.shm_perm.mode, found.shm_perm.uid == geteuid(), found.shm_cpid == getpid(),
           found.shm_atime != 0, found.shm_ctime != 0);
}
int main(void) {
    key_t key = 0x52460000 + getpid();
    SHOW(shmget(key, 8192, 0600));
    SHOW(shmget(key, 0, IPC_CREAT | 0600));
    SHOW(shmget(IPC_PRIVATE, (size_t)-1, IPC_CREAT | 0600));
    int id = shmget(key, 8192, IPC_CREAT | IPC_EXCL | 0640);
    MUST(id >= 0);
    SHOW(shmget(key, 8192, IPC_CREAT | IPC_EXCL | 0600));
    SHOW(shmget(key, 8193, 0600));
    SHOW(shmget(key, 100, 0600) == id);
    SHOW(shmget(key, 0, 0) == id);
    state(id);
    char *at = shmat(id, NULL, 0);
    MUST(at != (char *)-1);
    printf("zero %d, whole pages %d\n", at[0] + at[8191], ((uintptr_t)at & 4095) == 0);
    state(id);
    strcpy(at, "from the parent");
    pid_t child = fork();
    if (child == 0) {
        struct shmid_ds found;
        int other = shmget(key, 8192, 0600);
        MUST(shmctl(other, IPC_STAT, &found) == 0 && found.shm_nattch == 2);
        char *again = shmat(other, NULL, SHM_RDONLY);
        MUST(again != (char *)-1 && again != at && !strcmp(again, "from the parent"));
        MUST(shmctl(other, IPC_STAT, &found) == 0 && found.shm_nattch == 3);
        strcpy(at + 4096, "from the child");
        MUST(!strcmp(again + 4096, "from the child"));
        again[0] = 1;
        _exit(0);
    }
    int status;
    MUST(waitpid(child, &status, 0) == child);
    printf("child signal %d: %s\n", status & 127, at + 4096);
    state(id);
    SHOW(shmat(id, at + 1, 0) == (void *)-1);
    SHOW(shmat(id, at, 0) == (void *)-1);
    SHOW(shmat(id, NULL, SHM_REMAP) == (void *)-1);
    SHOW(shmat(-1, NULL, 0) == (void *)-1);
    SHOW(shmat(id + 30000, NULL, 0) == (void *)-1);
    char *place = mmap(NULL, 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(munmap(place, 65536) == 0);
    SHOW(shmat(id, place + 8192, 0) == place + 8192);
    SHOW(shmat(id, place + 16384 + 7, SHM_RND) == place + 16384);
    SHOW(shmat(id, place + 8192, SHM_REMAP) == place + 8192);
    SHOW(strcmp(place + 8192, "from the parent") + strcmp(place + 16384, "from the parent"));
    state(id);
    SHOW(shmdt(place));
    SHOW(shmdt(place + 8192 + 4096));
    SHOW(shmdt(place + 8192 + 1));
    SHOW(shmdt(place + 8192));
    SHOW(shmdt(place + 8192));
    state(id);
    struct shmid_ds wanted = {0};
    MUST(shmctl(id, IPC_STAT, &wanted) == 0);
    wanted.shm_perm.mode = 0400;
    SHOW(shmctl(id, IPC_SET, &wanted));
    state(id);
    SHOW(shmctl(id, 99, &wanted));
    SHOW(shmctl(id, IPC_STAT, NOWHERE));
    /* What is removed is there for who has it, and nobody finds it. */
    SHOW(shmctl(id, IPC_RMID, NULL));
    state(id);
    SHOW(shmget(key, 8192, 0600));
    SHOW(strcmp(at, "from the parent"));
    SHOW(shmdt(place + 16384));
    SHOW(shmdt(at));
    SHOW(shmctl(id, IPC_STAT, &wanted));
    SHOW(shmctl(id, IPC_RMID, NULL));
    /* And what an end or another program leaves is nobody's any more. */
    id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    at = shmat(id, NULL, 0);
    if ((child = fork()) == 0) {
        execl("/bin/true", "true", NULL);
        _exit(1);
    }
    MUST(waitpid(child, &status, 0) == child && status == 0);
    state(id);
    MUST(munmap(at, 4096) == 0);
    state(id);
    SHOW(shmctl(id, IPC_RMID, NULL));
}
