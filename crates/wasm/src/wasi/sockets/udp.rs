//! `wasi:sockets/udp` and `udp-create-socket`.

use std::sync::Arc;

use ringfence_abi::{Call, ErrorCode, Interest, Reply, SocketOption};
use wasmtime::component::{ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType};
use wasmtime_wasi_io::poll::DynPollable;

use super::address::{Family, SocketAddress};
use super::{Answer, NetError, Network, SocketReady, answer, get, name, option, set};
use crate::state::{Context, Owned, State, sift};
use crate::wasi::streams::CHUNK;

/// The most datagrams moved by one call.
const DATAGRAMS: u64 = 16;
/// The largest datagram: what an IPv4 length field can say.
const LARGEST: usize = 64 << 10;

/// `udp-socket`.
struct UdpSocket {
    handle: Arc<Owned>,
    family: Family,
    binding: bool,
    bound: bool,
}

/// `incoming-datagram-stream`.
struct Incoming(Arc<Owned>);

/// `outgoing-datagram-stream`.
struct Outgoing(Arc<Owned>);

type Socket = Resource<UdpSocket>;

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
struct IncomingDatagram {
    data: Vec<u8>,
    #[component(name = "remote-address")]
    remote_address: SocketAddress,
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
struct OutgoingDatagram {
    data: Vec<u8>,
    #[component(name = "remote-address")]
    remote_address: Option<SocketAddress>,
}

pub(super) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut udp = linker.instance(&name("sockets/udp"))?;
    udp.resource("udp-socket", ResourceType::host::<UdpSocket>(), |mut context, rep| {
        context.data_mut().table.delete(Socket::new_own(rep))?;
        Ok(())
    })?;
    udp.resource("incoming-datagram-stream", ResourceType::host::<Incoming>(), |mut context, rep| {
        context.data_mut().table.delete(Resource::<Incoming>::new_own(rep))?;
        Ok(())
    })?;
    udp.resource("outgoing-datagram-stream", ResourceType::host::<Outgoing>(), |mut context, rep| {
        context.data_mut().table.delete(Resource::<Outgoing>::new_own(rep))?;
        Ok(())
    })?;
    sockets(&mut udp)?;
    datagrams(&mut udp)?;
    linker.instance(&name("sockets/udp-create-socket"))?.func_wrap(
        "create-udp-socket",
        |mut context: Context, (family,): (Family,)| -> Answer<Socket> {
            let reply = context.data().host.call(Call::UdpSocket { ipv6: family == Family::V6 }).now();
            Ok((match sift(reply)? {
                Ok(Reply::Handle(handle)) => {
                    let handle = Owned::new(&context.data().host, handle);
                    Ok(context.data_mut().table.push(UdpSocket { handle, family, binding: false, bound: false })?)
                }
                Ok(_) => Err(NetError::Unknown),
                Err(code) => Err(code.into()),
            },))
        },
    )
}

fn sockets(udp: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    udp.func_wrap(
        "[method]udp-socket.start-bind",
        |mut context: Context, (socket, _, address): (Socket, Resource<Network>, SocketAddress)| -> Answer<()> {
            let socket = context.data_mut().table.get_mut(&socket)?;
            if socket.binding {
                return Ok((Err(NetError::ConcurrencyConflict),));
            }
            if socket.bound {
                return Ok((Err(NetError::InvalidState),));
            }
            let call = Call::Bind { socket: socket.handle.handle, address: address.into() };
            let result = sift(socket.handle.call(call))?;
            socket.binding = result.is_ok();
            Ok((result.map(|_| ()).map_err(NetError::from),))
        },
    )?;
    udp.func_wrap("[method]udp-socket.finish-bind", |mut context: Context, (socket,): (Socket,)| -> Answer<()> {
        let socket = context.data_mut().table.get_mut(&socket)?;
        if !std::mem::take(&mut socket.binding) {
            return Ok((Err(NetError::NotInProgress),));
        }
        socket.bound = true;
        Ok((Ok(()),))
    })?;
    udp.func_wrap(
        "[method]udp-socket.stream",
        |mut context: Context,
         (socket, peer): (Socket, Option<SocketAddress>)|
         -> Answer<(Resource<Incoming>, Resource<Outgoing>)> {
            let handle = context.data().table.get(&socket)?.handle.clone();
            let call = match peer {
                Some(address) => Call::Connect { socket: handle.handle, address: address.into() },
                None => Call::Disconnect { socket: handle.handle },
            };
            if let Err(code) = sift(handle.call(call))? {
                return Ok((Err(code.into()),));
            }
            let table = &mut context.data_mut().table;
            Ok((Ok((table.push(Incoming(handle.clone()))?, table.push(Outgoing(handle))?)),))
        },
    )?;
    udp.func_wrap(
        "[method]udp-socket.local-address",
        |context: Context, (socket,): (Socket,)| -> Answer<SocketAddress> {
            let handle = context.data().table.get(&socket)?.handle.clone();
            answer(handle.call(Call::LocalAddress { socket: handle.handle }), address)
        },
    )?;
    udp.func_wrap(
        "[method]udp-socket.remote-address",
        |context: Context, (socket,): (Socket,)| -> Answer<SocketAddress> {
            let handle = context.data().table.get(&socket)?.handle.clone();
            answer(handle.call(Call::PeerAddress { socket: handle.handle }), address)
        },
    )?;
    udp.func_wrap("[method]udp-socket.address-family", |context: Context, (socket,): (Socket,)| {
        Ok((context.data().table.get(&socket)?.family,))
    })?;
    udp.func_wrap("[method]udp-socket.subscribe", |context: Context, (socket,): (Socket,)| {
        let handle = context.data().table.get(&socket)?.handle.clone();
        ready(context, handle, Interest::Writable)
    })?;
    option!(udp, UdpSocket, "udp-socket", "unicast-hop-limit", "set-unicast-hop-limit", HopLimit, u8, 0);
    option!(udp, UdpSocket, "udp-socket", "receive-buffer-size", "set-receive-buffer-size", ReceiveBuffer, u64, 0);
    option!(udp, UdpSocket, "udp-socket", "send-buffer-size", "set-send-buffer-size", SendBuffer, u64, 0);
    Ok(())
}

fn address(reply: Reply) -> Option<SocketAddress> {
    match reply {
        Reply::Address(address) => Some(address.into()),
        _ => None,
    }
}

fn ready(
    mut context: Context<'_>,
    socket: Arc<Owned>,
    interest: Interest,
) -> wasmtime::Result<(Resource<DynPollable>,)> {
    let table = &mut context.data_mut().table;
    let ready = table.push(SocketReady { socket, interest })?;
    Ok((table.subscribe(ready)?,))
}

fn datagrams(udp: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    udp.func_wrap(
        "[method]incoming-datagram-stream.receive",
        |context: Context, (stream, most): (Resource<Incoming>, u64)| -> Answer<Vec<IncomingDatagram>> {
            let handle = context.data().table.get(&stream)?.0.clone();
            let mut received = Vec::new();
            let mut bytes = 0;
            let mut buffer = vec![0; if most > 0 { LARGEST } else { 0 }];
            for _ in 0..most.min(DATAGRAMS) {
                // What is on its way is bounded, like what a stream gives at once.
                if bytes >= CHUNK {
                    break;
                }
                match sift(handle.call(Call::ReceiveFrom { socket: handle.handle, into: &mut buffer }))? {
                    Ok(Reply::Datagram(length, from)) => {
                        bytes += length;
                        received
                            .push(IncomingDatagram { data: buffer[..length].to_vec(), remote_address: from.into() });
                    }
                    Ok(_) => return Ok((Err(NetError::Unknown),)),
                    Err(ErrorCode::WouldBlock) => break,
                    // What came before the error is not lost; the error comes again.
                    Err(_) if !received.is_empty() => break,
                    Err(code) => return Ok((Err(code.into()),)),
                }
            }
            Ok((Ok(received),))
        },
    )?;
    udp.func_wrap(
        "[method]incoming-datagram-stream.subscribe",
        |context: Context, (stream,): (Resource<Incoming>,)| {
            let handle = context.data().table.get(&stream)?.0.clone();
            ready(context, handle, Interest::Readable)
        },
    )?;
    udp.func_wrap(
        "[method]outgoing-datagram-stream.check-send",
        |context: Context, (stream,): (Resource<Outgoing>,)| -> Answer<u64> {
            context.data().table.get(&stream)?;
            Ok((Ok(DATAGRAMS),))
        },
    )?;
    udp.func_wrap(
        "[method]outgoing-datagram-stream.send",
        |context: Context, (stream, datagrams): (Resource<Outgoing>, Vec<OutgoingDatagram>)| -> Answer<u64> {
            let handle = context.data().table.get(&stream)?.0.clone();
            if datagrams.len() as u64 > DATAGRAMS {
                wasmtime::bail!("more datagrams than check-send allowed");
            }
            let mut sent = 0;
            for datagram in datagrams {
                let address = datagram.remote_address.map(Into::into);
                match sift(handle.call(Call::SendTo { socket: handle.handle, address, from: &datagram.data }))? {
                    Ok(_) => sent += 1,
                    Err(ErrorCode::WouldBlock) => break,
                    Err(_) if sent > 0 => break,
                    Err(code) => return Ok((Err(code.into()),)),
                }
            }
            Ok((Ok(sent),))
        },
    )?;
    udp.func_wrap("[method]outgoing-datagram-stream.subscribe", |context: Context, (stream,): (Resource<Outgoing>,)| {
        let handle = context.data().table.get(&stream)?.0.clone();
        ready(context, handle, Interest::Writable)
    })
}
