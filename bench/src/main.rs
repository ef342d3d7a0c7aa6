//! Benchmarks of ringfence side by side with its peers. Each line is one comparison and ends with a
//! ratio: below 1, ringfence is faster or smaller. `bench/run` builds what is needed and starts this.
//!
//! Arguments choose benchmarks by a part of their name; without one, all of them run.

#[path = "../../crates/vm/tests/machine/archive.rs"]
mod archive;
mod calls;
mod command;
mod density;
mod microvm;
mod peer;
mod ratio;
mod sandbox;
mod start;

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    // The benchmarks of many instances start this program again, so that each side has a process of its own.
    if arguments.first().is_some_and(|first| first == density::CHILD) {
        density::child(&arguments.split_off(1));
        return;
    }
    if arguments.first().is_some_and(|first| first == microvm::CHILD) {
        microvm::child(&arguments.split_off(1));
        return;
    }
    let benchmarks: [(&str, fn()); 6] = [
        ("command", command::run),
        ("start", start::run),
        ("density", density::run),
        ("calls", calls::run),
        ("sandbox", sandbox::run),
        ("microvm", microvm::run),
    ];
    for (name, run) in benchmarks {
        if arguments.is_empty() || arguments.iter().any(|wanted| name.contains(wanted.as_str())) {
            println!("# {name}");
            run();
        }
    }
}
