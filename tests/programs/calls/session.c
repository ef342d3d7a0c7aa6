/* setpgid(2), setsid(2), getsid(2), credentials(7) */
#include "show.h"
int main(void) {
    int status;
    CHILD("a session",
          SHOW(setsid() == getpid());
          SHOW(getsid(0) == getpid() && getpgrp() == getpid());
          SHOW(setsid());
          SHOW(setpgid(0, 0));
          SHOW(open("/dev/tty", O_RDWR)));
    CHILD("a group",
          SHOW(setpgid(0, 0));
          SHOW(getpgrp() == getpid());
          SHOW(getsid(0) == getsid(getppid()));
          SHOW(setsid()));
    SHOW(setpgid(0, -1));
    SHOW(setpgid(-1, 0));
    SHOW(setpgid(99999, 0));
    SHOW(setpgid(0, 99999));
    SHOW(getpgid(99999));
    SHOW(getsid(99999));
    int ends[2];
    MUST(pipe(ends) == 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) { char byte; close(ends[1]); read(ends[0], &byte, 1); _exit(0); }
    SHOW(setpgid(child, child));
    SHOW(getpgid(child) == child);
    SHOW(kill(-child, 0));
    SHOW(waitpid(-child, &status, WNOHANG));
    SHOW(kill(-child, SIGTERM));
    SHOW(waitpid(-child, &status, 0) == child);
    show_end("by its group", status);
    SHOW(kill(-child, 0));
    SHOW(getuid() == geteuid() && getgid() == getegid());
    uid_t r, e, s;
    SHOW(getresuid(&r, &e, &s));
    SHOW(r == getuid() && e == r && s == r);
    SHOW(setuid(getuid()));
    SHOW(getresuid(NOWHERE, &e, &s));
    SHOW(getgroups(0, NULL) >= 0);
    SHOW(getgroups(-1, NULL));
}
