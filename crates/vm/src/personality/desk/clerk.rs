//! The thread of the host that answers at the desks of an instance, while there is a processor for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ringfence_isolation::{Exit, LostReason};
use ringfence_manifest::Spec;
use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_getcpu, sched_setaffinity};

use super::Desk;
use crate::personality::process::lock;
use crate::personality::world::World;

/// How long it looks on after the last call: longer than a program mostly takes until the next one, and not much
/// longer than it would take to begin again.
const ATTENTION: Duration = Duration::from_micros(400);
/// And while everybody sleeps who would call: as long as it takes for what most wait for.
const NAP: Duration = Duration::from_micros(100);
/// What a program is spared by an answer, about, and with it the processor it runs on.
const SPARED: Duration = Duration::from_micros(60);
/// How often it looks before it looks at the clock.
const LOOKS: u32 = 64;

/// Who answers.
pub(in crate::personality) struct Clerk {
    desks: Mutex<Vec<Arc<Desk>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Its number, once it runs.
    number: OnceLock<Pid>,
    /// The processors of the host it was told to run on.
    processors: Mutex<Option<CpuSet>>,
    /// It is to look at the desks.
    is_called: AtomicBool,
    /// It does.
    is_awake: AtomicBool,
    is_over: AtomicBool,
    /// It spared more time than it took when it was awake the last time.
    paid_off: AtomicBool,
    /// How many processors there are for the instance.
    allowed: u32,
}

impl Clerk {
    /// Nobody yet.
    pub(in crate::personality) fn new(spec: &Spec) -> Clerk {
        let here = sched_getaffinity(None).map_or(1, |set| set.count());
        let allowed = spec.limits.cores.map_or(u32::MAX, |cores| cores.0 / 1000);
        Clerk {
            desks: Mutex::default(),
            thread: Mutex::default(),
            number: OnceLock::new(),
            processors: Mutex::default(),
            is_called: AtomicBool::new(false),
            is_awake: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            paid_off: AtomicBool::new(true),
            allowed: allowed.min(here),
        }
    }

    /// Whether there is a processor beside one for a program.
    pub(super) fn is_spare(&self) -> bool {
        self.allowed > 1
    }

    /// Answers at one more desk. `false` when nobody can.
    pub(super) fn take_on(&self, world: &Arc<World>, desk: Arc<Desk>) -> bool {
        let mut thread = lock(&self.thread);
        if self.is_over.load(SeqCst) {
            return false;
        }
        if thread.is_none() {
            let world = world.clone();
            let builder = thread::Builder::new().name("desk".into());
            match builder.spawn(move || work(&world)) {
                Ok(spawned) => *thread = Some(spawned),
                Err(_) => return false,
            }
        }
        lock(&self.desks).push(desk);
        true
    }

    /// One desk less.
    pub(super) fn let_go(&self, desk: &Arc<Desk>) {
        lock(&self.desks).retain(|known| !Arc::ptr_eq(known, desk));
    }

    /// Whether it looks at the desks.
    pub(super) fn is_awake(&self) -> bool {
        self.is_awake.load(SeqCst)
    }

    /// Whether it was worth its time the last time; at first that is to be expected.
    pub(super) fn paid_off(&self) -> bool {
        self.paid_off.load(SeqCst)
    }

    /// A desk was opened, or is to be, by the thread that will call.
    pub(super) fn wake(&self) {
        if !self.is_called.swap(true, SeqCst)
            && let Some(thread) = &*lock(&self.thread)
        {
            match self.keep_away() {
                true => thread.thread().unpark(),
                false => self.is_called.store(false, SeqCst),
            }
        }
    }

    /// Keeps it away from the processor of the calling thread: the host wakes a thread gladly where its waker runs, which
    /// would stand still until there is nothing left to answer. `false` where there is no other.
    fn keep_away(&self) -> bool {
        // Whatever the host was told of the program's threads holds for this one.
        let Ok(mut others) = sched_getaffinity(None) else { return false };
        others.unset(sched_getcpu());
        let mut processors = lock(&self.processors);
        let Some(&number) = self.number.get().filter(|_| *processors != Some(others)) else {
            return others.count() > 0;
        };
        if others.count() == 0 || sched_setaffinity(Some(number), &others).is_err() {
            return false;
        }
        *processors = Some(others);
        true
    }

    /// Ends it, and waits for that.
    pub(in crate::personality) fn end(&self) {
        self.is_over.store(true, SeqCst);
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            thread.thread().unpark();
            // It has said so if it panicked.
            let _ = thread.join();
        }
        lock(&self.desks).clear();
    }

    /// Answers until nobody asks any more.
    fn attend(&self, world: &World) {
        self.is_awake.store(true, SeqCst);
        for desk in &*lock(&self.desks) {
            desk.open();
        }
        let began = Instant::now();
        let (mut last, mut answered, mut patience) = (began, 0_u32, ATTENTION);
        let is_wanted = || !(self.is_over.load(SeqCst) || world.control.is_paused() || world.control.is_stopping());
        while is_wanted() && last.elapsed() < patience {
            let desks = lock(&self.desks).clone();
            patience = if desks.iter().all(|desk| desk.is_asleep()) { NAP } else { ATTENTION };
            for _ in 0..LOOKS {
                if desks.iter().fold(false, |answered, desk| desk.attend() | answered) {
                    last = Instant::now();
                    answered += 1;
                }
                std::hint::spin_loop();
            }
        }
        self.paid_off.store(began.elapsed() < SPARED * answered, SeqCst);
        self.is_awake.store(false, SeqCst);
        self.is_called.store(false, SeqCst);
        for desk in &*lock(&self.desks) {
            desk.close();
        }
    }
}

/// The whole life of the thread.
fn work(world: &Arc<World>) {
    world.control.enlist();
    let entered = world.executor.get().map(tokio::runtime::Handle::enter);
    let clerk = &world.clerk;
    let _ = clerk.number.set(gettid());
    let worked = catch_unwind(AssertUnwindSafe(|| {
        while !clerk.is_over.load(SeqCst) {
            if clerk.is_called.load(SeqCst) {
                clerk.attend(world);
            } else {
                world.control.parked(thread::park);
            }
        }
    }));
    if worked.is_err() {
        let reason = "the thread that answered its calls panicked".into();
        world.control.stop(Exit::Lost(LostReason::Backend(reason)));
    }
    drop(entered);
    world.control.dismiss();
}
