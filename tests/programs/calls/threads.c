/* pthreads(7): clone(2), tgkill(2), robust futexes, storage of threads' own */
#include "show.h"
#include <semaphore.h>
static _Thread_local int own = 5;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER, robust;
static pthread_cond_t bell = PTHREAD_COND_INITIALIZER;
static int turn, caught;
static pid_t ids[8];
static void *count(void *argument) {
    long me = (long)argument;
    own += me;
    ids[me] = gettid();
    for (int i = 0; i < 50; i++) {
        pthread_mutex_lock(&mutex);
        while (turn % 4 != me) pthread_cond_wait(&bell, &mutex);
        turn++;
        pthread_cond_broadcast(&bell);
        pthread_mutex_unlock(&mutex);
    }
    return (void *)(long)own;
}
static void *dies(void *argument) { pthread_mutex_lock(&robust); return argument; }
static void *sleeps(void *argument) { pause(); return argument; }
static void handler(int signal) { (void)signal; caught = gettid(); }
static void *leaves(void *argument) { (void)argument; pthread_exit((void *)3); }
int main(int words, char **word) {
    (void)word;
    if (words > 1) return 14;
    pthread_t threads[4];
    void *value;
    for (long i = 0; i < 4; i++) MUST(pthread_create(&threads[i], NULL, count, (void *)i) == 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &value);
        printf("thread %d: %ld\n", i, (long)value);
    }
    printf("turns %d, own %d\n", turn, own);
    SHOW(gettid() == getpid());
    SHOW(ids[0] != ids[1] && ids[0] != getpid());
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &kind);
    pthread_create(threads, NULL, dies, NULL);
    pthread_join(threads[0], NULL);
    SHOW(pthread_mutex_lock(&robust) == EOWNERDEAD);
    SHOW(pthread_mutex_consistent(&robust));
    SHOW(pthread_mutex_unlock(&robust));
    signal(SIGUSR1, handler);
    pthread_create(threads, NULL, sleeps, NULL);
    while (pthread_tryjoin_np(threads[0], NULL) != 0) { pthread_kill(threads[0], SIGUSR1); usleep(1000); }
    SHOW(caught != 0 && caught != getpid());
    pthread_create(threads, NULL, sleeps, NULL);
    SHOW(pthread_cancel(threads[0]));
    SHOW(pthread_join(threads[0], &value));
    SHOW(value == PTHREAD_CANCELED);
    pthread_create(threads, NULL, leaves, NULL);
    pthread_join(threads[0], &value);
    SHOW(value);
    sem_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    sem_init(shared, 1, 0);
    CHILD("a semaphore of two processes", sem_post(shared));
    SHOW(sem_trywait(shared));
    SHOW(sem_trywait(shared));
    char name[32];
    SHOW(pthread_setname_np(pthread_self(), "a-name"));
    SHOW(pthread_getname_np(pthread_self(), name, sizeof name));
    puts(name);
    CHILD("exit of one thread goes on", pthread_create(threads, NULL, leaves, NULL); pthread_exit(NULL));
    CHILD("exit_group ends all", pthread_create(threads, NULL, sleeps, NULL); _exit(12));
    CHILD("a signal ends all", pthread_create(threads, NULL, sleeps, NULL); raise(SIGTERM));
    CHILD("a thread's own execve", pthread_create(threads, NULL, sleeps, NULL);
          execl("/proc/self/exe", "x", "gone", NULL));
}
