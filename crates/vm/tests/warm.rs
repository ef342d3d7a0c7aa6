//! Machines that were made ahead.

mod support;

use std::sync::Arc;

use ringfence_isolation::Exit;
use ringfence_manifest::Bytes;
use ringfence_runtime::{Plan, ScopedHal, Surroundings};
use support::{Lab, executor};

fn run(plan: &Plan) -> (Exit, String) {
    let _guard = executor().enter();
    let hal = ScopedHal::new(plan.spec().clone(), Surroundings::default()).unwrap();
    let started = plan.build(Arc::new(hal)).unwrap().start().unwrap();
    let report = executor().block_on(started.supervision);
    (report.exit, String::from_utf8_lossy(report.stdout.as_deref().unwrap_or_default()).into_owned())
}

#[test]
fn many_instances_of_warm_machines_run_as_ever() {
    let Some(lab) = Lab::compiled("ordinary.c", &["hello"]) else { return };
    let lab = lab.limit(|limits| limits.memory = Some(Bytes(64 << 20)));
    let plan = lab.plan().unwrap();
    plan.keep_warm(2).unwrap();
    // More, and faster, than are made in the meantime.
    for _ in 0..8 {
        assert_eq!(run(&plan), (Exit::Returned(0), "hello\n".into()));
    }
    plan.keep_warm(0).unwrap();
    assert_eq!(run(&plan), (Exit::Returned(0), "hello\n".into()));
}

#[test]
fn a_warm_machine_has_the_memory_limit_of_its_spec() {
    let Some(lab) = Lab::shell("x=0123456789abcdef; while :; do x=$x$x; done") else { return };
    let lab = lab.limit(|limits| limits.memory = Some(Bytes(16 << 20)));
    let plan = lab.plan().unwrap();
    plan.keep_warm(1).unwrap();
    for _ in 0..2 {
        let (exit, _) = run(&plan);
        assert!(
            matches!(&exit, Exit::Exceeded(limit) if limit.limit == ringfence_isolation::LimitKind::Memory),
            "{exit}"
        );
    }
}
