//! Another command in the place of an instance.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use ringfence_isolation::{BoxFuture, CallError, Command, Exec, Exit, Host, LostReason, Running, Trap};
use ringfence_manifest::{Spec, WindowSize};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::ending;
use crate::instance::{Controls, LinuxInstance};
use crate::launch::{self, Message, Order, Report, Step};
use crate::pump::{STACK, Sink, feed, pump};
use crate::stdio::CommandStreams;
use crate::sys;
use crate::terminal::Terminal;

/// Where a command without a path is looked for, in the place.
const PATH: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// What commands of an instance need beside its place.
pub(crate) struct Means {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) spec: Arc<Spec>,
    pub(crate) executor: Handle,
}

/// A command that runs.
struct Begun {
    /// Its name, and where it begins.
    command: String,
    folder: Option<String>,
    /// Where pid 1 takes signals for it from; when this closes, it ends.
    steering: OwnedFd,
    /// When this closes, nobody waits for those who take what it prints.
    _asking: OwnedFd,
    /// There until it has ended.
    terminal: Arc<Mutex<Option<Terminal>>>,
    ended: watch::Receiver<Option<Option<Message>>>,
    controls: Arc<Controls>,
}

impl Exec for LinuxInstance {
    fn exec(&self, command: Vec<String>) -> BoxFuture<'_, Result<Exit, CallError>> {
        Box::pin(async move {
            let begun = self.order(Command { words: command, ..Command::default() })?;
            match begun.ended().await {
                Err(CallError::NotExecuted { reason, .. }) => Ok(Exit::Trapped(Trap::NotExecutable(reason))),
                ended => ended,
            }
        })
    }

    fn begin(&self, command: Command) -> Result<Box<dyn Running>, CallError> {
        Ok(Box::new(self.order(command)?))
    }
}

impl Running for Begun {
    fn signal(&self, signal: i32) {
        if let Ok(signal @ 1..=64) = u8::try_from(signal) {
            // Who does not take signals misses some.
            let _ = send(&self.steering, &[signal], SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        }
    }

    fn resize(&self, size: WindowSize) {
        if let Some(terminal) = self.terminal.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            terminal.resize(size);
        }
    }

    fn ended(&self) -> BoxFuture<'static, Result<Exit, CallError>> {
        let (mut ended, controls) = (self.ended.clone(), self.controls.clone());
        let (command, folder) = (self.command.clone(), self.folder.clone());
        Box::pin(async move {
            let message = ended.wait_for(Option::is_some).await.ok().and_then(|message| message.flatten());
            match message {
                Some(Message::Ended(status)) => Ok(Exit::Returned(ending::as_a_shell_shows(status))),
                Some(Message::Failed(Step::Execute, errno)) => {
                    let missing = matches!(errno, Errno::NOENT | Errno::NOTDIR);
                    Err(CallError::NotExecuted { command, missing, reason: errno.to_string() })
                }
                Some(Message::Failed(Step::WorkingDirectory, errno)) => {
                    let folder = folder.unwrap_or_default();
                    let reason = format!("its working directory {folder}: {errno}");
                    Err(CallError::Arguments { function: command, reason })
                }
                Some(Message::Failed(step, errno)) => {
                    Ok(Exit::Lost(LostReason::Backend(format!("{}: {errno}", step.doing()))))
                }
                _ => Err(CallError::Ended(controls.ended().await)),
            }
        })
    }
}

impl LinuxInstance {
    fn order(&self, command: Command) -> Result<Begun, CallError> {
        let Command { words, environment, working_directory, streams, terminal } = command;
        let wrong = |reason: &str| CallError::Arguments { function: "exec".into(), reason: reason.into() };
        let text = |text: String| CString::new(text).map_err(|_| wrong("a word contains a NUL character"));
        let name = words.first().cloned().ok_or_else(|| wrong("there is no command"))?;
        let paths = match name.contains('/') {
            true => vec![name.clone()],
            false => PATH.iter().map(|folder| format!("{folder}/{name}")).collect(),
        };
        let spec = &self.means.spec;
        if environment.keys().any(|name| name.is_empty() || name.contains('=')) {
            return Err(wrong("a variable has no name, or one that contains ="));
        }
        if working_directory.as_ref().is_some_and(|folder| !folder.starts_with('/')) {
            return Err(wrong("the working directory has to begin with /"));
        }
        let variables = (!environment.is_empty()).then(|| {
            let mut all = spec.environment.clone();
            all.extend(environment);
            all.into_iter().map(|(name, value)| text(format!("{name}={value}"))).collect::<Result<Vec<_>, _>>()
        });
        let order = Order {
            paths: paths.into_iter().map(text).collect::<Result<_, _>>()?,
            arguments: words.into_iter().map(text).collect::<Result<_, _>>()?,
            environment: variables.transpose()?,
            working_directory: working_directory.clone().map(text).transpose()?,
            terminal: terminal.is_some(),
        };
        let counted = spec.limits.output.is_some();
        let streams = match (streams, terminal) {
            (None, None) => CommandStreams::of_instance(spec, self.controls.console()),
            (None, Some(_)) => return Err(wrong("a terminal needs streams to be connected to")),
            (Some(streams), None) => CommandStreams::own(streams, counted),
            (Some(streams), Some(size)) => CommandStreams::of_terminal(size, streams),
        };
        let streams = streams.map_err(|error| wrong(&format!("its streams: {error}")))?;
        let (line, steering) = self.controls.order(&streams.inside, &order)?;
        let (tell, ended) = watch::channel(None);
        let (left, asking) = launch::pair().map_err(|errno| wrong(&format!("its streams: {errno}")))?;
        let terminal = self.wait(line, streams, left, tell);
        let terminal = terminal.map_err(|_| CallError::Unsupported("there is no thread to wait on"))?;
        let controls = self.controls.clone();
        Ok(Begun { command: name, folder: working_directory, steering, _asking: asking, terminal, ended, controls })
    }

    /// Waits for the end of a command on a thread of its own, and until all it printed has arrived.
    fn wait(
        &self,
        line: OwnedFd,
        streams: CommandStreams,
        left: OwnedFd,
        tell: watch::Sender<Option<Option<Message>>>,
    ) -> std::io::Result<Arc<Mutex<Option<Terminal>>>> {
        let report = Report(line);
        let (over, still_there) = launch::pair()?;
        let (over, left) = (Arc::new(over), Arc::new(left));
        let CommandStreams { inside, printed, fed, mut terminal } = streams;
        drop(inside);
        let pumps = pass_on(printed, fed, &self.means.host, &self.means.executor, &over, &left)?;
        if let Some(terminal) = &mut terminal {
            terminal.begin()?;
        }
        let terminal = Arc::new(Mutex::new(terminal));
        let shared = terminal.clone();
        spawn("ringfence-exec", move || {
            // Pid 1 that has no room for a command leaves its words unread, of which the socket tells first.
            let message = report.next().or_else(|| report.next());
            drop(still_there);
            for pump in pumps {
                let _ = pump.join();
            }
            drop(shared.lock().unwrap_or_else(PoisonError::into_inner).take());
            tell.send_replace(Some(message));
        })?;
        Ok(terminal)
    }
}

/// Starts the threads that pass on what a command prints and reads, until `over` closes; those of what it prints, to
/// be waited for. From the moment `left` closes nobody is waited for who does not read.
pub(crate) fn pass_on(
    printed: Vec<(OwnedFd, Sink)>,
    fed: Option<(OwnedFd, OwnedFd)>,
    host: &Arc<dyn Host>,
    executor: &Handle,
    over: &Arc<OwnedFd>,
    left: &Arc<OwnedFd>,
) -> std::io::Result<Vec<thread::JoinHandle<()>>> {
    let mut pumps = Vec::new();
    for (from, to) in printed {
        let (host, executor) = (host.clone(), executor.clone());
        let (over, left) = (over.clone(), left.clone());
        pumps.push(spawn("ringfence-pump", move || {
            let _entered = executor.enter();
            pump(&from, &over, &host, &to, Some(&left));
        })?);
    }
    if let Some((from, to)) = fed {
        let over = over.clone();
        spawn("ringfence-feed", move || feed(&from, &over, &to, None))?;
    }
    Ok(pumps)
}

/// A thread that no signal reaches, SIGPIPE of its own writing included.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(name.into()).stack_size(STACK).spawn(move || {
        let _ = sys::block_all_signals();
        work();
    })
}
