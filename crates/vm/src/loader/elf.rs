//! Reading an ELF file, and placing it: `elf(5)`. Every number in it comes from the program.

use std::sync::Arc;

use rustix::io::Errno;

use crate::kvm::{PAGE, USER_END};
use crate::memory::{Backing, Content, Placement, Protection, Space};

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
/// More than any linker makes, and what fits one read.
const MOST_HEADERS: usize = 128;
const LOAD: u32 = 1;
const INTERPRETER: u32 = 3;
const STACK: u32 = 0x6474_e551;
/// What is made of a segment before the program runs: leaving the guest for each page costs more.
const POPULATED: u64 = 512 << 10;
/// The same of what is empty in the file.
const POPULATED_EMPTY: u64 = 128 << 10;

/// What an ELF file says of itself.
#[derive(Debug)]
pub(crate) struct Elf {
    position_independent: bool,
    entry: u64,
    headers_at: u64,
    headers: u64,
    segments: Vec<Segment>,
    runs_on_stack: bool,
    pub(crate) interpreter: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    flags: u32,
    offset: u64,
    address: u64,
    in_file: u64,
    in_memory: u64,
}

/// Where a program was placed.
pub(crate) struct Placed {
    pub(crate) base: u64,
    pub(crate) entry: u64,
    pub(crate) end: u64,
    /// Its program headers, in memory, and how many.
    pub(crate) headers: (u64, u64),
    /// The entry of the program itself.
    pub(crate) own_entry: u64,
    /// Whether it runs code on its stack: `PT_GNU_STACK` of `elf(5)`.
    pub(crate) runs_on_stack: bool,
}

/// Why a file is no program for this level; the capsule's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ElfError {
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Read(Errno),
    /// No ELF file.
    #[error("it is not an ELF program")]
    NotElf,
    /// For another processor or system.
    #[error("it is not for 64-bit x86 processors")]
    OtherMachine,
    /// Neither a program nor position-independent.
    #[error("it is an ELF file of type {0}, which cannot be run")]
    NotExecutable(u16),
    /// What it says of itself is not true.
    #[error("its {0} make no sense")]
    Malformed(&'static str),
}

impl ElfError {
    pub(crate) fn errno(self) -> Errno {
        match self {
            ElfError::Read(errno) => errno,
            _ => Errno::NOEXEC,
        }
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..at + N).and_then(|part| part.try_into().ok()).unwrap_or([0; N])
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(number(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(number(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(number(bytes, at))
}

impl Elf {
    /// Reads the headers.
    pub(crate) fn read(file: &dyn Content) -> Result<Elf, ElfError> {
        let mut header = [0; HEADER];
        let length = file.read_at(0, &mut header).map_err(ElfError::Read)?;
        if length < HEADER || header[..4] != *b"\x7fELF" {
            return Err(ElfError::NotElf);
        }
        if header[4] != 2 || header[5] != 1 || u16_at(&header, 18) != 62 {
            return Err(ElfError::OtherMachine);
        }
        let kind = u16_at(&header, 16);
        if kind != 2 && kind != 3 {
            return Err(ElfError::NotExecutable(kind));
        }
        let (headers_at, count) = (u64_at(&header, 32), usize::from(u16_at(&header, 56)));
        if usize::from(u16_at(&header, 54)) != PROGRAM_HEADER || count == 0 || count > MOST_HEADERS {
            return Err(ElfError::Malformed("program headers"));
        }
        let mut headers = vec![0; count * PROGRAM_HEADER];
        if file.read_at(headers_at, &mut headers).map_err(ElfError::Read)? < headers.len() {
            return Err(ElfError::Malformed("program headers"));
        }
        let mut elf = Elf {
            position_independent: kind == 3,
            entry: u64_at(&header, 24),
            headers_at,
            headers: count as u64,
            segments: Vec::new(),
            runs_on_stack: false,
            interpreter: None,
        };
        for header in headers.chunks_exact(PROGRAM_HEADER) {
            match u32_at(header, 0) {
                LOAD => elf.segments.push(Segment::read(header)?),
                STACK => elf.runs_on_stack = u32_at(header, 4) & 1 != 0,
                INTERPRETER => elf.interpreter = Some(interpreter(file, header)?),
                _ => {}
            }
        }
        if elf.segments.is_empty() {
            return Err(ElfError::Malformed("segments"));
        }
        Ok(elf)
    }

    /// Maps the segments: at their addresses, or from `base` on when they can be anywhere.
    pub(crate) fn place(&self, space: &Space, file: &Arc<dyn Content>, base: u64) -> Result<Placed, Errno> {
        let base = if self.position_independent { base } else { 0 };
        let mut end = 0;
        let mut headers = 0;
        for segment in &self.segments {
            end = end.max(segment.place(space, file, base)?);
            if (segment.offset..segment.offset + segment.in_file).contains(&self.headers_at) {
                headers = base + segment.address + (self.headers_at - segment.offset);
            }
        }
        let entry = base.wrapping_add(self.entry);
        let headers = (headers, self.headers);
        Ok(Placed { base, entry, end, headers, own_entry: entry, runs_on_stack: self.runs_on_stack })
    }
}

fn interpreter(file: &dyn Content, header: &[u8]) -> Result<Vec<u8>, ElfError> {
    let (offset, length) = (u64_at(header, 8), u64_at(header, 32));
    if !(2..=PAGE).contains(&length) {
        return Err(ElfError::Malformed("interpreter's name"));
    }
    let mut path = vec![0; length as usize];
    let read = file.read_at(offset, &mut path).map_err(ElfError::Read)?;
    if read < path.len() || path.pop() != Some(0) {
        return Err(ElfError::Malformed("interpreter's name"));
    }
    Ok(path)
}

impl Segment {
    fn read(header: &[u8]) -> Result<Segment, ElfError> {
        let segment = Segment {
            flags: u32_at(header, 4),
            offset: u64_at(header, 8),
            address: u64_at(header, 16),
            in_file: u64_at(header, 32),
            in_memory: u64_at(header, 40),
        };
        let end = segment.address.checked_add(segment.in_memory).filter(|&end| end < USER_END / 2);
        let file_end = segment.offset.checked_add(segment.in_file).filter(|&end| end < i64::MAX as u64);
        let aligned = segment.offset % PAGE == segment.address % PAGE;
        match segment.in_file <= segment.in_memory && aligned && end.is_some() && file_end.is_some() {
            true => Ok(segment),
            false => Err(ElfError::Malformed("segments")),
        }
    }

    /// Maps it; where it ends.
    fn place(&self, space: &Space, file: &Arc<dyn Content>, base: u64) -> Result<u64, Errno> {
        let mut protection = Protection::empty();
        protection.set(Protection::READ, self.flags & 4 != 0);
        protection.set(Protection::WRITE, self.flags & 2 != 0);
        protection.set(Protection::EXECUTE, self.flags & 1 != 0);
        let skip = self.address % PAGE;
        let start = base + self.address - skip;
        let file_end = base + self.address + self.in_file;
        let end = base + self.address + self.in_memory;
        let file_pages = if self.in_file == 0 { start } else { file_end.next_multiple_of(PAGE) };
        if file_pages > start {
            let backing = Backing::File(file.clone(), self.offset - skip);
            space.map(Placement::Fixed(start), file_pages - start, protection, backing)?;
            space.populate(start, (file_pages - start).min(POPULATED));
            let rest = file_pages.min(end.max(file_end)) - file_end;
            if self.in_memory > self.in_file && protection.contains(Protection::WRITE) {
                space.install(file_end, &vec![0; (file_pages - file_end).max(rest) as usize])?;
            }
        }
        if end > file_pages {
            let length = end - file_pages;
            space.map(Placement::Fixed(file_pages), length, protection, Backing::Anonymous)?;
            space.populate(file_pages, length.min(POPULATED_EMPTY));
        }
        Ok(end.next_multiple_of(PAGE))
    }
}
