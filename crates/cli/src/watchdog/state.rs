//! When the watchdog ends the process.
//!
//! ```text
//!              listen(Preparing)               a signal ends it …
//! alone ◀────────────────────────▶ Preparing   alone: at once
//!   │                                          Preparing, Running: a moment after the second one
//!   │ listen(Running)     leave                over: a moment after it
//!   └───────────────▶ Running ─────▶ over      … and the deadline, while Running: a moment after it
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// How long what was told to end may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// What somebody listens for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// To call off what is prepared.
    Preparing,
    /// To stop the capsule.
    Running,
}

#[derive(Clone, Copy)]
enum Now {
    /// Nothing has run, and nobody listens.
    Alone,
    Listening(Phase),
    /// The capsule has run.
    Over,
}

/// What happened so far.
pub(super) struct State {
    now: Now,
    /// The first signal since somebody listens.
    first: Option<i32>,
    unheard: VecDeque<i32>,
    /// What the capsule may take, and when the process ends because it took more.
    deadline: Option<(Duration, Instant)>,
    /// A signal, and when the process ends because of it.
    stop: Option<(i32, Instant)>,
}

impl State {
    pub(super) fn new() -> Self {
        State { now: Now::Alone, first: None, unheard: VecDeque::new(), deadline: None, stop: None }
    }

    /// Somebody listens from now on.
    pub(super) fn listen(&mut self, phase: Phase, wall_time: Option<Duration>, now: Instant) {
        self.now = Now::Listening(phase);
        self.deadline = wall_time.and_then(|allowed| Some((allowed, now.checked_add(allowed)?.checked_add(PATIENCE)?)));
    }

    /// Nobody listens any more. Whether the watchdog has to look again.
    pub(super) fn leave(&mut self, now: Instant) -> bool {
        let unheard = std::mem::take(&mut self.unheard);
        (self.first, self.deadline, self.stop) = (None, None, None);
        match self.now {
            Now::Listening(Phase::Preparing) => {
                self.now = Now::Alone;
                // It came too late to be heard, and nothing has run yet.
                self.stop = unheard.front().map(|&signal| (signal, now));
            }
            _ => self.now = Now::Over,
        }
        self.stop.is_some()
    }

    /// A signal came.
    pub(super) fn signal(&mut self, signal: i32, now: Instant) {
        match (self.now, self.first) {
            (Now::Alone, _) => _ = self.stop.get_or_insert((signal, now)),
            (Now::Over, _) => _ = self.stop.get_or_insert((signal, now + PATIENCE)),
            (Now::Listening(_), None) => self.first = Some(signal),
            (Now::Listening(_), Some(first)) => _ = self.stop.get_or_insert((first, now + PATIENCE)),
        }
        if let Now::Listening(_) = self.now {
            self.unheard.push_back(signal);
        }
    }

    /// A signal for who listens.
    pub(super) fn hear(&mut self) -> Option<i32> {
        self.unheard.pop_front()
    }

    /// When to look again.
    pub(super) fn next(&self) -> Option<Instant> {
        let deadline = self.deadline.map(|(_, moment)| moment);
        let stop = self.stop.map(|(_, moment)| moment);
        deadline.into_iter().chain(stop).min()
    }

    /// Why the process has to end, if it has to.
    pub(super) fn due(&self, now: Instant) -> Option<Failure> {
        if let Some((signal, moment)) = self.stop
            && moment <= now
        {
            return Some(match self.now {
                Now::Alone | Now::Listening(Phase::Preparing) => Failure::stopped(signal),
                Now::Listening(Phase::Running) | Now::Over => Failure::stopped_by_force(signal, PATIENCE),
            });
        }
        let (allowed, moment) = self.deadline?;
        (moment <= now).then(|| Failure::exceeded_by_force(allowed, PATIENCE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_code::ExitCode::{self, Exceeded, Signal};

    /// The code the process ends with, at once and in the end.
    fn ends(state: &State, now: Instant) -> [Option<ExitCode>; 2] {
        let later = now + PATIENCE * 100;
        [now, later].map(|moment| state.due(moment).map(|failure| failure.code))
    }

    #[test]
    fn alone_the_first_signal_ends_it_at_once() {
        let (mut state, now) = (State::new(), Instant::now());
        assert_eq!(ends(&state, now), [None, None]);
        state.signal(2, now);
        assert_eq!(ends(&state, now), [Some(Signal(2)), Some(Signal(2))]);
    }

    #[test]
    fn who_listens_gets_one_signal_to_act_on_and_a_moment_after_the_second() {
        for phase in [Phase::Preparing, Phase::Running] {
            let (mut state, now) = (State::new(), Instant::now());
            state.listen(phase, None, now);
            state.signal(15, now);
            assert_eq!(ends(&state, now), [None, None]);
            state.signal(2, now);
            assert_eq!(ends(&state, now), [None, Some(Signal(15))]);
            assert_eq!([state.hear(), state.hear(), state.hear()], [Some(15), Some(2), None]);
            assert_eq!(state.next(), Some(now + PATIENCE));
        }
    }

    #[test]
    fn a_signal_that_came_too_late_to_be_heard_calls_off_what_was_prepared() {
        let (mut state, now) = (State::new(), Instant::now());
        state.listen(Phase::Preparing, None, now);
        state.signal(2, now);
        assert!(state.leave(now));
        assert_eq!(ends(&state, now)[0], Some(Signal(2)));
    }

    #[test]
    fn one_that_was_heard_does_not_end_it_again() {
        let (mut state, now) = (State::new(), Instant::now());
        state.listen(Phase::Preparing, None, now);
        state.signal(2, now);
        assert_eq!(state.hear(), Some(2));
        assert!(!state.leave(now));
        assert_eq!(ends(&state, now), [None, None]);
    }

    #[test]
    fn the_deadline_holds_while_the_capsule_runs() {
        let (mut state, now) = (State::new(), Instant::now());
        let allowed = Duration::from_secs(3);
        state.listen(Phase::Running, Some(allowed), now);
        assert_eq!(ends(&state, now), [None, Some(Exceeded)]);
        assert_eq!(state.next(), Some(now + allowed + PATIENCE));
        state.leave(now);
        assert_eq!((ends(&state, now), state.next()), ([None, None], None));
    }

    #[test]
    fn a_deadline_beyond_all_time_is_none() {
        let (mut state, now) = (State::new(), Instant::now());
        state.listen(Phase::Running, Some(Duration::MAX), now);
        assert_eq!(state.next(), None);
    }

    #[test]
    fn after_the_capsule_a_signal_leaves_a_moment_for_what_is_left_to_do() {
        let (mut state, now) = (State::new(), Instant::now());
        state.listen(Phase::Running, None, now);
        state.signal(2, now);
        state.leave(now);
        assert_eq!(ends(&state, now), [None, None]);
        state.signal(15, now);
        assert_eq!(ends(&state, now), [None, Some(Signal(15))]);
    }
}
