//! Another command in the place of an instance.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use ringfence_isolation::{BoxFuture, CallError, Exec, Exit, Host, Instance, LostReason, Trap};
use ringfence_manifest::{Session, Spec, Stdio, StreamIn};
use rustix::net::{Shutdown, shutdown};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::ending;
use crate::instance::LinuxInstance;
use crate::launch::{self, Message, Report, Step};
use crate::pump::pump;
use crate::stdio::Streams;

/// Where a command without a path is looked for, in the place.
const PATH: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];
/// Enough for a loop around `poll`.
const STACK: usize = 128 * 1024;

/// What commands of an instance need beside its place.
pub(crate) struct Means {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) spec: Arc<Spec>,
    pub(crate) executor: Handle,
}

/// A command that runs. Dropping it ends the command.
struct Running {
    line: OwnedFd,
    ended: oneshot::Receiver<Option<Message>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // After its end nobody is there who would mind.
        let _ = shutdown(&self.line, Shutdown::Both);
    }
}

impl Exec for LinuxInstance {
    fn exec(&self, command: Vec<String>) -> BoxFuture<'_, Result<Exit, CallError>> {
        Box::pin(async move {
            let mut running = self.begin(&command)?;
            let message = (&mut running.ended).await.unwrap_or(None);
            match message {
                Some(Message::Ended(status)) => Ok(Exit::Returned(ending::as_a_shell_shows(status))),
                Some(Message::Failed(Step::Execute, errno)) => {
                    Ok(Exit::Trapped(Trap::Other(format!("the command cannot be executed: {errno}"))))
                }
                Some(Message::Failed(step, errno)) => {
                    Ok(Exit::Lost(LostReason::Backend(format!("{}: {errno}", step.doing()))))
                }
                _ => Err(CallError::Ended(self.exited().await)),
            }
        })
    }
}

impl LinuxInstance {
    fn begin(&self, command: &[String]) -> Result<Running, CallError> {
        let wrong = |reason: &str| CallError::Arguments { function: "exec".into(), reason: reason.into() };
        let word = |text: String| CString::new(text).map_err(|_| wrong("a word contains a NUL character"));
        let program = command.first().ok_or_else(|| wrong("there is no command"))?;
        let paths = match program.contains('/') {
            true => vec![program.clone()],
            false => PATH.iter().map(|folder| format!("{folder}/{program}")).collect(),
        };
        let paths = paths.into_iter().map(word).collect::<Result<Vec<_>, _>>()?;
        let arguments = command.iter().cloned().map(word).collect::<Result<Vec<_>, _>>()?;
        let spec = &self.means.spec;
        // The program has the standard input and the terminal.
        let stdio = Stdio { stdin: StreamIn::Null, ..spec.stdio.clone() };
        let spec = Spec { stdio, session: Session::default(), ..Spec::clone(spec) };
        let streams = Streams::open(&spec).map_err(|_| CallError::Unsupported("its streams cannot be opened"))?;
        let line = self.controls.order(&streams.inside, &paths, &arguments)?;
        self.wait(line, streams).map_err(|_| CallError::Unsupported("there is no thread to wait on"))
    }

    /// Waits for the end of a command on a thread of its own, and until all it printed has arrived.
    fn wait(&self, line: OwnedFd, streams: Streams) -> std::io::Result<Running> {
        let report = Report(line.try_clone()?);
        let (tell, ended) = oneshot::channel();
        let (over, still_there) = launch::pair()?;
        let over = Arc::new(over);
        drop(streams.inside);
        let mut pumps = Vec::new();
        for (from, to) in streams.outside {
            let (host, executor, over) = (self.means.host.clone(), self.means.executor.clone(), over.clone());
            let builder = thread::Builder::new().name("ringfence-pump".into()).stack_size(STACK);
            pumps.push(builder.spawn(move || {
                let _entered = executor.enter();
                pump(&from, &over, &host, to);
            })?);
        }
        thread::Builder::new().name("ringfence-exec".into()).stack_size(STACK).spawn(move || {
            // Pid 1 that has no room for a command leaves its words unread, of which the socket tells first.
            let message = report.next().or_else(|| report.next());
            drop(still_there);
            for pump in pumps {
                let _ = pump.join();
            }
            let _ = tell.send(message);
        })?;
        Ok(Running { line, ended })
    }
}
