//! The lifecycle over a backend and a hal that do what the test tells them.

mod fake;

use std::sync::Arc;
use std::time::Duration;

use ringfence_isolation::{
    BuildError, Denial, Exit, Guarantee, Held, Limit, LimitKind, LostReason, Stop, Trap, Verdict,
};

use self::fake::{Deaf, FakeBackend, FakeHal, spec};
use super::{Plan, Started};

fn started(backend: &FakeBackend, hal: &Arc<FakeHal>, limits: ringfence_manifest::Limits) -> Started {
    let spec = Arc::new(spec(limits));
    let plan = Plan::new(backend, spec, Duration::ZERO).unwrap();
    plan.build(hal.clone()).unwrap().start().unwrap()
}

fn no_limits() -> ringfence_manifest::Limits {
    ringfence_manifest::Limits::default()
}

#[tokio::test]
async fn a_program_that_returns_is_reported_with_its_status_and_nothing_is_open() {
    let (backend, hal) = (FakeBackend::default(), Arc::new(FakeHal::default()));
    let started = started(&backend, &hal, no_limits());
    backend.end(Exit::Returned(7));
    let report = started.supervision.await;
    assert_eq!(report.exit, Exit::Returned(7));
    assert_eq!(report.tripped, None);
    assert!(hal.began() && hal.closed());
}

#[test]
fn a_spec_that_requires_what_is_not_promised_is_refused_before_anything_is_built() {
    let backend = FakeBackend::default();
    backend.promise(Guarantee::MemoryIsolated, Held::not("it is a fake"));
    let refused = Plan::new(&backend, Arc::new(spec(no_limits())), Duration::ZERO).err().unwrap();
    assert!(matches!(refused, BuildError::Refused(refusal) if refusal.guarantee == Guarantee::MemoryIsolated));
    assert_eq!(backend.built(), 0);
}

#[test]
fn a_guarantee_that_is_promised_and_held_by_less_is_refused_before_the_start() {
    let (backend, hal) = (FakeBackend::default(), Arc::new(FakeHal::default()));
    let plan = Plan::new(&backend, Arc::new(spec(no_limits())), Duration::ZERO).unwrap();
    backend.enforce(Guarantee::KillWorks, Held::Partly { by: "hope", missing: "certainty".into() });
    let refused = plan.build(hal.clone()).err().unwrap();
    assert!(matches!(refused, BuildError::Shortfall(shortfall) if shortfall.guarantee == Guarantee::KillWorks));
    assert_eq!((backend.started(), backend.killed()), (0, 1));
    assert!(hal.closed());
}

#[test]
fn a_place_that_cannot_be_built_leaves_no_hal_open() {
    let (backend, hal) = (FakeBackend::default(), Arc::new(FakeHal::default()));
    let plan = Plan::new(&backend, Arc::new(spec(no_limits())), Duration::ZERO).unwrap();
    backend.fail_to_build();
    assert!(plan.build(hal.clone()).is_err());
    assert!(hal.closed());
}

#[test]
fn a_built_instance_that_is_dropped_is_removed() {
    let (backend, hal) = (FakeBackend::default(), Arc::new(FakeHal::default()));
    let plan = Plan::new(&backend, Arc::new(spec(no_limits())), Duration::ZERO).unwrap();
    drop(plan.build(hal.clone()).unwrap());
    assert_eq!((backend.started(), backend.killed()), (0, 1));
    assert!(hal.closed());
}

#[tokio::test]
async fn dropping_the_task_kills_the_instance() {
    let (backend, hal) = (FakeBackend::default(), Arc::new(FakeHal::default()));
    let started = started(&backend, &hal, no_limits());
    drop(started.supervision);
    assert_eq!(backend.killed(), 1);
    assert!(hal.closed());
}

#[tokio::test]
async fn dropping_the_controls_kills_the_instance() {
    let (backend, hal) = (FakeBackend::default(), Arc::new(FakeHal::default()));
    let Started { controls, supervision, .. } = started(&backend, &hal, no_limits());
    drop(controls);
    assert_eq!(supervision.await.exit, Exit::Stopped);
}

#[tokio::test(start_paused = true)]
async fn wall_time_ends_the_instance_and_is_named_with_what_was_used() {
    let (backend, hal) = (FakeBackend::default(), Arc::new(FakeHal::default()));
    let limits = ringfence_manifest::Limits { wall_time: Some(Duration::from_millis(5)), ..no_limits() };
    let report = started(&backend, &hal, limits).supervision.await;
    let Exit::Exceeded(limit) = report.exit else { panic!("{:?}", report.exit) };
    assert_eq!((limit.limit, limit.allowed), (LimitKind::WallTime, 5_000_000));
    assert_eq!(report.tripped, Some(limit));
}

#[tokio::test]
async fn a_verdict_of_the_hal_kills_and_wins_over_what_the_backend_says() {
    let limit = Limit { limit: LimitKind::Output, allowed: 10, used: 11 };
    let denial = Denial {
        permission: None,
        resource: "/etc/passwd".into(),
        rule: "not in fs.read".into(),
        written: None,
        grant: None,
    };
    for (verdict, exit) in
        [(Verdict::Exceeded(limit), Exit::Exceeded(limit)), (Verdict::Denied(denial.clone()), Exit::Denied(denial))]
    {
        let (backend, hal) = (FakeBackend::default(), Arc::new(FakeHal::default()));
        backend.say_when_killed(Exit::Trapped(Trap::Unreachable));
        let started = started(&backend, &hal, no_limits());
        hal.trip(verdict);
        assert_eq!(started.supervision.await.exit, exit);
        assert!(backend.killed() >= 1);
    }
}

#[tokio::test]
async fn a_verdict_that_fell_as_the_program_returned_still_wins() {
    let limit = Limit { limit: LimitKind::Disk, allowed: 10, used: 11 };
    let (backend, hal) = (FakeBackend::default(), Arc::new(FakeHal::default()));
    let started = started(&backend, &hal, no_limits());
    hal.trip(Verdict::Exceeded(limit));
    backend.end(Exit::Returned(0));
    assert_eq!(started.supervision.await.exit, Exit::Exceeded(limit));
}

#[tokio::test]
async fn a_kill_stops_it_and_a_signal_is_passed_on() {
    let (backend, hal) = (FakeBackend::default(), Arc::new(FakeHal::default()));
    let Started { controls, supervision, .. } = started(&backend, &hal, no_limits());
    controls.stop(Stop::Signal(15));
    controls.stop(Stop::Kill);
    let report = supervision.await;
    assert_eq!(report.exit, Exit::Stopped);
    assert_eq!(backend.signals(), [15]);
}

#[tokio::test]
async fn a_program_that_returns_after_a_signal_keeps_its_status() {
    let (backend, hal) = (FakeBackend::default(), Arc::new(FakeHal::default()));
    let Started { controls, supervision, .. } = started(&backend, &hal, no_limits());
    backend.return_on_signal(3);
    controls.stop(Stop::Signal(15));
    assert_eq!(supervision.await.exit, Exit::Returned(3));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_survives_its_kill_is_reported_as_lost_with_what_does_not_hold() {
    let (backend, hal) = (FakeBackend::default(), Arc::new(FakeHal::default()));
    backend.make(Deaf);
    let Started { controls, supervision, .. } = started(&backend, &hal, no_limits());
    controls.stop(Stop::Kill);
    let report = supervision.await;
    assert!(matches!(report.exit, Exit::Lost(LostReason::Backend(_))));
    let not_held: Vec<_> = report.not_held.iter().map(|missing| missing.guarantee).collect();
    assert_eq!(not_held, [Guarantee::KillWorks, Guarantee::NothingLeft]);
    assert!(hal.closed());
}

#[tokio::test]
async fn a_report_has_stable_keys() {
    let (backend, hal) = (FakeBackend::default(), Arc::new(FakeHal::default()));
    let started = started(&backend, &hal, no_limits());
    backend.end(Exit::Returned(0));
    let report = serde_json::to_value(started.supervision.await).unwrap();
    let mut keys: Vec<_> = report.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let expected = [
        "capsule",
        "denials",
        "denials_dropped",
        "enforced",
        "exit",
        "level",
        "not_held",
        "timings",
        "tripped",
        "usage",
    ];
    assert_eq!(keys, expected);
    assert_eq!(report["exit"], serde_json::json!({ "exit": "returned", "detail": 0 }));
}

#[tokio::test]
async fn a_learning_run_says_what_it_gave_up() {
    let (backend, hal) = (FakeBackend::default(), Arc::new(FakeHal::default()));
    let mut spec = spec(no_limits());
    spec.permissions.learn = true;
    let plan = Plan::new(&backend, Arc::new(spec), Duration::ZERO).unwrap();
    let started = plan.build(hal).unwrap().start().unwrap();
    backend.end(Exit::Returned(0));
    let not_held = started.supervision.await.not_held;
    let names: Vec<_> = not_held.iter().map(|missing| missing.guarantee).collect();
    assert_eq!(names, [Guarantee::FilesystemConfined, Guarantee::NetworkConfined]);
}
