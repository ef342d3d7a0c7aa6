//! Commands that do something to files many times over: to exhaust a limit, to leave something
//! behind, or to win a race against a check.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write,
    mem,
    os::fd::RawFd,
    path::Path,
};

use crate::{
    files::drain,
    outcome::{Failure, Outcome, first_line, in_order},
    sys,
};

pub fn run(command: &[&str]) -> Option<Outcome> {
    Some(match *command {
        ["open-many", path, count] => open_many(path, count.parse().ok()?),
        ["many-files", directory, count] => many_files(directory, count.parse().ok()?),
        ["deep", directory, count] => deep(directory, count.parse().ok()?),
        ["swap", directory, rounds] => swap(directory, rounds.parse().ok()?, "/etc"),
        ["swap", directory, rounds, target] => swap(directory, rounds.parse().ok()?, target),
        ["race-read", path, rounds] => race_read(path, rounds.parse().ok()?),
        ["keep-unlinked", directory, count, bytes] => {
            keep_unlinked(directory, count.parse().ok()?, bytes.parse().ok()?)
        }
        ["fds"] => Ok(descriptors(256)),
        ["fds", count] => Ok(descriptors(count.parse().ok()?)),
        ["preopens"] => sys::preopens().map(|names| in_order(&names)),
        _ => return None,
    })
}

/// Does `step` for 0, 1, … and says after how many it first failed.
fn repeat(count: u64, mut step: impl FnMut(u64) -> Result<(), Failure>) -> Outcome {
    for round in 0..count {
        step(round).map_err(|failure| failure.after(round))?;
    }
    Ok(count.to_string())
}

/// Opens the file again and again and closes none of them, not even when the command is over.
fn open_many(path: &str, count: u64) -> Outcome {
    repeat(count, |_| {
        mem::forget(File::open(path)?);
        Ok(())
    })
}

fn many_files(directory: &str, count: u64) -> Outcome {
    repeat(count, |number| Ok(File::create(Path::new(directory).join(format!("f{number}"))).map(drop)?))
}

/// A directory in a directory in a directory.
fn deep(directory: &str, count: u64) -> Outcome {
    let mut path = directory.to_owned();
    repeat(count, |_| {
        path.push_str("/d");
        Ok(fs::create_dir(&path)?)
    })
}

/// Lets the name `point` stand now for the directory `dir`, now for the symbolic link `link`, while
/// somebody else resolves paths through it. What is missing of the two is made first.
fn swap(directory: &str, rounds: u64, target: &str) -> Outcome {
    let name = |name: &str| format!("{directory}/{name}");
    let (point, real, link) = (name("point"), name("dir"), name("link"));
    if fs::symlink_metadata(&real).is_err() {
        fs::create_dir(&real)?;
        fs::write(format!("{real}/inside"), "inside\n")?;
    }
    if fs::symlink_metadata(&link).is_err() {
        sys::symlink(target, &link)?;
    }
    repeat(rounds, |_| {
        for other in [&real, &link] {
            fs::rename(other, &point)?;
            fs::rename(&point, other)?;
        }
        Ok(())
    })
}

/// Reads a path over and over: how often it worked, what it read, and why it failed.
fn race_read(path: &str, rounds: u64) -> Outcome {
    let mut seen = BTreeSet::new();
    let mut failures = BTreeMap::<String, u64>::new();
    let mut read = 0;
    for _ in 0..rounds {
        match File::open(path).map_err(Failure::from).and_then(drain) {
            Ok((_, start)) => {
                read += 1;
                if seen.len() < 16 {
                    seen.insert(first_line(&start));
                }
            }
            Err(failure) => *failures.entry(failure.to_string()).or_default() += 1,
        }
    }
    let mut details = format!("{read}/{rounds}");
    for line in seen {
        details.push_str(&format!(" {line}"));
    }
    for (name, count) in failures {
        details.push_str(&format!(" {name}={count}"));
    }
    Ok(details)
}

/// Files that take room but have no name any more; they stay open to the end of the process.
fn keep_unlinked(directory: &str, count: u64, bytes: u64) -> Outcome {
    let piece = vec![b'x'; 64 << 10];
    repeat(count, |number| {
        let path = Path::new(directory).join(format!("unlinked-{number}"));
        let mut file = File::create_new(&path)?;
        fs::remove_file(&path)?;
        let mut left = bytes;
        while left > 0 {
            let next = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.write_all(&piece[..next])?;
            left -= next as u64;
        }
        mem::forget(file);
        Ok(())
    })
}

/// Which descriptor numbers below `count` mean something.
fn descriptors(count: RawFd) -> String {
    let open: Vec<String> =
        (0..count).filter(|&number| sys::is_open(number)).map(|number| number.to_string()).collect();
    format!("{} {}", open.len(), open.join(" ")).trim_end().to_owned()
}
