//! `ringfence:capsule` and `ringfence:program`: what a capsule may use beyond WASI.
//!
//! ```wit
//! package ringfence:capsule@0.1.0;
//! interface log { write: func(level: u8, message: string); }
//! interface channel {
//!   send: func(channel: string, message: list<u8>) -> result<_, string>;
//!   receive: func(channel: string) -> result<list<u8>, string>;
//! }
//! ```

use ringfence_abi::{Call, ErrorCode, Reply};
use wasmtime::component::Linker;

use crate::state::{Context, State, sift};
use crate::trap::ExitCall;

pub(super) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut exit = linker.instance("ringfence:program/exit")?;
    exit.func_wrap("exit", |_: Context, (status,): (u32,)| -> wasmtime::Result<()> {
        Err(ExitCall(status.cast_signed()).into())
    })?;

    let mut log = linker.instance("ringfence:capsule/log@0.1.0")?;
    log.func_wrap("write", |context: Context, (level, message): (u8, String)| {
        // A log line that is not granted is dropped; the denial is on record.
        let _ = context.data().call(Call::Log { level, message: &message })?;
        Ok(())
    })?;

    let mut channel = linker.instance("ringfence:capsule/channel@0.1.0")?;
    channel.func_wrap("send", |context: Context, (channel, message): (String, Vec<u8>)| {
        let sent = context.data().call(Call::ChannelSend { channel: &channel, message: &message })?;
        Ok((sent.map(|_| ()).map_err(name),))
    })?;
    channel.func_wrap_async("receive", |context: Context, (channel,): (String,)| {
        let host = context.data().host.clone();
        Box::new(async move {
            let received = sift(host.call(Call::ChannelReceive { channel: &channel }).wait().await)?;
            Ok((match received {
                Ok(Reply::Bytes(message)) => Ok(message),
                Ok(_) => Err(name(ErrorCode::Io)),
                Err(code) => Err(name(code)),
            },))
        })
    })
}

fn name(code: ErrorCode) -> String {
    code.posix_name().to_owned()
}
