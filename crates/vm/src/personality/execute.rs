//! `execve(2)`, `execveat(2)`.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use ringfence_abi::Call;
use rustix::io::Errno;

use super::process::{Image, lock};
use super::thread::{Next, Thread};
use super::{Answer, Arguments};
use crate::kvm::Kept;
use crate::loader::{self, Command};

/// How many bytes of arguments and environment there can be: `ARG_MAX`.
const MOST: u64 = 2 << 20;
/// How many texts.
const TEXTS: usize = 1 << 16;

/// A list of texts that ends in a null pointer.
fn texts(thread: &Thread, at: u64) -> Result<Vec<Vec<u8>>, Errno> {
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
        let text = space.text_of(pointer, left)?;
        left -= text.len() as u64;
        texts.push(text);
        if texts.len() > TEXTS {
            return Err(Errno::TOOBIG);
        }
        place = place.checked_add(8).ok_or(Errno::FAULT)?;
    }
}

/// `execve(2)`
pub(super) fn execve(thread: &mut Thread, [path, arguments, environment, ..]: Arguments) -> Answer {
    let path = thread.path(libc::AT_FDCWD, path)?.normal;
    let (mut arguments, environment) = (texts(thread, arguments)?, texts(thread, environment)?);
    if arguments.is_empty() {
        arguments.push(Vec::new());
    }
    let world = thread.world.clone();
    let bytes = arguments.iter().chain(&environment).map(|text| text.len() + size_of::<Vec<u8>>()).sum();
    world.may_keep(bytes)?;
    let _kept = Kept::of(&world.machine, bytes);
    let path = match super::special::link(thread, &path) {
        Some(target) => target?,
        None => path,
    };
    let status = thread.status_at(&thread.absolute(libc::AT_FDCWD, &path)?, true)?;
    if !status.is_executable() {
        return Err(Errno::ACCESS);
    }
    let file = thread.open_program(&path)?;
    let mut random = [0; 16];
    world.call(Call::Random { into: &mut random })?;
    let user = rustix::process::getuid().as_raw();
    let command = Command { path, arguments, environment, random, user };
    let open = |path: &[u8]| thread.open_program(path);
    let loaded = loader::load(&world.machine, &world.ledger(), command, file, &open, world.vdso.as_ref())?;
    thread.end_others()?;
    thread.give_up_locks();
    thread.process.alarms.clear(false);
    let root = loaded.space.root();
    let process = &thread.process;
    process.set_space(Some(Arc::new(loaded.space)));
    world.shared.settle();
    let descriptors = Arc::new(process.descriptors().duplicate());
    descriptors.close_on_exec();
    process.set_descriptors(descriptors);
    let actions = lock(&process.actions()).after_exec();
    *lock(&process.actions) = Arc::new(std::sync::Mutex::new(actions));
    process.set_image(Image::new(&world.machine, loaded.path, loaded.arguments));
    process.has_left.store(true, SeqCst);
    process.left.ring();
    (thread.clear_at_end, thread.alternate) = (0, Default::default());
    thread.context = loaded.registers;
    let entered = thread.processor.enter(&world.machine, root, 0, &loaded.registers);
    if entered.and_then(|()| thread.processor.clear_vectors()).is_err() {
        thread.end_process(libc::SIGKILL);
    }
    thread.next = Next::Enter;
    Ok(0)
}
