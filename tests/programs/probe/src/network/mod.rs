//! Commands that use the network. They are written once over the few operations that [`platform`]
//! offers: the standard library's sockets, or those of WASI preview 2.

#[cfg_attr(target_os = "wasi", path = "wasi.rs")]
#[cfg_attr(not(target_os = "wasi"), path = "native.rs")]
mod platform;

use std::net::{IpAddr, SocketAddr};

use crate::outcome::{Failure, Outcome, first_line, in_order, say};
use platform::{Connection, Listener};

/// Where `block-connect` goes by itself: a documentation address, which no host has.
const NOWHERE: &str = "192.0.2.1:9";

pub fn run(command: &[&str]) -> Option<Outcome> {
    Some(match *command {
        ["resolve", name] => resolve(name),
        ["connect", target] => connect(target).map(|connection| connection.peer().to_string()),
        ["connect-twice", name, port] => connect_twice(name, port.parse().ok()?),
        ["block-connect"] => block_connect(NOWHERE),
        ["block-connect", target] => block_connect(target),
        ["tcp", target, text] => tcp(target, text),
        ["bind", address] => bind(address),
        ["listen", address] => listen(address),
        ["block-accept", address] => block_accept(address),
        ["udp", target, text] => udp(target, text),
        _ => return None,
    })
}

/// The addresses `HOST:PORT` stands for. A literal address asks nobody.
fn addresses(target: &str) -> Result<Vec<SocketAddr>, Failure> {
    if let Ok(address) = target.parse() {
        return Ok(vec![address]);
    }
    let invalid = || Failure::named("EINVAL");
    let (host, port) = target.rsplit_once(':').ok_or_else(invalid)?;
    let port = port.parse().map_err(|_| invalid())?;
    Ok(platform::resolve(host)?.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
}

fn local(address: &str) -> Result<SocketAddr, Failure> {
    address.parse().map_err(|_| Failure::named("EINVAL"))
}

fn resolve(name: &str) -> Outcome {
    let found = platform::resolve(name)?;
    Ok(in_order(&found.iter().map(IpAddr::to_string).collect::<Vec<_>>()))
}

/// Tries the addresses in order; the failure is that of the last.
fn connect(target: &str) -> Result<Connection, Failure> {
    let mut failure = Failure::named("EAI_NONAME");
    for address in addresses(target)? {
        match Connection::open(address) {
            Ok(connection) => return Ok(connection),
            Err(last) => failure = last,
        }
    }
    Err(failure)
}

/// Resolves and connects two times over: a name that is checked once and asked for twice may mean
/// something else the second time.
fn connect_twice(name: &str, port: u16) -> Outcome {
    let once = || connect(&format!("{name}:{port}")).map(|connection| connection.peer().to_string());
    Ok(format!("{} {}", once()?, once().map_err(|failure| failure.after(1))?))
}

/// Connects and waits for the other side to say something; a silent one keeps it for ever.
fn block_connect(target: &str) -> Outcome {
    let mut connection = connect(target)?;
    connection.receive(&mut [0]).map(|count| count.to_string())
}

/// Sends the text, ends its own side, and reads the reply to the end.
fn tcp(target: &str, text: &str) -> Outcome {
    let mut connection = connect(target)?;
    connection.send(text.as_bytes())?;
    connection.finish()?;
    let mut reply = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match connection.receive(&mut piece)? {
            0 => return Ok(format!("{} {}", reply.len(), first_line(&reply))),
            count => reply.extend_from_slice(&piece[..count]),
        }
    }
}

fn bind(address: &str) -> Outcome {
    Ok(platform::bind(local(address)?)?.to_string())
}

/// Says where it listens, then echoes what one connection sends; so it prints two lines.
fn listen(address: &str) -> Outcome {
    let mut listener = Listener::open(local(address)?)?;
    say(&Ok(listener.address()?.to_string()));
    let mut connection = listener.accept()?;
    let mut piece = [0; 4096];
    let mut echoed = 0;
    loop {
        match connection.receive(&mut piece)? {
            0 => break,
            count => connection.send(&piece[..count])?,
        }
        echoed += 1;
    }
    connection.finish()?;
    Ok(format!("echoed in {echoed} pieces"))
}

/// Says where it listens and waits for a connection, for ever if none comes.
fn block_accept(address: &str) -> Outcome {
    let mut listener = Listener::open(local(address)?)?;
    say(&Ok(listener.address()?.to_string()));
    Ok(listener.accept()?.peer().to_string())
}

/// Sends one datagram and waits for one back.
fn udp(target: &str, text: &str) -> Outcome {
    let to = *addresses(target)?.first().ok_or_else(|| Failure::named("EAI_NONAME"))?;
    let reply = platform::exchange(to, text.as_bytes())?;
    Ok(format!("{} {}", reply.len(), first_line(&reply)))
}
