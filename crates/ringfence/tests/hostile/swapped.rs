//! A folder that is swapped for a link to a place outside, from outside, while a program works in it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use ringfence::{Load, Runtime, StreamOut};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::outside::{NAME, SECRET, make, snapshot};

/// How often the program is run, and how often it does everything in a run.
const RUNS: usize = 30;
const ROUNDS: usize = 40;

/// What is done in the folder. `file` is there, inside as well as outside.
const COMMANDS: &str = "\
    read /data/point/file + list /data/point + stat /data/point/file + readlink /data/point/link + \
    overwrite /data/point/file mine + append /data/point/log mine + write /data/point/new mine + \
    exclusive /data/point/newer + mkdir /data/point/folder + times /data/point/file 1 + \
    link /data/point/file /data/second + truncate /data/point/file 4 + symlink file /data/point/made + \
    rename /data/point/new /data/point/renamed + rename /data/point/renamed /data/taken + \
    unlink /data/point/newer + unlink /data/point/made + rmdir /data/point/folder + unlink /data/second + \
    copy /data/point/file /data/copied + unlink /data/point/only-outside";

fn swap(inside: &Path, work: impl FnOnce()) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let (one, other) = (inside.join("point"), inside.join("way-out"));
                renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
            }
        });
        // The swapping ends when the work panics, too.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Nothing gets out through a link that says `target` of the folder outside.
fn nothing_gets_out(target: impl FnOnce(&Path) -> std::path::PathBuf) {
    let lab = tempfile::tempdir().unwrap();
    let (inside, outside) = (lab.path().join("inside"), lab.path().join("outside"));
    std::fs::create_dir_all(inside.join("point")).unwrap();
    std::fs::write(inside.join("point/file"), "mine").unwrap();
    make(&outside);
    std::os::unix::fs::symlink(target(&outside), inside.join("way-out")).unwrap();
    let before = snapshot(&outside);

    let runtime = Runtime::builder()
        .current_thread()
        .data_home(lab.path().join("data"))
        .cache(concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"))
        .build()
        .unwrap();
    let words = vec![COMMANDS; ROUNDS].join(" + ");
    let load = Load::path(crate::program("probe.wasm"))
        .unwrap()
        .mount(format!("{}:/data:rw", inside.display()))
        .allow("fs.read,fs.write,fs.create,fs.delete,fs.list=/data")
        .args(words.split_whitespace())
        .stdout(StreamOut::Capture);
    let capsule = runtime.load_with(load).unwrap();
    let mut printed = String::new();
    swap(&inside, || {
        for _ in 0..RUNS {
            let report = capsule.run_blocking().unwrap();
            assert_eq!(report.exit, ringfence::Exit::Returned(1), "some commands fail in every run");
            printed += &String::from_utf8(report.stdout.unwrap()).unwrap();
        }
    });

    assert!(!printed.contains(SECRET), "the secret came out");
    assert!(!printed.contains(NAME), "a name came out");
    assert!(!printed.contains(&format!("size={}", SECRET.len())), "a size came out");
    assert_eq!(before, snapshot(&outside), "something outside was changed");
    // Both sides of the swap were met.
    let reads: Vec<&str> = printed.lines().step_by(COMMANDS.split(" + ").count()).collect();
    assert_eq!(reads.len(), RUNS * ROUNDS);
    assert!(reads.iter().any(|line| line.contains("mine")), "the folder was never there");
    assert!(reads.iter().any(|line| line.starts_with("err")), "the link was never there");
}

#[test]
fn nothing_gets_out_through_an_absolute_link() {
    nothing_gets_out(Path::to_owned);
}

#[test]
fn nothing_gets_out_through_a_relative_link() {
    nothing_gets_out(|_| "../outside".into());
}
