//! Where instances run: a Tokio runtime of our own, or the embedder's.

use std::future::Future;

use tokio::runtime::{Builder, Handle, Runtime};

/// Where instances run.
pub(crate) enum Executor {
    /// A runtime of our own. `None` only while it is being dropped.
    Owned(Option<Runtime>),
    /// The embedder's.
    Given(Handle),
}

impl Executor {
    /// A runtime of our own with worker threads.
    pub(crate) fn threads() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread().thread_name("ringfence").enable_all().build()?;
        Ok(Executor::Owned(Some(runtime)))
    }

    /// A runtime of our own that runs only within [`Executor::block_on`].
    pub(crate) fn current_thread() -> std::io::Result<Self> {
        Ok(Executor::Owned(Some(Builder::new_current_thread().enable_all().build()?)))
    }

    pub(crate) fn handle(&self) -> &Handle {
        match self {
            Executor::Owned(runtime) => runtime.as_ref().expect("it is there until it is dropped").handle(),
            Executor::Given(handle) => handle,
        }
    }

    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        match self {
            Executor::Owned(runtime) => runtime.as_ref().expect("it is there until it is dropped").block_on(future),
            Executor::Given(handle) => handle.block_on(future),
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        if let Executor::Owned(runtime) = self
            && let Some(runtime) = runtime.take()
        {
            // Dropping it would wait for blocked threads, and panics within another runtime.
            runtime.shutdown_background();
        }
    }
}
