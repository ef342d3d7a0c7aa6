//! What is open, as it is captured, and what is locked of it.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use ringfence_abi::Handle;

use super::{CaptureError, Capturing, TERMINAL, address, shown};
use crate::personality::files::Descriptors;
use crate::personality::listing::Stage;
use crate::personality::locks::Owner;
use crate::personality::open::{Kind, Open};
use crate::personality::pipe::Pipe;
use crate::personality::process::lock;
use crate::snapshot::state::{self, Index};

impl Capturing<'_> {
    pub(super) fn table(&mut self, table: &Arc<Descriptors>) -> Result<Index, CaptureError> {
        let place = match self.place(address(table), |me| &mut me.descriptors) {
            Ok(known) => return Ok(known),
            Err(place) => place,
        };
        self.descriptors.push(state::Table { most: table.most() as u64, slots: Vec::new() });
        let slot = |slot: Option<(Arc<Open>, bool)>| {
            slot.map(|(open, close_on_exec)| Ok(state::Descriptor { open: self.open(&open)?, close_on_exec }))
                .transpose()
        };
        let slots = table.slots().into_iter().map(slot).collect::<Result<_, _>>()?;
        self.descriptors[place as usize].slots = slots;
        Ok(place)
    }

    pub(super) fn open(&mut self, open: &Arc<Open>) -> Result<Index, CaptureError> {
        let place = match self.place(open.address(), |me| &mut me.opens) {
            Ok(known) => return Ok(known),
            Err(place) => place,
        };
        // Its place is taken before what it refers to gets its own.
        let position = *lock(&open.position);
        let kind = state::Kind::Listing(Vec::new());
        self.opens.push(state::Open { kind, path: open.place(), flags: open.flags(), owner: open.owner(), position });
        self.open.push(open.clone());
        if !matches!(*lock(&open.stage), Stage::Dots(0)) {
            return Err(CaptureError::Holds(format!("the folder {} is being listed", shown(&open.path))));
        }
        let kind = self.kind(open)?;
        self.opens[place as usize].kind = kind;
        Ok(place)
    }

    fn kind(&mut self, open: &Arc<Open>) -> Result<state::Kind, CaptureError> {
        Ok(match &open.kind {
            Kind::Stream(handle) => {
                let streams = [Handle::STDIN, Handle::STDOUT, Handle::STDERR];
                let number = streams.iter().position(|stream| stream == handle);
                state::Kind::Stream(
                    number.ok_or_else(|| CaptureError::Holds("it has a stream of another kind".into()))? as u8,
                )
            }
            Kind::File(_) => state::Kind::File,
            Kind::Folder(..) => state::Kind::Folder,
            Kind::System(_) => state::Kind::System,
            Kind::SystemFolder(_) => state::Kind::SystemFolder,
            Kind::Listing(listing) => state::Kind::Listing(lock(listing).names.clone()),
            Kind::Text(text) => state::Kind::Text(text.clone()),
            Kind::Device(device) => state::Kind::Device(device.number()),
            Kind::Memory(node) | Kind::MemoryFolder(node) => state::Kind::Memory(self.node(node)?),
            Kind::Reader(pipe) => state::Kind::Reader(self.pipe(pipe)),
            Kind::Writer(pipe) => state::Kind::Writer(self.pipe(pipe)),
            Kind::Both(pipe) => state::Kind::Both(self.pipe(pipe)),
            Kind::Process(process) => {
                let gone = (!self.world.has(process)).then(|| process.status.load(SeqCst));
                state::Kind::Process { id: process.id, gone }
            }
            Kind::Terminal(_) | Kind::Master(_) => return Err(CaptureError::Holds(TERMINAL.into())),
            Kind::Link(..) => {
                return Err(CaptureError::Holds(format!("the link {} itself is open", shown(&open.path))));
            }
            Kind::Watches(_) => {
                let text = "files are watched (inotify): close that before the point of capture";
                return Err(CaptureError::Holds(text.into()));
            }
            Kind::Socket(_) => {
                let text = "a socket is open, whose other end is not part of it: close it before the point of capture";
                return Err(CaptureError::Holds(text.into()));
            }
            Kind::Counter(counter) => {
                let (number, by_one) = counter.captured();
                state::Kind::Counter { number, by_one }
            }
            Kind::Timer(timer) => {
                let (clock, left, interval) = timer.captured();
                state::Kind::Timer { clock, left, interval }
            }
            Kind::Signals(signals) => state::Kind::Signals(signals.mask()),
            Kind::Set(set) => {
                let wish = |(number, open, events, data, is_spent)| {
                    Ok(state::Wish { number, open: self.open(&open)?, events, data, is_spent })
                };
                state::Kind::Set(set.captured().into_iter().map(wish).collect::<Result<_, _>>()?)
            }
        })
    }

    fn pipe(&mut self, pipe: &Arc<Pipe>) -> Index {
        self.place(address(pipe), |me| &mut me.pipes).unwrap_or_else(|place| {
            let (content, room) = pipe.captured();
            let node = self.world.fifos.node_of(pipe);
            self.pipes.push(state::Pipe { content, room: room as u64, node });
            place
        })
    }

    pub(super) fn locks(&mut self) -> Result<Vec<state::Lock>, CaptureError> {
        let captured = self.world.locks.captured();
        let lost = || CaptureError::Holds("a file is locked that nothing has open any more".into());
        let lock = |(identity, owner, start, end, exclusive)| {
            let file = self.open.iter().position(|open| open.has_position() && open.identity() == Ok(identity));
            let by = |address: usize| self.known.get(&address).copied().ok_or_else(lost);
            let owner = match owner {
                Owner::Process(id) => state::Owner::Process(id),
                Owner::Open(address) => state::Owner::Open(by(address)?),
                Owner::Whole(address) => state::Owner::Whole(by(address)?),
            };
            Ok(state::Lock { file: file.ok_or_else(lost)? as Index, owner, start, end, exclusive })
        };
        captured.into_iter().map(lock).collect()
    }
}
