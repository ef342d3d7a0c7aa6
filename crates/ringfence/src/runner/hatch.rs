//! The host of a machine whose program is a runner.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ringfence_abi::{Call, ErrorCode, Reply, Value};
use ringfence_isolation::{Answer, Folder, Host, Usage, Verdict};
use tokio::sync::{Mutex as TaskMutex, mpsc};

use super::remote::{own_random, own_time};
use super::serve::{Desk, Word};
use super::wire::{Ask, MOST, News, Told, decode, encode};

/// Answers what the runner in a machine asks, from the host of the capsule, and has nothing else for that machine: no
/// file, no socket, no stream.
pub(super) struct Hatch {
    desk: Arc<Desk>,
    /// The capsule's.
    host: Arc<dyn Host>,
    code: Arc<[u8]>,
    news: Arc<TaskMutex<mpsc::Receiver<News>>>,
    spent: Mutex<Spent>,
    set_up: Duration,
    functions: [String; 1],
}

/// What the machine spent, and what of it is the capsule's.
#[derive(Default)]
struct Spent {
    /// Processor time of the machine.
    time: Duration,
    /// What of it was the engine's, as that said; nothing before its guest began.
    own: Option<Duration>,
    /// What was charged of the rest.
    charged: Duration,
    /// What the guest holds, as the engine counts it.
    memory: u64,
    /// The runner said something that is not answered.
    is_over: bool,
}

impl Hatch {
    /// `set_up` is how much processor time the engine may call its own.
    pub(super) fn new(
        desk: Arc<Desk>,
        host: Arc<dyn Host>,
        code: Arc<[u8]>,
        news: mpsc::Receiver<News>,
        set_up: Duration,
    ) -> Self {
        let news = Arc::new(TaskMutex::new(news));
        let functions = [ringfence_vm::ASK.to_owned()];
        Hatch { desk, host, code, news, spent: Mutex::default(), set_up, functions }
    }

    fn spent(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self, question: Vec<u8>) -> Answer<'static> {
        if self.spent().is_over {
            return Answer::Now(Err(ErrorCode::Invalid));
        }
        match decode::<Ask<'_>>(&question) {
            Ok(Ask::Wait) => {
                let news = self.news.clone();
                return Answer::Later(Box::pin(async move {
                    match news.lock().await.recv().await {
                        Some(news) => told(&Told::News(news)),
                        None => Err(ErrorCode::Invalid),
                    }
                }));
            }
            Ok(Ask::Code { from }) => {
                let from = usize::try_from(from).unwrap_or(usize::MAX).min(self.code.len());
                let piece = &self.code[from..self.code.len().min(from.saturating_add(MOST))];
                return Answer::Now(told(&Told::Code(piece.to_vec())));
            }
            Ok(Ask::Began { nanoseconds }) => {
                let own = Duration::from_nanos(nanoseconds).min(self.set_up);
                self.spent().own.get_or_insert(own);
                return Answer::Now(answer(Vec::new()));
            }
            Ok(Ask::Charge(charge)) => self.spent().memory = charge.memory,
            _ => {}
        }
        Answer::Now(match self.desk.heard(question) {
            Ok(Word::Told(word)) => told(&word),
            Ok(Word::Nothing) => answer(Vec::new()),
            heard => {
                self.spent().is_over = true;
                // The last word is one all the same.
                if heard.is_ok() { answer(Vec::new()) } else { Err(ErrorCode::Invalid) }
            }
        })
    }
}

fn told(told: &Told) -> Result<Reply, ErrorCode> {
    encode(told).map_err(|_| ErrorCode::Invalid).and_then(answer)
}

fn answer(bytes: Vec<u8>) -> Result<Reply, ErrorCode> {
    Ok(Reply::Values(vec![Value::Bytes(bytes)]))
}

impl Host for Hatch {
    fn call<'a>(&'a self, call: Call<'a>) -> Answer<'a> {
        Answer::Now(match call {
            Call::Invoke { function, arguments } if function == ringfence_vm::ASK => {
                return match <[Value; 1]>::try_from(arguments) {
                    Ok([Value::Bytes(question)]) => self.asked(question),
                    _ => Answer::Now(Err(ErrorCode::Invalid)),
                };
            }
            Call::Now { clock } => Ok(Reply::Time(own_time(clock))),
            Call::Random { into } => own_random(into),
            // What a runner prints when it fails is for nobody.
            Call::Send { from, .. } => Ok(Reply::Count(from.len())),
            Call::Receive { .. } => Ok(Reply::Count(0)),
            _ => Err(ErrorCode::Denied),
        })
    }

    /// The machine's own measure of its processors is what the capsule is charged with.
    fn charge(&self, used: Usage) -> Verdict {
        let mut spent = self.spent();
        spent.time = spent.time.saturating_add(used.cpu_time);
        let own = spent.own.unwrap_or(spent.time).min(self.set_up);
        let due = spent.time.saturating_sub(own);
        let cpu_time = due.saturating_sub(spent.charged);
        spent.charged = spent.charged.max(due);
        let memory = spent.memory;
        drop(spent);
        self.host.charge(Usage { cpu_time, memory, ..Usage::default() })
    }

    fn verdict(&self) -> Verdict {
        self.host.verdict()
    }

    fn folders(&self) -> Vec<Folder> {
        Vec::new()
    }

    fn functions(&self) -> &[String] {
        &self.functions
    }
}
