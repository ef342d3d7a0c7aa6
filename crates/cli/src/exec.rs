//! `ringfence exec`: another command in an instance, in front of whoever asks for it.
//!
//! The command is started by the process that runs the instance; what is handed to that process are pipes, files
//! and the like. A terminal never is: what is typed there and shown there is read and written here.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use clap::Args;
use ringfence::WindowSize;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::isatty;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Outcome;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::instances::{Answer, Ask, Streams, Visit, refused};
use crate::output::{visible, visible_line};
use crate::signals::Signals;
use crate::terminal;

pub(crate) const HELP: &str = "\
Exit codes:
  that of the command, as a shell shows it: its own, or 128 + N when signal N ended it; beside that:
    2  the command line is wrong
  117  ringfence or this machine failed
  120  there is no such instance, or what is asked for is wrong
  121  the level of the instance runs no further commands
  126  the command cannot be executed
  127  the command is not there
  137  the instance ended before the command did";

#[derive(Args)]
pub(crate) struct Arguments {
    /// Give the command a terminal of its own, with job control
    #[arg(long, short)]
    tty: bool,
    /// Standard input is passed on anyway
    #[arg(long, short, hide = true)]
    interactive: bool,
    /// Set a variable for the command, or pass this machine's on
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Where the command begins, in the instance's own tree
    #[arg(long, value_name = "PATH")]
    cwd: Option<String>,
    /// In which instance, as `ringfence ps` lists it
    name: String,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    words: Vec<String>,
}

/// How much is read at once.
const CHUNK: usize = 16 << 10;

pub(crate) fn exec(arguments: Arguments) -> Outcome {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(accompany(arguments));
    terminal::restore();
    // Threads may still read what is typed: they end with the process.
    std::mem::forget(runtime);
    Ok(ended.unwrap_or_else(|failure| {
        eprintln!("{}", visible(&failure.text()));
        failure.code
    }))
}

async fn accompany(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { tty, interactive: _, env, cwd, name, words } = arguments;
    let visit = Visit::to(&name)?;
    let mut signals = Signals::catch()?;
    let mut sizes = tty.then(|| signal(SignalKind::window_change())).transpose()?;
    let size = |WindowSize { rows, columns }| (rows, columns);
    let asked = Ask::Exec {
        words,
        environment: variables(env)?,
        working_directory: cwd,
        terminal: tty.then(|| size(terminal::size())),
    };
    let mut ends = Ends::default();
    let streams = ends.open(tty)?;
    let told = visit.tell(&asked, &streams.each_ref().map(AsFd::as_fd)).await;
    told.map_err(|error| Failure::wrong(format!("the command cannot be passed on: {error}")))?;
    drop(streams);
    let mut first = None;
    let mut over = None;
    let code = loop {
        tokio::select! {
            answer = visit.answer() => match answer? {
                Some(Answer::Begun) => {
                    if tty {
                        std::mem::forget(terminal::raw()?);
                    }
                    over = Some(ends.connect()?);
                }
                Some(Answer::Ended(status)) => break ExitCode::Capsule(status),
                Some(Answer::NotExecuted { missing, message }) => {
                    terminal::restore();
                    eprintln!("ringfence: {}", visible_line(&message));
                    break ExitCode::Capsule(if missing { 127 } else { 126 });
                }
                Some(Answer::Refused { by_level, message }) => return Err(refused(by_level, &message)),
                Some(_) => return Err(Failure::wrong(format!("{name} does not understand"))),
                None => {
                    terminal::restore();
                    eprintln!("ringfence: {name} ended before the command did");
                    break ExitCode::Capsule(137);
                }
            },
            signal = signals.next() => match first {
                None => {
                    first = Some(signal);
                    let _ = visit.tell(&Ask::Signal(signal), &[]).await;
                }
                // The command ends with the connection.
                Some(first) => break ExitCode::Signal(first),
            },
            () = resized(&mut sizes) => {
                let (rows, columns) = size(terminal::size());
                let _ = visit.tell(&Ask::Resize(rows, columns), &[]).await;
            }
        }
    };
    // The command ends with the connection, if it has not: what it prints would not.
    drop(visit);
    drop(over);
    ends.finish();
    Ok(code)
}

/// The variables that were asked for.
fn variables(written: Vec<String>) -> Result<BTreeMap<String, String>, Failure> {
    let one = |text: String| match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => match std::env::var(&text) {
            Ok(value) => Ok((text, value)),
            Err(_) => Err(Failure::wrong(format!("--env {text}: this machine has no such variable in UTF-8"))),
        },
    };
    written.into_iter().map(one).collect()
}

async fn resized(sizes: &mut Option<Signal>) {
    if let Some(sizes) = sizes
        && sizes.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

/// Our ends of the pipes that stand for terminals.
#[derive(Default)]
struct Ends {
    typed: Option<OwnedFd>,
    shown: Vec<(OwnedFd, BorrowedFd<'static>)>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Ends {
    /// The streams for the command: ours, but for terminals. With a terminal of its own it has no third one.
    fn open(&mut self, tty: bool) -> io::Result<Streams> {
        let input = match isatty(stdin()) {
            true => {
                let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
                self.typed = Some(ours);
                theirs
            }
            false => own(stdin())?,
        };
        let output = self.out(stdout())?;
        let error = if tty { null()? } else { self.out(stderr())? };
        Ok([input, output, error])
    }

    fn out(&mut self, to: BorrowedFd<'static>) -> io::Result<OwnedFd> {
        if !isatty(to) {
            return own(to);
        }
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        self.shown.push((ours, to));
        Ok(theirs)
    }

    /// Begins to read what is typed and to show what comes. Closing what this returns ends the showing when there
    /// is nothing left to be shown.
    fn connect(&mut self) -> io::Result<OwnedFd> {
        let (over, still_there) = pipe_with(PipeFlags::CLOEXEC)?;
        for (from, to) in self.shown.drain(..) {
            let over = over.try_clone()?;
            self.threads.push(thread::Builder::new().spawn(move || show(&from, &over, to))?);
        }
        if let Some(to) = self.typed.take() {
            thread::Builder::new().spawn(move || type_in(&to))?;
        }
        Ok(still_there)
    }

    fn finish(self) {
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// One of our streams. A closed one is nothing.
fn own(stream: BorrowedFd<'static>) -> io::Result<OwnedFd> {
    match fcntl_dupfd_cloexec(stream, 3) {
        Err(Errno::BADF) => null(),
        stream => Ok(stream?),
    }
}

fn null() -> io::Result<OwnedFd> {
    Ok(std::fs::File::options().read(true).write(true).open("/dev/null")?.into())
}

/// Passes what is typed on until it ends, or nobody takes it any more.
fn type_in(to: &OwnedFd) {
    let mut chunk = [0; CHUNK];
    loop {
        match read(stdin(), &mut chunk) {
            Ok(0) => return,
            Ok(count) if write_all(to.as_fd(), &chunk[..count]).is_err() => return,
            Ok(_) => {}
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => _ = poll(&mut [PollFd::from_borrowed_fd(stdin(), PollFlags::IN)], None),
            Err(_) => return,
        }
    }
}

/// Shows what comes until nobody is left who could write; when `over` closes, what is there already.
fn show(from: &OwnedFd, over: &OwnedFd, to: BorrowedFd<'_>) {
    let mut chunk = [0; CHUNK];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        let mut ready = [PollFd::new(from, PollFlags::IN), PollFd::new(over, PollFlags::empty())];
        if poll(&mut ready, None).is_err() {
            continue;
        }
        let [data, ended] = ready.map(|ready| !ready.revents().is_empty());
        if ended && !data && poll(&mut [PollFd::new(from, PollFlags::IN)], Some(&now)) == Ok(0) {
            return;
        }
        match if data { read(from, &mut chunk) } else { Err(Errno::AGAIN) } {
            Ok(0) => return,
            Ok(count) if write_all(to, &chunk[..count]).is_err() => return,
            Ok(_) | Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return,
        }
    }
}

fn write_all(to: BorrowedFd<'_>, mut rest: &[u8]) -> Result<(), Errno> {
    while !rest.is_empty() {
        match write(to, rest) {
            Ok(count) => rest = &rest[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => _ = poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], None),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
