//! What was denied so far.
//!
//! A program that retries a denied operation in a loop must cost its host nothing but a counter:
//! each distinct [`Denial`] is kept once with a count, and passed to the sink once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ringfence_isolation::Denial;

/// Called once for each new denial, on the thread that was denied.
pub type DenialSink = Arc<dyn Fn(&Denial) + Send + Sync>;

/// The denials of one instance.
pub struct Denials {
    seen: Mutex<Seen>,
    sink: Option<DenialSink>,
}

#[derive(Default)]
struct Seen {
    index: HashMap<Denial, usize>,
    entries: Vec<(Denial, u64)>,
    dropped: u64,
}

impl Denials {
    /// How many distinct denials are kept; those beyond it are only counted.
    pub const MOST: usize = 1000;
    /// How many bytes of a resource's name are kept: as many as a path has, `PATH_MAX`.
    const LONGEST: usize = 4096;

    /// None yet; new ones go to `sink`.
    pub fn new(sink: Option<DenialSink>) -> Self {
        Self { seen: Mutex::default(), sink }
    }

    /// Records one denial; the sink hears of it when it is new.
    pub(crate) fn record(&self, mut denial: Denial) {
        // The capsule chose the name; what is kept of it is bounded.
        if cut(&mut denial.resource, Self::LONGEST) {
            denial.grant = None;
        }
        // It may name the other path of a move, in a sentence.
        cut(&mut denial.rule, 2 * Self::LONGEST);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&at) = seen.index.get(&denial) {
            seen.entries[at].1 += 1;
            return;
        }
        if seen.entries.len() >= Self::MOST {
            seen.dropped += 1;
            return;
        }
        let at = seen.entries.len();
        seen.index.insert(denial.clone(), at);
        seen.entries.push((denial.clone(), 1));
        drop(seen);
        if let Some(sink) = &self.sink {
            sink(&denial);
        }
    }

    /// Each distinct denial with how often it happened, in the order of their first time.
    pub fn list(&self) -> Vec<(Denial, u64)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).entries.clone()
    }

    /// How many denials came when the list was full and were not among those listed.
    pub fn dropped(&self) -> u64 {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).dropped
    }
}

/// Keeps so many bytes of a text; whether that is not all.
fn cut(text: &mut String, most: usize) -> bool {
    let is_long = text.len() > most;
    if is_long {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
    is_long
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn denial(resource: &str) -> Denial {
        Denial {
            permission: None,
            resource: resource.to_string(),
            rule: "not in fs.read".to_string(),
            written: None,
            grant: None,
        }
    }

    #[test]
    fn a_repeated_denial_is_counted_and_told_once() {
        let told = Arc::new(AtomicUsize::new(0));
        let counter = told.clone();
        let denials = Denials::new(Some(Arc::new(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        })));
        denials.record(denial("/a"));
        denials.record(denial("/b"));
        denials.record(denial("/a"));
        assert_eq!(denials.list(), [(denial("/a"), 2), (denial("/b"), 1)]);
        assert_eq!(told.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_name_without_end_is_cut() {
        let denials = Denials::new(None);
        denials.record(Denial { grant: Some("x".repeat(1 << 20)), ..denial(&"ü".repeat(1 << 20)) });
        let (kept, _) = denials.list().remove(0);
        assert_eq!((kept.resource.chars().count(), kept.grant), (Denials::LONGEST / 2 + 1, None));
        denials.record(Denial { rule: "ü".repeat(1 << 20), ..denial("/a") });
        assert_eq!(denials.list()[1].0.rule.chars().count(), Denials::LONGEST + 1);
    }

    #[test]
    fn beyond_the_most_denials_are_only_counted() {
        let denials = Denials::new(None);
        for number in 0..Denials::MOST + 5 {
            denials.record(denial(&format!("/{number}")));
        }
        assert_eq!(denials.list().len(), Denials::MOST);
        assert_eq!(denials.dropped(), 5);
    }
}
