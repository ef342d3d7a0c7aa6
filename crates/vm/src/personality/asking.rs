//! How the embedder's own program in a machine asks its host, where there is one that answers: `pread(2)` of
//! standard input, which Linux refuses for what has no position.
//!
//! The buffer holds a question when the call is made and the answer when it returns, each behind its length, so that
//! both cost one exit. What they mean is the host's to say.

use ringfence_abi::{Call, Handle, Reply, Value};
use rustix::io::Errno;

use super::Answer;
use super::open::{Kind, Open};
use super::thread::Thread;

/// The name of the function of a host that answers its machine's program: it takes bytes and returns bytes.
pub const ASK: &str = "ringfence:machine/host#ask";

/// How many bytes a question may have, and an answer: a little less than a frame of who carries them on.
const MOST: usize = (4 << 20) - 256;
/// The bytes of a length.
const HEAD: usize = 4;

/// Whether somebody answers on what is open here.
pub(super) fn is_asked(thread: &Thread, open: &Open) -> bool {
    matches!(open.kind, Kind::Stream(Handle::STDIN)) && thread.world.host.functions().iter().any(|name| name == ASK)
}

/// Passes the question in the buffer on, waits, and puts the answer there; how many bytes of the buffer that takes.
/// `EINVAL` for what is no question, `EMSGSIZE` when there is no room for the answer, which is lost.
pub(super) fn ask(thread: &Thread, at: u64, length: u64) -> Answer {
    let space = thread.process.space()?;
    let room = usize::try_from(length).unwrap_or(usize::MAX).min(HEAD + MOST);
    let room = room.checked_sub(HEAD).ok_or(Errno::INVAL)?;
    let asked = space.read_u32(at)? as usize;
    if asked > room {
        return Err(Errno::INVAL);
    }
    thread.world.may_keep(asked)?;
    let mut question = vec![0; asked];
    space.read(at.wrapping_add(HEAD as u64), &mut question)?;
    let call = Call::Invoke { function: ASK, arguments: vec![Value::Bytes(question)] };
    let Reply::Values(values) = thread.answer(thread.world.host.call(call))? else { return Err(Errno::IO) };
    let [Value::Bytes(answer)] = &values[..] else { return Err(Errno::IO) };
    if answer.len() > room {
        return Err(Errno::MSGSIZE);
    }
    space.write(at, &(answer.len() as u32).to_le_bytes())?;
    space.write(at.wrapping_add(HEAD as u64), answer)?;
    Ok((HEAD + answer.len()) as u64)
}
