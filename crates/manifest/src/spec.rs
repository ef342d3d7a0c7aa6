//! What a manifest resolves to: complete, checked and absolute.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::{BitRate, Bytes, Cores, Guarantee, Level, Permissions, SystemCalls};

/// Everything a backend needs to know about one capsule. Complete, checked and absolute: nothing
/// after resolution reads the manifest, a default or the host's environment again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spec {
    /// Whose it is.
    pub capsule: Identity,
    /// What runs.
    pub program: Program,
    /// Behind which boundary.
    pub isolation: Isolation,
    /// What it may do.
    pub permissions: Permissions,
    /// What of the host's files is in its tree, in the order of the manifest.
    pub mounts: Vec<Mount>,
    /// Its environment variables, complete.
    pub environment: BTreeMap<String, String>,
    /// How much of each resource it may use.
    pub limits: Limits,
    /// Its standard streams.
    pub stdio: Stdio,
    /// The folder of the host that is the root of its tree, beneath the mounts. `None` for a root that
    /// is empty and cannot be changed: nothing in it is granted, or the level has no use for it.
    #[serde(serialize_with = "shown_if_any")]
    pub root: Option<PathBuf>,
    /// The names of the limits that nobody wrote and that hold by default.
    pub defaults: BTreeSet<&'static str>,
    /// What belongs to this run alone.
    pub session: Session,
}

/// What belongs to one run and is written in no manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Session {
    /// The program gets a terminal of this size. Standard input is typed into it, standard output is what
    /// it shows, and standard error too unless that leads elsewhere.
    pub terminal: Option<WindowSize>,
    /// Nothing of the host's is changed: changes to its folders and files are kept below this folder,
    /// which is there and is empty.
    #[serde(serialize_with = "shown_if_any")]
    pub overlay: Option<PathBuf>,
    /// The program comes to rest at this point and waits there until it has been captured.
    pub capture_at: Option<Point>,
}

/// A point in the life of a program at which it comes to rest to be captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// Before it uses one of its standard streams for the first time: what it does by itself is done,
    /// and nothing of it was seen yet.
    Start,
    /// Where it says so by a call that means nothing to other systems: `prctl(0x52464e47, 0, 0, 0, 0)`.
    Marker,
    /// Wherever it is when it is captured: it waits nowhere.
    Anywhere,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WindowSize {
    /// How many lines.
    pub rows: u16,
    /// How many characters in each.
    pub columns: u16,
}

/// Name and version of a capsule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// Letters, digits, `-`, `_` and `.`; at most 64 bytes; fit for a folder name.
    pub name: String,
    /// Semantic version, when one was written.
    pub version: Option<String>,
}

/// What sort of program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A WebAssembly module or component, binary or text.
    Wasm,
    /// JavaScript.
    Js,
    /// Rust linked into the host.
    Rust,
    /// A Linux program.
    Linux,
    /// An OCI image.
    Oci,
    /// A unikernel image.
    Unikernel,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 6] = [Kind::Wasm, Kind::Js, Kind::Rust, Kind::Linux, Kind::Oci, Kind::Unikernel];

    /// The name in manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Wasm => "wasm",
            Kind::Js => "js",
            Kind::Rust => "rust",
            Kind::Linux => "linux",
            Kind::Oci => "oci",
            Kind::Unikernel => "unikernel",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Kind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Program {
    /// What sort.
    pub kind: Kind,
    /// Where it is on the host, absolute.
    #[serde(serialize_with = "shown")]
    pub path: PathBuf,
    /// Its arguments, without its own name.
    pub args: Vec<String>,
    /// Its working directory, absolute in its own tree.
    pub working_directory: String,
}

/// Which boundary, and what it must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Isolation {
    /// The level it runs at.
    pub level: Level,
    /// What must be enforced or the run is refused: what was asked for by name, what every capsule
    /// is promised, and what its limits need.
    pub require: BTreeSet<Guarantee>,
    /// Which system calls a Linux program may make.
    pub seccomp: SystemCalls,
}

/// A folder or file of the host in the capsule's tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// Where in the capsule's tree, absolute and without `.` or `..`.
    pub at: String,
    /// The same as it was written; the name of a WASI preopen.
    pub name: String,
    /// Where on the host, absolute, every link followed.
    #[serde(serialize_with = "shown")]
    pub from: PathBuf,
    /// Read-only or not.
    pub mode: MountMode,
}

/// Whether a mount can be changed at all. What the capsule may do in it is said by its
/// permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountMode {
    /// Read-only.
    #[serde(rename = "ro")]
    ReadOnly,
    /// Readable and writable.
    #[serde(rename = "rw")]
    ReadWrite,
}

/// How much of each resource. `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Memory held at once.
    pub memory: Option<Bytes>,
    /// Processor time over the whole run.
    pub cpu_time: Option<Duration>,
    /// Time from start to end.
    pub wall_time: Option<Duration>,
    /// Processors at once.
    pub cores: Option<Cores>,
    /// Processes and threads at once.
    pub processes: Option<u64>,
    /// Open handles at once, the standard streams not counted.
    pub open_files: Option<u64>,
    /// Net growth of everything it can write to.
    pub disk: Option<Bytes>,
    /// Size of any one file.
    pub file_size: Option<Bytes>,
    /// Network traffic, both directions together.
    pub bandwidth: Option<BitRate>,
    /// File and network operations over the whole run.
    pub io_operations: Option<u64>,
    /// Bytes read and written, files and network together, over the whole run.
    pub io_bytes: Option<Bytes>,
    /// Bytes printed, standard output and error together.
    pub output: Option<Bytes>,
    /// Instructions over the whole run, in the engine's own unit.
    pub fuel: Option<u64>,
}

/// Where the standard streams go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stdio {
    /// Standard input.
    pub stdin: StreamIn,
    /// Standard output.
    pub stdout: StreamOut,
    /// Standard error.
    pub stderr: StreamOut,
}

/// Where standard input comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamIn {
    /// The host process's own.
    Inherit,
    /// Nothing: the end at once.
    Null,
    /// A file of the host, absolute: of what is opened there the user says so.
    #[serde(serialize_with = "shown")]
    File(PathBuf),
    /// A regular file of the capsule's folder, at an absolute path of which no part may be a link: what is there may
    /// be the word of an instance.
    #[serde(rename = "file", serialize_with = "shown")]
    OfFolder(PathBuf),
    /// These bytes, then the end (library only).
    Bytes(Vec<u8>),
}

/// Where standard output or error goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamOut {
    /// The host process's own.
    Inherit,
    /// Nowhere.
    Null,
    /// A file of the host, absolute; created or cut to nothing: of what is opened there the user says so.
    #[serde(serialize_with = "shown")]
    File(PathBuf),
    /// A regular file of the capsule's folder, created or cut to nothing, at an absolute path of which no part may be a
    /// link: what is there may be the word of an instance.
    #[serde(rename = "file", serialize_with = "shown")]
    OfFolder(PathBuf),
    /// Kept, and part of the exit report (library only).
    Capture,
}

/// A path as text: one that is no text is shown as far as it is, rather than not at all.
fn shown<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

#[allow(clippy::ref_option, reason = "serde passes a reference to the field")]
fn shown_if_any<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| path.display().to_string()).serialize(serializer)
}
