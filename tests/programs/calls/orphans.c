/* Stopping, going on, and groups that nobody can continue any more: setpgid(2), _exit(2) of POSIX. */
#include "show.h"
#include <sys/prctl.h>
#include <sys/wait.h>
static int line[2];
/* What became of whom nobody waits for: its signals say it by themselves. */
static void hear(int signal) {
    char said = signal == SIGHUP ? 'h' : 'c';
    MUST(write(line[1], &said, 1) == 1);
    if (signal == SIGCONT) _exit(0);
}
static void look(const char *what) {
    char said[8] = {0};
    size_t length = 0;
    ssize_t count;
    while ((count = read(line[0], said + length, sizeof said - 1 - length)) > 0) length += count;
    printf("%s: %s\n", what, said);
}
int main(void) {
    /* A leader that goes leaves one behind that is stopped. */
    MUST(pipe(line) == 0);
    pid_t leader = fork();
    MUST(leader >= 0);
    if (leader == 0) {
        MUST(setpgid(0, 0) == 0);
        pid_t behind = fork();
        if (behind == 0) {
            signal(SIGHUP, hear), signal(SIGCONT, hear);
            raise(SIGSTOP);
            for (;;) pause();
        }
        int status;
        MUST(waitpid(behind, &status, WUNTRACED) == behind && WIFSTOPPED(status));
        _exit(0);
    }
    close(line[1]);
    SHOW(waitpid(leader, 0, 0) == leader);
    look("stopped");
    close(line[0]);
    /* One that runs is told nothing. */
    int end[2];
    MUST(pipe(line) == 0 && pipe(end) == 0);
    if ((leader = fork()) == 0) {
        MUST(setpgid(0, 0) == 0);
        if (fork() == 0) {
            char byte;
            close(end[1]);
            signal(SIGHUP, hear), signal(SIGCONT, hear);
            while (read(end[0], &byte, 1) < 0) {}
            _exit(0);
        }
        _exit(0);
    }
    close(line[1]);
    SHOW(waitpid(leader, 0, 0) == leader);
    close(end[1]);
    look("running");
    close(line[0]);
    /* A stop and a continuation right after it: whoever is told last to go on goes on. */
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0);
        for (;;) {}
    }
    setpgid(child, child);
    for (int time = 0; time < 2000; time++) {
        MUST(kill(child, SIGTSTP) == 0);
        MUST(kill(child, SIGCONT) == 0);
    }
    MUST(kill(child, SIGTERM) == 0);
    int status;
    SHOW(waitpid(child, &status, 0) == child);
    SHOW(WTERMSIG(status));
}
