use std::time::Instant;

use super::*;

#[tokio::test]
async fn each_operation_and_each_byte_is_charged() {
    let (listener, there) = host("127.0.0.1");
    let place = Place::connecting(&["127.0.0.1:*"]);
    let socket = place.connected(there).await;
    let stream = take(&listener);
    place.network.send(&socket, b"it is me").expect("sent");
    let before = place.meter.operations.load(Ordering::Relaxed);
    assert_eq!(place.meter.bytes.load(Ordering::Relaxed), 8);
    greet(&stream);
    assert_eq!(place.network.send(&socket, &[]), Ok(Reply::Count(0)));
    assert_eq!(place.meter.operations.load(Ordering::Relaxed), before + 1);
    place.receive(&socket).await.expect("an answer");
    assert_eq!(place.meter.bytes.load(Ordering::Relaxed), 8 + 13);
    let nothing = place.network.receive(&socket, &mut [0; 1000]);
    assert_eq!(nothing, Err(ErrorCode::WouldBlock));
    assert_eq!(place.meter.bytes.load(Ordering::Relaxed), 8 + 13);
}

#[tokio::test]
async fn bytes_that_do_not_fit_are_given_back() {
    let (listener, there) = host("127.0.0.1");
    let place = Place::connecting(&["127.0.0.1:*"]);
    let socket = place.connected(there).await;
    let _stream = take(&listener);
    let mut sent = 0;
    while let Ok(Reply::Count(count)) = place.network.send(&socket, &vec![0; 1 << 22]) {
        sent += count as u64;
    }
    assert_eq!(place.meter.bytes.load(Ordering::Relaxed), sent);
}

#[tokio::test]
async fn nothing_is_done_that_the_limits_do_not_allow() {
    let (listener, there) = host("127.0.0.1");
    let place = Place::connecting(&["127.0.0.1:*"]);
    let socket = place.connected(there).await;
    let mut stream = take(&listener);
    place.meter.most_bytes.store(4, Ordering::Relaxed);
    assert_eq!(place.network.send(&socket, b"too much"), Err(ErrorCode::Stopping));
    place.meter.most_operations.store(0, Ordering::Relaxed);
    assert_eq!(place.network.send(&socket, b"x"), Err(ErrorCode::Stopping));
    assert_eq!(place.network.tcp_socket(false).map(|_| ()), Err(ErrorCode::Stopping));
    assert_eq!(place.network.resolve("127.0.0.1").await, Err(ErrorCode::Stopping));
    drop(socket);
    assert_eq!(stream.read(&mut [0; 8]).expect("the end"), 0, "not a byte was sent");
}

#[tokio::test]
async fn a_refused_operation_is_charged_too() {
    let place = Place::connecting(&[]);
    let socket = place.network.tcp_socket(false).expect("a socket");
    for _ in 0..3 {
        assert_eq!(place.network.connect_tcp(&socket, address("192.0.2.1:80")), Err(ErrorCode::Denied));
    }
    assert_eq!(place.meter.operations.load(Ordering::Relaxed), 4);
}

/// Eight Mbit/s: a million bytes a second, of which 100,000 may pass at once.
const RATE: BitRate = BitRate(8_000_000);
const BURST: usize = 100_000;

#[tokio::test]
async fn sending_and_receiving_together_keep_to_the_bandwidth() {
    let (listener, there) = host("127.0.0.1");
    let place = Place::new(permissions(&["127.0.0.1:*"], &[], &[]), Some(RATE));
    let begun = Instant::now();
    let socket = place.connected(there).await;
    let stream = take(&listener);
    let total = 300_000;
    let echo = std::thread::spawn(move || {
        let (mut from, mut to) = (&stream, &stream);
        io::copy(&mut (&mut from).take(total / 2), &mut to).expect("echoed")
    });
    let (mut sent, mut received) = (0, 0);
    let chunk = vec![1; 50_000];
    let mut into = vec![0; 50_000];
    let mut blocked = 0;
    while received < total / 2 {
        let interest = if sent < total / 2 { Interest::Writable } else { Interest::Readable };
        let done = match interest {
            Interest::Writable => place.network.send(&socket, &chunk[..chunk.len().min((total / 2 - sent) as usize)]),
            Interest::Readable => place.network.receive(&socket, &mut into),
        };
        match (done, interest) {
            (Ok(Reply::Count(count)), Interest::Writable) => sent += count as u64,
            (Ok(Reply::Count(count)), Interest::Readable) => received += count as u64,
            (Err(ErrorCode::WouldBlock), _) => {
                blocked += 1;
                soon(place.network.ready(socket.descriptor(), interest)).await.expect("ready");
            }
            (other, _) => panic!("{other:?}"),
        }
        let allowed = begun.elapsed().as_micros() as u64 + BURST as u64 + 1;
        assert!(sent + received <= allowed, "{sent} sent and {received} received, {allowed} allowed");
    }
    assert_eq!(echo.join().expect("echoed"), total / 2);
    assert!(blocked > 0 && begun.elapsed() >= Duration::from_millis(190), "{:?}", begun.elapsed());
    assert!(blocked < 2_000, "it waited {blocked} times: it did not wait for enough");
}

#[tokio::test]
async fn a_datagram_waits_for_bandwidth_as_a_whole() {
    let there = std::net::UdpSocket::bind("127.0.0.1:0").expect("the loopback interface");
    let to = there.local_addr().expect("an address");
    let place = Place::new(permissions(&["127.0.0.1:*"], &[], &[]), Some(RATE));
    let socket = place.network.udp_socket(false).expect("a socket");
    let datagram = vec![0; 30_000];
    let begun = Instant::now();
    for _ in 0..3 {
        assert_eq!(place.network.send_to(&socket, Some(to), &datagram), Ok(Reply::Count(30_000)));
    }
    let short = begun.elapsed() < Duration::from_millis(15);
    let fourth = place.network.send_to(&socket, Some(to), &datagram);
    if short {
        assert_eq!(fourth, Err(ErrorCode::WouldBlock));
        soon(place.network.ready(socket.descriptor(), Interest::Writable)).await.expect("ready");
        assert_eq!(place.network.send_to(&socket, Some(to), &datagram), Ok(Reply::Count(30_000)));
        assert!(begun.elapsed() >= Duration::from_millis(20), "{:?}", begun.elapsed());
    }
    assert_eq!(place.network.send_to(&socket, Some(to), &vec![0; BURST + 1]), Err(ErrorCode::MessageTooLong));
}

#[tokio::test]
async fn a_wait_for_bandwidth_can_be_given_up() {
    let (listener, there) = host("127.0.0.1");
    let place = Place::new(permissions(&["127.0.0.1:*"], &[], &[]), Some(BitRate(0)));
    let socket = place.connected(there).await;
    let _stream = take(&listener);
    assert_eq!(place.network.send(&socket, &[0; 65536]), Ok(Reply::Count(16 * 1024)));
    assert_eq!(place.network.send(&socket, &[0; 1]), Err(ErrorCode::WouldBlock));
    let waiting = place.network.ready(socket.descriptor(), Interest::Writable);
    assert!(tokio::time::timeout(Duration::from_millis(5), waiting).await.is_err(), "never");
}

#[tokio::test]
async fn bytes_that_did_not_pass_cost_no_bandwidth() {
    let (listener, there) = host("127.0.0.1");
    let place = Place::new(permissions(&["127.0.0.1:*"], &[], &[]), Some(BitRate(0)));
    let socket = place.connected(there).await;
    let mut stream = take(&listener);
    let mut into = vec![0; 65536];
    for _ in 0..3 {
        assert_eq!(place.network.receive(&socket, &mut into), Err(ErrorCode::WouldBlock), "nothing is there");
    }
    stream.write_all(&[0; 1000]).expect("sent");
    soon(place.network.ready(socket.descriptor(), Interest::Readable)).await.expect("ready");
    assert_eq!(place.network.receive(&socket, &mut into), Ok(Reply::Count(1000)));
    assert_eq!(place.network.send(&socket, &into), Ok(Reply::Count(16 * 1024 - 1000)));
}
