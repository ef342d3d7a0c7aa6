use ringfence_abi::Shutdown;

use super::*;

#[tokio::test]
async fn a_granted_address_is_reached_over_either_family() {
    for loopback in ["127.0.0.1", "::1"] {
        let (listener, there) = host(loopback);
        let place = Place::connecting(&[&there.to_string()]);
        let socket = place.connected(there).await;
        assert_eq!(socket.peer_address(), Ok(Reply::Address(there)));
        let stream = take(&listener);
        assert_eq!(socket.local_address(), Ok(Reply::Address(stream.peer_addr().expect("an address"))));

        assert_eq!(place.network.send(&socket, b"it is me"), Ok(Reply::Count(8)));
        assert_eq!(greet(&stream), b"it is me");
        assert_eq!(place.receive(&socket).await, Ok(b"who is there?".to_vec()));
        drop(stream);
        assert_eq!(place.receive(&socket).await, Ok(vec![]), "the end");
        assert_eq!(place.denied(), []);
    }
}

#[tokio::test]
async fn an_address_that_is_not_granted_is_denied_before_anything_is_sent() {
    let (listener, there) = host("127.0.0.1");
    listener.set_nonblocking(true).expect("non-blocking");
    let place = Place::connecting(&["192.0.2.7:80"]);
    let socket = place.network.tcp_socket(false).expect("a socket");
    assert_eq!(place.network.connect_tcp(&socket, there), Err(ErrorCode::Denied));
    assert_eq!(
        place.the_denial(),
        format!(
            "denied {there}: not in net.connect (capsule.toml:7); \
             to grant it: net.connect = [\"192.0.2.7:80\", \"{there}\"]"
        )
    );
    assert_eq!(listener.accept().map(|_| ()).map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
    assert_eq!(socket.local_address(), Err(ErrorCode::Invalid), "the socket is as it was");
}

#[tokio::test]
async fn the_port_counts() {
    let (_listener, there) = host("127.0.0.1");
    let place = Place::connecting(&[&format!("127.0.0.1:{}", there.port() ^ 1)]);
    let socket = place.network.tcp_socket(false).expect("a socket");
    assert_eq!(place.network.connect_tcp(&socket, there), Err(ErrorCode::Denied));
}

#[tokio::test]
async fn a_refused_connection_says_so_and_the_socket_is_of_no_more_use() {
    let (listener, there) = host("127.0.0.1");
    drop(listener);
    let place = Place::connecting(&["127.0.0.1:*"]);
    let socket = place.network.tcp_socket(false).expect("a socket");
    assert_eq!(place.connect(&socket, there).await, Err(ErrorCode::ConnectionRefused));
    assert_eq!(place.network.connect_tcp(&socket, there), Err(ErrorCode::Invalid));
    assert_eq!(place.network.send(&socket, b"x"), Err(ErrorCode::NotConnected));
    assert_eq!(soon(place.network.ready(socket.descriptor(), Interest::Readable)).await, Ok(Reply::Done));
}

#[tokio::test]
async fn an_attempt_that_goes_on_answers_would_block_until_it_ends() {
    let (listener, there) = crowded();
    let place = Place::connecting(&["127.0.0.1:*"]);
    let socket = place.network.tcp_socket(false).expect("a socket");
    assert_eq!(place.network.connect_tcp(&socket, there), Err(ErrorCode::InProgress));
    assert_eq!(place.network.connect_result(&socket), Err(ErrorCode::WouldBlock));
    assert_eq!(place.network.connect_tcp(&socket, there), Err(ErrorCode::AlreadyInProgress));
    assert_eq!(place.network.receive(&socket, &mut [0; 8]), Err(ErrorCode::WouldBlock));
    let waiting = place.network.ready(socket.descriptor(), Interest::Writable);
    assert!(tokio::time::timeout(Duration::from_millis(20), waiting).await.is_err(), "nobody answers");
    drop(listener);
}

/// A listener whose queue is full, so that a further connection is never answered.
fn crowded() -> ((std::os::fd::OwnedFd, Vec<TcpStream>), SocketAddr) {
    use rustix::net::{AddressFamily, SocketType};
    let listener = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    rustix::net::bind(&listener, &address("127.0.0.1:0")).expect("bound");
    rustix::net::listen(&listener, 0).expect("listening");
    let there = SocketAddr::try_from(rustix::net::getsockname(&listener).expect("an address")).expect("an address");
    let connect = || TcpStream::connect_timeout(&there, Duration::from_millis(100));
    let queued = std::iter::from_fn(|| connect().ok()).take(8).collect::<Vec<_>>();
    assert!(queued.len() < 8, "the queue never fills");
    ((listener, queued), there)
}

#[tokio::test]
async fn sending_notices_a_connection_that_was_just_made() {
    let (listener, there) = host("127.0.0.1");
    let place = Place::connecting(&["127.0.0.1:*"]);
    let socket = place.network.tcp_socket(false).expect("a socket");
    assert_eq!(place.network.connect_tcp(&socket, there), Err(ErrorCode::InProgress));
    soon(place.network.ready(socket.descriptor(), Interest::Writable)).await.expect("ready");
    assert_eq!(place.network.send(&socket, b"hello"), Ok(Reply::Count(5)));
    assert_eq!(greet(&take(&listener)), b"hello");
    assert_eq!(place.network.connect_result(&socket), Err(ErrorCode::AlreadyConnected));
}

#[tokio::test]
async fn a_half_that_is_shut_is_an_end_there_and_a_broken_pipe_here() {
    let (listener, there) = host("::1");
    let place = Place::connecting(&["[::1]:*"]);
    let socket = place.connected(there).await;
    let mut stream = take(&listener);
    assert_eq!(socket.shutdown(Shutdown::Send), Ok(Reply::Done));
    assert_eq!(stream.read(&mut [0; 8]).expect("the end"), 0);
    assert_eq!(place.network.send(&socket, b"too late"), Err(ErrorCode::BrokenPipe));
    stream.write_all(b"goodbye").expect("sent");
    assert_eq!(place.receive(&socket).await, Ok(b"goodbye".to_vec()));
    let unconnected = place.network.tcp_socket(false).expect("a socket");
    assert_eq!(unconnected.shutdown(Shutdown::Both), Err(ErrorCode::NotConnected));
}

#[tokio::test]
async fn a_full_connection_would_block_and_is_ready_when_the_peer_reads() {
    let (listener, there) = host("127.0.0.1");
    let place = Place::connecting(&["127.0.0.1:*"]);
    let socket = place.connected(there).await;
    let mut stream = take(&listener);
    let chunk = vec![7; 1 << 20];
    let mut sent = 0;
    let full = loop {
        match place.network.send(&socket, &chunk) {
            Ok(Reply::Count(count)) => sent += count,
            other => break other,
        }
    };
    assert_eq!(full, Err(ErrorCode::WouldBlock));
    let reader = std::thread::spawn(move || {
        let mut left = sent;
        let mut buffer = vec![0; 1 << 16];
        while left > 0 {
            let most = buffer.len().min(left);
            left -= stream.read(&mut buffer[..most]).expect("bytes");
        }
        stream
    });
    assert_eq!(soon(place.network.ready(socket.descriptor(), Interest::Writable)).await, Ok(Reply::Done));
    assert!(matches!(place.network.send(&socket, b"more"), Ok(Reply::Count(1..))));
    reader.join().expect("all was read");
}

#[tokio::test]
async fn another_spelling_of_an_address_passes_no_rule_by() {
    let (_listener, there) = host("127.0.0.1");
    let place = Place::connecting(&["127.0.0.1:*", "[::ffff:127.0.0.1]:*", "*"]);
    let v6 = place.network.tcp_socket(true).expect("a socket");
    for text in ["[::ffff:127.0.0.1]", "[::127.0.0.1]", "127.0.0.1", "0.0.0.0", "[::]"] {
        let there = address(&format!("{text}:{}", there.port()));
        assert_eq!(place.network.connect_tcp(&v6, there), Err(ErrorCode::Invalid), "{text}");
    }
    assert_eq!(place.network.bind_tcp(&v6, address("[::ffff:127.0.0.1]:0")), Err(ErrorCode::Invalid));
    assert!(rustix::net::sockopt::ipv6_v6only(v6.descriptor()).expect("an option"));
}

#[tokio::test]
async fn a_wildcard_reaches_no_special_address() {
    let place = Place::connecting(&["*:*", "0.0.0.0/0:*", "[::/0]:*"]);
    for (text, what) in [
        ("127.0.0.1:80", "a loopback address"),
        ("10.0.0.1:80", "a private address"),
        ("169.254.169.254:80", "a link-local address"),
        ("168.63.129.16:80", "a link-local address"),
        ("[::1]:80", "a loopback address"),
        ("[fd00:ec2::254]:80", "a private address"),
        ("[fe80::1]:80", "a link-local address"),
        ("[64:ff9b::7f00:1]:80", "a loopback address"),
        ("[2002:a9fe:a9fe::1]:80", "a link-local address"),
        ("192.0.2.1:80", "a reserved address"),
    ] {
        let socket = place.network.tcp_socket(address(text).is_ipv6()).expect("a socket");
        assert_eq!(place.network.connect_tcp(&socket, address(text)), Err(ErrorCode::Denied), "{text}");
        let denied = place.denied().pop().expect("a denial");
        assert_eq!(denied.resource, text);
        assert_eq!(denied.rule, format!("not in net.connect, where * does not cover {what}"));
        assert_eq!(denied.written, Some(Source("capsule.toml:7".to_string())));
    }
}

#[tokio::test]
async fn the_line_that_would_grant_a_denied_connection_grants_it() {
    let (_listener, there) = host("127.0.0.1");
    let place = Place::connecting(&["*:*"]);
    let socket = place.network.tcp_socket(false).expect("a socket");
    assert_eq!(place.network.connect_tcp(&socket, there), Err(ErrorCode::Denied));
    let grant = place.denied().pop().and_then(|denial| denial.grant).expect("a line");
    let rules: Vec<&str> = grant.split('"').skip(1).step_by(2).collect();
    assert_eq!(rules.len(), 2, "{grant}");
    Place::connecting(&rules).connected(there).await;
}

#[tokio::test]
async fn a_group_takes_no_connections() {
    let place = Place::connecting(&["224.0.0.1:80", "[ff02::1]:80", "255.255.255.255:80"]);
    let v4 = place.network.tcp_socket(false).expect("a socket");
    let v6 = place.network.tcp_socket(true).expect("a socket");
    assert_eq!(place.network.connect_tcp(&v4, address("224.0.0.1:80")), Err(ErrorCode::Invalid));
    assert_eq!(place.network.connect_tcp(&v4, address("255.255.255.255:80")), Err(ErrorCode::Invalid));
    assert_eq!(place.network.connect_tcp(&v6, address("[ff02::1]:80")), Err(ErrorCode::Invalid));
}

#[tokio::test]
async fn who_waits_sleeps() {
    let (listener, there) = host("127.0.0.1");
    let place = Place::connecting(&["127.0.0.1:*"]);
    let socket = place.connected(there).await;
    let mut stream = take(&listener);
    let waiting = place.network.ready(socket.descriptor(), Interest::Readable);
    assert!(tokio::time::timeout(Duration::from_millis(1), waiting).await.is_err(), "nothing comes");
    stream.write_all(b"wake up").expect("sent");
    assert_eq!(place.receive(&socket).await, Ok(b"wake up".to_vec()));
    let mut waiting = Box::pin(place.network.ready(socket.descriptor(), Interest::Readable));
    let mut looked = 0;
    let counted = std::future::poll_fn(|context| {
        looked += 1;
        waiting.as_mut().poll(context)
    });
    assert!(tokio::time::timeout(Duration::from_millis(50), counted).await.is_err(), "nothing comes");
    assert!(looked < 10, "it looked {looked} times");
}
