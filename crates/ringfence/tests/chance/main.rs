//! Programs that nobody would write on purpose: made of chance, and damaged. Whatever they are, they
//! end as a program may, the host lives on, and nothing of them is left.
#![cfg(feature = "wasm")]

mod damage;
mod host;
mod smith;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use arbitrary::Unstructured;

use host::{End, Host};

const MODULES: u32 = 30;
const COMPONENTS: u32 = 100;
const DAMAGED: u32 = 100;

/// One test at a time: what is left over is counted for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// Bytes of chance, the same in every run.
fn chance(what: &str, number: u32) -> Vec<u8> {
    let mut bytes = vec![0; 8 << 10];
    blake3::Hasher::new().update(what.as_bytes()).update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Gives `work` a host, and looks at what is left when it is done.
fn leaves_nothing(work: impl FnOnce(&Host)) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // With the first runtime of a process come descriptors that stay.
    drop(Host::new());
    let before = descriptors_at_rest();
    let host = Host::new();
    // With the first program the engine is set up.
    assert_eq!(host.run(&shared("hello.wat")).kind(), "returned");
    let warm = descriptors();
    work(&host);
    assert_eq!(descriptors(), warm, "descriptors are left");
    assert_eq!(threads("ringfence-epoch"), 1, "threads are left");
    let [data, cache] = host.folders();
    let files = files_in(&data);
    assert!(files.is_empty(), "files are left: {files:?}");
    let strange: Vec<String> = files_in(&cache).into_iter().filter(|name| name != "key" && name.len() != 64).collect();
    assert!(strange.is_empty(), "files are left: {strange:?}");
    drop(host);
    assert_eq!(descriptors_at_rest(), before, "descriptors of the runtime are left");
}

/// The descriptors when no runtime is left: its threads end after it does, and its descriptors with them.
fn descriptors_at_rest() -> Vec<String> {
    let patience = Instant::now() + Duration::from_secs(20);
    while threads("ringfence") > 0 && Instant::now() < patience {
        std::thread::yield_now();
    }
    assert_eq!(threads("ringfence"), 0, "threads of the runtime are left");
    descriptors()
}

/// What every open descriptor leads to.
fn descriptors() -> Vec<String> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    // The one that lists them is gone by now.
    let mut open: Vec<String> =
        open.filter_map(|descriptor| Some(descriptor.read_link().ok()?.display().to_string())).collect();
    open.sort();
    open
}

fn threads(name: &str) -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")).ok());
    names.filter(|found| found.trim() == name).count()
}

/// The names of everything below that is not a folder. A folder that was never needed is not there.
fn files_in(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    if !folder.exists() {
        return files;
    }
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => files.extend(files_in(&entry.path())),
            false => files.push(entry.file_name().into_string().unwrap()),
        }
    }
    files
}

/// A program the tests of this repository share, in its binary form.
fn shared(name: &str) -> Vec<u8> {
    wat::parse_file(format!("{}/../../tests/programs/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// How often each kind of end was met.
type Ends = BTreeMap<&'static str, usize>;

/// All of these ends were met: what came of the programs says something.
#[track_caller]
fn met(ends: &Ends, kinds: &[&str]) {
    assert!(kinds.iter().all(|kind| ends.contains_key(kind)), "{ends:?}");
}

#[test]
fn modules_of_chance_end_as_programs_may_and_twice_the_same() {
    leaves_nothing(|host| {
        let mut ends = Ends::new();
        for number in 0..MODULES {
            let chance = chance("module", number);
            let make = || smith::module(&mut Unstructured::new(&chance)).unwrap();
            let program = make();
            assert_eq!(program, make());
            let end = host.run(&program);
            // The first time it is compiled, the second time it comes from the cache.
            let again = host.run(&program);
            assert!(end == again || end.by_the_clock() || again.by_the_clock(), "{number}: {end:?}, {again:?}");
            *ends.entry(end.kind()).or_default() += 1;
        }
        met(&ends, &["returned", "trapped", "fuel", "memory", "refused"]);
    });
}

#[test]
fn components_of_chance_are_refused_or_run() {
    leaves_nothing(|host| {
        let mut ends = Ends::new();
        for number in 0..COMPONENTS {
            let program = smith::component(&mut Unstructured::new(&chance("component", number))).unwrap();
            *ends.entry(host.run(&program).kind()).or_default() += 1;
        }
        met(&ends, &["stopped", "refused"]);
    });
}

#[test]
fn damaged_programs_are_refused_or_run() {
    leaves_nothing(|host| {
        let whole = ["hello.wat", "paths.wat", "greeter.wasm", "probe.wasm"].map(shared);
        let mut ends = Ends::new();
        for number in 0..DAMAGED {
            let chance = chance("damage", number);
            let program = damage::done(&whole, &mut Unstructured::new(&chance)).unwrap();
            let end = host.run(&program);
            if let End::Refused(why) = &end {
                assert!(!why.is_empty());
            }
            *ends.entry(end.kind()).or_default() += 1;
        }
        met(&ends, &["returned", "refused"]);
    });
}
