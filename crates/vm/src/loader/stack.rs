//! The first stack of a program: arguments, environment, auxiliary vector; `getauxval(3)`.

use rustix::io::Errno;

use super::Command;
use super::elf::Placed;
use crate::kvm::{PAGE, USER_END};
use crate::memory::{Backing, Marks, Placement, Protection, Space};

/// The end of the stack.
const STACK_END: u64 = USER_END - (32 << 20);
/// What lies above it: the page of time.
pub(super) const ABOVE: u64 = STACK_END + (1 << 16);
/// How much it can grow: `RLIMIT_STACK`.
pub(crate) const STACK: u64 = 8 << 20;
/// How much arguments and environment may take.
const MOST_ARGUMENTS: usize = 2 << 20;
/// What is made of it before the program runs.
const POPULATED: u64 = 64 << 10;

/// Maps the stack and fills it; where it begins.
pub(super) fn build(
    space: &Space,
    command: &Command,
    program: &Placed,
    interpreter: u64,
    vdso: Option<u64>,
) -> Result<u64, Errno> {
    let mut protection = Protection::READ | Protection::WRITE;
    protection.set(Protection::EXECUTE, program.runs_on_stack);
    let at = Placement::Fixed(STACK_END - STACK);
    space.map_marked(at, STACK, protection, Backing::Anonymous, Marks::GROWS_DOWN)?;
    space.populate(STACK_END - POPULATED, POPULATED);
    // Strings from the top downwards, then what points to them.
    let mut texts = Texts { bytes: Vec::new() };
    let path = texts.push(&command.path);
    let arguments: Vec<usize> = command.arguments.iter().map(|text| texts.push(text)).collect();
    let environment: Vec<usize> = command.environment.iter().map(|text| texts.push(text)).collect();
    let platform = texts.push(b"x86_64");
    if texts.bytes.len() > MOST_ARGUMENTS {
        return Err(Errno::TOOBIG);
    }
    let random = texts.bytes.len();
    texts.bytes.extend_from_slice(&command.random);
    let base = (STACK_END - 16 - texts.bytes.len() as u64) & !15;
    let at = |offset: usize| base + offset as u64;
    let user = u64::from(command.user);
    let auxiliary = [
        (3, program.headers.0), // AT_PHDR
        (4, 56),                // AT_PHENT
        (5, program.headers.1), // AT_PHNUM
        (6, PAGE),              // AT_PAGESZ
        (7, interpreter),       // AT_BASE
        (8, 0),                 // AT_FLAGS
        (9, program.own_entry), // AT_ENTRY
        (11, user),             // AT_UID
        (12, user),             // AT_EUID
        (13, user),             // AT_GID
        (14, user),             // AT_EGID
        (15, at(platform)),     // AT_PLATFORM
        (17, 100),              // AT_CLKTCK
        (23, 0),                // AT_SECURE
        (25, at(random)),       // AT_RANDOM
        (31, at(path)),         // AT_EXECFN
        (0, 0),                 // AT_NULL
    ];
    // AT_SYSINFO_EHDR
    let vdso = vdso.map(|at| (33, at));
    let mut words = vec![arguments.len() as u64];
    words.extend(arguments.iter().map(|&offset| at(offset)).chain([0]));
    words.extend(environment.iter().map(|&offset| at(offset)).chain([0]));
    words.extend(vdso.iter().chain(&auxiliary).flat_map(|&(name, value)| [name, value]));
    let start = (base - words.len() as u64 * 8) & !15;
    space.install(base, &texts.bytes)?;
    space.install(start, &words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>())?;
    Ok(start)
}

/// Strings, each with its NUL.
struct Texts {
    bytes: Vec<u8>,
}

impl Texts {
    fn push(&mut self, text: &[u8]) -> usize {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(text);
        self.bytes.push(0);
        at
    }
}
