//! Timing two things in turns.

use std::time::{Duration, Instant};

/// How often to measure: so many rounds, each of so many calls of either side.
#[derive(Clone, Copy)]
pub(crate) struct Often {
    pub(crate) rounds: usize,
    pub(crate) calls: u32,
}

/// Runs both in turns and prints the median time of a call of each, and their ratio.
pub(crate) fn compare(what: &str, often: Often, peer: &str, mut mine: impl FnMut(), mut theirs: impl FnMut()) {
    let Often { rounds, calls } = often;
    for _ in 0..rounds / 10 + 1 {
        mine();
        theirs();
    }
    let mut times = [Vec::with_capacity(rounds), Vec::with_capacity(rounds)];
    for _ in 0..rounds {
        times[0].push(time(calls, &mut mine));
        times[1].push(time(calls, &mut theirs));
    }
    let [mine, theirs] = times.map(median);
    report(what, &show(mine), peer, &show(theirs), mine.as_secs_f64() / theirs.as_secs_f64());
}

/// Runs three things in turns and prints what the median times of the first two are above that of the
/// third, and the ratio of these.
pub(crate) fn overhead(what: &str, often: Often, peer: &str, mut works: [&mut dyn FnMut(); 3]) {
    let mut times = [const { Vec::new() }; 3];
    for round in 0..often.rounds + often.rounds / 10 + 1 {
        for (work, times) in works.iter_mut().zip(&mut times) {
            let took = time(often.calls, work);
            // The first tenth warms up.
            if round > often.rounds / 10 {
                times.push(took);
            }
        }
    }
    let [mine, theirs, floor] = times.map(median);
    let [mine, theirs] = [mine, theirs].map(|time| time.saturating_sub(floor));
    report(what, &show(mine), peer, &show(theirs), mine.as_secs_f64() / theirs.as_secs_f64());
}

/// One line of the result.
pub(crate) fn report(what: &str, mine: &str, peer: &str, theirs: &str, ratio: f64) {
    println!("{what}: ringfence {mine}, {peer} {theirs}, ratio {ratio:.2}");
}

fn time(calls: u32, work: &mut (impl FnMut() + ?Sized)) -> Duration {
    let began = Instant::now();
    (0..calls).for_each(|_| work());
    began.elapsed() / calls
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn show(time: Duration) -> String {
    let nanoseconds = time.as_nanos() as f64;
    match nanoseconds {
        ..1e4 => format!("{nanoseconds:.0} ns"),
        ..1e6 => format!("{:.1} µs", nanoseconds / 1e3),
        _ => format!("{:.2} ms", nanoseconds / 1e6),
    }
}
