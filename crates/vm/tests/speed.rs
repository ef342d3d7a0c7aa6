//! How long a static hello takes, from the spec to the report; printed, and bounded generously.

mod support;

use std::time::{Duration, Instant};

use ringfence_isolation::Point;
use support::{Lab, explain, here};

#[test]
fn a_hello_takes_milliseconds() {
    let began = Instant::now();
    let found = here();
    eprintln!("looking at the machine, once a process: {:?}", began.elapsed());
    if !found {
        return;
    }
    let Some(lab) = Lab::compiled("ordinary.c", &["hello"]) else { return };
    let mut times: Vec<Duration> = (0..31)
        .map(|_| {
            let began = Instant::now();
            lab.prints("hello");
            began.elapsed()
        })
        .collect();
    let first = times[0];
    times.sort_unstable();
    eprintln!("first {first:?}, median of 31 {:?}, fastest {:?}", times[15], times[0]);
    assert!(times[15] < Duration::from_secs(1), "{times:?}");
}

#[test]
fn what_going_on_from_a_snapshot_takes_is_printed() {
    for (what, lab) in [("static", Lab::compiled("ordinary.c", &["hello"])), ("python3", python())] {
        let Some(lab) = lab else { continue };
        let file = lab.saved(Point::Start);
        let plan = lab.restored(&file).unwrap_or_else(|error| panic!("{}", explain(&error)));
        let times = |run: &dyn Fn()| {
            let mut times: Vec<Duration> = (0..41)
                .map(|_| {
                    let began = Instant::now();
                    run();
                    began.elapsed()
                })
                .collect();
            times.sort_unstable();
            (times[20], times[0])
        };
        let cold = times(&|| lab.prints("hello"));
        let warm = times(&|| assert_eq!(Lab::run_of(&plan).unwrap().stdout, "hello\n"));
        let build = times(&|| drop(Lab::build_of(&plan).unwrap()));
        let load = times(&|| drop(lab.restored(&file).unwrap()));
        let bytes = std::fs::metadata(&file).unwrap().len();
        eprintln!(
            "{what}, {bytes} bytes: median and fastest of 41: from its beginning {cold:?}, from memory {warm:?},"
        );
        eprintln!("    of which building and dropping {build:?}; reading the file {load:?}");
    }
}

fn python() -> Option<Lab> {
    let python = std::path::Path::new("/usr/bin/python3").canonicalize().ok()?;
    here().then(|| Lab::new(python).args(&["-c", "import json, re; print('hello')"]))
}
