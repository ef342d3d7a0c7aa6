/* execve(2), execveat(2), fexecve(3) */
#include "show.h"
int main(int count, char **arguments) {
    if (count > 1 && strcmp(arguments[1], "again") == 0) {
        for (int i = 0; i < count; i++) printf("argument %d: %s\n", i, i ? arguments[i] : "-");
        for (char **e = environ; *e; e++) puts(*e);
        printf("kept %d closed %d\n", fcntl(10, F_GETFD), fcntl(11, F_GETFD));
        sigset_t set;
        sigprocmask(SIG_SETMASK, NULL, &set);
        struct sigaction action;
        sigaction(SIGUSR1, NULL, &action);
        printf("blocked %d ", sigismember(&set, SIGUSR2));
        printf("handled %d ", action.sa_handler != SIG_DFL);
        sigaction(SIGINT, NULL, &action);
        printf("ignored %d\n", action.sa_handler == SIG_IGN);
        return 21;
    }
    char self[512] = {0};
    MUST(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    char *words[] = {"name", "again", "two words", "", NULL}, *variables[] = {"A=1", "B=", NULL};
    SHOW(execve("missing", words, variables));
    SHOW(execve(NOWHERE, words, variables));
    SHOW(execve(".", words, variables));
    SHOW(execve("", words, variables));
    int f = open("text", O_RDWR | O_CREAT, 0600);
    write(f, "no program", 10);
    SHOW(execve("text", words, variables));
    chmod("text", 0700);
    close(f);
    SHOW(execve("text", words, variables));
    SHOW(execve("text/more", words, variables));
    SHOW(execve(self, NOWHERE, variables));
    dup2(1, 10);
    dup3(1, 11, O_CLOEXEC);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGUSR1, show_end == NULL ? SIG_DFL : (void (*)(int))show_end);
    signal(SIGINT, SIG_IGN);
    CHILD("execve", execve(self, words, variables));
    f = open(self, O_RDONLY | O_CLOEXEC);
    CHILD("fexecve", fexecve(f, words, variables));
    SHOW(syscall(SYS_execveat, f, "", words, variables, 0));
    SHOW(syscall(SYS_execveat, AT_FDCWD, "missing", words, variables, 0));
    SHOW(syscall(SYS_execveat, 99, "x", words, variables, 0));
    SHOW(syscall(SYS_execveat, f, "x", words, variables, 0));
    SHOW(syscall(SYS_execveat, AT_FDCWD, self, words, variables, 0x40));
    symlink(self, "link");
    SHOW(syscall(SYS_execveat, AT_FDCWD, "link", words, variables, AT_SYMLINK_NOFOLLOW));
    CHILD("execveat", syscall(SYS_execveat, AT_FDCWD, self, words, variables, 0));
    CHILD("vfork and execve", pid_t p = vfork(); if (p == 0) { execve(self, words, variables); _exit(1); }
          int s; waitpid(p, &s, 0); exit(WEXITSTATUS(s)));
    static char *many[70001];
    for (int i = 0; i < 70000; i++) many[i] = "";
    CHILD("many words", execve("/bin/true", many, (char *[]){NULL}));
    CHILD("a thread", pid_t p = getpid(); (void)p; execve(self, (char *[]){"x", "again", NULL}, (char *[]){NULL}));
}
