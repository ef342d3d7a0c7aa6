//! Names are asked for over UDP and answered from the scoped hal.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;

use ringfence_abi::{Call, ErrorCode, Reply};
use ringfence_isolation::names::{Known, MOST, Question};
use rustix::net::{RecvFlags, SendFlags, recvfrom, sendto};

use super::broker::Desk;

/// Takes one message; `None` when it is no question that can be answered.
pub(super) fn receive(names: &OwnedFd) -> Option<(Question, SocketAddr)> {
    let mut message = [0; MOST];
    let (_, length, from) = recvfrom(names, &mut message, RecvFlags::DONTWAIT).ok()?;
    let from = SocketAddr::try_from(from?).ok()?;
    Some((Question::read(message.get(..length)?)?, from))
}

impl Desk {
    pub(super) async fn answer_name(&self, question: &Question, from: SocketAddr) {
        let known = if question.wants_addresses() {
            known(self.host.call(Call::Resolve { name: &question.name }).wait().await)
        } else {
            Known::Addresses(Vec::new())
        };
        self.answers.fetch_add(1, Relaxed);
        if let Some(names) = &self.doors.names {
            // A program that does not listen any more asks again, if at all.
            let _ = sendto(names, &question.answer(&known), SendFlags::DONTWAIT, &from);
        }
    }
}

/// A name that is denied is told as one that does not exist: programs ask again after every other error.
fn known(resolved: Result<Reply, ErrorCode>) -> Known {
    match resolved {
        Ok(Reply::Addresses(addresses)) => Known::Addresses(addresses),
        Err(ErrorCode::NotFound | ErrorCode::Denied | ErrorCode::Invalid) => Known::Nothing,
        Ok(_) | Err(_) => Known::Failed,
    }
}
