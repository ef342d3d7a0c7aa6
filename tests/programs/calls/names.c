/* prctl(2): names and what else is kept; personality(2); proc_pid_comm(5), proc_pid_oom_score_adj(5) */
#include "show.h"
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
static const char *said(const char *file) {
    static char text[128];
    int f = open(file, O_RDONLY);
    long count = f < 0 ? -1 : read(f, text, sizeof text - 1);
    if (f >= 0) close(f);
    if (count < 0) return strerrorname_np(errno);
    text[count] = 0;
    return text;
}
static long say(const char *file, const char *text) {
    int f = open(file, O_WRONLY | O_TRUNC);
    if (f < 0) return -1;
    long count = write(f, text, strlen(text));
    int error = errno;
    close(f);
    errno = error;
    return count;
}
static char mine[64], name[16];
static const char *own(void) { prctl(PR_GET_NAME, name); return name; }
static void *rename_thread(void *unused) {
    printf("a thread begins as %s\n", own());
    SHOW(prctl(PR_SET_NAME, "a thread of it, whose name is long"));
    puts(own());
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/comm", gettid());
    printf("%s%s%s", said(path), said("/proc/thread-self/comm"), said("/proc/self/comm"));
    SHOW(say(path, "written"));
    puts(own());
    fflush(stdout);
    CHILD("a child is named after the thread", puts(own()));
    SHOW(say(mine, "the first"));
    return unused;
}
static const char *field(const char *key) {
    static char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, file)) if (strncmp(line, key, strlen(key)) == 0) break;
    fclose(file);
    return line;
}
int main(int count, char **arguments) {
    if (count > 1) {
        puts(own());
        SHOW(personality(0xffffffff));
        SHOW(prctl(PR_GET_KEEPCAPS));
        SHOW(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
        SHOW(prctl(PR_GET_TIMERSLACK));
        return 0;
    }
    snprintf(mine, sizeof mine, "/proc/self/task/%d/comm", getpid());
    puts(own());
    SHOW(prctl(PR_SET_NAME, NOWHERE));
    SHOW(prctl(PR_GET_NAME, NOWHERE));
    SHOW(prctl(PR_SET_NAME, "first"));
    pthread_t thread;
    pthread_create(&thread, NULL, rename_thread, NULL);
    pthread_join(thread, NULL);
    puts(own());
    printf("%s%s", said("/proc/self/comm"), field("Name:"));
    SHOW(say("/proc/self/comm", "by its file, cut"));
    puts(own());
    SHOW(say("/proc/self/none", "x"));
    SHOW(access("/proc/self/comm", W_OK));
    struct stat status;
    SHOW(stat("/proc/self/comm", &status));
    SHOW(status.st_mode);

    SHOW(say("/proc/self/oom_score_adj", "500\n"));
    puts(said("/proc/self/oom_score_adj"));
    SHOW(say("/proc/self/oom_score_adj", "0x3e8"));
    puts(said("/proc/self/oom_score_adj"));
    SHOW(say("/proc/self/oom_score_adj", "1001"));
    SHOW(say("/proc/self/oom_score_adj", "-1001"));
    SHOW(say("/proc/self/oom_score_adj", "much"));
    CHILD("a child has the same", puts(said("/proc/self/oom_score_adj")));

    SHOW(personality(0xffffffff));
    SHOW(personality(UNAME26 | ADDR_NO_RANDOMIZE));
    struct utsname names;
    uname(&names);
    SHOW(strncmp(names.release, "2.6.", 4));
    SHOW(personality(PER_LINUX32));
    uname(&names);
    puts(names.machine);
    puts(said("/proc/self/personality"));
    SHOW(personality(ADDR_NO_RANDOMIZE | STICKY_TIMEOUTS | READ_IMPLIES_EXEC));
    CHILD("another program", SHOW(personality(0xffffffff)); prctl(PR_SET_KEEPCAPS, 1);
          prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); prctl(PR_SET_TIMERSLACK, 70000);
          execl("/proc/self/exe", "other", "again", NULL));
    SHOW(personality(0));

    SHOW(prctl(PR_SET_KEEPCAPS, 1));
    SHOW(prctl(PR_GET_KEEPCAPS));
    SHOW(prctl(PR_SET_KEEPCAPS, 0));
    SHOW(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
    CHILD("a child without larger pages", SHOW(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0)));
    SHOW(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0));
    SHOW(prctl(PR_SET_THP_DISABLE, 0, 1, 0, 0));
    SHOW(prctl(PR_GET_THP_DISABLE, 1, 0, 0, 0));
    SHOW(prctl(PR_SET_TIMERSLACK, 70000));
    puts(said("/proc/self/timerslack_ns"));
    CHILD("slack of a child", SHOW(prctl(PR_GET_TIMERSLACK)); prctl(PR_SET_TIMERSLACK, 5);
          SHOW(prctl(PR_SET_TIMERSLACK, 0)); SHOW(prctl(PR_GET_TIMERSLACK)));
    SHOW(prctl(PR_SET_TIMERSLACK, 0));
    SHOW(prctl(PR_GET_TIMERSLACK));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 1, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 10, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 10, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 999, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, 99, 1, 0, 0));
    SHOW(prctl(PR_SET_SECCOMP, 2, -1L));
    SHOW(prctl(PR_SET_SECCOMP, 3));
}
