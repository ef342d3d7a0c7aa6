//! A backend and a hal that do what the test tells them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use ringfence_abi::{Call, ErrorCode};
use ringfence_isolation::{
    Answer, Backend, BoxFuture, BuildError, Denial, Enforcement, Exit, Fact, Guarantee, Held, Host, Instance, Level,
    Prepared, Spec, StartError, Stop, Usage, Verdict,
};
use ringfence_manifest::{Identity, Isolation, Kind, Limits, Permissions, Program, Stdio, StreamIn, StreamOut};
use tokio::sync::watch;

use super::super::Hal;

/// A spec of nothing in particular that requires what every capsule is promised.
pub(super) fn spec(limits: Limits) -> Spec {
    Spec {
        capsule: Identity { name: "fake".into(), version: None },
        program: Program {
            kind: Kind::Wasm,
            path: PathBuf::from("/fake.wasm"),
            args: Vec::new(),
            working_directory: "/".into(),
        },
        isolation: Isolation {
            level: Level::Wasm,
            require: Guarantee::ALWAYS.iter().copied().collect(),
            seccomp: Default::default(),
        },
        permissions: Permissions::default(),
        mounts: Vec::new(),
        environment: BTreeMap::new(),
        limits,
        stdio: Stdio { stdin: StreamIn::Null, stdout: StreamOut::Null, stderr: StreamOut::Null },
        root: None,
        defaults: BTreeSet::new(),
        session: ringfence_manifest::Session::default(),
    }
}

/// Says nothing when it is stopped.
pub(super) struct Deaf;

#[derive(Clone)]
pub(super) struct FakeBackend(Arc<Shared>);

struct Shared {
    promised: Mutex<Enforcement>,
    enforced: Mutex<Enforcement>,
    build_fails: AtomicBool,
    deaf: AtomicBool,
    built: AtomicUsize,
    started: AtomicUsize,
    killed: AtomicUsize,
    signals: Mutex<Vec<i32>>,
    on_kill: Mutex<Exit>,
    on_signal: Mutex<Option<Exit>>,
    exit: watch::Sender<Option<Exit>>,
}

impl Default for FakeBackend {
    fn default() -> Self {
        let mut all = Enforcement::new();
        for &guarantee in Guarantee::ALWAYS {
            all.set(guarantee, Held::by("the fake"));
        }
        FakeBackend(Arc::new(Shared {
            promised: Mutex::new(all.clone()),
            enforced: Mutex::new(all),
            build_fails: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
            built: AtomicUsize::new(0),
            started: AtomicUsize::new(0),
            killed: AtomicUsize::new(0),
            signals: Mutex::default(),
            on_kill: Mutex::new(Exit::Stopped),
            on_signal: Mutex::new(None),
            exit: watch::Sender::new(None),
        }))
    }
}

impl FakeBackend {
    pub(super) fn promise(&self, guarantee: Guarantee, held: Held) {
        self.0.promised.lock().unwrap().set(guarantee, held);
    }

    pub(super) fn enforce(&self, guarantee: Guarantee, held: Held) {
        self.0.enforced.lock().unwrap().set(guarantee, held);
    }

    pub(super) fn fail_to_build(&self) {
        self.0.build_fails.store(true, SeqCst);
    }

    pub(super) fn make(&self, Deaf: Deaf) {
        self.0.deaf.store(true, SeqCst);
    }

    pub(super) fn end(&self, exit: Exit) {
        self.0.end(exit);
    }

    pub(super) fn say_when_killed(&self, exit: Exit) {
        *self.0.on_kill.lock().unwrap() = exit;
    }

    pub(super) fn return_on_signal(&self, status: i32) {
        *self.0.on_signal.lock().unwrap() = Some(Exit::Returned(status));
    }

    pub(super) fn built(&self) -> usize {
        self.0.built.load(SeqCst)
    }

    pub(super) fn started(&self) -> usize {
        self.0.started.load(SeqCst)
    }

    pub(super) fn killed(&self) -> usize {
        self.0.killed.load(SeqCst)
    }

    pub(super) fn signals(&self) -> Vec<i32> {
        self.0.signals.lock().unwrap().clone()
    }
}

impl Shared {
    fn end(&self, exit: Exit) {
        self.exit.send_if_modified(|slot| slot.replace(exit).is_none());
    }
}

impl Backend for FakeBackend {
    fn level(&self) -> Level {
        Level::Wasm
    }

    fn probe(&self) -> Vec<Fact> {
        Vec::new()
    }

    fn prepare(&self, _: &Spec) -> Result<Box<dyn Prepared>, BuildError> {
        Ok(Box::new(FakePrepared { promised: self.0.promised.lock().unwrap().clone(), shared: self.0.clone() }))
    }
}

struct FakePrepared {
    promised: Enforcement,
    shared: Arc<Shared>,
}

impl Prepared for FakePrepared {
    fn promised(&self) -> &Enforcement {
        &self.promised
    }

    fn build(&self, _: Arc<dyn Host>) -> Result<Box<dyn Instance>, BuildError> {
        if self.shared.build_fails.load(SeqCst) {
            return Err(BuildError::Host { doing: "building a fake", source: "as it was told".into() });
        }
        self.shared.built.fetch_add(1, SeqCst);
        let enforced = self.shared.enforced.lock().unwrap().clone();
        Ok(Box::new(FakeInstance { enforced, shared: self.shared.clone() }))
    }
}

struct FakeInstance {
    enforced: Enforcement,
    shared: Arc<Shared>,
}

impl Instance for FakeInstance {
    fn enforced(&self) -> &Enforcement {
        &self.enforced
    }

    fn start(&self) -> Result<(), StartError> {
        self.shared.started.fetch_add(1, SeqCst);
        Ok(())
    }

    fn stop(&self, how: Stop) {
        match how {
            Stop::Signal(signal) => {
                self.shared.signals.lock().unwrap().push(signal);
                if let Some(exit) = self.shared.on_signal.lock().unwrap().clone() {
                    self.shared.end(exit);
                }
            }
            Stop::Kill => {
                self.shared.killed.fetch_add(1, SeqCst);
                if !self.shared.deaf.load(SeqCst) {
                    self.shared.end(self.shared.on_kill.lock().unwrap().clone());
                }
            }
        }
    }

    fn exited(&self) -> BoxFuture<'static, Exit> {
        let mut exit = self.shared.exit.subscribe();
        Box::pin(async move { exit.wait_for(Option::is_some).await.unwrap().clone().unwrap() })
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

pub(super) struct FakeHal {
    began: AtomicBool,
    closed: AtomicBool,
    verdict: watch::Sender<Verdict>,
}

impl Default for FakeHal {
    fn default() -> Self {
        FakeHal {
            began: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            verdict: watch::Sender::new(Verdict::Continue),
        }
    }
}

impl FakeHal {
    pub(super) fn began(&self) -> bool {
        self.began.load(SeqCst)
    }

    pub(super) fn closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    pub(super) fn trip(&self, verdict: Verdict) {
        self.end(verdict);
    }
}

impl Host for FakeHal {
    fn call<'a>(&'a self, _: Call<'a>) -> Answer<'a> {
        Answer::Now(Err(ErrorCode::NotImplemented))
    }

    fn charge(&self, _: Usage) -> Verdict {
        self.verdict()
    }

    fn verdict(&self) -> Verdict {
        self.verdict.borrow().clone()
    }
}

impl Hal for FakeHal {
    fn begin(&self) {
        self.began.store(true, SeqCst);
    }

    fn end(&self, reason: Verdict) {
        self.verdict.send_if_modified(|verdict| {
            let first = *verdict == Verdict::Continue;
            if first {
                *verdict = reason;
            }
            first
        });
    }

    fn ended(&self) -> BoxFuture<'_, ()> {
        let mut verdict = self.verdict.subscribe();
        Box::pin(async move {
            let _ = verdict.wait_for(|verdict| *verdict != Verdict::Continue).await;
        })
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }

    fn denials(&self) -> (Vec<(Denial, u64)>, u64) {
        (Vec::new(), 0)
    }

    fn captured(&self) -> [Option<Vec<u8>>; 2] {
        [None, None]
    }

    fn close(&self) {
        self.closed.store(true, SeqCst);
    }
}
