//! Changes for people and for programs.

use std::fmt::Write;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use ringfence::manifest::Bytes;
use rustix::fs::OFlags;
use serde_json::{Value, json};

use super::entry::{Change, Kind, Known, below};
use super::look::{open_below, open_top};
use super::{Changes, Place, text};
use crate::output::visible;

/// Larger files are told of by their size only.
const SMALL: u64 = 64 << 10;
/// How many lines of one file, and of how many files, are shown.
const MOST_LINES: usize = 100;
const MOST_FILES: usize = 50;

/// A line for each change, and the lines that differ of small texts.
pub(crate) fn as_text(changes: &Changes) -> String {
    let mut shown = String::new();
    let mut files = 0;
    for place in &changes.places {
        for change in &place.changes {
            let path = below(&place.at, change.path());
            // Writing to a string cannot fail.
            let _ = writeln!(shown, "  {:8} {}{}", change.verb(), line(&path.to_string_lossy()), detail(place, change));
            if files < MOST_FILES
                && let Some(lines) = lines(place, change)
            {
                files += 1;
                for text in lines.iter().take(MOST_LINES) {
                    let _ = writeln!(shown, "    | {}", line(text));
                }
                if lines.len() > MOST_LINES {
                    let _ = writeln!(shown, "    | … {} more lines", lines.len() - MOST_LINES);
                }
            }
        }
    }
    shown
}

/// An object for each change.
pub(crate) fn as_json(changes: &Changes) -> Value {
    let object = |place: &Place, change: &Change| {
        let known = |known: &Option<Known>| {
            known
                .as_ref()
                .map(|known| json!({ "kind": known.kind, "size": known.size, "mode": format!("{:o}", known.mode) }))
        };
        json!({
            "change": change.verb(),
            "path": below(&place.at, change.path()).to_string_lossy(),
            "host": below(&place.from, change.path()).to_string_lossy(),
            "before": known(&change.before),
            "after": known(&change.after),
            "target": link(&place.upper, change),
            "diff": lines(place, change),
        })
    };
    let all = changes.places.iter().flat_map(|place| place.changes.iter().map(move |change| object(place, change)));
    json!({ "name": changes.name, "changes": all.collect::<Vec<_>>() })
}

/// A text on one line, without anything a terminal would act on.
fn line(text: &str) -> String {
    visible(text).replace('\n', "\\n")
}

fn detail(place: &Place, change: &Change) -> String {
    let size = |known: &Known| match known.kind {
        Kind::File => Bytes(known.size).to_string(),
        Kind::Folder => "folder".into(),
        Kind::Link => "link".into(),
        Kind::Special => "pipe, socket or device".into(),
    };
    let mut text = match (&change.before, &change.after) {
        (Some(before), Some(after)) if before.kind == Kind::Folder && after.kind == Kind::Folder => String::new(),
        (Some(before), Some(after)) => format!("  {} → {}", size(before), size(after)),
        (Some(one), None) | (None, Some(one)) => format!("  {}", size(one)),
        (None, None) => String::new(),
    };
    if let Some(target) = link(&place.upper, change) {
        let _ = write!(text, " to {}", line(&target));
    }
    match (&change.before, &change.after) {
        (Some(before), Some(after)) if before.mode != after.mode => {
            let _ = write!(text, "  mode {:o} → {:o}", before.mode, after.mode);
        }
        // What may be run, and what others may write to, is worth a look.
        (None, Some(after)) if after.kind == Kind::File && after.mode & 0o111 != 0 => {
            let _ = write!(text, "  executable, mode {:o}", after.mode);
        }
        (None, Some(after)) if after.kind != Kind::Link && after.mode & 0o022 != 0 => {
            let _ = write!(text, "  mode {:o}", after.mode);
        }
        _ => {}
    }
    text
}

/// Where a link leads.
fn link(upper: &Path, change: &Change) -> Option<String> {
    change.after.as_ref().filter(|after| after.kind == Kind::Link)?;
    let (parent, name) = super::look::split(change.path());
    let folder = open_below(&open_top(upper).ok()?, parent, OFlags::RDONLY | OFlags::DIRECTORY).ok()?;
    Some(rustix::fs::readlinkat(&folder, name, []).ok()?.to_string_lossy().into_owned())
}

/// The lines that differ, when both sides are small texts.
fn lines(place: &Place, change: &Change) -> Option<Vec<String>> {
    let side = |top: &dyn Fn() -> io::Result<OwnedFd>, known: &Option<Known>| match known {
        None => Some(String::new()),
        Some(known) if known.kind == Kind::File && known.size <= SMALL => content(&top().ok()?, change.path()),
        Some(_) => None,
    };
    // The host's own only if its folder is the one that was mounted.
    let (before, after) = (side(&|| place.open(), &change.before)?, side(&|| open_top(&place.upper), &change.after)?);
    let lines = text::unified(&before, &after)?;
    (!lines.is_empty()).then_some(lines)
}

fn content(top: &OwnedFd, path: &Path) -> Option<String> {
    let file = std::fs::File::from(open_below(top, path, OFlags::RDONLY).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    file.take(SMALL + 1).read_to_string(&mut text).ok()?;
    (text.len() as u64 <= SMALL && !text.contains('\0')).then_some(text)
}
