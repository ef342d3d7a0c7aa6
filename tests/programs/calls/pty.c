/* pts(4), termios(3), tty_ioctl(4): a terminal, its line discipline and its session */
#include "show.h"
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>
static volatile int signals[65];
static void handler(int signal) { signals[signal]++; }
static int master, slave;
/* Reads what is shown, as much as there has to be; what is more is there for the next. */
static void shown(const char *what, int expected) {
    char text[256];
    long count = 0;
    if (expected == 0) count = read(master, text, sizeof text);
    else while (count < expected) {
        poll(&(struct pollfd){.fd = master, .events = POLLIN}, 1, -1);
        long more = read(master, text + count, expected - count);
        MUST(more > 0);
        count += more;
    }
    printf("%s shows %ld:", what, count);
    for (long i = 0; i < count; i++) printf(text[i] >= 32 && text[i] < 127 ? "%c" : "\\x%02x", (unsigned char)text[i]);
    puts("");
}
/* Types, and reads a line; as soon as so many bytes can be read, or at once for -1, which is none. */
static void typed(const char *text, int length, int expected) {
    char got[256];
    MUST(write(master, text, length) == length);
    int left = -1;
    do {
        if (expected >= 0) poll(&(struct pollfd){.fd = slave, .events = POLLIN}, 1, -1);
        ioctl(slave, FIONREAD, &left);
    } while (left < expected);
    fcntl(slave, F_SETFL, O_NONBLOCK | O_RDWR);
    long count = read(slave, got, sizeof got);
    fcntl(slave, F_SETFL, O_RDWR);
    printf("typed, %d there, read %ld %s:", left, count, count < 0 ? strerrorname_np(errno) : "");
    for (long i = 0; i < count; i++) printf(got[i] >= 32 && got[i] < 127 ? "%c" : "\\x%02x", (unsigned char)got[i]);
    puts("");
}
int main(void) {
    struct termios t;
    struct winsize size = {30, 100, 0, 0}, now;
    // Whoever runs this in the background may have some ignored.
    for (int number = 1; number < 32; number++) signal(number, SIG_DFL);
    MUST(openpty(&master, &slave, NULL, NULL, &size) == 0);
    fcntl(master, F_SETFL, O_NONBLOCK | O_RDWR);
    SHOW(isatty(slave));
    SHOW(isatty(master));
    SHOW(strncmp(ttyname(slave), "/dev/pts/", 9));
    SHOW(tcgetattr(slave, &t));
    printf("%x %x %x %x\n", t.c_iflag, t.c_oflag, t.c_cflag & ~CBAUD, t.c_lflag);
    for (int i = 0; i < 17; i++) printf("%d ", t.c_cc[i]);
    puts("");
    SHOW(ioctl(slave, TIOCGWINSZ, &now));
    printf("%d %d\n", now.ws_row, now.ws_col);
    SHOW(tcgetpgrp(slave));
    SHOW(write(slave, "a line\n", 7));
    shown("output", 8);
    typed("hello\r", 6, 6);
    shown("echo", 7);
    typed("not yet", 7, -1);
    shown("echo", 7);
    typed("\177\177\177done\n", 8, 9);
    shown("erasing", 15);
    typed("a word\027b\n", 9, 4);
    shown("a word erased", 21);
    typed("gone\025kept\n", 10, 5);
    shown("a line erased", 22);
    typed("\026\003\n", 3, 2);
    shown("quoted", 6);
    typed("end\004", 4, 3);
    typed("\004", 1, 0);
    shown("end", 3);
    typed("two\nlines\n", 10, 10);
    typed("", 0, 6);
    shown("both", 12);
    t.c_lflag &= ~ECHO;
    SHOW(tcsetattr(slave, TCSANOW, &t));
    typed("silent\n", 7, 7);
    shown("no echo", 0);
    cfmakeraw(&t);
    SHOW(tcsetattr(slave, TCSAFLUSH, &t));
    typed("raw\r\003\004", 6, 6);
    write(slave, "x\ny\n", 4);
    shown("raw", 4);
    t.c_cc[VMIN] = 0;
    t.c_cc[VTIME] = 1;
    tcsetattr(slave, TCSANOW, &t);
    char byte;
    SHOW(read(slave, &byte, 1));
    write(master, "queue", 5);
    SHOW(tcflush(slave, TCIFLUSH));
    SHOW(read(slave, &byte, 1));
    close(slave);
    SHOW(read(master, &byte, 1));
    close(master);
    /* A session of its own. */
    pid_t child = forkpty(&master, NULL, NULL, &size);
    if (child == 0) {
        signal(SIGINT, handler);
        signal(SIGWINCH, handler);
        sigset_t awaited, before;
        sigemptyset(&awaited);
        sigaddset(&awaited, SIGINT);
        sigaddset(&awaited, SIGWINCH);
        sigprocmask(SIG_BLOCK, &awaited, &before);
        printf("leader %d foreground %d tty %d\n", getsid(0) == getpid(), tcgetpgrp(0) == getpid(), open("/dev/tty", O_RDWR) >= 0);
        puts("ready");
        while (!signals[SIGINT]) sigsuspend(&before);
        sigprocmask(SIG_SETMASK, &before, NULL);
        printf("interrupted, resized %d\n", signals[SIGWINCH] > 0);
        ioctl(0, TIOCGWINSZ, &now);
        printf("%d lines\n", now.ws_row);
        pid_t behind = fork();
        if (behind == 0) {
            setpgid(0, 0);
            char one;
            read(0, &one, 1);
            _exit(1);
        }
        int status;
        setpgid(behind, behind);
        waitpid(behind, &status, WUNTRACED);
        printf("behind: stopped %d by SIGTTIN %d\n", WIFSTOPPED(status), WSTOPSIG(status) == SIGTTIN);
        signal(SIGTTOU, SIG_IGN);
        printf("in front %d\n", tcsetpgrp(0, behind));
        kill(-behind, SIGCONT);
        waitpid(behind, &status, WUNTRACED);
        printf("read: exit %d\n", WEXITSTATUS(status));
        tcsetpgrp(0, getpgrp());
        /* Echo and output come in no order that anyone promised. */
        tcgetattr(0, &t);
        t.c_lflag &= ~ECHO;
        tcsetattr(0, TCSANOW, &t);
        puts("last");
        char line[32];
        long count = read(0, line, sizeof line);
        printf("%.*s", (int)count, line);
        _exit(5);
    }
    FILE *from = fdopen(master, "r");
    char line[128];
    while (fgets(line, sizeof line, from)) {
        printf("> %s", line);
        if (strstr(line, "ready")) {
            size.ws_row = 31;
            ioctl(master, TIOCSWINSZ, &size);
            write(master, "\003", 1);
        }
        if (strstr(line, "in front")) write(master, "q\n", 2);
        if (strstr(line, "last")) write(master, "bye\n", 4);
    }
    SHOW(ferror(from) != 0);
    int status;
    SHOW(waitpid(child, &status, 0) == child);
    show_end("child", status);
    /* Whoever hangs up ends the session. */
    child = forkpty(&master, NULL, NULL, NULL);
    if (child == 0) {
        puts("in its session");
        for (;;) pause();
    }
    MUST(read(master, &byte, 1) == 1);
    close(master);
    SHOW(waitpid(child, &status, 0) == child);
    show_end("hung up", status);
    int f = open("f", O_RDWR | O_CREAT, 0600);
    SHOW(isatty(f));
    SHOW(isatty(99));
    SHOW(ioctl(f, TIOCGWINSZ, &now));
    SHOW(tcgetattr(f, &t));
}
