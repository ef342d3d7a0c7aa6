//! The plain types of `wasi:filesystem/types`, and how the scoped hal's become them.

use ringfence_abi::{Entry, ErrorCode, FileKind, Stat};
use wasmtime::component::flags;

use super::{ComponentType, Datetime, Lift, Lower};

flags! {
    DescriptorFlags {
        #[component(name = "read")]
        const READ;
        #[component(name = "write")]
        const WRITE;
        #[component(name = "file-integrity-sync")]
        const FILE_INTEGRITY_SYNC;
        #[component(name = "data-integrity-sync")]
        const DATA_INTEGRITY_SYNC;
        #[component(name = "requested-write-sync")]
        const REQUESTED_WRITE_SYNC;
        #[component(name = "mutate-directory")]
        const MUTATE_DIRECTORY;
    }
}

flags! {
    PathFlags {
        #[component(name = "symlink-follow")]
        const SYMLINK_FOLLOW;
    }
}

flags! {
    OpenFlags {
        #[component(name = "create")]
        const CREATE;
        #[component(name = "directory")]
        const DIRECTORY;
        #[component(name = "exclusive")]
        const EXCLUSIVE;
        #[component(name = "truncate")]
        const TRUNCATE;
    }
}

#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub(super) enum DescriptorType {
    #[component(name = "unknown")]
    Unknown,
    #[component(name = "block-device")]
    BlockDevice,
    #[component(name = "character-device")]
    CharacterDevice,
    #[component(name = "directory")]
    Directory,
    #[component(name = "fifo")]
    Fifo,
    #[component(name = "symbolic-link")]
    SymbolicLink,
    #[component(name = "regular-file")]
    RegularFile,
    #[component(name = "socket")]
    Socket,
}

#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct DescriptorStat {
    #[component(name = "type")]
    kind: DescriptorType,
    #[component(name = "link-count")]
    links: u64,
    size: u64,
    #[component(name = "data-access-timestamp")]
    accessed: Option<Datetime>,
    #[component(name = "data-modification-timestamp")]
    modified: Option<Datetime>,
    #[component(name = "status-change-timestamp")]
    changed: Option<Datetime>,
}

#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
pub(super) enum NewTimestamp {
    #[component(name = "no-change")]
    NoChange,
    #[component(name = "now")]
    Now,
    #[component(name = "timestamp")]
    Timestamp(Datetime),
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct DirectoryEntry {
    #[component(name = "type")]
    kind: DescriptorType,
    name: String,
}

#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct HashValue {
    pub(super) lower: u64,
    pub(super) upper: u64,
}

#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "the component sends every case")]
pub(super) enum Advice {
    #[component(name = "normal")]
    Normal,
    #[component(name = "sequential")]
    Sequential,
    #[component(name = "random")]
    Random,
    #[component(name = "will-need")]
    WillNeed,
    #[component(name = "dont-need")]
    DontNeed,
    #[component(name = "no-reuse")]
    NoReuse,
}

macro_rules! errors {
    ($($name:ident = $text:literal $(from $($code:ident)|+)?;)*) => {
        /// `wasi:filesystem/types.error-code`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
        #[component(enum)]
        #[repr(u8)]
        #[allow(dead_code, reason = "some cases have no counterpart on Linux")]
        pub(super) enum FsError { $(#[component(name = $text)] $name,)* }

        impl From<ErrorCode> for FsError {
            fn from(code: ErrorCode) -> Self {
                match code {
                    $($($(ErrorCode::$code)|+ => FsError::$name,)?)*
                    _ => FsError::Io,
                }
            }
        }
    };
}

errors! {
    Access = "access" from Denied;
    WouldBlock = "would-block" from WouldBlock;
    Already = "already" from AlreadyInProgress;
    BadDescriptor = "bad-descriptor" from BadHandle;
    Busy = "busy" from Busy;
    Deadlock = "deadlock" from Deadlock;
    Quota = "quota" from QuotaExceeded;
    Exist = "exist" from Exists;
    FileTooLarge = "file-too-large" from TooLarge;
    IllegalByteSequence = "illegal-byte-sequence" from IllegalSequence;
    InProgress = "in-progress" from InProgress;
    Interrupted = "interrupted" from Interrupted;
    Invalid = "invalid" from Invalid;
    Io = "io";
    IsDirectory = "is-directory" from IsDirectory;
    Loop = "loop" from Loop;
    TooManyLinks = "too-many-links" from TooManyLinks;
    MessageSize = "message-size" from MessageTooLong;
    NameTooLong = "name-too-long" from NameTooLong;
    NoDevice = "no-device";
    NoEntry = "no-entry" from NotFound;
    NoLock = "no-lock";
    InsufficientMemory = "insufficient-memory" from OutOfMemory;
    InsufficientSpace = "insufficient-space" from NoSpace;
    NotDirectory = "not-directory" from NotDirectory;
    NotEmpty = "not-empty" from NotEmpty;
    NotRecoverable = "not-recoverable";
    Unsupported = "unsupported" from NotSupported | NotImplemented;
    NoTty = "no-tty" from NotTerminal;
    NoSuchDevice = "no-such-device";
    Overflow = "overflow" from Overflow | OutOfRange;
    NotPermitted = "not-permitted" from NotPermitted;
    Pipe = "pipe" from BrokenPipe;
    ReadOnly = "read-only" from ReadOnly;
    InvalidSeek = "invalid-seek" from IllegalSeek;
    TextFileBusy = "text-file-busy";
    CrossDevice = "cross-device" from CrossDevice;
}

impl From<FileKind> for DescriptorType {
    fn from(kind: FileKind) -> Self {
        match kind {
            FileKind::File => DescriptorType::RegularFile,
            FileKind::Directory => DescriptorType::Directory,
            FileKind::Symlink => DescriptorType::SymbolicLink,
            FileKind::CharacterDevice => DescriptorType::CharacterDevice,
            FileKind::BlockDevice => DescriptorType::BlockDevice,
            FileKind::Pipe => DescriptorType::Fifo,
            FileKind::Socket => DescriptorType::Socket,
            FileKind::Other => DescriptorType::Unknown,
        }
    }
}

impl From<Stat> for DescriptorStat {
    fn from(stat: Stat) -> Self {
        DescriptorStat {
            kind: stat.kind.into(),
            links: stat.links,
            size: stat.size,
            accessed: Some(Datetime::new(stat.accessed)),
            modified: Some(Datetime::new(stat.modified)),
            changed: Some(Datetime::new(stat.changed)),
        }
    }
}

impl TryFrom<Entry> for DirectoryEntry {
    type Error = FsError;

    fn try_from(entry: Entry) -> Result<Self, FsError> {
        let name = String::from_utf8(entry.name).map_err(|_| FsError::IllegalByteSequence)?;
        Ok(DirectoryEntry { kind: entry.kind.into(), name })
    }
}
