//! The runner's end of the line: a host that asks another one.

use std::collections::HashMap;
use std::io::{self, BufReader};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringfence_abi::{Call, ErrorCode, Reply};
use ringfence_isolation::{Answer, Folder, Host, Usage, Verdict};
use tokio::sync::oneshot;

use super::wire::{Answered, Ask, Late, MOST, Order, Told, decode, next_frame, receive, send};

/// Asks the supervisor.
pub(super) struct Remote {
    asks: Mutex<BufReader<UnixStream>>,
    next: AtomicU32,
    waiting: Arc<Waiting>,
    may_go_on: AtomicBool,
    folders: Vec<Folder>,
    functions: Vec<String>,
}

/// Who waits for which answer.
#[derive(Default)]
struct Waiting(Mutex<HashMap<u32, oneshot::Sender<Answered>>>);

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, oneshot::Sender<Answered>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remote {
    /// Asks on one line, and hands out what comes on the other; within a Tokio runtime.
    pub(super) fn new(asks: UnixStream, answers: tokio::net::UnixStream, order: &Order) -> Self {
        let mut answers = tokio::io::BufReader::new(answers);
        let waiting = Arc::new(Waiting::default());
        let handed_out = waiting.clone();
        tokio::spawn(async move {
            while let Ok(Some(bytes)) = next_frame(&mut answers).await {
                let Ok(Late { number, answered }) = decode(&bytes) else { break };
                if let Some(who) = handed_out.lock().remove(&number) {
                    // Who gave up in this moment does not mind.
                    let _ = who.send(answered);
                }
            }
            gone();
        });
        let folders = order.folders.iter().map(|(name, handle)| Folder { name: name.clone(), handle: *handle });
        Remote {
            asks: Mutex::new(BufReader::new(asks)),
            next: AtomicU32::new(0),
            waiting,
            may_go_on: AtomicBool::new(true),
            folders: folders.collect(),
            functions: order.functions.clone(),
        }
    }

    /// Tells something that is not answered.
    pub(super) fn tell(&self, ask: &Ask<'_>) {
        send(self.line().get_mut(), ask).unwrap_or_else(|_| gone());
    }

    fn line(&self) -> MutexGuard<'_, BufReader<UnixStream>> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, ask: &Ask<'_>) -> Told {
        let mut line = self.line();
        let told: io::Result<Told> = send(line.get_mut(), ask).and_then(|()| receive(&mut *line));
        told.unwrap_or_else(|_| gone())
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
        if let Call::Random { into } = call {
            return Answer::Now(self.random(into));
        }
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
        Answer::Now(put(answered, place))
    }

    fn charge(&self, used: Usage) -> Verdict {
        let nanoseconds = u64::try_from(used.cpu_time.as_nanos()).unwrap_or(u64::MAX);
        self.ask_verdict(&Ask::Charge { nanoseconds, memory: used.memory })
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
