#include "show.h"
#include <ifaddrs.h>
#include <net/if.h>
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
/* netlink(7), rtnetlink(7), netdevice(7): what every machine has, whatever else it has */
static int line;
static void ask(const char *what, int type, int flags, int family, int index) {
    struct { struct nlmsghdr head; struct ifinfomsg info; } q = { { sizeof q, type, NLM_F_REQUEST | flags, 42, 0 }, { .ifi_family = family, .ifi_index = index } };
    printf("%s:\n", what);
    if (send(line, &q, sizeof q, 0) < 0) { printf("  %s\n", strerrorname_np(errno)); return; }
    char bytes[16384];
    for (int over = 0; !over;) {
        struct sockaddr_nl from; socklen_t length = sizeof from;
        struct pollfd poller = { line, POLLIN };
        if (poll(&poller, 1, 2000) != 1) { printf("  nothing\n"); return; }
        ssize_t n = recvfrom(line, bytes, sizeof bytes, 0, (void *)&from, &length);
        if (n < 0 || from.nl_pid || length != sizeof from) { printf("  from %d %d\n", from.nl_pid, length); return; }
        for (struct nlmsghdr *m = (void *)bytes; NLMSG_OK(m, n); m = NLMSG_NEXT(m, n)) {
            if (m->nlmsg_seq != 42) printf("  seq\n");
            if (m->nlmsg_type == NLMSG_DONE) { printf("  done\n"); over = 1; break; }
            if (m->nlmsg_type == NLMSG_ERROR) {
                struct nlmsgerr *e = NLMSG_DATA(m);
                printf("  error %d of type %d\n", e->error, e->msg.nlmsg_type); over = 1; break;
            }
            if (m->nlmsg_type == RTM_NEWLINK) {
                struct ifinfomsg *i = NLMSG_DATA(m);
                if (i->ifi_index != 1) continue;
                printf("  link %d type %d flags %#x change %#x\n", i->ifi_index, i->ifi_type, i->ifi_flags & 0x49, i->ifi_change);
                int left = m->nlmsg_len - NLMSG_LENGTH(sizeof *i);
                for (struct rtattr *a = IFLA_RTA(i); RTA_OK(a, left); a = RTA_NEXT(a, left))
                    if (a->rta_type == IFLA_IFNAME) printf("   %s\n", (char *)RTA_DATA(a));
                    else if (a->rta_type == IFLA_MTU) printf("   mtu %u\n", *(unsigned *)RTA_DATA(a));
            } else if (m->nlmsg_type == RTM_NEWADDR) {
                struct ifaddrmsg *i = NLMSG_DATA(m);
                if (i->ifa_index != 1) continue;
                printf("  address %d/%d scope %d flags %#x\n", i->ifa_family, i->ifa_prefixlen, i->ifa_scope, i->ifa_flags);
                int left = m->nlmsg_len - NLMSG_LENGTH(sizeof *i);
                for (struct rtattr *a = IFA_RTA(i); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
                    char text[64];
                    if (a->rta_type == IFA_ADDRESS) printf("   %s\n", inet_ntop(i->ifa_family, RTA_DATA(a), text, sizeof text));
                }
            }
            if (!(m->nlmsg_flags & NLM_F_MULTI)) over = 1;
        }
    }
}
int main(void) {
    SHOW(socket(AF_NETLINK, SOCK_STREAM, 0));
    SHOW(socket(AF_NETLINK, SOCK_RAW, 400));
    line = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    MUST(line >= 0);
    struct sockaddr_nl own = { AF_NETLINK }, got;
    SHOW(bind(line, (void *)&own, 4));
    SHOW(bind(line, (void *)&own, sizeof own));
    socklen_t length = sizeof got;
    SHOW(getsockname(line, (void *)&got, &length));
    SHOW(got.nl_family); SHOW(got.nl_pid != 0); SHOW(length);
    int value; length = sizeof value;
    SHOW(getsockopt(line, SOL_SOCKET, SO_TYPE, &value, &length)); SHOW(value);
    SHOW(getsockopt(line, SOL_SOCKET, SO_DOMAIN, &value, &length)); SHOW(value);
    SHOW(getsockopt(line, SOL_SOCKET, SO_PROTOCOL, &value, &length)); SHOW(value);
    value = 1;
    SHOW(setsockopt(line, SOL_NETLINK, NETLINK_EXT_ACK, &value, sizeof value));
    SHOW(setsockopt(line, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &value, sizeof value) * 0);
    SHOW(setsockopt(line, SOL_NETLINK, 99, &value, sizeof value));
    SHOW(listen(line, 1));
    SHOW(accept(line, 0, 0));
    SHOW(recv(line, &value, sizeof value, MSG_DONTWAIT));
    struct pollfd poller = { line, POLLIN | POLLOUT };
    SHOW(poll(&poller, 1, 0)); SHOW(poller.revents);
    ask("links", RTM_GETLINK, NLM_F_DUMP, 0, 0);
    ask("one link", RTM_GETLINK, 0, 0, 1);
    ask("no such link", RTM_GETLINK, 0, 0, 4711);
    ask("noop", NLMSG_NOOP, NLM_F_ACK, 0, 0);
    /* Peeked at, and cut. */
    struct { struct nlmsghdr head; struct ifinfomsg info; } q = { { sizeof q, RTM_GETLINK, NLM_F_REQUEST, 1, 0 }, { .ifi_index = 1 } };
    SHOW(send(line, &q, sizeof q, 0));
    char bytes[16384];
    long whole = recv(line, bytes, 4, MSG_PEEK | MSG_TRUNC);
    SHOW(whole > 32);
    SHOW(recv(line, bytes, 16, 0));
    SHOW(recv(line, bytes, sizeof bytes, MSG_DONTWAIT));
    struct ifaddrs *all;
    SHOW(getifaddrs(&all));
    for (struct ifaddrs *one = all; one; one = one->ifa_next) {
        if (strcmp(one->ifa_name, "lo")) continue;
        char text[64] = "";
        if (one->ifa_addr->sa_family == AF_INET) inet_ntop(AF_INET, &((struct sockaddr_in *)one->ifa_addr)->sin_addr, text, 64);
        if (one->ifa_addr->sa_family == AF_INET && strcmp(text, "127.0.0.1")) continue;
        if (one->ifa_addr->sa_family == AF_INET6) continue;
        printf("%s %d %s %#x\n", one->ifa_name, one->ifa_addr->sa_family, text, one->ifa_flags & 0x49);
    }
    SHOW(if_nametoindex("lo"));
    SHOW(if_nametoindex("nothing0"));
    char name[IF_NAMESIZE] = "";
    SHOW(if_indextoname(1, name) != 0); puts(name);
    SHOW(if_indextoname(4711, name) != 0);
    int other = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq r = { 0 };
    strcpy(r.ifr_name, "lo");
    SHOW(ioctl(other, SIOCGIFFLAGS, &r)); SHOW(r.ifr_flags & 0x49);
    SHOW(ioctl(other, SIOCGIFADDR, &r)); printf("%s\n", inet_ntoa(((struct sockaddr_in *)&r.ifr_addr)->sin_addr));
    SHOW(ioctl(other, SIOCGIFNETMASK, &r)); printf("%s\n", inet_ntoa(((struct sockaddr_in *)&r.ifr_addr)->sin_addr));
    SHOW(ioctl(other, SIOCGIFMTU, &r)); SHOW(r.ifr_mtu);
    SHOW(ioctl(other, SIOCGIFHWADDR, &r)); SHOW(r.ifr_hwaddr.sa_family);
    strcpy(r.ifr_name, "nothing0");
    SHOW(ioctl(other, SIOCGIFFLAGS, &r));
    SHOW(ioctl(0, SIOCGIFFLAGS, &r));
    struct ifconf c = { .ifc_len = sizeof bytes, .ifc_buf = bytes };
    SHOW(ioctl(other, SIOCGIFCONF, &c)); SHOW(c.ifc_len % sizeof r);
    for (struct ifreq *one = (void *)bytes; (char *)one < bytes + c.ifc_len; one++) if (!strcmp(one->ifr_name, "lo")) puts("lo is listed");
    c.ifc_len = 8;
    SHOW(ioctl(other, SIOCGIFCONF, &c)); SHOW(c.ifc_len);
    return 0;
}
