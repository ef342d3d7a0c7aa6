use ringfence_abi::SocketOption as Setting;

use super::*;

const SECOND: u64 = 1_000_000_000;

#[tokio::test]
async fn zero_makes_no_sense() {
    let place = Place::connecting(&[]);
    let tcp = place.network.tcp_socket(false).expect("a socket");
    let udp = place.network.udp_socket(true).expect("a socket");
    for zero in [Setting::HopLimit(0), Setting::ReceiveBuffer(0), Setting::SendBuffer(0)] {
        assert_eq!(tcp.set_option(zero), Err(ErrorCode::Invalid));
        assert_eq!(udp.set_option(zero), Err(ErrorCode::Invalid));
    }
    for zero in
        [Setting::KeepAliveIdle(0), Setting::KeepAliveInterval(0), Setting::KeepAliveCount(0), Setting::Backlog(0)]
    {
        assert_eq!(tcp.set_option(zero), Err(ErrorCode::Invalid));
    }
}

#[tokio::test]
async fn what_is_out_of_range_becomes_the_nearest_that_is_in_it() {
    let place = Place::connecting(&[]);
    for ipv6 in [false, true] {
        let socket = place.network.tcp_socket(ipv6).expect("a socket");
        for (set, got) in [
            (Setting::KeepAlive(true), Setting::KeepAlive(true)),
            (Setting::KeepAliveIdle(1), Setting::KeepAliveIdle(SECOND)),
            (Setting::KeepAliveIdle(SECOND + 1), Setting::KeepAliveIdle(2 * SECOND)),
            (Setting::KeepAliveIdle(u64::MAX), Setting::KeepAliveIdle(32767 * SECOND)),
            (Setting::KeepAliveInterval(1), Setting::KeepAliveInterval(SECOND)),
            (Setting::KeepAliveInterval(u64::MAX), Setting::KeepAliveInterval(32767 * SECOND)),
            (Setting::KeepAliveCount(u32::MAX), Setting::KeepAliveCount(127)),
            (Setting::HopLimit(1), Setting::HopLimit(1)),
            (Setting::HopLimit(255), Setting::HopLimit(255)),
            (Setting::ReceiveBuffer(8192), Setting::ReceiveBuffer(8192)),
            (Setting::SendBuffer(8192), Setting::SendBuffer(8192)),
            (Setting::Backlog(7), Setting::Backlog(7)),
            (Setting::Backlog(u64::MAX), Setting::Backlog(i32::MAX as u64)),
        ] {
            assert_eq!(socket.set_option(set), Ok(Reply::Done), "{set:?}");
            assert_eq!(socket.option(set), Ok(Reply::Option(got)), "{set:?}");
        }
        for set in [Setting::ReceiveBuffer(u64::MAX), Setting::SendBuffer(u64::MAX)] {
            assert_eq!(socket.set_option(set), Ok(Reply::Done), "{set:?}");
            assert_ne!(socket.option(set), Ok(Reply::Option(set)));
        }
    }
}

#[tokio::test]
async fn a_udp_socket_has_no_connection_to_keep_alive() {
    let place = Place::connecting(&[]);
    let socket = place.network.udp_socket(false).expect("a socket");
    for setting in [
        Setting::KeepAlive(true),
        Setting::KeepAliveIdle(SECOND),
        Setting::KeepAliveInterval(SECOND),
        Setting::KeepAliveCount(1),
        Setting::Backlog(1),
    ] {
        assert_eq!(socket.set_option(setting), Err(ErrorCode::NoProtocolOption));
        assert_eq!(socket.option(setting), Err(ErrorCode::NoProtocolOption));
    }
    assert_eq!(socket.set_option(Setting::HopLimit(9)), Ok(Reply::Done));
    assert_eq!(socket.option(Setting::HopLimit(1)), Ok(Reply::Option(Setting::HopLimit(9))));
}

#[tokio::test]
async fn the_backlog_can_change_while_listening_but_not_in_a_connection() {
    let (_listener, there) = host("127.0.0.1");
    let place = Place::new(permissions(&["127.0.0.1:*"], &["127.0.0.1:0"], &[]), None);
    let server = place.network.tcp_socket(false).expect("a socket");
    place.network.bind_tcp(&server, address("127.0.0.1:0")).expect("bound");
    place.network.listen(&server).expect("listening");
    assert_eq!(server.set_option(Setting::Backlog(5)), Ok(Reply::Done));
    let client = place.connected(there).await;
    assert_eq!(client.set_option(Setting::Backlog(5)), Err(ErrorCode::Invalid));
}
