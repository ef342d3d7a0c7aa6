//! The supervisor's end of the lines: answers what a runner asks, and believes nothing.
//!
//! A thread serves each line, so that a call which takes its time in the kernel holds up nobody but who made it;
//! a call that waits is left to the executor, and answered on the line of answers.

use std::collections::HashMap;
use std::io::{self, BufReader};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

use ringfence_abi::{Call, ErrorCode, Handle, Reply};
use ringfence_isolation::{BoxFuture, FileUse, Host, Verdict};
use ringfence_manifest::Permission;
use tokio::net::unix::OwnedWriteHalf;
use tokio::runtime::Handle as Executor;
use tokio::sync::{Mutex as TaskMutex, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::captures::Captures;
use super::carried::Told as Known;
use super::commands::Commands;
use super::parcel;
use super::wire::{
    Answered, Ask, CommandOrder, End, Late, MOST, News, Order, Told, Wanted, decode, receive_frame, send, send_on,
};

/// The longest path that is judged, in bytes: beyond any of Linux (`PATH_MAX`).
const LONGEST_PATH: usize = 64 << 10;

/// How many calls may wait at once.
const WAITING: usize = 4096;
/// How many entries of a folder one call lists.
const ENTRIES: usize = 1024;
/// How many lines a runner may ask on at once.
pub(super) const MOST_LINES: usize = 8;
/// Enough for a call of the hal.
const STACK: usize = 512 << 10;

/// How a runner said that its guest ended, and how many instructions it counted.
pub(super) type Said = (End, u64);

/// What a runner is served with; gone when its last line has ended.
pub(super) struct Desk {
    known: Arc<Known>,
    executor: Executor,
    answers: Answers,
    state: Mutex<State>,
    /// What there is for the monitor of a machine.
    machine: Option<Beside>,
    /// Told when everything has been served.
    ended: watch::Sender<bool>,
}

/// What the monitor of a machine is served with beside the hal.
pub(super) struct Beside {
    /// Where descriptors are passed to it.
    pub(super) parcels: UnixStream,
    pub(super) commands: Arc<Commands>,
    pub(super) captures: Arc<Captures>,
    /// Whether nothing that limits the guest counts what goes over its connections.
    pub(super) shares_connections: bool,
}

struct State {
    order: Option<Order>,
    /// Ends with the desk.
    tasks: JoinSet<()>,
    waiting: HashMap<u32, AbortHandle>,
    /// What the runner charged as kept on disk.
    disk: u64,
    lines: usize,
}

/// What comes of a runner's word.
pub(super) enum Word {
    Told(Told),
    Nothing,
    /// It has nothing more to say, or nothing that is heard.
    Over,
}

/// Where a runner is told what it did not wait for.
#[derive(Clone)]
pub(super) enum Answers {
    /// A line.
    Line(Arc<TaskMutex<OwnedWriteHalf>>),
    /// A place where it asks for it.
    Kept(mpsc::Sender<News>),
}

impl Answers {
    /// `line` does not block. Within the executor.
    pub(super) fn new(line: UnixStream) -> io::Result<Self> {
        let (_, line) = tokio::net::UnixStream::from_std(line)?.into_split();
        Ok(Answers::Line(Arc::new(TaskMutex::new(line))))
    }

    /// A runner that takes no news has no use for this one.
    pub(super) async fn tell(self, news: News) {
        match self {
            Answers::Line(line) => drop(send_on(&mut *line.lock().await, &news).await),
            Answers::Kept(place) => drop(place.send(news).await),
        }
    }
}

impl Desk {
    pub(super) fn new(
        known: Arc<Known>,
        executor: Executor,
        answers: Answers,
        order: Option<Order>,
        machine: Option<Beside>,
    ) -> (Arc<Self>, watch::Receiver<bool>) {
        let (ended, served) = watch::channel(false);
        let state = State { order, tasks: JoinSet::new(), waiting: HashMap::new(), disk: 0, lines: 0 };
        (Arc::new(Desk { known, executor, answers, state: Mutex::new(state), machine, ended }), served)
    }

    /// Serves a line on a thread of its own, until the runner's end of it closes.
    pub(super) fn serve(self: &Arc<Self>, line: UnixStream) -> io::Result<()> {
        self.state().lines += 1;
        let desk = self.clone();
        let thread = thread::Builder::new().name("ringfence-serve".into()).stack_size(STACK);
        // A line that fails is one that ended: the runner speaks no longer, or never did properly.
        thread.spawn(move || drop(desk.answer_all(line))).map(drop)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer_all(self: &Arc<Self>, line: UnixStream) -> io::Result<()> {
        let mut line = BufReader::new(line);
        loop {
            match self.heard(receive_frame(&mut line)?)? {
                Word::Told(told) => send(line.get_mut(), &told)?,
                Word::Nothing => {}
                Word::Over => return Ok(()),
            }
        }
    }

    /// What a runner is told that asks this.
    ///
    /// # Errors
    /// A runner that says such a thing is not itself, and is not answered any more.
    pub(super) fn heard(self: &Arc<Self>, bytes: Vec<u8>) -> io::Result<Word> {
        // What waits registers with the drivers of the executor.
        let _within = self.executor.enter();
        let host = &self.known.host;
        Ok(Word::Told(match decode::<Ask<'_>>(&bytes)? {
            Ask::Order => match self.state().order.take() {
                Some(order) => Told::Order(order),
                None => return Ok(Word::Over),
            },
            Ask::Call { number, .. } => self.call(number, bytes),
            Ask::GiveUp { number } => {
                if let Some(task) = self.state().waiting.remove(&number) {
                    task.abort();
                }
                return Ok(Word::Nothing);
            }
            Ask::Charge(charge) => {
                let mut state = self.state();
                state.disk = state.disk.saturating_add(charge.disk);
                drop(state);
                Told::Verdict(host.charge(charge.into()) == Verdict::Continue)
            }
            Ask::Verdict => Told::Verdict(host.verdict() == Verdict::Continue),
            Ask::ShrinkDisk { bytes } => {
                self.shrink_disk(bytes);
                return Ok(Word::Nothing);
            }
            Ask::Judge { path, wanted } => Told::Judged(match wanted {
                // Nobody has such a path: what is kept of what is denied or learned has a bound.
                _ if path.len() > LONGEST_PATH => Err(ErrorCode::Invalid),
                Wanted::Move(to) if to.len() > LONGEST_PATH => Err(ErrorCode::Invalid),
                Wanted::Look => host.judge(path, FileUse::Look),
                Wanted::Move(to) => host.judge(path, FileUse::Move(to)),
                Wanted::With(name) => match Permission::from_name(name) {
                    Some(permission) => host.judge(path, FileUse::With(permission)),
                    None => return Ok(Word::Over),
                },
            }),
            Ask::Line => Told::Parcel(self.one_more_line()?),
            Ask::Counted(activity) => {
                self.known.count(activity);
                return Ok(Word::Nothing);
            }
            Ask::Command(number) => Told::Command(self.command(number)?),
            Ask::CommandEnded { number, came } => {
                if let Some(Beside { commands, .. }) = &self.machine {
                    commands.end(number, came);
                }
                return Ok(Word::Nothing);
            }
            Ask::Capture => Told::Parcel(self.capture()?),
            Ask::Connection(socket) => Told::Parcel(self.connection(socket)),
            Ask::Captured(word) => {
                if let Some(Beside { captures, .. }) = &self.machine {
                    captures.end(word);
                }
                return Ok(Word::Nothing);
            }
            Ask::Ended { end, fuel } => {
                self.known.say((end, fuel));
                return Ok(Word::Over);
            }
            // Asked of who stands around a machine, and of nobody else.
            Ask::Code { .. } | Ask::Began { .. } | Ask::Wait => return Ok(Word::Over),
        }))
    }

    /// No more than was charged from there is taken back.
    fn shrink_disk(&self, bytes: u64) {
        let mut state = self.state();
        let bytes = bytes.min(state.disk);
        state.disk -= bytes;
        drop(state);
        self.known.host.shrink_disk(bytes);
    }

    fn one_more_line(self: &Arc<Self>) -> io::Result<bool> {
        let machine = self.machine.as_ref().filter(|_| self.state().lines < MOST_LINES);
        let Some(Beside { parcels, .. }) = machine else { return Ok(false) };
        // Where there is no descriptor left it goes on with those it has.
        let Ok((ours, theirs)) = UnixStream::pair() else { return Ok(false) };
        self.serve(ours)?;
        Ok(parcel::pass(parcels, &[theirs.into()]).is_ok())
    }

    /// The further command of this number, whose streams go as a parcel.
    fn command(&self, number: u32) -> io::Result<Option<CommandOrder>> {
        let Some(Beside { parcels, commands, .. }) = &self.machine else { return Ok(None) };
        let Some((order, streams)) = commands.claim(number) else { return Ok(None) };
        if order.has_streams {
            parcel::pass(parcels, &streams)?;
        }
        Ok(Some(order))
    }

    /// Whether a captured state is wanted; the pipe for it goes as a parcel.
    fn capture(&self) -> io::Result<bool> {
        let Some(Beside { parcels, captures, .. }) = &self.machine else { return Ok(false) };
        let Some(pipe) = captures.claim() else { return Ok(false) };
        parcel::pass(parcels, &[pipe])?;
        Ok(true)
    }

    /// Whether there is a connection behind a handle that may be the runner's, too; it goes as a parcel.
    fn connection(&self, socket: Handle) -> bool {
        let machine = self.machine.as_ref().filter(|machine| machine.shares_connections);
        let Some(Beside { parcels, .. }) = machine else { return false };
        let host = &self.known.host;
        // A socket of TCP takes nothing before it has a peer, and has no other one afterwards.
        let is_connected = host.call(Call::Send { stream: socket, from: &[] }).now() == Ok(Reply::Count(0));
        let connection = is_connected.then(|| host.descriptor(socket).ok()).flatten();
        connection.is_some_and(|connection| parcel::pass(parcels, &[connection]).is_ok())
    }

    /// Answers a call that does not wait, and sees to it that another one is answered.
    fn call(&self, number: u32, bytes: Vec<u8>) -> Told {
        let is_full = {
            let mut state = self.state();
            while state.tasks.try_join_next().is_some() {}
            state.tasks.len() >= WAITING
        };
        if is_full {
            return Told::Now(Answered { result: Err(ErrorCode::TooManyHandles), into: Vec::new() });
        }
        let mut work: BoxFuture<'static, Answered> = Box::pin(answer(self.known.host.clone(), bytes));
        if let Poll::Ready(answered) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Told::Now(answered);
        }
        let answers = self.answers.clone();
        let task = async move { answers.tell(News::Late(Late { number, answered: work.await })).await };
        let mut state = self.state();
        let task = state.tasks.spawn_on(task, &self.executor);
        state.waiting.retain(|_, task| !task.is_finished());
        state.waiting.insert(number, task);
        Told::Later
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if let Some(Beside { commands, .. }) = &self.machine {
            commands.close();
        }
        let _ = self.ended.send(true);
    }
}

/// Makes the call that the bytes of an [`Ask::Call`] are.
async fn answer(host: Arc<dyn Host>, bytes: Vec<u8>) -> Answered {
    let refused = Answered { result: Err(ErrorCode::Invalid), into: Vec::new() };
    let Ok(Ask::Call { call, .. }) = decode::<Ask<'_>>(&bytes) else { return refused };
    let mut size = 0;
    let call = match call {
        Call::List { directory, after, most } => Call::List { directory, after, most: most.min(ENTRIES) },
        call => call,
    };
    let call = call.map_into(|wanted: usize| size = wanted.min(MOST));
    let mut into = vec![0; size];
    let result = host.call(call.map_into(|()| &mut into[..])).wait().await;
    into.truncate(match &result {
        Ok(Reply::Count(count) | Reply::Datagram(count, _)) => *count,
        Ok(_) => into.len(),
        Err(_) => 0,
    });
    Answered { result, into }
}
