//! `wasi:sockets/tcp` and `tcp-create-socket`.
//!
//! ```text
//!         start-bind   finish-bind          start-listen  finish-listen
//! Idle ──▶ Binding ──▶ Idle (bound) ──────▶ Listening… ──▶ Listening ──accept──▶ another socket
//!   └─start-connect─▶ Connecting ──finish-connect──▶ Connected
//! ```
//! The hal keeps the socket's own state and refuses what does not fit; what is kept here is which
//! `start` still waits for its `finish`.

use std::sync::Arc;

use ringfence_abi::{Call, ErrorCode, Interest, Reply, Shutdown, SocketOption};
use wasmtime::component::{ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType};
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::poll::{DynPollable, Pollable};
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream};

use super::address::{Family, SocketAddress};
use super::{Answer, NetError, Network, answer, done, get, name, option, set};
use crate::state::{Context, Owned, State, sift};
use crate::wasi::streams::{StreamReader, StreamWriter};

/// `tcp-socket`.
struct TcpSocket {
    handle: Arc<Owned>,
    family: Family,
    step: Step,
    backlog: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Idle,
    Binding,
    Connecting,
    StartedListening,
    Listening,
    Connected,
}

/// Ready when the next step can be taken. A program may ask once and use the answer through all steps.
#[async_trait]
impl Pollable for TcpSocket {
    async fn ready(&mut self) {
        let interest = match self.step {
            Step::Connecting => Interest::Writable,
            Step::Listening => Interest::Readable,
            // Those are over as soon as they have begun.
            Step::Idle | Step::Binding | Step::StartedListening | Step::Connected => return,
        };
        let _ = self.handle.host.call(Call::Ready { handle: self.handle.handle, interest }).wait().await;
    }
}

type Socket = Resource<TcpSocket>;
type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);

#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "the component sends every case")]
enum ShutdownType {
    #[component(name = "receive")]
    Receive,
    #[component(name = "send")]
    Send,
    #[component(name = "both")]
    Both,
}

pub(super) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut tcp = linker.instance(&name("sockets/tcp"))?;
    tcp.resource("tcp-socket", ResourceType::host::<TcpSocket>(), |mut context, rep| {
        context.data_mut().table.delete(Socket::new_own(rep))?;
        Ok(())
    })?;
    bind_and_connect(&mut tcp)?;
    listen(&mut tcp)?;
    questions(&mut tcp)?;
    options(&mut tcp)?;
    linker.instance(&name("sockets/tcp-create-socket"))?.func_wrap(
        "create-tcp-socket",
        |mut context: Context, (family,): (Family,)| -> Answer<Socket> {
            let (handle,) =
                answer(context.data().host.call(Call::TcpSocket { ipv6: family == Family::V6 }).now(), |reply| {
                    match reply {
                        Reply::Handle(handle) => Some(handle),
                        _ => None,
                    }
                })?;
            Ok((match handle {
                Ok(handle) => {
                    let handle = Owned::new(&context.data().host, handle);
                    let socket = TcpSocket { handle, family, step: Step::Idle, backlog: None };
                    Ok(context.data_mut().table.push(socket)?)
                }
                Err(error) => Err(error),
            },))
        },
    )
}

/// The socket, if the step it is in is `wanted`; otherwise the error WASI has for that.
fn at<'a>(
    context: &'a mut Context<'_>,
    socket: &Socket,
    wanted: Step,
    otherwise: NetError,
) -> wasmtime::Result<Result<&'a mut TcpSocket, NetError>> {
    let socket = context.data_mut().table.get_mut(socket)?;
    Ok(if socket.step == wanted {
        Ok(socket)
    } else if matches!(socket.step, Step::Binding | Step::Connecting | Step::StartedListening)
        && otherwise == NetError::InvalidState
    {
        Err(NetError::ConcurrencyConflict)
    } else {
        Err(otherwise)
    })
}

/// Goes from one step to another if `work` succeeds.
fn step(
    context: &mut Context<'_>,
    socket: &Socket,
    (from, to): (Step, Step),
    otherwise: NetError,
    work: impl FnOnce(&TcpSocket) -> Result<Reply, ErrorCode>,
) -> Answer<()> {
    let socket = match at(context, socket, from, otherwise)? {
        Ok(socket) => socket,
        Err(error) => return Ok((Err(error),)),
    };
    let result = sift(work(socket))?;
    if result.is_ok() {
        socket.step = to;
    }
    Ok((result.map(|_| ()).map_err(NetError::from),))
}

fn bind_and_connect(tcp: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    tcp.func_wrap(
        "[method]tcp-socket.start-bind",
        |mut context: Context, (socket, _, address): (Socket, Resource<Network>, SocketAddress)| {
            step(&mut context, &socket, (Step::Idle, Step::Binding), NetError::InvalidState, |socket| {
                socket.handle.call(Call::Bind { socket: socket.handle.handle, address: address.into() })
            })
        },
    )?;
    tcp.func_wrap("[method]tcp-socket.finish-bind", |mut context: Context, (socket,): (Socket,)| {
        step(&mut context, &socket, (Step::Binding, Step::Idle), NetError::NotInProgress, |_| Ok(Reply::Done))
    })?;
    tcp.func_wrap(
        "[method]tcp-socket.start-connect",
        |mut context: Context, (socket, _, address): (Socket, Resource<Network>, SocketAddress)| {
            step(&mut context, &socket, (Step::Idle, Step::Connecting), NetError::InvalidState, |socket| {
                match socket.handle.call(Call::Connect { socket: socket.handle.handle, address: address.into() }) {
                    Err(ErrorCode::InProgress) => Ok(Reply::Done),
                    other => other,
                }
            })
        },
    )?;
    tcp.func_wrap(
        "[method]tcp-socket.finish-connect",
        |mut context: Context, (socket,): (Socket,)| -> Answer<Streams> {
            let socket = match at(&mut context, &socket, Step::Connecting, NetError::NotInProgress)? {
                Ok(socket) => socket,
                Err(error) => return Ok((Err(error),)),
            };
            let handle = socket.handle.clone();
            match sift(handle.call(Call::ConnectResult { socket: handle.handle }))? {
                Ok(_) => socket.step = Step::Connected,
                Err(ErrorCode::WouldBlock) => return Ok((Err(NetError::WouldBlock),)),
                Err(code) => {
                    socket.step = Step::Idle;
                    return Ok((Err(code.into()),));
                }
            }
            Ok((Ok(streams(&mut context, &handle)?),))
        },
    )
}

fn streams(context: &mut Context<'_>, handle: &Arc<Owned>) -> wasmtime::Result<Streams> {
    let State { table, memory, .. } = context.data_mut();
    let reader: DynInputStream = Box::new(StreamReader::new(handle.clone()));
    let writer: DynOutputStream = Box::new(StreamWriter::new(handle.clone(), memory));
    Ok((table.push(reader)?, table.push(writer)?))
}

fn listen(tcp: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    tcp.func_wrap("[method]tcp-socket.start-listen", |mut context: Context, (socket,): (Socket,)| {
        step(&mut context, &socket, (Step::Idle, Step::StartedListening), NetError::InvalidState, |socket| {
            if let Some(backlog) = socket.backlog {
                let option = SocketOption::Backlog(backlog);
                socket.handle.call(Call::SetOption { socket: socket.handle.handle, option })?;
            }
            socket.handle.call(Call::Listen { socket: socket.handle.handle })
        })
    })?;
    tcp.func_wrap("[method]tcp-socket.finish-listen", |mut context: Context, (socket,): (Socket,)| {
        let steps = (Step::StartedListening, Step::Listening);
        step(&mut context, &socket, steps, NetError::NotInProgress, |_| Ok(Reply::Done))
    })?;
    tcp.func_wrap(
        "[method]tcp-socket.accept",
        |mut context: Context,
         (socket,): (Socket,)|
         -> Answer<(Socket, Resource<DynInputStream>, Resource<DynOutputStream>)> {
            let (listener, family) = match at(&mut context, &socket, Step::Listening, NetError::InvalidState)? {
                Ok(socket) => (socket.handle.clone(), socket.family),
                Err(error) => return Ok((Err(error),)),
            };
            match sift(listener.call(Call::Accept { socket: listener.handle }))? {
                Ok(Reply::Accepted(handle, _)) => {
                    let handle = Owned::new(&listener.host, handle);
                    let (input, output) = streams(&mut context, &handle)?;
                    let accepted = TcpSocket { handle, family, step: Step::Connected, backlog: None };
                    Ok((Ok((context.data_mut().table.push(accepted)?, input, output)),))
                }
                Ok(_) => Ok((Err(NetError::Unknown),)),
                Err(code) => Ok((Err(code.into()),)),
            }
        },
    )?;
    tcp.func_wrap(
        "[method]tcp-socket.set-listen-backlog-size",
        |mut context: Context, (socket, size): (Socket, u64)| -> Answer<()> {
            let socket = context.data_mut().table.get_mut(&socket)?;
            if size == 0 {
                return Ok((Err(NetError::InvalidArgument),));
            }
            match socket.step {
                Step::Idle | Step::Binding => {
                    socket.backlog = Some(size);
                    Ok((Ok(()),))
                }
                Step::Listening | Step::StartedListening => set(&socket.handle, SocketOption::Backlog(size)),
                Step::Connecting | Step::Connected => Ok((Err(NetError::InvalidState),)),
            }
        },
    )
}

fn questions(tcp: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    tcp.func_wrap(
        "[method]tcp-socket.local-address",
        |context: Context, (socket,): (Socket,)| -> Answer<SocketAddress> {
            let handle = context.data().table.get(&socket)?.handle.clone();
            answer(handle.call(Call::LocalAddress { socket: handle.handle }), address)
        },
    )?;
    tcp.func_wrap(
        "[method]tcp-socket.remote-address",
        |context: Context, (socket,): (Socket,)| -> Answer<SocketAddress> {
            let handle = context.data().table.get(&socket)?.handle.clone();
            answer(handle.call(Call::PeerAddress { socket: handle.handle }), address)
        },
    )?;
    tcp.func_wrap("[method]tcp-socket.is-listening", |context: Context, (socket,): (Socket,)| {
        Ok((context.data().table.get(&socket)?.step == Step::Listening,))
    })?;
    tcp.func_wrap("[method]tcp-socket.address-family", |context: Context, (socket,): (Socket,)| {
        Ok((context.data().table.get(&socket)?.family,))
    })?;
    tcp.func_wrap(
        "[method]tcp-socket.subscribe",
        |mut context: Context, (socket,): (Socket,)| -> wasmtime::Result<(Resource<DynPollable>,)> {
            Ok((context.data_mut().table.subscribe(socket)?,))
        },
    )?;
    tcp.func_wrap("[method]tcp-socket.shutdown", |context: Context, (socket, how): (Socket, ShutdownType)| {
        let socket = context.data().table.get(&socket)?;
        if socket.step != Step::Connected {
            return Ok((Err(NetError::InvalidState),));
        }
        let how = match how {
            ShutdownType::Receive => Shutdown::Receive,
            ShutdownType::Send => Shutdown::Send,
            ShutdownType::Both => Shutdown::Both,
        };
        done(socket.handle.call(Call::ShutdownSocket { socket: socket.handle.handle, how }))
    })
}

fn address(reply: Reply) -> Option<SocketAddress> {
    match reply {
        Reply::Address(address) => Some(address.into()),
        _ => None,
    }
}

fn options(tcp: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    option!(tcp, TcpSocket, "tcp-socket", "keep-alive-enabled", "set-keep-alive-enabled", KeepAlive, bool, false);
    option!(tcp, TcpSocket, "tcp-socket", "keep-alive-idle-time", "set-keep-alive-idle-time", KeepAliveIdle, u64, 0);
    option!(tcp, TcpSocket, "tcp-socket", "keep-alive-interval", "set-keep-alive-interval", KeepAliveInterval, u64, 0);
    option!(tcp, TcpSocket, "tcp-socket", "keep-alive-count", "set-keep-alive-count", KeepAliveCount, u32, 0);
    option!(tcp, TcpSocket, "tcp-socket", "hop-limit", "set-hop-limit", HopLimit, u8, 0);
    option!(tcp, TcpSocket, "tcp-socket", "receive-buffer-size", "set-receive-buffer-size", ReceiveBuffer, u64, 0);
    option!(tcp, TcpSocket, "tcp-socket", "send-buffer-size", "set-send-buffer-size", SendBuffer, u64, 0);
    Ok(())
}
