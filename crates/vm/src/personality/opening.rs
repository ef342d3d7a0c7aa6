//! From a path to something open: `path_resolution(7)`, `open(2)`.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use ringfence_abi::{Call, Handle, OpenHow, Reply};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::memory_files::Way;
use super::open::{Charged, Kind, Mapped, Open};
use super::process::lock;
use super::special;
use super::status::BITS;
use super::thread::Thread;
use super::world::World;
use super::{Answer, Arguments, int, owners, resolve};
use crate::memory::Content;
use crate::scratch::Spot;
use crate::tree::{HostFile, normal};

/// How many links a path may lead through: `path_resolution(7)`.
pub(super) const MOST_LINKS: u32 = 40;

/// What one step on the way to something open came to.
enum Found {
    Open(Arc<Open>),
    /// By a link to this path.
    Link(Path),
}

/// A path as a program gave it, made absolute.
#[derive(Clone)]
pub(super) struct Path {
    /// As it was written: links in it are followed where they are.
    pub(super) written: Vec<u8>,
    /// Without `.` and `..`.
    pub(super) normal: Vec<u8>,
}

impl Path {
    /// Whether it is written so that it leads to a folder, also by a link.
    pub(super) fn has_to_be_a_folder(&self) -> bool {
        resolve::has_to_be_a_folder(&self.written)
    }

    /// Whose it is to serve.
    pub(super) fn is_system(&self, thread: &Thread) -> bool {
        thread.world.system.has(&self.normal)
    }
}

impl Thread {
    /// The path at an address, seen from a folder: `openat(2)`.
    pub(super) fn path(&self, folder: i32, address: u64) -> Result<Path, Errno> {
        let path = self.unchecked_path(folder, address)?;
        self.may_pass(&path)?;
        Ok(path)
    }

    /// The same, of which nobody has asked yet whether the process may get there.
    pub(super) fn unchecked_path(&self, folder: i32, address: u64) -> Result<Path, Errno> {
        let text = self.process.space()?.text(address)?;
        if text.is_empty() {
            return Err(Errno::NOENT);
        }
        self.walked(folder, &text)
    }

    /// The same, of a text.
    pub(super) fn absolute(&self, folder: i32, text: &[u8]) -> Result<Path, Errno> {
        let folder = match folder {
            _ if text.starts_with(b"/") => Vec::new(),
            libc::AT_FDCWD => lock(&self.process.place()).folder.clone(),
            number => {
                let open = self.process.descriptors().get(number)?;
                match open.kind {
                    Kind::Folder(..) | Kind::SystemFolder(_) | Kind::Listing(_) | Kind::MemoryFolder(_) => open.place(),
                    _ => return Err(Errno::NOTDIR),
                }
            }
        };
        if text.split(|&byte| byte == b'/').any(|name| name.len() > LONGEST_NAME) {
            return Err(Errno::NAMETOOLONG);
        }
        let written = if text.starts_with(b"/") { text.to_vec() } else { [&folder, &b"/"[..], text].concat() };
        Ok(Path { normal: special::by_number(self, normal(&folder, text)), written })
    }

    /// The folder at the top of what the hal serves.
    pub(super) fn root(&self) -> Result<Handle, Errno> {
        self.world.root.ok_or(Errno::NOENT)
    }

    /// Opens a path.
    pub(super) fn open(&self, path: &Path, flags: u32, follow: bool) -> Result<Arc<Open>, Errno> {
        self.open_as(path, flags, 0o666, follow)
    }

    /// The same; what is made gets this mode.
    pub(super) fn open_as(&self, path: &Path, flags: u32, mode: u32, follow: bool) -> Result<Arc<Open>, Errno> {
        let mut path = path.clone();
        for _ in 0..MOST_LINKS {
            match self.open_or_follow(&path, flags, mode, follow)? {
                Found::Open(open) => return Ok(open),
                Found::Link(next) => path = next,
            }
        }
        Err(Errno::LOOP)
    }

    /// Opens what is open once more, with a position and flags of its own: `proc_pid_fd(5)`. What has neither, and a file of
    /// the hal's that has no name any more, is what it was.
    fn open_anew(&self, open: Arc<Open>, flags: u32, mode: u32) -> Result<Found, Errno> {
        let flags = flags & !((libc::O_CREAT | libc::O_EXCL) as u32);
        let new = |kind: Kind| Ok(Found::Open(Open::new(&self.world, kind, &open.path, flags)));
        let only_looks = flags & libc::O_PATH as u32 != 0;
        if flags & libc::O_DIRECTORY as u32 != 0 && !open.is_folder() {
            return Err(Errno::NOTDIR);
        }
        match &open.kind {
            Kind::Memory(node) if only_looks => new(Kind::Memory(node.clone())),
            Kind::Memory(node) => {
                let place = open.place();
                // Where it is, is asked for as if it were opened there; a memory file is nowhere.
                if self.world.scratch.has(&place) {
                    let spot = Spot::of(place, node.clone());
                    return self.open_memory(&spot, flags, mode).map(Found::Open);
                }
                if flags & libc::O_TRUNC as u32 != 0 {
                    super::memory_files::set_size(&self.world, node, 0)?;
                }
                new(Kind::Memory(node.clone()))
            }
            Kind::Reader(pipe) | Kind::Writer(pipe) | Kind::Both(pipe) if !only_looks => {
                let mode = flags as i32 & libc::O_ACCMODE;
                let place = open.place();
                if self.world.scratch.has(&place) {
                    // One with a name is asked for as if it were opened there.
                    self.may_open(&place, mode != libc::O_WRONLY, mode != libc::O_RDONLY)?;
                    let wanted = match mode {
                        libc::O_RDONLY => owners::READ,
                        libc::O_WRONLY => owners::WRITE,
                        _ => owners::READ | owners::WRITE,
                    };
                    self.may_use(&self.absolute(libc::AT_FDCWD, &place)?, true, wanted)?;
                }
                match mode {
                    libc::O_RDONLY => new(Kind::Reader(pipe.clone())),
                    libc::O_WRONLY => new(Kind::Writer(pipe.clone())),
                    _ => new(Kind::Both(pipe.clone())),
                }
            }
            Kind::Listing(_) | Kind::Text(_) | Kind::Device(_) => {
                let path = self.absolute(libc::AT_FDCWD, &open.path)?;
                match self.open_as(&path, flags, mode, true) {
                    // What it is about is gone.
                    Err(Errno::NOENT) => Ok(Found::Open(open)),
                    again => again.map(Found::Open),
                }
            }
            Kind::Link(..) if !only_looks => Err(Errno::LOOP),
            Kind::File(_) | Kind::Folder(..) | Kind::System(_) | Kind::SystemFolder(_) | Kind::MemoryFolder(_) => {
                let path = self.absolute(libc::AT_FDCWD, &open.place())?;
                // The name may be another file's by now, which is left as it is.
                let cuts = flags & libc::O_TRUNC as u32 != 0;
                match self.open_as(&path, flags & !(libc::O_TRUNC as u32), mode, true) {
                    Ok(again) if again.identity() == open.identity() => {
                        if cuts {
                            again.set_size(0)?;
                        }
                        Ok(Found::Open(again))
                    }
                    Ok(_) | Err(Errno::NOENT) => Ok(Found::Open(open)),
                    Err(errno) => Err(errno),
                }
            }
            Kind::Socket(_) | Kind::Counter(_) | Kind::Timer(_) | Kind::Signals(_) | Kind::Set(_) if !only_looks => {
                Err(Errno::NXIO)
            }
            _ => Ok(Found::Open(open)),
        }
    }

    /// The link itself that is at a path, not in memory, where it is opened to be looked at.
    fn open_link(&self, path: &Path, flags: u32) -> Result<Option<Found>, Errno> {
        if self.world.scratch.has(&path.normal) {
            return Ok(None);
        }
        match self.status_at(path, false) {
            Ok(status) if status.is_link() && flags & libc::O_DIRECTORY as u32 != 0 => Err(Errno::NOTDIR),
            Ok(status) if status.is_link() => {
                let kind = Kind::Link(status, self.target(path)?);
                Ok(Some(Found::Open(Open::new(&self.world, kind, &path.normal, flags))))
            }
            _ => Ok(None),
        }
    }

    /// One step of it: a link of `/proc` or one that leads out of memory is where to go on.
    fn open_or_follow(&self, path: &Path, flags: u32, mode: u32, follow: bool) -> Result<Found, Errno> {
        let has = |flag: i32| flags & flag as u32 != 0;
        let world = &self.world;
        if !follow
            && has(libc::O_PATH)
            && let Some(link) = self.open_link(path, flags)?
        {
            return Ok(link);
        }
        if let Some(open) = special::opened(self, &path.normal) {
            let open = open?;
            return match () {
                () if has(libc::O_CREAT) && has(libc::O_EXCL) => Err(Errno::EXIST),
                () if !follow => Err(Errno::LOOP),
                () => self.open_anew(open, flags, mode),
            };
        }
        let changes = flags & libc::O_ACCMODE as u32 != libc::O_RDONLY as u32 || has(libc::O_TRUNC);
        if let Some(opened) = super::terminal::open(self, &path.normal, flags) {
            return opened.map(Found::Open);
        }
        if let Some(kind) = special::open(self, &path.normal)? {
            let is_folder = matches!(kind, Kind::Listing(_));
            return match kind {
                _ if has(libc::O_CREAT) && has(libc::O_EXCL) => Err(Errno::EXIST),
                Kind::Listing(_) if changes => Err(Errno::ISDIR),
                Kind::Text(_) if changes && super::notes::of(self, &path.normal).is_none() => Err(Errno::ACCESS),
                _ if (has(libc::O_DIRECTORY) || path.has_to_be_a_folder()) && !is_folder => Err(Errno::NOTDIR),
                kind => Ok(Found::Open(Open::new(world, kind, &path.normal, flags))),
            };
        }
        if follow && let Some(target) = special::link(self, &path.normal) {
            return self.absolute(libc::AT_FDCWD, &target?).map(Found::Link);
        }
        if world.scratch.has(&path.normal) {
            let follow = follow && !(has(libc::O_CREAT) && has(libc::O_EXCL));
            return match self.lead(path, follow)? {
                Way::Path(path) => Ok(Found::Link(path)),
                Way::Memory(spot) => {
                    self.open_memory(&spot, flags, mode).map(Found::Open).map_err(|errno| match errno {
                        Errno::ACCESS if !has(libc::O_CREAT) => self.unseen(path, errno),
                        errno => errno,
                    })
                }
            };
        }
        if path.is_system(self) {
            return match self.open_system(path, flags, follow, changes) {
                Err(Errno::NOENT) if follow => {
                    self.beside(path).map(Found::Link).ok_or_else(|| self.unseen(path, Errno::NOENT))
                }
                opened => opened.map(Found::Open),
            };
        }
        let how = OpenHow {
            read: flags & libc::O_ACCMODE as u32 != libc::O_WRONLY as u32 && !has(libc::O_PATH),
            write: flags & libc::O_ACCMODE as u32 != libc::O_RDONLY as u32 && !has(libc::O_PATH),
            create: has(libc::O_CREAT) && !has(libc::O_PATH),
            exclusive: has(libc::O_EXCL) && has(libc::O_CREAT),
            truncate: has(libc::O_TRUNC) && !has(libc::O_PATH),
            directory: has(libc::O_DIRECTORY),
            follow,
            mode: has(libc::O_CREAT).then(|| mode & BITS & !lock(&self.process.place()).mask),
        };
        let opened = world.call(Call::Open { directory: self.root()?, path: &path.written, how });
        let opened = opened.or_else(|errno| self.bare_root(path, errno));
        let opened = opened.map_err(|errno| if how.create { errno } else { self.unseen(path, errno) });
        let (handle, is_new) = match opened? {
            Reply::Handle(handle) => (handle, false),
            Reply::Created(handle) => (handle, true),
            _ => return Err(Errno::IO),
        };
        let stat = if how.directory { None } else { world.call(Call::Stat { handle }).ok() };
        let is_folder = match &stat {
            Some(Reply::Stat(stat)) => stat.kind == ringfence_abi::FileKind::Directory,
            _ => how.directory,
        };
        if let Some(Reply::Stat(stat)) = stat
            && is_new
        {
            let inherited = self.inherited(&path.normal);
            let mode = self.mode_of_new(mode & 0o7777 & !lock(&self.process.place()).mask, inherited);
            // What the host's `umask` took away. Where that cannot be, it is known here alone.
            let takes_away = mode & BITS != stat.mode && how.write;
            let given = takes_away && world.call(Call::SetMode { handle, mode: mode & BITS }).is_ok();
            self.own(stat.identity, Some(mode), if given { mode & BITS } else { stat.mode }, inherited)?;
        }
        let names = if path.normal == b"/" { world.names_at_the_top() } else { Vec::new() };
        let kind = if is_folder { Kind::Folder(handle, names) } else { Kind::File(handle) };
        let open = Open::new(world, kind, &path.normal, flags);
        if how.truncate
            && let Some(pages) = world.shared.of(&open)
        {
            pages.set_size(0);
        }
        Ok(Found::Open(open))
    }

    /// What is not granted at all is as if it were not there: programs look for many files that they
    /// do without. The denial was told all the same.
    pub(super) fn unseen(&self, path: &Path, errno: Errno) -> Errno {
        match errno {
            Errno::ACCESS | Errno::NOENT if self.is_below_a_file(path) => Errno::NOTDIR,
            Errno::ACCESS if !self.is_known(path) => Errno::NOENT,
            errno => errno,
        }
    }

    /// Whether a name on the way is one of the personality's own files.
    fn is_below_a_file(&self, path: &Path) -> bool {
        if ![&b"/proc/"[..], b"/dev/", b"/etc/"].iter().any(|folder| path.normal.starts_with(folder)) {
            return false;
        }
        let slashes = path.normal.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
        let mut above = slashes.filter_map(|(end, _)| special::look(self, &path.normal[..end]));
        above.any(|kind| !matches!(kind, Kind::Listing(_)))
    }

    /// Whether something is granted there, or on the way.
    pub(super) fn is_known(&self, path: &Path) -> bool {
        self.world.is_known(&path.normal)
    }

    /// The root is there also when nothing in it is granted: it holds the system.
    fn bare_root(&self, path: &Path, errno: Errno) -> Result<Reply, Errno> {
        if path.normal == b"/" { self.root().map(Reply::Handle) } else { Err(errno) }
    }

    fn open_system(&self, path: &Path, flags: u32, follow: bool, changes: bool) -> Result<Arc<Open>, Errno> {
        let has = |flag: i32| flags & flag as u32 != 0;
        let system = &self.world.system;
        self.world.control.charge_io(1, 0);
        let looked = match system.look(&path.normal, follow) {
            Err(Errno::NOENT) if has(libc::O_CREAT) => return Err(self.unchangeable(path)),
            other => other?,
        };
        if has(libc::O_CREAT) && has(libc::O_EXCL) {
            return Err(Errno::EXIST);
        }
        let kind = match FileType::from_raw_mode(looked.stat.st_mode) {
            FileType::Directory if changes => return Err(Errno::ISDIR),
            _ if changes => return Err(Errno::ROFS),
            FileType::Directory => Kind::SystemFolder(system.read(&looked)?),
            _ if has(libc::O_DIRECTORY) || path.has_to_be_a_folder() => return Err(Errno::NOTDIR),
            FileType::Symlink => return Err(Errno::LOOP),
            _ => Kind::System(Arc::new(HostFile::new(system.read(&looked)?, &looked.real))),
        };
        Ok(Open::new(&self.world, kind, &looked.real, flags))
    }

    /// Opens a file to run it.
    pub(super) fn open_program(&self, path: &[u8]) -> Result<Arc<dyn Content>, Errno> {
        let open = self.open(&self.absolute(libc::AT_FDCWD, path)?, libc::O_RDONLY as u32, true)?;
        program(&self.world, &open)
    }
}

/// What is open, to run it.
pub(super) fn program(world: &Arc<World>, open: &Arc<Open>) -> Result<Arc<dyn Content>, Errno> {
    match &open.kind {
        Kind::System(file) => Ok(Arc::new(Charged(world.clone(), file.clone()))),
        Kind::File(_) | Kind::Memory(_) => Ok(Arc::new(Mapped(open.clone()))),
        _ => Err(Errno::ACCESS),
    }
}

/// `open(2)`
pub(super) fn open(thread: &mut Thread, [path, flags, mode, ..]: Arguments) -> Answer {
    openat(thread, [libc::AT_FDCWD as u64, path, flags, mode, 0, 0])
}

/// `creat(2)`
pub(super) fn creat(thread: &mut Thread, [path, mode, ..]: Arguments) -> Answer {
    let flags = (libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC) as u64;
    openat(thread, [libc::AT_FDCWD as u64, path, flags, mode, 0, 0])
}

/// `openat2(2)`: `struct open_how` is copied first, and what follows what is known has to be zero.
pub(super) fn openat2(thread: &mut Thread, [folder, path, how, size, ..]: Arguments) -> Answer {
    const HOW: u64 = 24;
    let space = thread.process.space()?;
    match size {
        ..HOW => return Err(Errno::INVAL),
        HOW => {}
        _ if size <= 4096 => {
            let mut more = vec![0; (size - HOW) as usize];
            space.read(how.wrapping_add(HOW), &mut more)?;
            if more.iter().any(|&byte| byte != 0) {
                return Err(Errno::TOOBIG);
            }
        }
        _ => return Err(Errno::TOOBIG),
    }
    let word = |at: u64| space.read_u64(how.wrapping_add(at));
    let (flags, mode, resolve) = (word(0)?, word(8)?, word(16)?);
    const OF_A_PATH: i32 = libc::O_PATH | PATH_FLAGS;
    /// Every flag of `open(2)`.
    const FLAGS: u64 = 0x7f_ffc3;
    if flags & libc::O_PATH as u64 != 0 && flags & !(OF_A_PATH as u64) != 0 {
        return Err(Errno::INVAL);
    }
    let makes = flags & (libc::O_CREAT | libc::O_TMPFILE & !libc::O_DIRECTORY) as u64 != 0;
    if flags & !FLAGS != 0 || resolve & !resolve::KNOWN != 0 || mode & !0o7777 != 0 || (mode != 0 && !makes) {
        return Err(Errno::INVAL);
    }
    if resolve == 0 {
        return openat(thread, [folder, path, flags, mode, 0, 0]);
    }
    let flags = flags_of(flags as u32)?;
    let text = space.text(path)?;
    if text.is_empty() {
        return Err(Errno::NOENT);
    }
    let is_new = libc::O_CREAT as u32 | libc::O_EXCL as u32;
    let follow = flags & libc::O_NOFOLLOW as u32 == 0 && flags & is_new != is_new;
    let follow = follow || resolve::has_to_be_a_folder(&text);
    let path = thread.resolve(int(folder), &text, resolve, follow)?;
    thread.may_pass(&path)?;
    // A link that was not there when the path was walked is not followed.
    let follow = follow && special::link(thread, &path.normal).is_some();
    open_path(thread, path, flags, mode, follow)
}

/// `O_LARGEFILE` as Linux keeps it for whatever is opened by a program of 64 bits.
const LARGE_FILE: u32 = 0o100_000;
/// How long a name can be: `NAME_MAX`.
const LONGEST_NAME: usize = 255;

/// What `O_PATH` can be said with.
const PATH_FLAGS: i32 = libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;

/// The flags that count of those a program gave: with `O_PATH` few others do, and some contradict each other.
fn flags_of(flags: u32) -> Result<u32, Errno> {
    const UNNAMED: i32 = libc::O_TMPFILE & !libc::O_DIRECTORY;
    let flags = flags as i32;
    if flags & libc::O_PATH != 0 {
        return Ok((flags & (libc::O_PATH | PATH_FLAGS)) as u32);
    }
    let makes = flags & (libc::O_TMPFILE | libc::O_CREAT);
    let contradicts = match flags & UNNAMED {
        0 => makes == libc::O_CREAT | libc::O_DIRECTORY,
        _ => makes != libc::O_TMPFILE || flags & libc::O_ACCMODE == libc::O_RDONLY,
    };
    if contradicts { Err(Errno::INVAL) } else { Ok(flags as u32 | LARGE_FILE) }
}

/// `openat(2)`
pub(super) fn openat(thread: &mut Thread, [folder, path, flags, mode, ..]: Arguments) -> Answer {
    let flags = flags_of(flags as u32)?;
    let path = thread.path(int(folder), path)?;
    open_path(thread, path, flags, mode, flags & libc::O_NOFOLLOW as u32 == 0)
}

fn open_path(thread: &mut Thread, mut path: Path, flags: u32, mode: u64, follow: bool) -> Answer {
    // What has to be a folder is one also when a link leads there.
    if path.written.ends_with(b"/.") {
        path.written.pop();
    }
    let follow = follow || path.written.ends_with(b"/");
    // What is new is told as such.
    let has = |flag: i32| flags & flag as u32 == flag as u32;
    let was_there = !thread.world.is_watched() || !has(libc::O_CREAT) || thread.status_at(&path, follow).is_ok();
    if has(libc::O_CREAT) && path.written.ends_with(b"/") {
        return Err(Errno::ISDIR);
    }
    let mut wanted = match flags as i32 & libc::O_ACCMODE {
        libc::O_RDONLY => owners::READ,
        libc::O_WRONLY => owners::WRITE,
        _ => owners::READ | owners::WRITE,
    };
    if has(libc::O_TRUNC) {
        wanted |= owners::WRITE;
    }
    let is_new = has(libc::O_CREAT | libc::O_EXCL);
    if !has(libc::O_PATH) && !is_new {
        thread.may_use(&path, follow, wanted)?;
        if wanted & owners::WRITE != 0 {
            thread.may_rewrite(&path, follow)?;
        }
    }
    match has(libc::O_CREAT) {
        true if is_new => thread.may_add(&path)?,
        true => thread.may_make(&path, follow)?,
        false => {}
    }
    let open = thread.open_as(&path, flags, mode as u32, follow)?;
    if !was_there && open.names_a_file() && !has(libc::O_TMPFILE) {
        thread.made_at(&open.path, false);
    }
    if !has(libc::O_TMPFILE) {
        open.happened(libc::IN_OPEN);
        open.is_told.store(true, SeqCst);
    }
    if was_there && has(libc::O_TRUNC) {
        open.happened(libc::IN_MODIFY);
    }
    thread.process.descriptors().add(open, 0, flags & libc::O_CLOEXEC as u32 != 0)
}
