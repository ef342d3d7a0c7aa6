//! A runner that is not itself any more: what a fault of the WebAssembly engine would lead to, in a process and in a
//! virtual machine. This program is the runner, too, and does what the name of the capsule says.

mod frames;
mod host;

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use ringfence::{BuildError, Exit, Level, LimitKind, Load, LoadError, Report, Runtime, StreamOut};

use frames::{Line, call, ended, outcome, receive, send, text, varint};

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == ringfence::runner::RUNNER) {
        play();
    }
    let levels = [Level::Sandbox, Level::MicroVm].into_iter();
    let trials: Vec<Trial> = levels
        .flat_map(|level| {
            let only = if level == Level::MicroVm { IN_A_MACHINE } else { IN_A_PROCESS };
            TRIALS.iter().chain(only).map(move |&(name, limits, check)| {
                Trial::ignorable_test(format!("{level}/{name}"), move || attempt(level, name, limits, check))
            })
        })
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn attempt(level: Level, name: &str, limits: &[&str], check: Check) -> Result<Completion, Failed> {
    // At level sandbox its memory is bounded without a cgroup as well.
    let counted: Vec<_> = limits.iter().copied().filter(|limit| !limit.starts_with("memory")).collect();
    if let Some(missing) = lacks(level, &counted) {
        return Ok(Completion::ignored_with(missing));
    }
    match run(level, name, limits) {
        Ok(report) if check(&report) => Ok(Completion::Completed),
        Ok(report) => Err(Failed::from(format!("{} {:?}", report.exit, report.denials))),
        Err(LoadError::Build(BuildError::Refused(refusal))) if refusal.facts.iter().any(|fact| !fact.usable) => {
            Ok(Completion::ignored_with(format!("skipped: {refusal}").replace('\n', " ")))
        }
        Err(error) => Err(Failed::from(error.to_string())),
    }
}

type Check = fn(&Report) -> bool;

const TRIALS: &[(&str, &[&str], Check)] = &[
    ("a-guest-in-it-runs", &[], |report| report.exit == Exit::Returned(0)),
    ("what-it-says-is-decoded", &[], |report| matches!(report.exit, Exit::Lost(_))),
    ("what-is-too-long-is-not-read", &[], |report| matches!(report.exit, Exit::Lost(_))),
    ("its-silence-is-no-success", &[], |report| matches!(report.exit, Exit::Lost(_))),
    ("it-has-no-files-and-no-network", &[], |report| {
        // What it found is what it says; the host's side is looked at by `run`.
        report.exit.to_string() == "trapped: nothing"
    }),
    ("it-has-no-more-memory", &["memory=16MiB"], |report| match lacks(Level::Sandbox, &["memory"]) {
        None => exceeded(report, LimitKind::Memory),
        // Nobody counts, and it gets no more.
        Some(_) => matches!(report.exit, Exit::Lost(_)),
    }),
    ("it-has-no-more-time", &["cpu_time=100ms"], |report| exceeded(report, LimitKind::CpuTime)),
    ("it-ends-when-its-time-is-over", &["wall_time=300ms"], |report| exceeded(report, LimitKind::WallTime)),
    ("it-asks-for-what-the-guest-was-not-granted", &[], |report| {
        report.exit.to_string() == "trapped: [13]" && report.denials.len() == 1
    }),
    ("it-waits-for-a-million-things", &["wall_time=20s"], |report| report.exit.to_string() == "trapped: [24]"),
];

/// In a machine it is the machine that is bounded, with every process in it.
const IN_A_PROCESS: &[(&str, &[&str], Check)] =
    &[("it-stays-one-process", &[], |report| report.exit.to_string() == "trapped: nothing")];

const IN_A_MACHINE: &[(&str, &[&str], Check)] =
    &[("its-questions-have-bounds", &["wall_time=20s"], |report| report.exit.to_string() == "trapped: nothing")];

fn exceeded(report: &Report, limit: LimitKind) -> bool {
    matches!(report.exit, Exit::Exceeded(found) if found.limit == limit)
}

/// What is missing here of what bounds a runner in a process.
fn lacks(level: Level, limits: &[&str]) -> Option<String> {
    if level != Level::Sandbox {
        return None;
    }
    let runtime = Runtime::builder().build().expect("a runtime is set up");
    let (missing, _) = host::lacks(&runtime, limits)?;
    Some(format!("skipped: {}: {}", missing.name, missing.found))
}

fn run(level: Level, name: &str, limits: &[&str]) -> Result<Report, LoadError> {
    let home = tempfile::tempdir().expect("a folder for temporary files");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener that does not wait");
    let port = listener.local_addr().expect("its address").port();
    let runtime = Runtime::builder()
        .data_home(home.path())
        .cache(std::env::temp_dir().join("ringfence-conformance-cache"))
        .runner(std::env::current_exe().expect("its own path"))
        .build()
        .expect("a runtime is set up");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../programs/hello.wat");
    let text = format!(
        "[capsule]\nname = \"{name}.{port}\"\n[program]\npath = {:?}\n[isolation]\nlevel = \"{level}\"\n",
        program.display().to_string()
    );
    let manifest = ringfence::Manifest::parse("capsule.toml", &text).expect("a manifest");
    let mut load = Load::manifest(manifest).directory(home.path()).stdout(StreamOut::Capture);
    for limit in limits.iter().copied() {
        load = load.limit(limit);
    }
    let capsule = runtime.load_with(load)?;
    let report = capsule.run_blocking().map_err(|error| match error {
        ringfence::StartError::Build(error) => LoadError::Build(error),
        other => panic!("{other}"),
    })?;
    assert!(listener.accept().is_err(), "somebody connected to a port of the host");
    Ok(report)
}

// --- the other side ---

/// The way to the supervisor.
enum Way {
    /// From a process.
    Line(UnixStream),
    /// From a machine, with the answer that came last.
    Door(Vec<u8>),
}

impl Way {
    fn line(descriptor: impl AsFd) -> Option<UnixStream> {
        let line = UnixStream::from(descriptor.as_fd().try_clone_to_owned().ok()?);
        line.peer_addr().is_ok().then_some(line)
    }
}

/// The good monitor of a machine, or the bad runner in one or in a process.
fn play() -> ! {
    if std::env::args_os().nth(2).is_some() {
        attack(Way::Door(Vec::new()));
    }
    // A monitor has a line of parcels.
    if Way::line(io::stderr()).is_some() {
        ringfence::runner::run();
    }
    attack(Way::Line(Way::line(io::stdin()).expect("a line")))
}

/// What a runner does that somebody else has taken over.
fn attack(mut line: Way) -> ! {
    // Its first frame asks for the order, as a good one's does.
    send(&mut line, &[0]);
    let order = receive(&mut line);
    let length = usize::from(order[1]);
    let name = String::from_utf8_lossy(&order[2..2 + length]).into_owned();
    let (name, port) = name.rsplit_once('.').expect("a port");
    match name {
        // It asks again, which is once too often: the line ends.
        "what-it-says-is-decoded" => loop {
            send(&mut line, &[0, 255, 255, 7]);
        },
        "what-is-too-long-is-not-read" => loop {
            if !line.pass(&u32::MAX.to_le_bytes()) {
                std::process::exit(0);
            }
        },
        "it-has-no-files-and-no-network" => {
            let found = what_there_is(port, matches!(line, Way::Line(_)));
            ended(&mut line, &found)
        }
        "it-has-no-more-memory" => {
            let mut kept = Vec::new();
            loop {
                kept.push(vec![1_u8; 1 << 20]);
            }
        }
        "it-stays-one-process" => {
            let program = Command::new("/proc/self/exe").arg("none").spawn();
            let file = rustix::fs::memfd_create(c"x", rustix::fs::MemfdFlags::empty());
            let thread = std::thread::Builder::new().spawn(|| ());
            let is_alone = program.is_err() && file.is_err() && thread.is_ok();
            ended(&mut line, if is_alone { "nothing" } else { "something" })
        }
        "it-has-no-more-time" => loop {
            std::hint::black_box(());
        },
        "it-ends-when-its-time-is-over" => loop {
            std::thread::park();
        },
        "it-asks-for-what-the-guest-was-not-granted" => {
            // Open { directory: the root, path, how: read }
            let open = [&[5_u8][..], &varint(103), &text("/etc/passwd"), &[1, 0, 0, 0, 0, 0, 1, 0]].concat();
            let answer = outcome(&call(&mut line, &open));
            ended(&mut line, &answer)
        }
        "it-waits-for-a-million-things" => loop {
            // Sleep { until: a very distant moment }
            let forever = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
            let answer = outcome(&call(&mut line, &[&[46_u8][..], &forever].concat()));
            if answer != "later" {
                ended(&mut line, &answer);
            }
        },
        "its-questions-have-bounds" => {
            let found = odd_questions();
            ended(&mut line, &found)
        }
        "a-guest-in-it-runs" => {
            // Ended { end: Returned(0), fuel: 0 }, which is its right to say.
            send(&mut line, &[5, 0, 0, 0]);
            std::process::exit(0)
        }
        _ => std::process::exit(0),
    }
}

impl Line for Way {
    fn pass(&mut self, frame: &[u8]) -> bool {
        match self {
            Way::Line(line) => line.pass(frame),
            Way::Door(answer) => {
                let mut place = vec![0; frame.len() + (1 << 16)];
                place[..frame.len()].copy_from_slice(frame);
                let count = rustix::io::pread(io::stdin(), &mut place[..], 0);
                count.inspect(|&count| *answer = place[4..count].to_vec()).is_ok()
            }
        }
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        match self {
            Way::Line(line) => line.take(),
            Way::Door(answer) => Some(std::mem::take(answer)),
        }
    }
}

/// Questions that have no answer, and what they got that they should not have; then many that wait for ever.
fn odd_questions() -> String {
    let mut found = Vec::new();
    let mut ask = |what: &str, place: &mut [u8], wanted: Result<usize, rustix::io::Errno>| {
        let got = rustix::io::pread(io::stdin(), place, 0);
        if got != wanted {
            found.push(format!("{what}: {got:?}"));
        }
    };
    use rustix::io::Errno;
    ask("no room for a length", &mut [0; 3], Err(Errno::INVAL));
    ask("longer than its buffer", &mut [5, 0, 0, 0, 4, 0, 0, 0], Err(Errno::INVAL));
    ask("longer than any", &mut [0xff; 64], Err(Errno::INVAL));
    // The code of the program, which is longer.
    let mut little = [0; 64];
    little[..6].copy_from_slice(&[2, 0, 0, 0, 14, 0]);
    ask("no room for the answer", &mut little, Err(Errno::MSGSIZE));
    // Verdict: it may go on.
    let mut verdict = [1, 0, 0, 0, 4, 0, 0, 0];
    ask("a good one", &mut verdict, Ok(6));
    if verdict[..6] != [2, 0, 0, 0, 3, 1] {
        found.push(format!("its answer: {verdict:?}"));
    }
    // The end does not wait for them.
    for _ in 0..8 {
        std::thread::spawn(|| rustix::io::pread(io::stdin(), &mut [1, 0, 0, 0, 16, 0, 0, 0][..], 0));
    }
    if found.is_empty() { "nothing".into() } else { found.join(", ") }
}

/// Everything of the host that can be reached; `nothing` is what is hoped for.
fn what_there_is(port: &str, in_a_process: bool) -> String {
    let mut found = host::seen();
    for path in ["/tmp/x", "/dev/shm/x", "/usr/x", "/x", "/proc/self/mem"] {
        if fs::OpenOptions::new().append(true).create(true).open(path).is_ok_and(|_| path != "/proc/self/mem") {
            found.push(format!("writes {path}"));
        }
    }
    // What needs no libraries sees no system: itself and its processes. A machine shows its own system.
    if cfg!(target_feature = "crt-static") && in_a_process {
        let names = fs::read_dir("/").into_iter().flatten().flatten().map(|entry| entry.file_name());
        found.extend(names.filter(|name| name != "proc" && name != "program").map(|name| format!("sees {name:?}")));
        found.extend(fs::metadata("/usr").is_ok().then(|| "sees /usr".into()));
    }
    if TcpStream::connect(format!("127.0.0.1:{port}")).is_ok() {
        found.push("connects".into());
    }
    let descriptors: Vec<String> = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|number| number.parse::<u32>().is_ok_and(|number| number > 4))
        .collect();
    if !descriptors.is_empty() {
        found.push(format!("holds {descriptors:?}"));
    }
    // Programs of the system may be started, behind the same walls.
    if let Ok(output) = Command::new("/bin/cat").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).output()
        && !output.stdout.is_empty()
    {
        found.push("a program it starts reads".into());
    }
    if found.is_empty() { "nothing".into() } else { found.join(", ") }
}
