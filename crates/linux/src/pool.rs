//! Places of one spec that were built ahead: who asks for an instance waits for `execve(2)` only.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use ringfence_isolation::BuildError;

use crate::place::Place;
use crate::prepared::Ready;

/// The places, and how many there are to be.
#[derive(Default)]
pub(crate) struct Pool {
    places: Mutex<VecDeque<Place>>,
    wanted: AtomicUsize,
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
    pub(crate) fn take(&self, ready: &Ready) -> Option<Place> {
        if self.wanted.load(Relaxed) == 0 {
            return None;
        }
        let place = loop {
            let place = self.places().pop_front();
            if place.as_ref().is_none_or(Place::lives) {
                break place;
            }
        };
        let ready = ready.clone();
        // When it fails the next one is built by who needs it, who is told why.
        let _ = thread::Builder::new().name("ringfence-pool".into()).spawn(move || ready.pool.fill(&ready));
        place
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
        while self.places().len() < self.wanted.load(Relaxed) {
            let place = Place::build(ready)?;
            let mut places = self.places();
            if places.len() < self.wanted.load(Relaxed) {
                places.push_back(place);
            }
        }
        Ok(())
    }

    fn places(&self) -> MutexGuard<'_, VecDeque<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
