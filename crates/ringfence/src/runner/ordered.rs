//! The monitor's side of further commands: begins what its supervisor ordered, and says how it ended.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringfence_isolation::{CallError, Command, Exit, Instance, Running};
use ringfence_manifest::WindowSize;

use super::remote::Remote;
use super::wire::{Ask, Came, CommandOrder, Turn};

/// The commands that run.
pub(super) struct Ordered {
    remote: Arc<Remote>,
    running: Arc<Mutex<HashMap<u32, Box<dyn Running>>>>,
}

impl Ordered {
    pub(super) fn new(remote: Arc<Remote>) -> Self {
        Ordered { remote, running: Arc::default() }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<u32, Box<dyn Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does with a command what it is told to. One that is over has no use for it.
    pub(super) fn turn(&self, instance: &dyn Instance, number: u32, turn: Turn) {
        match turn {
            Turn::Begin => self.begin(instance, number),
            Turn::Signal(signal) => {
                if let Some(running) = self.running().get(&number) {
                    running.signal(signal);
                }
            }
            Turn::Resize(rows, columns) => {
                if let Some(running) = self.running().get(&number) {
                    running.resize(WindowSize { rows, columns });
                }
            }
            Turn::End => drop(self.running().remove(&number)),
        }
    }

    fn begin(&self, instance: &dyn Instance, number: u32) {
        let Some((order, streams)) = self.remote.command(number) else { return };
        let begun = match (instance.exec(), command(order, streams)) {
            (Some(exec), Some(command)) => exec.begin(command),
            _ => Err(CallError::Unsupported("it has no streams")),
        };
        let running = match begun {
            Ok(running) => running,
            Err(error) => return tell(&self.remote, number, Err(error)),
        };
        let ended = running.ended();
        self.running().insert(number, running);
        let (remote, all) = (self.remote.clone(), self.running.clone());
        tokio::spawn(async move {
            let ended = ended.await;
            drop(all.lock().unwrap_or_else(PoisonError::into_inner).remove(&number));
            tell(&remote, number, ended);
        });
    }
}

fn command(order: CommandOrder, streams: Vec<OwnedFd>) -> Option<Command> {
    let CommandOrder { words, environment, working_directory, terminal, has_streams } = order;
    let streams = if has_streams { Some(streams.try_into().ok()?) } else { None };
    let terminal = terminal.map(|(rows, columns)| WindowSize { rows, columns });
    Some(Command { words, environment: environment.into_iter().collect(), working_directory, streams, terminal })
}

/// Says how it ended, unless the guest did: that is said for itself.
fn tell(remote: &Remote, number: u32, ended: Result<Exit, CallError>) {
    let came = match ended {
        Ok(Exit::Returned(status)) => Came::Returned(status),
        Err(CallError::Ended(_)) => return,
        Err(CallError::NotExecuted { missing, reason, .. }) => Came::NotExecuted { missing, reason },
        Err(CallError::Arguments { reason, .. }) => Came::Arguments(reason),
        Ok(_) | Err(_) => Came::NoRoom,
    };
    remote.tell(&Ask::CommandEnded { number, came });
}
