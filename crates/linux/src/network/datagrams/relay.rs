//! The thread that passes datagrams on.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::exchange::Exchange;
use super::wire::leave;
use crate::network::broker::Desk;
use crate::network::signal::Signal;
use crate::network::streams::Bucket;

/// Enough for a loop around `epoll_wait`.
const STACK: usize = 128 * 1024;

/// The relay of one instance. Dropping it ends its thread, when everything the program sent was passed on.
pub(in crate::network) struct Relay {
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Starts one that comes when `signal` rings; with a bucket, what passes is taken from it.
    pub(in crate::network) fn start(
        device: OwnedFd,
        desk: Arc<Desk>,
        signal: Arc<Signal>,
        bucket: Option<Arc<Bucket>>,
    ) -> io::Result<Self> {
        let exchange = Exchange::new(device, desk, signal.clone(), bucket)?;
        let builder = thread::Builder::new().name("ringfence-udp".into()).stack_size(STACK);
        Ok(Relay { signal, thread: Some(builder.spawn(move || leave(exchange.run()))?) })
    }

    /// What makes it look again at what it held back.
    pub(in crate::network) fn waker(&self) -> impl FnOnce() + Send + 'static {
        let signal = self.signal.clone();
        move || signal.ring()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.signal.end();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
