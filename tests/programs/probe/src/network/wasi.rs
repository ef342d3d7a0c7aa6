//! Sockets of WASI preview 2, imported beside preview 1. The interfaces are in `wit/`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::outcome::Failure;
use wasi::{
    io::streams::{InputStream, OutputStream, StreamError},
    sockets::{
        instance_network::instance_network,
        ip_name_lookup::resolve_addresses,
        network::{ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress},
        tcp::{ShutdownType, TcpSocket},
        tcp_create_socket::create_tcp_socket,
        udp::OutgoingDatagram,
        udp_create_socket::create_udp_socket,
    },
};

wit_bindgen::generate!({ path: "wit", world: "probe", generate_all });

/// Fields drop in order: the streams must be gone before the socket they belong to.
pub struct Connection {
    input: InputStream,
    output: OutputStream,
    socket: TcpSocket,
    peer: SocketAddr,
}

pub struct Listener(TcpSocket);

impl Connection {
    pub fn open(address: SocketAddr) -> Result<Self, Failure> {
        let socket = create_tcp_socket(family(address))?;
        socket.start_connect(&instance_network(), outbound(address))?;
        let ready = socket.subscribe();
        let (input, output) = finish(|| {
            ready.block();
            socket.finish_connect()
        })?;
        drop(ready);
        Ok(Self { input, output, socket, peer: address })
    }

    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        for piece in bytes.chunks(4096) {
            self.output.blocking_write_and_flush(piece)?;
        }
        Ok(())
    }

    pub fn finish(&mut self) -> Result<(), Failure> {
        Ok(self.socket.shutdown(ShutdownType::Send)?)
    }

    /// Zero at the end.
    pub fn receive(&mut self, bytes: &mut [u8]) -> Result<usize, Failure> {
        match self.input.blocking_read(bytes.len() as u64) {
            Ok(read) => {
                bytes[..read.len()].copy_from_slice(&read);
                Ok(read.len())
            }
            Err(StreamError::Closed) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

impl Listener {
    pub fn open(address: SocketAddr) -> Result<Self, Failure> {
        let socket = bound(address)?;
        socket.start_listen()?;
        let ready = socket.subscribe();
        finish(|| {
            ready.block();
            socket.finish_listen()
        })?;
        drop(ready);
        Ok(Self(socket))
    }

    pub fn address(&self) -> Result<SocketAddr, Failure> {
        Ok(inbound(self.0.local_address()?))
    }

    pub fn accept(&mut self) -> Result<Connection, Failure> {
        let ready = self.0.subscribe();
        let (socket, input, output) = finish(|| {
            ready.block();
            self.0.accept()
        })?;
        let peer = inbound(socket.remote_address()?);
        Ok(Connection { input, output, socket, peer })
    }
}

pub fn resolve(name: &str) -> Result<Vec<IpAddr>, Failure> {
    let stream = resolve_addresses(&instance_network(), name)?;
    let ready = stream.subscribe();
    let mut found = Vec::new();
    while let Some(address) = finish(|| {
        ready.block();
        stream.resolve_next_address()
    })? {
        found.push(match address {
            IpAddress::Ipv4((a, b, c, d)) => Ipv4Addr::new(a, b, c, d).into(),
            IpAddress::Ipv6(parts) => ipv6(parts).into(),
        });
    }
    Ok(found)
}

pub fn bind(address: SocketAddr) -> Result<SocketAddr, Failure> {
    Ok(inbound(bound(address)?.local_address()?))
}

fn bound(address: SocketAddr) -> Result<TcpSocket, Failure> {
    let socket = create_tcp_socket(family(address))?;
    socket.start_bind(&instance_network(), outbound(address))?;
    let ready = socket.subscribe();
    finish(|| {
        ready.block();
        socket.finish_bind()
    })?;
    drop(ready);
    Ok(socket)
}

pub fn exchange(to: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = create_udp_socket(family(to))?;
    socket.start_bind(&instance_network(), outbound(SocketAddr::new(any, 0)))?;
    let ready = socket.subscribe();
    finish(|| {
        ready.block();
        socket.finish_bind()
    })?;
    let (incoming, outgoing) = socket.stream(Some(outbound(to)))?;
    let room = outgoing.subscribe();
    while outgoing.check_send()? == 0 {
        room.block();
    }
    outgoing.send(&[OutgoingDatagram { data: bytes.to_vec(), remote_address: None }])?;
    let arrived = incoming.subscribe();
    loop {
        arrived.block();
        if let Some(datagram) = incoming.receive(1)?.pop() {
            return Ok(datagram.data);
        }
    }
}

/// Ends an operation that was started: again and again while it says `would-block`.
fn finish<T>(mut attempt: impl FnMut() -> Result<T, ErrorCode>) -> Result<T, Failure> {
    loop {
        match attempt() {
            Err(ErrorCode::WouldBlock) => {}
            other => return Ok(other?),
        }
    }
}

fn family(address: SocketAddr) -> IpAddressFamily {
    if address.is_ipv4() { IpAddressFamily::Ipv4 } else { IpAddressFamily::Ipv6 }
}

fn outbound(address: SocketAddr) -> IpSocketAddress {
    match address {
        SocketAddr::V4(address) => {
            let [a, b, c, d] = address.ip().octets();
            IpSocketAddress::Ipv4(Ipv4SocketAddress { port: address.port(), address: (a, b, c, d) })
        }
        SocketAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h] = address.ip().segments();
            IpSocketAddress::Ipv6(Ipv6SocketAddress {
                port: address.port(),
                flow_info: address.flowinfo(),
                address: (a, b, c, d, e, f, g, h),
                scope_id: address.scope_id(),
            })
        }
    }
}

fn inbound(address: IpSocketAddress) -> SocketAddr {
    match address {
        IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (a, b, c, d) }) => {
            (Ipv4Addr::new(a, b, c, d), port).into()
        }
        IpSocketAddress::Ipv6(found) => {
            SocketAddrV6::new(ipv6(found.address), found.port, found.flow_info, found.scope_id).into()
        }
    }
}

fn ipv6((a, b, c, d, e, f, g, h): (u16, u16, u16, u16, u16, u16, u16, u16)) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, d, e, f, g, h)
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Self::named(match code {
            ErrorCode::Unknown => "EUNKNOWN",
            ErrorCode::AccessDenied => "EACCES",
            ErrorCode::NotSupported => "ENOTSUP",
            ErrorCode::InvalidArgument | ErrorCode::InvalidState => "EINVAL",
            ErrorCode::OutOfMemory => "ENOMEM",
            ErrorCode::Timeout => "ETIMEDOUT",
            ErrorCode::ConcurrencyConflict => "EALREADY",
            ErrorCode::NotInProgress => "EINVAL",
            ErrorCode::WouldBlock => "EAGAIN",
            ErrorCode::NewSocketLimit => "EMFILE",
            ErrorCode::AddressNotBindable => "EADDRNOTAVAIL",
            ErrorCode::AddressInUse => "EADDRINUSE",
            ErrorCode::RemoteUnreachable => "EHOSTUNREACH",
            ErrorCode::ConnectionRefused => "ECONNREFUSED",
            ErrorCode::ConnectionReset => "ECONNRESET",
            ErrorCode::ConnectionAborted => "ECONNABORTED",
            ErrorCode::DatagramTooLarge => "EMSGSIZE",
            ErrorCode::NameUnresolvable => "EAI_NONAME",
            ErrorCode::TemporaryResolverFailure => "EAI_AGAIN",
            ErrorCode::PermanentResolverFailure => "EAI_FAIL",
        })
    }
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Closed => Self::named("EPIPE"),
            StreamError::LastOperationFailed(_) => Self::named("ECONNRESET"),
        }
    }
}
