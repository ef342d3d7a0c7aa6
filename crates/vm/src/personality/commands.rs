//! Further commands of an instance, begun from outside: the facet `Exec`.

use std::sync::{Arc, Mutex, Weak};

use ringfence_abi::Handle;
use ringfence_isolation::{CallError, Exit, Trap};
use rustix::io::Errno;
use tokio::sync::oneshot;

use super::files::Descriptors;
use super::open::{Kind, Open};
use super::process::{Image, Parts, Place, Process};
use super::special::Device;
use super::starting::{self, Beginning};
use super::world::World;
use crate::memory::Space;

/// Where a command without a path is looked for.
const PATH: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// A command that runs. Dropping it ends the command, and everything else of its session.
pub(crate) struct Running {
    world: Weak<World>,
    session: u32,
    failed: oneshot::Receiver<Errno>,
    ended: oneshot::Receiver<i32>,
}

impl Running {
    /// How it ended; `None` when the instance ended before.
    pub(crate) async fn ended(&mut self) -> Option<Exit> {
        let status = (&mut self.ended).await.ok();
        if let Ok(errno) = self.failed.try_recv() {
            return Some(Exit::Trapped(Trap::Other(format!("the command cannot be executed: {errno}"))));
        }
        let is_ending = self.world.upgrade().is_none_or(|world| world.control.is_stopping());
        match status.and_then(super::ending::shell_status) {
            Some(status) if !is_ending => Some(Exit::Returned(status)),
            _ => None,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(world) = self.world.upgrade() else { return };
        // A command that has ended leaves those behind that it began.
        if !matches!(self.ended.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
            return;
        }
        let processes: Vec<Arc<Process>> = world.processes().values().cloned().collect();
        let mine = |process: &&Arc<Process>| process.session.load(std::sync::atomic::Ordering::SeqCst) == self.session;
        processes.iter().filter(mine).for_each(|process| super::ending::end(&world, process, libc::SIGKILL));
    }
}

/// Begins a command in a session of its own, with the environment and the streams of the instance, but for
/// standard input.
pub(crate) fn begin(world: &Arc<World>, command: Vec<String>) -> Result<Running, CallError> {
    let wrong = |reason: &str| CallError::Arguments { function: "exec".into(), reason: reason.into() };
    if command.iter().any(|word| word.contains('\0')) {
        return Err(wrong("a word contains a NUL character"));
    }
    let program = command.first().ok_or_else(|| wrong("there is no command"))?;
    let paths: Vec<Vec<u8>> = match program.contains('/') {
        true => vec![program.clone().into_bytes()],
        false => PATH.iter().map(|folder| format!("{folder}/{program}").into_bytes()).collect(),
    };
    let none = |_| CallError::Unsupported("there is no room for another command");
    let space = Arc::new(Space::new(world.machine.clone(), world.ledger()).map_err(none)?);
    let descriptors = Descriptors::default();
    let streams = [
        (Kind::Device(Device::Null), &b"/dev/null"[..], libc::O_RDONLY),
        (Kind::Stream(Handle::STDOUT), b"/dev/stdio", libc::O_WRONLY),
        (Kind::Stream(Handle::STDERR), b"/dev/stdio", libc::O_WRONLY),
    ];
    for (kind, path, flags) in streams {
        descriptors.add(Open::new(world, kind, path, flags as u32), 0, false).map_err(none)?;
    }
    let id = world.begin_thread().map_err(none)?;
    let folder = world.spec.program.working_directory.clone().into_bytes();
    let process = Process::new(Parts {
        id,
        parent: 1,
        group: id,
        session: id,
        space,
        descriptors: Arc::new(descriptors),
        actions: Arc::default(),
        place: Arc::new(Mutex::new(Place { folder, mask: 0o022 })),
        image: Image::default(),
        limits: Default::default(),
        niceness: 0,
    });
    let (tell_end, ended) = oneshot::channel();
    let (tell_failure, failed) = oneshot::channel();
    *super::process::lock(&process.awaited) = Some(tell_end);
    let arguments = command.iter().map(|word| word.clone().into_bytes()).collect();
    let environment =
        world.spec.environment.iter().map(|(name, value)| format!("{name}={value}").into_bytes()).collect();
    let beginning = Beginning { paths, arguments, environment, failed: tell_failure };
    starting::begin_command(world, process, beginning).map_err(none)?;
    Ok(Running { world: Arc::downgrade(world), session: id, failed, ended })
}
