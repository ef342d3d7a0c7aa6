//! What is in `/dev`, and the links of `/proc`: `null(4)`, `random(4)`, `proc(5)`.

use std::sync::Arc;

use ringfence_abi::Call;
use rustix::io::Errno;

use super::open::{Kind, Open};
use super::thread::Thread;
use super::world::World;

/// A device that gives nothing of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Device {
    Null,
    Zero,
    Full,
    Random,
    /// A terminal that is only looked at: its number.
    Terminal(u64),
}

impl Device {
    pub(super) fn read(self, world: &World, into: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Device::Null => return Ok(0),
            Device::Zero | Device::Full => into.fill(0),
            Device::Random => drop(world.call(Call::Random { into: &mut *into })?),
            Device::Terminal(_) => return Err(Errno::BADF),
        }
        Ok(into.len())
    }

    pub(super) fn write(self, from: &[u8]) -> Result<usize, Errno> {
        match self {
            Device::Full => Err(Errno::NOSPC),
            Device::Terminal(_) => Err(Errno::BADF),
            _ => Ok(from.len()),
        }
    }

    /// The one of a number.
    pub(super) fn of(number: u64) -> Option<Device> {
        let terminals = matches!(number, 0x500 | 0x502 | 0x8800..=0x88ff).then_some(Device::Terminal(number));
        DEVICES.iter().map(|(_, device)| *device).find(|device| device.number() == number).or(terminals)
    }

    /// Its number: `makedev(3)`.
    pub(super) fn number(self) -> u64 {
        match self {
            Device::Null => 0x103,
            Device::Zero => 0x105,
            Device::Full => 0x107,
            Device::Random => 0x109,
            Device::Terminal(number) => number,
        }
    }
}

const DEVICES: [(&[u8], Device); 5] = [
    (b"/dev/null", Device::Null),
    (b"/dev/zero", Device::Zero),
    (b"/dev/full", Device::Full),
    (b"/dev/random", Device::Random),
    (b"/dev/urandom", Device::Random),
];

fn names(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// The path below `/proc/self`, if it is one of this process's.
fn own<'a>(thread: &Thread, path: &'a [u8]) -> Option<&'a [u8]> {
    let rest = path.strip_prefix(b"/proc/")?;
    let end = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    let mine = name == b"self" || name == b"thread-self" || name == thread.process.id.to_string().as_bytes();
    let rest = mine.then(|| rest.strip_prefix(b"/").unwrap_or(rest))?;
    // What is in memory and what is open each thread has in common with the others.
    let of_thread = rest.strip_prefix(b"task/").and_then(|rest| {
        let end = rest.iter().position(|&byte| byte == b'/')?;
        let who = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
        super::process::lock(&thread.process.threads).contains_key(&who).then_some(&rest[end + 1..])
    });
    Some(of_thread.unwrap_or(rest))
}

/// The same path with the number of the process in the place of `/proc/self`, which leads elsewhere for others.
pub(super) fn by_number(thread: &Thread, path: Vec<u8>) -> Vec<u8> {
    let id = thread.process.id;
    if let Some(rest) = path.strip_prefix(b"/proc/self/") {
        return [format!("/proc/{id}/").as_bytes(), rest].concat();
    }
    match path.strip_prefix(b"/proc/thread-self/") {
        Some(rest) => [format!("/proc/{id}/task/{}/", thread.member.id).as_bytes(), rest].concat(),
        None => path,
    }
}

/// The descriptor that a path names: `/proc/self/fd/3`, `/dev/stdin`.
pub(super) fn descriptor(thread: &Thread, path: &[u8]) -> Option<i32> {
    let number = match path {
        b"/dev/stdin" => return Some(0),
        b"/dev/stdout" => return Some(1),
        b"/dev/stderr" => return Some(2),
        path => path.strip_prefix(b"/dev/fd/").or_else(|| own(thread, path)?.strip_prefix(b"fd/"))?,
    };
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// What is open where a path names a descriptor; `ENOENT` when nothing is.
pub(super) fn opened(thread: &Thread, path: &[u8]) -> Option<Result<Arc<Open>, Errno>> {
    Some(thread.process.descriptors().get(descriptor(thread, path)?).map_err(|_| Errno::NOENT))
}

/// Where something open is, and whether it still has a name: `proc_pid_fd(5)`.
fn shown(open: &Open) -> Vec<u8> {
    match &open.kind {
        Kind::Memory(node) if node.state().names == 0 && open.path.starts_with(b"/") => {
            let mut path = open.place();
            if !path.ends_with(b" (deleted)") {
                path.extend_from_slice(b" (deleted)");
            }
            path
        }
        Kind::Reader(_) | Kind::Writer(_) | Kind::Both(_) if let Some(number) = open.number() => {
            format!("pipe:[{number}]").into_bytes()
        }
        Kind::Socket(_) => format!("socket:[{}]", open.number().unwrap_or_default()).into_bytes(),
        _ => open.place(),
    }
}

/// What a link of `/proc` says.
pub(super) fn link(thread: &Thread, path: &[u8]) -> Option<Result<Vec<u8>, Errno>> {
    if path == b"/proc/self" {
        return Some(Ok(thread.process.id.to_string().into_bytes()));
    }
    if path == b"/proc/thread-self" {
        return Some(Ok(format!("{}/task/{}", thread.process.id, thread.member.id).into_bytes()));
    }
    match path {
        b"/dev/fd" => return Some(Ok(b"/proc/self/fd".to_vec())),
        b"/dev/stdin" => return Some(Ok(b"/proc/self/fd/0".to_vec())),
        b"/dev/stdout" => return Some(Ok(b"/proc/self/fd/1".to_vec())),
        b"/dev/stderr" => return Some(Ok(b"/proc/self/fd/2".to_vec())),
        _ => {}
    }
    if let Some(opened) = opened(thread, path) {
        return Some(opened.map(|open| shown(&open)));
    }
    match own(thread, path)? {
        b"exe" => Some(Ok(thread.process.image().path.clone())),
        b"cwd" => Some(Ok(super::process::lock(&thread.process.place()).folder.clone())),
        b"root" => Some(Ok(b"/".to_vec())),
        _ => None,
    }
}

/// Whether a path leads on behind a link that goes where its text does not say: `proc_pid_cwd(5)`, `proc_pid_fd(5)`.
pub(super) fn leads_on(thread: &Thread, path: &[u8]) -> bool {
    let behind = |rest: &[u8]| rest.contains(&b'/');
    path.strip_prefix(b"/dev/fd/").is_some_and(behind)
        || own(thread, path).is_some_and(|rest| {
            rest.starts_with(b"cwd/") || rest.starts_with(b"root/") || rest.strip_prefix(b"fd/").is_some_and(behind)
        })
}

/// The folder that such a link leads to.
pub(super) fn folder_behind(thread: &Thread, path: &[u8]) -> Result<Vec<u8>, Errno> {
    match opened(thread, path) {
        None => link(thread, path).unwrap_or(Err(Errno::NOTDIR)).map(|target| by_number(thread, target)),
        Some(open) => {
            let open = open?;
            if open.is_folder() { Ok(open.place()) } else { Err(Errno::NOTDIR) }
        }
    }
}

/// What is at a path of `/dev`, `/proc` or `/etc` that exists only here.
pub(super) fn look(thread: &Thread, path: &[u8]) -> Option<Kind> {
    if let Some((_, device)) = DEVICES.iter().find(|(known, _)| *known == path) {
        return Some(Kind::Device(*device));
    }
    let world = &thread.world;
    match path {
        b"/dev" => {
            let more =
                ["null", "zero", "full", "random", "urandom", "fd", "stdin", "stdout", "stderr", "tty", "ptmx", "pts"];
            let is_known = |name: &Vec<u8>| world.is_known(&[path, b"/", name].concat());
            let memory = world.scratch.names_in(path).into_iter().filter(is_known);
            return Some(Kind::listing(names(&more).into_iter().chain(memory).collect()));
        }
        b"/dev/tty" => return Some(Kind::Device(Device::Terminal(0x500))),
        b"/dev/ptmx" | b"/dev/pts/ptmx" => return Some(Kind::Device(Device::Terminal(0x502))),
        b"/dev/pts" => return Some(Kind::listing(world.terminals.names())),
        _ if world.system.is_above(path) => return Some(Kind::listing(world.names_of_system(path))),
        b"/dev/fd" => return Some(Kind::listing(descriptors(thread))),
        _ => {}
    }
    if let Some(number) = path.strip_prefix(b"/dev/pts/") {
        let number = std::str::from_utf8(number).ok()?.parse().ok()?;
        let terminal = world.terminals.of(number)?;
        return Some(Kind::Device(Device::Terminal(0x8800 | u64::from(terminal.number))));
    }
    // A mount of the manifest's lies over what is made here.
    if world.system.is_mounted_over(path) {
        return None;
    }
    if let Some(content) = world.system.made(path) {
        return Some(Kind::Text(content.to_vec()));
    }
    super::proc::look(thread, std::str::from_utf8(path).ok()?)
}

/// The same, opened: with its content, however long that takes to make.
pub(super) fn open(thread: &Thread, path: &[u8]) -> Result<Option<Kind>, Errno> {
    let kind = match look(thread, path) {
        Some(Kind::Text(made)) => Some(Kind::Text(match own(thread, path) {
            Some(b"maps") => thread.process.space()?.describe()?,
            Some(b"smaps") => thread.process.space()?.describe_pages()?,
            _ => made,
        })),
        other => other,
    };
    if let Some(Kind::Text(text)) = &kind {
        thread.world.may_keep(text.len())?;
    }
    Ok(kind)
}

fn descriptors(thread: &Thread) -> Vec<Vec<u8>> {
    thread.process.descriptors().numbers().iter().map(|number| number.to_string().into_bytes()).collect()
}
