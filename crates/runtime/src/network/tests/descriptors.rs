use std::os::fd::AsFd;

use super::*;

/// Which socket of the kernel a descriptor stands for.
fn identity(fd: impl AsFd) -> String {
    format!("socket:[{}]", rustix::fs::fstat(fd).expect("a socket").st_ino)
}

/// Whether any descriptor of this process stands for that socket.
fn is_open(identity: &str) -> bool {
    std::fs::read_dir("/proc/self/fd")
        .expect("procfs")
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .any(|target| target.as_os_str() == identity)
}

#[tokio::test]
async fn a_dropped_socket_is_closed() {
    let place = Place::connecting(&[]);
    let tcp = place.network.tcp_socket(false).expect("a socket");
    let udp = place.network.udp_socket(true).expect("a socket");
    let identities = [identity(tcp.descriptor()), identity(udp.descriptor())];
    assert!(identities.iter().all(|identity| is_open(identity)));
    drop((tcp, udp));
    assert!(!identities.iter().any(|identity| is_open(identity)));
}

#[tokio::test]
async fn a_wait_that_is_given_up_leaves_nothing_open() {
    let (_listener, there) = host("127.0.0.1");
    let place = Place::connecting(&["127.0.0.1:*"]);
    let socket = Arc::new(place.connected(there).await);
    let identity = identity(socket.descriptor());
    let network = &place.network;
    let waiting = {
        let socket = Arc::clone(&socket);
        async move { network.ready(socket.descriptor(), Interest::Readable).await }
    };
    drop(socket);
    let waiting = tokio::time::timeout(Duration::from_millis(5), waiting);
    let mut waiting = Box::pin(waiting);
    assert!(waiting.as_mut().await.is_err(), "nothing comes");
    assert!(is_open(&identity), "who waits holds it");
    drop(waiting);
    assert!(!is_open(&identity));
}

#[tokio::test]
async fn an_accepted_connection_and_its_listener_are_closed() {
    let place = Place::listening(&["127.0.0.1:0"]);
    let socket = place.network.tcp_socket(false).expect("a socket");
    place.network.bind_tcp(&socket, address("127.0.0.1:0")).expect("bound");
    place.network.listen(&socket).expect("listening");
    let Ok(Reply::Address(there)) = socket.local_address() else { panic!("no address") };
    let mut stream = TcpStream::connect(there).expect("a connection");
    soon(place.network.ready(socket.descriptor(), Interest::Readable)).await.expect("ready");
    let (accepted, _) = place.network.accept(&socket).expect("a connection");
    let identities = [identity(socket.descriptor()), identity(accepted.descriptor())];
    drop((socket, accepted));
    assert!(!identities.iter().any(|identity| is_open(identity)));
    assert_eq!(stream.read(&mut [0; 8]).expect("the end"), 0);
    assert!(TcpStream::connect(there).is_err(), "nobody listens");
}

#[tokio::test]
async fn a_socket_is_not_inherited_and_never_waits() {
    let place = Place::connecting(&[]);
    let socket = place.network.tcp_socket(true).expect("a socket");
    let flags = rustix::io::fcntl_getfd(socket.descriptor()).expect("flags");
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    let flags = rustix::fs::fcntl_getfl(socket.descriptor()).expect("flags");
    assert!(flags.contains(rustix::fs::OFlags::NONBLOCK));
}

#[tokio::test]
async fn what_waits_can_move_between_threads() {
    fn movable(_: &(impl Send + ?Sized)) {}
    fn shared(_: &(impl Send + Sync + ?Sized)) {}
    let place = Place::connecting(&[]);
    let socket = place.network.tcp_socket(false).expect("a socket");
    shared(&place.network);
    shared(&socket);
    movable(&place.network.ready(socket.descriptor(), Interest::Readable));
    movable(&place.network.resolve("example.com"));
}
