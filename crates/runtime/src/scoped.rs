//! The scoped hal: the one way out of an instance.

mod folders;
mod network;
#[cfg(test)]
mod tests;
mod waiting;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use ringfence_abi::{Call, ErrorCode, FileKind, Handle, OpenHow, Position, Reply, Rights};
use ringfence_isolation::{Answer, BoxFuture, Denial, FileUse, Folder as Beginning, Host, Spec, Usage, Verdict};
use ringfence_manifest::Permission;

use crate::authority::{Authority, text};
use crate::clock;
use crate::denials::Denials;
use crate::files::File;
use crate::handles::Handles;
use crate::ledger::Ledger;
use crate::lifecycle::Hal;
use crate::meter::Meter;
use crate::network::{Network, TcpSocket, UdpSocket};
use crate::streams::{Captured, Stream, StreamError, anonymous};
use crate::surroundings::Surroundings;
use crate::vfs::{Folder, Mounts, OF_FOLDER, Opened, TreeError, Vfs};

/// The hal of one instance: permissions, then the handle table, then the limits, then the system.
///
/// Waiting calls need a Tokio runtime with its input/output and time drivers.
pub struct ScopedHal {
    handles: Handles,
    meter: Arc<Meter>,
    spec: Arc<Spec>,
    authority: Arc<Authority>,
    denials: Arc<Denials>,
    network: Network,
    surroundings: Surroundings,
    folders: Vec<Beginning>,
    functions: Vec<String>,
    captured: [Option<Arc<Captured>>; 2],
}

/// Why an instance has no hal; the host's fault or the manifest's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HalError {
    /// Its tree of files cannot be opened.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Its standard streams cannot be opened.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// It begins with more folders than a handle table holds.
    #[error("too many mounts")]
    TooManyMounts,
}

impl ScopedHal {
    /// The hal of a new instance of `spec`. Makes its root folder, opens its mounts and streams.
    ///
    /// # Errors
    /// [`HalError`] when one of them cannot be opened.
    pub fn new(spec: Arc<Spec>, surroundings: Surroundings) -> Result<Self, HalError> {
        let mounts = Mounts::open(&spec)?;
        Self::within(mounts, spec, surroundings)
    }

    /// The same, with the root and the mounts of `spec` opened already.
    ///
    /// # Errors
    /// [`HalError`] when the streams cannot be opened.
    pub fn within(mounts: Mounts, spec: Arc<Spec>, surroundings: Surroundings) -> Result<Self, HalError> {
        let meter = Arc::new(Meter::new(&spec.limits));
        let denials = Arc::new(Denials::new(surroundings.denied.clone()));
        let authority = Arc::new(Authority::new(Arc::clone(&spec), Arc::clone(&denials)));
        let vfs = Vfs::new(mounts, Arc::clone(&authority), Arc::clone(&meter));
        let handles = Handles::new(Arc::clone(&meter));
        let captured = open_streams(&spec, vfs.ledger(), &handles)?;
        let folders = open_folders(&spec, surroundings.root_folder, &vfs, &handles)?;
        let learning = Arc::clone(&authority);
        let network = Network::new(
            Arc::new(spec.permissions.clone()),
            spec.limits.bandwidth,
            Arc::clone(&surroundings.resolver),
            Arc::clone(&denials),
            Arc::<Meter>::clone(&meter),
            Some(Arc::new(move |permission, resource: String| learning.learn(permission, resource.as_bytes()))),
        );
        let functions = surroundings.functions.names().map(str::to_owned).collect();
        Ok(Self { handles, meter, spec, authority, denials, network, surroundings, folders, functions, captured })
    }

    /// Each permission that was used, and on which resource, when the spec says to learn.
    pub fn learned(&self) -> Vec<(Permission, String)> {
        self.authority.learned().into_iter().map(|(permission, resource)| (permission, text(&resource))).collect()
    }

    /// The denials so far.
    pub fn denials(&self) -> &Denials {
        &self.denials
    }

    /// What was used so far.
    pub fn usage(&self) -> Usage {
        self.meter.usage()
    }

    /// How many datagrams came from someone the instance may not send to, and were dropped.
    pub fn unsolicited_datagrams(&self) -> u64 {
        self.network.unsolicited()
    }

    /// Stops the instance from outside: its calls end.
    pub fn stop(&self) {
        self.meter.end(Verdict::Stopped);
    }

    /// Closes every handle. Nothing of the instance is open afterwards.
    pub fn close(&self) {
        self.meter.end(Verdict::Stopped);
        self.handles.close_all();
    }

    /// Passes a resource to another instance, which gets at most `rights` on it.
    ///
    /// # Errors
    /// `BadHandle`; `Denied` without `TRANSFER`; `TooManyHandles` when the other may not open more;
    /// `NotSupported` for a folder, whose paths mean nothing in another tree.
    pub fn transfer(&self, handle: Handle, other: &ScopedHal, rights: Rights) -> Result<Handle, ErrorCode> {
        if self.handles.get::<Folder>(handle, Rights::empty()).is_ok() {
            return Err(ErrorCode::NotSupported);
        }
        self.handles.transfer(handle, &other.handles, rights)
    }

    /// Invalidates everything that was made from a handle, in whatever instance.
    ///
    /// # Errors
    /// `BadHandle`.
    pub fn revoke(&self, handle: Handle) -> Result<(), ErrorCode> {
        self.handles.revoke(handle)
    }

    /// A call that does not wait.
    fn serve(&self, call: Call<'_>) -> Result<Reply, ErrorCode> {
        match call {
            Call::Read { file, offset, into } => self.read(file, offset, into),
            Call::Write { file, at, from } => self.write(file, at, from),
            Call::Close { handle } => {
                let closed = self.handles.close(handle)?;
                if let Some(socket) = closed.and_then(|resource| resource.downcast::<TcpSocket>().ok()) {
                    // Who waits for it has it for a moment longer.
                    socket.stop_listening();
                }
                Ok(Reply::Done)
            }
            Call::Duplicate { handle, rights } => self.handles.duplicate(handle, rights).map(Reply::Handle),
            Call::Restrict { handle, rights } => self.handles.restrict(handle, rights).map(|()| Reply::Done),
            Call::Revoke { handle } => self.handles.revoke(handle).map(|()| Reply::Done),
            Call::RightsOf { handle } => self.handles.rights(handle).map(Reply::Rights),
            Call::Open { directory, path, how } => self.open(directory, path, how),
            Call::Stat { handle } => self.stat(handle),
            Call::SetSize { file, size } => {
                let file = self.handles.get::<File>(file, Rights::RESIZE)?;
                self.meter.operation()?;
                file.set_size(size).map(|()| Reply::Done)
            }
            Call::SetTimes { handle, accessed, modified } => {
                let resource = self.handles.get_any(handle, Rights::TOUCH)?;
                self.meter.operation()?;
                if let Some(file) = resource.downcast_ref::<File>() {
                    file.set_times(accessed, modified)?;
                } else {
                    resource.downcast_ref::<Folder>().ok_or(ErrorCode::BadHandle)?.set_times(accessed, modified)?;
                }
                Ok(Reply::Done)
            }
            Call::SetMode { handle, mode } => {
                let resource = self.handles.get_any(handle, Rights::TOUCH)?;
                self.meter.operation()?;
                if let Some(file) = resource.downcast_ref::<File>() {
                    file.set_mode(mode)?;
                } else {
                    resource.downcast_ref::<Folder>().ok_or(ErrorCode::BadHandle)?.set_mode(mode)?;
                }
                Ok(Reply::Done)
            }
            Call::Sync { handle, metadata } => {
                let resource = self.handles.get_any(handle, Rights::empty())?;
                self.meter.operation()?;
                if let Some(file) = resource.downcast_ref::<File>() {
                    file.sync(metadata)?;
                } else {
                    resource.downcast_ref::<Folder>().ok_or(ErrorCode::BadHandle)?.sync()?;
                }
                Ok(Reply::Done)
            }
            Call::Receive { stream, into } => self.receive(stream, into),
            Call::Send { stream, from } => self.send(stream, from),
            Call::IsTerminal { handle } => {
                let resource = self.handles.get_any(handle, Rights::empty())?;
                Ok(Reply::Flag(resource.downcast_ref::<Stream>().is_some_and(Stream::is_terminal)))
            }
            Call::Now { clock } => {
                self.check_clock()?;
                Ok(Reply::Time(clock::now(clock)))
            }
            Call::Resolution { clock } => {
                self.check_clock()?;
                Ok(Reply::Time(clock::resolution(clock)))
            }
            Call::Random { into } => {
                self.check_switch(self.spec.permissions.random, Permission::Random)?;
                clock::random(into, || self.meter.go_on()).map(|()| Reply::Done)
            }
            Call::Environment => {
                let pairs = self.spec.environment.iter().map(|(name, value)| (name.clone(), value.clone()));
                Ok(Reply::Pairs(pairs.collect()))
            }
            Call::Arguments => {
                let name = self.spec.program.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                Ok(Reply::Texts(std::iter::once(name).chain(self.spec.program.args.iter().cloned()).collect()))
            }
            Call::Log { level, message } => self.log(level, message),
            Call::ChannelSend { channel, message } => {
                if !self.spec.permissions.channel_send.iter().any(|pattern| pattern.matches(channel)) {
                    return Err(self.authority.deny(Permission::ChannelSend, channel));
                }
                self.surroundings.channels.send(channel, message).map(|()| Reply::Done)
            }
            other => match self.serve_folder(other) {
                Ok(result) => result,
                Err(other) => self.serve_network(other),
            },
        }
    }

    #[inline]
    fn read(&self, file: Handle, offset: u64, into: &mut [u8]) -> Result<Reply, ErrorCode> {
        let file = self.handles.get::<File>(file, Rights::READ)?;
        self.meter.operation()?;
        let count = file.read(offset, into)?;
        self.meter.transferred(count as u64)?;
        Ok(Reply::Count(count))
    }

    fn open(&self, directory: Handle, path: &[u8], how: OpenHow) -> Result<Reply, ErrorCode> {
        let (folder, bound) = self.handles.get_with_rights::<Folder>(directory, Rights::WALK)?;
        self.meter.operation()?;
        match folder.open(path, how, bound)? {
            Opened::File(file, rights, created) => {
                let handle = self.handles.insert(file, rights)?;
                Ok(if created && how.mode.is_some() { Reply::Created(handle) } else { Reply::Handle(handle) })
            }
            Opened::Folder(folder, rights) => self.handles.insert(folder, rights).map(Reply::Handle),
        }
    }

    fn write(&self, file: Handle, at: Position, from: &[u8]) -> Result<Reply, ErrorCode> {
        let file = self.handles.get::<File>(file, Rights::WRITE)?;
        self.meter.operation()?;
        // Charged before: what goes over the limit is not written.
        let from = &from[..from.len().min(File::MOST)];
        self.meter.transferred(from.len() as u64)?;
        let written = file.write(at, from);
        self.meter.not_transferred((from.len() - *written.as_ref().unwrap_or(&0)) as u64);
        written.map(Reply::Count)
    }

    fn stat(&self, handle: Handle) -> Result<Reply, ErrorCode> {
        let resource = self.handles.get_any(handle, Rights::STAT)?;
        self.meter.operation()?;
        if let Some(file) = resource.downcast_ref::<File>() {
            return file.stat().map(Reply::Stat);
        }
        if let Some(folder) = resource.downcast_ref::<Folder>() {
            return folder.stat().map(Reply::Stat);
        }
        match resource.downcast_ref::<Stream>() {
            Some(stream) => Ok(Reply::Stat(stream.stat())),
            None => Ok(Reply::Stat(anonymous(FileKind::Socket))),
        }
    }

    fn receive(&self, stream: Handle, into: &mut [u8]) -> Result<Reply, ErrorCode> {
        let resource = self.handles.get_any(stream, Rights::READ)?;
        if let Some(stream) = resource.downcast_ref::<Stream>() {
            return stream.receive(into).map(Reply::Count);
        }
        match resource.downcast_ref::<TcpSocket>() {
            Some(socket) => self.network.receive(socket, into),
            None if resource.is::<UdpSocket>() => Err(ErrorCode::NotSupported),
            None => Err(ErrorCode::BadHandle),
        }
    }

    fn send(&self, stream: Handle, from: &[u8]) -> Result<Reply, ErrorCode> {
        let resource = self.handles.get_any(stream, Rights::WRITE)?;
        if let Some(stream) = resource.downcast_ref::<Stream>() {
            return self.print(stream, from).map(Reply::Count);
        }
        match resource.downcast_ref::<TcpSocket>() {
            Some(socket) => self.network.send(socket, from),
            None if resource.is::<UdpSocket>() => Err(ErrorCode::NotSupported),
            None => Err(ErrorCode::BadHandle),
        }
    }

    /// Prints what `limits.output` still allows; the byte beyond it ends the instance.
    fn print(&self, stream: &Stream, from: &[u8]) -> Result<usize, ErrorCode> {
        let allowed = self.meter.output_left(from.len());
        let printed = if allowed == 0 { 0 } else { stream.send(&from[..allowed])? };
        self.meter.printed(printed as u64)?;
        if printed == allowed && allowed < from.len() {
            self.meter.printed((from.len() - allowed) as u64)?;
        }
        Ok(printed)
    }

    fn log(&self, level: u8, message: &str) -> Result<Reply, ErrorCode> {
        if !self.spec.permissions.log {
            return Err(self.authority.deny(Permission::Log, "log"));
        }
        self.meter.printed(message.len() as u64)?;
        if let Some(sink) = &self.surroundings.log {
            sink(level, message);
        }
        Ok(Reply::Done)
    }

    fn check_clock(&self) -> Result<(), ErrorCode> {
        self.check_switch(self.spec.permissions.clock, Permission::Clock)
    }

    /// A permission that is off and whose calls no program expects to fail: the instance ends.
    fn check_switch(&self, on: bool, permission: Permission) -> Result<(), ErrorCode> {
        if on {
            return Ok(());
        }
        let denial = self.authority.denial(permission, permission.name(), &format!("{permission} is off"));
        self.denials.record(denial.clone());
        Err(self.meter.end(Verdict::Denied(denial)))
    }
}

fn open_streams(spec: &Spec, ledger: &Arc<Ledger>, handles: &Handles) -> Result<[Option<Arc<Captured>>; 2], HalError> {
    let passing = Rights::STAT | Rights::DUPLICATE | Rights::TRANSFER;
    let input = Stream::input(&spec.stdio.stdin)?;
    let output = Stream::output(&spec.stdio.stdout, false, ledger)?;
    let error = Stream::output(&spec.stdio.stderr, true, ledger)?;
    let captured = [output.captured(), error.captured()];
    for (stream, rights) in [(input, Rights::READ), (output, Rights::WRITE), (error, Rights::WRITE)] {
        handles.insert_uncounted(Arc::new(stream), rights | passing).map_err(|_| HalError::TooManyMounts)?;
    }
    Ok(captured)
}

fn open_folders(spec: &Spec, root_folder: bool, vfs: &Arc<Vfs>, handles: &Handles) -> Result<Vec<Beginning>, HalError> {
    let at_root = spec.mounts.iter().find(|mount| mount.at == "/");
    let root = (root_folder || at_root.is_some()).then(|| (at_root.map_or("/", |mount| &mount.name), vfs.root()));
    let mounts = spec.mounts.iter().filter(|mount| mount.at != "/");
    let mounts = mounts.filter_map(|mount| Some((mount.name.as_str(), vfs.mounted(&mount.at)?)));
    root.into_iter()
        .chain(mounts)
        .map(|(name, folder)| {
            let handle = handles.insert_uncounted(folder, OF_FOLDER).map_err(|_| HalError::TooManyMounts)?;
            Ok(Beginning { name: name.to_owned(), handle })
        })
        .collect()
}

impl Host for ScopedHal {
    fn used(&self, permission: Option<Permission>, path: &[u8]) {
        self.authority.used(permission, path);
    }

    #[inline]
    fn call<'a>(&'a self, call: Call<'a>) -> Answer<'a> {
        if let Err(stopping) = self.meter.go_on() {
            return Answer::Now(Err(stopping));
        }
        match call {
            // The most frequent one first, so that it does not pass through the others' frame.
            Call::Read { file, offset, into } => Answer::Now(self.read(file, offset, into)),
            Call::Ready { .. }
            | Call::Sleep { .. }
            | Call::Resolve { .. }
            | Call::ChannelReceive { .. }
            | Call::Invoke { .. } => self.serve_later(call),
            call => Answer::Now(self.serve(call)),
        }
    }

    fn charge(&self, used: Usage) -> Verdict {
        self.meter.charge(&used)
    }

    fn judge(&self, path: &[u8], wanted: FileUse<'_>) -> Result<(), ErrorCode> {
        match wanted {
            FileUse::With(permission) => self.authority.check(permission, path),
            FileUse::Look => self.authority.check_known(path),
            FileUse::Move(to) => self.authority.check_no_gain(path, to),
        }
    }

    fn shrink_disk(&self, bytes: u64) {
        self.meter.shrink_disk(bytes);
    }

    fn verdict(&self) -> Verdict {
        self.meter.verdict()
    }

    fn descriptor(&self, socket: Handle) -> Result<OwnedFd, ErrorCode> {
        self.export(socket)
    }

    fn denied(&self, denial: Denial) {
        self.denials.record(denial);
    }

    fn folders(&self) -> Vec<Beginning> {
        self.folders.clone()
    }

    fn functions(&self) -> &[String] {
        &self.functions
    }
}

impl Hal for ScopedHal {
    fn begin(&self) {
        self.meter.begin();
    }

    fn end(&self, reason: Verdict) {
        self.meter.end(reason);
    }

    fn ended(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.meter.stopped())
    }

    fn usage(&self) -> Usage {
        self.meter.usage()
    }

    fn denials(&self) -> (Vec<(Denial, u64)>, u64) {
        (self.denials.list(), self.denials.dropped())
    }

    fn captured(&self) -> [Option<Vec<u8>>; 2] {
        [0, 1].map(|stream| self.captured[stream].as_ref().map(|captured| captured.bytes()))
    }

    fn close(&self) {
        ScopedHal::close(self);
    }
}
