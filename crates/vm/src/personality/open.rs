//! What a descriptor stands for, and reading and writing it.

mod content;

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};

use ringfence_abi::{Call, Handle, Interest, Reply};
use rustix::io::Errno;

pub(super) use content::{Charged, Mapped};

use super::counter::Counter;
use super::epoll::Set;
use super::inotify::Watches;
use super::listing::Stage;
use super::locks::Owner;
use super::pipe::Pipe;
use super::process::{Process, lock};
use super::shared::Identity;
use super::signalfd::Signals;
use super::socket::Socket;
use super::special::Device;
use super::status::Status;
use super::terminal::Terminal;
use super::timer::Timer;
use super::waiting::Bell;
use super::world::World;
use crate::kvm::Kept;
use crate::scratch::Node;
use crate::tree::HostFile;

/// Something that is open. Closed with the last descriptor of it.
pub(super) struct Open {
    world: Arc<World>,
    pub(super) kind: Kind,
    /// Where it was when it was opened, for the program.
    pub(super) path: Vec<u8>,
    /// Where a folder is that was moved since.
    moved: Mutex<Option<(Vec<u8>, Kept)>>,
    pub(super) position: Mutex<u64>,
    /// Of a folder, how far it was listed.
    pub(super) stage: Mutex<Stage>,
    flags: AtomicU32,
    identity: OnceLock<Identity>,
    counted: bool,
    /// It was opened by the program, whose watchers hear of its end.
    pub(super) is_told: AtomicBool,
    _kept: Kept,
    /// Of a file of `/proc`, what it said when it was last read from its beginning.
    renewed: Mutex<Option<(Vec<u8>, Kept)>>,
    /// It was read from its beginning.
    was_begun: AtomicBool,
    /// How often a program found out that there was nothing to read, or no room to write.
    attempts: [AtomicU64; 2],
    /// Rung after each of them.
    pub(super) attempted: [Bell; 2],
    /// Who asked to be told by a signal when it becomes ready: kept, and no signal comes.
    owner: AtomicI32,
    naming: Naming,
    /// Of a socket, what tells it from others: `st_ino`.
    number: u64,
}

/// When a file has names: `open(2)`, `O_TMPFILE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    AtFirst,
    /// It was made without one, and may get one.
    Later,
    Never,
}

/// What the host keeps for a text beside what is in it: where it is, and what the allocator adds.
pub(super) const EACH_TEXT: usize = size_of::<Vec<u8>>() + 16;

/// What sort of thing.
pub(super) enum Kind {
    /// A standard stream.
    Stream(Handle),
    /// A file of the hal's.
    File(Handle),
    /// A folder of the hal's, and names of the system in it.
    Folder(Handle, Vec<Vec<u8>>),
    /// A file of the system's.
    System(Arc<HostFile>),
    /// A folder of the system's.
    SystemFolder(rustix::fd::OwnedFd),
    /// A folder that only exists here, with its names.
    Listing(Mutex<Listing>),
    /// A file whose content was made when it was opened.
    Text(Vec<u8>),
    Device(Device),
    /// A symbolic link itself, not in memory, to look at: what it is and where it leads.
    Link(Status, Vec<u8>),
    /// A file in memory.
    Memory(Arc<Node>),
    /// A folder in memory.
    MemoryFolder(Arc<Node>),
    /// The end of a pipe one reads from.
    Reader(Arc<Pipe>),
    /// The end one writes to.
    Writer(Arc<Pipe>),
    /// Both ends of a named pipe.
    Both(Arc<Pipe>),
    Socket(Box<Socket>),
    /// `eventfd(2)`
    Counter(Counter),
    /// `timerfd_create(2)`
    Timer(Timer),
    /// `signalfd(2)`
    Signals(Signals),
    /// `epoll(7)`
    Set(Set),
    /// `pidfd_open(2)`
    Process(Arc<Process>),
    /// `inotify_init(2)`
    Watches(Arc<Watches>),
    /// A terminal: `pts(4)`.
    Terminal(Arc<Terminal>),
    /// Its other end.
    Master(Arc<Terminal>),
}

/// The names in a folder that is made here.
pub(super) struct Listing {
    pub(super) names: Vec<Vec<u8>>,
    /// What the host keeps for them when they are not those it was opened with.
    kept: Option<Kept>,
}

impl Listing {
    /// Puts others in their place; `ENOMEM` when there is no memory for them.
    pub(super) fn renew(&mut self, world: &World, names: Vec<Vec<u8>>) -> Result<(), Errno> {
        let bytes = bytes_of(&names);
        world.may_keep(bytes)?;
        self.kept = Some(Kept::of(&world.machine, bytes));
        self.names = names;
        Ok(())
    }
}

/// About what the host keeps for each.
const EACH: usize = 512;

/// What the host keeps for a list of texts.
pub(super) fn bytes_of(texts: &[Vec<u8>]) -> usize {
    texts.iter().map(|text| text.capacity() + EACH_TEXT).sum()
}

impl Kind {
    pub(super) fn listing(names: Vec<Vec<u8>>) -> Kind {
        Kind::Listing(Mutex::new(Listing { names, kept: None }))
    }

    /// What the host keeps for content and names that were made for it.
    fn bytes(&self) -> usize {
        match self {
            Kind::Text(text) => text.capacity(),
            Kind::Listing(listing) => bytes_of(&lock(listing).names),
            Kind::Folder(_, names) => bytes_of(names),
            Kind::Link(_, target) => target.capacity(),
            _ => 0,
        }
    }
}

/// The flags of `open(2)` that `fcntl(2)` can change.
const CHANGEABLE: u32 = (libc::O_APPEND | libc::O_NONBLOCK) as u32;
/// And of a file.
const CHANGEABLE_OF_FILES: u32 = CHANGEABLE | (libc::O_DIRECT | libc::O_NOATIME) as u32;
/// Those that only say how it is opened: `open(2)`.
const OF_OPENING: u32 = (libc::O_CREAT | libc::O_NOCTTY | libc::O_TRUNC | libc::O_CLOEXEC) as u32;

/// A try to read or to write. Whoever was told of what held before looks again after it.
pub(super) struct Attempt<'a>(&'a Bell);

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.0.ring();
    }
}

impl Open {
    pub(super) fn new(world: &Arc<World>, kind: Kind, path: &[u8], flags: u32) -> Arc<Self> {
        match &kind {
            Kind::Reader(pipe) => pipe.open_reader(),
            Kind::Writer(pipe) => pipe.open_writer(),
            Kind::Both(pipe) => {
                pipe.open_reader();
                pipe.open_writer();
            }
            Kind::Terminal(terminal) => terminal.open_slave(),
            Kind::Master(terminal) => terminal.open_master(),
            _ => {}
        }
        let counted = !matches!(kind, Kind::Stream(_));
        if counted {
            world.count_open();
            // Without the memory for it everything ends.
            let _ = world.may_keep(EACH + kind.bytes());
        }
        let mut open = Open::passing(world, kind, path, flags);
        open.counted = counted;
        Arc::new(open)
    }

    /// For a moment only, and not counted.
    pub(super) fn passing(world: &Arc<World>, kind: Kind, path: &[u8], flags: u32) -> Open {
        let (position, wanted) = (Mutex::new(0), flags);
        let number = if matches!(kind, Kind::Socket(_)) { world.number() } else { 0 };
        let naming = match wanted & (libc::O_TMPFILE | libc::O_EXCL) as u32 {
            both if both == (libc::O_TMPFILE | libc::O_EXCL) as u32 => Naming::Never,
            one if one == libc::O_TMPFILE as u32 => Naming::Later,
            _ => Naming::AtFirst,
        };
        let flags = AtomicU32::new(wanted & !(OF_OPENING | libc::O_EXCL as u32));
        let kept = Kept::of(&world.machine, EACH + path.len() + kind.bytes());
        Open {
            world: world.clone(),
            kind,
            path: path.to_vec(),
            moved: Mutex::default(),
            position,
            stage: Mutex::new(Stage::Dots(0)),
            flags,
            identity: OnceLock::new(),
            counted: false,
            is_told: AtomicBool::new(false),
            _kept: kept,
            renewed: Mutex::default(),
            was_begun: AtomicBool::new(false),
            attempts: Default::default(),
            attempted: Default::default(),
            owner: AtomicI32::new(0),
            naming,
            number,
        }
    }

    /// The number of a pipe or socket without a name.
    pub(super) fn number(&self) -> Option<u64> {
        match &self.kind {
            Kind::Reader(pipe) | Kind::Writer(pipe) | Kind::Both(pipe) => {
                self.path.starts_with(b"pipe:[").then_some(pipe.number)
            }
            Kind::Socket(_) => Some(self.number),
            _ => None,
        }
    }

    /// Whether it may get another name, when it has so many: `linkat(2)`.
    pub(super) fn may_be_named(&self, names: u64) -> bool {
        match self.naming {
            Naming::AtFirst => names > 0,
            Naming::Later => true,
            Naming::Never => false,
        }
    }

    /// A program tries to read or to write, until what is returned is dropped: when the same holds again afterwards,
    /// that is news.
    pub(super) fn attempt(&self, interest: Interest) -> Attempt<'_> {
        self.attempts[interest as usize].fetch_add(1, SeqCst);
        Attempt(&self.attempted[interest as usize])
    }

    /// How often what can be read and what can be written may have changed.
    pub(super) fn changes(&self) -> [u64; 2] {
        let rings = match &self.kind {
            Kind::Reader(pipe) | Kind::Writer(pipe) | Kind::Both(pipe) => return pipe.news(),
            Kind::Socket(socket) => socket.changes(),
            Kind::Terminal(terminal) | Kind::Master(terminal) => terminal.bell.rings(),
            Kind::Counter(counter) => counter.bell.rings(),
            Kind::Timer(timer) => timer.changes(),
            Kind::Set(set) => return [set.next_look(); 2],
            Kind::Process(process) => process.children.rings(),
            Kind::Watches(watches) => watches.bell.rings(),
            _ => 0,
        };
        [0, 1].map(|direction| self.attempts[direction].load(SeqCst) + rings)
    }

    /// Whether it can be waited for at all: `epoll_ctl(2)`.
    pub(super) fn is_waited_for(&self) -> bool {
        !matches!(
            self.kind,
            Kind::File(_)
                | Kind::Folder(..)
                | Kind::System(_)
                | Kind::SystemFolder(_)
                | Kind::Listing(_)
                | Kind::Text(_)
                | Kind::Memory(_)
                | Kind::MemoryFolder(_)
                | Kind::Device(Device::Null | Device::Zero | Device::Full)
        )
    }

    /// Whether it has a position.
    pub(super) fn has_position(&self) -> bool {
        !matches!(
            self.kind,
            Kind::Stream(_)
                | Kind::Reader(_)
                | Kind::Writer(_)
                | Kind::Both(_)
                | Kind::Socket(_)
                | Kind::Counter(_)
                | Kind::Timer(_)
                | Kind::Signals(_)
                | Kind::Set(_)
                | Kind::Process(_)
                | Kind::Watches(_)
                | Kind::Terminal(_)
                | Kind::Master(_)
        )
    }

    pub(super) fn flags(&self) -> u32 {
        self.flags.load(SeqCst)
    }

    pub(super) fn set_flags(&self, flags: u32) {
        let changeable = match &self.kind {
            _ if self.becomes_ready() => CHANGEABLE | libc::O_ASYNC as u32,
            Kind::File(_) | Kind::System(_) | Kind::Memory(_) => CHANGEABLE_OF_FILES,
            _ => CHANGEABLE,
        };
        self.flags.store(self.flags() & !changeable | flags & changeable, SeqCst);
    }

    /// Where it is now.
    pub(super) fn place(&self) -> Vec<u8> {
        lock(&self.moved).as_ref().map_or_else(|| self.path.clone(), |(path, _)| path.clone())
    }

    /// It is elsewhere from here on.
    pub(super) fn move_to(&self, place: Vec<u8>) {
        let kept = Kept::of(&self.world.machine, place.len());
        *lock(&self.moved) = Some((place, kept));
    }

    /// Whether it is something that Linux sends `SIGIO` for.
    pub(super) fn becomes_ready(&self) -> bool {
        let is_pipe = matches!(self.kind, Kind::Reader(_) | Kind::Writer(_) | Kind::Both(_));
        is_pipe || matches!(self.kind, Kind::Socket(_) | Kind::Terminal(_) | Kind::Master(_))
    }

    /// Who asked to be told when it becomes ready: a process, or a group where it is negative; 0 for nobody.
    pub(super) fn owner(&self) -> i32 {
        self.owner.load(SeqCst)
    }

    pub(super) fn set_owner(&self, owner: i32) {
        self.owner.store(owner, SeqCst);
    }

    /// Whether it is a file that is only written to at its end.
    pub(super) fn appends(&self) -> bool {
        matches!(self.kind, Kind::File(_) | Kind::Memory(_)) && self.flags() & libc::O_APPEND as u32 != 0
    }

    /// Whether it only names a file: `O_PATH`.
    pub(super) fn is_path(&self) -> bool {
        self.flags() & libc::O_PATH as u32 != 0
    }

    /// Whether it is a folder.
    pub(super) fn is_folder(&self) -> bool {
        matches!(self.kind, Kind::Folder(..) | Kind::SystemFolder(_) | Kind::Listing(_) | Kind::MemoryFolder(_))
    }

    pub(super) fn is_nonblocking(&self) -> bool {
        self.flags() & libc::O_NONBLOCK as u32 != 0
    }

    /// Whether it was opened for that; `EBADF` otherwise.
    pub(super) fn check_access(&self, write: bool) -> Result<(), Errno> {
        let mode = self.flags() & libc::O_ACCMODE as u32;
        let wrong = if write { libc::O_RDONLY } else { libc::O_WRONLY } as u32;
        if mode == wrong || self.flags() & libc::O_PATH as u32 != 0 { Err(Errno::BADF) } else { Ok(()) }
    }

    /// Which file it is, however it was opened.
    pub(super) fn identity(&self) -> Result<Identity, Errno> {
        if let Some(&identity) = self.identity.get() {
            return Ok(identity);
        }
        let identity = match &self.kind {
            Kind::File(handle) | Kind::Folder(handle, _) => match self.world.call(Call::Stat { handle: *handle })? {
                Reply::Stat(stat) => stat.identity,
                _ => return Err(Errno::IO),
            },
            Kind::Memory(node) | Kind::MemoryFolder(node) => (super::status::MEMORY_DEVICE, node.number),
            Kind::System(file) => {
                let stat = rustix::fs::fstat(file.descriptor())?;
                (stat.st_dev, stat.st_ino)
            }
            Kind::Link(status, _) => status.identity(),
            _ => (u64::MAX, self.address() as u64),
        };
        Ok(*self.identity.get_or_init(|| identity))
    }

    /// What tells it from everything else that is open.
    pub(super) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    pub(super) fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// Whether it may be mapped like that: `mmap(2)`.
    pub(super) fn check_mapping(&self, write: bool) -> Result<(), Errno> {
        let mode = self.flags() & (libc::O_ACCMODE | libc::O_PATH) as u32;
        let is_writable = mode == libc::O_RDWR as u32;
        if is_writable || (mode == libc::O_RDONLY as u32 && !write) { Ok(()) } else { Err(Errno::ACCESS) }
    }

    /// The handle of the hal's it stands for.
    pub(super) fn handle(&self) -> Option<Handle> {
        match &self.kind {
            Kind::Stream(handle) | Kind::File(handle) | Kind::Folder(handle, _) => Some(*handle),
            _ => None,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.counted {
            self.world.count_closed();
        }
        if self.is_told.load(SeqCst) {
            let can_write = self.check_access(true).is_ok();
            self.happened(if can_write { libc::IN_CLOSE_WRITE } else { libc::IN_CLOSE_NOWRITE });
        }
        for owner in [Owner::Open(self.address()), Owner::Whole(self.address())] {
            self.world.locks.release(owner, None);
        }
        match &self.kind {
            Kind::File(handle) | Kind::Folder(handle, _) if Some(*handle) != self.world.root => {
                // Nothing can be done about a handle that does not close; the hal closes all at the end.
                let _ = self.world.host.call(Call::Close { handle: *handle }).now();
            }
            Kind::Reader(pipe) => pipe.close_reader(),
            Kind::Writer(pipe) => pipe.close_writer(),
            Kind::Both(pipe) => {
                pipe.close_reader();
                pipe.close_writer();
            }
            Kind::Terminal(terminal) => terminal.close_slave(),
            Kind::Master(terminal) => terminal.close_master(&self.world),
            Kind::Socket(socket) => socket.close(&self.world),
            _ => {}
        }
    }
}
