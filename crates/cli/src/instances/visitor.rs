//! The side of the commands that reach an instance.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use tokio::time::timeout;

use super::folder::{check_name, names, reach};
use super::wire::{Answer, Ask, Line, Status};
use crate::exit_code::ExitCode;
use crate::failure::Failure;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same for freezing, which waits for the kernel.
const LONG_PATIENCE: Duration = Duration::from_secs(30);

/// A connection to an instance.
pub(crate) struct Visit {
    pub(crate) name: String,
    /// The process that runs it.
    pub(crate) pid: i32,
    line: Line,
}

impl Visit {
    /// Connects to the instance of this name. Needs a Tokio runtime.
    ///
    /// # Errors
    /// When there is none, or it is somebody else's.
    pub(crate) fn to(name: &str) -> Result<Visit, Failure> {
        check_name(name)?;
        match Self::reach(name)? {
            Some(visit) => Ok(visit),
            None => Err(Failure::wrong(match names().as_slice() {
                [] => format!("no instance named {name} is running, nor any other"),
                names => format!("no instance named {name} is running; there are: {}", names.join(", ")),
            })),
        }
    }

    fn reach(name: &str) -> io::Result<Option<Visit>> {
        let Some(socket) = reach(name)? else { return Ok(None) };
        let peer = socket_peercred(&socket)?;
        if peer.uid != geteuid() && !peer.uid.is_root() {
            return Err(io::Error::other("another user answers to that name"));
        }
        let pid = peer.pid.as_raw_nonzero().get();
        Ok(Some(Visit { name: name.to_owned(), pid, line: Line::of(socket)? }))
    }

    /// Asks, with these descriptors, without waiting for an answer.
    pub(crate) async fn tell(&self, ask: &Ask, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.line.send(ask, descriptors).await
    }

    /// The next answer; `None` when the instance is gone.
    pub(crate) async fn answer(&self) -> io::Result<Option<Answer>> {
        let mut received = self.line.receive().await;
        if received.as_ref().is_err_and(was_hung_up) {
            // That it did not take what it was asked is told before what it said.
            received = self.line.receive().await;
        }
        match received {
            Ok(answer) => Ok(answer.map(|(answer, _)| answer)),
            Err(error) if was_hung_up(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks and waits for the answer.
    pub(crate) async fn ask(&self, ask: &Ask) -> Result<Answer, Failure> {
        let answer = self.ask_if_there(ask).await?;
        answer.ok_or_else(|| Failure::wrong(format!("{} has just ended", self.name)))
    }

    /// The same; `None` when the instance is gone, with or without having heard it.
    pub(crate) async fn ask_if_there(&self, ask: &Ask) -> Result<Option<Answer>, Failure> {
        let patience = if matches!(ask, Ask::Pause | Ask::Resume) { LONG_PATIENCE } else { PATIENCE };
        let asked = async {
            match self.tell(ask, &[]).await {
                // It may have said why.
                Err(error) if was_hung_up(&error) => {}
                told => told?,
            }
            self.answer().await
        };
        let name = &self.name;
        match timeout(patience, asked).await {
            Ok(Ok(Some(Answer::Refused { by_level, message }))) => Err(refused(by_level, &message)),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Failure::host(&error)),
            Err(_) => {
                let what = format!("{name} does not answer; the process that runs it is {}", self.pid);
                Err(Failure::host(&io::Error::other(what)))
            }
        }
    }

    /// Waits until the instance is gone.
    pub(crate) async fn gone(&self) {
        while let Ok(Some(_)) = self.answer().await {}
    }
}

/// Whether the other side hung up.
fn was_hung_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Why an instance does not do what was asked.
pub(crate) fn refused(by_level: bool, message: &str) -> Failure {
    let failure = Failure::wrong(message);
    if by_level { Failure { kind: "refused", code: ExitCode::Refused, ..failure } } else { failure }
}

/// Every instance of this user with the process that runs it, and how it is; `None` for one that does not answer.
pub(crate) async fn all() -> Vec<(String, i32, Option<Status>)> {
    let mut found = Vec::new();
    for name in names() {
        let Ok(Some(visit)) = Visit::reach(&name) else { continue };
        match visit.ask_if_there(&Ask::Status).await {
            Ok(Some(Answer::Status(status))) if status.name == name => found.push((name, visit.pid, Some(status))),
            // It went while it was asked.
            Ok(None) => {}
            _ => found.push((name, visit.pid, None)),
        }
    }
    found
}
