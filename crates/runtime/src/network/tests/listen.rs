use super::*;

fn bound_address(socket: &TcpSocket) -> SocketAddr {
    match socket.local_address() {
        Ok(Reply::Address(address)) => address,
        other => panic!("no address: {other:?}"),
    }
}

#[tokio::test]
async fn who_may_listen_may_be_called_by_anyone() {
    for (rule, here) in [("127.0.0.1:0", "127.0.0.1:0"), ("[::1]:*", "[::1]:0")] {
        let place = Place::listening(&[rule]);
        let socket = place.network.tcp_socket(address(here).is_ipv6()).expect("a socket");
        assert_eq!(place.network.bind_tcp(&socket, address(here)), Ok(Reply::Done));
        assert_eq!(place.network.listen(&socket), Ok(Reply::Done));
        assert_eq!(place.network.accept(&socket).map(|_| ()), Err(ErrorCode::WouldBlock));

        let there = bound_address(&socket);
        let stream = TcpStream::connect(there).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        soon(place.network.ready(socket.descriptor(), Interest::Readable)).await.expect("ready");
        let (accepted, peer) = place.network.accept(&socket).expect("a connection");
        assert_eq!(Ok(peer), stream.local_addr().map_err(|error| error.kind()));
        assert_eq!(accepted.peer_address(), Ok(Reply::Address(peer)));
        assert_eq!(place.network.send(&accepted, b"come in"), Ok(Reply::Count(7)));
        assert_eq!(greet(&stream), b"come in");
        assert_eq!(place.receive(&accepted).await, Ok(b"who is there?".to_vec()));
        assert_eq!(place.denied(), []);
    }
}

#[tokio::test]
async fn listening_where_no_rule_says_so_is_denied() {
    let place = Place::listening(&["127.0.0.1:8080"]);
    let socket = place.network.tcp_socket(false).expect("a socket");
    for text in ["127.0.0.1:8081", "0.0.0.0:8080", "127.0.0.1:0", "0.0.0.0:0", "192.0.2.1:8080"] {
        assert_eq!(place.network.bind_tcp(&socket, address(text)), Err(ErrorCode::Denied), "{text}");
    }
    let first = place.denied().swap_remove(0);
    assert_eq!(
        first.to_string(),
        "denied 127.0.0.1:8081: not in net.listen; \
         to grant it: net.listen = [\"127.0.0.1:8080\", \"127.0.0.1:8081\"]"
    );
}

#[tokio::test]
async fn who_may_connect_may_take_what_the_system_would_choose_but_not_listen() {
    let (listener, there) = host("127.0.0.1");
    let place = Place::connecting(&[&there.to_string()]);
    let socket = place.network.tcp_socket(false).expect("a socket");
    assert_eq!(place.network.bind_tcp(&socket, address("127.0.0.1:0")), Err(ErrorCode::Denied));
    assert_eq!(place.network.bind_tcp(&socket, address("0.0.0.0:0")), Ok(Reply::Done));
    assert_ne!(bound_address(&socket).port(), 0);
    assert_eq!(place.network.listen(&socket), Err(ErrorCode::Denied));
    assert_eq!(place.denied().pop().expect("a denial").resource, "0.0.0.0:0");
    place.connect(&socket, there).await.expect("a connection");
    take(&listener);
}

#[tokio::test]
async fn a_rule_for_ports_is_not_one_for_the_port_the_system_chooses() {
    let place = Place::listening(&["127.0.0.1:1024-65535"]);
    let socket = place.network.tcp_socket(false).expect("a socket");
    assert_eq!(place.network.bind_tcp(&socket, address("127.0.0.1:0")), Err(ErrorCode::Denied));
}

#[tokio::test]
async fn steps_out_of_order_have_their_errors() {
    let (listener, taken) = host("127.0.0.1");
    let place = Place::listening(&["127.0.0.1:*"]);
    let socket = place.network.tcp_socket(false).expect("a socket");
    assert_eq!(place.network.listen(&socket), Err(ErrorCode::Invalid));
    assert_eq!(place.network.accept(&socket).map(|_| ()), Err(ErrorCode::Invalid));
    assert_eq!(place.network.bind_tcp(&socket, taken), Err(ErrorCode::AddressInUse));
    drop(listener);
    assert_eq!(place.network.bind_tcp(&socket, taken), Ok(Reply::Done));
    assert_eq!(place.network.bind_tcp(&socket, taken), Err(ErrorCode::Invalid));
    assert_eq!(place.network.listen(&socket), Ok(Reply::Done));
    assert_eq!(place.network.listen(&socket), Err(ErrorCode::Invalid));
    assert_eq!(place.network.connect_tcp(&socket, taken), Err(ErrorCode::Invalid));
    assert_eq!(place.network.send(&socket, b"x"), Err(ErrorCode::NotConnected));
    assert_eq!(socket.peer_address(), Err(ErrorCode::NotConnected));
}

#[tokio::test]
async fn an_address_of_another_machine_cannot_be_had() {
    let place = Place::listening(&["*:*"]);
    let socket = place.network.tcp_socket(false).expect("a socket");
    assert_eq!(place.network.bind_tcp(&socket, address("192.0.2.1:0")), Err(ErrorCode::AddressNotAvailable));
}
