//! From wasmtime's errors to how an instance ended.

use ringfence_isolation::{Exit, LostReason, Trap, Verdict};

/// The program called `exit`.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("exit with status {0}")]
pub(crate) struct ExitCall(pub(crate) i32);

/// The host answered that the instance has to end; its verdict says why.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the instance is being stopped")]
pub(crate) struct Stopping;

/// The host itself failed in a call of the guest.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct HostFault(pub(crate) String);

/// How the instance ended, when guest code ended with `error` and the host's verdict is `verdict`.
pub(crate) fn classify(error: &wasmtime::Error, verdict: Verdict) -> Exit {
    if let Some(exit) = ended(verdict) {
        return exit;
    }
    if let Some(&ExitCall(status)) = error.downcast_ref() {
        return Exit::Returned(status);
    }
    if let Some(HostFault(message)) = error.downcast_ref() {
        return Exit::Lost(LostReason::Backend(message.clone()));
    }
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(trap) => Exit::Trapped(from_wasmtime(*trap)),
        None => Exit::Trapped(Trap::Other(format!("{:#}", error.root_cause()))),
    }
}

/// The end a verdict asks for.
pub(crate) fn ended(verdict: Verdict) -> Option<Exit> {
    match verdict {
        Verdict::Continue => None,
        Verdict::Exceeded(limit) => Some(Exit::Exceeded(limit)),
        Verdict::Denied(denial) => Some(Exit::Denied(denial)),
        Verdict::Stopped => Some(Exit::Stopped),
    }
}

fn from_wasmtime(trap: wasmtime::Trap) -> Trap {
    use wasmtime::Trap as W;
    match trap {
        W::StackOverflow => Trap::StackOverflow,
        W::MemoryOutOfBounds | W::HeapMisaligned => Trap::MemoryOutOfBounds,
        W::UnreachableCodeReached => Trap::Unreachable,
        W::IntegerOverflow | W::IntegerDivisionByZero | W::BadConversionToInteger => Trap::Arithmetic(trap.to_string()),
        other => Trap::Other(other.to_string()),
    }
}
