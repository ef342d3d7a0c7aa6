//! Every limit holds, and trips under its own name.

mod support;

use std::time::{Duration, Instant};

use ringfence_isolation::{Exit, LimitKind};
use ringfence_manifest::{Bytes, Cores, Permission};
use support::{Lab, Outcome, here};

/// Whether a capsule can be run here, with the cgroup controllers it needs.
fn with(facts: &[&str]) -> bool {
    here() && support::has(facts)
}

#[track_caller]
fn tripped(outcome: &Outcome, limit: LimitKind) -> (u64, u64) {
    match outcome.exit {
        Exit::Exceeded(exceeded) if exceeded.limit == limit => (exceeded.allowed, exceeded.used),
        _ => panic!("not {limit}: {outcome:?}"),
    }
}

#[test]
fn memory_beyond_the_limit_ends_it_and_the_peak_is_told() {
    if !with(&["cgroup memory"]) {
        return;
    }
    let Some(lab) = Lab::hostile(&["memory", "200000000"]) else { return };
    let outcome = lab.limit(|limits| limits.memory = Some(Bytes(32 << 20))).run();
    let (allowed, used) = tripped(&outcome, LimitKind::Memory);
    assert_eq!(allowed, 32 << 20);
    assert!(used >= allowed && outcome.usage.memory_peak > 24 << 20, "{outcome:?}");
}

#[test]
fn memory_below_the_limit_is_given() {
    if !with(&["cgroup memory"]) {
        return;
    }
    let Some(lab) = Lab::hostile(&["memory", "20000000"]) else { return };
    let outcome = lab.limit(|limits| limits.memory = Some(Bytes(64 << 20))).run();
    assert_eq!(outcome.exit, Exit::Returned(0), "{outcome:?}");
}

/// Memory that no process's own figures show.
#[test]
fn memory_is_counted_wherever_it_is_taken() {
    if !with(&["cgroup memory"]) {
        return;
    }
    for way in ["cow", "memfd", "shm", "pipes", "tables", "many", "shared", "sockets"] {
        let Some(lab) = Lab::hostile(&["take", way]) else { return };
        let lab = ["/dev/shm", "/tmp"]
            .into_iter()
            .fold(lab, |lab, folder| lab.grant(Permission::FsWrite, folder).grant(Permission::FsCreate, folder));
        let outcome = lab.limit(|limits| limits.memory = Some(Bytes(24 << 20))).run();
        tripped(&outcome, LimitKind::Memory);
    }
}

/// The kernel bounds what datagrams take within the limit and loses those beyond; version 1 counts it apart.
#[test]
fn memory_of_datagrams_is_counted() {
    if !with(&["cgroup memory", "seccomp notify"]) {
        return;
    }
    let Some(lab) = Lab::hostile(&["take", "udp"]) else { return };
    let lab = lab.permit(Permission::NetResolve, "here.test");
    let mut lab = lab.limit(|limits| limits.memory = Some(Bytes(24 << 20)));
    lab.spec.limits.wall_time = Some(Duration::from_secs(5));
    let report = lab.judged();
    let (allowed, used) = match report.exit {
        Exit::Exceeded(limit) if limit.limit == LimitKind::Memory => (limit.allowed, limit.used),
        // Version 2 counts it with the rest, and makes room by losing datagrams.
        _ => (24 << 20, report.usage.memory_peak),
    };
    assert!(allowed == 24 << 20 && (20 << 20..49 << 20).contains(&used), "{used} {:?}", report.exit);
}

#[test]
fn processor_time_beyond_the_limit_ends_it() {
    if !with(&["cgroup cpuacct"]) {
        return;
    }
    for script in ["while :; do :; done", "(while :; do :; done) & (while :; do :; done) & wait"] {
        let lab = Lab::shell(script).limit(|limits| limits.cpu_time = Some(Duration::from_millis(200)));
        let (allowed, used) = tripped(&lab.run(), LimitKind::CpuTime);
        assert_eq!(allowed, 200_000_000);
        assert!((200_000_000..1_000_000_000).contains(&used), "{used} ns");
    }
}

#[test]
fn half_a_core_is_half_a_core() {
    if !with(&["cgroup cpu", "cgroup cpuacct"]) {
        return;
    }
    let lab = Lab::shell("(while :; do :; done) & while :; do :; done").limit(|limits| {
        limits.cores = Some(Cores(500));
        limits.cpu_time = Some(Duration::from_millis(600));
    });
    let began = Instant::now();
    tripped(&lab.run(), LimitKind::CpuTime);
    // 600 ms of processor time at half a core take more than a second; two free cores give them in 300 ms.
    assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());
}

#[test]
fn processes_beyond_the_limit_end_it() {
    if !with(&["cgroup pids"]) {
        return;
    }
    let three = "sleep 0.01 & sleep 0.01 & wait";
    let most = |count| move |limits: &mut ringfence_manifest::Limits| limits.processes = Some(count);
    assert_eq!(Lab::shell(three).limit(most(3)).run().exit, Exit::Returned(0));
    assert_eq!(tripped(&Lab::shell(three).limit(most(2)).run(), LimitKind::Processes), (2, 3));
    let bomb = "bomb() { bomb | bomb & }; bomb; exec sleep 1000";
    tripped(&Lab::shell(bomb).limit(most(20)).run(), LimitKind::Processes);
    let Some(threads) = Lab::hostile(&["threads", "50"]) else { return };
    tripped(&threads.limit(most(10)).run(), LimitKind::Processes);
}

#[test]
fn descriptors_beyond_the_limit_end_it() {
    if !with(&["cgroup memory"]) {
        return;
    }
    let Some(lab) = Lab::hostile(&["descriptors", "100"]) else { return };
    let lab = lab.limit(|limits| limits.open_files = Some(64));
    assert_eq!(tripped(&lab.run(), LimitKind::OpenFiles), (64, 65));
    let Some(lab) = Lab::hostile(&["descriptors", "60"]) else { return };
    assert_eq!(lab.limit(|limits| limits.open_files = Some(64)).run().exit, Exit::Returned(0));
    // Each has fewer than allowed, all together more.
    let Some(lab) = Lab::hostile(&["descriptors-of-many", "4", "30"]) else { return };
    let (_, used) = tripped(&lab.limit(|limits| limits.open_files = Some(64)).run(), LimitKind::OpenFiles);
    assert!(used > 64);
}

#[test]
fn descriptors_are_counted_in_whatever_table_they_are() {
    if !with(&["cgroup memory"]) {
        return;
    }
    let limited = |words: &[&str]| Some(Lab::hostile(words)?.limit(|limits| limits.open_files = Some(64)).run());
    let Some(outcome) = limited(&["first-threads-gone", "4", "30"]) else { return };
    tripped(&outcome, LimitKind::OpenFiles);
    let Some(outcome) = limited(&["tables-of-threads", "4", "30"]) else { return };
    // Or threads with tables of their own are not made at all.
    if outcome.stdout.trim() != "refused" {
        tripped(&outcome, LimitKind::OpenFiles);
    }
}

#[test]
fn a_file_beyond_the_limit_ends_it() {
    if !here() {
        return;
    }
    let lab = |script: &str| {
        let all = [Permission::FsWrite, Permission::FsCreate, Permission::FsRead];
        let lab = all.into_iter().fold(Lab::shell(script), |lab, permission| lab.grant(permission, "/tmp"));
        lab.limit(|limits| limits.file_size = Some(Bytes(100 << 10))).run()
    };
    let outcome = lab("exec head -c 200000 /dev/zero > /tmp/x");
    assert_eq!(tripped(&outcome, LimitKind::FileSize).0, 100 << 10);
    // What a child ends by, the program makes a status of; and no status is a limit that tripped.
    let size = "head -c 200000 /dev/zero > /tmp/x; status=$?; wc -c < /tmp/x; exit $status";
    let outcome = lab(size);
    assert_eq!((outcome.exit, outcome.stdout.trim()), (Exit::Returned(153), "102400"));
    assert_eq!(lab("exit 153").exit, Exit::Returned(153));
}

#[test]
fn a_disk_beyond_the_limit_ends_it() {
    if !here() {
        return;
    }
    let lab = |script: &str, disk| {
        let lab = Lab::shell(script);
        let lab = ["/tmp", "/dev/shm"]
            .into_iter()
            .fold(lab, |lab, folder| lab.grant(Permission::FsWrite, folder).grant(Permission::FsCreate, folder));
        lab.limit(|limits| limits.disk = Some(Bytes(disk)))
    };
    for folder in ["/tmp", "/dev/shm"] {
        let script = format!("head -c 2000000 /dev/zero > {folder}/x");
        let (allowed, used) = tripped(&lab(&script, 1 << 20).run(), LimitKind::Disk);
        assert!(allowed == 1 << 20 && used > allowed && used <= (1 << 20) + 8192, "{used}");
        assert_eq!(lab(&script, 2 << 20).run().exit, Exit::Returned(0));
    }
    let many = "i=0; while [ $i -lt 2000 ]; do : > /tmp/$i || exit 1; i=$((i+1)); done";
    tripped(&lab(many, 1 << 20).run(), LimitKind::Disk);
}

#[test]
fn a_time_that_is_up_is_the_runtimes_word_and_it_ends_at_once() {
    if !here() {
        return;
    }
    let (instance, keeper) = Lab::shell("trap '' TERM; sleep 20").build().unwrap();
    instance.start().unwrap();
    let up = ringfence_isolation::Limit { limit: LimitKind::WallTime, allowed: 5, used: 6 };
    // Nobody kills it: the supervisor hears of it when it charges.
    keeper.stop(ringfence_isolation::Verdict::Exceeded(up));
    assert_eq!(support::wait(instance.exited()), Exit::Exceeded(up));
}

#[test]
fn output_beyond_what_the_hal_takes_ends_it() {
    if !here() {
        return;
    }
    let lab = Lab::shell("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done");
    let lab = lab.limit(|limits| limits.output = Some(Bytes(10_000)));
    let (instance, keeper) = lab.build().unwrap();
    keeper.take_at_most(10_000);
    instance.start().unwrap();
    // The pipe breaks: the program learns by SIGPIPE, as from any reader that went away.
    let exit = support::wait(instance.exited());
    assert!(matches!(exit, Exit::Returned(141 | 1 | 2)) || matches!(exit, Exit::Exceeded(_)), "{exit:?}");
    assert_eq!(keeper.printed().len(), 10_000);
}

/// How many lines `steps` wrote: what was done is seen from outside, not by what the program says.
fn steps_done(lab: &Lab) -> u64 {
    std::fs::metadata(lab.host("/data").join("steps")).map_or(0, |found| found.len())
}

#[test]
fn operations_beyond_the_limit_are_not_made() {
    if !with(&["seccomp notify"]) {
        return;
    }
    let all = [Permission::FsWrite, Permission::FsCreate, Permission::FsRead];
    let steps = |words: &[&str], allowed: u64| {
        let lab = Lab::hostile(words)?.mount("/data", ringfence_manifest::MountMode::ReadWrite);
        let lab = all.into_iter().fold(lab, |lab, permission| lab.grant(permission, "/data"));
        Some(lab.limit(|limits| limits.io_operations = Some(allowed)))
    };
    // What it takes to start is known from a run that writes nothing, and one byte is one operation.
    let least = (1..500).find(|&allowed| {
        steps(&["steps", "/data/steps", "0"], allowed).is_none_or(|lab| lab.run().exit == Exit::Returned(0))
    });
    let Some(lab) = steps(&["steps", "/data/steps", "1000"], least.unwrap() + 100) else { return };
    assert_eq!(tripped(&lab.run(), LimitKind::IoOperations), (least.unwrap() + 100, least.unwrap() + 101));
    assert_eq!(steps_done(&lab), 100);
    let lab = steps(&["steps", "/data/steps", "100"], least.unwrap() + 100).expect("it is compiled");
    assert_eq!((lab.run().exit, steps_done(&lab)), (Exit::Returned(0), 100));
    // Nor by children that nobody waits for, and that end by a signal.
    let lab = steps(&["steps-of-children", "/data/steps", "50", "10"], least.unwrap() + 200).expect("it is compiled");
    tripped(&lab.run(), LimitKind::IoOperations);
    assert!((150..=200).contains(&steps_done(&lab)), "{}", steps_done(&lab));
}

#[test]
fn a_loop_of_reads_ends_by_the_one_that_is_too_many() {
    if !with(&["seccomp notify"]) {
        return;
    }
    let lab = Lab::shell(READS).limit(|limits| limits.io_operations = Some(5_000));
    let (allowed, used) = tripped(&lab.run(), LimitKind::IoOperations);
    assert_eq!((allowed, used), (5_000, 5_001));
}

/// Reads a file of the system again and again.
const READS: &str = "while :; do read line < /etc/hosts; done";

#[test]
fn a_command_in_the_same_place_uses_up_the_same_operations() {
    if !with(&["seccomp notify"]) {
        return;
    }
    let lab = Lab::shell("sleep 20").limit(|limits| limits.io_operations = Some(3_000));
    let (instance, _) = lab.build().unwrap();
    instance.start().unwrap();
    let words = |script: &str| vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()];
    assert_eq!(support::wait(instance.exec().unwrap().exec(words("read line < /etc/hosts"))), Ok(Exit::Returned(0)));
    let ended = support::wait(instance.exec().unwrap().exec(words(READS)));
    assert!(!matches!(ended, Ok(Exit::Returned(0))), "{ended:?}");
    let Exit::Exceeded(limit) = support::wait(instance.exited()) else { panic!("{:?}", instance.usage()) };
    assert_eq!((limit.limit, limit.allowed, limit.used), (LimitKind::IoOperations, 3_000, 3_001));
}

#[test]
fn a_place_that_was_built_ahead_counts_operations_as_any_other() {
    use ringfence_isolation::Backend;
    if !with(&["seccomp notify"]) {
        return;
    }
    let lab = Lab::shell(READS).limit(|limits| limits.io_operations = Some(500));
    let prepared = support::linux().prepare(&lab.spec).unwrap();
    prepared.keep_warm(2).unwrap();
    for _ in 0..4 {
        let instance = prepared.build(std::sync::Arc::new(support::Keeper::default())).unwrap();
        instance.start().unwrap();
        let Exit::Exceeded(limit) = support::wait(instance.exited()) else { panic!("it was let go on") };
        assert_eq!((limit.limit, limit.used), (LimitKind::IoOperations, 501));
    }
}

/// A file system of its own for tests; taken away when dropped.
struct Volume(tempfile::TempDir);

impl Volume {
    /// In memory, or `None`, said aloud, where nothing can be mounted.
    fn in_memory(bytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = std::ffi::CString::new(format!("size={bytes},mode=0777")).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        match rustix::mount::mount("ringfence-test", folder.path(), "tmpfs", flags, Some(size.as_c_str())) {
            Ok(()) => Some(Volume(folder)),
            Err(errno) => {
                eprintln!("skipped: nothing can be mounted here: {errno}");
                None
            }
        }
    }

    /// An image with ext4 in a file.
    fn in_a_file(bytes: u64) -> Option<Self> {
        let (folder, image) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
        image.as_file().set_len(bytes).unwrap();
        let made = std::process::Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(image.path()).status();
        let mounted = made.is_ok_and(|made| made.success()).then(|| {
            std::process::Command::new("mount").args(["-o", "loop"]).arg(image.path()).arg(folder.path()).output()
        });
        if mounted.is_some_and(|mounted| mounted.is_ok_and(|mounted| mounted.status.success())) {
            return Some(Volume(folder));
        }
        eprintln!("skipped: no image can be mounted here (mkfs.ext4, loop devices, root)");
        None
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

/// `script` with everything granted on this folder, and in the folders in memory.
fn writing_to(volume: &Volume, script: &str, disk: u64) -> Lab {
    let mut lab = Lab::shell(script);
    lab.spec.mounts.push(ringfence_manifest::Mount {
        at: "/data".into(),
        name: "/data".into(),
        from: volume.0.path().to_owned(),
        mode: ringfence_manifest::MountMode::ReadWrite,
    });
    let all = [Permission::FsWrite, Permission::FsCreate, Permission::FsRead, Permission::FsDelete];
    let lab = all.into_iter().fold(lab, |lab, permission| lab.grant(permission, "/data").grant(permission, "/tmp"));
    lab.limit(|limits| limits.disk = Some(Bytes(disk)))
}

#[test]
fn a_folder_on_a_file_system_of_its_own_holds_a_limit_on_the_disk() {
    if !here() {
        return;
    }
    let mebibyte = 1 << 20;
    for volume in [Volume::in_memory(mebibyte), Volume::in_a_file(2 * mebibyte)].into_iter().flatten() {
        let fits = "head -c 300000 /dev/zero > /data/x && wc -c < /data/x && rm /data/x";
        assert_eq!(writing_to(&volume, fits, 2 * mebibyte).run().stdout.trim(), "300000");
        let fills = "head -c 3000000 /dev/zero > /data/x; sleep 20";
        let (allowed, _) = tripped(&writing_to(&volume, fills, 2 * mebibyte).run(), LimitKind::Disk);
        assert_eq!(allowed, 2 * mebibyte);
        let held = std::fs::metadata(volume.0.path().join("x")).unwrap().len();
        assert!(held < 2 * mebibyte, "{held}");
        // One that is full from the beginning is not the program's doing.
        let outcome = writing_to(&volume, "echo x > /data/y", 2 * mebibyte).run();
        assert!(matches!(outcome.exit, Exit::Returned(_)), "{outcome:?}");
    }
}

#[test]
fn what_the_hosts_folders_can_hold_is_taken_from_the_folders_in_memory() {
    let mebibyte = 1 << 20;
    let Some(volume) = here().then(|| Volume::in_memory(mebibyte)).flatten() else { return };
    let both = "head -c 900000 /dev/zero > /data/x && head -c 900000 /dev/zero > /tmp/x && echo both; rm /data/x";
    assert_eq!(writing_to(&volume, both, 2 * mebibyte).run().stdout.trim(), "both");
    let outcome = writing_to(&volume, both, mebibyte + mebibyte / 2).run();
    let (allowed, used) = tripped(&outcome, LimitKind::Disk);
    assert!(used > allowed && outcome.stdout.is_empty(), "{used} {outcome:?}");
}
