//! From a program's file to a space that its first instruction can run in: `execve(2)`, `elf(5)`.

mod elf;
mod stack;

use std::sync::Arc;

use rustix::io::Errno;

pub(crate) use elf::{Elf, ElfError};
pub(crate) use stack::STACK;

use crate::kvm::{Machine, Registers, USER_END};
use crate::memory::{Content, Ledger, Space};
use crate::vdso::Vdso;

/// Where a program goes that can be anywhere.
const PROGRAM_BASE: u64 = 0x4000_0000;
/// Where its interpreter goes.
const INTERPRETER_BASE: u64 = 0x2000_0000_0000;
/// How often a script may name another script.
const SCRIPTS: usize = 4;

/// What is to be run.
pub(crate) struct Command {
    /// The path, as the program will know itself: `AT_EXECFN`.
    pub(crate) path: Vec<u8>,
    pub(crate) arguments: Vec<Vec<u8>>,
    pub(crate) environment: Vec<Vec<u8>>,
    pub(crate) random: [u8; 16],
    pub(crate) user: u32,
}

/// A program that is ready to run.
pub(crate) struct Loaded {
    pub(crate) space: Space,
    pub(crate) registers: Registers,
    /// The file that runs, where it was found: the interpreter of a script.
    pub(crate) path: Vec<u8>,
    pub(crate) arguments: Vec<Vec<u8>>,
}

/// Opens a file of the capsule's tree to run it.
pub(crate) type Opener<'a> = dyn Fn(&[u8]) -> Result<Arc<dyn Content>, Errno> + 'a;

/// Loads a program into a space of its own, which has the page of time if there is one.
pub(crate) fn load(
    machine: &Arc<Machine>,
    ledger: &Arc<dyn Ledger>,
    mut command: Command,
    mut file: Arc<dyn Content>,
    open: &Opener<'_>,
    vdso: Option<&Vdso>,
) -> Result<Loaded, Errno> {
    let mut scripts = 0;
    while let Some((interpreter, argument)) = script(&*file)? {
        scripts += 1;
        if scripts > SCRIPTS {
            return Err(Errno::LOOP);
        }
        let mut arguments = vec![interpreter.clone()];
        arguments.extend(argument);
        arguments.push(std::mem::take(&mut command.path));
        arguments.extend(command.arguments.drain(..).skip(1));
        command.arguments = arguments;
        file = open(&interpreter)?;
        command.path = interpreter;
    }
    let elf = Elf::read(&*file).map_err(ElfError::errno)?;
    let space = Space::new(machine.clone(), ledger.clone())?;
    let program = elf.place(&space, &file, PROGRAM_BASE)?;
    let mut entry = program.entry;
    let mut interpreter_base = 0;
    if let Some(path) = &elf.interpreter {
        let interpreter = open(path)?;
        let placed = Elf::read(&*interpreter).map_err(|_| Errno::LIBBAD)?;
        let placed = placed.place(&space, &interpreter, INTERPRETER_BASE)?;
        (entry, interpreter_base) = (placed.entry, placed.base);
    }
    if entry >= USER_END || program.own_entry >= USER_END {
        return Err(Errno::NOEXEC);
    }
    space.set_break(program.end);
    let image = vdso.map(|vdso| vdso.map(&space, stack::ABOVE)).transpose()?;
    let rsp = stack::build(&space, &command, &program, interpreter_base, image)?;
    let registers = Registers { rip: entry, rsp, rflags: 0x202, ..Registers::default() };
    // Not the path it was asked for by: that may be a link to whatever runs.
    Ok(Loaded { space, registers, path: file.path().to_vec(), arguments: command.arguments })
}

/// The interpreter of a script, and its argument.
type Interpreter = (Vec<u8>, Option<Vec<u8>>);

/// The interpreter of a script and its argument: the first line, `#!interpreter [argument]`.
fn script(file: &dyn Content) -> Result<Option<Interpreter>, Errno> {
    let mut start = [0; 256];
    let length = file.read_at(0, &mut start)?;
    let Some(line) = start[..length].strip_prefix(b"#!") else { return Ok(None) };
    let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.trim_ascii();
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (interpreter, argument) = (&line[..end], line[end..].trim_ascii());
    if interpreter.is_empty() {
        return Err(Errno::NOEXEC);
    }
    Ok(Some((interpreter.to_vec(), (!argument.is_empty()).then(|| argument.to_vec()))))
}
