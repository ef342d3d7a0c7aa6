//! The devices of a place, and its terminals.

use std::path::PathBuf;

use ringfence_manifest::Spec;

use super::plan::{Builder, spot};
use super::{Operation, PlanError, Protection, Source};
use crate::console;

/// Those that give nothing of the host. The last is whatever terminal controls the session of who opens it: `tty(4)`.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Links that programs expect beside them.
const LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Where the terminals are that programs make.
pub(crate) const TERMINALS: &str = "/dev/pts";

impl Builder {
    /// Puts them into the tree; which they are.
    pub(super) fn devices(&mut self, spec: &Spec) -> Result<Vec<String>, PlanError> {
        let mut devices = Vec::new();
        for name in DEVICES {
            let (path, at) = (PathBuf::from("/dev").join(name), format!("/dev/{name}"));
            let source = Source::look(&path);
            let source = source.map_err(|source| PlanError::Open { from: path, at: at.clone(), source })?;
            self.attach(source, &at, Protection::DEVICE)?;
            devices.push(at);
        }
        self.folder(TERMINALS)?;
        self.operations.push(Operation::Terminals { at: spot(TERMINALS)? });
        // One of the program's own, or the user's.
        let owns = spec.session.terminal.is_some();
        self.console = if owns { None } else { console::of_user(spec) };
        if owns || self.console.is_some() {
            let path = console::PATH.to_string_lossy().into_owned();
            let at = self.below_its_folder(&path)?;
            self.operations.push(Operation::Target(at.clone()));
            self.operations.push(match &self.console {
                Some(console) => Operation::Console { source: console.source.clone(), at },
                None => Operation::Terminal { at },
            });
            devices.push(path);
        }
        for (name, target) in LINKS {
            self.link(&format!("/dev/{name}"), target)?;
        }
        Ok(devices)
    }
}
