//! `execve(2)`, `execveat(2)`.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use ringfence_abi::Call;
use rustix::io::Errno;

use super::desk::Habits;
use super::open::{EACH_TEXT, Kind, Open, bytes_of};
use super::process::{Image, LONGEST_NAME, lock};
use super::thread::{Next, Thread};
use super::{Answer, Arguments, identity, int};
use crate::kvm::Kept;
use crate::loader::{self, Command};

/// How many bytes of arguments and environment there can be: `ARG_MAX`.
const MOST: u64 = 2 << 20;
/// How long one of them can be, with its end: `MAX_ARG_STRLEN`.
const LONGEST: u64 = 128 << 10;

/// So many bytes are taken before they are counted.
const STEP: usize = 64 << 10;

/// What was taken of a program so far, counted as its memory.
struct Taken {
    kept: Kept,
    bytes: usize,
    counted: usize,
}

impl Taken {
    fn add(&mut self, thread: &Thread, text: &Vec<u8>) -> Result<(), Errno> {
        self.bytes += text.capacity() + EACH_TEXT;
        if self.bytes - self.counted >= STEP {
            self.kept.set(self.bytes);
            self.counted = self.bytes;
            thread.world.may_keep(0)?;
        }
        Ok(())
    }
}

/// A list of texts that ends in a null pointer.
fn texts(thread: &Thread, at: u64, taken: &mut Taken) -> Result<Vec<Vec<u8>>, Errno> {
    let space = thread.process.space()?;
    let mut texts = Vec::new();
    let mut left = MOST;
    if at == 0 {
        return Ok(texts);
    }
    let mut place = at;
    loop {
        let pointer = space.read_u64(place)?;
        if pointer == 0 {
            return Ok(texts);
        }
        let text = space.text_of(pointer, left.min(LONGEST))?;
        // With its end and its place among the others, as Linux counts.
        left = left.checked_sub(text.len() as u64 + 1 + 8).ok_or(Errno::TOOBIG)?;
        taken.add(thread, &text)?;
        texts.push(text);
        place = place.checked_add(8).ok_or(Errno::FAULT)?;
    }
}

/// `execve(2)`
pub(super) fn execve(thread: &mut Thread, [path, arguments, environment, ..]: Arguments) -> Answer {
    execveat(thread, [libc::AT_FDCWD as u64, path, arguments, environment, 0, 0])
}

/// `execveat(2)`
pub(super) fn execveat(thread: &mut Thread, [folder, path, arguments, environment, flags, _]: Arguments) -> Answer {
    let flags = flags as u32 as i32;
    if flags & !(libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::INVAL);
    }
    let text = thread.process.space()?.text(path)?;
    let path = match text.is_empty() {
        true if flags & libc::AT_EMPTY_PATH == 0 => return Err(Errno::NOENT),
        true => {
            let open = thread.process.descriptors().get(int(folder))?;
            if matches!(open.kind, Kind::Folder(..) | Kind::SystemFolder(_) | Kind::Listing(_) | Kind::MemoryFolder(_))
            {
                return Err(Errno::ACCESS);
            }
            format!("/proc/self/fd/{}", int(folder)).into_bytes()
        }
        false => {
            let path = thread.walked(int(folder), &text)?;
            if flags & libc::AT_SYMLINK_NOFOLLOW != 0 && thread.status_at(&path, false)?.is_link() {
                return Err(Errno::LOOP);
            }
            path.normal
        }
    };
    let mut taken = Taken { kept: Kept::new(thread.world.machine.clone()), bytes: 0, counted: 0 };
    let (arguments, environment) = (texts(thread, arguments, &mut taken)?, texts(thread, environment, &mut taken)?);
    // Counted as a whole from there on.
    drop(taken);
    execute(thread, path, arguments, environment)
}

/// What a program is called by the path it is asked for by, also when that leads to another file or is that of a script;
/// none when it is a descriptor.
fn name_of(path: &[u8]) -> Option<Vec<u8>> {
    let slash = path.iter().rposition(|&byte| byte == b'/')?;
    let (folder, name) = (&path[..slash], &path[slash + 1..]);
    let is_descriptor = folder.starts_with(b"/proc/") && folder.ends_with(b"/fd");
    (!is_descriptor && !name.is_empty()).then(|| name[..name.len().min(LONGEST_NAME)].to_vec())
}

/// Lets the calling thread go on as another program.
pub(super) fn execute(
    thread: &mut Thread,
    path: Vec<u8>,
    mut arguments: Vec<Vec<u8>>,
    environment: Vec<Vec<u8>>,
) -> Answer {
    if arguments.is_empty() {
        arguments.push(Vec::new());
    }
    let world = thread.world.clone();
    let bytes = bytes_of(&arguments) + bytes_of(&environment);
    world.may_keep(bytes)?;
    let _kept = Kept::of(&world.machine, bytes);
    let name = name_of(&path);
    let open = super::special::opened(thread, &path).transpose()?;
    let path = match super::special::link(thread, &path) {
        Some(target) => target?,
        None => path,
    };
    let found = thread.absolute(libc::AT_FDCWD, &path)?;
    let is_nameless = |open: &Arc<Open>| matches!(&open.kind, Kind::Memory(node) if node.state().names == 0);
    let status = match open.as_ref().filter(|open| is_nameless(open)) {
        Some(_) => Err(Errno::NOENT),
        None => thread.status_at(&found, true),
    };
    // What is open is run, whatever has its name by now.
    let nameless = open.filter(|open| status.as_ref().map_or(true, |status| Ok(status.identity()) != open.identity()));
    let status = match &nameless {
        Some(open) => {
            let place = open.place();
            if thread.world.scratch.has(&place) {
                thread.may_open(&place, true, false)?;
            }
            thread.status_of(open)?
        }
        None => {
            thread.may_pass(&found)?;
            thread.may_use(&found, true, super::owners::SEARCH)?;
            status?
        }
    };
    if !status.is_executable() {
        return Err(Errno::ACCESS);
    }
    thread.may_run(status.identity())?;
    let file = match nameless {
        Some(open) => super::opening::program(&thread.world, &open)?,
        None => thread.open_program(&path)?,
    };
    let mut random = [0; 16];
    world.call(Call::Random { into: &mut random })?;
    let user = rustix::process::getuid().as_raw();
    let command = Command { path, arguments, environment, random, user };
    let open = |path: &[u8]| thread.open_program(path);
    let loaded = loader::load(&world.machine, &world.ledger(), command, file, &open, world.vdso.as_ref())?;
    // It may be another's afterwards.
    let number = thread.member.id;
    thread.end_others()?;
    thread.give_up_locks();
    thread.world.handed.owner_ended(number);
    thread.process.alarms.clear(false);
    thread.give_desk_up();
    // Other code is where it made calls.
    thread.habits = Habits::default();
    let root = loaded.space.root();
    let process = &thread.process;
    process.set_space(Some(Arc::new(loaded.space)));
    world.shared.settle();
    let descriptors = Arc::new(process.descriptors().duplicate());
    descriptors.close_on_exec();
    process.set_descriptors(descriptors);
    let actions = lock(&process.actions()).after_exec();
    *lock(&process.actions) = Arc::new(std::sync::Mutex::new(actions));
    let identity = (loaded.path == found.normal).then(|| status.identity());
    // Where it really is: programs look for their libraries beside themselves.
    let real = match world.system.has(&loaded.path) {
        true => world.system.real(&loaded.path),
        false => thread.resolve(libc::AT_FDCWD, &loaded.path, 0, true).map_or(loaded.path, |path| path.normal),
    };
    process.set_image(Image::new(&world.machine, real, loaded.arguments).of(identity));
    process.name_it(name);
    process.has_executed.store(true, SeqCst);
    process.has_left.store(true, SeqCst);
    process.left.ring();
    (thread.clear_at_end, thread.alternate, thread.rseq) = (0, Default::default(), None);
    process.barriers.store(0, SeqCst);
    process.keeps_capabilities.store(false, SeqCst);
    process.persona.fetch_and(!identity::READ_IMPLIES_EXEC, SeqCst);
    process.last_signal.store(libc::SIGCHLD, SeqCst);
    thread.context = loaded.registers;
    let processor = thread.processor()?;
    let entered = processor.enter(&world.machine, root, 0, &loaded.registers);
    if entered.and_then(|()| processor.clear_vectors()).is_err() {
        thread.end_process(libc::SIGKILL);
    }
    thread.next = Next::Enter;
    Ok(0)
}
