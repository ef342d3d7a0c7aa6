//! Closing what a program has, too. Whoever lets go of a socket last waits there for its bytes to be sent, as long as the
//! program wants (`socket(7)`, `SO_LINGER`): that is not to be an executor's thread. Who ends never waits (`exit(2)`),
//! so the last one is always a thread that does: it takes a descriptor table of its own, with everything in it, and ends
//! when the descriptors are closed in the one that all others share.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Builder;

use crate::sys;

/// How many are closed at once.
const MOST: usize = 64;

/// A descriptor that a program has, too. Dropping it makes nobody wait.
#[derive(Debug)]
pub(super) struct Lent(Option<OwnedFd>);

impl From<OwnedFd> for Lent {
    fn from(descriptor: OwnedFd) -> Self {
        Lent(Some(descriptor))
    }
}

impl AsFd for Lent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_ref().expect("it is there until it is dropped").as_fd()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        static CLOSER: LazyLock<Option<Sender<OwnedFd>>> = LazyLock::new(|| {
            let (sender, receiver) = channel();
            let closer = Builder::new().name("ringfence-close".into()).spawn(move || close(&receiver));
            closer.ok().map(|_| sender)
        });
        let Some(descriptor) = self.0.take() else { return };
        // What nobody waits for is closed before the program goes on: it may want the port again.
        if may_linger(descriptor.as_fd())
            && let Some(closer) = &*CLOSER
        {
            // It never ends.
            let _ = closer.send(descriptor);
        }
    }
}

/// Whether bytes may wait to be sent: there is, was or will be a connection.
fn may_linger(socket: BorrowedFd<'_>) -> bool {
    /// `TCP_CLOSE` and `TCP_LISTEN`, as the first byte of `TCP_INFO` has them.
    const NONE: [u8; 2] = [7, 10];
    let mut information = [0];
    let got = sys::socket_option(socket, libc::IPPROTO_TCP, libc::TCP_INFO, &mut information);
    got.is_ok() && !NONE.contains(&information[0])
}

fn close(receiver: &Receiver<OwnedFd>) {
    while let Ok(first) = receiver.recv() {
        let closing: Vec<OwnedFd> = std::iter::once(first).chain(receiver.try_iter().take(MOST - 1)).collect();
        let (holding, held) = channel();
        let (closed, ending) = channel::<()>();
        let holder = Builder::new().name("ringfence-close".into()).spawn(move || {
            let _ = holding.send(sys::unshare_descriptors());
            // Nothing is ever sent.
            let _ = ending.recv();
        });
        if holder.is_ok() {
            let _ = held.recv();
        }
        drop(closing);
        drop(closed);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use rustix::net::sockopt::set_socket_linger;

    use super::*;

    #[test]
    fn who_closes_what_lingers_does_not_wait_and_it_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (stream, listener.accept().unwrap().0)
        };
        let ((mut stream, mut peer), (next, mut there)) = (connect(), connect());
        set_socket_linger(&stream, Some(Duration::from_secs(1000))).unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut sent = 0;
        let full = loop {
            match stream.write(&[1; 65536]) {
                Ok(count) => sent += count,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        let began = Instant::now();
        drop(Lent::from(OwnedFd::from(stream)));
        // The next one is not behind it.
        drop(Lent::from(OwnedFd::from(next)));
        assert_eq!(there.read(&mut [0]).unwrap(), 0);
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        assert_eq!(received.len(), sent);
        assert!(began.elapsed() < Duration::from_secs(500), "{:?}", began.elapsed());
    }
}
