//! Further commands of an instance, begun from outside: the facet `Exec`.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, Weak};

use ringfence_abi::Handle;
use ringfence_isolation::{BoxFuture, CallError, Command, Exit, Running};
use ringfence_manifest::WindowSize;
use rustix::io::Errno;
use tokio::sync::{oneshot, watch};

use super::files::Descriptors;
use super::limits::Limits;
use super::open::{Kind, Open};
use super::outside::{Over, Source, drain, feed};
use super::pipe::Pipe;
use super::process::{Parts, Place, Process, lock};
use super::signals::{self, Cause};
use super::special::Device;
use super::starting::{self, Beginning, Failed};
use super::terminal::Terminal;
use super::world::World;
use crate::control::Control;
use crate::memory::Space;

/// Where a command without a path is looked for.
const PATH: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// How a command ended.
#[derive(Clone)]
enum Came {
    Returned(i32),
    Failed(Failed),
    /// The instance ended before.
    Gone,
}

/// A command that runs. Dropping it ends the command, and everything else of its session.
pub(crate) struct Begun {
    name: String,
    world: Weak<World>,
    process: Weak<Process>,
    session: u32,
    terminal: Option<Weak<Terminal>>,
    control: Arc<Control>,
    ended: watch::Receiver<Option<Came>>,
}

impl Running for Begun {
    fn signal(&self, signal: i32) {
        if let (Some(world), Some(process), 1..=64) = (self.world.upgrade(), self.process.upgrade(), signal) {
            // From outside: sent by no process of the instance.
            let _ = signals::send(&world, &process, Cause::sent(signal, libc::SI_USER, 0));
        }
    }

    fn resize(&self, size: WindowSize) {
        let terminal = self.terminal.as_ref().and_then(Weak::upgrade);
        if let (Some(world), Some(terminal)) = (self.world.upgrade(), terminal) {
            terminal.resize(&world, [size.rows, size.columns, 0, 0]);
        }
    }

    fn ended(&self) -> BoxFuture<'static, Result<Exit, CallError>> {
        let (mut ended, control, name) = (self.ended.clone(), self.control.clone(), self.name.clone());
        Box::pin(async move {
            let came = ended.wait_for(Option::is_some).await.ok().and_then(|came| came.clone());
            match came {
                Some(Came::Returned(status)) => Ok(Exit::Returned(status)),
                Some(Came::Failed(Failed::Execute(errno))) => Err(CallError::NotExecuted {
                    command: name,
                    missing: matches!(errno, Errno::NOENT | Errno::NOTDIR),
                    reason: errno.to_string(),
                }),
                Some(Came::Failed(Failed::Folder(folder, errno))) => Err(CallError::Arguments {
                    function: name,
                    reason: format!("its working directory {folder}: {errno}"),
                }),
                Some(Came::Gone) | None => {
                    let mut watch = control.watch();
                    let exit = watch.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
                    Err(CallError::Ended(exit.unwrap_or(Exit::Stopped)))
                }
            }
        })
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let Some(world) = self.world.upgrade() else { return };
        // A command that has ended leaves those behind that it began.
        if self.ended.borrow().is_some() {
            return;
        }
        let processes: Vec<Arc<Process>> = world.processes().values().cloned().collect();
        let mine = |process: &&Arc<Process>| process.session.load(SeqCst) == self.session;
        processes.iter().filter(mine).for_each(|process| super::ending::end(&world, process, libc::SIGKILL));
    }
}

type Feeding = Box<dyn FnOnce(&Over) + Send>;
type Draining = Box<dyn FnOnce(Arc<World>, Arc<Over>) + Send>;

/// What a command has in the place of its streams, and the threads that serve them.
#[derive(Default)]
struct Streams {
    kinds: Vec<(Kind, Vec<u8>, i32)>,
    /// Passes on what is typed. It keeps nothing of the instance: it may have to wait for longer than that is there.
    feeding: Option<Feeding>,
    /// Pass on what is printed.
    draining: Vec<Draining>,
    ends: Ends,
}

/// What the command has no more when it is over.
#[derive(Default)]
struct Ends {
    source: Option<Arc<Source>>,
    pipes: Vec<Arc<Pipe>>,
    terminal: Option<Arc<Terminal>>,
}

impl Ends {
    /// Tells everybody who passes something on that the command is over.
    fn say(&self, over: &Over) {
        over.say();
        self.pipes.iter().for_each(|pipe| pipe.bell.ring());
        if let Some(terminal) = &self.terminal {
            terminal.bell.ring();
        }
        if let Some(source) = &self.source {
            source.close();
        }
    }
}

impl Streams {
    /// Those of the instance, but for standard input.
    fn of_instance() -> Streams {
        let kinds = vec![
            (Kind::Device(Device::Null), b"/dev/null".to_vec(), libc::O_RDONLY),
            (Kind::Stream(Handle::STDOUT), b"/dev/stdio".to_vec(), libc::O_WRONLY),
            (Kind::Stream(Handle::STDERR), b"/dev/stdio".to_vec(), libc::O_WRONLY),
        ];
        Streams { kinds, ..Streams::default() }
    }

    /// Pipes, of which threads pass on what is in them.
    fn own(world: &World, streams: [OwnedFd; 3]) -> Streams {
        let [input, output, error] = streams;
        let pipes: Vec<Arc<Pipe>> = (0..3).map(|_| Arc::new(Pipe::new(world))).collect();
        let source = Source::new(pipes[0].clone());
        let ends = Ends { source: Some(source.clone()), pipes: pipes.clone(), terminal: None };
        let mut made = Streams { ends, ..Streams::default() };
        let name = || b"pipe:[1]".to_vec();
        made.kinds.push((Kind::Reader(pipes[0].clone()), name(), libc::O_RDONLY));
        let source = Arc::downgrade(&source);
        made.feeding = Some(Box::new(move |over| {
            feed(&input, over, |bytes| source.upgrade()?.put(bytes));
            if let Some(source) = source.upgrade() {
                source.close();
            }
        }));
        for (pipe, descriptor) in pipes.into_iter().skip(1).zip([output, error]) {
            pipe.open_reader();
            made.kinds.push((Kind::Writer(pipe.clone()), name(), libc::O_WRONLY));
            made.draining.push(Box::new(move |world, over| {
                drain(&descriptor, &world, &over, &pipe.bell, |most| pipe.take(most));
                pipe.close_reader();
            }));
        }
        made
    }

    /// A terminal: the first of the streams is typed into it, the second one shows it.
    fn of_terminal(world: &Arc<World>, id: u32, size: WindowSize, streams: [OwnedFd; 3]) -> Result<Streams, Errno> {
        let [input, output, _] = streams;
        let terminal = super::terminal::create(world)?;
        terminal.open_master();
        terminal.unlock();
        terminal.resize(world, [size.rows, size.columns, 0, 0]);
        terminal.control(id, id);
        let path = format!("/dev/pts/{}", terminal.number).into_bytes();
        let kinds = (0..3).map(|_| (Kind::Terminal(terminal.clone()), path.clone(), libc::O_RDWR)).collect();
        let (living, typed) = (Arc::downgrade(world), Arc::downgrade(&terminal));
        let feeding = move |over: &Over| {
            let there = || Some((living.upgrade()?, typed.upgrade()?));
            let line_is_open = feed(&input, over, |bytes| {
                let (world, typed) = there()?;
                typed.bell.enlist();
                Some(typed.try_type(&world, bytes))
            });
            // When the command is over its terminal is hung up.
            if let Some((world, typed)) = there().filter(|_| !over.is()) {
                typed.type_end(&world, line_is_open);
            }
        };
        let shown = terminal.clone();
        let draining = move |world: Arc<World>, over: Arc<Over>| {
            drain(&output, &world, &over, &shown.bell, |most| shown.take_shown(most));
        };
        Ok(Streams {
            kinds,
            feeding: Some(Box::new(feeding)),
            draining: vec![Box::new(draining)],
            ends: Ends { terminal: Some(terminal), ..Ends::default() },
        })
    }
}

/// Begins a command in a session of its own.
pub(crate) fn begin(world: &Arc<World>, command: Command) -> Result<Begun, CallError> {
    let Command { words, environment, working_directory, streams, terminal } = command;
    let wrong = |reason: &str| CallError::Arguments { function: "exec".into(), reason: reason.into() };
    let variables = environment.iter().flat_map(|(name, value)| [name, value]);
    if words.iter().chain(variables).chain(&working_directory).any(|word| word.contains('\0')) {
        return Err(wrong("a word contains a NUL character"));
    }
    if environment.keys().any(|name| name.is_empty() || name.contains('=')) {
        return Err(wrong("a variable has no name, or one that contains ="));
    }
    if working_directory.as_ref().is_some_and(|folder| !folder.starts_with('/')) {
        return Err(wrong("the working directory has to begin with /"));
    }
    let name = words.first().cloned().ok_or_else(|| wrong("there is no command"))?;
    let paths: Vec<Vec<u8>> = match name.contains('/') {
        true => vec![name.clone().into_bytes()],
        false => PATH.iter().map(|folder| format!("{folder}/{name}").into_bytes()).collect(),
    };
    let none = |_| CallError::Unsupported("there is no room for another command");
    let executor = world.executor.get().ok_or(CallError::Unsupported("it has not been started"))?;
    let space = Arc::new(Space::new(world.machine.clone(), world.ledger()).map_err(none)?);
    let over = Over::new().map_err(none)?;
    let counted = world.begin_thread().map_err(none)?;
    let id = counted.id;
    let Streams { kinds, feeding, draining, ends } = match (streams, terminal) {
        (None, None) => Streams::of_instance(),
        (None, Some(_)) => return Err(wrong("a terminal needs streams to be connected to")),
        (Some(streams), None) => Streams::own(world, streams),
        (Some(streams), Some(size)) => Streams::of_terminal(world, id, size, streams).map_err(none)?,
    };
    let limits = Limits::of_spec(&world.spec);
    let descriptors = Descriptors::default();
    descriptors.set_most(limits.of(libc::RLIMIT_NOFILE)[0]);
    for (kind, path, flags) in kinds {
        descriptors.add(Open::new(world, kind, &path, flags as u32), 0, false).map_err(none)?;
    }
    let process = Process::new(Parts {
        id,
        parent: 1,
        group: id,
        session: id,
        space,
        descriptors: Arc::new(descriptors),
        actions: Arc::default(),
        place: Arc::new(Mutex::new(Place {
            folder: world.spec.program.working_directory.clone().into_bytes(),
            mask: 0o022,
        })),
        image: Arc::default(),
        limits,
        niceness: 0,
    });
    let (tell_end, ended) = oneshot::channel();
    let (tell_failure, mut failed) = oneshot::channel();
    *lock(&process.awaited) = Some(tell_end);
    let mut variables = world.spec.environment.clone();
    variables.extend(environment);
    let beginning = Beginning {
        paths,
        arguments: words.into_iter().map(String::into_bytes).collect(),
        environment: variables.into_iter().map(|(name, value)| format!("{name}={value}").into_bytes()).collect(),
        folder: working_directory,
        failed: tell_failure,
    };
    let thread = || std::thread::Builder::new().name("ringfence-pump".into());
    let failed_streams = |_| {
        ends.say(&over);
        CallError::Unsupported("there is no thread for its streams")
    };
    if let Some(feed) = feeding {
        let told = over.clone();
        thread().spawn(move || feed(&told)).map_err(|_| Errno::AGAIN).map_err(failed_streams)?;
    }
    let mut drained = Vec::new();
    for drain in draining {
        let (done, is_done) = oneshot::channel::<()>();
        let (living, told) = (world.clone(), over.clone());
        let begin = || {
            thread().spawn(move || {
                drain(living, told);
                drop(done);
            })
        };
        world.keep(begin).map_err(failed_streams)?;
        drained.push(is_done);
    }
    let (tell, watched) = watch::channel(None);
    let begun = Begun {
        name,
        world: Arc::downgrade(world),
        process: Arc::downgrade(&process),
        session: id,
        terminal: ends.terminal.as_ref().map(Arc::downgrade),
        control: world.control.clone(),
        ended: watched,
    };
    let living = Arc::downgrade(world);
    executor.spawn(async move {
        let status = ended.await.ok().and_then(super::ending::shell_status);
        ends.say(&over);
        for done in drained {
            // It ends by being dropped.
            let _ = done.await;
        }
        if let (Some(world), Some(terminal)) = (living.upgrade(), &ends.terminal) {
            terminal.close_master(&world);
        }
        let is_ending = living.upgrade().is_none_or(|world| world.control.is_stopping());
        let came = match (failed.try_recv(), status) {
            (Ok(failed), _) => Came::Failed(failed),
            (Err(_), Some(status)) if !is_ending => Came::Returned(status),
            _ => Came::Gone,
        };
        tell.send_replace(Some(came));
    });
    starting::begin_command(world, process, counted, beginning).map_err(none)?;
    Ok(begun)
}
