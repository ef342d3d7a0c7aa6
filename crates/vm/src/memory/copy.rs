//! Copying between a program and the host. Every address comes from the program and is looked up here;
//! content is copied before anything is made of it.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use rustix::io::Errno;

use super::area::page;
use super::{Protection, Space, Touch};
use crate::kvm::{PAGE, USER_END};

/// The longest path, with its end: `PATH_MAX`.
const PATH_MAX: u64 = 4096;

impl Space {
    /// Copies from the program; `EFAULT` unless all of it can be read.
    pub(crate) fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Errno> {
        self.each_page(address, into.len(), Protection::READ, |at, part| self.machine.read(at, &mut into[part]))
    }

    /// Copies to the program; `EFAULT` unless all of it can be written.
    pub(crate) fn write(&self, address: u64, from: &[u8]) -> Result<(), Errno> {
        self.each_page(address, from.len(), Protection::WRITE, |at, part| self.machine.write(at, &from[part]))
    }

    /// Copies to the program where it may only read, as when it is loaded.
    pub(crate) fn install(&self, address: u64, from: &[u8]) -> Result<(), Errno> {
        self.each_page(address, from.len(), Protection::empty(), |at, part| self.machine.write(at, &from[part]))
    }

    fn each_page(
        &self,
        address: u64,
        length: usize,
        wanted: Protection,
        mut copy: impl FnMut(u64, std::ops::Range<usize>),
    ) -> Result<(), Errno> {
        let end = address.checked_add(length as u64).filter(|&end| end <= USER_END).ok_or(Errno::FAULT)?;
        let mut inner = self.inner();
        let mut at = address;
        while at < end {
            if self.make(&mut inner, at, wanted) != Touch::There {
                return Err(Errno::FAULT);
            }
            let Some(there) = inner.pages.get(&page(at)) else { return Err(Errno::FAULT) };
            let stop = end.min((page(at) + 1) * PAGE);
            copy(there.frame * PAGE + at % PAGE, (at - address) as usize..(stop - address) as usize);
            at = stop;
        }
        Ok(())
    }

    /// How many bytes from an address on can be written, at most `most`; `EFAULT` when there are none.
    pub(crate) fn writable(&self, address: u64, most: u64) -> Result<usize, Errno> {
        self.usable(address, most, Protection::WRITE)
    }

    /// How many can be read.
    pub(crate) fn readable(&self, address: u64, most: u64) -> Result<usize, Errno> {
        self.usable(address, most, Protection::READ)
    }

    fn usable(&self, address: u64, most: u64, wanted: Protection) -> Result<usize, Errno> {
        let mut inner = self.inner();
        let end = address.saturating_add(most).min(USER_END);
        let mut at = address;
        while at < end && self.make(&mut inner, at, wanted) == Touch::There {
            at = (page(at) + 1) * PAGE;
        }
        match at.min(end).saturating_sub(address) {
            0 if most > 0 => Err(Errno::FAULT),
            count => Ok(count as usize),
        }
    }

    /// A text that ends in NUL.
    pub(crate) fn text(&self, address: u64) -> Result<Vec<u8>, Errno> {
        self.text_of(address, PATH_MAX).map_err(|errno| if errno == Errno::TOOBIG { Errno::NAMETOOLONG } else { errno })
    }

    /// A text that ends in NUL within `most` bytes; `E2BIG` when it does not.
    pub(crate) fn text_of(&self, address: u64, most: u64) -> Result<Vec<u8>, Errno> {
        let mut text = Vec::new();
        let mut at = address;
        loop {
            if at >= USER_END {
                return Err(Errno::FAULT);
            }
            let stop = (page(at) + 1) * PAGE;
            let mut part = vec![0; (stop - at) as usize];
            self.read(at, &mut part)?;
            let length = part.iter().position(|&byte| byte == 0);
            text.extend_from_slice(&part[..length.unwrap_or(part.len())]);
            if text.len() as u64 >= most {
                return Err(Errno::TOOBIG);
            }
            if length.is_some() {
                return Ok(text);
            }
            at = stop;
        }
    }

    pub(crate) fn read_u32(&self, address: u64) -> Result<u32, Errno> {
        let mut word = [0; 4];
        self.read(address, &mut word)?;
        Ok(u32::from_le_bytes(word))
    }

    pub(crate) fn read_u64(&self, address: u64) -> Result<u64, Errno> {
        let mut word = [0; 8];
        self.read(address, &mut word)?;
        Ok(u64::from_le_bytes(word))
    }

    pub(crate) fn write_u32(&self, address: u64, word: u32) -> Result<(), Errno> {
        self.write(address, &word.to_le_bytes())
    }

    pub(crate) fn write_u64(&self, address: u64, word: u64) -> Result<(), Errno> {
        self.write(address, &word.to_le_bytes())
    }

    /// Where a word is in guest memory, which is the same for everyone who shares it.
    pub(crate) fn place_of(&self, address: u64, wanted: Protection) -> Result<u64, Errno> {
        self.with_word(address, wanted, |_| ()).map(|(place, ())| place)
    }

    /// A word that other threads change at the same time: its place, and what comes of it. It is at its
    /// place for as long as it is looked at: nobody can unmap it meanwhile.
    fn with_word<T>(
        &self,
        address: u64,
        wanted: Protection,
        look: impl FnOnce(&AtomicU32) -> T,
    ) -> Result<(u64, T), Errno> {
        if !address.is_multiple_of(4) {
            return Err(Errno::INVAL);
        }
        let mut inner = self.inner();
        match self.make(&mut inner, address, wanted) {
            Touch::There => {
                let there = inner.pages.get(&page(address)).ok_or(Errno::FAULT)?;
                let place = there.frame * PAGE + address % PAGE;
                Ok((place, look(self.machine.atomic(place).ok_or(Errno::FAULT)?)))
            }
            _ => Err(Errno::FAULT),
        }
    }

    /// A word that other threads change at the same time: its place in guest memory, and what it is.
    pub(crate) fn load(&self, address: u64) -> Result<(u64, u32), Errno> {
        self.with_word(address, Protection::READ, |word| word.load(SeqCst))
    }

    /// Changes such a word; its place, and what it was before.
    pub(crate) fn change(&self, address: u64, change: impl Fn(u32) -> Option<u32>) -> Result<(u64, u32), Errno> {
        self.with_word(address, Protection::WRITE, |word| {
            word.fetch_update(SeqCst, SeqCst, change).unwrap_or_else(|unchanged| unchanged)
        })
    }
}
