//! Watching files and folders: `inotify(7)`, `inotify_init(2)`, `inotify_add_watch(2)`.
//!
//! What the instance itself does is seen, by whichever of its processes; what others do to the host's folders is not.
//! A file is known by what it is and by the path it was opened or changed at, a folder by its path.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};

use rustix::io::Errno;

use super::memory_files::Way;
use super::open::{Kind, Open};
use super::opening::Path;
use super::process::lock;
use super::readiness::{IN, Watch as Look};
use super::shared::Identity;
use super::thread::Thread;
use super::waiting::Bell;
use super::world::World;
use super::{Answer, Arguments, int, owners};
use crate::kvm::Kept;

/// How many events wait: `fs.inotify.max_queued_events`. The one after them says that some are missing.
pub(super) const MOST_EVENTS: usize = 4096;
/// How many can be watched at once: `max_user_watches`.
pub(super) const MOST_WATCHES: usize = 8192;
/// How many descriptors: `max_user_instances`.
pub(super) const MOST_SETS: usize = 128;
/// About what the host keeps for each of them.
const WATCH: usize = 192;
const EVENT: usize = 64;
/// `struct inotify_event` without the name, to a multiple of which that is filled up.
const HEAD: usize = 16;

/// Everything that can happen: `IN_ALL_EVENTS`.
const EVENTS: u32 = libc::IN_ALL_EVENTS;
/// What else a wish can say.
const HOW: u32 = libc::IN_ONLYDIR
    | libc::IN_DONT_FOLLOW
    | libc::IN_EXCL_UNLINK
    | libc::IN_MASK_CREATE
    | libc::IN_MASK_ADD
    | libc::IN_ISDIR
    | libc::IN_ONESHOT;

/// All that watch.
#[derive(Default)]
pub(super) struct Watchers {
    sets: Mutex<Vec<Weak<Watches>>>,
    /// How much is watched: mostly nothing is.
    count: Arc<AtomicUsize>,
    cookies: AtomicU32,
}

/// What one descriptor watches, and what happened there.
pub(super) struct Watches {
    state: Mutex<State>,
    all: Arc<AtomicUsize>,
    /// Rung at every event.
    pub(super) bell: Bell,
}

struct State {
    watches: BTreeMap<i32, Watch>,
    /// The number of the newest one.
    last: i32,
    events: VecDeque<Event>,
    /// How long the names in them are together.
    names: usize,
    kept: Kept,
}

struct Watch {
    path: Vec<u8>,
    identity: Identity,
    mask: u32,
}

#[derive(Clone, PartialEq, Eq)]
struct Event {
    watch: i32,
    mask: u32,
    cookie: u32,
    name: Vec<u8>,
}

impl Event {
    fn name_length(&self) -> usize {
        if self.name.is_empty() { 0 } else { (self.name.len() + 1).next_multiple_of(HEAD) }
    }

    /// `struct inotify_event`
    fn bytes(&self) -> Vec<u8> {
        let length = self.name_length();
        let words = [self.watch as u32, self.mask, self.cookie, length as u32];
        let mut bytes = words.map(u32::to_le_bytes).concat();
        bytes.extend_from_slice(&self.name);
        bytes.resize(HEAD + length, 0);
        bytes
    }
}

/// Something that happened.
#[derive(Clone, Copy)]
pub(super) struct Happening<'a> {
    /// `IN_*`
    pub(super) mask: u32,
    pub(super) path: &'a [u8],
    pub(super) is_folder: bool,
    /// The same for both sides of a move.
    pub(super) cookie: u32,
}

impl State {
    /// What the host keeps for it counts as memory.
    fn count(&mut self) {
        let watches: usize = self.watches.values().map(|watch| WATCH + watch.path.len()).sum();
        self.kept.set(watches + self.events.capacity() * EVENT + self.names);
    }

    fn put(&mut self, event: Event) {
        if self.events.back() == Some(&event) || self.events.len() > MOST_EVENTS {
            return;
        }
        if self.events.len() == MOST_EVENTS {
            self.events.push_back(Event { watch: -1, mask: libc::IN_Q_OVERFLOW, cookie: 0, name: Vec::new() });
            return;
        }
        self.names += event.name.len();
        self.events.push_back(event);
    }

    /// Tells one watch, if it wishes to hear of that.
    fn tell(&mut self, number: i32, happening: Happening<'_>, name: &[u8]) -> bool {
        let Some(watch) = self.watches.get(&number) else { return false };
        if watch.mask & happening.mask & EVENTS == 0 {
            return false;
        }
        // Of a folder itself it was never said that it is one when it is gone or moved.
        let says_folder = happening.is_folder && happening.mask & (libc::IN_DELETE_SELF | libc::IN_MOVE_SELF) == 0;
        let mask = happening.mask | if says_folder { libc::IN_ISDIR } else { 0 };
        let is_once = watch.mask & libc::IN_ONESHOT != 0;
        self.put(Event { watch: number, mask, cookie: happening.cookie, name: name.to_vec() });
        is_once
    }

    /// It is watched no longer, which is told.
    fn end(&mut self, number: i32) -> bool {
        let there = self.watches.remove(&number).is_some();
        if there {
            self.put(Event { watch: number, mask: libc::IN_IGNORED, cookie: 0, name: Vec::new() });
        }
        there
    }
}

/// What something is, whether a folder, and how many names it has.
pub(super) type Watched = (Identity, bool, u64);

/// A path as the folder it is in, and the name there.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let at = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
    (if at == 0 { b"/" } else { &path[..at] }, path.get(at + 1..).unwrap_or_default())
}

impl Watches {
    fn each(&self, world: &World, mut tell: impl FnMut(&mut State, i32) -> bool) {
        let mut state = lock(&self.state);
        let before = state.events.len();
        let numbers: Vec<i32> = state.watches.keys().copied().collect();
        let ended: Vec<i32> = numbers.into_iter().filter(|&number| tell(&mut state, number)).collect();
        let gone = ended.into_iter().filter(|&number| state.end(number)).count();
        self.all.fetch_sub(gone, SeqCst);
        if state.events.len() == before {
            return;
        }
        state.count();
        drop(state);
        // Without the memory for it everything ends.
        let _ = world.may_keep(EVENT);
        self.bell.ring();
    }

    pub(super) fn readiness(&self, look: &Look<'_>) -> i16 {
        look.enlist(&self.bell);
        if lock(&self.state).events.is_empty() { 0 } else { IN }
    }

    /// How many bytes can be read: `FIONREAD`.
    pub(super) fn length(&self) -> usize {
        lock(&self.state).events.iter().map(|event| HEAD + event.name_length()).sum()
    }

    fn take(&self, into: &mut [u8]) -> Option<Result<usize, Errno>> {
        let mut state = lock(&self.state);
        let mut done = 0;
        while let Some(event) = state.events.front() {
            let bytes = event.bytes();
            let Some(place) = into.get_mut(done..done + bytes.len()) else { break };
            place.copy_from_slice(&bytes);
            done += bytes.len();
            let taken = state.events.pop_front().map_or(0, |event| event.name.len());
            state.names -= taken;
        }
        if done > 0 {
            state.count();
        }
        match done {
            0 if state.events.is_empty() => None,
            0 => Some(Err(Errno::INVAL)),
            done => Some(Ok(done)),
        }
    }

    pub(super) fn read(&self, thread: &Thread, into: &mut [u8], at_once: bool) -> Result<usize, Errno> {
        match (self.take(into), at_once) {
            (Some(found), _) => found,
            (None, true) => Err(Errno::AGAIN),
            (None, false) => thread.wait(&[&self.bell], None, || self.take(into))?,
        }
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.all.fetch_sub(state.watches.len(), SeqCst);
    }
}

impl World {
    /// Whether anything is watched.
    pub(super) fn is_watched(&self) -> bool {
        self.watchers.count.load(SeqCst) > 0
    }

    fn sets(&self) -> Vec<Arc<Watches>> {
        if !self.is_watched() {
            return Vec::new();
        }
        let mut sets = lock(&self.watchers.sets);
        sets.retain(|set| set.strong_count() > 0);
        sets.iter().filter_map(Weak::upgrade).collect()
    }

    /// Something happened to what has this identity, and under its name in its folder.
    pub(super) fn happened(&self, identity: Option<Identity>, happening: Happening<'_>) {
        let (folder, name) = split(happening.path);
        for set in self.sets() {
            set.each(self, |state, number| {
                let Some(watch) = state.watches.get(&number) else { return false };
                let (is_it, is_in) = (Some(watch.identity) == identity, watch.path == folder && !name.is_empty());
                let ended = is_in && state.tell(number, happening, name);
                (is_it && state.tell(number, happening, b"")) | ended
            });
        }
    }

    /// Something happened to a name in a folder.
    pub(super) fn happened_in_folder(&self, happening: Happening<'_>) {
        self.happened(None, happening);
    }

    /// Something happened to what has this identity, whatever its name.
    pub(super) fn happened_to(&self, identity: Identity, mask: u32, is_folder: bool) {
        let happening = Happening { mask, path: b"/", is_folder, cookie: 0 };
        self.happened(Some(identity), happening);
        if mask & libc::IN_DELETE_SELF != 0 {
            for set in self.sets() {
                set.each(self, |state, number| state.watches.get(&number).is_some_and(|it| it.identity == identity));
            }
        }
    }

    /// What was at one path is at another.
    pub(super) fn moved(&self, from: &[u8], to: &[u8], identity: Identity, is_folder: bool) {
        if !self.is_watched() {
            return;
        }
        let cookie = self.watchers.cookies.fetch_add(1, SeqCst).wrapping_add(1);
        self.happened_in_folder(Happening { mask: libc::IN_MOVED_FROM, path: from, is_folder, cookie });
        self.happened_in_folder(Happening { mask: libc::IN_MOVED_TO, path: to, is_folder, cookie });
        for set in self.sets() {
            let mut state = lock(&set.state);
            for watch in state.watches.values_mut() {
                if let Some(rest) = watch.path.strip_prefix(from).filter(|rest| rest.is_empty() || rest[0] == b'/') {
                    watch.path = [to, rest].concat();
                }
            }
            state.count();
        }
        self.happened_to(identity, libc::IN_MOVE_SELF, is_folder);
    }
}

impl Thread {
    /// What is at a path, if anything is watched at all: what it is, and whether a folder.
    pub(super) fn watched(&self, path: &[u8]) -> Option<Watched> {
        if !self.world.is_watched() {
            return None;
        }
        let status = self.status_at(&self.absolute(libc::AT_FDCWD, path).ok()?, false).ok()?;
        Some((status.identity(), status.is_folder(), status.links()))
    }

    /// Where a path leads: through links only in memory, where they are followed here.
    fn place_of(&self, path: &Path, follow: bool) -> Result<Vec<u8>, Errno> {
        if let Some(open) = owners::opened(self, path, follow)? {
            return Ok(open.place());
        }
        Ok(match self.lead(path, follow)? {
            Way::Memory(spot) => spot.path,
            Way::Path(path) => path.normal,
        })
    }

    /// Something happened to what is at a path.
    pub(super) fn happened_at(&self, path: &Path, follow: bool, mask: u32) {
        if !self.world.is_watched() {
            return;
        }
        // What is gone already is heard of by whoever removed it.
        if let (Ok(status), Ok(place)) = (self.status_at(path, follow), self.place_of(path, follow)) {
            let happening = Happening { mask, path: &place, is_folder: status.is_folder(), cookie: 0 };
            self.world.happened(Some(status.identity()), happening);
        }
    }

    /// There is something new at a path.
    pub(super) fn made_at(&self, path: &[u8], is_folder: bool) {
        self.world.happened_in_folder(Happening { mask: libc::IN_CREATE, path, is_folder, cookie: 0 });
    }

    /// Whether somebody has it open.
    fn is_open(&self, identity: Identity) -> bool {
        let is_watched = |set: &Arc<Watches>| lock(&set.state).watches.values().any(|watch| watch.identity == identity);
        if !self.world.sets().iter().any(is_watched) {
            // Nobody would be told.
            return false;
        }
        let processes: Vec<_> = self.world.processes().values().cloned().collect();
        let mut opens = processes.iter().flat_map(|process| process.descriptors().slots()).flatten();
        // There may be many: who is to end does not look on.
        opens.any(|(open, _)| {
            self.has_to_end()
                || (open.names_a_file() && !open.is_path() && open.identity().is_ok_and(|it| it == identity))
        })
    }

    /// A name of it is gone.
    pub(super) fn unlinked(&self, path: &[u8], what: Watched) {
        self.replaced(what);
        self.world.happened_in_folder(Happening { mask: libc::IN_DELETE, path, is_folder: what.1, cookie: 0 });
    }

    /// Something else took its name.
    pub(super) fn replaced(&self, (identity, is_folder, links): Watched) {
        if !is_folder {
            self.world.happened_to(identity, libc::IN_ATTRIB, false);
        }
        if is_folder || (links <= 1 && !self.is_open(identity)) {
            self.world.happened_to(identity, libc::IN_DELETE_SELF, is_folder);
        }
    }
}

impl Open {
    /// Something happened to what is open.
    pub(super) fn happened(&self, mask: u32) {
        let world = self.world();
        // Who only looks at a file has not opened it, and changes it all the same.
        let is_of_opening = mask & (libc::IN_OPEN | libc::IN_CLOSE) != 0;
        if world.is_watched() && self.names_a_file() && !(is_of_opening && self.is_path()) {
            let happening = Happening { mask, path: &self.path, is_folder: self.is_folder(), cookie: 0 };
            world.happened(self.identity().ok(), happening);
        }
    }

    /// Whether it stands for a file or folder that has a name.
    pub(super) fn names_a_file(&self) -> bool {
        let is_file = matches!(self.kind, Kind::File(_) | Kind::Memory(_) | Kind::System(_));
        is_file || self.is_folder()
    }
}

/// `inotify_init(2)`
pub(super) fn init(thread: &mut Thread, _: Arguments) -> Answer {
    init1(thread, [0; 6])
}

/// `inotify_init1(2)`
pub(super) fn init1(thread: &mut Thread, [flags, ..]: Arguments) -> Answer {
    let flags = int(flags);
    if flags & !(libc::IN_CLOEXEC | libc::IN_NONBLOCK) != 0 {
        return Err(Errno::INVAL);
    }
    let world = &thread.world;
    let kept = Kept::new(world.machine.clone());
    let state = State { watches: BTreeMap::new(), last: 0, events: VecDeque::new(), names: 0, kept };
    let all = world.watchers.count.clone();
    let watches = Arc::new(Watches { state: Mutex::new(state), all, bell: Bell::default() });
    {
        let mut sets = lock(&world.watchers.sets);
        sets.retain(|set| set.strong_count() > 0);
        if sets.len() >= MOST_SETS {
            return Err(Errno::MFILE);
        }
        sets.push(Arc::downgrade(&watches));
    }
    let how = (flags & libc::IN_NONBLOCK) as u32;
    let open = Open::new(world, Kind::Watches(watches), b"anon_inode:inotify", how);
    thread.process.descriptors().add(open, 0, flags & libc::IN_CLOEXEC != 0)
}

/// `inotify_add_watch(2)`
pub(super) fn add_watch(thread: &mut Thread, [number, path, wish, ..]: Arguments) -> Answer {
    let wish = wish as u32;
    let has = |flag: u32| wish & flag == flag;
    if wish & (EVENTS | HOW) == 0 {
        return Err(Errno::INVAL);
    }
    let open = thread.process.descriptors().file(int(number))?;
    if has(libc::IN_MASK_ADD) && has(libc::IN_MASK_CREATE) {
        return Err(Errno::INVAL);
    }
    let Kind::Watches(watches) = &open.kind else { return Err(Errno::INVAL) };
    let follow = !has(libc::IN_DONT_FOLLOW);
    let path = thread.path(libc::AT_FDCWD, path)?;
    thread.may_use(&path, follow, owners::READ)?;
    let status = thread.status_at(&path, follow)?;
    if has(libc::IN_ONLYDIR) && !status.is_folder() {
        return Err(Errno::NOTDIR);
    }
    let place = thread.place_of(&path, follow)?;
    let (identity, mask) = (status.identity(), wish & (EVENTS | libc::IN_ONESHOT | libc::IN_EXCL_UNLINK));
    let mut state = lock(&watches.state);
    let known = state.watches.iter_mut().find(|(_, watch)| watch.identity == identity);
    if let Some((&number, watch)) = known {
        if has(libc::IN_MASK_CREATE) {
            return Err(Errno::EXIST);
        }
        watch.mask = if has(libc::IN_MASK_ADD) { watch.mask | mask } else { mask };
        return Ok(number as u64);
    }
    if watches.all.fetch_add(1, SeqCst) >= MOST_WATCHES || thread.world.may_keep(WATCH).is_err() {
        watches.all.fetch_sub(1, SeqCst);
        return Err(Errno::NOSPC);
    }
    let last = state.last;
    let free = |number: &i32| !state.watches.contains_key(number);
    let number = (last.wrapping_add(1).max(1)..=i32::MAX).chain(1..=last).find(free).ok_or(Errno::NOSPC)?;
    state.last = number;
    state.watches.insert(number, Watch { path: place, identity, mask });
    state.count();
    Ok(number as u64)
}

/// `inotify_rm_watch(2)`
pub(super) fn rm_watch(thread: &mut Thread, [number, watch, ..]: Arguments) -> Answer {
    let open = thread.process.descriptors().file(int(number))?;
    let Kind::Watches(watches) = &open.kind else { return Err(Errno::INVAL) };
    let mut state = lock(&watches.state);
    if !state.end(int(watch)) {
        return Err(Errno::INVAL);
    }
    state.count();
    drop(state);
    watches.all.fetch_sub(1, SeqCst);
    watches.bell.ring();
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_filled_up_to_the_size_of_an_event() {
        let event = |name: &[u8]| Event { watch: 3, mask: 2, cookie: 0, name: name.to_vec() };
        let lengths = [&b""[..], b"a", b"fifteen letters", b"sixteen letters."].map(|name| event(name).bytes().len());
        assert_eq!(lengths, [16, 32, 32, 48]);
        assert_eq!(event(b"a").bytes()[..4], [3, 0, 0, 0]);
    }

    #[test]
    fn a_path_is_a_folder_and_a_name() {
        assert_eq!(split(b"/tmp/a"), (&b"/tmp"[..], &b"a"[..]));
        assert_eq!(split(b"/tmp"), (&b"/"[..], &b"tmp"[..]));
        assert_eq!(split(b"/"), (&b"/"[..], &b""[..]));
    }
}
