//! Who looks up names.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;

use ringfence_isolation::BoxFuture;
use tokio::sync::Semaphore;

/// Looks up the addresses of names. It is not asked for names the manifest does not grant, and its
/// answer is not trusted: every address in it is checked.
pub trait Resolver: Send + Sync {
    /// The addresses of `name`, which is in lower case without a trailing dot. An error of kind
    /// `NotFound` says that there is no such name, one of kind `TimedOut` that nobody knows now.
    fn resolve(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The resolver of the host, `getaddrinfo(3)`: its `/etc/hosts`, its servers, its search domains.
///
/// A lookup that was begun cannot be called off: when its future is dropped, a thread of the host goes
/// on waiting until `resolv.conf(5)` gives it up. So there should be one of these for each instance,
/// and each does a few lookups at a time.
pub struct SystemResolver {
    turns: Arc<Semaphore>,
}

impl SystemResolver {
    /// How many lookups go on at once, those given up included.
    pub const AT_ONCE: usize = 4;

    /// The resolver of the host.
    pub fn new() -> Self {
        Self { turns: Arc::new(Semaphore::new(Self::AT_ONCE)) }
    }
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self::new()
    }
}

impl Resolver for SystemResolver {
    fn resolve(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let turns = Arc::clone(&self.turns);
        Box::pin(async move {
            let turn = turns.acquire_owned().await.map_err(io::Error::other)?;
            let lookup = tokio::task::spawn_blocking(move || {
                let addresses = look_up(&name);
                drop(turn);
                addresses
            });
            lookup.await.map_err(io::Error::other)?
        })
    }
}

fn look_up(name: &str) -> io::Result<Vec<IpAddr>> {
    match (name, 0).to_socket_addrs() {
        Ok(addresses) => Ok(addresses.map(|address| address.ip()).collect()),
        Err(error) if error.raw_os_error().is_some() => Err(error),
        // The standard library keeps of the other errors only the words of `gai_strerror(3)`.
        // EAI_AGAIN has these in glibc and musl; all others mean that there is no answer.
        Err(error) => {
            let words = error.to_string();
            let again = words.contains("Temporary failure") || words.contains("Try again");
            Err(io::Error::new(if again { io::ErrorKind::TimedOut } else { io::ErrorKind::NotFound }, error))
        }
    }
}
