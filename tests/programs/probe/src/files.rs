//! Commands that use files, each one as an ordinary program would.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
};

use crate::{
    outcome::{Failure, Outcome, first_line, quoted},
    sys,
};

/// The most `read` takes in, so that an endless device ends.
const READ_AT_MOST: u64 = 256 << 20;

pub fn run(command: &[&str]) -> Option<Outcome> {
    Some(match *command {
        ["read", path] => read(path),
        ["readat", path, offset, length] => read_at(path, offset.parse().ok()?, length.parse().ok()?),
        ["openat", directory, path] => open_at(directory.parse().ok()?, path),
        ["write", path, text] => write(File::create(path), text),
        ["overwrite", path, text] => write(OpenOptions::new().write(true).open(path), text),
        ["append", path, text] => write(OpenOptions::new().append(true).open(path), text),
        ["exclusive", path] => done(File::create_new(path).map(drop)),
        ["truncate", path, size] => truncate(path, size.parse().ok()?),
        ["list", path] => list(path),
        ["stat", path] => fs::metadata(path).map(describe).map_err(Failure::from),
        ["lstat", path] => fs::symlink_metadata(path).map(describe).map_err(Failure::from),
        ["mkdir", path] => done(fs::create_dir(path)),
        ["rmdir", path] => done(fs::remove_dir(path)),
        ["unlink", path] => done(fs::remove_file(path)),
        ["rename", from, to] => done(fs::rename(from, to)),
        ["link", from, to] => done(fs::hard_link(from, to)),
        ["symlink", target, path] => sys::symlink(target, path).map(|()| String::new()),
        ["readlink", path] => read_link(path),
        ["times", path, seconds] => sys::set_times(path, seconds.parse().ok()?).map(|()| String::new()),
        ["copy", from, to] => fs::copy(from, to).map(|n| n.to_string()).map_err(Failure::from),
        ["fill", path, bytes] => fill(path, bytes.parse().ok()?),
        _ => return None,
    })
}

fn done(result: io::Result<()>) -> Outcome {
    result.map(|()| String::new()).map_err(Failure::from)
}

fn read(path: &str) -> Outcome {
    let (count, start) = drain(File::open(path)?)?;
    Ok(format!("{count} {}", first_line(&start)))
}

fn open_at(directory: i32, path: &str) -> Outcome {
    let (count, start) = drain(sys::open_at(directory, path)?)?;
    Ok(format!("{count} {}", first_line(&start)))
}

/// Reads to the end: how many bytes there were, and the first of them.
pub fn drain(source: impl Read) -> Result<(u64, Vec<u8>), Failure> {
    let mut source = source.take(READ_AT_MOST);
    let mut start = Vec::new();
    source.by_ref().take(4096).read_to_end(&mut start)?;
    let rest = io::copy(&mut source, &mut io::sink())?;
    Ok((start.len() as u64 + rest, start))
}

fn read_at(path: &str, offset: u64, length: u64) -> Outcome {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(format!("{} {}", bytes.len(), first_line(&bytes)))
}

fn write(file: io::Result<File>, text: &str) -> Outcome {
    file?.write_all(text.as_bytes())?;
    Ok(text.len().to_string())
}

fn truncate(path: &str, size: u64) -> Outcome {
    done(OpenOptions::new().write(true).open(path)?.set_len(size))
}

fn list(path: &str) -> Outcome {
    let names: io::Result<Vec<String>> =
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect();
    Ok(quoted(names?))
}

/// `KIND size=BYTES modified=SECONDS`; the size of a directory means nothing and is left out.
fn describe(found: Metadata) -> String {
    let kind = match found.file_type() {
        kind if kind.is_file() => "file",
        kind if kind.is_dir() => "directory",
        kind if kind.is_symlink() => "symlink",
        _ => "other",
    };
    let modified = found
        .modified()
        .ok()
        .map_or(0, |time| time.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs()));
    match found.is_dir() {
        true => format!("{kind} modified={modified}"),
        false => format!("{kind} size={} modified={modified}", found.len()),
    }
}

fn read_link(path: &str) -> Outcome {
    Ok(format!("{:?}", fs::read_link(path)?.to_string_lossy()))
}

/// Writes `bytes` bytes in pieces of 64 KiB, or as many as the place allows.
fn fill(path: &str, bytes: u64) -> Outcome {
    let piece = vec![b'x'; 64 << 10];
    let mut file = File::create(path)?;
    let mut written = 0;
    while written < bytes {
        let next = piece.len().min(usize::try_from(bytes - written).unwrap_or(usize::MAX));
        match file.write(&piece[..next]) {
            Ok(0) => return Err(Failure::named("ENOSPC").after(written)),
            Ok(count) => written += count as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::from(error).after(written)),
        }
    }
    Ok(written.to_string())
}
