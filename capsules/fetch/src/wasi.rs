//! Sockets of WASI preview 2, imported beside preview 1. The interfaces are in `wit/`.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::IpAddr,
};

use wasi::{
    io::streams::{InputStream, OutputStream, StreamError},
    sockets::{
        instance_network::instance_network,
        ip_name_lookup::resolve_addresses,
        network::{ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress},
        tcp::TcpSocket,
        tcp_create_socket::create_tcp_socket,
    },
};

wit_bindgen::generate!({ path: "wit", world: "fetch", generate_all });

/// Fields drop in order: the streams must be gone before the socket they belong to.
pub struct Connection {
    input: InputStream,
    output: OutputStream,
    _socket: TcpSocket,
}

impl Connection {
    /// Tries the addresses of the host in order; the failure is that of the last.
    pub fn open(host: &str, port: u16) -> io::Result<Self> {
        let mut failure = io::Error::new(ErrorKind::NotFound, "the host has no address");
        for address in resolve(host)? {
            match connect(address, port) {
                Ok(connection) => return Ok(connection),
                Err(code) => failure = error(code),
            }
        }
        Err(failure)
    }
}

impl Read for Connection {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self.input.blocking_read(bytes.len() as u64) {
            Ok(read) => {
                bytes[..read.len()].copy_from_slice(&read);
                Ok(read.len())
            }
            Err(StreamError::Closed) => Ok(0),
            Err(StreamError::LastOperationFailed(_)) => Err(ErrorKind::ConnectionReset.into()),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The most one blocking write takes.
        let piece = &bytes[..bytes.len().min(4096)];
        match self.output.blocking_write_and_flush(piece) {
            Ok(()) => Ok(piece.len()),
            Err(_) => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn resolve(host: &str) -> io::Result<Vec<IpAddress>> {
    if let Ok(literal) = host.parse() {
        return Ok(vec![match literal {
            IpAddr::V4(ip) => IpAddress::Ipv4(ip.octets().into()),
            IpAddr::V6(ip) => IpAddress::Ipv6(ip.segments().into()),
        }]);
    }
    let stream = resolve_addresses(&instance_network(), host).map_err(error)?;
    let ready = stream.subscribe();
    let mut found = Vec::new();
    while let Some(address) = finish(|| {
        ready.block();
        stream.resolve_next_address()
    })
    .map_err(error)?
    {
        found.push(address);
    }
    Ok(found)
}

fn connect(address: IpAddress, port: u16) -> Result<Connection, ErrorCode> {
    let (family, remote) = match address {
        IpAddress::Ipv4(address) => {
            let remote = IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address });
            (IpAddressFamily::Ipv4, remote)
        }
        IpAddress::Ipv6(address) => {
            let remote = Ipv6SocketAddress { port, flow_info: 0, address, scope_id: 0 };
            (IpAddressFamily::Ipv6, IpSocketAddress::Ipv6(remote))
        }
    };
    let socket = create_tcp_socket(family)?;
    socket.start_connect(&instance_network(), remote)?;
    let ready = socket.subscribe();
    let (input, output) = finish(|| {
        ready.block();
        socket.finish_connect()
    })?;
    drop(ready);
    Ok(Connection { input, output, _socket: socket })
}

/// Ends an operation that was started: again and again while it says `would-block`.
fn finish<T>(mut attempt: impl FnMut() -> Result<T, ErrorCode>) -> Result<T, ErrorCode> {
    loop {
        match attempt() {
            Err(ErrorCode::WouldBlock) => {}
            other => return other,
        }
    }
}

fn error(code: ErrorCode) -> io::Error {
    let kind = match code {
        ErrorCode::AccessDenied => ErrorKind::PermissionDenied,
        ErrorCode::ConnectionRefused => ErrorKind::ConnectionRefused,
        ErrorCode::ConnectionReset => ErrorKind::ConnectionReset,
        ErrorCode::RemoteUnreachable => ErrorKind::HostUnreachable,
        ErrorCode::Timeout => ErrorKind::TimedOut,
        ErrorCode::NameUnresolvable => return io::Error::new(ErrorKind::NotFound, "no such host"),
        other => return io::Error::other(other.name()),
    };
    kind.into()
}
