//! The runner's end of the lines: a host that asks another one.

use std::collections::HashMap;
use std::io::{self, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use ringfence_abi::{Call, Clock, ErrorCode, Reply, Timestamp};
use ringfence_isolation::{Answer, FileUse, Folder, Host, Usage, Verdict};
use tokio::sync::oneshot;

use super::connections::Connections;
use super::door::Door;
use super::parcel;
use super::wire::{
    Answered, Ask, Charge, CommandOrder, Late, MOST, News, Steer, Told, Wanted, decode, next_frame, receive, send,
};

/// Asks the supervisor.
pub(super) struct Remote {
    way: Way,
    next: AtomicU32,
    waiting: Arc<Waiting>,
    may_go_on: AtomicBool,
    folders: Vec<Folder>,
    functions: Vec<String>,
    /// What nothing limits is told of with the next charge.
    owed: Mutex<Charge>,
    /// Those that are passed on to it, if any are.
    connections: Option<Connections>,
    counts_each: bool,
    counts_disk: bool,
    tells_time: bool,
}

/// The way to it: lines from a process, or a machine's door.
enum Way {
    Lines(Lines),
    Door(Door),
}

type Line = BufReader<UnixStream>;

/// The lines to ask on. As long as there may be more, one is free: who takes the last one asks for another first.
struct Lines {
    free: Mutex<Vec<Line>>,
    freed: Condvar,
    /// Where further ones come from, and the streams of commands: what is asked for is taken before anything else is.
    parcels: Option<Mutex<UnixStream>>,
    may_grow: AtomicBool,
}

impl Lines {
    fn new(lines: Vec<UnixStream>, parcels: Option<UnixStream>) -> Self {
        let may_grow = AtomicBool::new(parcels.is_some());
        let free = Mutex::new(lines.into_iter().map(BufReader::new).collect());
        Lines { free, freed: Condvar::new(), parcels: parcels.map(Mutex::new), may_grow }
    }

    fn free(&self) -> MutexGuard<'_, Vec<Line>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parcels(&self) -> Option<MutexGuard<'_, UnixStream>> {
        Some(self.parcels.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Line) -> io::Result<T>) -> T {
        let (mut line, was_last) = {
            let mut free = self.free();
            loop {
                if let Some(line) = free.pop() {
                    break (line, free.is_empty());
                }
                free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
            }
        };
        if was_last && self.may_grow.load(Relaxed) {
            self.grow(&mut line).unwrap_or_else(|_| gone());
        }
        let done = work(&mut line).unwrap_or_else(|_| gone());
        self.free().push(line);
        self.freed.notify_one();
        done
    }

    fn grow(&self, line: &mut Line) -> io::Result<()> {
        let Some(parcels) = self.parcels() else { return Ok(()) };
        send(line.get_mut(), &Ask::Line)?;
        match receive(line)? {
            Told::Parcel(true) => match parcel::take(&*parcels)?.pop() {
                Some(line) => {
                    self.free().push(BufReader::new(line.into()));
                    self.freed.notify_one();
                }
                // No descriptor was left for it.
                None => self.may_grow.store(false, Relaxed),
            },
            Told::Parcel(false) => self.may_grow.store(false, Relaxed),
            _ => gone(),
        }
        Ok(())
    }
}

/// Who waits for which answer.
#[derive(Default)]
struct Waiting(Mutex<HashMap<u32, oneshot::Sender<Answered>>>);

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, oneshot::Sender<Answered>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand_out(&self, Late { number, answered }: Late) {
        if let Some(who) = self.lock().remove(&number) {
            // Who gave up in this moment does not mind.
            let _ = who.send(answered);
        }
    }
}

/// What a runner is given beside its lines.
pub(super) struct Given {
    pub(super) folders: Vec<(String, ringfence_abi::Handle)>,
    pub(super) functions: Vec<String>,
    /// Whether the supervisor is told of each operation before it is done.
    pub(super) counts_each: bool,
    /// The same of files that its guest keeps in memory, as they grow.
    pub(super) counts_disk: bool,
    /// How many connections of its guest it takes itself, where they are passed on.
    pub(super) connections: Option<usize>,
    /// Whether clocks and random bytes, which cannot be denied to its guest, are its own.
    pub(super) tells_time: bool,
}

impl Remote {
    /// Asks on these lines, and hands out what comes on the other; signals for the guest go to `signals`. Further
    /// lines come as parcels. Within a Tokio runtime.
    pub(super) fn new(
        lines: Vec<UnixStream>,
        parcels: Option<UnixStream>,
        answers: tokio::net::UnixStream,
        given: Given,
        steered: impl Fn(Steer) + Send + 'static,
    ) -> Self {
        let mut answers = tokio::io::BufReader::new(answers);
        let remote = Remote::by(Way::Lines(Lines::new(lines, parcels)), given);
        let waiting = remote.waiting.clone();
        tokio::spawn(async move {
            while let Ok(Some(bytes)) = next_frame(&mut answers).await {
                match decode(&bytes) {
                    Ok(News::Late(late)) => waiting.hand_out(late),
                    Ok(News::Steer(steer)) => steered(steer),
                    Err(_) => break,
                }
            }
            gone();
        });
        remote
    }

    /// The same within a machine, where nobody steers it.
    pub(super) fn through(door: Door, given: Given) -> Self {
        Remote::by(Way::Door(door), given)
    }

    fn by(way: Way, given: Given) -> Self {
        let folders = given.folders.into_iter().map(|(name, handle)| Folder { name, handle });
        Remote {
            way,
            next: AtomicU32::new(0),
            waiting: Arc::default(),
            may_go_on: AtomicBool::new(true),
            folders: folders.collect(),
            functions: given.functions,
            tells_time: given.tells_time,
            owed: Mutex::default(),
            connections: given.connections.map(Connections::new),
            counts_each: given.counts_each,
            counts_disk: given.counts_disk,
        }
    }

    fn owed(&self) -> MutexGuard<'_, Charge> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells something that is not answered.
    pub(super) fn tell(&self, ask: &Ask<'_>) {
        match &self.way {
            Way::Lines(lines) => lines.with(|line| send(line.get_mut(), ask)),
            Way::Door(door) => door.tell(ask).unwrap_or_else(|_| gone()),
        }
    }

    pub(super) fn ask(&self, ask: &Ask<'_>) -> Told {
        match &self.way {
            Way::Lines(lines) => lines.with(|line| send(line.get_mut(), ask).and_then(|()| receive(line))),
            Way::Door(door) => door.ask(ask).unwrap_or_else(|_| gone()),
        }
    }

    /// Waits for one answer that is outstanding, and hands it out; returns at once when there is none. In a machine,
    /// where nobody else does.
    pub(super) fn wait(&self) {
        if self.waiting.lock().is_empty() {
            return;
        }
        match self.ask(&Ask::Wait) {
            Told::News(News::Late(late)) => self.waiting.hand_out(late),
            _ => gone(),
        }
    }

    /// A machine's door passes no descriptors.
    fn lines(&self) -> Option<&Lines> {
        match &self.way {
            Way::Lines(lines) => Some(lines),
            Way::Door(_) => None,
        }
    }

    /// The further command of this number with its streams, if it is still wanted.
    pub(super) fn command(&self, number: u32) -> Option<(CommandOrder, Vec<OwnedFd>)> {
        let lines = self.lines()?;
        let (told, streams) = lines.with(|line| {
            let parcels = lines.parcels();
            send(line.get_mut(), &Ask::Command(number))?;
            let told = receive(line)?;
            let streams = match (&told, &parcels) {
                (Told::Command(Some(CommandOrder { has_streams: true, .. })), Some(parcels)) => {
                    parcel::take(&**parcels)?
                }
                _ => Vec::new(),
            };
            Ok((told, streams))
        });
        let Told::Command(order) = told else { gone() };
        Some((order?, streams))
    }

    /// What is asked for and comes as one descriptor, if there is such a thing.
    pub(super) fn parcel(&self, ask: &Ask<'_>) -> Option<OwnedFd> {
        let lines = self.lines()?;
        lines.with(|line| {
            let parcels = lines.parcels();
            send(line.get_mut(), ask)?;
            match (receive(line)?, &parcels) {
                (Told::Parcel(true), Some(parcels)) => Ok(parcel::take(&**parcels)?.pop()),
                (Told::Parcel(_), _) => Ok(None),
                _ => gone(),
            }
        })
    }

    /// The answer to a call on a connection of the runner's own; the call itself where it is on none.
    fn over_a_connection<'a>(&'a self, mut call: Call<'a>) -> Result<Answer<'a>, Call<'a>> {
        let Some(connections) = &self.connections else { return Err(call) };
        // A guest that is to stop is told so by the supervisor.
        let asked = |socket| {
            let may_go_on = self.may_go_on.load(Relaxed);
            may_go_on.then(|| connections.or_ask(socket, || self.parcel(&Ask::Connection(socket)))).flatten()
        };
        let result = match call {
            Call::Ready { handle, interest } => {
                let connection = connections.of(handle).ok_or(call)?;
                return Ok(connection.ready(interest));
            }
            Call::Send { stream, from } => asked(stream).ok_or(call)?.send(from),
            Call::Receive { stream, ref mut into } => match asked(stream) {
                Some(connection) => connection.receive(into),
                None => return Err(call),
            },
            Call::Close { handle } => {
                connections.remove(handle);
                return Err(call);
            }
            call => return Err(call),
        };
        let bytes = if let Ok(Reply::Count(count)) = result { count as u64 } else { 0 };
        let mut owed = self.owed();
        owed.io_operations = owed.io_operations.saturating_add(1);
        owed.io_bytes = owed.io_bytes.saturating_add(bytes);
        owed.network_bytes = owed.network_bytes.saturating_add(bytes);
        Ok(Answer::Now(result))
    }

    /// Notes what sockets there are for [`over_a_connection`](Self::over_a_connection).
    fn note_socket(&self, result: &Result<Reply, ErrorCode>, is_made: bool) {
        match (&self.connections, result) {
            (Some(connections), Ok(Reply::Handle(socket))) if is_made => connections.add(*socket),
            (Some(connections), Ok(Reply::Accepted(socket, _))) => connections.add(*socket),
            _ => {}
        }
    }

    fn ask_verdict(&self, ask: &Ask<'_>) -> Verdict {
        let Told::Verdict(may_go_on) = self.ask(ask) else { gone() };
        self.may_go_on.store(may_go_on, Relaxed);
        self.known_verdict()
    }

    /// Why it may not go on is known where the verdict was made.
    fn known_verdict(&self) -> Verdict {
        if self.may_go_on.load(Relaxed) { Verdict::Continue } else { Verdict::Stopped }
    }

    fn noticed(&self, result: &Result<Reply, ErrorCode>) {
        if *result == Err(ErrorCode::Stopping) {
            self.may_go_on.store(false, Relaxed);
        }
    }

    /// Fills all of it, in as many calls as that takes.
    fn random(&self, into: &mut [u8]) -> Result<Reply, ErrorCode> {
        for chunk in into.chunks_mut(MOST) {
            let number = self.next.fetch_add(1, Relaxed);
            let Told::Now(answered) = self.ask(&Ask::Call { number, call: Call::Random { into: chunk.len() } }) else {
                gone()
            };
            self.noticed(&answered.result);
            answered.result?;
            chunk.copy_from_slice(answered.into.get(..chunk.len()).ok_or(ErrorCode::Io)?);
        }
        Ok(Reply::Done)
    }
}

impl Host for Remote {
    fn call<'a>(&'a self, call: Call<'a>) -> Answer<'a> {
        let call = match call {
            Call::Random { into } if self.tells_time => return Answer::Now(own_random(into)),
            Call::Random { into } => return Answer::Now(self.random(into)),
            Call::Now { clock } if self.tells_time => return Answer::Now(Ok(Reply::Time(own_time(clock)))),
            call => call,
        };
        let call = match self.over_a_connection(call) {
            Ok(answer) => return answer,
            Err(call) => call,
        };
        let makes_socket = matches!(call, Call::TcpSocket { .. });
        let number = self.next.fetch_add(1, Relaxed);
        let mut place = None;
        let call = shortened(call).map_into(|into: &'a mut [u8]| {
            let wanted = into.len().min(MOST);
            place = Some(into);
            wanted
        });
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().insert(number, sender);
        let told = self.ask(&Ask::Call { number, call });
        if let Told::Later = told {
            let given_up = GiveUp { remote: self, number, is_answered: false };
            return Answer::Later(Box::pin(async move {
                let mut given_up = given_up;
                let answered = receiver.await.unwrap_or_else(|_| gone());
                given_up.is_answered = true;
                self.noticed(&answered.result);
                put(answered, place)
            }));
        }
        self.waiting.lock().remove(&number);
        let Told::Now(answered) = told else { gone() };
        self.noticed(&answered.result);
        self.note_socket(&answered.result, makes_socket);
        Answer::Now(put(answered, place))
    }

    fn charge(&self, used: Usage) -> Verdict {
        // What a further command prints is counted where it is read, outside.
        if used == (Usage { output: used.output, ..Usage::default() }) && used.output > 0 {
            return self.known_verdict();
        }
        let mut charge = Charge::from(used);
        let is_io = used.io_operations > 0 || used.io_bytes > 0;
        let is_limited = is_io && self.counts_each || used.disk > 0 && self.counts_disk;
        let waits = (is_io || used.disk > 0) && charge.nanoseconds == 0 && !is_limited;
        let mut owed = self.owed();
        charge.io_operations = charge.io_operations.saturating_add(owed.io_operations);
        charge.io_bytes = charge.io_bytes.saturating_add(owed.io_bytes);
        charge.disk = charge.disk.saturating_add(owed.disk);
        charge.network_bytes = charge.network_bytes.saturating_add(owed.network_bytes);
        if waits {
            *owed = charge;
            return self.known_verdict();
        }
        *owed = Charge::default();
        // Held until it is told: what is kept on disk is not to be taken back before it is charged.
        let _held = (charge.disk > 0).then_some(owed);
        self.ask_verdict(&Ask::Charge(charge))
    }

    fn judge(&self, path: &[u8], wanted: FileUse<'_>) -> Result<(), ErrorCode> {
        let wanted = match wanted {
            FileUse::With(permission) => Wanted::With(permission.name()),
            FileUse::Look => Wanted::Look,
            FileUse::Move(to) => Wanted::Move(to),
        };
        let Told::Judged(judged) = self.ask(&Ask::Judge { path, wanted }) else { gone() };
        if judged == Err(ErrorCode::Stopping) {
            self.may_go_on.store(false, Relaxed);
        }
        judged
    }

    fn shrink_disk(&self, bytes: u64) {
        let mut owed = self.owed();
        let told = bytes.saturating_sub(owed.disk);
        owed.disk = owed.disk.saturating_sub(bytes);
        drop(owed);
        if told > 0 {
            self.tell(&Ask::ShrinkDisk { bytes: told });
        }
    }

    fn verdict(&self) -> Verdict {
        self.known_verdict()
    }

    fn folders(&self) -> Vec<Folder> {
        self.folders.clone()
    }

    fn functions(&self) -> &[String] {
        &self.functions
    }
}

/// What the hal would say, which asks the same kernel.
pub(super) fn own_time(clock: Clock) -> Timestamp {
    let time = rustix::time::clock_gettime(match clock {
        Clock::Wall => rustix::time::ClockId::Realtime,
        Clock::Monotonic => rustix::time::ClockId::Monotonic,
    });
    Timestamp::from(time.tv_sec) * 1_000_000_000 + Timestamp::from(time.tv_nsec)
}

pub(super) fn own_random(mut into: &mut [u8]) -> Result<Reply, ErrorCode> {
    while !into.is_empty() {
        let most = into.len().min(MOST);
        match rustix::rand::getrandom(&mut into[..most], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => into = &mut into[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return Err(ErrorCode::Io),
        }
    }
    Ok(Reply::Done)
}

/// A call that was given up before it was answered is given up there, too.
struct GiveUp<'a> {
    remote: &'a Remote,
    number: u32,
    is_answered: bool,
}

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.remote.waiting.lock().remove(&self.number);
            self.remote.tell(&Ask::GiveUp { number: self.number });
        }
    }
}

/// What moves more than fits is done in part.
fn shortened(call: Call<'_>) -> Call<'_> {
    let part = |from: &[u8]| from.len().min(MOST);
    match call {
        Call::Write { file, at, from } => Call::Write { file, at, from: &from[..part(from)] },
        Call::Send { stream, from } => Call::Send { stream, from: &from[..part(from)] },
        call => call,
    }
}

/// Puts the bytes of an answer where the call wants them.
fn put(answered: Answered, place: Option<&mut [u8]>) -> Result<Reply, ErrorCode> {
    let Answered { result, into } = answered;
    if let (Ok(_), Some(place)) = (&result, place) {
        place.get_mut(..into.len()).ok_or(ErrorCode::Io)?.copy_from_slice(&into);
    }
    result
}

/// Without a supervisor there is nothing more to do.
pub(super) fn gone() -> ! {
    std::process::exit(70)
}
