//! The streams of a command that somebody else carries out: pipes in their place, and threads that pass on what
//! goes through them.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use ringfence_isolation::Host;
use tokio::runtime::Handle;

use crate::exec::pass_on;
use crate::launch;
use crate::stdio::CommandStreams;

/// Who passes on what a command reads and prints. Whoever carries it out has pipes, or the device that is nothing:
/// what the streams really are, a terminal or a file, can be read and written here alone.
pub struct Relayed {
    /// Closes when the command is over.
    still_there: OwnedFd,
    pumps: Vec<JoinHandle<()>>,
}

/// Who asked for a command is there as long as this is. When nobody is, what nobody takes of its output is thrown away.
#[derive(Debug)]
pub struct Asking(#[expect(dead_code, reason = "that it is open says it")] OwnedFd);

impl Relayed {
    /// Begins to pass on between these streams and the descriptors that come with it, which are for whoever carries
    /// the command out: to read from, and two to write to. What is printed is charged to `host`. The third is for who
    /// asked for the command to keep.
    ///
    /// # Errors
    /// A stream that no capsule is given (a folder, a device), or no descriptors or threads.
    pub fn begin(
        streams: [OwnedFd; 3],
        host: &Arc<dyn Host>,
        executor: &Handle,
    ) -> io::Result<(Self, [OwnedFd; 3], Asking)> {
        let CommandStreams { inside, printed, fed, .. } = CommandStreams::own(streams, true)?;
        let (over, still_there) = launch::pair()?;
        let (left, asking) = launch::pair()?;
        let (over, left) = (Arc::new(over), Arc::new(left));
        let pumps = pass_on(printed, fed, host, executor, &over, &left)?;
        Ok((Relayed { still_there, pumps }, inside, Asking(asking)))
    }

    /// The command is over: waits until what it printed by now has arrived. What is written to its pipes from here
    /// on is not.
    pub fn finish(self) {
        drop(self.still_there);
        for pump in self.pumps {
            let _ = pump.join();
        }
    }
}
