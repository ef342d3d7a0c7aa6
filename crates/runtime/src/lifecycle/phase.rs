//! Where an instance stands, and what may happen to it there.

/// Where an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// A backend is ready to build it.
    Prepared,
    /// Its place exists; nothing of it has run.
    Built,
    /// Its program runs.
    Running,
    /// It is over, and nothing of it is left.
    Ended,
}

/// What happens to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The backend built its place.
    Built,
    /// A guarantee is not held: it must not run.
    Refused,
    /// Its program was started.
    Started,
    /// Somebody wants it to end: the owner, the deadline, or the verdict of its hal.
    StopAsked,
    /// Its program is over.
    Exited,
}

/// An event that cannot happen in this phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot happen to an instance that is {phase:?}")]
pub struct Unexpected {
    /// Where the instance stands.
    pub phase: Phase,
    /// What was said to have happened.
    pub event: Event,
}

impl Phase {
    /// Where the instance stands after `event`.
    ///
    /// # Errors
    /// [`Unexpected`] when it cannot happen here.
    pub const fn after(self, event: Event) -> Result<Phase, Unexpected> {
        match (self, event) {
            (Phase::Prepared, Event::Built) => Ok(Phase::Built),
            (Phase::Built, Event::Started) => Ok(Phase::Running),
            // A stop is a wish: a running instance ends when its backend says so.
            (Phase::Running, Event::StopAsked) => Ok(Phase::Running),
            (Phase::Running, Event::Exited) => Ok(Phase::Ended),
            (Phase::Prepared | Phase::Built, Event::Refused | Event::StopAsked) => Ok(Phase::Ended),
            // A stop may cross the end on its way.
            (Phase::Ended, Event::StopAsked) => Ok(Phase::Ended),
            (phase, event) => Err(Unexpected { phase, event }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHASES: [Phase; 4] = [Phase::Prepared, Phase::Built, Phase::Running, Phase::Ended];
    const EVENTS: [Event; 5] = [Event::Built, Event::Refused, Event::Started, Event::StopAsked, Event::Exited];

    #[test]
    fn every_event_in_every_phase_has_exactly_the_outcome_of_the_diagram() {
        use Phase::{Built, Ended, Running};
        #[rustfmt::skip]
        let table: [[Option<Phase>; 5]; 4] = [
            // Built        Refused      Started        StopAsked      Exited
            [Some(Built),   Some(Ended), None,          Some(Ended),   None       ], // Prepared
            [None,          Some(Ended), Some(Running), Some(Ended),   None       ], // Built
            [None,          None,        None,          Some(Running), Some(Ended)], // Running
            [None,          None,        None,          Some(Ended),   None       ], // Ended
        ];
        for (row, phase) in PHASES.into_iter().enumerate() {
            for (column, event) in EVENTS.into_iter().enumerate() {
                let expected = table[row][column].ok_or(Unexpected { phase, event });
                assert_eq!(phase.after(event), expected, "{event:?} when {phase:?}");
            }
        }
    }

    #[test]
    fn nothing_runs_after_the_end() {
        for event in EVENTS {
            assert!(matches!(Phase::Ended.after(event), Ok(Phase::Ended) | Err(_)));
        }
    }
}
