//! A monitor that is not itself any more, and snapshots: what it says its guest's state is, and the state that it is
//! given.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

use libtest_mimic::{Completion, Failed, Trial};
use ringfence::manifest::Point;
use ringfence::{InstanceError, SnapshotError, Stop};

use super::lab::{Lab, Tried};
use super::parcel::{line_of, receive_parcel};
use super::{started, unconfined};
use crate::frames::{ended, receive, send, text};

/// Name, and what the reason for not having captured anything begins with.
const TRIALS: &[(&str, &str)] = &[
    ("capture-what-is-no-snapshot-is-none", "the snapshot cannot be used: the file is not a snapshot"),
    ("capture-what-is-damaged-is-none", "the snapshot cannot be used: the file is damaged: its content is not what"),
    ("capture-what-does-not-end-is-not-kept", "the snapshot cannot be used: it holds more memory than the limit"),
    ("capture-its-length-is-bounded", "the snapshot cannot be used: the file is damaged: its length"),
    ("capture-its-reasons-are-plain-text", "\u{fffd}[2Jwhy"),
    ("capture-without-a-state-is-none", "the snapshot cannot be used: the file is not a snapshot"),
];

pub(crate) fn trials() -> impl Iterator<Item = Trial> {
    let captures = TRIALS.iter().map(|&(name, why)| Trial::ignorable_test(name, move || capture(name, why)));
    captures.chain([Trial::ignorable_test("snapshot-what-others-go-on-from-is-not-its-own", go_on)])
}

fn capture(name: &str, why: &str) -> Result<Completion, Failed> {
    let lab = Lab::new();
    let tried = Tried { name: &format!("{name}.0"), limits: "memory = \"16 MiB\"", ..Tried::default() };
    let capsule =
        lab.describe(&tried).and_then(|(runtime, load)| runtime.load_with(load.capture_at(Some(Point::Anywhere))));
    let instance = match started(capsule) {
        Ok(instance) => instance,
        Err(without) => return without,
    };
    let captured = lab.runtime.get().expect("a runtime").block_on(instance.snapshot());
    instance.stop(Stop::Kill);
    let report = instance.exited_blocking();
    match (unconfined(&report), captured) {
        (Some(missing), _) => Ok(Completion::ignored_with(missing)),
        (None, Err(SnapshotError::Call(InstanceError::NotCaptured(said)))) if said.starts_with(why) => {
            Ok(Completion::Completed)
        }
        (None, Err(error)) => Err(format!("{error} ({})", report.exit).into()),
        (None, Ok(_)) => Err("it was captured".into()),
    }
}

/// Another instance may go on from the same state.
fn go_on() -> Result<Completion, Failed> {
    let lab = Lab::new();
    let file = lab.home.path().join("snapshot");
    let tried = Tried { limits: "memory = \"64 MiB\"", words: &["/bin/echo", "here"], ..Tried::default() };
    let capsule =
        lab.describe(&tried).and_then(|(runtime, load)| runtime.load_with(load.capture_at(Some(Point::Start))));
    let instance = match started(capsule) {
        Ok(instance) => instance,
        Err(without) => return without,
    };
    let runtime = lab.runtime.get().expect("a runtime");
    let captured = runtime.block_on(instance.snapshot_and_stop()).map_err(|error| error.to_string())?;
    captured.save(&file).map_err(|error| error.to_string())?;
    let restored = |name: &str| {
        let (runtime, load) = lab.describe(&Tried { name, ..tried }).map_err(|error| error.to_string())?;
        let resolved = runtime.resolve(&load).map_err(|error| error.to_string())?;
        runtime.restore(resolved, &file).map_err(|error| error.to_string())
    };
    let report = restored("snapshot-it-is-sealed.0")?.run_blocking().map_err(|error| error.to_string())?;
    if let Some(missing) = unconfined(&report) {
        return Ok(Completion::ignored_with(missing));
    }
    if report.exit.to_string() != "trapped: nothing" {
        return Err(report.exit.to_string().into());
    }
    for good in [captured, restored(tried.name)?] {
        let report = good.run_blocking().map_err(|error| error.to_string())?;
        if report.stdout.as_deref() != Some(b"here\n") {
            return Err(format!("{} {:?}", report.exit, report.stdout).into());
        }
    }
    Ok(Completion::Completed)
}

// --- the other side ---

/// Plays a monitor that was taken over, as the name says; returns for names of other trials.
pub(crate) fn attack(name: &str, line: &mut UnixStream, held: &[OwnedFd]) {
    match name {
        "snapshot-it-is-sealed" => ended(line, &what_can_be_changed(&held[4])),
        name if name.starts_with("capture-") => {}
        _ => return,
    }
    wanted();
    if name == "capture-its-reasons-are-plain-text" {
        captured(line, Some("\x1b[2Jwhy"));
    }
    let mut pipe = claim(line);
    // Magic, version, hash, length of the state.
    let version = ringfence::runner::SNAPSHOT_VERSION.to_le_bytes();
    let head = |state: u64| [&b"ringfence snap\r\n"[..], &version, &[0; 32], &state.to_le_bytes()].concat();
    let mut write = |bytes: &[u8]| pipe.write_all(bytes);
    // Nobody reads any more than there may be.
    let _ = match name {
        "capture-what-is-no-snapshot-is-none" => write(&[b'x'; 100_000]),
        "capture-what-is-damaged-is-none" => write(&[head(10), vec![0; 10 + 4096]].concat()),
        "capture-what-does-not-end-is-not-kept" => write(&head(0)).and_then(|()| {
            loop {
                write(&[0; 4096])?;
            }
        }),
        "capture-its-length-is-bounded" => write(&head(1 << 40)),
        _ => Ok(()),
    };
    drop(pipe);
    captured(line, None)
}

/// News::Steer(Steer::Capture { ends: false })
fn wanted() {
    let mut answers = line_of(io::stdout());
    while receive(&mut answers) != [1, 3, 0] {}
}

fn claim(line: &mut UnixStream) -> File {
    let parcels = line_of(io::stderr());
    send(line, &[12]);
    assert_eq!(receive(line), [5, 1], "it is wanted");
    receive_parcel(&parcels, rustix::net::RecvFlags::empty()).pop().expect("a pipe").into()
}

/// Captured(Ok(())), or Captured(Err(why)), and waits for its end.
fn captured(line: &mut UnixStream, why: Option<&str>) -> ! {
    match why {
        None => send(line, &[13, 0]),
        Some(why) => send(line, &[&[13_u8, 1][..], &text(why)].concat()),
    }
    loop {
        std::thread::park();
    }
}

fn what_can_be_changed(state: &OwnedFd) -> String {
    let mut found = Vec::new();
    let file = File::from(state.try_clone().expect("a descriptor"));
    if file.read_at(&mut [0; 16], 0).ok() != Some(16) {
        found.push("it is not there");
    }
    if file.write_at(b"x", 100).is_ok() || (&file).write(b"x").is_ok() {
        found.push("writes");
    }
    if file.set_len(0).is_ok() || file.set_len(1 << 30).is_ok() {
        found.push("changes its length");
    }
    if fs::OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", state.as_raw_fd())).is_ok() {
        found.push("opens it again");
    }
    if found.is_empty() { "nothing".into() } else { found.join(", ") }
}
