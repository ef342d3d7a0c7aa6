//! The watchdog: a thread of its own that owns signals and deadlines, so that nothing the command waits
//! for can keep it from ending.
//!
//! As long as somebody [listens](Watchdog::while_running), the first signal is passed on, and so is
//! every other. When the command has not gone on a moment after the second one, or after the deadline of
//! the capsule, the watchdog ends the process. When nobody can listen, because a program is being
//! compiled, the first signal ends it at once.

mod state;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::time::sleep_until;

use crate::failure::Failure;
use crate::signals::Signals;
use state::{Phase, State};

/// Ends the process when nothing else does.
#[derive(Clone)]
pub(crate) struct Watchdog(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Wakes the watchdog: it has to look at the state again.
    changed: Notify,
    /// Wakes who listens.
    heard: Notify,
    /// A folder that has to be gone at the end.
    folder: Mutex<Option<PathBuf>>,
}

/// Who hears the signals, until it is dropped.
pub(crate) struct Listener<'a>(&'a Shared);

impl Watchdog {
    /// Begins to watch. From now on signals that would end the process are caught. When it has to end,
    /// `end` is called with the reason and with the folder that is to be removed.
    pub(crate) fn begin(end: impl FnOnce(Failure, Option<PathBuf>) + Send + 'static) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let signals = {
            let _within = runtime.enter();
            Signals::catch()?
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new()),
            changed: Notify::new(),
            heard: Notify::new(),
            folder: Mutex::new(None),
        });
        let watchdog = Watchdog(shared.clone());
        thread::Builder::new().name("watchdog".into()).spawn(move || {
            let why = runtime.block_on(watch(&shared, signals));
            let folder = shared.folder.lock().unwrap_or_else(PoisonError::into_inner).take();
            end(why, folder);
        })?;
        Ok(watchdog)
    }

    /// Hears signals while something is prepared that can be called off.
    pub(crate) fn while_preparing(&self) -> Listener<'_> {
        self.listen(Phase::Preparing, None)
    }

    /// Hears signals while a capsule runs, which has this long from now on.
    pub(crate) fn while_running(&self, wall_time: Option<Duration>) -> Listener<'_> {
        self.listen(Phase::Running, wall_time)
    }

    /// Acts as if this process had got a signal.
    pub(crate) fn signal(&self, signal: i32) {
        self.0.state().signal(signal, Instant::now());
        self.0.heard.notify_one();
        self.0.changed.notify_one();
    }

    /// This folder is to be gone when the process ends.
    pub(crate) fn guard(&self, folder: Option<PathBuf>) {
        *self.0.folder.lock().unwrap_or_else(PoisonError::into_inner) = folder;
    }

    fn listen(&self, phase: Phase, wall_time: Option<Duration>) -> Listener<'_> {
        self.0.state().listen(phase, wall_time, Instant::now());
        if wall_time.is_some() {
            self.0.changed.notify_one();
        }
        Listener(&self.0)
    }
}

impl Listener<'_> {
    /// The next signal.
    pub(crate) async fn next(&mut self) -> i32 {
        loop {
            if let Some(signal) = self.0.state().hear() {
                return signal;
            }
            self.0.heard.notified().await;
        }
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        if self.0.state().leave(Instant::now()) {
            self.0.changed.notify_one();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches until the process has to end; why it has to.
async fn watch(shared: &Shared, mut signals: Signals) -> Failure {
    loop {
        let (due, next) = {
            let state = shared.state();
            (state.due(Instant::now()), state.next())
        };
        if let Some(why) = due {
            return why;
        }
        let moment = async {
            match next {
                Some(moment) => sleep_until(moment.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            signal = signals.next() => {
                shared.state().signal(signal, Instant::now());
                shared.heard.notify_one();
            }
            () = moment => {}
            () = shared.changed.notified() => {}
        }
    }
}

/// Does something that may take for ever, and waits for it as long as `patience`. Whether it was done.
pub(crate) fn within(patience: Duration, work: impl FnOnce() -> bool + Send + 'static) -> bool {
    let (done, waits) = std::sync::mpsc::channel();
    let begun = thread::Builder::new().spawn(move || done.send(work()));
    begun.is_ok() && waits.recv_timeout(patience).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::state::PATIENCE;
    use super::*;
    use crate::exit_code::ExitCode;

    fn watched() -> (Watchdog, mpsc::Receiver<(Failure, Option<PathBuf>)>) {
        let (ended, end) = mpsc::channel();
        let watchdog = Watchdog::begin(move |why, folder| ended.send((why, folder)).unwrap()).unwrap();
        (watchdog, end)
    }

    #[test]
    fn a_capsule_that_holds_its_thread_beyond_its_deadline_is_ended() {
        let (watchdog, end) = watched();
        watchdog.guard(Some("/scratch".into()));
        let _listener = watchdog.while_running(Some(Duration::ZERO));
        // This thread is held by waiting here: nobody polls anything.
        let (why, folder) = end.recv_timeout(PATIENCE * 30).unwrap();
        assert_eq!((why.kind, why.code), ("exceeded", ExitCode::Exceeded));
        assert!(why.message.contains("wall_time"), "{}", why.message);
        assert_eq!(folder, Some("/scratch".into()));
    }

    #[test]
    fn a_capsule_that_has_ended_is_left_alone() {
        let (watchdog, end) = watched();
        drop(watchdog.while_running(Some(Duration::ZERO)));
        assert!(end.recv_timeout(PATIENCE + Duration::from_millis(200)).is_err());
    }

    #[test]
    fn what_takes_for_ever_is_not_waited_for() {
        let (_never, waits) = mpsc::channel::<()>();
        assert!(!within(Duration::from_millis(10), move || waits.recv().is_ok()));
        assert!(within(Duration::from_secs(60), || true));
    }
}
