//! What a backend offers.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ringfence_abi::Value;
use ringfence_manifest::{Kind, Level, Spec, WindowSize};

use crate::{Activity, BoxFuture, Enforcement, Exit, Fact, Host, Refusal, Remnant, Shortfall, SystemCall, Usage};

/// The code that provides one level on this machine.
pub trait Backend: Send + Sync {
    /// Which level.
    fn level(&self) -> Level;
    /// Whether this backend runs programs of this kind, which its level may do in principle.
    fn runs(&self, kind: Kind) -> bool {
        self.level().runs(kind)
    }
    /// Facts about this machine. Looks, never changes anything, never fails.
    fn probe(&self) -> Vec<Fact>;
    /// What would be enforced for this spec, here. Runs nothing of the capsule; may read and compile
    /// its program.
    ///
    /// # Errors
    /// [`BuildError::Refused`] when a required guarantee cannot be held, [`BuildError::Program`] when
    /// the program is not one this level can run.
    fn prepare(&self, spec: &Spec) -> Result<Box<dyn Prepared>, BuildError>;
    /// Gets a spec ready whose program goes on from a state that [`Prepared::save`] wrote to `file`, instead
    /// of beginning. The state is not trusted: everything in it is checked, and what the program had open is
    /// opened anew behind the host of each instance, which judges it by the spec.
    ///
    /// # Errors
    /// As for [`Backend::prepare`]; [`BuildError::Snapshot`] when the file is damaged, or is not of this
    /// program on such a machine.
    fn restore(&self, spec: &Spec, file: std::fs::File) -> Result<Box<dyn Prepared>, BuildError> {
        let _ = (spec, file);
        Err(BuildError::Snapshot(format!("level {} has no snapshots", self.level())))
    }
    /// Whether it can do this for a run of a program of this kind. What it cannot is refused before it is
    /// asked to prepare.
    fn offers(&self, feature: Feature, kind: Kind) -> bool {
        let _ = (feature, kind);
        false
    }
    /// Every system call of Linux and whether it is served, for a level that serves them itself; none
    /// otherwise.
    fn system_calls(&self) -> Vec<SystemCall> {
        Vec::new()
    }
    /// What processes that were killed left of this level. Looks, never changes anything.
    fn remnants(&self) -> Vec<Remnant> {
        Vec::new()
    }
    /// Removes what [`Backend::remnants`] found.
    ///
    /// # Errors
    /// Why it is still there.
    fn remove(&self, remnant: &Remnant) -> std::io::Result<()> {
        let _ = remnant;
        Ok(())
    }
}

/// What a level may do for one run, and not every level does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Feature {
    /// A terminal in the place of the standard streams.
    Terminal,
    /// Keeping changes to the host's files apart instead of making them.
    Overlay,
    /// Capturing the state at a point of the program's.
    Capture,
}

/// A spec that a backend is ready to build, any number of times.
pub trait Prepared: Send + Sync {
    /// What will be enforced.
    fn promised(&self) -> &Enforcement;
    /// Whether starting it runs a program to its end. Otherwise an instance waits for calls
    /// ([`Instance::invoke`]) and ends when it is stopped.
    fn is_command(&self) -> bool {
        true
    }
    /// Builds the place. No instruction of the capsule has run when this returns.
    ///
    /// # Errors
    /// As for [`Backend::prepare`]: what only shows when the place is really built.
    fn build(&self, host: Arc<dyn Host>) -> Result<Box<dyn Instance>, BuildError>;
    /// Keeps so many built, empty places at hand from now on, so that [`build`](Self::build) finds one;
    /// each that is used is replaced in the background. A place shows the mounts as they were when it was
    /// built. Of a captured state, a backend may keep as many places whose instance has ended, once nothing of that
    /// instance is left in them. Where building takes no time worth saving, this does nothing.
    ///
    /// # Errors
    /// As for [`build`](Self::build).
    fn keep_warm(&self, _count: usize) -> Result<(), BuildError> {
        Ok(())
    }
    /// Writes the captured state it builds from, for [`Backend::restore`]. What the program had in memory
    /// is in it, secrets too.
    ///
    /// # Errors
    /// Why it was not written; `Unsupported` when it builds from no captured state.
    fn save(&self, _into: &mut dyn std::io::Write) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

/// A built place with a program in it.
pub trait Instance: Send + Sync {
    /// What is enforced, now that the place is built.
    fn enforced(&self) -> &Enforcement;
    /// Starts the program. The second call, and any after a stop, is an error.
    ///
    /// # Errors
    /// [`StartError`] when it was started or stopped before.
    fn start(&self) -> Result<(), StartError>;
    /// Ends it. [`Stop::Kill`] works at any moment, before the start too.
    fn stop(&self, how: Stop);
    /// Resolves when it has ended and everything of it is gone. May be asked any number of times.
    fn exited(&self) -> BoxFuture<'static, Exit>;
    /// What the backend itself measures: memory, processor time, fuel. The runtime adds the rest.
    fn usage(&self) -> Usage;
    /// What it asked of its level so far, for a level that counts that.
    fn activity(&self) -> Option<Activity> {
        None
    }

    /// Calling exported functions.
    fn invoke(&self) -> Option<&dyn Invoke> {
        None
    }
    /// Freezing and thawing.
    fn pause(&self) -> Option<&dyn Pause> {
        None
    }
    /// Capturing the whole state.
    fn snapshot(&self) -> Option<&dyn Snapshot> {
        None
    }
    /// Another command in the same place.
    fn exec(&self) -> Option<&dyn Exec> {
        None
    }
    /// The terminal it was given.
    fn terminal(&self) -> Option<&dyn Terminal> {
        None
    }
    /// Proof of what runs.
    fn attest(&self) -> Option<&dyn Attest> {
        None
    }
}

/// How to end an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Deliver this signal (`signal(7)`) if the level has signals; otherwise as `Kill`.
    Signal(i32),
    /// At once.
    Kill,
}

/// Calling the functions a capsule exports.
pub trait Invoke: Send + Sync {
    /// Calls `function` (`name`, or `interface#name`). Calls on one instance are served one after
    /// the other and share its state.
    fn call(&self, function: &str, arguments: Vec<Value>) -> BoxFuture<'_, Result<Vec<Value>, CallError>>;
}

/// Freezing an instance: it uses no processor time until it is resumed.
pub trait Pause: Send + Sync {
    /// Freezes it.
    fn pause(&self) -> BoxFuture<'_, Result<(), CallError>>;
    /// Lets it go on.
    fn resume(&self) -> BoxFuture<'_, Result<(), CallError>>;
}

/// Capturing an instance's whole state.
pub trait Snapshot: Send + Sync {
    /// Captures the state, from which instances can be built; what becomes of this one is said by `then`. With
    /// [`Session::capture_at`](ringfence_manifest::Session) this waits until the program has come to that
    /// point, and captures it there.
    ///
    /// # Errors
    /// [`CallError::NotCaptured`] names what cannot be captured, and it goes on; [`CallError::Ended`] when it
    /// ended before.
    fn capture(&self, then: Then) -> BoxFuture<'_, Result<Box<dyn Prepared>, CallError>>;
}

/// What becomes of an instance that was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It goes on.
    GoOn,
    /// It ends there, as [`Stop::Kill`] ends it: not one instruction more is run.
    End,
}

/// Running another command where an instance lives.
pub trait Exec: Send + Sync {
    /// Starts `command` in the same place and waits for its end.
    fn exec(&self, command: Vec<String>) -> BoxFuture<'_, Result<Exit, CallError>>;

    /// Starts a command that may have streams, a terminal, variables and a working directory of its own, and
    /// goes on.
    ///
    /// # Errors
    /// [`CallError`] when it was not started; [`CallError::Unsupported`] at a level that gives a further command
    /// nothing of its own.
    fn begin(&self, command: Command) -> Result<Box<dyn Running>, CallError> {
        let _ = command;
        Err(CallError::Unsupported("a further command has no streams of its own at this level"))
    }
}

/// A further command, and what it has of its own.
#[derive(Debug, Default)]
pub struct Command {
    /// Its name or path in the tree of the instance, and its arguments.
    pub words: Vec<String>,
    /// Variables beside those of the instance, or in the place of them.
    pub environment: BTreeMap<String, String>,
    /// Where it begins, absolute in the tree of the instance; where the instance began if nothing is said.
    pub working_directory: Option<String>,
    /// Its standard streams, to which nothing else leads from the instance: they are read and
    /// written on its behalf. Without them it has those of the instance, but for standard input.
    pub streams: Option<[OwnedFd; 3]>,
    /// It gets a terminal of this size. The first of the streams is typed into it, and what it shows goes to the
    /// second one.
    pub terminal: Option<WindowSize>,
}

/// A further command that was started. Dropping it ends the command.
pub trait Running: Send + Sync {
    /// Sends it a signal (`signal(7)`).
    fn signal(&self, signal: i32);
    /// The size of its terminal changed. Without one this does nothing.
    fn resize(&self, size: WindowSize);
    /// Resolves when it has ended and all it printed has arrived: to its status, or to 128 and the number of the
    /// signal that ended it, as a shell shows it. May be asked any number of times.
    /// [`CallError::NotExecuted`] when there was nothing to execute, [`CallError::Ended`] when the instance ended.
    fn ended(&self) -> BoxFuture<'static, Result<Exit, CallError>>;
}

/// The terminal of an instance, from outside.
pub trait Terminal: Send + Sync {
    /// Its size changed: the program is told, as `SIGWINCH` (`ioctl_tty(2)`).
    fn resize(&self, size: WindowSize);
}

/// Proving what runs.
pub trait Attest: Send + Sync {
    /// Evidence over `challenge`, in the hardware's own format.
    fn attest(&self, challenge: &[u8]) -> BoxFuture<'_, Result<Vec<u8>, CallError>>;
}

/// Why a place was not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A required guarantee cannot be held: nothing ran.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The backend promised more than it now enforces: nothing ran.
    #[error("{} was promised {} and is {}", .0.guarantee, .0.promised, .0.enforced)]
    Shortfall(Box<Shortfall>),
    /// The program cannot be read.
    #[error("cannot read the program {}", .path.display())]
    Unreadable {
        /// Where it was looked for.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The program is not one this level can run; the capsule's fault.
    #[error("{} is not a program for level {level}: {reason}", .path.display())]
    Program {
        /// Which program.
        path: std::path::PathBuf,
        /// The level.
        level: Level,
        /// What is wrong with it.
        reason: String,
    },
    /// A captured state cannot be gone on from: it is damaged, or of something else than the spec says.
    #[error("the snapshot cannot be used: {0}")]
    Snapshot(String),
    /// The host could not do something it should have.
    #[error("{doing}")]
    Host {
        /// What was being done.
        doing: &'static str,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Why an instance did not start; the caller's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// It was started before.
    #[error("the instance was started before")]
    AlreadyStarted,
    /// It was stopped before it was started.
    #[error("the instance was stopped before it was started")]
    Stopped,
}

/// Why a function was not called, or did not return.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The capsule exports no such function.
    #[error("the capsule exports no function {0}")]
    NoFunction(String),
    /// The arguments do not fit its type; the caller's mistake.
    #[error("{function} does not take these arguments: {reason}")]
    Arguments {
        /// Which function.
        function: String,
        /// What does not fit.
        reason: String,
    },
    /// A command that is not there, or is not one.
    #[error("{command} cannot be executed: {reason}")]
    NotExecuted {
        /// Which command.
        command: String,
        /// Whether nothing of that name is there.
        missing: bool,
        /// What the kernel says.
        reason: String,
    },
    /// The instance has ended, or ended during the call.
    #[error("the instance has ended: {0}")]
    Ended(Exit),
    /// This instance cannot do that.
    #[error("{0}")]
    Unsupported(&'static str),
    /// Its state cannot be captured as it is now.
    #[error("it cannot be captured: {0}")]
    NotCaptured(String),
}
