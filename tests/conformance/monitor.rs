//! The monitor of a virtual machine, looked at from outside: what a good one has left, and what one gains that is
//! not itself any more, because its guest found a fault in it. This program is the runner, too, and
//! does what the name of the capsule says.

#[path = "monitor/commands.rs"]
mod commands;
#[path = "monitor/snapshots.rs"]
mod snapshots;

use std::fs;
use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use ringfence::{
    BuildError, Capsule, Exit, Guarantee, Held, Instance, Level, LimitKind, Load, LoadError, Report, Runtime,
    StartError, StreamOut,
};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == ringfence::runner::RUNNER) {
        play();
    }
    let mut trials = vec![
        Trial::ignorable_test("a-good-one-has-nothing-left", good),
        Trial::ignorable_test("without-a-runner-the-report-says-what-is-given-up", alone),
    ];
    let bad =
        TRIALS.iter().map(|&(name, lines, check)| Trial::ignorable_test(name, move || attempt(name, lines, check)));
    trials.extend(bad);
    trials.extend(commands::trials());
    trials.extend(snapshots::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

type Check = fn(&Report) -> bool;

/// Name, lines of the manifest, what its report must be.
const TRIALS: &[(&str, &str, Check)] = &[
    ("its-word-on-a-status-counts", "", |report| report.exit == Exit::Returned(7)),
    ("its-silence-is-no-success", "", |report| matches!(report.exit, Exit::Lost(_))),
    ("what-it-says-is-decoded", "", |report| matches!(report.exit, Exit::Lost(_))),
    ("a-limit-nobody-set-does-not-trip", "open_files = \"none\"", |report| matches!(report.exit, Exit::Lost(_))),
    ("it-reaches-nothing", "", |report| report.exit.to_string() == "trapped: nothing"),
    ("it-has-no-more-memory", "memory = \"16 MiB\"", |report| exceeded(report, LimitKind::Memory)),
    ("it-has-no-more-time", "cpu_time = \"100ms\"", |report| exceeded(report, LimitKind::CpuTime)),
    ("it-ends-when-its-time-is-over", "wall_time = \"300ms\"", |report| exceeded(report, LimitKind::WallTime)),
    ("it-has-no-more-threads", "processes = 4", |report| exceeded(report, LimitKind::Processes)),
    ("it-asks-for-what-was-not-granted", "", |report| {
        report.exit.to_string() == "trapped: [13]" && report.denials.len() == 1
    }),
    ("it-cannot-give-back-what-it-never-took", "disk = \"64 KiB\"", |report| exceeded(report, LimitKind::Disk)),
    // One came as its standard input, one in its first parcel.
    ("it-has-a-bounded-number-of-lines", "", |report| report.exit.to_string() == "trapped: 6 more"),
];

fn exceeded(report: &Report, limit: LimitKind) -> bool {
    matches!(report.exit, Exit::Exceeded(found) if found.limit == limit)
}

fn attempt(name: &str, limits: &str, check: Check) -> Result<Completion, Failed> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener that does not wait");
    let port = listener.local_addr().expect("its address").port();
    let lab = Lab::new();
    let outcome = lab.load(&format!("{name}.{port}"), limits, "/bin/true", &[], true).and_then(|capsule| {
        capsule.run_blocking().map_err(|error| match error {
            ringfence::StartError::Build(error) => LoadError::Build(error),
            other => panic!("{other}"),
        })
    });
    let report = match outcome {
        Ok(report) => report,
        Err(error) => return skipped(error),
    };
    if let Some(missing) = unconfined(&report) {
        return Ok(Completion::ignored_with(missing));
    }
    if listener.accept().is_ok() {
        return Err("somebody connected to a port of the host".into());
    }
    if fs::read(lab.home.path().join("data/in.txt")).expect("the file of the mount") != b"inside" {
        return Err("a file that was not granted was changed".into());
    }
    match check(&report) {
        true => Ok(Completion::Completed),
        false => Err(Failed::from(format!("{} {:?}", report.exit, report.denials))),
    }
}

/// How long a monitor may take to run its guest.
const PATIENCE: Duration = Duration::from_secs(20);

/// What holds of a monitor while its guest sleeps, as the kernel shows it.
fn good() -> Result<Completion, Failed> {
    let lab = Lab::new();
    let before = runners();
    let instance = match started(lab.load("good", "memory = \"64 MiB\"", "/bin/sleep", &["60"], true)) {
        Ok(instance) => instance,
        Err(without) => return without,
    };
    let began = Instant::now();
    let monitor = loop {
        // It has put its own filter up when there are two, it runs its guest when there is a processor, and tells
        // several times a second what that holds.
        let found = runners().into_iter().find(|pid| !before.contains(pid));
        if let Some(pid) = found
            && status(pid, "Seccomp_filters") == "2"
            && descriptors(pid).iter().any(|name| name.contains("kvm-vcpu"))
            && instance.usage().memory_peak > 0
        {
            break pid;
        }
        if began.elapsed() > PATIENCE {
            instance.stop(ringfence::Stop::Kill);
            return Err(format!("it did not come up: {}", instance.exited_blocking().exit).into());
        }
        std::thread::yield_now();
    };
    let mut wrong = Vec::new();
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        if u64::from_str_radix(&status(monitor, set), 16) != Ok(0) {
            wrong.push(format!("{set} {}", status(monitor, set)));
        }
    }
    if status(monitor, "NoNewPrivs") != "1" {
        wrong.push("no_new_privs is not set".into());
    }
    for kind in ["mnt", "net", "pid", "ipc", "uts", "cgroup"] {
        let namespace = |whose: &str| fs::read_link(format!("/proc/{whose}/ns/{kind}")).ok();
        if namespace("self") == namespace(&monitor.to_string()) {
            wrong.push(format!("the {kind} namespace is the host's"));
        }
    }
    let system = ["/usr", "/lib", "/lib64", "/bin", "/etc/", "/nix"];
    for name in descriptors(monitor) {
        let kind = ["socket:", "anon_inode:", "/memfd:"].iter().any(|kind| name.starts_with(kind));
        if !kind && name != "/" && !system.iter().any(|folder| name.starts_with(folder)) {
            wrong.push(format!("it holds {name}"));
        }
    }
    let environment = fs::read(format!("/proc/{monitor}/environ")).unwrap_or_default();
    if !environment.is_empty() {
        wrong.push(format!("it knows variables: {}", String::from_utf8_lossy(&environment)));
    }
    instance.stop(ringfence::Stop::Kill);
    let report = instance.exited_blocking();
    if Path::new(&format!("/proc/{monitor}")).exists() && status(monitor, "State").starts_with(['R', 'S', 'D']) {
        wrong.push("it outlived its instance".into());
    }
    if report.exit != Exit::Stopped {
        wrong.push(format!("a kill ended it otherwise: {}", report.exit));
    }
    if !matches!(report.enforced.get(Guarantee::MonitorConfined), Held::By { .. }) {
        wrong.push("its report does not say so".into());
    }
    // The guest's, not what the monitor itself holds.
    if !(64 << 10..64 << 20).contains(&report.usage.memory_peak) {
        wrong.push(format!("its peak of memory is {}", report.usage.memory_peak));
    }
    if wrong.is_empty() { Ok(Completion::Completed) } else { Err(wrong.join("; ").into()) }
}

/// In the process of who runs it there are no walls around the monitor: that is told, and refused where they are required.
fn alone() -> Result<Completion, Failed> {
    let lab = Lab::new();
    let report = match lab.load("alone", "", "/bin/true", &[], false).map(|capsule| capsule.run_blocking()) {
        Ok(Ok(report)) => report,
        Ok(Err(error)) => return Err(error.to_string().into()),
        Err(error) => return skipped(error),
    };
    if !report.not_held.iter().any(|not| not.guarantee == Guarantee::MonitorConfined) {
        return Err(format!("{:?}", report.not_held).into());
    }
    match lab.load_requiring("alone", "require = [\"monitor-confined\"]", "", "/bin/true", &[], false) {
        Err(LoadError::Build(BuildError::Refused(refusal))) if refusal.guarantee == Guarantee::MonitorConfined => {
            Ok(Completion::Completed)
        }
        Err(error) => Err(error.to_string().into()),
        Ok(_) => Err("it was not refused".into()),
    }
}

/// An instance that was started, or how the case ends without one.
fn started(capsule: Result<Capsule, LoadError>) -> Result<Instance, Result<Completion, Failed>> {
    match capsule.map_err(skipped)?.start() {
        Ok(instance) => Ok(instance),
        Err(StartError::Build(error)) => Err(skipped(LoadError::Build(error))),
        Err(error) => Err(Err(error.to_string().into())),
    }
}

fn skipped(error: LoadError) -> Result<Completion, Failed> {
    match error {
        LoadError::Build(BuildError::Refused(refusal)) if refusal.facts.iter().any(|fact| !fact.usable) => {
            Ok(Completion::ignored_with(format!("skipped: {refusal}").replace('\n', " ")))
        }
        error => Err(error.to_string().into()),
    }
}

/// Why the monitor has not all its walls on this machine; such a run would take what it can.
fn unconfined(report: &Report) -> Option<String> {
    match report.enforced.get(Guarantee::MonitorConfined) {
        Held::By { .. } => None,
        held => Some(format!("skipped: {held}")),
    }
}

/// Where a capsule runs: a folder with a mount of which nothing but writing one file is granted.
struct Lab {
    home: tempfile::TempDir,
    runtime: std::cell::OnceCell<Runtime>,
}

impl Lab {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a folder for temporary files");
        fs::create_dir(home.path().join("data")).expect("a folder");
        fs::write(home.path().join("data/in.txt"), "inside").expect("a file");
        Lab { home, runtime: std::cell::OnceCell::new() }
    }

    fn load(
        &self,
        name: &str,
        limits: &str,
        program: &str,
        arguments: &[&str],
        apart: bool,
    ) -> Result<Capsule, LoadError> {
        self.load_requiring(name, "", limits, program, arguments, apart)
    }

    fn load_requiring(
        &self,
        name: &str,
        isolation: &str,
        limits: &str,
        program: &str,
        arguments: &[&str],
        apart: bool,
    ) -> Result<ringfence::Capsule, LoadError> {
        let (runtime, load) = self.describe(name, isolation, limits, program, arguments, apart)?;
        runtime.load_with(load)
    }

    /// What is to be loaded, and where.
    fn describe(
        &self,
        name: &str,
        isolation: &str,
        limits: &str,
        program: &str,
        arguments: &[&str],
        apart: bool,
    ) -> Result<(&Runtime, Load), LoadError> {
        let runtime = self.runtime.get_or_init(|| {
            let mut builder = Runtime::builder().data_home(self.home.path());
            if apart {
                builder = builder.runner(std::env::current_exe().expect("its own path"));
            }
            builder.build().expect("a runtime is set up")
        });
        if let Some(missing) = lacks(runtime, limits) {
            return Err(missing);
        }
        let text = format!(
            "[capsule]\nname = {name:?}\n[program]\nkind = \"linux\"\npath = {program:?}\nargs = {arguments:?}\n\
             [isolation]\nlevel = \"microvm\"\n{isolation}\n[limits]\n{limits}\n\
             [permissions]\nfs.write = [\"/data/out\"]\nfs.create = [\"/data/out\"]\n\
             [mounts]\n\"/data\" = {{ from = \"data\", mode = \"rw\" }}\n"
        );
        let manifest = ringfence::Manifest::parse("capsule.toml", &text).expect("a manifest");
        Ok((runtime, Load::manifest(manifest).directory(self.home.path()).stdout(StreamOut::Capture)))
    }
}

/// What is missing here of what bounds a process. Without a cgroup nothing bounds a bad monitor: such a run
/// would take all of this machine.
fn lacks(runtime: &Runtime, limits: &str) -> Option<LoadError> {
    let bounds = [("memory", "cgroup memory"), ("cpu_time", "cgroup cpuacct"), ("processes", "cgroup pids")];
    let sandbox = runtime.backends().iter().find(|backend| backend.level() == Level::Sandbox)?;
    let facts = sandbox.probe();
    let missing = facts.iter().find(|fact| {
        !fact.usable && bounds.iter().any(|(limit, name)| fact.name == *name && limits.starts_with(limit))
    })?;
    Some(LoadError::Build(BuildError::Refused(ringfence::Refusal {
        level: Level::MicroVm,
        guarantee: Guarantee::MonitorConfined,
        found: missing.found.clone(),
        remedy: String::new(),
        facts: facts.clone(),
    })))
}

/// Processes that run this program as a runner.
fn runners() -> Vec<u32> {
    let own = std::env::current_exe().expect("its own path");
    let name = own.file_name().expect("a name").to_string_lossy().into_owned();
    let is_runner = |pid: &u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = words.split(|&byte| byte == 0).map(String::from_utf8_lossy).collect();
        words.first().is_some_and(|first| first.ends_with(&name))
            && words.get(1).is_some_and(|second| second == ringfence::runner::RUNNER)
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok()).filter(is_runner).collect()
}

fn status(pid: u32, key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or("?").trim().to_owned()
}

/// What its descriptors lead to.
fn descriptors(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned())).collect()
}

// --- the other side ---

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A good runner, or one that somebody has taken over: then everything that a good one gave up is given up.
fn play() -> ! {
    let parcels = UnixStream::from(io::stderr().as_fd().try_clone_to_owned().expect("a line"));
    let order = peek(&parcels);
    if order == b"good" {
        ringfence::runner::run();
    }
    let held = take(&parcels);
    ringfence::runner::confine_monitor().expect("a filter of system calls");
    attack(&String::from_utf8_lossy(&order), &held)
}

/// The name in the order, which stays where it is for a good runner.
fn peek(parcels: &UnixStream) -> Vec<u8> {
    let held = receive_parcel(parcels, RecvFlags::PEEK);
    let mut name = [0; 256];
    let length = rustix::io::pread(&held[2], &mut name, 0).expect("an order");
    let end = 1 + usize::from(name[0]);
    assert!(end <= length, "a name");
    name[1..end].to_vec()
}

fn take(parcels: &UnixStream) -> Vec<OwnedFd> {
    receive_parcel(parcels, RecvFlags::empty())
}

fn receive_parcel(parcels: &UnixStream, flags: RecvFlags) -> Vec<OwnedFd> {
    let mut word = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    recvmsg(parcels, &mut [IoSliceMut::new(&mut word)], &mut ancillary, flags | RecvFlags::CMSG_CLOEXEC)
        .expect("a parcel");
    ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        })
        .flatten()
        .collect()
}

fn attack(name: &str, held: &[OwnedFd]) -> ! {
    let mut line = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().expect("a line"));
    let (name, port) = name.rsplit_once('.').expect("a port");
    commands::attack(name, &mut line);
    snapshots::attack(name, &mut line, held);
    match name {
        "its-word-on-a-status-counts" => {
            // Ended { end: Returned(7), fuel: 0 }
            send(&mut line, &[5, 0, 14, 0]);
            std::process::exit(0)
        }
        "what-it-says-is-decoded" => loop {
            send(&mut line, &[200, 255, 255, 7]);
        },
        "a-limit-nobody-set-does-not-trip" => {
            // Ended { end: Exceeded { limit: "open_files", used: 1 }, fuel: 0 }
            send(&mut line, &[&[5_u8, 7][..], &text("open_files"), &[1, 0]].concat());
            std::process::exit(0)
        }
        "it-reaches-nothing" => ended(&mut line, &what_there_is(port, held)),
        "it-has-no-more-memory" => {
            let mut kept = Vec::new();
            loop {
                kept.push(vec![1_u8; 1 << 20]);
            }
        }
        "it-has-no-more-time" => loop {
            std::hint::black_box(());
        },
        "it-ends-when-its-time-is-over" => loop {
            std::thread::park();
        },
        "it-has-no-more-threads" => loop {
            let park = || loop {
                std::thread::park();
            };
            if std::thread::Builder::new().stack_size(64 << 10).spawn(park).is_err() {
                std::thread::park();
            }
        },
        "it-asks-for-what-was-not-granted" => {
            // Open { directory: the root, path, how: read }
            let open = [&[5_u8][..], &varint(103), &text("/data/in.txt"), &[1, 0, 0, 0, 0, 0, 1]].concat();
            let answer = outcome(&call(&mut line, &open));
            ended(&mut line, &answer)
        }
        "it-cannot-give-back-what-it-never-took" => {
            // ShrinkDisk { bytes: 1 GiB }, then Open { write, create }, then Write.
            send(&mut line, &[&[6_u8][..], &varint(1 << 30)].concat());
            let open = [&[5_u8][..], &varint(103), &text("/data/out"), &[0, 1, 1, 0, 0, 0, 0]].concat();
            let opened = call(&mut line, &open);
            // Now(Answered { result: Ok(Reply::Handle(_)), .. })
            let [1, 0, _, file @ ..] = &opened[..] else { ended(&mut line, &outcome(&opened)) };
            let mut file = file.to_vec();
            file.truncate(1 + file.iter().position(|byte| byte & 128 == 0).expect("a number"));
            for _ in 0..4 {
                let content = [varint(32 << 10), vec![b'x'; 32 << 10]].concat();
                let write = [&[7_u8][..], &file, &[1], &content].concat();
                let written = outcome(&call(&mut line, &write));
                if written != "ok" {
                    // It was told to stop; the host's verdict is the reason.
                    ended(&mut line, &written);
                }
            }
            ended(&mut line, "it wrote all of it")
        }
        "it-has-a-bounded-number-of-lines" => {
            let more = (0..100).filter(|_| {
                send(&mut line, &[8]);
                receive(&mut line) == [5, 1]
            });
            let more = more.count();
            ended(&mut line, &format!("{more} more"))
        }
        _ => std::process::exit(0),
    }
}

fn send(line: &mut UnixStream, bytes: &[u8]) {
    let frame = [&(bytes.len() as u32).to_le_bytes(), bytes].concat();
    if line.write_all(&frame).is_err() {
        std::process::exit(0);
    }
}

fn receive(line: &mut UnixStream) -> Vec<u8> {
    let mut head = [0; 4];
    if line.read_exact(&mut head).is_err() {
        std::process::exit(0);
    }
    let mut bytes = vec![0; u32::from_le_bytes(head) as usize];
    line.read_exact(&mut bytes).expect("a frame");
    bytes
}

fn call(line: &mut UnixStream, bytes: &[u8]) -> Vec<u8> {
    let number = NUMBER.fetch_add(1, Relaxed);
    send(line, &[&[1_u8][..], &varint(u64::from(number)), bytes].concat());
    receive(line)
}

/// The number of the error as text, `ok` or `later`.
fn outcome(answer: &[u8]) -> String {
    match answer {
        // Now(Answered { result: Err(zigzag of the number), .. })
        [1, 1, error, ..] => format!("[{}]", error / 2),
        [1, 0, ..] => "ok".into(),
        [2] => "later".into(),
        other => format!("{other:?}"),
    }
}

/// Ended { end: Trapped(text), fuel: 0 }
fn ended(line: &mut UnixStream, what: &str) -> ! {
    send(line, &[&[5_u8, 5][..], &text(what), &[0]].concat());
    std::process::exit(0)
}

fn text(text: &str) -> Vec<u8> {
    [varint(text.len() as u64), text.as_bytes().to_vec()].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 127 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Everything of the host that can be reached; `nothing` is what is hoped for.
fn what_there_is(port: &str, held: &[OwnedFd]) -> String {
    let mut found = Vec::new();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in [here.join("Cargo.toml"), here.to_owned(), "/root".into(), "/home".into(), "/etc/shadow".into()] {
        if fs::metadata(&path).is_ok_and(|found| found.is_file()) || fs::read_dir(&path).is_ok() {
            found.push(format!("reads {}", path.display()));
        }
    }
    for path in ["/tmp/x", "/dev/shm/x", "/usr/x", "/x", "/proc/self/mem", "/proc/self/oom_score_adj"] {
        if fs::OpenOptions::new().write(true).create(true).truncate(false).open(path).is_ok() {
            found.push(format!("writes {path}"));
        }
    }
    for descriptor in held {
        let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        if fs::OpenOptions::new().write(true).open(&path).is_ok() {
            found.push(format!("opens {path} again for writing"));
        }
        if fs::read_dir(format!("{path}/..")).is_ok() {
            found.push(format!("looks around {path}"));
        }
    }
    if TcpStream::connect(format!("127.0.0.1:{port}")).is_ok() || TcpListener::bind("127.0.0.1:0").is_ok() {
        found.push("makes sockets".into());
    }
    if UnixListener::bind("/tmp/socket").is_ok() || UnixStream::pair().is_ok() {
        found.push("makes Unix sockets".into());
    }
    if Command::new("/bin/true").spawn().is_ok() {
        found.push("starts programs".into());
    }
    let denied = [
        ("kills pid 1", rustix::process::kill_process(rustix::process::Pid::INIT, rustix::process::Signal::KILL).err()),
        ("changes its root", rustix::process::chroot("/usr").err()),
        ("changes its folder", rustix::process::chdir("/usr").err()),
        (
            "changes its limits",
            rustix::process::setrlimit(
                rustix::process::Resource::Nofile,
                rustix::process::Rlimit { current: Some(64), maximum: Some(64) },
            )
            .err(),
        ),
    ];
    found.extend(denied.into_iter().filter(|(_, error)| error.is_none()).map(|(what, _)| what.to_owned()));
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok()).count();
    // Itself; pid 1 of the place, which is ours, is not shown.
    if processes > 2 {
        found.push(format!("sees {processes} processes"));
    }
    if std::env::vars_os().next().is_some() {
        found.push("knows variables".into());
    }
    if found.is_empty() { "nothing".into() } else { found.join(", ") }
}
