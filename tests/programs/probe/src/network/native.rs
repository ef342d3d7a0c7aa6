//! Sockets of the standard library.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket},
};

use crate::outcome::Failure;

pub struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
}

pub struct Listener(TcpListener);

impl Connection {
    pub fn open(address: SocketAddr) -> Result<Self, Failure> {
        Ok(Self { stream: TcpStream::connect(address)?, peer: address })
    }

    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.stream.write_all(bytes)?)
    }

    pub fn finish(&mut self) -> Result<(), Failure> {
        Ok(self.stream.shutdown(Shutdown::Write)?)
    }

    /// Zero at the end.
    pub fn receive(&mut self, bytes: &mut [u8]) -> Result<usize, Failure> {
        Ok(self.stream.read(bytes)?)
    }
}

impl Listener {
    pub fn open(address: SocketAddr) -> Result<Self, Failure> {
        Ok(Self(TcpListener::bind(address)?))
    }

    pub fn address(&self) -> Result<SocketAddr, Failure> {
        Ok(self.0.local_addr()?)
    }

    pub fn accept(&mut self) -> Result<Connection, Failure> {
        let (stream, peer) = self.0.accept()?;
        Ok(Connection { stream, peer })
    }
}

pub fn resolve(name: &str) -> Result<Vec<IpAddr>, Failure> {
    let mut found: Vec<IpAddr> = (name, 0).to_socket_addrs().map_err(unresolved)?.map(|address| address.ip()).collect();
    found.dedup();
    Ok(found)
}

/// The resolver's own failures carry no error number; the C library's words tell them apart.
fn unresolved(error: io::Error) -> Failure {
    match error.raw_os_error() {
        Some(_) => error.into(),
        None if error.to_string().contains("emporary") => Failure::named("EAI_AGAIN"),
        None => Failure::named("EAI_NONAME"),
    }
}

/// Takes a TCP address without listening on it. The standard library cannot do one without the
/// other, so natively this also listens for a moment.
pub fn bind(address: SocketAddr) -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind(address)?.local_addr()?)
}

pub fn exchange(to: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    socket.send(bytes)?;
    let mut reply = vec![0; 65_536];
    let count = socket.recv(&mut reply)?;
    reply.truncate(count);
    Ok(reply)
}
