//! Ten thousand live instances in one process: what each of them takes.

use std::process::Command;

use ringfence::{Load, Runtime};

use crate::peer::{self, Live};
use crate::ratio::report;

/// The first argument of a process that measures one side.
pub(crate) const CHILD: &str = "--density-child";

const INSTANCES: usize = 10_000;

pub(crate) fn run() {
    let measure = |side: &str| -> Option<f64> {
        let this = std::env::current_exe().expect("its own path");
        let output = Command::new(this).args([CHILD, side]).output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout).trim().parse().ok();
        if text.is_none() {
            println!("{side} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        text
    };
    if let (Some(mine), Some(theirs)) = (measure("ringfence"), measure("wasmtime")) {
        let show = |bytes: f64| format!("{:.1} KiB each", bytes / 1024.0);
        report("10,000 live instances", &show(mine), "wasmtime-wasi", &show(theirs), mine / theirs);
    }
}

/// One side: makes the instances, calls each of them, prints the bytes each of them takes.
pub(crate) fn child(arguments: &[String]) {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a Tokio runtime");
    let each = match arguments.first().map(String::as_str) {
        Some("ringfence") => tokio.block_on(ringfence(tokio.handle().clone())),
        _ => tokio.block_on(wasmtime()),
    };
    println!("{each}");
}

async fn ringfence(executor: tokio::runtime::Handle) -> f64 {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let program = folder.path().join("small.wat");
    std::fs::write(&program, peer::SMALL).expect("it can be written");
    let runtime = Runtime::builder()
        .executor(executor)
        .data_home(folder.path())
        .without_cache()
        .instances(INSTANCES as u32 + 1)
        .build()
        .expect("a runtime");
    let load = Load::path(&program).expect("it is there").limit("memory=1MiB");
    let capsule = runtime.load_with(load).expect("it loads");
    let first = capsule.start().expect("it starts");
    assert_eq!(first.call::<_, i32>("add", (1,)).await.expect("it adds"), 1);
    let before = resident();
    let mut live = Vec::with_capacity(INSTANCES);
    for _ in 0..INSTANCES {
        let instance = capsule.start().expect("it starts");
        assert_eq!(instance.call::<_, i32>("add", (1,)).await.expect("it adds"), 1);
        live.push(instance);
    }
    let after = resident();
    for instance in &live {
        assert_eq!(instance.call::<_, i32>("add", (2,)).await.expect("it adds"), 3);
    }
    (after - before) / INSTANCES as f64
}

async fn wasmtime() -> f64 {
    let engine = peer::engine(Some(INSTANCES as u32 + 1));
    let small = peer::small(&engine);
    let mut first = Live::new(&engine, &small).await;
    assert_eq!(first.add(1).await, 1);
    let before = resident();
    let mut live = Vec::with_capacity(INSTANCES);
    for _ in 0..INSTANCES {
        let mut instance = Live::new(&engine, &small).await;
        assert_eq!(instance.add(1).await, 1);
        live.push(instance);
    }
    let after = resident();
    for instance in &mut live {
        assert_eq!(instance.add(2).await, 3);
    }
    (after - before) / INSTANCES as f64
}

/// Bytes of memory this process has in use (`VmRSS` and `VmPTE`, proc_pid_status(5)).
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let kib = |field: &str| -> f64 {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse().unwrap_or(0.0)
    };
    (kib("VmRSS:") + kib("VmPTE:")) * 1024.0
}
