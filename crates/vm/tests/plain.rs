//! Everything is the same without the ways to be faster that nothing depends on.

mod support;

use std::sync::Arc;
use std::time::Duration;

use ringfence_isolation::Exit;
use ringfence_manifest::{Bytes, MountMode};
use ringfence_runtime::{Plan, Report, ScopedHal, Surroundings};
use ringfence_vm::Vm;
use support::{Lab, executor, here};

/// What a capsule prints on a backend without them, and how it ends.
fn plainly(lab: &Lab) -> (String, Exit) {
    let report = reported(lab);
    (String::from_utf8_lossy(report.stdout.as_deref().unwrap_or_default()).trim_end().to_owned(), report.exit)
}

/// What is reported of it.
fn reported(lab: &Lab) -> Report {
    let _guard = executor().enter();
    let plain = Vm::plain(executor().handle().clone());
    let plan = Plan::new(&plain, Arc::new(lab.spec.clone()), Duration::ZERO).unwrap();
    let hal = ScopedHal::new(plan.spec().clone(), Surroundings::default()).unwrap();
    let started = plan.build(Arc::new(hal)).unwrap().start().unwrap();
    executor().block_on(started.supervision)
}

#[test]
fn without_them_each_call_is_an_exit() {
    let Some(lab) = Lab::shell("for i in 1 2 3; do /bin/busybox true; done") else { return };
    let activity = reported(&lab).activity.unwrap();
    let calls: u64 = activity.calls.iter().map(|call| call.count).sum();
    let exits = activity.exits.iter().find(|exit| exit.name == "system call").map_or(0, |exit| exit.count);
    assert_eq!(exits, calls);
}

#[test]
fn programs_say_the_same_without_shortcuts() {
    let cases: [(&str, &[&str], &str); 8] = [
        ("ordinary.c", &["hello"], "hello"),
        ("ordinary.c", &["protect"], "b 1"),
        ("ordinary.c", &["reuse"], "empty"),
        ("ordinary.c", &["signal"], "1"),
        ("ordinary.c", &["fork"], "8 from a child, 7 here, status 3"),
        ("ordinary.c", &["threads"], "400"),
        ("files.c", &["maps", "names"], "ok maps\nok names"),
        ("time.c", &["clocks", "robust"], "ok clocks without a page of time\nok robust"),
    ];
    for (source, arguments, expected) in cases {
        let Some(lab) = Lab::compiled(source, arguments) else { return };
        let lab = lab.grant_all("/tmp").grant_all("/dev/shm");
        assert_eq!(plainly(&lab), (expected.into(), Exit::Returned(0)), "{source} {arguments:?}");
    }
}

#[test]
fn a_program_with_libraries_and_files_runs_without_shortcuts() {
    let Some(lab) = Lab::shell("echo $((6 * 7)) > /data/a; cat /data/a; sh -c 'exit 3'; echo $?") else { return };
    let lab = lab.mount("/data", MountMode::ReadWrite).grant_all("/data");
    assert_eq!(plainly(&lab), ("42\n3".into(), Exit::Returned(0)));
}

#[test]
fn a_limit_on_memory_holds_without_shortcuts() {
    if !here() {
        return;
    }
    let Some(lab) = Lab::shell("x=0123456789abcdef; while :; do x=$x$x; done") else { return };
    let (_, exit) = plainly(&lab.limit(|limits| limits.memory = Some(Bytes(16 << 20))));
    assert!(matches!(exit, Exit::Exceeded(_)), "{exit}");
}
