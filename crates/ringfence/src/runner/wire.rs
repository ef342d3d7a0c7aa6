//! What crosses between a supervisor and its runner: frames of a length and a value in postcard's format.

use std::io::{self, Read, Write};
use std::time::Duration;

use ringfence_abi::{Call, ErrorCode, Handle, Reply};
use ringfence_isolation::{Activity, Usage};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The most bytes of content that one call moves; longer ones are done in part, as `read(2)` may.
pub(super) const MOST: usize = 256 << 10;
/// The longest frame: content, or the arguments of a function.
const LONGEST: usize = 4 << 20;
/// The longest value that still fits into another frame.
pub(super) const LONGEST_WITHIN: usize = LONGEST - 256;

/// What a runner asks.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask<'a> {
    /// What there is to do; asked once. [`Told::Order`].
    Order,
    /// A call of the guest. [`Told::Now`] or [`Told::Later`].
    Call {
        number: u32,
        #[serde(borrow)]
        call: Call<'a, usize>,
    },
    /// Nobody waits for the answer of that call any more. Not answered.
    GiveUp { number: u32 },
    /// Usage since the last charge, and memory held now. [`Told::Verdict`].
    Charge(Charge),
    /// Whether the guest may go on. [`Told::Verdict`].
    Verdict,
    /// The guest's end; the runner's is next. Not answered.
    Ended { end: End, fuel: u64 },
    /// So many bytes of what was charged as kept on disk are gone. Not answered.
    ShrinkDisk { bytes: u64 },
    /// Whether the capsule may do this at a path that the runner serves. [`Told::Judged`].
    Judge { path: &'a [u8], wanted: Wanted<'a> },
    /// One more line to ask on. [`Told::Parcel`].
    Line,
    /// What the guest asked of its monitor; its end is next. Not answered.
    Counted(Activity),
    /// What the further command of this number is. [`Told::Command`].
    Command(u32),
    /// How it ended. Not answered.
    CommandEnded { number: u32, came: Came },
    /// Where the captured state goes, if it is still wanted. [`Told::Parcel`].
    Capture,
    /// All of it was written, or why not. Not answered.
    Captured(Result<(), String>),
    /// The program's compiled code from this byte on, as much as fits; asked in a machine. [`Told::Code`].
    Code { from: u64 },
    /// The guest begins, after so many nanoseconds of processor time that were the engine's; told in a machine, once.
    /// Not answered.
    Began { nanoseconds: u64 },
    /// The next of what was not waited for; asked in a machine. [`Told::News`].
    Wait,
    /// The TCP connection behind this handle, if the runner may have it itself. [`Told::Parcel`].
    Connection(Handle),
}

/// What was used.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Charge {
    pub(super) nanoseconds: u64,
    pub(super) memory: u64,
    pub(super) memory_peak: u64,
    pub(super) io_operations: u64,
    pub(super) io_bytes: u64,
    pub(super) disk: u64,
    pub(super) network_bytes: u64,
}

impl From<Usage> for Charge {
    fn from(used: Usage) -> Self {
        Charge {
            nanoseconds: u64::try_from(used.cpu_time.as_nanos()).unwrap_or(u64::MAX),
            memory: used.memory,
            memory_peak: used.memory_peak,
            io_operations: used.io_operations,
            io_bytes: used.io_bytes,
            disk: used.disk,
            network_bytes: used.network_bytes,
        }
    }
}

impl From<Charge> for Usage {
    fn from(charge: Charge) -> Self {
        Usage {
            cpu_time: Duration::from_nanos(charge.nanoseconds),
            memory: charge.memory,
            memory_peak: charge.memory_peak,
            io_operations: charge.io_operations,
            io_bytes: charge.io_bytes,
            disk: charge.disk,
            network_bytes: charge.network_bytes,
            ..Usage::default()
        }
    }
}

/// What is wanted at a path: `ringfence_isolation::FileUse`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Wanted<'a> {
    /// What the permission of this name is for.
    With(&'a str),
    Look,
    Move(&'a [u8]),
}

/// How the guest ended, as far as its runner is to be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum End {
    Returned(i32),
    StackOverflow,
    MemoryOutOfBounds,
    Arithmetic(String),
    Unreachable,
    Trapped(String),
    /// It used up its instructions.
    Fuel,
    /// It went over the limit of this name, which the runner counts.
    Exceeded {
        limit: String,
        used: u64,
    },
    /// The host said so.
    ByVerdict,
    /// The engine failed.
    Lost(String),
    /// It is no program that can be executed.
    NotExecuted(String),
}

/// What a runner is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Told {
    Order(Order),
    /// The answer, and the bytes that were asked for.
    Now(Answered),
    /// The answer comes on the other line.
    Later,
    /// Whether it may go on.
    Verdict(bool),
    Judged(Result<(), ErrorCode>),
    /// Whether there is such a thing; it comes as a descriptor, on the line of parcels.
    Parcel(bool),
    /// What it is, if there is one; its streams come as a parcel, if it has its own.
    Command(Option<CommandOrder>),
    /// Less than [`MOST`] at the end.
    Code(#[serde(with = "serde_bytes")] Vec<u8>),
    News(News),
}

/// A further command: `ringfence_isolation::Command`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct CommandOrder {
    pub(super) words: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) working_directory: Option<String>,
    /// The lines and columns of its terminal, if it has one.
    pub(super) terminal: Option<(u16, u16)>,
    /// Whether three descriptors come with it.
    pub(super) has_streams: bool,
}

/// How a further command ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Came {
    Returned(i32),
    NotExecuted {
        missing: bool,
        reason: String,
    },
    /// Something it was begun with is not there.
    Arguments(String),
    NoRoom,
}

/// What is told on the other line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum News {
    Late(Late),
    /// Something from outside, for the guest.
    Steer(Steer),
}

/// What is done with a guest from outside.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Steer {
    Signal(i32),
    /// Its terminal has so many lines and columns.
    Resize(u16, u16),
    /// The same for the further command of this number, and more.
    Command(u32, Turn),
    /// It is captured, and ends there or not.
    Capture {
        ends: bool,
    },
}

/// What is done with a further command.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Turn {
    /// It is there to be asked for.
    Begin,
    Signal(i32),
    Resize(u16, u16),
    /// Nobody wants it any more.
    End,
}

/// An answer with the bytes that go where the call wants them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answered {
    pub(super) result: Result<Reply, ErrorCode>,
    #[serde(with = "serde_bytes")]
    pub(super) into: Vec<u8>,
}

/// An answer on the other line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Late {
    pub(super) number: u32,
    pub(super) answered: Answered,
}

/// What there is to do for the monitor of a virtual machine.
#[cfg(feature = "microvm")]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MachineOrder {
    pub(super) name: String,
    /// Where the program is on the host, for itself.
    pub(super) program: Vec<u8>,
    pub(super) args: Vec<String>,
    pub(super) working_directory: String,
    pub(super) environment: Vec<(String, String)>,
    /// Where mounts lie in the capsule's tree.
    pub(super) mounts: Vec<String>,
    /// The rules of the permissions of these names. What they grant is the host's to say.
    pub(super) rules: Vec<(String, Vec<String>)>,
    pub(super) learn: bool,
    /// Which system calls it may make, as in a manifest.
    pub(super) seccomp: Vec<String>,
    /// The lines and columns of its terminal, if it has one, and whether standard error leads elsewhere.
    pub(super) terminal: Option<(u16, u16)>,
    pub(super) error_apart: bool,
    pub(super) limits: Counted,
    /// Whether the host is told of each operation before it is done.
    pub(super) counts_each: bool,
    /// Whether it is given the connections of its guest.
    pub(super) has_connections: bool,
    pub(super) folders: Vec<(String, Handle)>,
    /// Whether its program is a runner, which asks the supervisor (`ringfence_vm::ASK`).
    pub(super) asks: bool,
    /// What is known of KVM.
    pub(super) kvm: ringfence_vm::Findings,
    /// Whether it goes on from a captured state, which comes with the first parcel.
    pub(super) goes_on: bool,
    /// Where it comes to rest to be captured, if it does.
    pub(super) capture_at: Option<CaptureAt>,
}

/// `ringfence_manifest::Point`.
#[cfg(feature = "microvm")]
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum CaptureAt {
    Start,
    Marker,
    Anywhere,
}

/// The limits that a monitor counts itself, in bytes and nanoseconds.
#[cfg(feature = "microvm")]
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Counted {
    pub(super) memory: Option<u64>,
    pub(super) cpu_time: Option<u64>,
    pub(super) processes: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) disk: Option<u64>,
    pub(super) file_size: Option<u64>,
}

/// What there is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) name: String,
    pub(super) working_directory: String,
    pub(super) memory: Option<u64>,
    pub(super) fuel: Option<u64>,
    pub(super) folders: Vec<(String, Handle)>,
    pub(super) functions: Vec<String>,
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// A value behind its length.
fn frame(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = postcard::to_extend(value, vec![0; 4]).map_err(invalid)?;
    let length = bytes.len() - 4;
    if length > LONGEST {
        return Err(invalid("too long for one frame"));
    }
    bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(bytes)
}

/// A value without its length, to be put into another one.
pub(super) fn encode(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let bytes = postcard::to_stdvec(value).map_err(invalid)?;
    if bytes.len() > LONGEST_WITHIN { Err(invalid("too long for one answer")) } else { Ok(bytes) }
}

fn length(head: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_le_bytes(head) as usize;
    if length > LONGEST { Err(invalid("a frame that is too long")) } else { Ok(length) }
}

pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> io::Result<T> {
    // What is too much would be kept, too, for as long as a call waits.
    match postcard::take_from_bytes(bytes).map_err(invalid)? {
        (value, []) => Ok(value),
        _ => Err(invalid("a frame with more in it than its value")),
    }
}

/// Sends one value, waiting on this thread.
pub(super) fn send(line: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    line.write_all(&frame(value)?)
}

/// Takes one value, waiting on this thread.
pub(super) fn receive<T: DeserializeOwned>(line: &mut impl Read) -> io::Result<T> {
    decode(&receive_frame(line)?)
}

/// The same with the bytes of a value that borrows from them.
pub(super) fn receive_frame(line: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = [0; 4];
    line.read_exact(&mut head)?;
    let mut bytes = vec![0; length(head)?];
    line.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The same as a task.
pub(super) async fn send_on(line: &mut (impl AsyncWrite + Unpin), value: &impl Serialize) -> io::Result<()> {
    line.write_all(&frame(value)?).await
}

/// Takes the bytes of one value; `None` at the end of the line.
pub(super) async fn next_frame(line: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; 4];
    match line.read_exact(&mut head).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut bytes = vec![0; length(head)?];
    line.read_exact(&mut bytes).await?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_survives_its_frame() {
        let mut line = Vec::new();
        let call = Call::Write { file: Handle::new(104, 0), at: ringfence_abi::Position::Offset(7), from: b"text" };
        send(&mut line, &Ask::Call { number: 3, call }).unwrap();
        let shown = format!("{:?}", decode::<Ask<'_>>(&line[4..]).unwrap());
        assert!(shown.contains("number: 3") && shown.contains("[116, 101, 120, 116]"), "{shown}");
    }

    #[test]
    fn what_is_too_long_or_no_value_is_an_error() {
        assert!(receive::<Told>(&mut &u32::MAX.to_le_bytes()[..]).is_err());
        assert!(receive::<Told>(&mut &[1, 0, 0, 0, 200][..]).is_err());
        assert!(receive::<Told>(&mut &[9, 0, 0, 0, 1][..]).is_err());
        let error = send(&mut Vec::new(), &Answered { result: Ok(Reply::Done), into: vec![0; LONGEST] });
        assert!(error.is_err());
    }
}
