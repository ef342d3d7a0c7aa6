/* Tries what no confined program may do. Each attempt prints its name and what came of it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/ethtool.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/route.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <unistd.h>

static void say(const char *name, long result) {
    if (result == -1)
        printf("%s %s\n", name, strerrorname_np(errno));
    else
        printf("%s done\n", name);
    fflush(stdout);
}

static int is(const char *a, const char *b) { return strcmp(a, b) == 0; }

static void requests(void);

static void calls(void) {
    char buffer[256] = {0};
    struct iovec here = {buffer, sizeof buffer}, there = {buffer, sizeof buffer};
    say("ptrace", ptrace(PTRACE_ATTACH, 1, 0, 0));
    say("no_call", syscall(-1));
    say("huge_pages", (long)mmap(0, 2 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0));
    say("huge_memfd", memfd_create("huge", MFD_HUGETLB));
    say("huge_segment", shmget(IPC_PRIVATE, 2 << 20, IPC_CREAT | SHM_HUGETLB | SHM_NORESERVE | 0600));
    /* A segment that is routed by another host: RFC 8754. */
    int six = socket(AF_INET6, SOCK_STREAM, 0);
    unsigned char route[40] = {0, 4, 4, 1, 1, 0, 0, 0, 0xfd, [23] = 1, [24] = 0xfd, [39] = 2};
    say("routing_header", setsockopt(six, IPPROTO_IPV6, IPV6_RTHDR, route, sizeof route));
    say("routing_header_of_old", setsockopt(six, IPPROTO_IPV6, 5, route, sizeof route));
    say("hop_options", setsockopt(six, IPPROTO_IPV6, IPV6_HOPOPTS, route, 8));
    say("source_route", setsockopt(socket(AF_INET, SOCK_STREAM, 0), IPPROTO_IP, IP_OPTIONS, route, 4));
    struct rlimit few = {3, 3};
    say("prlimit_of_pid_1", prlimit(1, RLIMIT_NOFILE, &few, 0));
    say("prlimit_of_itself", prlimit(0, RLIMIT_NOFILE, 0, &few));
    say("prlimit_by_its_number", prlimit(getpid(), RLIMIT_NOFILE, 0, &few));
    say("process_vm_readv", process_vm_readv(1, &here, 1, &there, 1, 0));
    say("process_vm_writev", process_vm_writev(1, &here, 1, &there, 1, 0));
    say("kcmp", syscall(SYS_kcmp, 1, 1, 0, 0, 0));
    say("pidfd_getfd", syscall(SYS_pidfd_getfd, 0, 0, 0));
    say("keyctl", syscall(SYS_keyctl, 0, -3, 1));
    say("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -3));
    say("io_uring_setup", syscall(SYS_io_uring_setup, 4, buffer));
    say("userfaultfd", syscall(SYS_userfaultfd, 1));
    say("bpf", syscall(SYS_bpf, 0, buffer, 64));
    say("perf_event_open", syscall(SYS_perf_event_open, buffer, 0, -1, -1, 0));
    say("unshare_user", unshare(CLONE_NEWUSER));
    say("unshare_mount", unshare(CLONE_NEWNS));
    say("unshare_files", unshare(CLONE_FILES));
    say("clone_user", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
    say("clone3", syscall(SYS_clone3, buffer, 88));
    say("setns", syscall(SYS_setns, 0, 0));
    say("mount", mount("none", "/", "tmpfs", 0, ""));
    say("umount", umount2("/proc", MNT_DETACH));
    say("pivot_root", syscall(SYS_pivot_root, "/", "/"));
    say("chroot", chroot("/"));
    say("open_tree", syscall(SYS_open_tree, -100, "/", 1));
    say("open_by_handle_at", syscall(SYS_open_by_handle_at, 0, buffer, 0));
    say("name_to_handle_at", syscall(SYS_name_to_handle_at, -100, "/", buffer, buffer, 0));
    say("mknod_device", mknod("/tmp/null", S_IFCHR | 0666, makedev(1, 3)));
    say("mknod_disk", mknod("/tmp/disk", S_IFBLK | 0666, makedev(254, 0)));
    close(open("/data/renamed", O_CREAT | O_WRONLY, 0600));
    say("whiteout", syscall(SYS_renameat2, AT_FDCWD, "/data/renamed", AT_FDCWD, "/data/left", 4 /* RENAME_WHITEOUT */));
    say("mq_open", syscall(SYS_mq_open, "queue", O_CREAT | O_RDWR, 0600, 0));
    say("init_module", syscall(SYS_init_module, buffer, 1, ""));
    say("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0));
    say("reboot", syscall(SYS_reboot, 0xfee1dead, 0x28121969, 0, 0));
    say("swapon", syscall(SYS_swapon, "/tmp", 0));
    say("sethostname", sethostname("x", 1));
    say("settimeofday", syscall(SYS_settimeofday, 0, 0));
    say("syslog", syscall(SYS_syslog, 3, buffer, 10));
    say("quotactl", syscall(SYS_quotactl, 0, 0, 0, 0));
    say("fanotify_init", syscall(SYS_fanotify_init, 0, 0));
    say("acct", syscall(SYS_acct, 0));
    say("vhangup", syscall(SYS_vhangup));
    say("personality", syscall(SYS_personality, 0x0100000)); /* MMAP_PAGE_ZERO */
    say("TIOCSTI", ioctl(0, TIOCSTI, "x"));
    say("TIOCSTI_high", ioctl(0, TIOCSTI | 0x100000000UL, "x"));
    say("TIOCLINUX", ioctl(0, TIOCLINUX, "x"));
    say("setuid", setuid(12345));
    say("setgroups", syscall(SYS_setgroups, 0, 0));
    say("unknown", syscall(9999));
}

static void sockets(void) {
    struct { const char *name; int family, type, protocol; } kinds[] = {
        {"tcp", AF_INET, SOCK_STREAM, 0},
        {"tcp6", AF_INET6, SOCK_STREAM, 0},
        {"udp", AF_INET, SOCK_DGRAM, 0},
        {"unix_stream", AF_UNIX, SOCK_STREAM, 0},
        {"unix_datagram", AF_UNIX, SOCK_DGRAM, 0},
        {"unix_raw", AF_UNIX, SOCK_RAW, 0},
        {"mptcp", AF_INET, SOCK_STREAM, 262},
        {"sctp", AF_INET, SOCK_STREAM, 132},
        {"sctp_seqpacket", AF_INET, SOCK_SEQPACKET, 132},
        {"dccp", AF_INET, 6, 33},
        {"udplite", AF_INET, SOCK_DGRAM, 136},
        {"icmp", AF_INET, SOCK_DGRAM, 1},
        {"raw", AF_INET, SOCK_RAW, 255},
        {"packet", AF_PACKET, SOCK_RAW, 0},
        {"packet_in_inet", AF_INET, 10, 0},
        {"netlink_route", AF_NETLINK, SOCK_RAW, 0},
        {"netlink_diag", AF_NETLINK, SOCK_RAW, 4},
        {"netlink_audit", AF_NETLINK, SOCK_RAW, 9},
        {"netlink_uevent", AF_NETLINK, SOCK_RAW, 15},
        {"netlink_generic", AF_NETLINK, SOCK_RAW, 16},
        {"vsock", AF_VSOCK, SOCK_STREAM, 0},
        {"alg", AF_ALG, SOCK_SEQPACKET, 0},
        {"bluetooth", AF_BLUETOOTH, SOCK_RAW, 0},
        {"xdp", 44, SOCK_RAW, 0},
        {"smc", 43, SOCK_STREAM, 0},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        int fd = socket(kinds[i].family, kinds[i].type, kinds[i].protocol);
        say(kinds[i].name, fd);
        if (fd >= 0) close(fd);
    }
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(9)};
    inet_pton(AF_INET, "127.0.0.1", &at.sin_addr);
    say("fastopen_sendto", sendto(fd, "x", 1, MSG_FASTOPEN, (void *)&at, sizeof at));
    struct iovec part = {"x", 1};
    struct msghdr message = {.msg_name = &at, .msg_namelen = sizeof at, .msg_iov = &part, .msg_iovlen = 1};
    say("fastopen_sendmsg", sendmsg(fd, &message, MSG_FASTOPEN));
    struct mmsghdr messages = {.msg_hdr = message};
    say("fastopen_sendmmsg", sendmmsg(fd, &messages, 1, MSG_FASTOPEN));
    int datagram = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq interface = {.ifr_name = "lo"};
    say("SIOCGIFFLAGS", ioctl(datagram, SIOCGIFFLAGS, &interface));
    say("SIOCSIFFLAGS", ioctl(datagram, SIOCSIFFLAGS, &interface));
    say("SIOCSIFADDR", ioctl(datagram, SIOCSIFADDR, &interface));
    say("SIOCADDRT", ioctl(datagram, SIOCADDRT, &interface));
    say("SIOCETHTOOL", ioctl(datagram, SIOCETHTOOL, &interface));
    requests();
    int ends[2];
    say("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    say("socketpair_datagram", socketpair(AF_UNIX, SOCK_DGRAM, 0, ends));
}

/* What the kernel answers to a request of rtnetlink(7). */
static void request(const char *name, int type, const void *body, size_t length) {
    struct { struct nlmsghdr head; char body[64]; } ask = {{NLMSG_LENGTH(length), type, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE, 1, 0}, {0}};
    memcpy(ask.body, body, length);
    int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    char answer[4096] = {0};
    struct nlmsghdr *head = (void *)answer;
    if (sendto(fd, &ask, ask.head.nlmsg_len, 0, (void *)&kernel, sizeof kernel) < 0 || recv(fd, answer, sizeof answer, 0) < 0) {
        say(name, -1);
    } else {
        errno = head->nlmsg_type == NLMSG_ERROR ? -((struct nlmsgerr *)NLMSG_DATA(head))->error : 0;
        say(name, errno ? -1 : 0);
    }
    close(fd);
}

static void requests(void) {
    struct ifinfomsg link = {.ifi_family = AF_UNSPEC, .ifi_index = 1, .ifi_change = IFF_UP};
    struct { struct ifaddrmsg head; struct rtattr about; unsigned char address[4]; } address = {
        {AF_INET, 24, 0, 0, 1}, {RTA_LENGTH(4), IFA_LOCAL}, {10, 9, 8, 7}};
    struct rtmsg route = {.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_STATIC, .rtm_type = RTN_BLACKHOLE};
    request("get_link", RTM_GETLINK, &link, sizeof link);
    request("set_link", RTM_SETLINK, &link, sizeof link);
    request("new_address", RTM_NEWADDR, &address, sizeof address);
    request("new_route", RTM_NEWROUTE, &route, sizeof route);
    int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    struct sockaddr_nl own = {.nl_family = AF_NETLINK};
    say("netlink_bound", bind(fd, (void *)&own, sizeof own));
    int second = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    own.nl_groups = RTMGRP_LINK;
    say("netlink_groups", bind(second, (void *)&own, sizeof own));
    close(fd), close(second);
}

static int to_unix(const char *path, int abstract) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    strncpy(at.sun_path + abstract, path, sizeof at.sun_path - 2);
    say(abstract ? "abstract" : "pathname",
        connect(fd, (void *)&at, offsetof(struct sockaddr_un, sun_path) + abstract + strlen(path)));
    close(fd);
    return 0;
}

static void to_tcp(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    say("tcp", connect(fd, (void *)&at, sizeof at));
    close(fd);
}

static void files(void) {
    const char *paths[] = {
        "/proc/self/exe", "/proc/1/exe", "/proc/1/mem", "/proc/1/root/etc/passwd", "/proc/kcore", "/proc/sysrq-trigger",
        "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/keys", "/proc/kallsyms", "/sys/kernel",
        "/sys/fs/cgroup", "/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/fuse", "/dev/kvm", "/dev/net/tun",
        "/dev/tty", "/dev/pts/0", "/etc/shadow", "/root", "/home", "/run", "/var", "/proc/self/mem_of_nobody",
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        int fd = open(paths[i], O_RDWR);
        if (fd < 0 && errno == EISDIR) fd = open(paths[i], O_RDONLY | O_DIRECTORY);
        say(paths[i], fd);
        if (fd >= 0) close(fd);
    }
    say("write_null", open("/dev/null", O_RDWR));
    say("replace_passwd", open("/etc/passwd", O_WRONLY | O_TRUNC));
    say("make_in_root", mkdir("/new", 0777));
    say("make_in_usr", mkdir("/usr/new", 0777));
    say("make_in_dev", mkdir("/dev/new", 0777));
    say("rename_root", rename("/usr", "/usr2"));
    say("chmod_null", chmod("/dev/null", 0));
    say("unlink_etc", unlink("/etc/hosts"));
}

static void inherited(void) {
    char path[64], target[512], folder[512];
    for (int fd = 0; fd < 4096; fd++) {
        if (fcntl(fd, F_GETFD) == -1) continue;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(path, target, sizeof target - 1);
        printf("fd %d %.*s\n", fd, length > 0 ? (int)length : 0, target);
    }
    printf("cwd %s\n", getcwd(folder, sizeof folder) ? folder : "?");
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    for (int number = 1; number < 64; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL) printf("handled %d\n", number);
        if (sigismember(&mask, number) == 1) printf("blocked %d\n", number);
    }
    printf("session %d\n", getsid(0) == getpid());
}

/* Another process, by a number it has outside. */
static void process(int pid) {
    char buffer[16];
    struct iovec here = {buffer, sizeof buffer}, there = {buffer, sizeof buffer};
    say("ptrace_attach", ptrace(PTRACE_ATTACH, pid, 0, 0));
    say("ptrace_seize", ptrace(PTRACE_SEIZE, pid, 0, 0));
    say("process_vm_readv", process_vm_readv(pid, &here, 1, &there, 1, 0));
    say("process_vm_writev", process_vm_writev(pid, &here, 1, &there, 1, 0));
    say("pidfd_open", syscall(SYS_pidfd_open, pid, 0));
    say("kcmp", syscall(SYS_kcmp, getpid(), pid, 0, 0, 0));
    say("kill", kill(pid, SIGTERM));
    say("sched_getaffinity", syscall(SYS_sched_getaffinity, pid, sizeof buffer, buffer));
    say("prlimit", syscall(SYS_prlimit64, pid, 7, 0, buffer));
}

/* A way for a descriptor to somebody outside: a name to be found under, or a stream to send it by. */
static void pass(const char *path) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    strncpy(at.sun_path, path, sizeof at.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    say("bind", bind(fd, (void *)&at, sizeof at));
    say("listen", listen(fd, 1));
    char control[CMSG_SPACE(sizeof(int))] = {0}, byte = 'x';
    struct iovec part = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    const char *names[] = {"stdin", "stdout", "stderr"};
    for (int stream = 0; stream < 3; stream++) say(names[stream], sendmsg(stream, &message, 0));
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "";
    if (is(what, "calls")) calls();
    else if (is(what, "sockets")) sockets();
    else if (is(what, "files")) files();
    else if (is(what, "inherited")) inherited();
    else if (is(what, "process")) process(atoi(words[2]));
    else if (is(what, "pass")) pass(words[2]);
    else if (is(what, "whoami")) printf("%d %d\n", geteuid(), getegid());
    else if (is(what, "unix")) to_unix(words[2], 0);
    else if (is(what, "abstract")) to_unix(words[2], 1);
    else if (is(what, "reach")) {
        to_tcp(atoi(words[2]));
        to_unix(words[3], 1);
    } else if (is(what, "kill")) {
        say("kill_outside", kill(atoi(words[2]), SIGTERM));
        say("kill_init", kill(1, SIGKILL));
        say("kill_all", kill(-1, SIGCONT));
    } else if (is(what, "int80")) {
        long result = 20;
#ifdef __x86_64__
        __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
#endif
        printf("int80 %ld\n", result);
    } else if (is(what, "x32")) {
        printf("x32 %ld\n", syscall(0x40000000 | SYS_getpid));
    } else if (is(what, "zombies")) {
        for (int i = 0; i < 300; i++)
            if (fork() == 0) {
                if (fork() == 0) _exit(0);
                _exit(0);
            }
        while (wait(NULL) > 0) {}
        printf("reaped\n");
    } else return 99;
    return 0;
}
