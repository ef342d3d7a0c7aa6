//! The host of a bad runner or monitor: what bounds one there, and what one can reach of it that none should.

use std::fs;
use std::path::Path;

use ringfence::{Fact, Level, Runtime};

/// What is missing here of what bounds a process by these limits, each written as its name and anything behind it;
/// everything that was looked at after it.
pub(crate) fn lacks(runtime: &Runtime, limits: &[&str]) -> Option<(Fact, Vec<Fact>)> {
    let bounds = [("memory", "cgroup memory"), ("cpu_time", "cgroup cpuacct"), ("processes", "cgroup pids")];
    let needs = |limit: &str| limits.iter().any(|given| given.starts_with(limit));
    let sandbox = runtime.backends().iter().find(|backend| backend.level() == Level::Sandbox)?;
    let facts = sandbox.probe();
    let is_missing =
        |fact: &&Fact| !fact.usable && bounds.iter().any(|(limit, name)| fact.name == *name && needs(limit));
    Some((facts.iter().find(is_missing)?.clone(), facts))
}

/// Files, processes and variables of the host that can be seen from here.
pub(crate) fn seen() -> Vec<String> {
    let mut found = Vec::new();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in [here.join("Cargo.toml"), here.to_owned(), "/root".into(), "/home".into(), "/etc/shadow".into()] {
        if fs::metadata(&path).is_ok_and(|found| found.is_file()) || fs::read_dir(&path).is_ok() {
            found.push(format!("reads {}", path.display()));
        }
    }
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok()).count();
    // Itself; pid 1 of the place, which is ours, is not shown.
    if processes > 2 {
        found.push(format!("sees {processes} processes"));
    }
    if std::env::vars_os().next().is_some() {
        found.push("knows variables".into());
    }
    found
}
