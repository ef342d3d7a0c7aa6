//! A captured state as plain data. Things that others refer to are in lists; a reference is a place in one.
//!
//! Nothing in it is trusted when it comes from a file: `personality::revive` checks every reference, address
//! and number before it means anything.

use std::time::Duration;

use ringfence_abi::Timestamp;
use serde::{Deserialize, Serialize};

use super::bounded;

/// A place in one of the lists.
pub(crate) type Index = u32;

/// Everything of an instance but the content of its pages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) origin: Origin,
    /// What the monotonic clock showed, which never goes back for a program.
    pub(crate) monotonic: Timestamp,
    /// The number of the next thread or process.
    pub(crate) next: u32,
    /// The page of time, when there was one: the generation of its data, and what its code was.
    pub(crate) time: Option<(u32, [u8; 32])>,
    /// How long it has run, without what it rested.
    pub(crate) uptime: Duration,
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) segments: Vec<Segment>,
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) nodes: Vec<Node>,
    /// The folders in memory at the top: their paths, and which nodes they are.
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) tops: Vec<(Vec<u8>, Index)>,
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) pipes: Vec<Pipe>,
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) opens: Vec<Open>,
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) contents: Vec<Content>,
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) spaces: Vec<Space>,
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) descriptors: Vec<Table>,
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) actions: Vec<Vec<[u64; 4]>>,
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) places: Vec<Place>,
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) processes: Vec<Process>,
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) locks: Vec<Lock>,
    /// Whose things in memory are, by their numbers: the user and the group.
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) owners: Vec<(u64, u32, u32)>,
}

/// What was captured, and on what machine it can go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// Of the capsule, for people.
    pub(crate) name: String,
    pub(crate) program: FileIs,
    /// Where it is for itself.
    pub(crate) path: Vec<u8>,
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) arguments: Vec<String>,
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) working_directory: String,
    pub(crate) user: u32,
    /// Whether the stub of system calls is a page of the program's.
    pub(crate) user_stub: bool,
    /// What processors can do, in words that are compared bit by bit.
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) features: Vec<u32>,
    /// How their vector registers lie in memory.
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) layout: Vec<u32>,
}

/// A file by what is in it, and by what says quickly that it is still the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileIs {
    /// Device, number, when it was changed: good on one machine.
    pub(crate) quick: (u64, u64, Timestamp, Timestamp),
    pub(crate) size: u64,
    pub(crate) hash: [u8; 32],
}

/// Pages that several spaces share.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Segment {
    pub(crate) source: Source,
    pub(crate) size: Option<u64>,
    /// The pages that are not zeroes: their places in it, and in the store.
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) pages: Vec<(u64, Index)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Source {
    Anonymous,
    /// Of a file in memory.
    Memory,
    /// Of a file that is open for reading and perhaps for writing.
    File {
        reader: Index,
        writer: Option<Index>,
    },
    /// The pages of time, which are the new machine's.
    Time,
}

/// A thing in memory. Those in a folder come behind it in the list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Node {
    pub(crate) number: u64,
    pub(crate) body: Body,
    pub(crate) mode: u32,
    pub(crate) names: u64,
    pub(crate) times: [Timestamp; 3],
    pub(crate) seals: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Body {
    File(Index),
    /// Names and what they name; whether the folder itself has been removed.
    Folder(#[serde(deserialize_with = "bounded::list")] Vec<(Vec<u8>, Index)>, bool),
    Link(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A name of a Unix socket.
    Socket,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pipe {
    pub(crate) content: Vec<u8>,
    pub(crate) room: u64,
    /// The number of its node, when it has a name.
    pub(crate) node: Option<u64>,
}

/// Something that is open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Open {
    pub(crate) kind: Kind,
    pub(crate) path: Vec<u8>,
    pub(crate) flags: u32,
    /// See `F_SETOWN`.
    pub(crate) owner: i32,
    pub(crate) position: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Kind {
    Stream(u8),
    File,
    Folder,
    System,
    SystemFolder,
    Listing(#[serde(deserialize_with = "bounded::list")] Vec<Vec<u8>>),
    Text(Vec<u8>),
    /// By its number.
    Device(u64),
    Memory(Index),
    Reader(Index),
    Writer(Index),
    /// Both ends of a named pipe.
    Both(Index),
    /// A process by its number; how it ended, when it was waited for.
    Process {
        id: u32,
        gone: Option<i32>,
    },
    Counter {
        number: u64,
        by_one: bool,
    },
    Timer {
        clock: i32,
        left: Option<Duration>,
        interval: Duration,
    },
    Signals(u64),
    Set(#[serde(deserialize_with = "bounded::list")] Vec<Wish>),
}

/// What is waited for in a set of descriptors.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Wish {
    pub(crate) number: i32,
    pub(crate) open: Index,
    pub(crate) events: u32,
    pub(crate) data: u64,
    pub(crate) is_spent: bool,
}

/// The content of a file behind private pages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Content {
    /// Of the system's.
    System(Vec<u8>, FileIs),
    /// Something that is open; when it is of the hal's, what it is.
    Open(Index, Option<FileIs>),
}

/// The memory of a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Space {
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) areas: Vec<Area>,
    /// Where the heap begins and ends.
    pub(crate) heap: (u64, u64),
    /// What is said of everything that is mapped from now on.
    pub(crate) future: u8,
    /// Runs of pages that are there, by number and length.
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) present: Vec<(u64, u64)>,
    /// Those of them that are not as in the file behind them, or zeroes: by number and place in the store.
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) pages: Vec<(u64, Index)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Area {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) protection: u8,
    /// What else is said of it: bits of `memory::Marks`.
    pub(crate) marks: u8,
    pub(crate) backing: Backing,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Backing {
    Anonymous,
    /// A content, from this offset on.
    File(Index, u64),
    /// A segment, from this offset on; whether it may be written to.
    Shared(Index, u64, bool),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Descriptor {
    pub(crate) open: Index,
    pub(crate) close_on_exec: bool,
}

/// The descriptors of a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Table {
    /// No new one has this number or a higher one.
    pub(crate) most: u64,
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) slots: Vec<Option<Descriptor>>,
}

/// Where a process is in the tree of files.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) folder: Vec<u8>,
    pub(crate) mask: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) id: u32,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    pub(crate) session: u32,
    /// Whether it is stopped; what its parent has not been told: by which signal, or that it goes on.
    pub(crate) halt: (bool, Option<Option<i32>>),
    pub(crate) has_executed: bool,
    pub(crate) niceness: i32,
    /// The soft and the hard limit of each resource.
    pub(crate) limits: [[u64; 2]; 16],
    pub(crate) name: Option<Vec<u8>>,
    /// The signal it gets when its parent ends, or 0.
    pub(crate) at_parents_end: u32,
    pub(crate) dumpable: u32,
    /// What its parent hears of its end.
    pub(crate) last_signal: i32,
    /// Whether it adopts orphans among its descendants.
    pub(crate) adopts: bool,
    /// Its users and groups: real, effective, saved and the one for files; and further groups.
    pub(crate) users: [u32; 4],
    pub(crate) groups: [u32; 4],
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) more_groups: Vec<u32>,
    /// `oom_score_adj` and the least it may be, `personality(2)`, `PR_SET_KEEPCAPS`, `PR_SET_THP_DISABLE`.
    pub(crate) oom: [i32; 2],
    pub(crate) persona: u32,
    pub(crate) keeps: (bool, bool),
    /// What it has registered for `membarrier(2)`.
    pub(crate) barriers: i32,
    /// Processor time of all its threads so far, and of children that were waited for.
    pub(crate) used: (Duration, Duration),
    /// The most memory it had at once, and the most of those that were waited for, in bytes.
    pub(crate) peaks: [u64; 2],
    /// How it ended, when it has: nothing below is there then.
    pub(crate) over: Option<i32>,
    pub(crate) has_left: bool,
    pub(crate) space: Option<Index>,
    pub(crate) descriptors: Option<Index>,
    pub(crate) actions: Index,
    pub(crate) place: Index,
    pub(crate) path: Vec<u8>,
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) arguments: Vec<Vec<u8>>,
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) alarms: Vec<Alarm>,
    /// Read behind the alarms: one that rang between is here as its signal.
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) signals: Vec<Cause>,
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) threads: Vec<Thread>,
}

/// A signal that waits, and why there is one.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Cause {
    pub(crate) signal: i32,
    pub(crate) code: i32,
    pub(crate) words: [u64; 2],
}

/// What time an alarm measures.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Measure {
    Clock(i32),
    /// Processor time of the process, or of a thread of it.
    Process,
    Thread(u32),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Alarm {
    pub(crate) number: i32,
    pub(crate) measure: Measure,
    pub(crate) cause: Option<Cause>,
    /// The thread that gets the signal, when it is not for the process.
    pub(crate) thread: Option<u32>,
    pub(crate) left: Duration,
    pub(crate) interval: Duration,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Thread {
    pub(crate) id: u32,
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) signals: Vec<Cause>,
    pub(crate) blocked: u64,
    /// Its name, of another than the first.
    pub(crate) name: Vec<u8>,
    /// How much later it may be woken, and the same for who says 0.
    pub(crate) slack: [u64; 2],
    /// rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8 to r15, rip, rflags.
    pub(crate) registers: [u64; 18],
    /// `fs` and `gs`.
    pub(crate) bases: (u64, u64),
    /// The vector registers as `struct kvm_xsave`, without the zeroes at the end.
    #[serde(deserialize_with = "bounded::list")]
    pub(crate) vectors: Vec<u32>,
    pub(crate) clear_at_end: u64,
    pub(crate) robust: u64,
    /// The other stack for handlers, its size, and whether it is gone while a handler runs on it.
    pub(crate) alternate: (u64, u64, bool),
    /// Where its `struct rseq` is, how long that is, and the signature.
    pub(crate) rseq: Option<(u64, u32, u32)>,
    /// Processor time so far.
    pub(crate) used: Duration,
    /// The call it makes first was waiting, for so long at most.
    pub(crate) waiting: Option<Duration>,
    /// It is at its marker: the call answers 1.
    pub(crate) is_marker: bool,
}

/// A lock on a file.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Lock {
    /// Something open that is this file.
    pub(crate) file: Index,
    pub(crate) owner: Owner,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) exclusive: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Owner {
    Process(u32),
    Open(Index),
    Whole(Index),
}
