//! The side of the process that runs an instance.
//!
//! Nothing of this is in the way of the program. Without a name that was asked for, the folder and the socket are
//! made when the program has run for a moment: most of those that end before are never looked for. All of it is
//! done on a thread of its own, which also serves: a freeze that takes long, or who asks much, holds up nobody else.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringfence::{Command, Exit, Instance, Running, Spec, WindowSize};
use rustix::net::sockopt::socket_peercred;
use rustix::net::{SocketFlags, accept_with};
use rustix::process::geteuid;
use tokio::io::Interest;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use super::folder::{Entry, check_name, make_name};
use super::wire::{Answer, Ask, Line, Status, watch_for};
use crate::failure::Failure;
use crate::watchdog::Watchdog;

/// How long a program runs before its instance is listed, when nobody gave it a name.
const MOMENT: Duration = Duration::from_millis(100);
/// How long who comes in may take to say the first word.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many are served at once.
const MOST: usize = 64;
/// How often a name is made up, should somebody have it.
const TRIES: usize = 5;
/// `SIGKILL`.
const KILL: i32 = 9;

/// The way to an instance, from the moment it has a name.
pub(crate) struct Door {
    name: Option<String>,
    place: Arc<Mutex<Place>>,
    /// Dropped when nobody is to be served any more.
    open: Option<oneshot::Sender<()>>,
}

/// Where an instance listens, if it does.
#[derive(Default)]
struct Place {
    entry: Option<Entry>,
    /// The instance is over.
    closed: bool,
}

/// What who comes in is served with.
struct Served {
    name: String,
    since: SystemTime,
    instance: Arc<Instance>,
    watchdog: Watchdog,
    paused: AtomicBool,
}

impl Door {
    /// The way to an instance that is to have this name, or one that is made up.
    ///
    /// # Errors
    /// When that cannot be a name.
    pub(crate) fn new(name: Option<String>) -> Result<Self, Failure> {
        name.as_deref().map(check_name).transpose()?;
        Ok(Door { name, place: Arc::default(), open: None })
    }

    /// Takes the name that was asked for, before anything runs.
    ///
    /// # Errors
    /// When an instance has it, or there is no place for it.
    pub(crate) fn reserve(&self) -> Result<(), Failure> {
        let Some(name) = &self.name else { return Ok(()) };
        match Entry::take(name) {
            Ok(Some(entry)) => {
                lock(&self.place).entry = Some(entry);
                Ok(())
            }
            Ok(None) => Err(Failure::wrong(format!(
                "an instance named {name} is running: choose another name, or end it with `ringfence stop {name}`"
            ))),
            Err(error) => {
                let what = format!(
                    "there is no place for the name {name}: {error}; set XDG_RUNTIME_DIR, or run without --name"
                );
                Err(Failure::host(&io::Error::new(error.kind(), what)))
            }
        }
    }

    /// Resolves when it is time to [open](Self::open) it.
    pub(crate) fn due(&self) -> impl Future<Output = ()> + use<> {
        let now = self.name.is_some();
        async move {
            if !now {
                sleep(MOMENT).await;
            }
        }
    }

    /// Lets others in to this instance. Where that cannot be, it is not listed, and runs all the same.
    pub(crate) fn open(&mut self, instance: &Arc<Instance>, watchdog: &Watchdog) {
        let (keep, closed) = oneshot::channel();
        let (shared, name) = (self.place.clone(), self.name.clone());
        let (instance, watchdog) = (instance.clone(), watchdog.clone());
        // Even when there is no thread: it is tried once.
        self.open = Some(keep);
        let since = SystemTime::now();
        let _ = thread::Builder::new().name("control".into()).spawn(move || {
            let name = name.or_else(|| settle(&shared, &instance.spec().capsule.name))?;
            let listener = lock(&shared).entry.as_ref()?.listener.try_clone().ok()?;
            let served = Rc::new(Served { name, since, instance, watchdog, paused: AtomicBool::new(false) });
            let runtime = Builder::new_current_thread().enable_all().build().ok()?;
            let tasks = LocalSet::new();
            tasks.block_on(&runtime, async {
                tokio::select! {
                    _ = closed => {}
                    _ = serve(listener, &served) => {}
                }
            });
            Some(())
        });
    }
}

/// Takes a name that is made up, unless the instance is over already.
fn settle(shared: &Mutex<Place>, capsule: &str) -> Option<String> {
    let mut place = lock(shared);
    for _ in 0..TRIES {
        let name = make_name(capsule);
        if place.closed {
            return None;
        }
        if let Some(entry) = Entry::take(&name).ok()? {
            place.entry = Some(entry);
            return Some(name);
        }
    }
    None
}

fn lock(place: &Mutex<Place>) -> MutexGuard<'_, Place> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Door {
    fn drop(&mut self) {
        self.open = None;
        let mut place = lock(&self.place);
        place.closed = true;
        if let Some(entry) = place.entry.take() {
            entry.remove();
        }
    }
}

/// Lets in who may come.
async fn serve(listener: OwnedFd, served: &Rc<Served>) -> io::Result<()> {
    let listener = watch_for(listener, Interest::READABLE)?;
    let inside = Rc::new(());
    loop {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let accept = |listener: &OwnedFd| accept_with(listener, flags).map_err(io::Error::from);
        let socket = match listener.async_io(Interest::READABLE, accept).await {
            Ok(socket) => socket,
            // Too many descriptors, for example: others may close some.
            Err(_) => {
                sleep(MOMENT).await;
                continue;
            }
        };
        if !may_come_in(&socket) {
            continue;
        }
        if Rc::strong_count(&inside) > MOST {
            // Who is not told takes it for gone.
            let message = format!("{MOST} others are being served by {} already: try again", served.name);
            let refused = Answer::Refused { by_level: false, message };
            if let Ok(line) = Line::of(socket) {
                let _ = timeout(PATIENCE, line.send(&refused, &[])).await;
            }
            continue;
        }
        let (served, counted) = (served.clone(), inside.clone());
        tokio::task::spawn_local(async move {
            let _counted = counted;
            // Who says what nobody understands, or goes, is not answered.
            let _ = served.attend(socket).await;
        });
    }
}

/// This user and root: `SO_PEERCRED`, `unix(7)`.
fn may_come_in(socket: &OwnedFd) -> bool {
    socket_peercred(socket).is_ok_and(|peer| peer.uid == geteuid() || peer.uid.is_root())
}

impl Served {
    async fn attend(&self, socket: OwnedFd) -> io::Result<()> {
        let line = Line::of(socket)?;
        let mut first = true;
        loop {
            let asked = line.receive::<Ask>();
            let asked = match std::mem::take(&mut first) {
                true => timeout(PATIENCE, asked).await.map_err(io::Error::from)?,
                false => asked.await,
            };
            let Some((ask, descriptors)) = asked? else { return Ok(()) };
            let answer = match ask {
                Ask::Status => Answer::Status(self.status()),
                Ask::Signal(signal) if (1..=64).contains(&signal) => {
                    self.watchdog.signal(signal);
                    Answer::Done
                }
                Ask::Kill => {
                    // As two signals do: the first is passed on, the second ends it.
                    self.watchdog.signal(KILL);
                    self.watchdog.signal(KILL);
                    Answer::Done
                }
                Ask::Pause => self.freeze(true).await,
                Ask::Resume => self.freeze(false).await,
                Ask::Exec { words, environment, working_directory, terminal } => {
                    let streams = descriptors.try_into().map_err(|_| io::ErrorKind::InvalidData)?;
                    let terminal = terminal.map(|(rows, columns)| WindowSize { rows, columns });
                    let streams = Some(streams);
                    let command = Command { words, environment, working_directory, streams, terminal };
                    return self.exec(&line, command).await;
                }
                Ask::Signal(_) | Ask::Resize(..) => return Ok(()),
            };
            line.send(&answer, &[]).await?;
        }
    }

    fn status(&self) -> Status {
        let (spec, usage) = (self.instance.spec(), self.instance.usage());
        Status {
            name: self.name.clone(),
            capsule: spec.capsule.name.clone(),
            level: spec.isolation.level.name().to_owned(),
            paused: self.paused.load(Relaxed),
            since: self.since.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            memory: usage.memory,
            cpu_time: usage.cpu_time.as_secs_f64(),
        }
    }

    async fn freeze(&self, frozen: bool) -> Answer {
        let done = if frozen { self.instance.pause().await } else { self.instance.resume().await };
        match done {
            Ok(()) => {
                self.paused.store(frozen, Relaxed);
                Answer::Done
            }
            Err(error) => self.refused(&error),
        }
    }

    async fn exec(&self, line: &Line, command: Command) -> io::Result<()> {
        if self.paused.load(Relaxed) {
            let name = &self.name;
            let message = format!("{name} is paused, and nothing runs in it: ringfence resume {name}");
            return line.send(&Answer::Refused { by_level: false, message }, &[]).await;
        }
        let running = match self.instance.begin(command) {
            Ok(running) => running,
            Err(error) => return line.send(&self.refused(&error), &[]).await,
        };
        line.send(&Answer::Begun, &[]).await?;
        let answer = self.accompany(line, &*running).await?;
        line.send(&answer, &[]).await
    }

    /// Steers a command until it ends. When who asked for it is gone, so is the command.
    async fn accompany(&self, line: &Line, running: &dyn Running) -> io::Result<Answer> {
        let mut ended = running.ended();
        loop {
            tokio::select! {
                ended = &mut ended => return Ok(match ended {
                    Ok(Exit::Returned(status)) => Answer::Ended(status),
                    Err(ringfence::InstanceError::NotExecuted { command, missing, reason }) => {
                        Answer::NotExecuted { missing, message: format!("{command} cannot be executed: {reason}") }
                    }
                    Ok(exit) => Answer::Refused { by_level: false, message: format!("the command {exit}") },
                    // It is going, and this line with it.
                    Err(ringfence::InstanceError::Ended(_)) => return std::future::pending().await,
                    Err(error) => Answer::Refused { by_level: false, message: error.to_string() },
                }),
                asked = line.receive::<Ask>() => match asked? {
                    Some((Ask::Signal(signal), _)) => running.signal(signal),
                    Some((Ask::Resize(rows, columns), _)) => running.resize(WindowSize { rows, columns }),
                    _ => return Err(io::ErrorKind::ConnectionAborted.into()),
                },
            }
        }
    }

    fn refused(&self, error: &ringfence::InstanceError) -> Answer {
        let by_level = matches!(error, ringfence::InstanceError::Unsupported(_));
        let Spec { program, isolation, .. } = self.instance.spec();
        let message = match by_level {
            true => format!("{} is a {} program at level {}: {error}", self.name, program.kind, isolation.level),
            false => error.to_string(),
        };
        Answer::Refused { by_level, message }
    }
}
