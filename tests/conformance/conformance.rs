//! The suite: every case at every level there is a backend for.

use libtest_mimic::{Arguments, Trial};
use ringfence::{Level, Runtime};
use ringfence_conformance::{cases, run};

fn main() {
    let mut arguments = Arguments::from_args();
    // A case counts the descriptors of this process, so there is one at a time.
    arguments.test_threads = Some(1);
    let home = std::env::temp_dir().join("ringfence-conformance-levels");
    let runtime = Runtime::builder().data_home(home).build().expect("a runtime is set up");
    let levels: Vec<Level> = runtime.levels().collect();
    for level in Level::ALL.iter().filter(|level| !levels.contains(level)) {
        println!("skipped level {level}: there is no backend for it in this version");
    }
    let trials = levels
        .iter()
        .flat_map(|&level| {
            cases::all().map(move |case| Trial::test(format!("{level}/{}", case.name), move || Ok(run(case, level)?)))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}
