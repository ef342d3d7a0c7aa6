//! The supervisor's end of the line: answers what a runner asks, and believes nothing.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;

use ringfence_abi::{Call, ErrorCode, Reply};
use ringfence_isolation::{BoxFuture, Host, Usage, Verdict};
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, JoinSet};

use super::wire::{Answered, Ask, End, Late, MOST, Order, Told, decode, next_frame, send_on};

/// How many calls may wait at once.
const WAITING: usize = 4096;
/// How many entries of a folder one call lists.
const ENTRIES: usize = 1024;

/// How a runner said that its guest ended, and how many instructions it counted.
pub(super) type Said = (End, u64);

/// Serves a runner until its end of the line closes; what it said of its guest's end, if anything.
pub(super) async fn serve(host: Arc<dyn Host>, asks: UnixStream, answers: UnixStream, order: Order) -> Option<Said> {
    let mut asks = BufReader::new(asks);
    let (_, answers) = answers.into_split();
    let mut desk =
        Desk { host, answers: Arc::new(Mutex::new(answers)), tasks: JoinSet::new(), waiting: HashMap::new() };
    let mut order = Some(order);
    loop {
        // A line that fails is one that ended: the runner speaks no longer, or never did properly.
        let bytes = next_frame(&mut asks).await.ok()??;
        let told = match decode::<Ask<'_>>(&bytes).ok()? {
            Ask::Order => Told::Order(order.take()?),
            Ask::Call { number, .. } => desk.call(number, bytes).await,
            Ask::GiveUp { number } => {
                if let Some(task) = desk.waiting.remove(&number) {
                    task.abort();
                }
                continue;
            }
            Ask::Charge { nanoseconds, memory } => {
                let cpu_time = std::time::Duration::from_nanos(nanoseconds);
                let verdict = desk.host.charge(Usage { cpu_time, memory, ..Usage::default() });
                Told::Verdict(verdict == Verdict::Continue)
            }
            Ask::Verdict => Told::Verdict(desk.host.verdict() == Verdict::Continue),
            Ask::Ended { end, fuel } => return Some((end, fuel)),
        };
        send_on(asks.get_mut(), &told).await.ok()?;
    }
}

/// What calls are answered with.
struct Desk {
    host: Arc<dyn Host>,
    answers: Arc<Mutex<OwnedWriteHalf>>,
    /// Ends with the desk.
    tasks: JoinSet<()>,
    waiting: HashMap<u32, AbortHandle>,
}

impl Desk {
    /// Answers a call that does not wait, and sees to it that another one is answered.
    async fn call(&mut self, number: u32, bytes: Vec<u8>) -> Told {
        while self.tasks.try_join_next().is_some() {}
        if self.tasks.len() >= WAITING {
            return Told::Now(Answered { result: Err(ErrorCode::TooManyHandles), into: Vec::new() });
        }
        let mut work: BoxFuture<'static, Answered> = Box::pin(answer(self.host.clone(), bytes));
        let first = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
        if let Poll::Ready(answered) = first {
            return Told::Now(answered);
        }
        let answers = self.answers.clone();
        let task = self.tasks.spawn(async move {
            let late = Late { number, answered: work.await };
            // A runner that takes no answers has no use for this one.
            let _: io::Result<()> = send_on(&mut *answers.lock().await, &late).await;
        });
        self.waiting.retain(|_, task| !task.is_finished());
        self.waiting.insert(number, task);
        Told::Later
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
