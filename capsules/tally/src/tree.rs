//! The walk over the tree.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{count, language, report::Report};

/// A file larger than this is hardly source; reading it whole would also take that much memory.
const LARGEST: u64 = 8 << 20;

/// How much of a file is looked at to tell whether it is binary.
const LOOKED_AT: usize = 8 << 10;

/// Counts every file below `folder`, or `folder` itself when it is a file. Fails only when it
/// cannot be looked at at all.
pub fn walk(folder: &Path, report: &mut Report) -> io::Result<()> {
    if fs::metadata(folder)?.is_file() {
        file(folder, report);
        return Ok(());
    }
    let mut waiting = Vec::new();
    visit_all(fs::read_dir(folder)?, folder, &mut waiting, report);
    while let Some(folder) = waiting.pop() {
        match fs::read_dir(&folder) {
            Ok(entries) => visit_all(entries, &folder, &mut waiting, report),
            Err(error) => complain(&folder, &error, report),
        }
    }
    Ok(())
}

/// Visits the entries in order, so that two runs print the same. A host may be unable to name an
/// entry; then the others still count.
fn visit_all(entries: fs::ReadDir, folder: &Path, waiting: &mut Vec<PathBuf>, report: &mut Report) {
    let mut named = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => named.push(entry),
            Err(error) => complain(folder, &error, report),
        }
    }
    named.sort_by_key(fs::DirEntry::file_name);
    named.iter().for_each(|entry| visit(entry, waiting, report));
}

fn visit(entry: &fs::DirEntry, waiting: &mut Vec<PathBuf>, report: &mut Report) {
    let path = entry.path();
    match entry.file_type() {
        Ok(kind) if kind.is_dir() => {
            if !left_out(&entry.file_name()) {
                waiting.push(path);
            }
        }
        Ok(kind) if kind.is_file() => file(&path, report),
        Ok(_) => {}
        Err(error) => complain(&path, &error, report),
    }
}

fn left_out(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with('.') || name == "target" || name == "node_modules"
}

fn file(path: &Path, report: &mut Report) {
    let Some(language) = path.file_name().and_then(|name| language::of(&name.to_string_lossy())) else {
        report.unknown += 1;
        return;
    };
    match text(path) {
        Ok(Some(text)) => report.add(language.name, count::lines(&text, language)),
        Ok(None) => report.binary += 1,
        Err(error) => complain(path, &error, report),
    }
}

/// The content of a file; nothing when it is binary or too large.
fn text(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut text)?;
    let binary = text.iter().take(LOOKED_AT).any(|&byte| byte == 0);
    Ok((!binary && text.len() as u64 <= LARGEST).then_some(text))
}

fn complain(path: &Path, error: &io::Error, report: &mut Report) {
    report.unreadable += 1;
    eprintln!("tally: {}: {error}", path.display());
}
