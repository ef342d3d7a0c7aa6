//! How long a static hello takes, from the spec to the report; printed, and bounded generously.

mod support;

use std::time::{Duration, Instant};

use support::{Lab, here};

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
