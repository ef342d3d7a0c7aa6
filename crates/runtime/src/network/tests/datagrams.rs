use std::net::UdpSocket as HostSocket;

use super::*;
use crate::network::UdpSocket;

/// A UDP socket of the host, and its address.
fn host_socket(address: &str) -> (HostSocket, SocketAddr) {
    let socket = HostSocket::bind((address, 0)).expect("the loopback interface");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

fn heard(socket: &HostSocket) -> (Vec<u8>, SocketAddr) {
    let mut bytes = vec![0; 65536];
    let (count, from) = socket.recv_from(&mut bytes).expect("a datagram");
    bytes.truncate(count);
    (bytes, from)
}

fn port_of(socket: &UdpSocket) -> u16 {
    match socket.local_address() {
        Ok(Reply::Address(address)) => address.port(),
        other => panic!("no address: {other:?}"),
    }
}

impl Place {
    /// Receives a datagram, waiting for it.
    async fn hear(&self, socket: &UdpSocket) -> Result<(Vec<u8>, SocketAddr), ErrorCode> {
        let mut bytes = vec![0; 65536];
        loop {
            match self.network.receive_from(socket, &mut bytes) {
                Ok(Reply::Datagram(count, from)) => {
                    bytes.truncate(count);
                    return Ok((bytes, from));
                }
                Err(ErrorCode::WouldBlock) => {
                    soon(self.network.ready(socket.descriptor(), Interest::Readable)).await?;
                }
                other => return Err(other.expect_err("a datagram")),
            }
        }
    }
}

#[tokio::test]
async fn a_granted_destination_is_sent_to_and_answers() {
    for loopback in ["127.0.0.1", "::1"] {
        let (there, to) = host_socket(loopback);
        let place = Place::connecting(&[&to.to_string()]);
        let socket = place.network.udp_socket(to.is_ipv6()).expect("a socket");
        assert_eq!(place.network.receive_from(&socket, &mut [0; 8]), Err(ErrorCode::Invalid), "not bound");
        assert_eq!(place.network.send_to(&socket, Some(to), b"question"), Ok(Reply::Count(8)));
        let (question, from) = heard(&there);
        assert_eq!((question.as_slice(), from.port()), (&b"question"[..], port_of(&socket)));
        there.send_to(b"answer", from).expect("sent");
        assert_eq!(place.hear(&socket).await, Ok((b"answer".to_vec(), to)));
    }
}

#[tokio::test]
async fn each_destination_is_judged() {
    let (_there, to) = host_socket("127.0.0.1");
    let place = Place::connecting(&[&to.to_string(), "*:53"]);
    let socket = place.network.udp_socket(false).expect("a socket");
    assert_eq!(place.network.send_to(&socket, Some(to), b"x"), Ok(Reply::Count(1)));
    for text in ["127.0.0.1:53", "169.254.169.254:53", "224.0.0.251:53", "255.255.255.255:53"] {
        assert_eq!(place.network.send_to(&socket, Some(address(text)), b"x"), Err(ErrorCode::Denied), "{text}");
    }
    assert_eq!(place.denied().len(), 4);
    let nowhere = address("0.0.0.0:53");
    assert_eq!(place.network.send_to(&socket, Some(nowhere), b"x"), Err(ErrorCode::Invalid));
    assert_eq!(place.network.send_to(&socket, None, b"x"), Err(ErrorCode::Invalid));
    assert_eq!(place.network.connect_udp(&socket, address("127.0.0.1:53")), Err(ErrorCode::Denied));
}

#[tokio::test]
async fn a_socket_with_a_peer_speaks_to_it_alone() {
    let (there, to) = host_socket("127.0.0.1");
    let (_other, elsewhere) = host_socket("127.0.0.1");
    let place = Place::connecting(&["127.0.0.1:*"]);
    let socket = place.network.udp_socket(false).expect("a socket");
    assert_eq!(socket.peer_address(), Err(ErrorCode::NotConnected));
    assert_eq!(place.network.connect_udp(&socket, to), Ok(Reply::Done));
    assert_eq!(socket.peer_address(), Ok(Reply::Address(to)));
    assert_eq!(place.network.send_to(&socket, None, b"a"), Ok(Reply::Count(1)));
    assert_eq!(place.network.send_to(&socket, Some(to), b"b"), Ok(Reply::Count(1)));
    assert_eq!(place.network.send_to(&socket, Some(elsewhere), b"c"), Err(ErrorCode::Invalid));
    assert_eq!((heard(&there).0, heard(&there).0), (b"a".to_vec(), b"b".to_vec()));

    assert_eq!(place.network.disconnect(&socket), Ok(Reply::Done));
    assert_eq!(place.network.send_to(&socket, None, b"d"), Err(ErrorCode::Invalid));
    assert_eq!(place.network.send_to(&socket, Some(elsewhere), b"e"), Ok(Reply::Count(1)));
    assert_eq!(place.network.disconnect(&socket), Ok(Reply::Done), "once more changes nothing");
}

#[tokio::test]
async fn what_came_before_there_was_a_peer_is_not_from_it() {
    let (early, _) = host_socket("127.0.0.1");
    let (there, to) = host_socket("127.0.0.1");
    let place = Place::new(permissions(&["127.0.0.1:*"], &["127.0.0.1:0"], &[]), None);
    let socket = place.network.udp_socket(false).expect("a socket");
    place.network.bind_udp(&socket, address("127.0.0.1:0")).expect("bound");
    let here = ("127.0.0.1", port_of(&socket));
    early.send_to(b"early", here).expect("sent");
    place.network.connect_udp(&socket, to).expect("a peer");
    there.send_to(b"peer", here).expect("sent");
    assert_eq!(place.hear(&socket).await, Ok((b"peer".to_vec(), to)));
    assert_eq!(place.network.unsolicited(), 1);
}

#[tokio::test]
async fn a_socket_that_may_not_listen_hears_only_whom_it_may_send_to() {
    for bound in [false, true] {
        for rate in [None, Some(BitRate(80_000_000))] {
            let (friend, to) = host_socket("127.0.0.1");
            let (stranger, _) = host_socket("127.0.0.1");
            let place = Place::new(permissions(&[&to.to_string()], &[], &[]), rate);
            let socket = place.network.udp_socket(false).expect("a socket");
            if bound {
                place.network.bind_udp(&socket, address("0.0.0.0:0")).expect("what the system would choose");
            }
            place.network.send_to(&socket, Some(to), b"hello").expect("sent");
            let here = ("127.0.0.1", port_of(&socket));
            stranger.send_to(b"let me in", here).expect("sent");
            friend.send_to(b"hello", here).expect("sent");
            assert_eq!(place.hear(&socket).await, Ok((b"hello".to_vec(), to)));
            let mut bytes = [1; 32];
            stranger.send_to(b"secret", here).expect("sent");
            assert_eq!(place.network.receive_from(&socket, &mut bytes), Err(ErrorCode::WouldBlock));
            assert!(!bytes.starts_with(b"secret"));
            assert_eq!(place.network.unsolicited(), 2);
            assert_eq!(place.denied(), [], "nobody asked for them");
        }
    }
}

#[tokio::test]
async fn a_socket_that_may_listen_hears_everyone() {
    let (stranger, from) = host_socket("127.0.0.1");
    let place = Place::listening(&["127.0.0.1:0"]);
    let socket = place.network.udp_socket(false).expect("a socket");
    place.network.bind_udp(&socket, address("127.0.0.1:0")).expect("bound");
    stranger.send_to(b"hello", ("127.0.0.1", port_of(&socket))).expect("sent");
    assert_eq!(place.hear(&socket).await, Ok((b"hello".to_vec(), from)));
    assert_eq!(place.network.send_to(&socket, Some(from), b"hello"), Err(ErrorCode::Denied), "but does not answer");
}

#[tokio::test]
async fn binding_needs_a_rule_and_is_done_once() {
    let place = Place::connecting(&["192.0.2.1:53"]);
    let socket = place.network.udp_socket(false).expect("a socket");
    for text in ["127.0.0.1:0", "0.0.0.0:5353"] {
        assert_eq!(place.network.bind_udp(&socket, address(text)), Err(ErrorCode::Denied), "{text}");
    }
    assert_eq!(place.network.bind_udp(&socket, address("[::1]:0")), Err(ErrorCode::Invalid));
    assert_eq!(place.network.bind_udp(&socket, address("0.0.0.0:0")), Ok(Reply::Done));
    assert_eq!(place.network.bind_udp(&socket, address("0.0.0.0:0")), Err(ErrorCode::Invalid));
    let nothing = Place::connecting(&[]);
    let socket = nothing.network.udp_socket(false).expect("a socket");
    assert_eq!(nothing.network.bind_udp(&socket, address("0.0.0.0:0")), Err(ErrorCode::Denied));
    assert_eq!(nothing.the_denial(), "denied 0.0.0.0:0: not in net.listen; to grant it: net.listen = [\"0.0.0.0:0\"]");
}

#[tokio::test]
async fn what_does_not_fit_of_a_datagram_is_lost() {
    for rate in [None, Some(BitRate(80_000_000))] {
        let (there, to) = host_socket("127.0.0.1");
        let place = Place::new(permissions(&[&to.to_string()], &[], &[]), rate);
        let socket = place.network.udp_socket(false).expect("a socket");
        place.network.send_to(&socket, Some(to), b"hello").expect("sent");
        let (_, here) = heard(&there);
        there.send_to(b"0123456789", here).expect("sent");
        there.send_to(b"", here).expect("sent");
        soon(place.network.ready(socket.descriptor(), Interest::Readable)).await.expect("ready");
        let mut bytes = [0; 4];
        assert_eq!(place.network.receive_from(&socket, &mut bytes), Ok(Reply::Datagram(4, to)));
        assert_eq!(&bytes, b"0123");
        assert_eq!(place.hear(&socket).await, Ok((vec![], to)), "an empty one is one too");
    }
}

#[tokio::test]
async fn a_datagram_that_bandwidth_never_allows_is_cut() {
    let (there, to) = host_socket("127.0.0.1");
    let place = Place::new(permissions(&["127.0.0.1:*"], &[], &[]), Some(BitRate(80_000)));
    let socket = place.network.udp_socket(false).expect("a socket");
    place.network.send_to(&socket, Some(to), b"hello").expect("sent");
    let (_, here) = heard(&there);
    there.send_to(&[7; 30_000], here).expect("sent");
    assert_eq!(place.hear(&socket).await, Ok((vec![7; 16 * 1024], to)));
}

#[tokio::test]
async fn nobody_at_the_port_of_the_peer_is_told_and_waiting_goes_on_after_it() {
    let (there, to) = host_socket("127.0.0.1");
    drop(there);
    let place = Place::connecting(&["127.0.0.1:*"]);
    let socket = place.network.udp_socket(false).expect("a socket");
    place.network.connect_udp(&socket, to).expect("a peer");
    let mut waiting = Box::pin(place.network.ready(socket.descriptor(), Interest::Readable));
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut waiting).await.is_err(), "nothing comes");
    place.network.send_to(&socket, None, b"anyone?").expect("sent");
    assert_eq!(soon(waiting).await, Ok(Reply::Done));
    assert_eq!(place.hear(&socket).await, Err(ErrorCode::ConnectionRefused));
    let waiting = place.network.ready(socket.descriptor(), Interest::Readable);
    assert!(tokio::time::timeout(Duration::from_millis(30), waiting).await.is_err(), "the error is gone");
    let there = HostSocket::bind(to).expect("its port again");
    there.send_to(b"here I am", ("127.0.0.1", port_of(&socket))).expect("sent");
    assert_eq!(place.hear(&socket).await, Ok((b"here I am".to_vec(), to)));
}

#[tokio::test]
async fn a_datagram_that_is_too_long_says_so() {
    let (_there, to) = host_socket("127.0.0.1");
    let place = Place::connecting(&["127.0.0.1:*"]);
    let socket = place.network.udp_socket(false).expect("a socket");
    assert_eq!(place.network.send_to(&socket, Some(to), &vec![0; 70_000]), Err(ErrorCode::MessageTooLong));
    assert_eq!(place.meter.bytes.load(Ordering::Relaxed), 0, "and costs nothing");
}
