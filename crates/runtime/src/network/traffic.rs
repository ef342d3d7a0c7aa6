//! Bytes on their way: bandwidth, and waiting for both the socket and the bandwidth.

use ringfence_abi::{ErrorCode, Interest, Reply};
use tokio::time::Instant;

use super::bandwidth::Bandwidth;
use super::{Descriptor, Network};

/// Bytes that may pass now. What does not pass goes back when this is dropped.
pub(super) struct Allowance<'a> {
    bandwidth: Option<&'a Bandwidth>,
    bytes: usize,
}

impl Allowance<'_> {
    /// How many bytes may pass.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// So many did pass.
    pub(super) fn spend(mut self, passed: usize) {
        self.bytes = self.bytes.saturating_sub(passed);
    }
}

impl Drop for Allowance<'_> {
    fn drop(&mut self) {
        if let Some(bandwidth) = self.bandwidth {
            bandwidth.give_back(self.bytes);
        }
    }
}

impl Network {
    /// Takes bandwidth for `least` to `most` bytes. `WouldBlock` when there is less than `least` now;
    /// the descriptor remembers for [`Network::ready`] how much it was.
    pub(super) fn allow(
        &self,
        descriptor: &Descriptor,
        interest: Interest,
        least: usize,
        most: usize,
    ) -> Result<Allowance<'_>, ErrorCode> {
        let Some(bandwidth) = &self.bandwidth else {
            return Ok(Allowance { bandwidth: None, bytes: most });
        };
        match bandwidth.take(least, most, Instant::now()) {
            Some(bytes) => {
                descriptor.want(interest, 0);
                Ok(Allowance { bandwidth: Some(bandwidth), bytes })
            }
            None => {
                descriptor.want(interest, least);
                Err(ErrorCode::WouldBlock)
            }
        }
    }

    /// Answers `Call::Ready`: waits until the socket can make progress and, if the last attempt lacked
    /// bandwidth, until there is enough.
    pub(crate) async fn ready(&self, descriptor: &Descriptor, interest: Interest) -> Result<Reply, ErrorCode> {
        loop {
            descriptor.wait(interest).await?;
            let wanted = descriptor.wanted(interest);
            match &self.bandwidth {
                Some(bandwidth) if bandwidth.due(wanted, Instant::now()).is_none_or(|due| due > Instant::now()) => {
                    bandwidth.wait_for(wanted).await;
                }
                _ => return Ok(Reply::Done),
            }
        }
    }
}
