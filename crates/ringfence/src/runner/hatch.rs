//! The host of a machine whose program is a runner.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ringfence_abi::{Call, ErrorCode, Reply, Value};
use ringfence_isolation::{Answer, Host, Usage, Verdict};
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

    fn functions(&self) -> &[String] {
        &self.functions
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    use ringfence_abi::Handle;
    use ringfence_manifest::Limits;

    use super::super::carried::Told as Known;
    use super::super::serve::Answers;
    use super::super::wire::Charge;
    use super::*;

    /// A capsule's host that keeps what it was charged with, and does nothing.
    #[derive(Default)]
    struct Account {
        nanoseconds: AtomicU64,
        memory: AtomicU64,
    }

    impl Host for Account {
        fn call<'a>(&'a self, _: Call<'a>) -> Answer<'a> {
            Answer::Now(Err(ErrorCode::Denied))
        }

        fn charge(&self, used: Usage) -> Verdict {
            self.nanoseconds.fetch_add(used.cpu_time.as_nanos() as u64, SeqCst);
            self.memory.store(used.memory, SeqCst);
            Verdict::Continue
        }

        fn verdict(&self) -> Verdict {
            Verdict::Continue
        }
    }

    const SET_UP: Duration = Duration::from_secs(2);

    fn with(work: impl FnOnce(&Hatch, &Account)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let account = Arc::new(Account::default());
        let (answers, news) = mpsc::channel(1);
        let known = Known::new(account.clone(), Limits::default());
        let (desk, _) = Desk::new(known, runtime.handle().clone(), Answers::Kept(answers), None, None);
        work(&Hatch::new(desk, account.clone(), vec![7; MOST + 5].into(), news, SET_UP), &account);
    }

    fn ask(hatch: &Hatch, ask: &Ask<'_>) -> Result<Vec<u8>, ErrorCode> {
        let arguments = vec![Value::Bytes(encode(ask).unwrap())];
        match hatch.call(Call::Invoke { function: ringfence_vm::ASK, arguments }).now()? {
            Reply::Values(mut values) => match values.pop() {
                Some(Value::Bytes(bytes)) if values.is_empty() => Ok(bytes),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn seconds(cpu_time: u64) -> Usage {
        Usage { cpu_time: Duration::from_secs(cpu_time), memory: 1 << 30, ..Usage::default() }
    }

    #[test]
    fn a_capsule_is_charged_with_what_its_machine_spent_after_the_engine_was_set_up() {
        with(|hatch, account| {
            hatch.charge(seconds(1));
            assert_eq!(account.nanoseconds.load(SeqCst), 0);
            ask(hatch, &Ask::Began { nanoseconds: 400_000_000 }).unwrap();
            // Whoever takes it over later cannot call more of it its own.
            ask(hatch, &Ask::Began { nanoseconds: u64::MAX }).unwrap();
            ask(hatch, &Ask::Charge(Charge { memory: 70, ..Charge::default() })).unwrap();
            hatch.charge(seconds(1));
            assert_eq!(account.nanoseconds.load(SeqCst), 1_600_000_000);
            assert_eq!(account.memory.load(SeqCst), 70, "what the machine holds is not what its guest does");
        });
    }

    #[test]
    fn an_engine_that_never_begins_calls_no_more_its_own_than_it_may() {
        for begins in [false, true] {
            with(|hatch, account| {
                if begins {
                    ask(hatch, &Ask::Began { nanoseconds: u64::MAX }).unwrap();
                }
                hatch.charge(seconds(5));
                assert_eq!(account.nanoseconds.load(SeqCst), 3_000_000_000);
            });
        }
    }

    #[test]
    fn the_code_comes_in_pieces_and_ends() {
        with(|hatch, _| {
            let mut sizes = Vec::new();
            for from in [0, MOST as u64, u64::MAX] {
                let bytes = ask(hatch, &Ask::Code { from }).unwrap();
                let Told::Code(piece) = decode(&bytes).unwrap() else { panic!("no code") };
                sizes.push(piece.len());
            }
            assert_eq!(sizes, [MOST, 5, 0]);
        });
    }

    #[test]
    fn nothing_is_answered_after_the_last_word_or_a_wrong_one() {
        with(|hatch, _| {
            assert_eq!(ask(hatch, &Ask::Ended { end: super::super::wire::End::Returned(0), fuel: 0 }), Ok(Vec::new()));
            assert_eq!(ask(hatch, &Ask::Verdict), Err(ErrorCode::Invalid));
        });
        with(|hatch, _| {
            let nonsense = vec![Value::Bytes(vec![0xff; 9])];
            let answer = hatch.call(Call::Invoke { function: ringfence_vm::ASK, arguments: nonsense }).now();
            assert_eq!(answer, Err(ErrorCode::Invalid));
            assert_eq!(ask(hatch, &Ask::Verdict), Err(ErrorCode::Invalid));
        });
    }

    #[test]
    fn its_machine_reaches_nothing_of_the_capsule() {
        with(|hatch, _| {
            let open = Call::Open { directory: Handle::new(103, 0), path: b"/", how: Default::default() };
            assert_eq!(hatch.call(open).now(), Err(ErrorCode::Denied));
            assert_eq!(hatch.call(Call::Send { stream: Handle::STDOUT, from: b"text" }).now(), Ok(Reply::Count(4)));
            let mut into = [0; 4];
            assert_eq!(hatch.call(Call::Receive { stream: Handle::STDIN, into: &mut into }).now(), Ok(Reply::Count(0)));
            assert_eq!(hatch.judge(b"/tmp/x", ringfence_isolation::FileUse::Look), Err(ErrorCode::Denied));
            let other = Call::Invoke { function: "acme:greeter/lookup#name-of", arguments: vec![Value::U32(7)] };
            assert_eq!(hatch.call(other).now(), Err(ErrorCode::Denied));
        });
    }
}
