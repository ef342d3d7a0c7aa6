//! What programs ask to learn of network interfaces: `netlink(7)`, `rtnetlink(7)`, `netdevice(7)`.
//!
//! There is one interface, the loopback, and it is told as Linux tells it. Addresses beyond it are granted by a manifest
//! and not found. Nothing can be changed, and nothing ever does, so nobody hears of changes.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use rustix::io::Errno;

use super::super::open::Open;
use super::super::process::lock;
use super::super::readiness::{IN, OUT, Watch};
use super::super::thread::Thread;
use super::super::waiting::Bell;
use super::How;
use super::options::Options;
use crate::kvm::Kept;
use crate::memory::Space;

/// How many answers wait to be read; who asks for more before reading is told that there is no room.
const MOST: usize = 64;
/// What the host keeps for them: each is less than that.
const ROOM: usize = MOST * 512;
/// `struct nlmsghdr`.
const HEAD: usize = 16;
/// The name, the number and the largest packet of the interface.
const NAME: &[u8] = b"lo\0";
const INDEX: u32 = 1;
const MTU: u32 = 65536;
/// It is up, runs, and is the loopback: `IFF_*`. Of these old calls tell the lower half.
const FLAGS: u32 = 0x1_0049;
/// `SOL_NETLINK`, and the last of its settings.
pub(super) const LEVEL: i32 = 270;
const LAST_SETTING: i32 = 12;

// Of `rtnetlink(7)`: the first of four of each kind makes something, the third asks for it.
const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const LAST_KIND: u16 = 127;
const ASKS: u16 = 2;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const MULTI: u16 = 2;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;
/// Of what was wrong the head alone comes back.
const CAPPED: u16 = 0x100;

/// A socket of `NETLINK_ROUTE`.
pub(in crate::personality) struct Netlink {
    /// `SOCK_RAW` or `SOCK_DGRAM`, which are the same.
    pub(super) kind: i32,
    pub(super) options: Options,
    waiting: Mutex<VecDeque<Vec<u8>>>,
    /// Its own address, when it has one.
    port: AtomicU32,
    pub(super) bell: Bell,
    _kept: Kept,
}

/// What is sent: a head and what follows it.
struct Message<'a> {
    kind: u16,
    flags: u16,
    number: u32,
    whole: &'a [u8],
    body: &'a [u8],
}

impl Netlink {
    /// One of this kind and protocol, or why there is none.
    pub(super) fn new(thread: &Thread, kind: i32, protocol: i32) -> Result<Self, Errno> {
        match kind {
            libc::SOCK_RAW | libc::SOCK_DGRAM if protocol == libc::NETLINK_ROUTE => {}
            libc::SOCK_RAW | libc::SOCK_DGRAM => return Err(Errno::PROTONOSUPPORT),
            _ => return Err(Errno::SOCKTNOSUPPORT),
        }
        thread.world.may_keep(ROOM)?;
        let _kept = Kept::of(&thread.world.machine, ROOM);
        let (options, waiting) = (Options::default(), Mutex::default());
        Ok(Netlink { kind, options, waiting, port: AtomicU32::new(0), bell: Bell::default(), _kept })
    }

    /// `bind(2)` to the address that a program gave.
    pub(super) fn bind(&self, thread: &Thread, address: [u32; 2]) {
        // Groups are of those who hear of changes.
        let [port, _groups] = address;
        self.port.store(if port == 0 { thread.process.id } else { port }, SeqCst);
    }

    /// `connect(2)`: to the kernel, and to nobody else.
    pub(super) fn connect(&self, thread: &Thread, to: [u32; 2]) -> Result<(), Errno> {
        self.may_reach(to)?;
        self.bind_if_needed(thread);
        Ok(())
    }

    fn may_reach(&self, to: [u32; 2]) -> Result<(), Errno> {
        if to == [0, 0] { Ok(()) } else { Err(Errno::PERM) }
    }

    fn bind_if_needed(&self, thread: &Thread) {
        let _ = self.port.compare_exchange(0, thread.process.id, SeqCst, SeqCst);
    }

    /// Its address, `struct sockaddr_nl`.
    pub(super) fn local(&self) -> Vec<u8> {
        address(self.port.load(SeqCst))
    }

    /// That of the kernel.
    pub(super) fn peer() -> Vec<u8> {
        address(0)
    }

    /// Takes questions, and puts the answers where they are received.
    pub(super) fn send(&self, thread: &Thread, from: &[u8], to: Option<[u32; 2]>) -> Result<usize, Errno> {
        self.may_reach(to.unwrap_or_default())?;
        self.bind_if_needed(thread);
        let mut waiting = lock(&self.waiting);
        let mut rest = from;
        while let Some(message) = Message::first_of(rest) {
            if waiting.len() >= MOST {
                drop(waiting);
                self.bell.ring();
                return Err(Errno::NOBUFS);
            }
            waiting.extend(message.answers(self.port.load(SeqCst)));
            rest = rest.get(message.whole.len().next_multiple_of(4)..).unwrap_or_default();
        }
        drop(waiting);
        self.bell.ring();
        Ok(from.len())
    }

    /// Takes one answer: how much of it there was room for, and how long it is.
    pub(super) fn receive(
        &self,
        thread: &Thread,
        open: &Open,
        into: &mut [u8],
        how: How,
    ) -> Result<(usize, usize), Errno> {
        drop(open.attempt(ringfence_abi::Interest::Readable));
        let mut take = || {
            let mut waiting = lock(&self.waiting);
            let answer = if how.has(libc::MSG_PEEK) { waiting.front().cloned() } else { waiting.pop_front() }?;
            let count = answer.len().min(into.len());
            into[..count].copy_from_slice(&answer[..count]);
            Some((count, answer.len()))
        };
        match (take(), how.at_once) {
            (Some(taken), _) => Ok(taken),
            (None, true) => Err(Errno::AGAIN),
            (None, false) => match thread.wait(&[&self.bell], self.options.receive_until(), take) {
                Err(Errno::TIMEDOUT) => Err(Errno::AGAIN),
                taken => taken,
            },
        }
    }

    pub(super) fn length(&self) -> usize {
        lock(&self.waiting).front().map_or(0, Vec::len)
    }

    pub(super) fn readiness(&self, watch: &mut Watch<'_>, wanted: i16) -> i16 {
        watch.enlist(&self.bell);
        let readable = if lock(&self.waiting).is_empty() { 0 } else { IN };
        (readable | OUT) & wanted
    }

    /// Whether a setting of its own level is one. They say how changes are told.
    pub(super) fn has_setting(name: i32) -> Result<(), Errno> {
        if (1..=LAST_SETTING).contains(&name) { Ok(()) } else { Err(Errno::NOPROTOOPT) }
    }
}

impl<'a> Message<'a> {
    /// The first of those that were sent together; what is cut short is none.
    fn first_of(bytes: &'a [u8]) -> Option<Self> {
        let (head, _) = bytes.split_first_chunk::<HEAD>()?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let whole = bytes.get(..word(0) as usize).filter(|whole| whole.len() >= HEAD)?;
        let (kind, flags) = (word(4) as u16, (word(4) >> 16) as u16);
        Some(Message { kind, flags, number: word(8), whole, body: &whole[HEAD..] })
    }

    fn has(&self, flag: u16) -> bool {
        self.flags & flag == flag
    }

    /// The messages that answer it.
    fn answers(&self, port: u32) -> Vec<Vec<u8>> {
        let acknowledged = || if self.has(ACKNOWLEDGE) { vec![self.error(None, port)] } else { Vec::new() };
        if self.kind < NEW_LINK || !self.has(1) {
            // Of the line itself, or no question.
            return acknowledged();
        }
        if self.kind > LAST_KIND {
            return vec![self.error(Some(Errno::OPNOTSUPP), port)];
        }
        if self.kind % 4 != ASKS {
            return vec![self.error(Some(Errno::PERM), port)];
        }
        let kind = self.kind - ASKS;
        if self.has(DUMP) {
            let family = self.body.first().copied().unwrap_or(0);
            let found = match kind {
                NEW_LINK => vec![link()],
                NEW_ADDRESS => addresses(family),
                _ => Vec::new(),
            };
            let told: Vec<u8> = found.iter().flat_map(|body| self.message(kind, MULTI, body, port)).collect();
            let end = self.message(DONE, MULTI, &0_i32.to_le_bytes(), port);
            return [told, end].into_iter().filter(|message| !message.is_empty()).collect();
        }
        match kind {
            NEW_LINK if self.names_it() => [vec![self.message(kind, 0, &link(), port)], acknowledged()].concat(),
            NEW_LINK => vec![self.error(Some(Errno::NODEV), port)],
            NEW_ADDRESS => vec![self.error(Some(Errno::OPNOTSUPP), port)],
            // No route leads anywhere.
            _ => vec![self.error(Some(Errno::NETUNREACH), port)],
        }
    }

    /// Whether one link is asked for and it is this one, by its number or its name.
    fn names_it(&self) -> bool {
        /// `struct ifinfomsg`, and the attributes for names.
        const INFO: usize = 16;
        const NAMES: [u16; 2] = [3, 53];
        let index = self.body.get(4..8).and_then(|part| part.try_into().ok()).map_or(0, u32::from_le_bytes);
        let mut rest = self.body.get(INFO..).unwrap_or_default();
        let mut is_named = false;
        while let Some((&[low, high, kind, of_kind], _)) = rest.split_first_chunk::<4>() {
            let length = usize::from(u16::from_le_bytes([low, high]));
            let Some(value) = rest.get(4..length) else { break };
            let name = value.split(|&byte| byte == 0).next().unwrap_or_default();
            is_named |= NAMES.contains(&u16::from_le_bytes([kind, of_kind])) && name == b"lo";
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        index == INDEX || (index == 0 && is_named)
    }

    fn message(&self, kind: u16, flags: u16, body: &[u8], port: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + body.len());
        bytes.extend(((HEAD + body.len()) as u32).to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(port.to_le_bytes());
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// What went wrong with it, or that nothing did, with its head.
    fn error(&self, errno: Option<Errno>, port: u32) -> Vec<u8> {
        let number = errno.map_or(0, |errno| -errno.raw_os_error());
        self.message(ERROR, CAPPED, &[&number.to_le_bytes()[..], &self.whole[..HEAD]].concat(), port)
    }
}

/// `struct sockaddr_nl` with this number and no groups.
fn address(port: u32) -> Vec<u8> {
    let mut bytes = vec![0; 12];
    bytes[..2].copy_from_slice(&(libc::AF_NETLINK as u16).to_le_bytes());
    bytes[4..8].copy_from_slice(&port.to_le_bytes());
    bytes
}

/// `struct rtattr` with its value.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((4 + value.len()) as u16).to_le_bytes().to_vec();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The interface: `struct ifinfomsg` and what is known of it.
fn link() -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend(libc::ARPHRD_LOOPBACK.to_le_bytes());
    bytes.extend(INDEX.to_le_bytes());
    bytes.extend(FLAGS.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    let attributes: [(u16, &[u8]); 7] = [
        (libc::IFLA_IFNAME, NAME),
        (13, &1000_u32.to_le_bytes()),
        // In no particular state.
        (libc::IFLA_OPERSTATE, &[0]),
        (libc::IFLA_MTU, &MTU.to_le_bytes()),
        (libc::IFLA_QDISC, b"noqueue\0"),
        (libc::IFLA_ADDRESS, &[0; 6]),
        (libc::IFLA_BROADCAST, &[0; 6]),
    ];
    bytes.extend(attributes.into_iter().flat_map(|(kind, value)| attribute(kind, value)));
    bytes
}

/// Its addresses of a family, or of every one: `struct ifaddrmsg` and what is known of each.
fn addresses(family: u8) -> Vec<Vec<u8>> {
    /// `IFA_F_PERMANENT`, `RT_SCOPE_HOST`.
    const HOW: [u8; 2] = [0x80, 254];
    let wants = |one: i32| family == 0 || i32::from(family) == one;
    let of = |family: i32, bits: u8, attributes: &[(u16, &[u8])]| {
        let mut bytes = vec![family as u8, bits, HOW[0], HOW[1]];
        bytes.extend(INDEX.to_le_bytes());
        bytes.extend(attributes.iter().flat_map(|(kind, value)| attribute(*kind, value)));
        // `IFA_FLAGS`, and for how long it holds: for ever.
        bytes.extend(attribute(8, &u32::from(HOW[0]).to_le_bytes()));
        bytes.extend(attribute(6, &[[0xff; 8], [0; 8]].concat()));
        bytes
    };
    let (four, six) = (Ipv4Addr::LOCALHOST.octets(), Ipv6Addr::LOCALHOST.octets());
    let mut found = Vec::new();
    if wants(libc::AF_INET) {
        // `IFA_ADDRESS`, `IFA_LOCAL`, `IFA_LABEL`
        found.push(of(libc::AF_INET, 8, &[(1, &four), (2, &four), (3, NAME)]));
    }
    if wants(libc::AF_INET6) {
        found.push(of(libc::AF_INET6, 128, &[(1, &six)]));
    }
    found
}

/// The calls of `netdevice(7)` that ask, of any socket: one of `struct ifreq`, or `SIOCGIFCONF`; `None` when it is
/// another.
pub(in crate::personality) fn ioctl(space: &Space, request: u64, at: u64) -> Option<Result<u64, Errno>> {
    /// `SIOCGIFCONF`, `SIOCGIFNAME`, `SIOCGIFINDEX`.
    const LIST: u64 = 0x8912;
    const NAME_OF: u64 = 0x8910;
    const INDEX_OF: u64 = 0x8933;
    let own = (libc::AF_INET as u16).to_le_bytes();
    let inet = |ip: [u8; 4]| [&own[..], &[0, 0], &ip, &[0; 8]].concat();
    let told = match request {
        LIST => return Some(list(space, at, &inet(Ipv4Addr::LOCALHOST.octets()))),
        NAME_OF => {
            let name = || match space.read_u32(at.wrapping_add(16))? {
                INDEX => space.write(at, NAME).map(|()| 0),
                _ => Err(Errno::NODEV),
            };
            return Some(name());
        }
        INDEX_OF => INDEX.to_le_bytes().to_vec(),
        // `SIOCGIFFLAGS`, `SIOCGIFADDR`, `SIOCGIFBRDADDR`, `SIOCGIFNETMASK`
        0x8913 => (FLAGS as u16).to_le_bytes().to_vec(),
        0x8915 => inet(Ipv4Addr::LOCALHOST.octets()),
        0x8919 => inet([0; 4]),
        0x891b => inet([255, 0, 0, 0]),
        // `SIOCGIFMETRIC`, `SIOCGIFMTU`, `SIOCGIFHWADDR`, `SIOCGIFTXQLEN`
        0x891d => vec![0; 4],
        0x8921 => MTU.to_le_bytes().to_vec(),
        0x8927 => [&libc::ARPHRD_LOOPBACK.to_le_bytes()[..], &[0; 14]].concat(),
        0x8942 => 1000_u32.to_le_bytes().to_vec(),
        _ => return None,
    };
    let tell = || {
        let mut name = [0; 16];
        space.read(at, &mut name)?;
        if name.split(|&byte| byte == 0).next() != Some(b"lo") {
            return Err(Errno::NODEV);
        }
        space.write(at.wrapping_add(16), &told).map(|()| 0)
    };
    Some(tell())
}

/// `SIOCGIFCONF`: the interfaces with an address of IPv4, as far as there is room, or how much that takes.
fn list(space: &Space, at: u64, own: &[u8]) -> Result<u64, Errno> {
    /// `struct ifreq`.
    const EACH: u32 = 40;
    let (room, into) = (space.read_u32(at)?, space.read_u64(at.wrapping_add(8))?);
    let told = if into == 0 || room >= EACH { EACH } else { 0 };
    if into != 0 && told != 0 {
        let mut entry = [0; EACH as usize];
        entry[..NAME.len()].copy_from_slice(NAME);
        entry[16..16 + own.len()].copy_from_slice(own);
        space.write(into, &entry)?;
    }
    space.write_u32(at, told).map(|()| 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let length = (HEAD + body.len()) as u32;
        let flags = (flags | 1).to_le_bytes();
        [&length.to_le_bytes()[..], &kind.to_le_bytes(), &flags, &7_u32.to_le_bytes(), &[0; 4], body].concat()
    }

    fn answered(question: &[u8]) -> Vec<Vec<u8>> {
        Message::first_of(question).unwrap().answers(5)
    }

    #[test]
    fn what_is_cut_short_is_no_message() {
        let whole = question(18, DUMP, &[0; 16]);
        for length in 0..whole.len() {
            assert!(Message::first_of(&whole[..length]).is_none(), "{length}");
        }
        for length in [0_u32, 15, u32::MAX] {
            let wrong = [&length.to_le_bytes()[..], &whole[4..]].concat();
            assert!(Message::first_of(&wrong).is_none(), "{length}");
        }
    }

    #[test]
    fn attributes_that_lie_about_their_length_name_nothing() {
        for attributes in [&[0, 0, 3, 0][..], &[3, 0, 3, 0, b'l'], &[255, 255, 3, 0, b'l', b'o'], &[1]] {
            let body = [&[0; 16], attributes].concat();
            let found = answered(&question(18, 0, &body));
            assert_eq!(found[0][4..6], ERROR.to_le_bytes(), "{attributes:?}");
        }
    }

    #[test]
    fn nothing_is_changed() {
        for kind in (NEW_LINK..=LAST_KIND).filter(|kind| kind % 4 != ASKS) {
            let found = answered(&question(kind, ACKNOWLEDGE | DUMP, &[0; 16]));
            let refused = Errno::PERM.raw_os_error().wrapping_neg().to_le_bytes();
            assert_eq!((found.len(), &found[0][16..20]), (1, &refused[..]), "{kind}");
        }
    }
}
