//! What programs read in `/proc` and `/sys`, made of the instance's own facts: `proc(5)`. Nothing of it is the
//! host's but the number of processors, and what is not here is absent, which is no denial: no line of a
//! manifest could grant it.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use ringfence_abi::Call;

use super::open::{Kind, Open};
use super::process::{Process, lock};
use super::scheduling::processors;
use super::thread::Thread;

/// Processor time is told in hundredths of a second: `sysconf(_SC_CLK_TCK)`.
const TICK: u128 = 10;

/// The files of a process.
const OF_A_PROCESS: [&str; 23] = [
    "cgroup",
    "cmdline",
    "comm",
    "cwd",
    "exe",
    "fd",
    "fdinfo",
    "limits",
    "maps",
    "mountinfo",
    "mounts",
    "oom_score",
    "oom_score_adj",
    "personality",
    "root",
    "sched",
    "smaps",
    "stat",
    "statm",
    "status",
    "task",
    "timerslack_ns",
    "wchan",
];
/// Those that stand beside the processes.
const OF_ALL: [&str; 13] = [
    "cmdline",
    "cpuinfo",
    "filesystems",
    "loadavg",
    "meminfo",
    "mounts",
    "self",
    "stat",
    "swaps",
    "sys",
    "thread-self",
    "uptime",
    "version",
];
/// Settings of a kernel, as they are for a program that cannot change them.
const SETTINGS: [(&str, &str); 34] = [
    ("fs/file-max", "9223372036854775807"),
    ("fs/inotify/max_queued_events", "4096"),
    ("fs/inotify/max_user_instances", "128"),
    ("fs/inotify/max_user_watches", "8192"),
    ("fs/nr_open", "4096"),
    ("fs/pipe-max-size", "1048576"),
    ("fs/pipe-user-pages-hard", "0"),
    ("fs/pipe-user-pages-soft", "0"),
    ("kernel/cap_last_cap", "40"),
    ("kernel/core_pattern", "core"),
    ("kernel/msgmax", "8192"),
    ("kernel/msgmnb", "16384"),
    ("kernel/msgmni", "32000"),
    ("kernel/ngroups_max", "65536"),
    ("kernel/osrelease", "6.1.0"),
    ("kernel/ostype", "Linux"),
    ("kernel/overflowgid", "65534"),
    ("kernel/overflowuid", "65534"),
    ("kernel/pid_max", "4194304"),
    ("kernel/random/entropy_avail", "256"),
    ("kernel/randomize_va_space", "2"),
    ("kernel/sched_rr_timeslice_ms", "100"),
    ("kernel/sem", "32000\t1024000000\t500\t32000"),
    ("kernel/shmall", "18446744073692774399"),
    ("kernel/shmmax", "18446744073692774399"),
    ("kernel/shmmni", "4096"),
    ("kernel/tainted", "0"),
    ("kernel/threads-max", "1000"),
    ("kernel/version", "#1 ringfence microvm"),
    ("net/core/somaxconn", "4096"),
    ("vm/max_map_count", "65530"),
    ("vm/min_free_kbytes", "0"),
    ("vm/mmap_min_addr", "65536"),
    ("vm/overcommit_memory", "0"),
];

fn names(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

fn text(text: impl Into<Vec<u8>>) -> Option<Kind> {
    Some(Kind::Text(text.into()))
}

/// What is at a path of `/proc` or `/sys`.
pub(super) fn look(thread: &Thread, path: &str) -> Option<Kind> {
    if let Some(rest) = path.strip_prefix("/sys") {
        return system(rest);
    }
    if path == super::configuration::PATH {
        return text(super::configuration::text());
    }
    let rest = path.strip_prefix("/proc")?;
    let rest = match rest.strip_prefix('/') {
        None if rest.is_empty() => {
            let numbers: Vec<u32> = thread.world.processes().keys().copied().collect();
            let mut list = names(&OF_ALL);
            list.extend(numbers.into_iter().map(|id| id.to_string().into_bytes()));
            return Some(Kind::listing(list));
        }
        None => return None,
        Some(rest) => rest,
    };
    let (first, more) = rest.split_once('/').unwrap_or((rest, ""));
    let process = match first {
        "self" | "thread-self" => Some(thread.process.clone()),
        number => number.parse().ok().and_then(|id| thread.world.process(id)),
    };
    match (process, first) {
        (Some(process), "thread-self") => of_process(thread, &process, thread.member.id, more),
        (Some(process), _) => of_process(thread, &process, process.id, more),
        (None, "sys") => setting(thread, more),
        (None, name) if more.is_empty() => of_all(thread, name),
        _ => None,
    }
}

/// `/sys`, as far as C libraries look for processors there.
fn system(path: &str) -> Option<Kind> {
    match path {
        "" => Some(Kind::listing(names(&["devices"]))),
        "/devices" => Some(Kind::listing(names(&["system"]))),
        "/devices/system" => Some(Kind::listing(names(&["cpu"]))),
        "/devices/system/cpu" => {
            let each = (0..processors()).map(|number| format!("cpu{number}").into_bytes());
            Some(Kind::listing(names(&["online", "possible", "present"]).into_iter().chain(each).collect()))
        }
        "/devices/system/cpu/online" | "/devices/system/cpu/present" | "/devices/system/cpu/possible" => {
            let last = processors() - 1;
            text(if last == 0 { "0\n".to_owned() } else { format!("0-{last}\n") })
        }
        _ => {
            let number = path.strip_prefix("/devices/system/cpu/cpu")?.parse::<usize>().ok()?;
            (number < processors()).then(|| Kind::listing(Vec::new()))
        }
    }
}

/// `/proc/sys`
fn setting(thread: &Thread, path: &str) -> Option<Kind> {
    match path {
        "kernel/hostname" => return text(format!("{}\n", thread.world.spec.capsule.name)),
        "kernel/domainname" => return text("(none)\n"),
        "kernel/random/uuid" | "kernel/random/boot_id" => {
            let mut bytes = [0; 16];
            thread.world.call(Call::Random { into: &mut bytes }).ok()?;
            (bytes[6], bytes[8]) = (bytes[6] & 0x0f | 0x40, bytes[8] & 0x3f | 0x80);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            return text(format!("{}-{}-{}-{}-{}\n", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]));
        }
        _ => {}
    }
    if let Some((_, value)) = SETTINGS.iter().find(|(name, _)| *name == path) {
        return text(format!("{value}\n"));
    }
    let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
    let known = SETTINGS.iter().map(|(name, _)| *name).chain(["kernel/hostname", "kernel/random/uuid"]);
    let mut below: Vec<&str> = known.filter_map(|name| name.strip_prefix(&prefix)?.split('/').next()).collect();
    below.sort_unstable();
    below.dedup();
    (!below.is_empty()).then(|| Kind::listing(names(&below)))
}

fn of_all(thread: &Thread, name: &str) -> Option<Kind> {
    let world = &thread.world;
    let uptime = world.uptime();
    let used = world.control.cpu_time();
    match name {
        "cpuinfo" => {
            let one =
                |number| format!("processor\t: {number}\nvendor_id\t: ringfence\nmodel name\t: ringfence microvm\n\n");
            text((0..processors()).map(one).collect::<String>())
        }
        "meminfo" => {
            let total = world.memory() / 1024;
            let free = total.saturating_sub(world.machine.used() / 1024);
            let mut lines = String::new();
            for (name, amount) in [
                ("MemTotal", total),
                ("MemFree", free),
                ("MemAvailable", free),
                ("Buffers", 0),
                ("Cached", 0),
                ("SwapCached", 0),
                ("SwapTotal", 0),
                ("SwapFree", 0),
                ("Shmem", 0),
                ("CommitLimit", total),
                ("Committed_AS", total - free),
                ("HugePages_Total", 0),
                ("HugePages_Free", 0),
                ("Hugepagesize", 2048),
            ] {
                let unit = if name.starts_with("HugePages") { "" } else { " kB" };
                // Writing to a string cannot fail.
                let _ = writeln!(lines, "{:<16}{amount:>8}{unit}", format!("{name}:"));
            }
            text(lines)
        }
        "stat" => {
            let ticks = used.as_millis() / TICK;
            let idle = (uptime.as_millis() * processors() as u128 / TICK).saturating_sub(ticks);
            let mut lines = format!("cpu  {ticks} 0 0 {idle} 0 0 0 0 0 0\n");
            for number in 0..processors() as u128 {
                let share = |all: u128| all / processors() as u128;
                let _ = writeln!(lines, "cpu{number} {} 0 0 {} 0 0 0 0 0 0", share(ticks), share(idle));
            }
            let began = (world.now() / 1_000_000_000).saturating_sub(uptime.as_secs().into());
            let processes = world.processes().len();
            let _ = write!(
                lines,
                "intr 0\nctxt 0\nbtime {began}\nprocesses {processes}\nprocs_running 1\nprocs_blocked 0\n"
            );
            text(lines)
        }
        "uptime" => {
            let idle = (uptime * processors() as u32).saturating_sub(used);
            text(format!("{:.2} {:.2}\n", uptime.as_secs_f64(), idle.as_secs_f64()))
        }
        "loadavg" => {
            let processes = world.processes();
            let last = processes.keys().last().copied().unwrap_or(0);
            text(format!("0.00 0.00 0.00 1/{} {last}\n", processes.len()))
        }
        "filesystems" => text("nodev\tproc\nnodev\ttmpfs\nnodev\tdevpts\n"),
        "mounts" => text(mounts(thread, false)),
        "swaps" => text("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
        "cmdline" => text("\n"),
        "version" => text("Linux version 6.1.0 (ringfence) #1 ringfence microvm\n"),
        _ => None,
    }
}

/// What is mounted where: the capsule's tree, its mounts, and what the personality keeps itself.
fn mounts(thread: &Thread, long: bool) -> String {
    let spec = &thread.world.spec;
    let own = [("capsule", "/", "capsule", true), ("proc", "/proc", "proc", false)];
    let memory = [
        ("tmpfs", "/tmp", "tmpfs", false),
        ("tmpfs", "/dev/shm", "tmpfs", false),
        ("devpts", "/dev/pts", "devpts", false),
    ];
    let mounted = spec.mounts.iter().map(|mount| {
        let read_only = matches!(mount.mode, ringfence_manifest::MountMode::ReadOnly);
        ("capsule", mount.at.as_str(), "capsule", read_only)
    });
    let mut lines = String::new();
    for (index, (source, at, kind, read_only)) in own.into_iter().chain(memory).chain(mounted).enumerate() {
        let mode = if read_only { "ro" } else { "rw" };
        let at = at.replace(' ', "\\040");
        let _ = match long {
            false => writeln!(lines, "{source} {at} {kind} {mode} 0 0"),
            true => writeln!(lines, "{} 0 0:{} / {at} {mode} - {kind} {source} {mode}", index + 1, index + 1),
        };
    }
    lines
}

/// Of a process of the instance, or of a thread of it. What is in its memory and what it has open only it sees itself.
fn of_process(thread: &Thread, process: &Arc<Process>, who: u32, path: &str) -> Option<Kind> {
    let mine = process.id == thread.process.id;
    let image = process.image();
    match path {
        "" => Some(Kind::listing(names(&OF_A_PROCESS))),
        "cmdline" => text(image.arguments.iter().flat_map(|text| text.iter().copied().chain([0])).collect::<Vec<u8>>()),
        "comm" => text([process.name_of(who), b"\n".to_vec()].concat()),
        "stat" => text(stat(process, who)),
        "statm" => {
            let (size, resident) = sizes(process);
            text(format!("{} {} 0 0 0 0 0\n", size / 4096, resident / 4096))
        }
        "status" => text(status(process, who)),
        "cgroup" => text("0::/\n"),
        "oom_score" | "wchan" => text("0\n"),
        "oom_score_adj" => text(format!("{}\n", lock(&process.oom)[0])),
        "personality" if mine => text(format!("{:08x}\n", process.persona.load(SeqCst))),
        "timerslack_ns" => {
            let slack = lock(&process.threads).get(&who).map_or(0, |member| member.slack.load(SeqCst));
            text(format!("{slack}\n"))
        }
        "mounts" => text(mounts(thread, false)),
        "mountinfo" => text(mounts(thread, true)),
        "limits" => text(limits(process)),
        // Made when it is opened.
        "maps" | "smaps" if mine => text(Vec::new()),
        "fd" | "fdinfo" if mine => Some(Kind::listing(
            process.descriptors().numbers().iter().map(|number| number.to_string().into_bytes()).collect(),
        )),
        "task" => {
            let threads: Vec<u32> = lock(&process.threads).keys().copied().collect();
            Some(Kind::listing(threads.into_iter().map(|id| id.to_string().into_bytes()).collect()))
        }
        path if path.starts_with("fdinfo/") => {
            let open = process.descriptors().get(path["fdinfo/".len()..].parse().ok()?).ok()?;
            mine.then(|| text(described(thread, &open))).flatten()
        }
        path => {
            let (id, more) = path.strip_prefix("task/").map(|rest| rest.split_once('/').unwrap_or((rest, "")))?;
            let who = id.parse().ok()?;
            let there = lock(&process.threads).contains_key(&who);
            (there && !more.starts_with("task")).then(|| of_process(thread, process, who, more)).flatten()
        }
    }
}

/// What a descriptor stands for, as far as it is told: `proc_pid_fdinfo(5)`.
fn described(thread: &Thread, open: &Open) -> String {
    let position = *lock(&open.position);
    let inode = thread.status_of(open).map_or(0, |status| status.identity().1);
    let flags = open.flags();
    let mut lines = format!("pos:\t{position}\nflags:\t0{flags:o}\nmnt_id:\t1\nino:\t{inode}\n");
    // Writing to a string cannot fail.
    let _ = match &open.kind {
        Kind::Counter(counter) => {
            let (number, by_one) = counter.captured();
            writeln!(lines, "eventfd-count: {number:16x}\neventfd-semaphore: {}", u8::from(by_one))
        }
        Kind::Process(process) => {
            let id = if thread.world.has(process) { i64::from(process.id) } else { -1 };
            writeln!(lines, "Pid:\t{id}\nNSpid:\t{id}")
        }
        _ => Ok(()),
    };
    lines
}

/// How much a process has mapped, and how much of that is there.
fn sizes(process: &Process) -> (u64, u64) {
    process.space().map_or((0, 0), |space| space.sizes())
}

fn state(process: &Process, who: u32) -> char {
    let is_asleep = || lock(&process.threads).get(&who).is_some_and(|member| member.is_asleep.load(SeqCst));
    match () {
        () if process.is_over.load(SeqCst) => 'Z',
        () if process.halt.is_stopped() => 'T',
        () if is_asleep() => 'S',
        () => 'R',
    }
}

fn stat(process: &Process, who: u32) -> String {
    let (size, resident) = sizes(process);
    let ticks = |time: std::time::Duration| time.as_millis() / TICK;
    let (used, children) = (ticks(process.cpu_time()), ticks(*lock(&process.children_time)));
    let threads = lock(&process.threads).len();
    let niceness = process.niceness.load(SeqCst);
    let [parent, group, session] =
        [process.parent.load(SeqCst), process.group.load(SeqCst), process.session.load(SeqCst)];
    format!(
        "{who} ({}) {} {parent} {group} {session} 0 -1 0 0 0 0 0 {used} 0 {children} 0 {} {niceness} {threads} 0 0 {size} {} \
         18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
        String::from_utf8_lossy(&process.name_of(who)),
        state(process, who),
        20 + niceness,
        resident / 4096,
    )
}

fn status(process: &Process, who: u32) -> String {
    let (size, resident) = sizes(process);
    let state = state(process, who);
    let threads = lock(&process.threads).clone();
    let credentials = lock(&process.credentials).clone();
    let ids = |ids: [u32; 4]| ids.map(|id| id.to_string()).join("\t");
    let (users, groups) = (ids(credentials.users), ids(credentials.groups));
    let more: String = credentials.more().iter().map(|group| format!("{group} ")).collect();
    let (id, parent) = (process.id, process.parent.load(SeqCst));
    let first = threads.get(&who).or_else(|| threads.values().next());
    let of_first = |read: fn(&super::process::Member) -> u64| first.map_or(0, |member| read(member));
    let locked = process.space().map_or(0, |space| space.locked(0..u64::MAX).bytes);
    let (ignored, caught) = super::signals::sets(process);
    let word = match state {
        'Z' => "zombie",
        'T' => "stopped",
        'S' => "sleeping",
        _ => "running",
    };
    format!(
        "Name:\t{}\nUmask:\t{:04o}\nState:\t{} ({word})\nTgid:\t{id}\nNgid:\t0\nPid:\t{who}\nPPid:\t{parent}\nTracerPid:\t0\n\
         Uid:\t{users}\nGid:\t{groups}\nFDSize:\t64\nGroups:\t{more}\n\
         VmPeak:\t{size:8} kB\nVmSize:\t{size:8} kB\nVmLck:\t{locked:8} kB\nVmPin:\t       0 kB\n\
         VmHWM:\t{peak:8} kB\nVmRSS:\t{resident:8} kB\nVmSwap:\t       0 kB\nThreads:\t{}\n\
         SigQ:\t0/1024\nSigPnd:\t{:016x}\nShdPnd:\t{:016x}\nSigBlk:\t{:016x}\nSigIgn:\t{ignored:016x}\n\
         SigCgt:\t{caught:016x}\nCapInh:\t{none}\nCapPrm:\t{none}\nCapEff:\t{none}\nCapBnd:\t{none}\nCapAmb:\t{none}\n\
         NoNewPrivs:\t{}\nSeccomp:\t0\n",
        String::from_utf8_lossy(&process.name_of(who)),
        lock(&process.place()).mask,
        state,
        threads.len(),
        of_first(|member| member.pending.load(SeqCst)),
        process.pending.load(SeqCst),
        of_first(|member| member.blocked.load(SeqCst)),
        u32::from(process.gains_nothing.load(SeqCst)),
        size = size / 1024,
        resident = resident / 1024,
        locked = locked / 1024,
        peak = process.peaks()[0] / 1024,
        none = "0000000000000000",
    )
}

fn limits(process: &Process) -> String {
    const ROWS: [(&str, u32, &str); 16] = [
        ("Max cpu time", libc::RLIMIT_CPU, "seconds"),
        ("Max file size", libc::RLIMIT_FSIZE, "bytes"),
        ("Max data size", libc::RLIMIT_DATA, "bytes"),
        ("Max stack size", libc::RLIMIT_STACK, "bytes"),
        ("Max core file size", libc::RLIMIT_CORE, "bytes"),
        ("Max resident set", libc::RLIMIT_RSS, "bytes"),
        ("Max processes", libc::RLIMIT_NPROC, "processes"),
        ("Max open files", libc::RLIMIT_NOFILE, "files"),
        ("Max locked memory", libc::RLIMIT_MEMLOCK, "bytes"),
        ("Max address space", libc::RLIMIT_AS, "bytes"),
        ("Max file locks", libc::RLIMIT_LOCKS, "locks"),
        ("Max pending signals", libc::RLIMIT_SIGPENDING, "signals"),
        ("Max msgqueue size", libc::RLIMIT_MSGQUEUE, "bytes"),
        ("Max nice priority", libc::RLIMIT_NICE, ""),
        ("Max realtime priority", libc::RLIMIT_RTPRIO, ""),
        ("Max realtime timeout", libc::RLIMIT_RTTIME, "us"),
    ];
    let limits = *lock(&process.limits);
    let amount = |limit: u64| if limit == u64::MAX { "unlimited".into() } else { limit.to_string() };
    let mut lines = format!("{:<26}{:<21}{:<21}{:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for (name, resource, unit) in ROWS {
        let [soft, hard] = limits.of(resource);
        let _ = writeln!(lines, "{name:<26}{:<21}{:<21}{unit:<10}", amount(soft), amount(hard));
    }
    lines
}
