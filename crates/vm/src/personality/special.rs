//! What is in `/dev` and `/proc`: `null(4)`, `random(4)`, `proc(5)`.

use ringfence_abi::Call;
use rustix::io::Errno;

use super::open::Kind;
use super::thread::Thread;
use super::world::World;

/// A device that gives nothing of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Device {
    Null,
    Zero,
    Full,
    Random,
}

impl Device {
    pub(super) fn read(self, world: &World, into: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Device::Null => return Ok(0),
            Device::Zero | Device::Full => into.fill(0),
            Device::Random => drop(world.call(Call::Random { into: &mut *into })?),
        }
        Ok(into.len())
    }

    pub(super) fn write(self, from: &[u8]) -> Result<usize, Errno> {
        if self == Device::Full { Err(Errno::NOSPC) } else { Ok(from.len()) }
    }

    /// The one of a number.
    pub(super) fn of(number: u64) -> Option<Device> {
        DEVICES.iter().map(|(_, device)| *device).find(|device| device.number() == number)
    }

    /// Its number: `makedev(3)`.
    pub(super) fn number(self) -> u64 {
        match self {
            Device::Null => 0x103,
            Device::Zero => 0x105,
            Device::Full => 0x107,
            Device::Random => 0x109,
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
    mine.then(|| rest.strip_prefix(b"/").unwrap_or(rest))
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

/// What a link of `/proc` says.
pub(super) fn link(thread: &Thread, path: &[u8]) -> Option<Result<Vec<u8>, Errno>> {
    if path == b"/proc/self" {
        return Some(Ok(thread.process.id.to_string().into_bytes()));
    }
    if let Some(number) = descriptor(thread, path) {
        return Some(thread.process.descriptors().get(number).map(|open| open.path.clone()));
    }
    match own(thread, path)? {
        b"exe" => Some(Ok(thread.process.image().path)),
        b"cwd" => Some(Ok(super::process::lock(&thread.process.place()).folder.clone())),
        b"root" => Some(Ok(b"/".to_vec())),
        _ => None,
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
            let more = ["null", "zero", "full", "random", "urandom", "fd", "stdin", "stdout", "stderr"];
            let memory = world.scratch.names_in(path);
            return Some(Kind::Listing(names(&more).into_iter().chain(memory).collect()));
        }
        b"/etc" | b"/program" => return Some(Kind::Listing(world.system.names_in(path))),
        b"/proc" => return Some(Kind::Listing(names(&["self", "cpuinfo", "meminfo", "stat", "uptime"]))),
        b"/dev/fd" => return Some(Kind::Listing(descriptors(thread))),
        b"/proc/cpuinfo" => return Some(Kind::Text(b"processor\t: 0\nvendor_id\t: ringfence\n\n".to_vec())),
        b"/proc/meminfo" => {
            let total = world.spec.limits.memory.map_or(16 << 30, |bytes| bytes.0) / 1024;
            let free = total.saturating_sub(world.machine.used() / 1024);
            let text = format!("MemTotal: {total} kB\nMemFree: {free} kB\nMemAvailable: {free} kB\n");
            return Some(Kind::Text(text.into_bytes()));
        }
        b"/proc/stat" => return Some(Kind::Text(b"cpu  0 0 0 0 0 0 0 0 0 0\n".to_vec())),
        b"/proc/uptime" => return Some(Kind::Text(b"0.00 0.00\n".to_vec())),
        _ => {}
    }
    if let Some(content) = world.system.made(path) {
        return Some(Kind::Text(content.to_vec()));
    }
    let image = thread.process.image();
    match own(thread, path)? {
        b"" => Some(Kind::Listing(names(&["exe", "cwd", "root", "fd", "cmdline", "maps", "status", "comm"]))),
        b"fd" => Some(Kind::Listing(descriptors(thread))),
        b"cmdline" => {
            Some(Kind::Text(image.arguments.iter().flat_map(|text| text.iter().copied().chain([0])).collect()))
        }
        b"comm" => Some(Kind::Text([last(&image.path), b"\n"].concat())),
        b"maps" => Some(Kind::Text(thread.process.space().ok()?.describe().into_bytes())),
        b"status" => {
            let name = String::from_utf8_lossy(last(&image.path)).into_owned();
            let (id, parent) = (thread.process.id, thread.process.parent.load(std::sync::atomic::Ordering::SeqCst));
            let threads = super::process::lock(&thread.process.threads).len();
            let text =
                format!("Name:\t{name}\nState:\tR (running)\nPid:\t{id}\nPPid:\t{parent}\nThreads:\t{threads}\n");
            Some(Kind::Text(text.into_bytes()))
        }
        _ => None,
    }
}

fn descriptors(thread: &Thread) -> Vec<Vec<u8>> {
    thread.process.descriptors().numbers().iter().map(|number| number.to_string().into_bytes()).collect()
}

fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}
