//! Capturing a guest from outside its monitor's process: the state leaves that as bytes, over a pipe, and is believed
//! in nothing: it is read up to the guest's limit of memory, checked as the file of a snapshot is, and sealed.
//!
//! ```text
//! capture ──news──▶ monitor ──asks for the pipe──▶ writes the state ──says that it has──▶ Ready, of a sealed state
//! ```

#[cfg(all(feature = "microvm", target_arch = "x86_64"))]
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How a capture went for the monitor: why not, if it did not.
pub(super) type Word = Result<(), String>;

/// The capture that is under way.
#[derive(Default)]
pub(super) struct Captures(Mutex<Option<Wanted>>);

struct Wanted {
    /// Where the state goes, as long as the monitor has not asked for it.
    pipe: Option<OwnedFd>,
    tell: oneshot::Sender<Word>,
}

impl Captures {
    fn wanted(&self) -> MutexGuard<'_, Option<Wanted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one, unless somebody waits for another one: what is to be read, and the monitor's word.
    #[cfg(all(feature = "microvm", target_arch = "x86_64"))]
    pub(super) fn begin(&self) -> std::io::Result<Option<(File, oneshot::Receiver<Word>)>> {
        let mut wanted = self.wanted();
        if wanted.as_ref().is_some_and(|wanted| !wanted.tell.is_closed()) {
            return Ok(None);
        }
        let (reader, writer) = std::io::pipe()?;
        let (tell, word) = oneshot::channel();
        *wanted = Some(Wanted { pipe: Some(writer.into()), tell });
        Ok(Some((File::from(OwnedFd::from(reader)), word)))
    }

    /// Where the monitor is to write the state; told once.
    pub(super) fn claim(&self) -> Option<OwnedFd> {
        self.wanted().as_mut()?.pipe.take()
    }

    /// The monitor's word; the first one counts.
    pub(super) fn end(&self, word: Word) {
        if let Some(Wanted { tell, .. }) = self.wanted().take() {
            let _ = tell.send(word);
        }
    }
}
