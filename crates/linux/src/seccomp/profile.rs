//! What each system call gets.

use std::collections::BTreeMap;

use ringfence_manifest::SystemCalls;
use syscalls::Sysno;

use super::numbers::{FORBIDDEN, MAKES, METADATA, OPENS, SETS_MODE, SYSTEM_CALLS_WITH_TESTS};
use super::program::{Rule, Test};

/// What each system call gets.
pub(crate) struct Profile {
    pub(super) rules: BTreeMap<u32, Rule>,
    /// What calls without a rule get.
    pub(super) otherwise: Rule,
}

/// What of mode, owner, times and extended attributes of files may be changed. Landlock does not judge
/// these calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metadata {
    /// All: no file of the host's can be reached that is writable.
    Free,
    /// All but the set-user-id and set-group-id bits: outside, where a file of the host's may be started by
    /// somebody else, they have an effect.
    WithoutSetId,
    /// Nothing, and no file is made with these bits: a file of the host's can be reached that may not be
    /// changed, in a writable mount or as a standard stream.
    Denied,
}

/// What calls get that lead to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// The supervisor is asked, and does what is granted.
    Asked,
    /// They fail: nobody can be asked.
    Denied,
    /// They fail, and no socket is made but a pair.
    None,
}

/// What the end of a process gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It goes on.
    Free,
    /// The supervisor looks at the process once more.
    Asked,
}

const PERMISSION: Rule = Rule::Fail(libc::EPERM as u16);
const UNKNOWN: Rule = Rule::Fail(libc::ENOSYS as u16);

/// Every namespace flag of `clone(2)` (`CLONE_NEWTIME` shares its bit with the exit signal).
const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

/// The profile `default`: what ordinary programs use is let through, what no confined program may do
/// fails with EPERM, and what is not known here fails with ENOSYS, as on an older kernel.
pub(crate) fn default_profile(metadata: Metadata, network: Network, end: End) -> Profile {
    let mut rules = BTreeMap::new();
    let mut give = |numbers: &[libc::c_long], rule: &Rule| {
        for &number in numbers {
            let number = u32::try_from(number).expect("numbers of system calls are small");
            let before = rules.insert(number, rule.clone());
            assert!(before.is_none(), "system call {number} has two rules");
        }
    };
    give(FORBIDDEN, &PERMISSION);
    give(METADATA, if metadata == Metadata::Denied { &PERMISSION } else { &Rule::Allow });
    for &(call, mode) in SETS_MODE {
        let rule = match metadata {
            Metadata::Free => Rule::Allow,
            Metadata::WithoutSetId => without_set_id(mode),
            Metadata::Denied => PERMISSION,
        };
        give(&[call], &rule);
    }
    let is_free = metadata == Metadata::Free;
    for &(call, mode) in MAKES {
        give(&[call], &if is_free { Rule::Allow } else { without_set_id(mode) });
    }
    for &(call, flags) in OPENS {
        give(&[call], &if is_free { Rule::Allow } else { opening_without_set_id(flags) });
    }
    // Its mode lies in memory. With ENOSYS libraries fall back to openat.
    give(&[SYSTEM_CALLS_WITH_TESTS.openat2], if is_free { &Rule::Allow } else { &UNKNOWN });
    let calls = SYSTEM_CALLS_WITH_TESTS;
    give(&[calls.clone], &clone());
    // Its flags lie in memory, where they can change after they were looked at. With ENOSYS libraries
    // fall back to clone.
    give(&[calls.clone3], &UNKNOWN);
    give(&[calls.ioctl], &ioctl());
    give(&[calls.fcntl], &fcntl());
    give(&[calls.close_range], &close_range());
    give(&[calls.prlimit64], &prlimit());
    give(&[calls.socketpair], &socket());
    give(&[calls.socket], &if network == Network::None { Rule::Fail(libc::EACCES as u16) } else { socket() });
    let network = match network {
        Network::Asked => Rule::Ask,
        Network::Denied | Network::None => Rule::Fail(libc::EACCES as u16),
    };
    give(&Network::CALLS, &network);
    give(&[calls.sendto, calls.sendmmsg], &not_connecting(3));
    give(&[calls.sendmsg], &not_connecting(2));
    give(&[calls.personality], &personality());
    give(&[calls.setsockopt], &setsockopt());
    give(&[calls.getsockopt], &getsockopt());
    let out_of_memory = Rule::Fail(libc::ENOMEM as u16);
    give(&[calls.mmap], &Rule::Test(vec![huge(3, libc::MAP_HUGETLB, out_of_memory.clone())], Box::new(Rule::Allow)));
    give(&[calls.shmget], &Rule::Test(vec![huge(2, libc::SHM_HUGETLB, out_of_memory)], Box::new(Rule::Allow)));
    let unknown = Rule::Fail(libc::EINVAL as u16);
    give(&[calls.memfd_create], &Rule::Test(vec![huge(1, MFD_HUGETLB, unknown)], Box::new(Rule::Allow)));
    // What a renamed file leaves behind then is a device (`rename(2)`), which Landlock does not judge.
    let whiteout = Test {
        argument: 4,
        mask: libc::RENAME_WHITEOUT,
        equals: libc::RENAME_WHITEOUT,
        then: Rule::Fail(libc::EINVAL as u16),
    };
    give(&[calls.renameat2], &Rule::Test(vec![whiteout], Box::new(Rule::Allow)));
    give(&[calls.exit_group], if end == End::Free { &Rule::Allow } else { &Rule::Ask });
    for call in SystemCalls::of_default().filter_map(number_of) {
        rules.entry(call).or_insert(Rule::Allow);
    }
    Profile { rules, otherwise: UNKNOWN }
}

/// The number of a call on this architecture, if it has it.
fn number_of(name: &str) -> Option<u32> {
    name.parse::<Sysno>().ok().map(|call| call.id() as u32)
}

impl Network {
    /// The calls that lead there.
    pub(crate) const CALLS: [libc::c_long; 3] = [libc::SYS_connect, libc::SYS_bind, libc::SYS_listen];
}

impl Profile {
    /// The same, and what these let through beyond the profile `default`.
    pub(crate) fn with(mut self, calls: &SystemCalls) -> Self {
        self.rules.extend(calls.additions().filter_map(number_of).map(|number| (number, Rule::Allow)));
        self
    }

    /// What stands beside it for the program itself where these let through less: what does not fail already.
    pub(crate) fn without_others(&self, calls: &SystemCalls) -> Option<Profile> {
        if !calls.is_narrow() {
            return None;
        }
        let barred = self.rules.iter().filter(|(_, rule)| !matches!(rule, Rule::Fail(_))).filter_map(|(&number, _)| {
            let name = Sysno::new(number as usize).map_or("", |call| call.name());
            let rule = if SystemCalls::has_another_way(name) { UNKNOWN } else { PERMISSION };
            (!calls.lets_through(name)).then_some((number, rule))
        });
        Some(Profile { rules: barred.collect(), otherwise: Rule::Allow })
    }

    /// The same, but the supervisor is asked whenever content of a file is to be had without reading it: when it is
    /// mapped, and when one file is made of another's blocks.
    pub(crate) fn asking_about_mappings(mut self) -> Self {
        let in_memory = libc::MAP_ANONYMOUS as u32;
        let plain = Test { argument: 3, mask: in_memory, equals: in_memory, then: Rule::Allow };
        let number = |call: libc::c_long| u32::try_from(call).expect("numbers of system calls are small");
        if let Some(Rule::Test(tests, otherwise)) = self.rules.get_mut(&number(libc::SYS_mmap)) {
            tests.push(plain);
            **otherwise = Rule::Ask;
        }
        if let Some(Rule::Test(tests, _)) = self.rules.get_mut(&number(libc::SYS_ioctl)) {
            tests.iter_mut().for_each(|test| test.then.ask_instead());
        }
        self
    }

    /// The same, but the supervisor is asked about these calls where they are let through.
    pub(crate) fn asking(mut self, numbers: impl Iterator<Item = libc::c_long>) -> Self {
        for number in numbers {
            if let Some(rule) = u32::try_from(number).ok().and_then(|number| self.rules.get_mut(&number)) {
                rule.ask_instead();
            }
        }
        self
    }
}

impl Rule {
    /// Asks wherever it lets a call through.
    fn ask_instead(&mut self) {
        match self {
            Rule::Allow => *self = Rule::Ask,
            Rule::Fail(_) | Rule::Ask => {}
            Rule::Test(tests, otherwise) => {
                tests.iter_mut().for_each(|test| test.then.ask_instead());
                otherwise.ask_instead();
            }
        }
    }
}

/// Lets every call through: for tests that take this wall away.
#[cfg(test)]
pub(crate) fn permissive() -> super::Filter {
    super::compile(&Profile { rules: BTreeMap::from([(0, Rule::Allow)]), otherwise: Rule::Allow })
}

/// No namespaces, and no thread with descriptors of its own, which would escape the sum of a process.
fn clone() -> Rule {
    let mask = (libc::CLONE_THREAD | libc::CLONE_FILES) as u32;
    let apart = Test { argument: 0, mask, equals: libc::CLONE_THREAD as u32, then: PERMISSION };
    let plain = Test { argument: 0, mask: NAMESPACES, equals: 0, then: Rule::Allow };
    Rule::Test(vec![apart, plain], Box::new(PERMISSION))
}

/// The same by the way of closing: `CLOSE_RANGE_UNSHARE`.
fn close_range() -> Rule {
    const UNSHARE: u32 = 1 << 1;
    let plain = Test { argument: 2, mask: UNSHARE, equals: 0, then: Rule::Allow };
    Rule::Test(vec![plain], Box::new(PERMISSION))
}

/// Not the limits of pid 1, which watches with few descriptors and must keep them.
fn prlimit() -> Rule {
    let first = Test { argument: 0, mask: u32::MAX, equals: 1, then: PERMISSION };
    Rule::Test(vec![first], Box::new(Rule::Allow))
}

/// A mode in this argument without the set-user-id and set-group-id bits.
fn without_set_id(mode: u32) -> Rule {
    let plain = Test { argument: mode, mask: libc::S_ISUID | libc::S_ISGID, equals: 0, then: Rule::Allow };
    Rule::Test(vec![plain], Box::new(PERMISSION))
}

/// The mode of an `open` says something only when a file is made.
fn opening_without_set_id(flags: u32) -> Rule {
    /// `O_TMPFILE` without `O_DIRECTORY`, which is part of it.
    const UNNAMED: u32 = libc::O_TMPFILE as u32 & !(libc::O_DIRECTORY as u32);
    let made = |flag: u32| Test { argument: flags, mask: flag, equals: flag, then: without_set_id(flags + 1) };
    Rule::Test(vec![made(libc::O_CREAT as u32), made(UNNAMED)], Box::new(Rule::Allow))
}

/// No lease on a file, which makes the host's writers wait, and no signals about what others do in a
/// folder.
fn fcntl() -> Rule {
    let deny = |command: i32| Test { argument: 1, mask: u32::MAX, equals: command as u32, then: PERMISSION };
    Rule::Test(vec![deny(libc::F_SETLEASE), deny(libc::F_NOTIFY)], Box::new(Rule::Allow))
}

/// Requests of file systems (`ioctl_fs(2)`) that only look, or copy within what is open for writing.
const FILE_SYSTEM_REQUESTS: [u32; 8] = [
    0x8008_6601, // FS_IOC_GETFLAGS
    0x8004_6601, // FS_IOC32_GETFLAGS
    0x8008_7601, // FS_IOC_GETVERSION
    0xc020_660b, // FS_IOC_FIEMAP
    0x801c_581f, // FS_IOC_FSGETXATTR
    0x4004_9409, // FICLONE
    0x4020_940d, // FICLONERANGE
    0xc018_9436, // FIDEDUPERANGE
];
/// Requests that ask about interfaces of the place's own network (`netdevice(7)`): SIOCGIFNAME, -CONF, -MTU, -HWADDR and
/// -INDEX; and SIOCATMARK of `sockatmark(3)`.
const INTERFACES: [u32; 6] = [0x8910, 0x8912, 0x8921, 0x8927, 0x8933, 0x8905];
/// From SIOCGIFFLAGS to SIOCGIFMEM what asks is odd, and what sets is even.
const ASKS: (u32, u32) = (0xffff_fff1, 0x8911);
/// The letters of those that change a file or a file system past its permissions.
const FILE_SYSTEMS: [u8; 4] = [b'f', b'v', b'X', 0x94];

/// `TIOCSTI` puts bytes into a terminal's input as if typed; `TIOCLINUX` pastes; `TIOCSETD` loads
/// line disciplines; `TIOCEXCL` locks others out; `TIOCCONS` takes the console's output.
fn ioctl() -> Rule {
    let is = |equals, then| Test { argument: 1, mask: u32::MAX, equals, then };
    let letter = |letter: u8, then| Test { argument: 1, mask: 0xff00, equals: u32::from(letter) << 8, then };
    let terminals = [libc::TIOCSTI, libc::TIOCLINUX, libc::TIOCSETD, libc::TIOCEXCL, libc::TIOCCONS];
    let mut tests: Vec<Test> = terminals.into_iter().map(|request| is(request as u32, PERMISSION)).collect();
    tests.extend(INTERFACES.map(|request| is(request, Rule::Allow)));
    tests.push(Test { argument: 1, mask: ASKS.0, equals: ASKS.1, then: Rule::Allow });
    // All other `SIOC*`, of which some change what the kernel does elsewhere.
    tests.push(Test { argument: 1, mask: 0xffff_ff00, equals: 0x8900, then: PERMISSION });
    tests.extend(FILE_SYSTEM_REQUESTS.map(|request| is(request, Rule::Allow)));
    tests.extend(FILE_SYSTEMS.map(|system| letter(system, Rule::Fail(libc::ENOTTY as u16))));
    Rule::Test(tests, Box::new(Rule::Allow))
}

/// Sending without `MSG_FASTOPEN`, which is a way to connect.
fn not_connecting(flags: u32) -> Rule {
    let plain = Test { argument: flags, mask: libc::MSG_FASTOPEN as u32, equals: 0, then: Rule::Allow };
    Rule::Test(vec![plain], Box::new(Rule::Fail(libc::EOPNOTSUPP as u16)))
}

/// Unix sockets that are connected when they send (a datagram could go to any socket of the host that
/// lies in a mounted folder), TCP and UDP over IP by their own protocol number or 0, and what asks the kernel about the place's
/// own interfaces (`NETLINK_ROUTE`): no other netlink, no raw, packet or vsock sockets, no SCTP, no MPTCP.
fn socket() -> Rule {
    const TYPE: u32 = 0xff; // without SOCK_NONBLOCK and SOCK_CLOEXEC
    let refuse = Rule::Fail(libc::EACCES as u16);
    let protocol = |number: i32| Test { argument: 2, mask: u32::MAX, equals: number as u32, then: Rule::Allow };
    let ip = || {
        let of = |kind: i32, number: i32| Test {
            argument: 1,
            mask: TYPE,
            equals: kind as u32,
            then: Rule::Test(vec![protocol(0), protocol(number)], Box::new(Rule::Fail(libc::EACCES as u16))),
        };
        let kinds = vec![of(libc::SOCK_STREAM, libc::IPPROTO_TCP), of(libc::SOCK_DGRAM, libc::IPPROTO_UDP)];
        Rule::Test(kinds, Box::new(Rule::Fail(libc::EACCES as u16)))
    };
    let family = |number: i32, then| Test { argument: 0, mask: u32::MAX, equals: number as u32, then };
    let unix = [libc::SOCK_STREAM, libc::SOCK_SEQPACKET].map(|kind| Test {
        argument: 1,
        mask: TYPE,
        equals: kind as u32,
        then: Rule::Allow,
    });
    let unix = Rule::Test(unix.to_vec(), Box::new(Rule::Fail(libc::EACCES as u16)));
    let requests = Test { argument: 2, mask: u32::MAX, equals: libc::NETLINK_ROUTE as u32, then: Rule::Allow };
    let requests = Rule::Test(vec![requests], Box::new(refuse.clone()));
    let families = vec![
        family(libc::AF_UNIX, unix),
        family(libc::AF_INET, ip()),
        family(libc::AF_INET6, ip()),
        family(libc::AF_NETLINK, requests),
    ];
    Rule::Test(families, Box::new(refuse))
}

/// `MFD_HUGETLB` of `memfd_create(2)`.
const MFD_HUGETLB: i32 = libc::MFD_HUGETLB as i32;

/// Memory of huge pages, with this flag in this argument: it is no part of what the memory controllers of cgroups count
/// (`hugetlb` in the kernel's documentation of them).
fn huge(argument: u32, flag: i32, then: Rule) -> Test {
    Test { argument, mask: flag as u32, equals: flag as u32, then }
}

/// Nothing that has the network send what goes over a connection by way of another host: `ip(7)`, IP_OPTIONS;
/// RFC 3542, sections 6 to 9, and the options of RFC 2292 for the same.
fn setsockopt() -> Rule {
    const WAYS: [i32; 6] = [5, 6, libc::IPV6_HOPOPTS, libc::IPV6_RTHDRDSTOPTS, libc::IPV6_RTHDR, libc::IPV6_DSTOPTS];
    let option = |name: &i32| Test { argument: 2, mask: u32::MAX, equals: *name as u32, then: PERMISSION };
    let of = |level: i32, names: &[i32]| Test {
        argument: 1,
        mask: u32::MAX,
        equals: level as u32,
        then: Rule::Test(names.iter().map(option).collect(), Box::new(Rule::Allow)),
    };
    let levels = vec![of(libc::IPPROTO_IPV6, &WAYS), of(libc::IPPROTO_IP, &[libc::IP_OPTIONS])];
    Rule::Test(levels, Box::new(Rule::Allow))
}

/// No descriptor of who is at the other end, which may be the supervisor: as on a kernel before 6.5.
fn getsockopt() -> Rule {
    const SO_PEERPIDFD: u32 = 77;
    let unknown = Rule::Fail(libc::ENOPROTOOPT as u16);
    let option = Test { argument: 2, mask: u32::MAX, equals: SO_PEERPIDFD, then: unknown };
    let of = Rule::Test(vec![option], Box::new(Rule::Allow));
    let level = Test { argument: 1, mask: u32::MAX, equals: libc::SOL_SOCKET as u32, then: of };
    Rule::Test(vec![level], Box::new(Rule::Allow))
}

/// Asking for the personality, and those of `personality(2)` that change nothing but what the program's own memory looks
/// like: debuggers, sanitizers and Lisps start anew with the addresses they want. None lasts longer than the program, and
/// none is of another system.
fn personality() -> Rule {
    const OWN: u32 = (libc::ADDR_NO_RANDOMIZE | libc::READ_IMPLIES_EXEC | libc::ADDR_COMPAT_LAYOUT) as u32;
    let allow = |mask, equals| Test { argument: 0, mask, equals, then: Rule::Allow };
    Rule::Test(vec![allow(!OWN, 0), allow(u32::MAX, u32::MAX)], Box::new(PERMISSION))
}
