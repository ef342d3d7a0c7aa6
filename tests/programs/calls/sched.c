/* sched(7), prctl(2), getpriority(2), uname(2), sysinfo(2) */
#include "show.h"
#include <linux/membarrier.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
int main(void) {
    struct sched_param param = {0};
    cpu_set_t set;
    SHOW(sched_yield());
    SHOW(sched_getscheduler(0));
    SHOW(sched_getscheduler(99999));
    SHOW(sched_getparam(0, &param));
    SHOW(param.sched_priority);
    SHOW(sched_setscheduler(0, 99, &param));
    SHOW(sched_setscheduler(0, SCHED_OTHER, &param));
    param.sched_priority = 5;
    SHOW(sched_setscheduler(0, SCHED_OTHER, &param));
    SHOW(sched_setparam(0, &param));
    SHOW(sched_get_priority_max(SCHED_FIFO));
    SHOW(sched_get_priority_min(SCHED_RR));
    SHOW(sched_get_priority_max(SCHED_OTHER));
    SHOW(sched_get_priority_max(99));
    CPU_ZERO(&set);
    SHOW(sched_getaffinity(0, sizeof set, &set));
    SHOW(CPU_COUNT(&set) > 0);
    SHOW(sched_getaffinity(0, 1, &set));
    SHOW(sched_setaffinity(0, sizeof set, &set));
    CPU_ZERO(&set);
    SHOW(sched_setaffinity(0, sizeof set, &set));
    SHOW(sched_getaffinity(99999, sizeof set, &set));
    unsigned cpu = 99999, node = 99999;
    SHOW(syscall(SYS_getcpu, &cpu, &node, NULL));
    SHOW(cpu < 4096 && node < 64);
    SHOW(syscall(SYS_getcpu, NOWHERE, NULL, NULL));
    struct timespec slice;
    SHOW(sched_rr_get_interval(0, &slice));
    SHOW(sched_rr_get_interval(-1, &slice));
    unsigned attributes[16] = {0};
    SHOW(syscall(SYS_sched_getattr, 0, attributes, 48, 0));
    SHOW(attributes[0] >= 48 && attributes[1] == 0);
    SHOW(syscall(SYS_sched_getattr, 0, attributes, 4, 0));
    SHOW(getpriority(PRIO_PROCESS, 0));
    SHOW(getpriority(99, 0));
    SHOW(setpriority(PRIO_PROCESS, 0, 5));
    SHOW(getpriority(PRIO_PROCESS, 0));
    SHOW(setpriority(PRIO_PROCESS, 0, 100));
    SHOW(getpriority(PRIO_PROCESS, 0));
    CHILD("inherited", exit(getpriority(PRIO_PROCESS, 0)));
    SHOW(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0) >= 0);
    SHOW(syscall(SYS_membarrier, 1 << 30, 0, 0));
    char name[17] = {0};
    SHOW(prctl(PR_SET_NAME, "fifteen letters and more"));
    SHOW(prctl(PR_GET_NAME, name));
    puts(name);
    SHOW(prctl(PR_SET_NAME, NOWHERE));
    SHOW(prctl(PR_GET_DUMPABLE));
    SHOW(prctl(PR_SET_DUMPABLE, 0));
    SHOW(prctl(PR_GET_DUMPABLE));
    SHOW(prctl(PR_SET_DUMPABLE, 7));
    SHOW(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    int signal = -1;
    SHOW(prctl(PR_SET_PDEATHSIG, SIGUSR1));
    SHOW(prctl(PR_GET_PDEATHSIG, &signal));
    SHOW(signal);
    SHOW(prctl(PR_SET_PDEATHSIG, 99));
    SHOW(prctl(98765));
    struct utsname names;
    SHOW(uname(&names));
    puts(names.sysname);
    puts(names.machine);
    SHOW(uname(NOWHERE));
    struct sysinfo info;
    SHOW(sysinfo(&info));
    SHOW(info.totalram > 0 && info.procs > 0 && info.mem_unit > 0);
    SHOW(syscall(SYS_personality, 0xffffffff));
    SHOW(syscall(SYS_ioprio_get, 1, 0));
}
