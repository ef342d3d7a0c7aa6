//! Places of one spec that were built ahead: who asks for an instance waits for `execve(2)` only.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use ringfence_isolation::BuildError;

use crate::place::{Place, Standing};
use crate::prepared::Ready;

/// How long the building of another place waits after one was taken: a program that was just started goes
/// first, and the two would slow each other down.
const PRECEDENCE: Duration = Duration::from_millis(5);

/// The places, and how many there are to be.
#[derive(Default)]
pub(crate) struct Pool {
    places: Mutex<VecDeque<(Place, Standing)>>,
    wanted: AtomicUsize,
    /// Whether a thread is at work that fills it.
    filling: AtomicBool,
    /// How many were taken, or would have been.
    taken: AtomicUsize,
}

impl Pool {
    /// Keeps so many places from now on; the first of them stand when this returns.
    pub(crate) fn keep(&self, count: usize, ready: &Ready) -> Result<(), BuildError> {
        self.wanted.store(count, Relaxed);
        while self.places().len() > count {
            let place = self.places().pop_front();
            drop(place);
        }
        self.fill(ready)
    }

    /// A place that stands, if there is one. Another is built in its stead on a thread of its own.
    pub(crate) fn take(&self, ready: &Ready) -> Option<(Place, Standing)> {
        if self.wanted.load(Relaxed) == 0 {
            return None;
        }
        let place = loop {
            let place = self.places().pop_front();
            if place.as_ref().is_none_or(|(place, _)| place.lives()) {
                break place;
            }
        };
        self.taken.fetch_add(1, SeqCst);
        self.refill(ready);
        place
    }

    /// Builds what is missing, on a thread of its own.
    fn refill(&self, ready: &Ready) {
        if self.filling.swap(true, SeqCst) {
            return;
        }
        let ready = ready.clone();
        let work = move || {
            let taken = ready.pool.taken.load(SeqCst);
            thread::sleep(PRECEDENCE);
            // When it fails the next one is built by who needs it, who is told why.
            let filled = ready.pool.fill(&ready);
            ready.pool.filling.store(false, SeqCst);
            // Who took one while this went on left the rest to this thread.
            let is_asked = filled.is_ok() || ready.pool.taken.load(SeqCst) != taken;
            if is_asked && ready.pool.is_short() {
                ready.pool.refill(&ready);
            }
        };
        if thread::Builder::new().name("ringfence-pool".into()).spawn(work).is_err() {
            self.filling.store(false, SeqCst);
        }
    }

    /// Whether fewer stand than there are to be; one that somebody ended does not.
    fn is_short(&self) -> bool {
        let mut places = self.places();
        places.retain(|(place, _)| place.lives());
        places.len() < self.wanted.load(Relaxed)
    }

    /// Keeps none from now on, and builds none any more.
    pub(crate) fn close(&self) {
        let places = {
            let mut places = self.places();
            self.wanted.store(0, Relaxed);
            std::mem::take(&mut *places)
        };
        drop(places);
    }

    fn fill(&self, ready: &Ready) -> Result<(), BuildError> {
        while self.is_short() {
            let mut place = Place::begin(ready)?;
            let standing = place.stand(ready)?;
            let mut places = self.places();
            if places.len() < self.wanted.load(Relaxed) {
                places.push_back((place, standing));
            }
        }
        Ok(())
    }

    fn places(&self) -> MutexGuard<'_, VecDeque<(Place, Standing)>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
