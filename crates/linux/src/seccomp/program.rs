//! From rules to classic BPF (`seccomp(2)`, `linux/filter.h`).

use std::collections::BTreeMap;

use crate::sys::Instruction;

/// What a system call gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// It goes on.
    Allow,
    /// It fails with this error.
    Fail(u16),
    /// It waits for the supervisor's answer.
    Ask,
    /// What the first matching test says, else `otherwise`.
    Test(Vec<Test>, Box<Rule>),
}

/// A test of the low 32 bits of one argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Test {
    /// Which argument, from 0.
    pub(super) argument: u32,
    /// The bits that count.
    pub(super) mask: u32,
    /// What they must be.
    pub(super) equals: u32,
    /// What the call gets then.
    pub(super) then: Rule,
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
/// Calls with this bit are of the x32 ABI, which has numbers of its own.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const IF_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCHITECTURE: u32 = 4;
const OFFSET_ARGUMENTS: u32 = 16;

/// The filter for `rules`; calls that have none get `otherwise`, foreign ones end the process.
pub(crate) fn compile(profile: &super::profile::Profile) -> Vec<Instruction> {
    let mut program = vec![
        plain(LOAD, OFFSET_ARCHITECTURE),
        branch(IF_EQUAL, ARCHITECTURE, 1, 0),
        plain(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
        plain(LOAD, OFFSET_NUMBER),
    ];
    #[cfg(target_arch = "x86_64")]
    program.extend([
        branch(IF_AT_LEAST, X32, 0, 3),
        // Who asks for no call at all, as tracers do, is told that there is none.
        branch(IF_EQUAL, u32::MAX, 1, 0),
        plain(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
        plain(RETURN, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
    ]);
    program.extend(Backwards::default().search(&ranges(&profile.rules, &profile.otherwise)));
    program
}

/// The first number of each run of system calls that get the same, in order, from 0 on.
fn ranges<'a>(rules: &'a BTreeMap<u32, Rule>, otherwise: &'a Rule) -> Vec<(u32, &'a Rule)> {
    let mut ranges: Vec<(u32, &Rule)> = Vec::new();
    let mut push = |from: u32, rule: &'a Rule| match ranges.last() {
        Some((_, last)) if *last == rule => {}
        _ => ranges.push((from, rule)),
    };
    let mut next = 0;
    for (&number, rule) in rules {
        if number > next {
            push(next, otherwise);
        }
        push(number, rule);
        next = number + 1;
    }
    push(next, otherwise);
    ranges
}

/// A program written from its end: every jump of classic BPF leads forward, so where it leads to is
/// there already, and what several rules share is written once.
#[derive(Default)]
struct Backwards {
    /// The last instruction first.
    written: Vec<Instruction>,
    /// Where each rule begins.
    leaves: Vec<(Rule, Place)>,
}

/// An instruction, counted from the end.
type Place = usize;

impl Backwards {
    fn search(mut self, ranges: &[(u32, &Rule)]) -> Vec<Instruction> {
        let start = self.halves(ranges);
        if start + 1 < self.written.len() {
            self.jump(start);
        }
        self.written.reverse();
        self.written
    }

    /// Writes the search among `ranges`; where it begins.
    fn halves(&mut self, ranges: &[(u32, &Rule)]) -> Place {
        if let [(_, rule)] = ranges {
            return self.leaf(rule);
        }
        let (below, from) = ranges.split_at(ranges.len() / 2);
        let right = self.halves(from);
        let left = self.halves(below);
        self.branch(IF_AT_LEAST, from[0].0, right, left)
    }

    /// Writes what a rule says, unless that is there; where it begins.
    fn leaf(&mut self, rule: &Rule) -> Place {
        if let Some((_, place)) = self.leaves.iter().find(|(known, _)| known == rule) {
            return *place;
        }
        let place = match rule {
            Rule::Allow => self.push(plain(RETURN, libc::SECCOMP_RET_ALLOW)),
            Rule::Fail(errno) => self.push(plain(RETURN, libc::SECCOMP_RET_ERRNO | u32::from(*errno))),
            Rule::Ask => self.push(plain(RETURN, libc::SECCOMP_RET_USER_NOTIF)),
            Rule::Test(tests, otherwise) => {
                let mut next = self.leaf(otherwise);
                for test in tests.iter().rev() {
                    let then = self.leaf(&test.then);
                    self.branch(IF_EQUAL, test.equals, then, next);
                    if test.mask != u32::MAX {
                        self.push(plain(AND, test.mask));
                    }
                    // The low half of an argument is first in memory on the little-endian processors supported.
                    next = self.push(plain(LOAD, OFFSET_ARGUMENTS + 8 * test.argument));
                }
                next
            }
        };
        self.leaves.push((rule.clone(), place));
        place
    }

    /// Writes a conditional jump. It reaches 255 instructions; an unconditional one reaches any.
    fn branch(&mut self, code: u16, value: u32, then: Place, otherwise: Place) -> Place {
        let near = |written: &Vec<Instruction>, to: Place| written.len() - 1 - to < usize::from(u8::MAX);
        let then = if near(&self.written, then) { then } else { self.jump(then) };
        let otherwise = if near(&self.written, otherwise) { otherwise } else { self.jump(otherwise) };
        let over = |to: Place| (self.written.len() - 1 - to) as u8;
        self.push(Instruction { code, jump_true: over(then), jump_false: over(otherwise), value })
    }

    fn jump(&mut self, to: Place) -> Place {
        let over = self.written.len() - 1 - to;
        self.push(plain(JUMP, over as u32))
    }

    fn push(&mut self, instruction: Instruction) -> Place {
        self.written.push(instruction);
        self.written.len() - 1
    }
}

fn plain(code: u16, value: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, value }
}

fn branch(code: u16, value: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, value }
}

#[cfg(test)]
mod tests {
    use ringfence_manifest::SystemCalls;
    use syscalls::Sysno;

    use super::super::profile::{End, Metadata, Network, Profile, default_profile};
    use super::*;

    /// Runs a filter as the kernel does.
    fn run(program: &[Instruction], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let (mut at, mut value) = (0, 0_u32);
        loop {
            let instruction = program[at];
            at += 1;
            match instruction.code {
                LOAD if instruction.value == OFFSET_NUMBER => value = number,
                LOAD if instruction.value == OFFSET_ARCHITECTURE => value = architecture,
                LOAD => value = arguments[((instruction.value - OFFSET_ARGUMENTS) / 8) as usize] as u32,
                AND => value &= instruction.value,
                JUMP => at += instruction.value as usize,
                IF_EQUAL if value == instruction.value => at += usize::from(instruction.jump_true),
                IF_AT_LEAST if value >= instruction.value => at += usize::from(instruction.jump_true),
                IF_EQUAL | IF_AT_LEAST => at += usize::from(instruction.jump_false),
                RETURN => return instruction.value,
                code => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    fn naive(profile: &Profile, number: u32, arguments: [u64; 6]) -> u32 {
        fn answer(rule: &Rule, arguments: [u64; 6]) -> u32 {
            match rule {
                Rule::Allow => libc::SECCOMP_RET_ALLOW,
                Rule::Fail(errno) => libc::SECCOMP_RET_ERRNO | u32::from(*errno),
                Rule::Ask => libc::SECCOMP_RET_USER_NOTIF,
                Rule::Test(tests, otherwise) => {
                    let hit = |test: &&Test| arguments[test.argument as usize] as u32 & test.mask == test.equals;
                    answer(tests.iter().find(hit).map_or(otherwise, |test| &test.then), arguments)
                }
            }
        }
        answer(profile.rules.get(&number).unwrap_or(&profile.otherwise), arguments)
    }

    #[test]
    fn the_search_finds_what_the_rules_say_for_every_call_and_many_arguments() {
        let asked = (Metadata::Free, Network::Asked, End::Asked);
        let others =
            [(Metadata::WithoutSetId, Network::Asked, End::Free), (Metadata::Denied, Network::Denied, End::Free)];
        for (metadata, network, end) in [asked].into_iter().chain(others) {
            let profile = default_profile(metadata, network, end);
            let program = compile(&profile);
            for number in 0..1000 {
                for low in [0, 1, 2, 3, 5, 8, 10, 16, 17, 40, 0x5412, 0x541c, 0x1000_0000, 0x2_0000, 0xffff_ffff] {
                    for second in
                        [0, 1, 2, 3, 5, 0x5412, 0x541c, 0x80801, 262, 1024, 0x4008_6602, 0o4755, 0xffff_ffff_0000_5412]
                    {
                        for third in [0, 0o644, 0o2755, libc::O_CREAT as u64, libc::O_TMPFILE as u64] {
                            for fourth in [0, 0o644, 0o4755] {
                                let arguments = [low, second, third, fourth, 0, 0];
                                let found = run(&program, ARCHITECTURE, number, arguments);
                                assert_eq!(found, naive(&profile, number, arguments), "{number} {arguments:x?}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_monitor_keeps_what_runs_a_machine_and_nothing_else() {
        let program = compile(&super::super::monitor_profile(7));
        let allows = |call: libc::c_long, arguments: [u64; 6]| {
            run(&program, ARCHITECTURE, u32::try_from(call).unwrap(), arguments) == libc::SECCOMP_RET_ALLOW
        };
        let first = |first: u64| [first, 0, 0, 0, 0, 0];
        let second = |second: u64| [5, second, 0, 0, 0, 0];
        let third = |third: u64| [5, 0, third, 0, 0, 0];
        let thread =
            (libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD) as u64;
        for (call, arguments) in [
            (libc::SYS_read, [0; 6]),
            (libc::SYS_futex, [0; 6]),
            (libc::SYS_ioctl, second(0xae80)),      // KVM_RUN
            (libc::SYS_ioctl, second(0x4020_ae46)), // KVM_SET_USER_MEMORY_REGION
            (libc::SYS_openat, third((libc::O_RDONLY | libc::O_CLOEXEC | libc::O_PATH | libc::O_DIRECTORY) as u64)),
            (libc::SYS_mmap, third((libc::PROT_READ | libc::PROT_WRITE) as u64)),
            (libc::SYS_tgkill, first(7)),
            (libc::SYS_sendto, [5, 0, 0, (libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) as u64, 0, 0]),
            (libc::SYS_clone, first(thread)),
        ] {
            assert!(allows(call, arguments), "{call} {arguments:x?}");
        }
        for (call, arguments) in [
            (libc::SYS_execve, [0; 6]),
            (libc::SYS_execveat, [0; 6]),
            (libc::SYS_socket, [0; 6]),
            (libc::SYS_socketpair, [0; 6]),
            (libc::SYS_connect, [0; 6]),
            (libc::SYS_bind, [0; 6]),
            (libc::SYS_sendmsg, [0; 6]),
            (libc::SYS_sendto, [5, 0, 0, 0, 0x7fff_0000, 16]),
            (libc::SYS_sendto, [5, 0, 0, 0, 0x1_0000_0000, 16]),
            (libc::SYS_sendto, [5, 0, 0, libc::MSG_FASTOPEN as u64, 0x1_0000_0000, 0]),
            (libc::SYS_ptrace, [0; 6]),
            (libc::SYS_process_vm_readv, [0; 6]),
            (libc::SYS_kill, [0; 6]),
            (libc::SYS_unlinkat, [0; 6]),
            (libc::SYS_mkdirat, [0; 6]),
            (libc::SYS_prlimit64, [0; 6]),
            (libc::SYS_seccomp, [0; 6]),
            (libc::SYS_clone, first(0)),
            (libc::SYS_clone, first(libc::SIGCHLD as u64)),
            (libc::SYS_clone, first(libc::CLONE_THREAD as u64)),
            (libc::SYS_clone3, [0; 6]),
            (libc::SYS_tgkill, first(1)),
            (libc::SYS_openat, third(libc::O_RDWR as u64)),
            (libc::SYS_openat, third(libc::O_CREAT as u64)),
            (libc::SYS_openat, third(libc::O_TMPFILE as u64)),
            (libc::SYS_mmap, third((libc::PROT_READ | libc::PROT_EXEC) as u64)),
            (libc::SYS_mprotect, third(libc::PROT_EXEC as u64)),
            (libc::SYS_prctl, first(libc::PR_SET_DUMPABLE as u64)),
            (libc::SYS_fcntl, second(libc::F_SETLEASE as u64)),
            (libc::SYS_ioctl, second(0x5412)),      // TIOCSTI
            (libc::SYS_ioctl, second(0x8914)),      // SIOCSIFFLAGS
            (libc::SYS_ioctl, second(0xc00c_aee0)), // KVM_CREATE_DEVICE
            (libc::SYS_ioctl, second(0xae60)),      // KVM_CREATE_IRQCHIP
            (libc::SYS_ioctl, second(0x4068_aea3)), // KVM_ENABLE_CAP, with the number of KVM_GET_TSC_KHZ
            (libc::SYS_ioctl, second(0x4020_aea5)), // KVM_SIGNAL_MSI, with that of KVM_SET_XSAVE
            (libc::SYS_ioctl, second(0x4040_ae79)), // KVM_IOEVENTFD
            (libc::SYS_ioctl, second(0x4010_ae67)), // KVM_REGISTER_COALESCED_MMIO
            (libc::SYS_ioctl, second(0x4008_ae6a)), // KVM_SET_GSI_ROUTING
            (libc::SYS_ioctl, second(0x4018_aebd)), // KVM_HYPERV_EVENTFD
            (libc::SYS_ioctl, second(0x4048_aec9)), // KVM_XEN_HVM_SET_ATTR
            (libc::SYS_ioctl, second(0xaece)),      // KVM_GET_STATS_FD
        ] {
            assert!(!allows(call, arguments), "{call} {arguments:x?}");
        }
    }

    #[test]
    fn a_foreign_architecture_or_abi_ends_the_process() {
        let program = compile(&default_profile(Metadata::Free, Network::Asked, End::Free));
        assert_eq!(run(&program, 0x4000_0003, 1, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
        #[cfg(target_arch = "x86_64")]
        assert_eq!(run(&program, ARCHITECTURE, X32 | 1, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
        let unknown = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
        assert_eq!(run(&program, ARCHITECTURE, u32::MAX, [0; 6]), unknown);
    }

    #[test]
    fn the_default_filter_is_short() {
        for metadata in [Metadata::Free, Metadata::WithoutSetId] {
            let profile = default_profile(metadata, Network::Asked, End::Free);
            let (ranges, length) = (ranges(&profile.rules, &profile.otherwise).len(), compile(&profile).len());
            assert!(length < 320, "{length} instructions for {ranges} ranges");
        }
    }

    #[test]
    fn a_jump_over_more_than_255_instructions_arrives() {
        let rules = (0..800).map(|number| (number, Rule::Fail(number as u16 + 1))).collect();
        let profile = Profile { rules, otherwise: Rule::Allow };
        let program = compile(&profile);
        for number in 0..801 {
            assert_eq!(run(&program, ARCHITECTURE, number, [0; 6]), naive(&profile, number, [0; 6]));
        }
    }

    #[test]
    fn every_call_is_sorted_in_the_manifest_as_it_is_here() {
        let profile = default_profile(Metadata::Free, Network::Asked, End::Free);
        let calls = SystemCalls::default();
        for (&number, rule) in &profile.rules {
            let name = Sysno::new(number as usize).map(|call| call.name());
            let name = name.unwrap_or_else(|| panic!("call {number} has no name"));
            // These answer that they are not there, and libraries take others.
            if !SystemCalls::has_another_way(name) {
                assert_eq!(calls.lets_through(name), !matches!(rule, Rule::Fail(_)), "{name}");
            }
        }
        let here: Vec<_> = Sysno::iter().filter(|call| calls.lets_through(call.name())).collect();
        let missing = here.iter().find(|call| !profile.rules.contains_key(&(call.id() as u32)));
        assert!(here.len() > 200 && missing.is_none(), "{missing:?}");
    }

    #[test]
    fn what_stands_beside_a_filter_takes_away_what_is_not_let_through_and_nothing_else() {
        let base = default_profile(Metadata::Free, Network::Asked, End::Free);
        assert!(base.without_others(&SystemCalls::default()).is_none());
        assert!(base.without_others(&SystemCalls::of(["permissive".into()])).is_none());
        let few = compile(&base.without_others(&SystemCalls::of(["execve".into()])).unwrap());
        let openat2 = run(&few, ARCHITECTURE, Sysno::openat2.id() as u32, [0; 6]);
        assert_eq!(openat2, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
        let strict = SystemCalls::of(["strict".into()]);
        let program = compile(&base.without_others(&strict).unwrap());
        for call in Sysno::iter() {
            let answer = run(&program, ARCHITECTURE, call.id() as u32, [0; 6]);
            let is_there = base.rules.get(&(call.id() as u32)).is_some_and(|rule| !matches!(rule, Rule::Fail(_)));
            let is_barred = is_there && !strict.lets_through(call.name());
            assert_eq!(answer != libc::SECCOMP_RET_ALLOW, is_barred, "{call}");
        }
    }
}
