//! The terminal of an instance: what the user types goes in, and what is shown comes out, through the
//! standard streams of the hal.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ringfence_abi::{Call, ErrorCode, Interest, Reply};
use ringfence_isolation::{Answer as Answered, Host};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::super::process::lock;
use super::super::world::World;
use super::Terminal;
use super::settings::flag;

const STDIN: ringfence_abi::Handle = ringfence_abi::Handle::STDIN;
const STDOUT: ringfence_abi::Handle = ringfence_abi::Handle::STDOUT;
/// How much is typed or shown at once.
const CHUNK: usize = 4096;
/// Who takes nothing for so long does not see the rest.
const PATIENCE: Duration = Duration::from_secs(1);

async fn answered(answer: Answered<'_>) -> Result<Reply, ErrorCode> {
    match answer {
        Answered::Now(result) => result,
        Answered::Later(future) => future.await,
    }
}

/// Types what comes, and shows what there is to show, until the instance has ended.
pub(in super::super) fn serve(world: &Arc<World>, terminal: &Arc<Terminal>, executor: &Handle) -> Served {
    Served([
        executor.spawn(type_in(Arc::downgrade(world), world.host.clone(), terminal.clone())).abort_handle(),
        executor.spawn(show(Arc::downgrade(world), world.host.clone(), terminal.clone())).abort_handle(),
    ])
}

/// Who types and who shows. Dropping it ends both.
pub(in super::super) struct Served([AbortHandle; 2]);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

async fn type_in(world: Weak<World>, host: Arc<dyn Host>, terminal: Arc<Terminal>) {
    let mut chunk = vec![0; CHUNK];
    let mut line_is_open = false;
    loop {
        let received = host.call(Call::Receive { stream: STDIN, into: &mut chunk }).now();
        let typed = match received {
            Ok(Reply::Count(count)) if count > 0 => {
                line_is_open = chunk[count - 1] != b'\n';
                chunk[..count].to_vec()
            }
            Err(ErrorCode::WouldBlock) => {
                let ready = Call::Ready { handle: STDIN, interest: Interest::Readable };
                match answered(host.call(ready)).await {
                    Ok(_) => continue,
                    Err(_) => return,
                }
            }
            // The first one ends a line that is not finished.
            _ => {
                let end = lock(&terminal.state).settings.characters[flag::VEOF];
                vec![end; if line_is_open { 2 } else { 1 }]
            }
        };
        let is_over = !matches!(received, Ok(Reply::Count(count)) if count > 0);
        let mut rest = &typed[..];
        while !rest.is_empty() {
            let mut changed = std::pin::pin!(terminal.outside.notified());
            changed.as_mut().enable();
            let Some(world) = world.upgrade() else { return };
            let count = terminal.try_type(&world, rest);
            drop(world);
            rest = &rest[count..];
            if count == 0 {
                changed.await;
            }
        }
        if is_over {
            return;
        }
    }
}

async fn show(world: Weak<World>, host: Arc<dyn Host>, terminal: Arc<Terminal>) {
    while world.strong_count() > 0 {
        let mut changed = std::pin::pin!(terminal.outside.notified());
        changed.as_mut().enable();
        let one = terminal.showing.lock().await;
        if !pass_on(&*host, &terminal, None).await {
            return;
        }
        drop(one);
        changed.await;
    }
}

/// Shows everything there is; `false` when nobody looks.
async fn pass_on(host: &dyn Host, terminal: &Terminal, patience: Option<Duration>) -> bool {
    loop {
        let chunk: Vec<u8> = {
            let state = lock(&terminal.state);
            state.shown.iter().copied().take(CHUNK).collect()
        };
        if chunk.is_empty() {
            return true;
        }
        match host.call(Call::Send { stream: STDOUT, from: &chunk }).now() {
            Ok(Reply::Count(count)) => {
                let mut state = lock(&terminal.state);
                let count = count.min(state.shown.len());
                state.shown.drain(..count);
                drop(state);
                terminal.bell.ring();
                terminal.outside.notify_waiters();
            }
            Err(ErrorCode::WouldBlock) => {
                let ready = answered(host.call(Call::Ready { handle: STDOUT, interest: Interest::Writable }));
                let waited = match patience {
                    None => ready.await.is_ok(),
                    Some(patience) => matches!(tokio::time::timeout(patience, ready).await, Ok(Ok(_))),
                };
                if !waited {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

/// Shows what is left when the instance has ended.
pub(in super::super) fn finish(world: &World, terminal: &Terminal, served: Served, executor: &Handle) {
    executor.block_on(async {
        // Whoever shows now and cannot go on has lost the rest.
        if let Ok(_one) = tokio::time::timeout(PATIENCE, terminal.showing.lock()).await {
            pass_on(&*world.host, terminal, Some(PATIENCE)).await;
        }
    });
    drop(served);
}
