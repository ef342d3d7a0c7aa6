/* sigaltstack(2) */
#include "show.h"
static char stack[65536];
static volatile int on_it, flags, inside;
static void handler(int signal) {
    (void)signal;
    char here;
    on_it = &here >= stack && &here < stack + sizeof stack;
    stack_t now;
    sigaltstack(NULL, &now);
    flags = now.ss_flags;
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    inside = sigaltstack(&other, NULL) ? errno : 0;
}
static int deep(int count) {
    volatile char room[4096];
    room[count % 4096] = count;
    return count < 0 ? 0 : deep(count + 1) + room[0];
}
static void over(int signal) {
    (void)signal;
    char text[] = "overflow\n";
    write(1, text, sizeof text - 1);
    _exit(3);
}
int main(void) {
    stack_t now, wanted = {.ss_sp = stack, .ss_size = sizeof stack};
    SHOW(sigaltstack(NULL, &now));
    SHOW(now.ss_flags);
    SHOW(sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = 100}, NULL));
    SHOW(sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack, .ss_flags = 64}, NULL));
    SHOW(sigaltstack(NOWHERE, NULL));
    SHOW(sigaltstack(&wanted, NULL));
    SHOW(sigaltstack(NULL, &now));
    SHOW(now.ss_sp == stack && now.ss_size == sizeof stack && now.ss_flags == 0);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    SHOW(on_it);
    SHOW(flags == SS_ONSTACK);
    SHOW(inside == EPERM);
    action.sa_flags = 0;
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    SHOW(on_it);
    SHOW(sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, &now));
    SHOW(now.ss_flags);
    sigaltstack(&wanted, NULL);
    struct sigaction fault = {.sa_handler = over, .sa_flags = SA_ONSTACK};
    sigaction(SIGSEGV, &fault, NULL);
    CHILD("overflow", deep(1));
    CHILD("after fork it is there", sigaltstack(NULL, &now); exit(now.ss_sp == stack ? 5 : 6));
}
