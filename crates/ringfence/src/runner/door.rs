//! A runner that is the program of a virtual machine: there is one way to its supervisor, and one thread.
//!
//! ```text
//! in the machine                                              around it
//! engine: guest ──Call──▶ Remote ──pread(2), one exit──▶ personality ──Invoke──▶ Hatch ──▶ Host
//! ```

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use ringfence_wasm::Metering;

use super::process::live;
use super::remote::{Given, Remote, gone};
use super::wire::{Ask, LONGEST_WITHIN, MOST, Told, decode, encode};

/// The bytes of a length.
const HEAD: usize = 4;

/// The way out of a machine: a question goes out and its answer comes back in one buffer (`ringfence_vm::ASK`).
pub(super) struct Door(Mutex<Vec<u8>>);

impl Door {
    fn new() -> Self {
        // What of it no frame reaches never becomes memory.
        Door(Mutex::new(vec![0; HEAD + LONGEST_WITHIN]))
    }

    fn exchange<T>(&self, ask: &Ask<'_>, take: impl FnOnce(&[u8]) -> io::Result<T>) -> io::Result<T> {
        let question = encode(ask)?;
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        place[..HEAD].copy_from_slice(&(question.len() as u32).to_le_bytes());
        place[HEAD..HEAD + question.len()].copy_from_slice(&question);
        let count = rustix::io::pread(io::stdin().as_fd(), &mut place[..], 0)?;
        take(place.get(HEAD..count).ok_or(io::ErrorKind::InvalidData)?)
    }

    pub(super) fn tell(&self, ask: &Ask<'_>) -> io::Result<()> {
        self.exchange(ask, |_| Ok(()))
    }

    pub(super) fn ask(&self, ask: &Ask<'_>) -> io::Result<Told> {
        self.exchange(ask, |answer| decode(answer))
    }
}

/// Runs what the supervisor has for this machine, and ends its program.
pub(super) fn carry_out() -> ! {
    let door = Door::new();
    let order = match door.ask(&Ask::Order) {
        Ok(Told::Order(order)) => order,
        Ok(_) => gone(),
        Err(error) => {
            eprintln!("ringfence: a runner in a machine is started by ringfence itself: {error}");
            std::process::exit(64)
        }
    };
    let given = Given {
        folders: order.folders.clone(),
        functions: order.functions.clone(),
        counts_each: true,
        counts_disk: true,
        connections: None,
        tells_time: false,
    };
    let remote = Arc::new(Remote::through(door, given));
    let code = code(&remote);
    let is_over = Arc::new(AtomicBool::new(false));
    let (waiting, over) = (remote.clone(), is_over.clone());
    // Nothing can go on before an answer comes: it is waited for here, without a second thread or a poll.
    let idle = move || {
        if !over.load(SeqCst) {
            waiting.wait();
        }
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().on_thread_park(idle).build() else { gone() };
    let task = runtime.spawn(async move {
        let (end, fuel) = live(&remote, &order, &code, Metering::Around).await;
        remote.tell(&Ask::Ended { end, fuel });
        // Everything else ends with the process, and costs exits.
        std::process::exit(0)
    });
    let _: Result<(), _> = runtime.block_on(task);
    is_over.store(true, SeqCst);
    gone()
}

/// The compiled program, piece by piece.
fn code(remote: &Remote) -> Vec<u8> {
    let mut code = Vec::new();
    loop {
        let Told::Code(piece) = remote.ask(&Ask::Code { from: code.len() as u64 }) else { gone() };
        code.extend_from_slice(&piece);
        if piece.len() < MOST {
            return code;
        }
    }
}
