//! Named queues of messages between the instances of one runtime.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringfence_abi::ErrorCode;
use tokio::sync::Notify;

/// The channels of one runtime. A message is taken by one receiver; messages of one channel are
/// taken in the order they were sent.
#[derive(Default)]
pub struct Channels(Mutex<HashMap<String, Arc<Queue>>>);

#[derive(Default)]
struct Queue {
    messages: Mutex<Messages>,
    arrived: Notify,
}

#[derive(Default)]
struct Messages {
    queue: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Channels {
    /// How many messages one channel holds.
    pub const MESSAGES: usize = 1024;
    /// How many bytes one channel holds; also the longest message.
    pub const BYTES: usize = 1 << 20;
    /// How many bytes its name has.
    pub const LONGEST_NAME: usize = 256;
    /// How many channels there are at once.
    pub const MOST: usize = 4096;

    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a message into a channel.
    pub(crate) fn send(&self, channel: &str, message: &[u8]) -> Result<(), ErrorCode> {
        if message.len() > Self::BYTES {
            return Err(ErrorCode::MessageTooLong);
        }
        let queue = self.queue(channel)?;
        let mut messages = queue.messages();
        if messages.queue.len() >= Self::MESSAGES || messages.bytes + message.len() > Self::BYTES {
            return Err(ErrorCode::WouldBlock);
        }
        messages.bytes += message.len();
        messages.queue.push_back(message.to_vec());
        drop(messages);
        queue.arrived.notify_one();
        Ok(())
    }

    /// Takes a message if there is one.
    pub(crate) fn try_receive(&self, channel: &str) -> Option<Vec<u8>> {
        let queue = self.all().get(channel).cloned()?;
        queue.take()
    }

    /// Takes a message, or waits for one. Dropping the future takes none.
    pub(crate) async fn receive(&self, channel: &str) -> Result<Vec<u8>, ErrorCode> {
        let queue = self.queue(channel)?;
        loop {
            let arrived = queue.arrived.notified();
            if let Some(message) = queue.take() {
                return Ok(message);
            }
            arrived.await;
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Arc<Queue>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self, channel: &str) -> Result<Arc<Queue>, ErrorCode> {
        if channel.len() > Self::LONGEST_NAME {
            return Err(ErrorCode::Invalid);
        }
        let mut all = self.all();
        if let Some(queue) = all.get(channel) {
            return Ok(Arc::clone(queue));
        }
        if all.len() >= Self::MOST {
            // Those that are empty and that nobody waits for.
            all.retain(|_, queue| Arc::strong_count(queue) > 1 || !queue.messages().queue.is_empty());
        }
        if all.len() >= Self::MOST {
            return Err(ErrorCode::NoBufferSpace);
        }
        Ok(Arc::clone(all.entry(channel.to_owned()).or_default()))
    }
}

impl Queue {
    fn messages(&self) -> MutexGuard<'_, Messages> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Vec<u8>> {
        let mut messages = self.messages();
        let message = messages.queue.pop_front()?;
        messages.bytes -= message.len();
        if !messages.queue.is_empty() {
            // Its sender's note may have gone to someone who gave up.
            self.arrived.notify_one();
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_arrive_in_order_and_wake_who_waits() {
        let channels = Arc::new(Channels::new());
        let waiting = tokio::spawn({
            let channels = channels.clone();
            async move { (channels.receive("a").await, channels.receive("a").await) }
        });
        tokio::task::yield_now().await;
        channels.send("a", b"one").unwrap();
        channels.send("a", b"two").unwrap();
        assert_eq!(waiting.await.unwrap(), (Ok(b"one".to_vec()), Ok(b"two".to_vec())));
        assert_eq!(channels.try_receive("a"), None);
    }

    #[test]
    fn a_full_channel_takes_no_more_until_it_is_read() {
        let channels = Channels::new();
        for _ in 0..Channels::MESSAGES {
            channels.send("a", b"x").unwrap();
        }
        assert_eq!(channels.send("a", b"x"), Err(ErrorCode::WouldBlock));
        assert_eq!(channels.send("b", b"x"), Ok(()));
        channels.try_receive("a").unwrap();
        assert_eq!(channels.send("a", &[0; Channels::BYTES - Channels::MESSAGES + 1]), Ok(()));
        assert_eq!(channels.send("a", b""), Err(ErrorCode::WouldBlock));
        assert_eq!(channels.send("c", &[0; Channels::BYTES + 1]), Err(ErrorCode::MessageTooLong));
    }

    #[test]
    fn channels_that_nobody_uses_make_room_for_others() {
        let channels = Channels::new();
        channels.send("kept", b"x").unwrap();
        for number in 0..2 * Channels::MOST {
            let name = number.to_string();
            channels.send(&name, b"x").unwrap();
            channels.try_receive(&name).unwrap();
        }
        assert_eq!(channels.try_receive("kept"), Some(b"x".to_vec()));
    }
}
