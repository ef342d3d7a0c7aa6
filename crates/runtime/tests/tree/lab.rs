//! A tree of files with granted, shown, hidden and mounted folders, and what lies outside of it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringfence_abi::{Call, ErrorCode, Handle, Position, Reply};
use ringfence_isolation::{Host, Level, Spec};
use ringfence_manifest::{
    FilePermissions, Identity, Isolation, Kind, Limits, Mount, MountMode, PathRule, Permissions, Program, Stdio,
    StreamIn, StreamOut,
};
use ringfence_runtime::{ScopedHal, Surroundings};

use crate::operation::{Name, Operation};
use crate::outside::{NAME, SECRET, make, snapshot};

/// What has to stay as it is: inside where nothing may be changed, and what may not even be seen.
const KEPT: [&str; 4] = ["fixed", "root/shown", "root/hidden", "outside"];

/// One instance with its tree.
pub(crate) struct Lab {
    place: tempfile::TempDir,
    outside: String,
    hal: ScopedHal,
    /// The folders it began with, and what was opened; closed ones too.
    held: Vec<Handle>,
    began_with: usize,
}

impl Lab {
    /// `/work` is granted for everything, `/shown` to be read, `/hidden` not at all. In `/work` lie a
    /// folder and a file of another place, and a folder that is mounted read-only.
    pub(crate) fn new() -> Self {
        let place = tempfile::tempdir().expect("a folder");
        let at = |name: &str| place.path().join(name);
        for (number, kept) in KEPT.iter().enumerate() {
            let (name, text) = if number < 2 { ("shown", "shown") } else { (NAME, SECRET) };
            make(&at(kept), name, text);
        }
        std::fs::write(at("single"), "shown").expect("a file");
        for folder in ["root/work/a/a", "mounted/a"] {
            std::fs::create_dir_all(at(folder)).expect("a folder");
        }
        for file in ["root/work/b", "root/work/a/b", "mounted/b"] {
            std::fs::write(at(file), "mine").expect("a file");
        }
        let outside = at("outside").to_str().expect("a path in UTF-8").to_owned();
        let hal = ScopedHal::new(Arc::new(spec(place.path())), Surroundings::default()).expect("a tree");
        let held: Vec<_> = hal.folders().iter().map(|folder| folder.handle).collect();
        let began_with = held.len();
        Lab { place, outside, hal, held, began_with }
    }

    /// Does all of it; says how many of each operation were done. Panics when something came out, or
    /// when anything has changed that had to stay.
    pub(crate) fn run(mut self, operations: &[Operation]) -> BTreeMap<String, usize> {
        let before = KEPT.map(|kept| snapshot(&self.place.path().join(kept)));
        let mut done = BTreeMap::new();
        for operation in operations {
            let name =
                format!("{operation:?}").split_once([' ', '{']).map_or(String::new(), |(name, _)| name.to_owned());
            match self.step(operation) {
                Ok(reply) => {
                    Self::check(operation, &reply);
                    *done.entry(name).or_default() += 1;
                }
                Err(error) => assert_ne!(error, ErrorCode::Stopping, "{operation:?}"),
            }
        }
        for (kept, before) in KEPT.iter().zip(before) {
            assert_eq!(before, snapshot(&self.place.path().join(kept)), "{kept} after {operations:#?}");
        }
        let names = |folder: &str| -> BTreeSet<PathBuf> {
            std::fs::read_dir(self.place.path().join(folder))
                .expect("a folder")
                .map(|e| e.expect("an entry").path())
                .collect()
        };
        assert_eq!(names("root").len(), 3, "beside the folders in the root after {operations:#?}");
        assert_eq!(names(".").len(), 5, "beside the root after {operations:#?}");
        done
    }

    fn handle(&self, number: u8) -> Handle {
        self.held[usize::from(number) % self.held.len()]
    }

    fn step(&mut self, operation: &Operation) -> Result<Reply, ErrorCode> {
        let way = |way: &crate::operation::Way| way.bytes(&self.outside);
        let call = |call: Call<'_>| self.hal.call(call).now();
        match operation {
            Operation::Open { from, path, how } => {
                let reply = call(Call::Open { directory: self.handle(*from), path: &way(path), how: how.into() })?;
                if let Reply::Handle(handle) = reply {
                    self.held.push(handle);
                }
                Ok(reply)
            }
            Operation::Read { file } => {
                let mut into = [0; 64];
                match call(Call::Read { file: self.handle(*file), offset: 0, into: &mut into })? {
                    Reply::Count(count) => Ok(Reply::Bytes(into[..count].to_vec())),
                    other => panic!("{other:?} is no count"),
                }
            }
            Operation::Write { file, at } => {
                let at = at.map_or(Position::End, |at| Position::Offset(at.into()));
                call(Call::Write { file: self.handle(*file), at, from: b"mine" })
            }
            Operation::Resize { file, size } => call(Call::SetSize { file: self.handle(*file), size: (*size).into() }),
            Operation::Touch { handle } => {
                call(Call::SetTimes { handle: self.handle(*handle), accessed: Some(1), modified: Some(1) })
            }
            Operation::TouchAt { from, path, follow } => call(Call::SetTimesAt {
                directory: self.handle(*from),
                path: &way(path),
                follow: *follow,
                accessed: Some(1),
                modified: Some(1),
            }),
            Operation::Stat { handle } => call(Call::Stat { handle: self.handle(*handle) }),
            Operation::StatAt { from, path, follow } => {
                call(Call::StatAt { directory: self.handle(*from), path: &way(path), follow: *follow })
            }
            Operation::List { folder } => call(Call::List { directory: self.handle(*folder), after: 0, most: 100 }),
            Operation::CreateDirectory { from, path } => {
                call(Call::CreateDirectory { directory: self.handle(*from), path: &way(path), mode: None })
            }
            Operation::RemoveDirectory { from, path } => {
                call(Call::RemoveDirectory { directory: self.handle(*from), path: &way(path) })
            }
            Operation::Unlink { from, path } => call(Call::Unlink { directory: self.handle(*from), path: &way(path) }),
            Operation::Rename { from, old, to, new } => call(Call::Rename {
                from_directory: self.handle(*from),
                from: &way(old),
                to_directory: self.handle(*to),
                to: &way(new),
            }),
            Operation::Link { from, old, follow, to, new } => call(Call::Link {
                from_directory: self.handle(*from),
                from: &way(old),
                follow: *follow,
                to_directory: self.handle(*to),
                to: &way(new),
            }),
            Operation::Symlink { target, from, path } => {
                call(Call::Symlink { target: &way(target), directory: self.handle(*from), path: &way(path) })
            }
            Operation::ReadLink { from, path } => {
                call(Call::ReadLink { directory: self.handle(*from), path: &way(path) })
            }
            Operation::Close { handle } => {
                // The folders it began with stay: without them little can be done.
                let opened = self.held.get(self.began_with + usize::from(handle % 8)).ok_or(ErrorCode::BadHandle)?;
                call(Call::Close { handle: *opened })
            }
            Operation::Plant { target, folder, name } => {
                self.plant(&way(target), *folder, *name);
                Ok(Reply::Done)
            }
        }
    }

    /// A link in `/work`, in place of what is there, if it is a file or a link.
    fn plant(&self, target: &[u8], folder: bool, name: Name) {
        use std::os::unix::ffi::OsStrExt;
        if !matches!(name.0, "c" | "shown" | "hidden" | "outside") {
            return;
        }
        let work = self.place.path().join("root/work");
        let into = if folder { work.join("a") } else { work };
        // Not through a link that was planted before.
        if !std::fs::symlink_metadata(&into).is_ok_and(|found| found.is_dir()) {
            return;
        }
        let _ = std::fs::remove_file(into.join(name.0));
        let _ = symlink(std::ffi::OsStr::from_bytes(target), into.join(name.0));
    }

    /// Nothing of a secret is in a reply: neither its content nor its target, its name or its size.
    fn check(operation: &Operation, reply: &Reply) {
        let secret = match reply {
            Reply::Bytes(bytes) => bytes.starts_with(&SECRET.as_bytes()[..8]),
            Reply::Stat(stat) => stat.size == SECRET.len() as u64,
            Reply::Entries(entries) => entries.iter().any(|entry| entry.name == NAME.as_bytes()),
            _ => false,
        };
        assert!(!secret, "{reply:?} of {operation:?}");
    }
}

fn spec(place: &Path) -> Spec {
    let rules = |paths: &[&str]| paths.iter().map(|&path| PathRule(path.to_owned())).collect::<Vec<_>>();
    let mount =
        |at: &str, from: &str, mode| Mount { at: at.to_owned(), name: at.to_owned(), from: place.join(from), mode };
    Spec {
        capsule: Identity { name: "tree".into(), version: None },
        program: Program {
            kind: Kind::Wasm,
            path: PathBuf::from("/program.wasm"),
            args: Vec::new(),
            working_directory: "/".into(),
        },
        isolation: Isolation { level: Level::Wasm, require: BTreeSet::new(), seccomp: Default::default() },
        permissions: Permissions {
            files: FilePermissions {
                read: rules(&["/work", "/shown"]),
                list: rules(&["/work", "/shown"]),
                write: rules(&["/work"]),
                create: rules(&["/work"]),
                delete: rules(&["/work"]),
            },
            ..Permissions::default()
        },
        mounts: vec![
            mount("/work/m", "mounted", MountMode::ReadWrite),
            mount("/work/fixed", "fixed", MountMode::ReadOnly),
            mount("/work/a/single", "single", MountMode::ReadOnly),
        ],
        environment: BTreeMap::new(),
        limits: Limits::default(),
        stdio: Stdio { stdin: StreamIn::Null, stdout: StreamOut::Null, stderr: StreamOut::Null },
        root: Some(place.join("root")),
        defaults: BTreeSet::new(),
        session: ringfence_manifest::Session::default(),
    }
}
