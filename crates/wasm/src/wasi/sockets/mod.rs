//! `wasi:sockets`: TCP, UDP and names over the scoped hal.

mod address;
mod names;
mod tcp;
mod udp;

use std::sync::Arc;

use ringfence_abi::{Call, ErrorCode, Interest, Reply, SocketOption};
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType};
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::poll::Pollable;

use super::name;
use crate::state::{Context, Owned, State, sift};

/// `wasi:sockets/network.network`: the one network an instance has. What it reaches is decided by
/// the permissions at each call.
struct Network;

pub(super) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.instance(&name("sockets/network"))?.resource(
        "network",
        ResourceType::host::<Network>(),
        |mut context, rep| {
            context.data_mut().table.delete(Resource::<Network>::new_own(rep))?;
            Ok(())
        },
    )?;
    linker
        .instance(&name("sockets/instance-network"))?
        .func_wrap("instance-network", |mut context: Context, (): ()| {
            Ok((context.data_mut().table.push(Network)?,))
        })?;
    names::add(linker)?;
    tcp::add(linker)?;
    udp::add(linker)
}

/// Ready when a handle is.
struct SocketReady {
    socket: Arc<Owned>,
    interest: Interest,
}

#[async_trait]
impl Pollable for SocketReady {
    async fn ready(&mut self) {
        let _ = self.socket.host.call(Call::Ready { handle: self.socket.handle, interest: self.interest }).wait().await;
    }
}

type Answer<T> = wasmtime::Result<(Result<T, NetError>,)>;

fn answer<T>(reply: Result<Reply, ErrorCode>, take: impl FnOnce(Reply) -> Option<T>) -> Answer<T> {
    Ok((sift(reply)?.map_err(NetError::from).and_then(|reply| take(reply).ok_or(NetError::Unknown)),))
}

fn done(reply: Result<Reply, ErrorCode>) -> Answer<()> {
    answer(reply, |_| Some(()))
}

fn set(socket: &Owned, option: SocketOption) -> Answer<()> {
    done(socket.call(Call::SetOption { socket: socket.handle, option }))
}

fn get<T>(socket: &Owned, option: SocketOption, take: impl FnOnce(SocketOption) -> Option<T>) -> Answer<T> {
    answer(socket.call(Call::GetOption { socket: socket.handle, option }), |reply| match reply {
        Reply::Option(option) => take(option),
        _ => None,
    })
}

/// Adds a getter and a setter of one socket option: their WASI names, the case of [`SocketOption`],
/// and the type of its value.
macro_rules! option {
    ($interface:ident, $socket:ty, $resource:literal, $name:literal, $setter:literal, $case:ident, $value:ty, $any:expr) => {
        $interface.func_wrap(
            concat!("[method]", $resource, ".", $name),
            |context: Context, (socket,): (Resource<$socket>,)| -> Answer<$value> {
                let socket = context.data().table.get(&socket)?.handle.clone();
                get(&socket, SocketOption::$case($any), |option| match option {
                    SocketOption::$case(value) => Some(value),
                    _ => None,
                })
            },
        )?;
        $interface.func_wrap(
            concat!("[method]", $resource, ".", $setter),
            |context: Context, (socket, value): (Resource<$socket>, $value)| -> Answer<()> {
                let socket = context.data().table.get(&socket)?.handle.clone();
                set(&socket, SocketOption::$case(value))
            },
        )?;
    };
}
use option;

macro_rules! errors {
    ($($name:ident = $text:literal $(from $($code:ident)|+)?;)*) => {
        /// `wasi:sockets/network.error-code`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
        #[component(enum)]
        #[repr(u8)]
        #[allow(dead_code, reason = "some cases have no counterpart on Linux")]
        enum NetError { $(#[component(name = $text)] $name,)* }

        impl From<ErrorCode> for NetError {
            fn from(code: ErrorCode) -> Self {
                match code {
                    $($($(ErrorCode::$code)|+ => NetError::$name,)?)*
                    _ => NetError::Unknown,
                }
            }
        }
    };
}

errors! {
    Unknown = "unknown";
    AccessDenied = "access-denied" from Denied | NotPermitted;
    NotSupported = "not-supported" from NotSupported | NotImplemented | NoProtocol | NoAddressFamily | NoProtocolOption;
    InvalidArgument = "invalid-argument" from Invalid | OutOfRange;
    OutOfMemory = "out-of-memory" from OutOfMemory | NoBufferSpace;
    Timeout = "timeout" from TimedOut;
    ConcurrencyConflict = "concurrency-conflict" from AlreadyInProgress | InProgress;
    NotInProgress = "not-in-progress";
    WouldBlock = "would-block" from WouldBlock;
    InvalidState = "invalid-state" from AlreadyConnected | NotConnected | BrokenPipe;
    NewSocketLimit = "new-socket-limit" from TooManyHandles;
    AddressNotBindable = "address-not-bindable" from AddressNotAvailable;
    AddressInUse = "address-in-use" from AddressInUse;
    RemoteUnreachable = "remote-unreachable" from HostUnreachable | NetworkUnreachable | NetworkDown;
    ConnectionRefused = "connection-refused" from ConnectionRefused;
    ConnectionReset = "connection-reset" from ConnectionReset;
    ConnectionAborted = "connection-aborted" from ConnectionAborted;
    DatagramTooLarge = "datagram-too-large" from MessageTooLong;
    NameUnresolvable = "name-unresolvable" from NotFound;
    TemporaryResolverFailure = "temporary-resolver-failure" from Interrupted;
    PermanentResolverFailure = "permanent-resolver-failure" from Io;
}
