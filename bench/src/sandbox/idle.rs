//! What an instance that waits takes beside its program: of the supervisor and of the processes between
//! the two.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ringfence::{Stop, StreamOut};

use crate::ratio::report;

/// How many instances wait at the same time.
const INSTANCES: usize = 50;
/// The program, which does nothing for longer than this takes.
const PROGRAM: &str = "/bin/sleep";
const ARGUMENT: &str = "600";
/// How long the instances may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn run() {
    let Some(mine) = ringfence() else { return };
    let shown = |bytes: f64| format!("{:.0} KiB each", bytes / 1024.0);
    let idle = format!("{INSTANCES} idle instances, beside their programs");
    if Command::new("bwrap").arg("--version").output().is_ok() {
        let theirs = commands(|_| {
            let mut command = Command::new("bwrap");
            command.args(super::BUBBLEWRAP).args([PROGRAM, ARGUMENT]);
            command
        });
        report(&idle, &shown(mine), "bwrap", &shown(theirs), mine / theirs);
    }
    match bundle() {
        Ok(bundle) => {
            let theirs = commands(|number| {
                let mut command = Command::new("runc");
                let name = format!("ringfence-bench-{}-{number}", std::process::id());
                command.args(["run", "--bundle"]).arg(bundle.path()).arg(name);
                command
            });
            report(&idle, &shown(mine), "runc", &shown(theirs), mine / theirs);
        }
        Err(missing) => println!("skipped: {missing}"),
    }
}

/// Instances of the library, in this process.
fn ringfence() -> Option<f64> {
    let (tokio, capsule, _folder) = super::capsule_allowed(PROGRAM, &[ARGUMENT], StreamOut::Null, &[])?;
    // The first one brings what all of them share.
    let mut live = vec![capsule.start().expect("it starts")];
    let _within = tokio.enter();
    wait_for(1, &tokio);
    let before = beside_programs(true);
    for _ in 0..INSTANCES {
        live.push(capsule.start().expect("it starts"));
    }
    wait_for(INSTANCES + 1, &tokio);
    let each = (beside_programs(true) - before) / INSTANCES as f64;
    for instance in &live {
        instance.stop(Stop::Kill);
        tokio.block_on(instance.exited());
    }
    Some(each)
}

/// Commands that are each an instance with a supervisor.
fn commands(mut command: impl FnMut(usize) -> Command) -> f64 {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a Tokio runtime");
    let mut live: Vec<Child> = (0..INSTANCES)
        .map(|number| command(number).stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("it starts"))
        .collect();
    wait_for(INSTANCES, &tokio);
    let each = beside_programs(false) / INSTANCES as f64;
    for (pid, _) in descendants().iter().filter(|(_, process)| process.is_program) {
        if let Some(pid) = i32::try_from(*pid).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    for child in &mut live {
        let _ = child.wait();
    }
    each
}

/// Lets the instances come up; panics when they do not.
fn wait_for(count: usize, tokio: &tokio::runtime::Runtime) {
    let began = Instant::now();
    while descendants().values().filter(|process| process.is_program).count() < count {
        assert!(began.elapsed() < PATIENCE, "not every instance came up");
        tokio.block_on(async { tokio::time::sleep(Duration::from_millis(10)).await });
    }
}

/// Bytes of everything below this process that is not a program, and of this process if it is the
/// supervisor: proportional shares (`Pss` of `smaps_rollup`, proc(5)) and page tables.
fn beside_programs(with_self: bool) -> f64 {
    let below: f64 = descendants().iter().filter(|(_, it)| !it.is_program).map(|(&pid, _)| memory(pid)).sum();
    below + if with_self { memory(std::process::id()) } else { 0.0 }
}

fn memory(pid: u32) -> f64 {
    let field = |file: &str, field: &str| -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse().unwrap_or(0.0)
    };
    (field("smaps_rollup", "Pss:") + field("status", "VmPTE:")) * 1024.0
}

/// A process below this one.
struct Process {
    parent: u32,
    is_program: bool,
}

/// Every process below this one.
fn descendants() -> BTreeMap<u32, Process> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").expect("/proc is mounted").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        // "pid (name) state parent …": the name may hold anything, the rest nothing with a bracket.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        let is_program = std::fs::read_link(entry.path().join("exe")).is_ok_and(|exe| {
            ["sleep", "busybox"].contains(&exe.file_name().unwrap_or_default().to_string_lossy().as_ref())
        });
        all.insert(pid, Process { parent: parent.unwrap_or(0), is_program });
    }
    let this = std::process::id();
    let is_below = |mut pid: u32| loop {
        match all.get(&pid) {
            Some(process) if process.parent == this => break true,
            Some(process) if process.parent != 0 => pid = process.parent,
            _ => break false,
        }
    };
    let below: Vec<u32> = all.keys().copied().filter(|&pid| is_below(pid)).collect();
    all.retain(|pid, _| below.binary_search(pid).is_ok());
    all
}

/// An OCI bundle of a static busybox, for runc; or what is missing.
fn bundle() -> Result<tempfile::TempDir, String> {
    if Command::new("runc").arg("--version").output().is_err() {
        return Err("there is no runc (Debian's package runc)".into());
    }
    if !rustix::process::geteuid().is_root() {
        return Err("runc is compared as root".into());
    }
    let busybox = Path::new("/bin/busybox");
    if !busybox.exists() {
        return Err("there is no static busybox for runc (Debian's package busybox-static)".into());
    }
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let make = || -> std::io::Result<()> {
        let binaries = folder.path().join("rootfs/bin");
        std::fs::create_dir_all(&binaries)?;
        std::fs::copy(busybox, binaries.join("sleep"))?;
        Command::new("runc").arg("spec").current_dir(folder.path()).status()?;
        let path = folder.path().join("config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        config["process"]["args"] = serde_json::json!([PROGRAM, ARGUMENT]);
        config["process"]["terminal"] = false.into();
        std::fs::write(&path, config.to_string())
    };
    make().map_err(|error| format!("no bundle for runc: {error}"))?;
    Ok(folder)
}
