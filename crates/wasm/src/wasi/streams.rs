//! `wasi:io` streams over handles of the scoped hal.

use std::sync::Arc;

use ringfence_abi::{Call, ErrorCode, Interest, Position, Reply};
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::bytes::{Bytes, BytesMut};
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{InputStream, OutputStream, StreamError, StreamResult};

use crate::memory::{Kept, Memory};
use crate::state::Owned;
use crate::trap::Stopping;

/// The most bytes moved at once.
pub(in crate::wasi) const CHUNK: usize = 64 << 10;

fn failed(code: ErrorCode) -> StreamError {
    match code {
        ErrorCode::Stopping => StreamError::Trap(Stopping.into()),
        ErrorCode::BrokenPipe | ErrorCode::ConnectionReset => StreamError::Closed,
        other => StreamError::LastOperationFailed(other.into()),
    }
}

/// Makes a call that fills a buffer; an empty one means that nothing is there yet.
fn fill(size: usize, receive: impl FnOnce(&mut [u8]) -> Result<Reply, ErrorCode>) -> StreamResult<Bytes> {
    if size == 0 {
        return Ok(Bytes::new());
    }
    let mut buffer = BytesMut::zeroed(size.min(CHUNK));
    match receive(&mut buffer) {
        Ok(Reply::Count(0)) => Err(StreamError::Closed),
        Ok(Reply::Count(count)) => {
            buffer.truncate(count);
            Ok(buffer.freeze())
        }
        Ok(_) => Err(failed(ErrorCode::Io)),
        Err(ErrorCode::WouldBlock) => Ok(Bytes::new()),
        Err(code) => Err(failed(code)),
    }
}

/// Reads a file from an offset on. Always ready.
pub(super) struct FileReader {
    file: Arc<Owned>,
    offset: u64,
}

impl FileReader {
    pub(super) fn new(file: Arc<Owned>, offset: u64) -> Self {
        FileReader { file, offset }
    }
}

#[async_trait]
impl Pollable for FileReader {
    async fn ready(&mut self) {}
}

#[async_trait]
impl InputStream for FileReader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let read = fill(size, |into| self.file.call(Call::Read { file: self.file.handle, offset: self.offset, into }))?;
        self.offset += read.len() as u64;
        Ok(read)
    }
}

/// How many bytes may be written until `check-write` is asked again.
struct Permit(usize);

impl Permit {
    fn give(&mut self) -> usize {
        self.0 = CHUNK;
        CHUNK
    }

    /// Uses `bytes` of it; WASI makes it a trap to use more than there is.
    fn take(&mut self, bytes: &Bytes) -> StreamResult<()> {
        self.0 = self
            .0
            .checked_sub(bytes.len())
            .ok_or_else(|| StreamError::trap("write of more than check-write permitted"))?;
        Ok(())
    }
}

/// Writes a file from an offset on, or at its end. Always ready.
pub(super) struct FileWriter {
    file: Arc<Owned>,
    at: Position,
    permit: Permit,
}

impl FileWriter {
    pub(super) fn new(file: Arc<Owned>, at: Position) -> Self {
        FileWriter { file, at, permit: Permit(0) }
    }
}

#[async_trait]
impl Pollable for FileWriter {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for FileWriter {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.permit.take(&bytes)?;
        let mut from = &bytes[..];
        while !from.is_empty() {
            let written = match self.file.call(Call::Write { file: self.file.handle, at: self.at, from }) {
                Ok(Reply::Count(count)) if count > 0 => count,
                Ok(_) => return Err(failed(ErrorCode::NoSpace)),
                Err(code) => return Err(failed(code)),
            };
            if let Position::Offset(offset) = &mut self.at {
                *offset += written as u64;
            }
            from = &from[written..];
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(self.permit.give())
    }
}

/// Reads from standard input or a connection.
pub(super) struct StreamReader {
    stream: Arc<Owned>,
    ended: bool,
}

impl StreamReader {
    pub(super) fn new(stream: Arc<Owned>) -> Self {
        StreamReader { stream, ended: false }
    }
}

#[async_trait]
impl Pollable for StreamReader {
    async fn ready(&mut self) {
        if !self.ended {
            let call = Call::Ready { handle: self.stream.handle, interest: Interest::Readable };
            let _ = self.stream.host.call(call).wait().await;
        }
    }
}

#[async_trait]
impl InputStream for StreamReader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if self.ended {
            return Err(StreamError::Closed);
        }
        let read = fill(size, |into| self.stream.call(Call::Receive { stream: self.stream.handle, into }));
        self.ended = matches!(read, Err(StreamError::Closed));
        read
    }

    /// Waits only when nothing is there: what has come already is one call away.
    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        loop {
            let data = self.read(size)?;
            if !data.is_empty() || size == 0 {
                return Ok(data);
            }
            self.ready().await;
        }
    }
}

/// Writes to standard output, standard error or a connection. What does not fit at once is kept
/// here, charged to the guest's memory, and no more is taken until it has gone.
pub(super) struct StreamWriter {
    stream: Arc<Owned>,
    pending: Bytes,
    permit: Permit,
    kept: Kept,
}

impl StreamWriter {
    pub(super) fn new(stream: Arc<Owned>, memory: &Memory) -> Self {
        StreamWriter { stream, pending: Bytes::new(), permit: Permit(0), kept: Kept::nothing(memory) }
    }

    /// Sends as much of what is kept as fits now.
    fn send(&mut self) -> StreamResult<()> {
        while !self.pending.is_empty() {
            match self.stream.call(Call::Send { stream: self.stream.handle, from: &self.pending }) {
                Ok(Reply::Count(0)) | Err(ErrorCode::WouldBlock) => break,
                Ok(Reply::Count(count)) => drop(self.pending.split_to(count)),
                Ok(_) => return Err(failed(ErrorCode::Io)),
                Err(code) => {
                    self.forget();
                    return Err(failed(code));
                }
            }
        }
        if self.pending.is_empty() {
            self.forget();
        }
        Ok(())
    }

    /// Keeps nothing any more.
    fn forget(&mut self) {
        // An empty rest would still hold on to what it is the rest of.
        self.pending = Bytes::new();
        // Giving back cannot fail.
        let _ = self.kept.set(0);
    }

    /// Takes what the guest writes, and sends as much of it as fits now.
    fn accept(&mut self, bytes: Bytes) -> StreamResult<()> {
        if !self.pending.is_empty() {
            return Err(StreamError::trap("write before check-write allowed it"));
        }
        let size = bytes.len() as u64;
        self.pending = bytes;
        self.send()?;
        if !self.pending.is_empty() {
            self.kept.set(size).map_err(|stopping| StreamError::Trap(stopping.into()))?;
        }
        Ok(())
    }
}

#[async_trait]
impl Pollable for StreamWriter {
    async fn ready(&mut self) {
        // An error ends the waiting; the next call of the guest meets it again.
        while self.send().is_ok() && !self.pending.is_empty() {
            let call = Call::Ready { handle: self.stream.handle, interest: Interest::Writable };
            if self.stream.host.call(call).wait().await.is_err() {
                return;
            }
        }
    }
}

#[async_trait]
impl OutputStream for StreamWriter {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.permit.take(&bytes)?;
        self.accept(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.send()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.send()?;
        Ok(if self.pending.is_empty() { self.permit.give() } else { 0 })
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.drain().await?;
        self.accept(bytes)?;
        self.drain().await
    }

    async fn write_ready(&mut self) -> StreamResult<usize> {
        self.drain().await?;
        Ok(self.permit.give())
    }
}

impl StreamWriter {
    /// Waits until nothing is kept any more.
    async fn drain(&mut self) -> StreamResult<()> {
        self.send()?;
        while !self.pending.is_empty() {
            let call = Call::Ready { handle: self.stream.handle, interest: Interest::Writable };
            self.stream.host.call(call).wait().await.map_err(failed)?;
            self.send()?;
        }
        Ok(())
    }
}

impl Drop for StreamWriter {
    /// What the guest wrote without flushing gets one more chance.
    fn drop(&mut self) {
        let _ = self.send();
    }
}

#[cfg(test)]
mod tests;
