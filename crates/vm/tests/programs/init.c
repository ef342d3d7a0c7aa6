/* The first process of an emulated machine: loads KVM, runs one program, says how it ended. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void load(const char *path, const char *how) {
    int file = open(path, O_RDONLY);
    if (file < 0 || syscall(SYS_finit_module, file, how, 0)) perror(path);
    close(file);
}

int main(void) {
    char how[64];
    mkdir("/dev", 0755), mkdir("/proc", 0755), mkdir("/tmp", 01777), mkdir("/sys", 0755);
    mount("none", "/dev", "devtmpfs", 0, NULL);
    mount("none", "/proc", "proc", 0, NULL);
    mount("none", "/sys", "sysfs", 0, NULL);
    mount("none", "/tmp", "tmpfs", 0, NULL);
    /* What the kernel does not know of its command line is in the environment. */
    snprintf(how, sizeof how, "npt=%s nested=0", getenv("npt") ? getenv("npt") : "1");
    load("/modules/irqbypass.ko", "");
    load("/modules/kvm.ko", "");
    load("/modules/kvm-amd.ko", how);
    pid_t child = fork();
    if (child == 0) {
        setenv("RINGFENCE_EMULATED", "1", 1);
        setenv("RUST_BACKTRACE", "0", 1);
        execl("/inside", "inside", "--exact", "inside", "--nocapture", NULL);
        perror("/inside");
        _exit(127);
    }
    int status = 0;
    waitpid(child, &status, 0);
    printf("\nended with %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    fflush(stdout);
    sync();
    reboot(RB_AUTOBOOT);
    for (;;) pause();
}
