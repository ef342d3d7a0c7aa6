//! The suite: every case at every level there is a backend for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use ringfence::{Level, Runtime};
use ringfence_conformance::{Case, Passed, Probe, Setting, Skipped, cases, run};

/// What is to be said at the end.
#[derive(Default)]
struct Tally {
    /// What was not the same, or not looked at: where and why, and in which cases.
    notes: BTreeMap<(Setting, String), Vec<&'static str>>,
    ran: BTreeSet<Level>,
    skipped: BTreeSet<Level>,
}

fn main() -> ExitCode {
    // Above level wasm WebAssembly is carried by this program.
    if std::env::args_os().nth(1).is_some_and(|first| first == ringfence::runner::RUNNER) {
        ringfence::runner::run();
    }
    let mut arguments = Arguments::from_args();
    // A case counts the descriptors of this process, so there is one at a time.
    arguments.test_threads = Some(1);
    let home = std::env::temp_dir().join("ringfence-conformance-levels");
    let runtime = Runtime::builder().data_home(home).build().expect("a runtime is set up");
    let levels: Vec<Level> = runtime.levels().collect();
    for level in Level::ALL.iter().filter(|level| !levels.contains(level)) {
        println!("skipped level {level}: there is no backend for it in this version");
    }
    let probe = Arc::new(Probe::new(Path::new(env!("CARGO_TARGET_TMPDIR"))));
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut settings: Vec<Setting> = levels.iter().map(|&level| Setting { level, as_at: level }).collect();
    let around = [Level::Sandbox, Level::MicroVm].into_iter().filter(|level| levels.contains(level));
    settings.extend(around.map(|level| Setting { level, as_at: Level::Wasm }));
    let trials = settings
        .iter()
        .flat_map(|&setting| {
            let (probe, tally) = (&probe, &tally);
            cases::all().map(move |case| trial(case, setting, probe.clone(), tally.clone()))
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    for ((setting, why), cases) in &tally.notes {
        println!("level {setting}: {why}\n  in {}", cases.join(", "));
    }
    let mut passed = !conclusion.has_failed();
    for backend in runtime.backends().iter().filter(|backend| tally.skipped.contains(&backend.level())) {
        let level = backend.level();
        if !tally.ran.contains(&level) && backend.probe().iter().all(|fact| fact.usable) {
            println!("level {level} was skipped altogether, and this machine has all it needs");
            passed = false;
        }
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn trial(case: &'static Case, setting: Setting, probe: Arc<Probe>, tally: Arc<Mutex<Tally>>) -> Trial {
    Trial::ignorable_test(format!("{setting}/{}", case.name), move || {
        let level = setting.level;
        let outcome = run(case, setting, &probe).map_err(Failed::from);
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(Err(Skipped(why))) => {
                tally.skipped.insert(level);
                tally.notes.entry((setting, format!("skipped: {why}"))).or_default().push(case.name);
                Ok(Completion::ignored_with(format!("skipped: {why}")))
            }
            Ok(Ok(Passed { differs, unseen })) => {
                tally.ran.insert(level);
                let differs = differs.map(|why| format!("differs: {why}"));
                let unseen = unseen.map(|why| format!("denials not looked for: {why}"));
                for why in differs.into_iter().chain(unseen) {
                    tally.notes.entry((setting, why)).or_default().push(case.name);
                }
                Ok(Completion::Completed)
            }
            Err(failed) => {
                tally.ran.insert(level);
                Err(failed)
            }
        }
    })
}
