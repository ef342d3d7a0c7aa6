//! The content of what is open: read, written, and as that of memory.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use ringfence_abi::{Call, ErrorCode, Handle, Interest, Position, Reply};
use ringfence_manifest::Point;
use rustix::io::Errno;

use super::{Kind, Open};
use crate::kvm::Kept;
use crate::memory::Content;
use crate::personality::memory_files;
use crate::personality::notes;
use crate::personality::process::lock;
use crate::personality::special;
use crate::personality::thread::Thread;
use crate::personality::world::World;
use crate::tree::HostFile;

impl Open {
    /// `read(2)`: at the position, which moves.
    pub(in crate::personality) fn read(&self, thread: &Thread, into: &mut [u8]) -> Result<usize, Errno> {
        self.check_access(false)?;
        match &self.kind {
            Kind::Socket(socket) => socket.read(thread, self, into),
            Kind::Counter(counter) => counter.read(thread, into, self.is_nonblocking()),
            Kind::Timer(timer) => timer.read(thread, into, self.is_nonblocking()),
            Kind::Signals(signals) => signals.read(thread, into, self.is_nonblocking()),
            Kind::Watches(watches) => watches.read(thread, into, self.is_nonblocking()),
            Kind::Set(_) | Kind::Process(_) => Err(Errno::INVAL),
            Kind::Stream(_) if thread.arrive(Point::Start) => Err(Errno::INTR),
            Kind::Stream(handle) => self.pass(thread, *handle, Interest::Readable, || {
                self.world.host.call(Call::Receive { stream: *handle, into: &mut *into }).now()
            }),
            Kind::Reader(pipe) | Kind::Both(pipe) => pipe.read(thread, into, self.is_nonblocking()),
            Kind::Terminal(terminal) => terminal.read(thread, into, self.is_nonblocking()),
            Kind::Master(terminal) => terminal.read_shown(thread, into, self.is_nonblocking()),
            Kind::Device(device) => device.read(&self.world, into),
            _ => {
                // Before it is locked: what is told of a descriptor may be told of this one.
                let begins = *lock(&self.position);
                self.renew(thread, begins);
                let mut position = lock(&self.position);
                let count = self.read_at(*position, into)?;
                *position += count as u64;
                Ok(count)
            }
        }
    }

    /// Has a stream of the hal's take or give bytes, and waits for it where it is not ready and that is wanted.
    fn pass(
        &self,
        thread: &Thread,
        handle: Handle,
        interest: Interest,
        mut once: impl FnMut() -> Result<Reply, ErrorCode>,
    ) -> Result<usize, Errno> {
        loop {
            let attempt = (interest == Interest::Readable).then(|| self.attempt(interest));
            let passed = once();
            drop(attempt);
            if interest == Interest::Writable && passed == Err(ErrorCode::WouldBlock) {
                drop(self.attempt(interest));
            }
            match passed {
                Ok(Reply::Count(count)) => return Ok(count),
                Err(ErrorCode::WouldBlock) if !self.is_nonblocking() => {
                    thread.answer(self.world.host.call(Call::Ready { handle, interest }))?;
                }
                Err(code) => return Err(self.world.failed(code)),
                Ok(_) => return Err(Errno::IO),
            }
        }
    }

    /// A file of `/proc` that is read from its beginning again says what holds now: `proc(5)`. Programs keep such a
    /// file open and look into it from time to time.
    pub(in crate::personality) fn renew(&self, thread: &Thread, offset: u64) {
        let is_made = matches!(self.kind, Kind::Text(_)) && self.path.starts_with(b"/proc/");
        if !is_made || offset != 0 || !self.was_begun.swap(true, SeqCst) {
            return;
        }
        // What is gone, and what only the process that opened it sees, is as it was.
        if let Ok(Some(Kind::Text(text))) = special::open(thread, &self.path) {
            let kept = Kept::of(&self.world.machine, text.capacity());
            *lock(&self.renewed) = Some((text, kept));
        }
    }

    /// `pread(2)`
    pub(in crate::personality) fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        self.check_access(false)?;
        match &self.kind {
            Kind::File(_) => {
                let count = self.read_hal(offset, into)?;
                if let Some(pages) = self.world.shared.of(self) {
                    pages.overlay(offset, &mut into[..count]);
                }
                Ok(count)
            }
            Kind::Memory(node) => memory_files::read_at(&self.world, node, offset, into),
            Kind::MemoryFolder(_) => Err(Errno::ISDIR),
            Kind::System(file) => self.world.read_system(file, offset, into),
            Kind::Text(text) => {
                let renewed = lock(&self.renewed);
                let text = renewed.as_ref().map_or(text, |(text, _)| text);
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
                let part = &text[start..text.len().min(start.saturating_add(into.len()))];
                into[..part.len()].copy_from_slice(part);
                Ok(part.len())
            }
            Kind::Device(device) => device.read(&self.world, into),
            Kind::Folder(..) | Kind::SystemFolder(_) | Kind::Listing(_) => Err(Errno::ISDIR),
            _ => Err(Errno::SPIPE),
        }
    }

    /// `write(2)`: at the position, which moves.
    pub(in crate::personality) fn write(&self, thread: &Thread, from: &[u8]) -> Result<usize, Errno> {
        self.check_access(true)?;
        match &self.kind {
            Kind::Socket(socket) => socket.write(thread, self, from),
            Kind::Counter(counter) => counter.write(thread, from, self.is_nonblocking()),
            Kind::Timer(_) | Kind::Signals(_) | Kind::Set(_) | Kind::Process(_) => Err(Errno::INVAL),
            Kind::Stream(_) if thread.arrive(Point::Start) => Err(Errno::INTR),
            Kind::Stream(handle) => self.pass(thread, *handle, Interest::Writable, || {
                self.world.host.call(Call::Send { stream: *handle, from }).now()
            }),
            Kind::Writer(pipe) | Kind::Both(pipe) => pipe.write(thread, from, self.is_nonblocking()),
            Kind::Terminal(terminal) => terminal.write(thread, from, self.is_nonblocking()),
            Kind::Master(terminal) => terminal.type_in(thread, from, self.is_nonblocking()),
            Kind::Device(device) => device.write(from),
            Kind::Text(_) => notes::of(thread, &self.path).ok_or(Errno::SRCH)?.write(thread, from),
            Kind::File(file) => {
                let mut position = lock(&self.position);
                if self.flags() & libc::O_APPEND as u32 != 0 {
                    let Reply::Count(count) = self.world.call(Call::Write { file: *file, at: Position::End, from })?
                    else {
                        return Err(Errno::IO);
                    };
                    *position = self.size().unwrap_or(*position + count as u64);
                    if let Some(pages) = self.world.shared.of(self) {
                        pages.overwrite(position.saturating_sub(count as u64), &from[..count]);
                    }
                    return Ok(count);
                }
                let count = self.write_at(*position, from)?;
                *position += count as u64;
                Ok(count)
            }
            Kind::Memory(node) => {
                let mut position = lock(&self.position);
                let count = if self.flags() & libc::O_APPEND as u32 != 0 {
                    let (count, end) = memory_files::append(&self.world, node, from)?;
                    *position = end;
                    count
                } else {
                    let count = memory_files::write_at(&self.world, node, *position, from)?;
                    *position += count as u64;
                    count
                };
                Ok(count)
            }
            _ => Err(Errno::BADF),
        }
    }

    /// `pwrite(2)`
    pub(in crate::personality) fn write_at(&self, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        self.check_access(true)?;
        match &self.kind {
            Kind::File(file) => {
                match self.world.call(Call::Write { file: *file, at: Position::Offset(offset), from })? {
                    Reply::Count(count) => {
                        if let Some(pages) = self.world.shared.of(self) {
                            pages.overwrite(offset, &from[..count]);
                        }
                        Ok(count)
                    }
                    _ => Err(Errno::IO),
                }
            }
            Kind::Memory(node) => memory_files::write_at(&self.world, node, offset, from),
            Kind::Device(device) => device.write(from),
            _ if !self.has_position() => Err(Errno::SPIPE),
            _ => Err(Errno::BADF),
        }
    }

    /// How long the file is.
    pub(in crate::personality) fn size(&self) -> Result<u64, Errno> {
        match &self.kind {
            Kind::File(handle) => match self.world.call(Call::Stat { handle: *handle })? {
                Reply::Stat(stat) => Ok(stat.size),
                _ => Err(Errno::IO),
            },
            Kind::System(file) => Ok(rustix::fs::fstat(file.descriptor())?.st_size.unsigned_abs()),
            Kind::Text(text) => Ok(text.len() as u64),
            Kind::Memory(node) => Ok(node.content()?.size()),
            _ => Ok(0),
        }
    }

    /// Cuts or extends a file: `ftruncate(2)`.
    pub(in crate::personality) fn set_size(&self, size: u64) -> Result<(), Errno> {
        match &self.kind {
            Kind::File(file) => {
                self.check_access(true).map_err(|_| Errno::INVAL)?;
                self.world.call(Call::SetSize { file: *file, size })?;
                if let Some(pages) = self.world.shared.of(self) {
                    pages.set_size(size);
                }
                Ok(())
            }
            Kind::Memory(node) => {
                self.check_access(true).map_err(|_| Errno::INVAL)?;
                memory_files::set_size(&self.world, node, size)
            }
            Kind::System(_) | Kind::Text(_) => Err(Errno::ROFS),
            _ => Err(Errno::INVAL),
        }
    }

    /// Reads a file of the hal's as it is there.
    pub(in crate::personality) fn read_hal(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let Kind::File(file) = self.kind else { return Err(Errno::BADF) };
        match self.world.call(Call::Read { file, offset, into })? {
            Reply::Count(count) => Ok(count),
            _ => Err(Errno::IO),
        }
    }

    /// Whether nothing is left to read from this offset on, or from its position.
    pub(in crate::personality) fn is_at_end(&self, offset: Option<u64>) -> bool {
        let is_file = matches!(self.kind, Kind::File(_) | Kind::Memory(_) | Kind::System(_) | Kind::Text(_));
        is_file && self.size().is_ok_and(|size| offset.unwrap_or_else(|| *lock(&self.position)) >= size)
    }
}

/// A file of the system's as the content of memory.
pub(in crate::personality) struct Charged(
    pub(in crate::personality) Arc<World>,
    pub(in crate::personality) Arc<HostFile>,
);

impl Content for Charged {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        self.0.read_system(&self.1, offset, into)
    }

    fn path(&self) -> &[u8] {
        self.1.path()
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// An open file as the content of memory.
pub(in crate::personality) struct Mapped(pub(in crate::personality) Arc<Open>);

impl Content for Mapped {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while done < into.len() {
            match self.0.read_at(offset.saturating_add(done as u64), &mut into[done..])? {
                0 => break,
                count => done += count,
            }
        }
        Ok(done)
    }

    fn path(&self) -> &[u8] {
        &self.0.path
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}
