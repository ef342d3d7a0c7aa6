//! Names are asked for in datagrams and answered from the scoped hal.

use std::net::SocketAddr;

use ringfence_abi::{Call, ErrorCode, Reply};
use ringfence_isolation::names::{Known, Question, SERVER};
use ringfence_manifest::HostRule;
use rustix::io::Errno;

use super::super::thread::Thread;

/// Where names are answered.
pub(super) fn server() -> SocketAddr {
    SocketAddr::from((SERVER, 53))
}

/// The answer to a message for the name server; `None` when it is no question that can be answered.
pub(super) fn ask(thread: &Thread, message: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let Some(question) = Question::read(message) else { return Ok(None) };
    let known = if question.wants_addresses() {
        let resolving = thread.world.host.call(Call::Resolve { name: &question.name });
        known(thread.answered(resolving)?)
    } else {
        Known::Addresses(Vec::new())
    };
    Ok(Some(question.answer(&known)))
}

impl Thread {
    /// Before an address of the host itself is judged: what `localhost` stands for, if that is granted.
    /// Programs look that name up in `/etc/hosts` by themselves.
    pub(super) fn know_localhost(&self, address: SocketAddr) -> Result<(), Errno> {
        let rules = &self.world.spec.permissions.network.connect;
        let by_name = |rule: &HostRule| matches!(rule, HostRule::Name(_)) && rule.covers_name("localhost");
        let is_meant = address.ip().to_canonical().is_loopback() && rules.iter().any(|rule| by_name(&rule.host));
        if is_meant && self.world.localhost.get().is_none() {
            drop(self.answered(self.world.host.call(Call::Resolve { name: "localhost" }))?);
            let _ = self.world.localhost.set(());
        }
        Ok(())
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
