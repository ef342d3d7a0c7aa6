//! Who sends to whom, and by which socket of the host.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::packet::Ends;

/// Every pair of ends that datagrams went between lately, with what serves it. There are at most so
/// many: a new one takes the place of the one that was quiet the longest.
#[derive(Debug)]
pub(super) struct Flows<S> {
    most: usize,
    idle: Duration,
    numbers: HashMap<Ends, u64>,
    flows: HashMap<u64, Flow<S>>,
    /// Never used again, so that what is known by a number cannot be taken for another.
    next: u64,
}

/// One pair of ends.
#[derive(Debug)]
pub(super) struct Flow<S> {
    pub(super) ends: Ends,
    pub(super) socket: S,
    used: Instant,
}

impl<S> Flows<S> {
    /// None yet; each is forgotten when it was `idle` for so long.
    pub(super) fn new(most: usize, idle: Duration) -> Self {
        Flows { most, idle, numbers: HashMap::new(), flows: HashMap::new(), next: 0 }
    }

    /// What serves these ends.
    pub(super) fn find(&mut self, ends: Ends, now: Instant) -> Option<&Flow<S>> {
        self.get(*self.numbers.get(&ends)?, now)
    }

    /// The flow of that number.
    pub(super) fn get(&mut self, number: u64, now: Instant) -> Option<&Flow<S>> {
        let flow = self.flows.get_mut(&number)?;
        flow.used = now;
        Some(flow)
    }

    /// Adds one that is not there; its number.
    pub(super) fn add(&mut self, ends: Ends, socket: S, now: Instant) -> u64 {
        while self.flows.len() >= self.most.max(1) {
            let quiet = self.flows.iter().min_by_key(|(_, flow)| flow.used).map(|(&number, _)| number);
            quiet.into_iter().for_each(|number| self.remove(number));
        }
        let number = self.next;
        self.next += 1;
        self.numbers.insert(ends, number);
        self.flows.insert(number, Flow { ends, socket, used: now });
        number
    }

    /// Forgets what was quiet for too long; when to look again.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Duration> {
        let idle = self.idle;
        let quiet = |flow: &Flow<S>| now.saturating_duration_since(flow.used);
        let over: Vec<u64> =
            self.flows.iter().filter(|(_, flow)| quiet(flow) >= idle).map(|(&number, _)| number).collect();
        over.into_iter().for_each(|number| self.remove(number));
        self.flows.values().map(quiet).max().map(|longest| idle - longest)
    }

    /// Forgets those of which this is so.
    pub(super) fn forget(&mut self, which: impl Fn(Ends) -> bool) {
        let numbers: Vec<u64> =
            self.numbers.iter().filter(|(ends, _)| which(**ends)).map(|(_, &number)| number).collect();
        numbers.into_iter().for_each(|number| self.remove(number));
    }

    fn remove(&mut self, number: u64) {
        if let Some(flow) = self.flows.remove(&number) {
            self.numbers.remove(&flow.ends);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(port: u16) -> Ends {
        Ends { from: ([192, 0, 0, 2], port).into(), to: ([192, 0, 2, 1], 53).into() }
    }

    #[test]
    fn a_new_flow_takes_the_place_of_the_quietest() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut flows = Flows::new(2, Duration::from_secs(60));
        flows.add(ends(1), 'a', at(0));
        flows.add(ends(2), 'b', at(1));
        assert!(flows.find(ends(1), at(2)).is_some_and(|flow| flow.socket == 'a'));
        let third = flows.add(ends(3), 'c', at(3));
        assert!(flows.find(ends(2), at(4)).is_none());
        assert!(flows.get(third, at(4)).is_some_and(|flow| flow.ends == ends(3)));
        assert_eq!((flows.numbers.len(), flows.flows.len()), (2, 2));
    }

    #[test]
    fn what_is_quiet_is_forgotten_and_the_next_look_is_then() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut flows = Flows::new(9, Duration::from_secs(60));
        assert_eq!(flows.expire(at(0)), None);
        let first = flows.add(ends(1), (), at(0));
        flows.add(ends(2), (), at(20));
        assert_eq!(flows.expire(at(30)), Some(Duration::from_secs(30)));
        assert_eq!(flows.expire(at(60)), Some(Duration::from_secs(20)));
        assert!(flows.get(first, at(60)).is_none() && flows.find(ends(1), at(60)).is_none());
        assert!(flows.find(ends(2), at(61)).is_some());
        assert_eq!(flows.expire(at(121)), None);
        assert!(flows.numbers.is_empty());
    }
}
