//! Calls on sockets.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use ringfence_abi::{Call, ErrorCode, Handle, Reply, Rights};

use super::ScopedHal;
use crate::handles::Resource;
use crate::meter::Meter;
use crate::network::{Charge, TcpSocket, UdpSocket};

/// The rights of a new socket, the whole network being behind `net.*`.
const OF_SOCKET: Rights = Rights::READ
    .union(Rights::WRITE)
    .union(Rights::STAT)
    .union(Rights::CONNECT)
    .union(Rights::LISTEN)
    .union(Rights::DUPLICATE)
    .union(Rights::TRANSFER);

/// A socket of either kind.
enum Socket {
    Tcp(Arc<TcpSocket>),
    Udp(Arc<UdpSocket>),
}

impl ScopedHal {
    /// A call on a socket; `NotImplemented` for any other.
    pub(super) fn serve_network(&self, call: Call<'_>) -> Result<Reply, ErrorCode> {
        let network = &self.network;
        match call {
            Call::TcpSocket { ipv6 } => {
                self.handles.insert(Arc::new(network.tcp_socket(ipv6)?), OF_SOCKET).map(Reply::Handle)
            }
            Call::UdpSocket { ipv6 } => {
                self.handles.insert(Arc::new(network.udp_socket(ipv6)?), OF_SOCKET).map(Reply::Handle)
            }
            // A socket is bound to listen and to connect; what it is bound to is judged by `net.*`.
            Call::Bind { socket, address } => match self.socket(socket, Rights::empty())? {
                Socket::Tcp(socket) => network.bind_tcp(&socket, address),
                Socket::Udp(socket) => network.bind_udp(&socket, address),
            },
            Call::Connect { socket, address } => match self.socket(socket, Rights::CONNECT)? {
                Socket::Tcp(socket) => network.connect_tcp(&socket, address),
                Socket::Udp(socket) => network.connect_udp(&socket, address),
            },
            Call::ConnectResult { socket } => network.connect_result(&*self.tcp(socket, Rights::CONNECT)?),
            Call::Disconnect { socket } => network.disconnect(&*self.udp(socket, Rights::CONNECT)?),
            Call::Listen { socket } => network.listen(&*self.tcp(socket, Rights::LISTEN)?),
            Call::Accept { socket } => {
                let (connection, peer) = network.accept(&*self.tcp(socket, Rights::LISTEN)?)?;
                let handle = self.handles.insert(Arc::new(connection), OF_SOCKET)?;
                Ok(Reply::Accepted(handle, peer))
            }
            Call::ShutdownSocket { socket, how } => self.tcp(socket, Rights::empty())?.shutdown(how),
            Call::LocalAddress { socket } => match self.socket(socket, Rights::STAT)? {
                Socket::Tcp(socket) => socket.local_address(),
                Socket::Udp(socket) => socket.local_address(),
            },
            Call::PeerAddress { socket } => match self.socket(socket, Rights::STAT)? {
                Socket::Tcp(socket) => socket.peer_address(),
                Socket::Udp(socket) => socket.peer_address(),
            },
            Call::SetOption { socket, option } => match self.socket(socket, Rights::WRITE)? {
                Socket::Tcp(socket) => socket.set_option(option),
                Socket::Udp(socket) => socket.set_option(option),
            },
            Call::GetOption { socket, option } => match self.socket(socket, Rights::STAT)? {
                Socket::Tcp(socket) => socket.option(option),
                Socket::Udp(socket) => socket.option(option),
            },
            Call::SendTo { socket, address, from } => {
                network.send_to(&*self.udp(socket, Rights::WRITE)?, address, from)
            }
            Call::ReceiveFrom { socket, into } => network.receive_from(&*self.udp(socket, Rights::READ)?, into),
            _ => Err(ErrorCode::NotImplemented),
        }
    }

    /// Answers `Host::descriptor`.
    pub(super) fn export(&self, handle: Handle) -> Result<OwnedFd, ErrorCode> {
        let socket = self.socket(handle, Rights::TRANSFER)?;
        match socket {
            Socket::Tcp(socket) => socket.descriptor().share(),
            Socket::Udp(socket) => socket.descriptor().share(),
        }
    }

    fn socket(&self, handle: Handle, rights: Rights) -> Result<Socket, ErrorCode> {
        let resource: Resource = self.handles.get_any(handle, rights)?;
        match resource.downcast::<TcpSocket>() {
            Ok(socket) => Ok(Socket::Tcp(socket)),
            Err(resource) => resource.downcast().map(Socket::Udp).map_err(|_| ErrorCode::BadHandle),
        }
    }

    fn tcp(&self, handle: Handle, rights: Rights) -> Result<Arc<TcpSocket>, ErrorCode> {
        match self.socket(handle, rights)? {
            Socket::Tcp(socket) => Ok(socket),
            Socket::Udp(_) => Err(ErrorCode::NotSupported),
        }
    }

    fn udp(&self, handle: Handle, rights: Rights) -> Result<Arc<UdpSocket>, ErrorCode> {
        match self.socket(handle, rights)? {
            Socket::Udp(socket) => Ok(socket),
            Socket::Tcp(_) => Err(ErrorCode::NotSupported),
        }
    }
}

impl Charge for Meter {
    fn operation(&self) -> Result<(), ErrorCode> {
        Meter::operation(self)
    }

    fn bytes(&self, count: u64) -> Result<(), ErrorCode> {
        self.network(count)
    }

    fn give_back(&self, count: u64) {
        self.not_sent(count);
    }
}
