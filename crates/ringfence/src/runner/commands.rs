//! Further commands of a guest, from outside its monitor's process: the facet `Exec`.
//!
//! ```text
//! begin ──news: its number──▶ monitor ──asks for it──▶ the words, and pipes as a parcel ──▶ runs it
//! Running ◀── pumps have ended ◀──────────────── says how it ended ◀───────────────────────────┘
//! ```
//!
//! The streams of who asks stay here: the monitor gets pipes, and what comes out of them is charged here. A
//! command ends for who waits when the monitor says so, and then with what it had printed by that moment.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use ringfence_isolation::{BoxFuture, CallError, Command, Exec, Exit, Host, Running, Trap, Verdict};
use ringfence_linux::{Asking, Relayed};
use ringfence_manifest::WindowSize;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use super::carried::{Carried, Ended};
use super::serve::Answers;
use super::wire::{Came, CommandOrder, News, Steer, Turn};

/// How many run at once: each takes threads of the monitor's for its streams.
pub(super) const MOST_COMMANDS: usize = 16;
/// Enough to wait on.
const STACK: usize = 128 << 10;
/// The most bytes of words and variables, as on Linux (`execve(2)`), and what each counts for beside its own.
const LONGEST: usize = 2 << 20;
const BESIDE: usize = 8;
/// How one ends that nobody wants any more: by SIGKILL, as a shell shows it.
const KILLED: Came = Came::Returned(128 + 9);
/// The longest reason that is passed on, in characters.
const LONGEST_REASON: usize = 1024;

/// The commands of one guest.
pub(super) struct Commands {
    answers: Answers,
    executor: Handle,
    host: Arc<dyn Host>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u32,
    /// Those that have not ended; none any more when the guest is gone.
    known: HashMap<u32, Known>,
    closed: bool,
}

struct Known {
    stage: Stage,
    /// Whoever waits for its end, while somebody does.
    end: Option<mpsc::Sender<Came>>,
}

/// How far a command has come.
enum Stage {
    /// It has a place.
    Placed,
    /// The monitor is to ask for it.
    Packed(Packed),
    /// The monitor has it.
    Claimed,
}

/// What there is to do, and the descriptors that go with it: three, or none.
pub(super) type Packed = (CommandOrder, Vec<OwnedFd>);

impl Commands {
    #[cfg(all(feature = "microvm", target_arch = "x86_64"))]
    pub(super) fn new(answers: Answers, executor: Handle, host: Arc<dyn Host>) -> Arc<Self> {
        Arc::new(Commands { answers, executor, host, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the monitor is to do; it is told once.
    pub(super) fn claim(&self, number: u32) -> Option<Packed> {
        let mut state = self.state();
        let stage = &mut state.known.get_mut(&number)?.stage;
        match std::mem::replace(stage, Stage::Claimed) {
            Stage::Packed(packed) => Some(packed),
            before => {
                *stage = before;
                None
            }
        }
    }

    /// The monitor says how one ended; the first word counts.
    pub(super) fn end(&self, number: u32, came: Came) {
        if let Some(Known { end: Some(end), .. }) = self.state().known.remove(&number) {
            let _ = end.send(came);
        }
    }

    /// Nobody wants it any more. From here on nothing is read or written for it, whatever the monitor does; its
    /// place is taken until that says that it is over.
    fn leave(&self, number: u32) {
        let mut state = self.state();
        let Some(known) = state.known.get_mut(&number) else { return };
        if let Some(end) = known.end.take() {
            let _ = end.send(KILLED);
        }
        if !matches!(known.stage, Stage::Claimed) {
            state.known.remove(&number);
        }
    }

    /// Nobody will say anything any more.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let ended = std::mem::take(&mut state.known);
        drop(state);
        drop(ended);
    }

    fn begin(self: &Arc<Self>, command: Command, guest: Ended) -> Result<Begun, CallError> {
        check(&command)?;
        let Command { words, environment, working_directory, streams, terminal } = command;
        let name = words.first().cloned().unwrap_or_default();
        let order = CommandOrder {
            words,
            environment: environment.into_iter().collect(),
            working_directory,
            terminal: terminal.map(|size| (size.rows, size.columns)),
            has_streams: streams.is_some(),
        };
        let (end, ended) = mpsc::channel();
        let number = self.take_place(&guest, end)?;
        // Until it is returned: what fails leaves no place taken.
        let (steering, turns) = unbounded_channel();
        let (tell, came) = watch::channel(None);
        let mut begun = Begun { name, number, commands: self.clone(), steering, came, guest, _asking: None };
        let (mut relayed, mut inside) = (None, Vec::new());
        if let Some(streams) = streams {
            let passing = Relayed::begin(streams, &self.host, &self.executor);
            let (passing, pipes, asking) = passing.map_err(|error| wrong(&format!("its streams: {error}")))?;
            (relayed, inside) = (Some(passing), pipes.into());
            begun._asking = Some(asking);
        }
        let thread = thread::Builder::new().name("ringfence-exec".into()).stack_size(STACK);
        let host = self.host.clone();
        let waiting = move || {
            let came = ended.recv().ok();
            if let Some(relayed) = relayed {
                relayed.finish();
            }
            // What ends because everything does, by a pipe that nobody reads any more, say, has no end of its own.
            tell.send_replace(Some(came.filter(|_| host.verdict() == Verdict::Continue)));
        };
        thread.spawn(waiting).map_err(|_| CallError::Unsupported("there is no thread to wait on"))?;
        if let Some(known) = self.state().known.get_mut(&number) {
            known.stage = Stage::Packed((order, inside));
        }
        self.executor.spawn(steer(self.answers.clone(), number, turns));
        Ok(begun)
    }

    /// A place for one more, and its number.
    fn take_place(&self, guest: &Ended, end: mpsc::Sender<Came>) -> Result<u32, CallError> {
        let mut state = self.state();
        if state.closed {
            return Err(CallError::Ended(guest.borrow().clone().unwrap_or(Exit::Stopped)));
        }
        if state.known.len() >= MOST_COMMANDS {
            return Err(CallError::Unsupported("there is no room for another command"));
        }
        let mut number = state.next;
        while state.known.contains_key(&number) {
            number = number.wrapping_add(1);
        }
        state.next = number.wrapping_add(1);
        state.known.insert(number, Known { stage: Stage::Placed, end: Some(end) });
        Ok(number)
    }
}

/// What can be said without the guest.
fn check(command: &Command) -> Result<(), CallError> {
    let Command { words, environment, working_directory, streams, terminal } = command;
    let variables = environment.iter().flat_map(|(name, value)| [name, value]);
    if words.iter().chain(variables).chain(working_directory).any(|word| word.contains('\0')) {
        return Err(wrong("a word contains a NUL character"));
    }
    if environment.keys().any(|name| name.is_empty() || name.contains('=')) {
        return Err(wrong("a variable has no name, or one that contains ="));
    }
    if working_directory.as_ref().is_some_and(|folder| !folder.starts_with('/')) {
        return Err(wrong("the working directory has to begin with /"));
    }
    let texts = words.iter().chain(environment.iter().flat_map(|(name, value)| [name, value])).chain(working_directory);
    if texts.map(|text| text.len() + BESIDE).sum::<usize>() > LONGEST {
        return Err(wrong("its words and variables are too long"));
    }
    if words.is_empty() {
        return Err(wrong("there is no command"));
    }
    if terminal.is_some() && streams.is_none() {
        return Err(wrong("a terminal needs streams to be connected to"));
    }
    Ok(())
}

fn wrong(reason: &str) -> CallError {
    CallError::Arguments { function: "exec".into(), reason: reason.into() }
}

/// Passes on what is done with a command, in its order. When the handle on it is gone, so is the command.
async fn steer(answers: Answers, number: u32, mut turns: UnboundedReceiver<Turn>) {
    let tell = |turn| answers.clone().tell(News::Steer(Steer::Command(number, turn)));
    tell(Turn::Begin).await;
    while let Some(turn) = turns.recv().await {
        tell(turn).await;
    }
    tell(Turn::End).await;
}

impl Exec for Carried {
    fn exec(&self, command: Vec<String>) -> BoxFuture<'_, Result<Exit, CallError>> {
        Box::pin(async move {
            match self.begin(Command { words: command, ..Command::default() })?.ended().await {
                Err(CallError::NotExecuted { reason, .. }) => Ok(Exit::Trapped(Trap::NotExecutable(reason))),
                ended => ended,
            }
        })
    }

    fn begin(&self, command: Command) -> Result<Box<dyn Running>, CallError> {
        let Some(commands) = &self.commands else {
            return Err(CallError::Unsupported("no further commands can be run at this level"));
        };
        if self.lines.are_unserved() {
            return Err(CallError::Unsupported("it has not been started"));
        }
        Ok(Box::new(commands.begin(command, self.end(&commands.executor))?))
    }
}

/// A command that was ordered.
struct Begun {
    name: String,
    number: u32,
    commands: Arc<Commands>,
    steering: UnboundedSender<Turn>,
    /// How it came out; nobody said so when the guest ended before.
    came: watch::Receiver<Option<Option<Came>>>,
    guest: Ended,
    _asking: Option<Asking>,
}

impl Running for Begun {
    fn signal(&self, signal: i32) {
        if (1..=64).contains(&signal) {
            let _ = self.steering.send(Turn::Signal(signal));
        }
    }

    fn resize(&self, size: WindowSize) {
        let _ = self.steering.send(Turn::Resize(size.rows, size.columns));
    }

    fn ended(&self) -> BoxFuture<'static, Result<Exit, CallError>> {
        let (mut came, mut guest, name) = (self.came.clone(), self.guest.clone(), self.name.clone());
        Box::pin(async move {
            let came = came.wait_for(Option::is_some).await.ok().and_then(|came| came.clone().flatten());
            match came {
                // As `exit(2)` does: a status is a byte.
                Some(Came::Returned(status)) => Ok(Exit::Returned(status & 0xff)),
                Some(Came::NotExecuted { missing, reason }) => {
                    Err(CallError::NotExecuted { command: name, missing, reason: plain(&reason) })
                }
                Some(Came::Arguments(reason)) => Err(CallError::Arguments { function: name, reason: plain(&reason) }),
                Some(Came::NoRoom) => Err(CallError::Unsupported("there is no room for another command")),
                None => {
                    let exit = guest.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
                    Err(CallError::Ended(exit.unwrap_or(Exit::Stopped)))
                }
            }
        })
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.commands.leave(self.number);
    }
}

/// A reason as far as it is one: the monitor may have written anything.
pub(super) fn plain(reason: &str) -> String {
    reason.chars().take(LONGEST_REASON).map(|one| if one.is_control() { '\u{fffd}' } else { one }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Command {
        Command { words: words.iter().map(|&word| word.to_owned()).collect(), ..Command::default() }
    }

    #[test]
    fn what_cannot_be_a_command_is_said_to_be_none_before_anybody_is_asked() {
        let variable = |name: &str| Command { environment: [(name.into(), "x".into())].into(), ..command(&["true"]) };
        let folder = Command { working_directory: Some("relative".into()), ..command(&["true"]) };
        let terminal = Command { terminal: Some(WindowSize { rows: 1, columns: 1 }), ..command(&["true"]) };
        let long = command(&["true", &"x".repeat(LONGEST)]);
        let many = command(&vec![""; LONGEST / BESIDE + 1]);
        let wrong = [command(&[]), command(&["a\0b"]), variable(""), variable("a=b"), folder, terminal, long, many];
        for (index, command) in wrong.iter().enumerate() {
            assert!(matches!(check(command), Err(CallError::Arguments { .. })), "{index}");
        }
        assert_eq!(check(&variable("A")), Ok(()));
    }

    #[test]
    fn a_reason_is_one_line_of_a_bounded_length() {
        assert_eq!(plain("No such\n\x1b[2Jfile"), "No such\u{fffd}\u{fffd}[2Jfile");
        assert_eq!(plain(&"ä".repeat(5000)).chars().count(), LONGEST_REASON);
    }
}
