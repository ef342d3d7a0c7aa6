//! Pages that several address spaces share: anonymous ones, files in memory, files of the host's.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::Touch;
use super::area::runs;
use crate::kvm::{Machine, PAGE};

/// Pages that several address spaces share. They are given back with the last who has them.
pub(crate) struct Segment {
    machine: Arc<Machine>,
    source: Source,
    state: Mutex<State>,
}

/// What pages are before anyone has written to them, and who counts them.
pub(crate) enum Source {
    /// Zeroes, and nobody but the memory limit.
    Zeroes,
    /// Zeroes of a file that somebody counts.
    Counted(Arc<dyn Quota>),
    /// A file, which gets back what was written.
    File(Arc<dyn Origin>),
}

/// Who counts pages of files.
pub(crate) trait Quota: Send + Sync {
    /// So many bytes more; `ENOSPC` when there is no room for them, `EDQUOT` when that ended the instance.
    fn grow(&self, bytes: u64) -> Result<(), Errno>;
    /// So many less.
    fn shrink(&self, bytes: u64);
}

/// The file behind pages.
pub(crate) trait Origin: Send + Sync {
    /// Whether anyone who may write to it has its pages.
    fn is_writable(&self) -> bool;
    /// Fills as much as there is from `offset` on.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno>;
    /// Writes all of it.
    fn write_at(&self, offset: u64, from: &[u8]) -> Result<(), Errno>;
}

struct State {
    frames: BTreeMap<u64, u64>,
    /// What pages of a file were when they were last the same there: only what differs from that was written here.
    known: BTreeMap<u64, u64>,
    /// Bytes, of a file.
    size: Option<u64>,
    /// Whether any space ever led to a page: frames are not given back then before the end.
    mapped: bool,
}

/// By which content is told from other content.
fn digest(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(content);
    hasher.finish()
}

impl Segment {
    /// Anonymous pages.
    pub(crate) fn new(machine: Arc<Machine>) -> Arc<Self> {
        Self::of(machine, Source::Zeroes, None)
    }

    /// The content of a file of this size.
    pub(crate) fn of(machine: Arc<Machine>, source: Source, size: Option<u64>) -> Arc<Self> {
        let state = State { frames: BTreeMap::new(), known: BTreeMap::new(), size, mapped: false };
        Arc::new(Segment { machine, source, state: Mutex::new(state) })
    }

    /// Pages from the first on that lie in these frames already; the size of the file they are is to be set.
    pub(crate) fn lying(machine: Arc<Machine>, frames: &[u64]) -> Arc<Self> {
        let frames = (0..).zip(frames.iter().copied()).collect();
        let state = Mutex::new(State { frames, known: BTreeMap::new(), size: Some(0), mapped: true });
        Arc::new(Segment { machine, source: Source::Zeroes, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The frame of a page of it, for a space; made if there is none.
    pub(crate) fn frame(&self, index: u64) -> Result<u64, Touch> {
        let frames = self.frames_around(index, index..index + 1)?;
        frames.first().map(|&(_, frame)| frame).ok_or(Touch::NoMemory)
    }

    /// The same with those of a range around it that are there, or are as well made with it: which pages, and their frames.
    pub(crate) fn frames_around(&self, index: u64, around: Range<u64>) -> Result<Vec<(u64, u64)>, Touch> {
        let mut state = self.state();
        if state.size.is_some_and(|size| index * PAGE >= size) {
            return Err(Touch::BeyondFile);
        }
        let end = state.size.map_or(u64::MAX, |size| size.div_ceil(PAGE));
        let around = around.start..around.end.min(end);
        state.mapped = true;
        let failed = |errno| match errno {
            Errno::NOMEM => Touch::NoMemory,
            _ => Touch::BeyondFile,
        };
        if !state.frames.contains_key(&index) {
            let behind = state.frames.range(index..around.end).next().map_or(around.end, |(&at, _)| at);
            let goes_on = index > 0 && state.frames.contains_key(&(index - 1));
            match &self.source {
                // Ahead of time only for who goes on from page to page, and never what somebody counts.
                Source::Zeroes | Source::File(_) if goes_on => self.make(&mut state, index..behind),
                _ => self.page(&mut state, index).map(|_| ()),
            }
            .map_err(failed)?;
        }
        Ok(state.frames.range(around).map(|(&index, &frame)| (index, frame)).collect())
    }

    /// Makes pages, none of which is there and none counted.
    fn make(&self, state: &mut State, pages: Range<u64>) -> Result<(), Errno> {
        let mut content = Vec::new();
        if let Source::File(origin) = &self.source {
            content.resize(((pages.end - pages.start) * PAGE) as usize, 0);
            origin.read_at(pages.start * PAGE, &mut content)?;
        }
        let mut index = pages.start;
        while index < pages.end {
            let run = self.machine.take_frames(pages.end - index).map_err(|_| Errno::NOMEM)?;
            let count = run.end - run.start;
            if !content.is_empty() {
                let from = ((index - pages.start) * PAGE) as usize;
                let content = &content[from..from + (count * PAGE) as usize];
                self.machine.fill(run.clone(), content);
                state.known.extend((index..).zip(content.chunks(PAGE as usize).map(digest)));
            }
            state.frames.extend((index..).zip(run));
            index += count;
        }
        Ok(())
    }

    /// The frame of a page; made if there is none.
    fn page(&self, state: &mut State, index: u64) -> Result<u64, Errno> {
        let mut counted = 0;
        let page = self.page_of(state, index, &mut counted);
        self.give_back(counted);
        page
    }

    /// The same, of what is counted already as long as that lasts.
    fn page_of(&self, state: &mut State, index: u64, counted: &mut u64) -> Result<u64, Errno> {
        if let Some(&frame) = state.frames.get(&index) {
            return Ok(frame);
        }
        let mut content = Vec::new();
        if let Source::File(origin) = &self.source {
            content.resize(PAGE as usize, 0);
            origin.read_at(index * PAGE, &mut content)?;
        }
        let run = self.frames(1, counted)?;
        self.machine.write(run.start * PAGE, &content);
        if !content.is_empty() {
            state.known.insert(index, digest(&content));
        }
        state.frames.insert(index, run.start);
        Ok(run.start)
    }

    /// New frames in a row, one at least. What is counted and not taken is the caller's to give back.
    fn frames(&self, most: u64, counted: &mut u64) -> Result<Range<u64>, Errno> {
        let Source::Counted(quota) = &self.source else {
            return self.machine.take_frames(most).map_err(|_| Errno::NOMEM);
        };
        if *counted < PAGE {
            quota.grow(PAGE)?;
            *counted = PAGE;
        }
        let run = self.machine.take_frames(most.min(*counted / PAGE)).map_err(|_| Errno::NOMEM)?;
        *counted -= (run.end - run.start) * PAGE;
        Ok(run)
    }

    /// What is counted and was not needed.
    fn give_back(&self, bytes: u64) {
        if let Source::Counted(quota) = &self.source
            && bytes > 0
        {
            quota.shrink(bytes);
        }
    }

    /// How many bytes the pages of a range that are not there are.
    fn missing(state: &State, pages: Range<u64>) -> u64 {
        let there = state.frames.range(pages.clone()).count() as u64;
        (pages.end - pages.start - there) * PAGE
    }

    /// Bytes.
    pub(crate) fn size(&self) -> u64 {
        self.state().size.unwrap_or(0)
    }

    /// How many pages there are.
    pub(crate) fn pages(&self) -> u64 {
        self.state().frames.len() as u64
    }

    /// Where data begins, or a hole, from an offset within a file on: pages that are there, and those that are not.
    /// `None` when there is no more data. `lseek(2)`, `SEEK_DATA`.
    pub(crate) fn seek(&self, from: u64, data: bool) -> Option<u64> {
        let state = self.state();
        let size = state.size.unwrap_or(0);
        let first = from / PAGE;
        let found = match data {
            true => state.frames.range(first..).next().map(|(&index, _)| index)?,
            false => {
                let there = state.frames.range(first..).map(|(&index, _)| index).zip(first..);
                first + there.take_while(|(index, wanted)| index == wanted).count() as u64
            }
        };
        let at = from.max(found * PAGE);
        if data { Some(at).filter(|&at| at < size) } else { Some(at.min(size)) }
    }

    /// Reads; less only at the end.
    pub(crate) fn read_at(&self, offset: u64, into: &mut [u8]) -> usize {
        let state = self.state();
        let end = state.size.unwrap_or(0).min(offset.saturating_add(into.len() as u64));
        let mut at = offset;
        while at < end {
            let stop = end.min((at / PAGE + 1) * PAGE);
            let part = &mut into[(at - offset) as usize..(stop - offset) as usize];
            match state.frames.get(&(at / PAGE)) {
                Some(frame) => self.machine.read(frame * PAGE + at % PAGE, part),
                None => part.fill(0),
            }
            at = stop;
        }
        end.saturating_sub(offset) as usize
    }

    /// Writes and grows; less than all when no more can be had.
    pub(crate) fn write_at(&self, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        self.write_in(&mut self.state(), offset, from)
    }

    /// Writes at the end, wherever that is; where it ended.
    pub(crate) fn append(&self, from: &[u8]) -> Result<(usize, u64), Errno> {
        let mut state = self.state();
        let offset = state.size.unwrap_or(0);
        let count = self.write_in(&mut state, offset, from)?;
        Ok((count, offset + count as u64))
    }

    fn write_in(&self, state: &mut State, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        let end = offset.checked_add(from.len() as u64).filter(|&end| end <= i64::MAX as u64).ok_or(Errno::FBIG)?;
        self.clear_behind(state, offset);
        // Counted together. Where there is no room for that, page by page, as many as there is room for.
        let missing = Self::missing(state, offset / PAGE..end.div_ceil(PAGE));
        let mut counted = 0;
        if let Source::Counted(quota) = &self.source
            && missing > 0
        {
            match quota.grow(missing) {
                Ok(()) => counted = missing,
                Err(Errno::NOSPC) => {}
                Err(_) => return Err(Errno::NOSPC),
            }
        }
        let mut at = offset;
        let mut failed = None;
        while at < end {
            let rest = &from[(at - offset) as usize..];
            match self.write_some(state, at, rest, &mut counted) {
                Ok(count) => at += count,
                Err(errno) => {
                    failed = Some(errno);
                    break;
                }
            }
            state.size = Some(state.size.unwrap_or(0).max(at));
        }
        self.give_back(counted);
        match failed {
            Some(errno) if at == offset => Err(errno),
            _ => Ok((at - offset) as usize),
        }
    }

    /// Writes to one page, or to new ones in a row. How many bytes that were.
    fn write_some(&self, state: &mut State, at: u64, from: &[u8], counted: &mut u64) -> Result<u64, Errno> {
        let (index, within) = (at / PAGE, at % PAGE);
        let whole = from.len() as u64 / PAGE;
        if within == 0 && whole > 0 && !matches!(self.source, Source::File(_)) {
            let next = state.frames.range(index..).next().map_or(u64::MAX, |(&next, _)| next);
            let new = whole.min(next - index);
            if new > 0 {
                let run = self.frames(new, counted)?;
                let bytes = (run.end - run.start) * PAGE;
                self.machine.fill(run.clone(), &from[..bytes as usize]);
                state.frames.extend((index..).zip(run));
                return Ok(bytes);
            }
        }
        let frame = self.page_of(state, index, counted)?;
        let count = (from.len() as u64).min(PAGE - within);
        self.machine.write(frame * PAGE + within, &from[..count as usize]);
        Ok(count)
    }

    /// Lays content over what pages there are: the file got it another way.
    pub(crate) fn overwrite(&self, offset: u64, from: &[u8]) {
        let mut state = self.state();
        let end = offset.saturating_add(from.len() as u64);
        self.clear_behind(&mut state, end);
        state.size = state.size.map(|size| size.max(end));
        let State { frames, known, .. } = &mut *state;
        for (&index, &frame) in frames.range(offset / PAGE..end.div_ceil(PAGE)) {
            let (start, stop) = (offset.max(index * PAGE), end.min((index + 1) * PAGE));
            let part = &from[(start - offset) as usize..(stop - offset) as usize];
            self.lay(known, (index, frame), start % PAGE, part);
        }
    }

    /// Lays content that the file has there into a page. Nothing that was written here is forgotten.
    fn lay(&self, known: &mut BTreeMap<u64, u64>, (index, frame): (u64, u64), at: u64, content: &[u8]) {
        let is_as_known = known.get(&index).is_some_and(|&known| known == self.digest_of(frame));
        self.machine.write(frame * PAGE + at, content);
        if is_as_known {
            known.insert(index, self.digest_of(frame));
        }
    }

    fn digest_of(&self, frame: u64) -> u64 {
        let mut content = [0; PAGE as usize];
        self.machine.read(frame * PAGE, &mut content);
        digest(&content)
    }

    /// A file is about to grow: what was written behind its end, where somebody still had pages of it, will not be in it.
    fn clear_behind(&self, state: &mut State, end: u64) {
        let Some(before) = state.size.filter(|&before| state.mapped && before < end) else { return };
        let State { frames, known, .. } = state;
        for (&index, &frame) in frames.range(before / PAGE..end.div_ceil(PAGE)) {
            let from = before.saturating_sub(index * PAGE);
            self.lay(known, (index, frame), from, &[0; PAGE as usize][from as usize..]);
        }
    }

    /// Lays what pages there are over content of the file.
    pub(crate) fn overlay(&self, offset: u64, into: &mut [u8]) {
        let state = self.state();
        let end = offset.saturating_add(into.len() as u64);
        for (&index, &frame) in state.frames.range(offset / PAGE..end.div_ceil(PAGE)) {
            let (start, stop) = (offset.max(index * PAGE), end.min((index + 1) * PAGE));
            self.machine
                .read(frame * PAGE + start % PAGE, &mut into[(start - offset) as usize..(stop - offset) as usize]);
        }
    }

    /// Cuts or extends. What is behind the new end is gone.
    pub(crate) fn set_size(&self, size: u64) {
        let mut state = self.state();
        self.clear_behind(&mut state, size);
        if state.size.replace(size).unwrap_or(0) <= size {
            return;
        }
        if !size.is_multiple_of(PAGE)
            && let Some(frame) = state.frames.get(&(size / PAGE))
        {
            self.machine.write(frame * PAGE + size % PAGE, &[0; PAGE as usize][(size % PAGE) as usize..]);
        }
        self.discard_in(&mut state, size.div_ceil(PAGE)..u64::MAX);
    }

    /// Makes whole pages of a range zeroes.
    pub(crate) fn discard(&self, pages: Range<u64>) {
        self.discard_in(&mut self.state(), pages);
    }

    fn discard_in(&self, state: &mut State, pages: Range<u64>) {
        if state.mapped {
            // Somebody's page tables may lead there: emptied, and kept until nobody's can.
            let State { frames, known, .. } = state;
            for frame in frames.range(pages.clone()).map(|(_, frame)| frame) {
                self.machine.write(frame * PAGE, &[0; PAGE as usize]);
            }
            // The file has the same there, or has nothing any more.
            let empty = digest(&[0; PAGE as usize]);
            known.range_mut(pages).for_each(|(_, known)| *known = empty);
            return;
        }
        let indices: Vec<u64> = state.frames.range(pages).map(|(&index, _)| index).collect();
        let frames: Vec<u64> = indices.iter().filter_map(|index| state.frames.remove(index)).collect();
        state.known.retain(|index, _| state.frames.contains_key(index));
        self.release(frames);
    }

    fn release(&self, frames: Vec<u64>) {
        self.give_back(frames.len() as u64 * PAGE);
        self.machine.give_frames(runs(frames));
    }

    /// Writes pages that were changed here to the file, and never beyond its end. What others wrote to it meanwhile, to
    /// other pages, stays.
    pub(crate) fn write_back(&self) -> Result<(), Errno> {
        let Source::File(origin) = &self.source else { return Ok(()) };
        if !origin.is_writable() {
            return Ok(());
        }
        let mut state = self.state();
        let size = state.size.unwrap_or(0);
        let State { frames, known, .. } = &mut *state;
        let mut content = vec![0; PAGE as usize];
        for (&index, &frame) in frames.range(..size.div_ceil(PAGE)) {
            self.machine.read(frame * PAGE, &mut content);
            let now = digest(&content);
            if known.get(&index) != Some(&now) {
                // Somebody else may have cut the file meanwhile: no more than there is.
                let length = (size - index * PAGE).min(PAGE) as usize;
                let length = origin.read_at(index * PAGE, &mut vec![0; length])?.min(length);
                origin.write_at(index * PAGE, &content[..length])?;
                known.insert(index, now);
            }
        }
        Ok(())
    }
}

impl Segment {
    /// Its size, of a file, and the pages that are there: which, and in which frames.
    pub(crate) fn parts(&self) -> (Option<u64>, Vec<(u64, u64)>) {
        let state = self.state();
        (state.size, state.frames.iter().map(|(&index, &frame)| (index, frame)).collect())
    }

    /// What kind its pages are of.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Puts content into a page, which is made.
    pub(crate) fn revive(&self, index: u64, content: &[u8]) -> Result<(), Errno> {
        let mut state = self.state();
        let frame = self.page(&mut state, index)?;
        self.machine.write(frame * PAGE, content);
        Ok(())
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // As when the machine under a file system goes down: what cannot be written is lost.
        let _ = self.write_back();
        let frames = std::mem::take(&mut self.state().frames);
        self.release(frames.into_values().collect());
    }
}
