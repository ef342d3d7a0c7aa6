//! Every system call that is served, by its number on x86-64: `syscalls(2)`. What is not here answers
//! `ENOSYS`, and stands in [`absent`] with the reason.

mod absent;

use std::sync::atomic::Ordering::Relaxed;

use ringfence_isolation::{Served, SystemCall};
use ringfence_manifest::SystemCalls;
use rustix::io::Errno;

use self::absent::{ABSENT, PARTLY};

use super::socket::{calls as sockets, message as messages};
use super::thread::Thread;
use super::{
    Answer, Arguments, alarms, attributes, barriers, counter, credentials, ending, epoll, execute, files, folders,
    futex, identity, inotify, limits, links, listing, locks, mapping, memory_files,
};
use super::{
    opening, owners, pidfd, pinning, pipe, polling, prctl, queues, reading, robust, rseq, scheduling, segments,
    semaphores, signalfd, signals, splicing, stamps, starting, status, time, timer, transfer,
};

/// Serves one call.
type Service = fn(&mut Thread, Arguments) -> Answer;

/// How many numbers the table knows.
pub(crate) const NUMBERS: usize = 512;

macro_rules! calls {
    ($($number:literal $name:literal => $service:expr;)*) => {
        /// The calls that are served, with the module of their family.
        const NAMES: &[(usize, &str, &str)] = &[$(($number, $name, stringify!($service)),)*];

        /// The services, by number.
        static SERVICES: [Option<Service>; NUMBERS] = {
            let mut services: [Option<Service>; NUMBERS] = [None; NUMBERS];
            $(services[$number] = Some($service);)*
            services
        };
    };
}

/// Serves the call of that number.
pub(super) fn serve(thread: &mut Thread, number: u64, arguments: Arguments) -> Answer {
    // Linux looks at the lower half of the register.
    let number = number as u32 as usize;
    thread.world.control.counts().calls[number.min(NUMBERS)].fetch_add(1, Relaxed);
    if let Some(Barred(barred)) = &thread.world.barred
        && let Some(why) = barred.get(number).copied().flatten()
    {
        return Err(why);
    }
    let service = SERVICES.get(number).copied().flatten();
    service.map_or(Err(Errno::NOSYS), |service| service(thread, arguments))
}

/// What calls fail with that are served and that a program may not make.
pub(super) struct Barred([Option<Errno>; NUMBERS]);

impl Barred {
    /// All that `calls` does not let through; `None` where it is no less than the profile `default`.
    pub(super) fn of(calls: &SystemCalls) -> Option<Self> {
        if !calls.is_narrow() {
            return None;
        }
        let mut barred = [None; NUMBERS];
        for (number, name, _) in NAMES.iter().filter(|(_, name, _)| !calls.lets_through(name)) {
            barred[*number] = Some(if SystemCalls::has_another_way(name) { Errno::NOSYS } else { Errno::PERM });
        }
        Some(Barred(barred))
    }
}

/// The name of a call: `None` for a number that Linux does not have.
pub(crate) fn name(number: usize) -> Option<&'static str> {
    let absent = ABSENT.iter().flat_map(|(_, _, calls)| *calls);
    let mut all =
        NAMES.iter().map(|(number, name, _)| (number, name)).chain(absent.map(|(number, name)| (number, name)));
    all.find(|(known, _)| **known == number).map(|(_, name)| *name)
}

/// Every call of Linux, by number: whether it is served here, and what is missing.
pub(crate) fn system_calls() -> Vec<SystemCall> {
    let family = |service: &'static str| service.split("::").next().unwrap_or(service).trim();
    let served = |name: &str| match PARTLY.iter().find(|(known, _)| *known == name) {
        Some((_, missing)) => Served::Partly { missing },
        None => Served::Fully,
    };
    let here = NAMES.iter().map(|&(number, name, service)| {
        let number = number as u32;
        SystemCall { number, name, family: family(service), served: served(name) }
    });
    let absent = ABSENT.iter().flat_map(|&(family, why, calls)| {
        calls.iter().map(move |&(number, name)| {
            let number = number as u32;
            SystemCall { number, name, family, served: Served::Absent { why } }
        })
    });
    let mut calls: Vec<_> = here.chain(absent).collect();
    calls.sort_unstable_by_key(|call| call.number);
    calls
}

calls! {
    0 "read" => reading::read;
    1 "write" => reading::write;
    2 "open" => opening::open;
    3 "close" => files::close;
    4 "stat" => status::stat;
    5 "fstat" => status::fstat;
    6 "lstat" => status::lstat;
    7 "poll" => polling::poll;
    8 "lseek" => reading::lseek;
    9 "mmap" => mapping::mmap;
    10 "mprotect" => mapping::mprotect;
    11 "munmap" => mapping::munmap;
    12 "brk" => mapping::brk;
    13 "rt_sigaction" => signals::sigaction;
    14 "rt_sigprocmask" => signals::sigprocmask;
    15 "rt_sigreturn" => signals::sigreturn;
    16 "ioctl" => reading::ioctl;
    17 "pread64" => reading::pread;
    18 "pwrite64" => reading::pwrite;
    19 "readv" => reading::readv;
    20 "writev" => reading::writev;
    21 "access" => status::access;
    22 "pipe" => pipe::pipe;
    23 "select" => polling::select;
    24 "sched_yield" => scheduling::sched_yield;
    25 "mremap" => mapping::mremap;
    26 "msync" => mapping::msync;
    27 "mincore" => mapping::mincore;
    28 "madvise" => mapping::madvise;
    29 "shmget" => segments::get;
    30 "shmat" => segments::attach;
    31 "shmctl" => segments::control;
    32 "dup" => files::dup;
    33 "dup2" => files::dup2;
    34 "pause" => signals::pause;
    35 "nanosleep" => time::nanosleep;
    36 "getitimer" => alarms::getitimer;
    37 "alarm" => alarms::alarm;
    38 "setitimer" => alarms::setitimer;
    39 "getpid" => identity::getpid;
    40 "sendfile" => transfer::sendfile;
    41 "socket" => sockets::socket;
    42 "connect" => sockets::connect;
    43 "accept" => sockets::accept;
    44 "sendto" => sockets::sendto;
    45 "recvfrom" => sockets::recvfrom;
    46 "sendmsg" => messages::sendmsg;
    47 "recvmsg" => messages::recvmsg;
    48 "shutdown" => sockets::shutdown;
    49 "bind" => sockets::bind;
    50 "listen" => sockets::listen;
    51 "getsockname" => sockets::getsockname;
    52 "getpeername" => sockets::getpeername;
    53 "socketpair" => sockets::socketpair;
    54 "setsockopt" => sockets::setsockopt;
    55 "getsockopt" => sockets::getsockopt;
    56 "clone" => starting::clone;
    57 "fork" => starting::fork;
    58 "vfork" => starting::vfork;
    59 "execve" => execute::execve;
    60 "exit" => ending::exit;
    61 "wait4" => ending::wait4;
    62 "kill" => signals::kill;
    63 "uname" => identity::uname;
    64 "semget" => semaphores::get;
    65 "semop" => semaphores::operate;
    66 "semctl" => semaphores::control;
    67 "shmdt" => segments::detach;
    68 "msgget" => queues::get;
    69 "msgsnd" => queues::send;
    70 "msgrcv" => queues::receive;
    71 "msgctl" => queues::control;
    72 "fcntl" => files::fcntl;
    73 "flock" => locks::flock;
    74 "fsync" => reading::fsync;
    75 "fdatasync" => reading::fsync;
    76 "truncate" => folders::truncate;
    77 "ftruncate" => reading::ftruncate;
    78 "getdents" => listing::getdents;
    79 "getcwd" => folders::getcwd;
    80 "chdir" => folders::chdir;
    81 "fchdir" => folders::fchdir;
    82 "rename" => folders::rename;
    83 "mkdir" => folders::mkdir;
    84 "rmdir" => folders::rmdir;
    85 "creat" => opening::creat;
    86 "link" => folders::link;
    87 "unlink" => folders::unlink;
    88 "symlink" => folders::symlink;
    89 "readlink" => links::readlink;
    90 "chmod" => owners::chmod;
    91 "fchmod" => owners::fchmod;
    92 "chown" => owners::chown;
    93 "fchown" => owners::fchown;
    94 "lchown" => owners::lchown;
    95 "umask" => folders::umask;
    96 "gettimeofday" => time::gettimeofday;
    97 "getrlimit" => limits::getrlimit;
    98 "getrusage" => identity::getrusage;
    99 "sysinfo" => identity::sysinfo;
    100 "times" => time::times;
    102 "getuid" => credentials::getuid;
    104 "getgid" => credentials::getgid;
    105 "setuid" => credentials::setuid;
    106 "setgid" => credentials::setgid;
    107 "geteuid" => credentials::geteuid;
    108 "getegid" => credentials::getegid;
    109 "setpgid" => identity::setpgid;
    110 "getppid" => identity::getppid;
    111 "getpgrp" => identity::getpgrp;
    112 "setsid" => identity::setsid;
    113 "setreuid" => credentials::setreuid;
    114 "setregid" => credentials::setregid;
    115 "getgroups" => credentials::getgroups;
    116 "setgroups" => credentials::setgroups;
    117 "setresuid" => credentials::setresuid;
    118 "getresuid" => credentials::getresuid;
    119 "setresgid" => credentials::setresgid;
    120 "getresgid" => credentials::getresgid;
    121 "getpgid" => identity::getpgid;
    122 "setfsuid" => credentials::setfsuid;
    123 "setfsgid" => credentials::setfsgid;
    124 "getsid" => identity::getsid;
    125 "capget" => identity::capget;
    126 "capset" => identity::capset;
    127 "rt_sigpending" => signals::sigpending;
    128 "rt_sigtimedwait" => signalfd::sigtimedwait;
    129 "rt_sigqueueinfo" => signals::sigqueue;
    130 "rt_sigsuspend" => signals::sigsuspend;
    131 "sigaltstack" => signals::sigaltstack;
    132 "utime" => stamps::utime;
    133 "mknod" => folders::mknod;
    135 "personality" => identity::personality;
    137 "statfs" => status::statfs;
    138 "fstatfs" => status::fstatfs;
    140 "getpriority" => scheduling::getpriority;
    141 "setpriority" => scheduling::setpriority;
    142 "sched_setparam" => scheduling::sched_setparam;
    143 "sched_getparam" => scheduling::sched_getparam;
    144 "sched_setscheduler" => scheduling::sched_setscheduler;
    145 "sched_getscheduler" => scheduling::sched_getscheduler;
    146 "sched_get_priority_max" => scheduling::sched_get_priority_max;
    147 "sched_get_priority_min" => scheduling::sched_get_priority_min;
    148 "sched_rr_get_interval" => scheduling::sched_rr_get_interval;
    149 "mlock" => pinning::mlock;
    150 "munlock" => pinning::munlock;
    151 "mlockall" => pinning::mlockall;
    152 "munlockall" => pinning::munlockall;
    157 "prctl" => prctl::prctl;
    158 "arch_prctl" => identity::arch_prctl;
    160 "setrlimit" => limits::setrlimit;
    162 "sync" => mapping::nothing;
    186 "gettid" => identity::gettid;
    187 "readahead" => reading::readahead;
    188 "setxattr" => attributes::of_path;
    189 "lsetxattr" => attributes::of_link;
    190 "fsetxattr" => attributes::of_descriptor;
    191 "getxattr" => attributes::of_path;
    192 "lgetxattr" => attributes::of_link;
    193 "fgetxattr" => attributes::of_descriptor;
    194 "listxattr" => attributes::list;
    195 "llistxattr" => attributes::list_of_link;
    196 "flistxattr" => attributes::list_of_descriptor;
    197 "removexattr" => attributes::of_path;
    198 "lremovexattr" => attributes::of_link;
    199 "fremovexattr" => attributes::of_descriptor;
    200 "tkill" => signals::tkill;
    201 "time" => time::time;
    202 "futex" => futex::futex;
    203 "sched_setaffinity" => scheduling::sched_setaffinity;
    204 "sched_getaffinity" => scheduling::sched_getaffinity;
    213 "epoll_create" => epoll::create;
    217 "getdents64" => listing::getdents64;
    218 "set_tid_address" => identity::set_tid_address;
    220 "semtimedop" => semaphores::operate_for;
    221 "fadvise64" => reading::fadvise;
    222 "timer_create" => alarms::create;
    223 "timer_settime" => alarms::settime;
    224 "timer_gettime" => alarms::gettime;
    225 "timer_getoverrun" => alarms::overrun;
    226 "timer_delete" => alarms::delete;
    227 "clock_settime" => time::clock_settime;
    228 "clock_gettime" => time::clock_gettime;
    229 "clock_getres" => time::clock_getres;
    230 "clock_nanosleep" => time::clock_nanosleep;
    231 "exit_group" => ending::exit_group;
    232 "epoll_wait" => epoll::epoll_wait;
    233 "epoll_ctl" => epoll::control;
    234 "tgkill" => signals::tgkill;
    235 "utimes" => stamps::utimes;
    247 "waitid" => ending::waitid;
    251 "ioprio_set" => scheduling::ioprio_set;
    252 "ioprio_get" => scheduling::ioprio_get;
    253 "inotify_init" => inotify::init;
    254 "inotify_add_watch" => inotify::add_watch;
    255 "inotify_rm_watch" => inotify::rm_watch;
    257 "openat" => opening::openat;
    258 "mkdirat" => folders::mkdirat;
    259 "mknodat" => folders::mknodat;
    260 "fchownat" => owners::fchownat;
    261 "futimesat" => stamps::futimesat;
    262 "newfstatat" => status::fstatat;
    263 "unlinkat" => folders::unlinkat;
    264 "renameat" => folders::renameat;
    265 "linkat" => folders::linkat;
    266 "symlinkat" => folders::symlinkat;
    267 "readlinkat" => links::readlinkat;
    268 "fchmodat" => owners::fchmodat;
    269 "faccessat" => status::faccessat;
    270 "pselect6" => polling::pselect;
    271 "ppoll" => polling::ppoll;
    272 "unshare" => identity::unshare;
    273 "set_robust_list" => robust::set;
    274 "get_robust_list" => robust::get;
    275 "splice" => splicing::splice;
    276 "tee" => splicing::tee;
    277 "sync_file_range" => reading::sync_file_range;
    278 "vmsplice" => splicing::vmsplice;
    280 "utimensat" => stamps::utimensat;
    281 "epoll_pwait" => epoll::epoll_pwait;
    282 "signalfd" => signalfd::signalfd;
    283 "timerfd_create" => timer::create;
    284 "eventfd" => counter::eventfd;
    285 "fallocate" => transfer::fallocate;
    286 "timerfd_settime" => timer::settime;
    287 "timerfd_gettime" => timer::gettime;
    288 "accept4" => sockets::accept4;
    289 "signalfd4" => signalfd::signalfd4;
    290 "eventfd2" => counter::eventfd2;
    291 "epoll_create1" => epoll::create1;
    292 "dup3" => files::dup3;
    293 "pipe2" => pipe::pipe2;
    294 "inotify_init1" => inotify::init1;
    295 "preadv" => reading::preadv;
    296 "pwritev" => reading::pwritev;
    297 "rt_tgsigqueueinfo" => signals::tgsigqueue;
    299 "recvmmsg" => messages::recvmmsg;
    302 "prlimit64" => limits::prlimit;
    306 "syncfs" => reading::syncfs;
    307 "sendmmsg" => messages::sendmmsg;
    309 "getcpu" => scheduling::getcpu;
    314 "sched_setattr" => scheduling::sched_setattr;
    315 "sched_getattr" => scheduling::sched_getattr;
    316 "renameat2" => folders::renameat2;
    318 "getrandom" => identity::getrandom;
    319 "memfd_create" => memory_files::memfd_create;
    322 "execveat" => execute::execveat;
    324 "membarrier" => barriers::membarrier;
    325 "mlock2" => pinning::mlock2;
    326 "copy_file_range" => transfer::copy_file_range;
    327 "preadv2" => reading::preadv2;
    328 "pwritev2" => reading::pwritev2;
    332 "statx" => status::statx;
    334 "rseq" => rseq::rseq;
    424 "pidfd_send_signal" => pidfd::send_signal;
    434 "pidfd_open" => pidfd::open;
    435 "clone3" => starting::clone3;
    436 "close_range" => files::close_range;
    437 "openat2" => opening::openat2;
    439 "faccessat2" => status::faccessat2;
    441 "epoll_pwait2" => epoll::epoll_pwait2;
    452 "fchmodat2" => owners::fchmodat2;
}

#[cfg(test)]
mod tests;
