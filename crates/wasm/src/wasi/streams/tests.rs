use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ringfence_abi::Handle;
use ringfence_isolation::{Answer, Host, Limit, LimitKind, Usage, Verdict};

use super::*;
use crate::control::Control;

/// A host whose streams take one byte at a time, or nothing, and that grants so much memory.
struct Slow {
    open: AtomicBool,
    memory: u64,
}

impl Host for Slow {
    fn call<'a>(&'a self, _: Call<'a>) -> Answer<'a> {
        Answer::Now(if self.open.load(Relaxed) { Ok(Reply::Count(1)) } else { Err(ErrorCode::WouldBlock) })
    }

    fn charge(&self, used: Usage) -> Verdict {
        let limit = Limit { limit: LimitKind::Memory, allowed: self.memory, used: used.memory };
        if used.memory > self.memory { Verdict::Exceeded(limit) } else { Verdict::Continue }
    }

    fn verdict(&self) -> Verdict {
        Verdict::Continue
    }
}

struct Lab {
    host: Arc<Slow>,
    control: Arc<Control>,
    memory: Memory,
}

fn lab(memory: u64) -> Lab {
    let host = Arc::new(Slow { open: AtomicBool::new(false), memory });
    let control = Arc::new(Control::new());
    let memory = Memory::new(host.clone(), control.clone());
    Lab { host, control, memory }
}

impl Lab {
    fn writer(&self) -> StreamWriter {
        let host: Arc<dyn Host> = self.host.clone();
        StreamWriter::new(Owned::borrowed(&host, Handle::STDOUT), &self.memory)
    }
}

fn bytes(count: usize) -> Bytes {
    BytesMut::zeroed(count).freeze()
}

#[test]
fn what_was_not_sent_is_memory_of_the_guest_until_it_is() {
    let lab = lab(1 << 20);
    let mut writer = lab.writer();
    assert_eq!(writer.check_write().unwrap(), CHUNK);
    writer.write(bytes(1000)).unwrap();
    assert_eq!(lab.control.memory(), 1000);
    assert_eq!(writer.check_write().unwrap(), 0);
    lab.host.open.store(true, Relaxed);
    assert_eq!(writer.check_write().unwrap(), CHUNK);
    assert_eq!(lab.control.memory(), 0);
    assert_eq!(lab.control.usage().memory_peak, 1000);
}

#[test]
fn a_stream_that_is_dropped_gives_back_what_it_kept() {
    let lab = lab(1 << 20);
    let mut writer = lab.writer();
    writer.check_write().unwrap();
    writer.write(bytes(CHUNK)).unwrap();
    assert_eq!(lab.control.memory(), CHUNK as u64);
    drop(writer);
    assert_eq!(lab.control.memory(), 0);
}

#[test]
fn keeping_more_than_the_memory_limit_ends_the_instance() {
    let lab = lab(CHUNK as u64 * 2);
    let mut writers: Vec<_> = (0..3).map(|_| lab.writer()).collect();
    let mut write = |at: usize| {
        let writer: &mut StreamWriter = &mut writers[at];
        writer.check_write()?;
        writer.write(bytes(CHUNK))
    };
    write(0).unwrap();
    write(1).unwrap();
    assert!(matches!(write(2), Err(StreamError::Trap(error)) if error.is::<Stopping>()));
}

#[test]
fn a_write_needs_a_permit_that_is_large_enough() {
    let lab = lab(1 << 20);
    lab.host.open.store(true, Relaxed);
    assert!(matches!(lab.writer().write(bytes(1)), Err(StreamError::Trap(_))));
    let mut writer = lab.writer();
    writer.check_write().unwrap();
    assert!(matches!(writer.write(bytes(CHUNK + 1)), Err(StreamError::Trap(_))));
    writer.write(bytes(CHUNK)).unwrap();
    assert!(matches!(writer.write(bytes(1)), Err(StreamError::Trap(_))));
    let host: Arc<dyn Host> = lab.host.clone();
    let mut writer = FileWriter::new(Owned::borrowed(&host, Handle::STDOUT), Position::Offset(0));
    assert!(matches!(writer.write(bytes(1)), Err(StreamError::Trap(_))));
}
