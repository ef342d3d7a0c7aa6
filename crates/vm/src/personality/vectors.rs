//! The vector registers in the frame of a handler: `sigreturn(2)`, `struct sigcontext`.

use rustix::io::Errno;

use super::thread::Thread;
use crate::kvm::LEGACY;

impl Thread {
    /// Puts them on the stack below an address, and the handler begins as a program does, whatever was
    /// being counted. Where they are: `fpregs`.
    pub(super) fn save_vectors(&mut self, top: u64) -> Result<u64, Errno> {
        let vectors = self.processor()?.vectors().map_err(|_| Errno::IO)?;
        let frame = self.world.machine.extent().frame(&vectors);
        let at = top.wrapping_sub(frame.len() as u64) & !63;
        self.process.space()?.write(at, &frame)?;
        self.processor()?.clear_vectors().map_err(|_| Errno::IO)?;
        Ok(at)
    }

    /// Sets them to what is at an address; at none, to what a program begins with.
    pub(super) fn restore_vectors(&mut self, at: u64) -> Result<(), Errno> {
        if at == 0 {
            return self.processor()?.clear_vectors().map_err(|_| Errno::IO);
        }
        let space = self.process.space()?;
        let mut legacy = [0; LEGACY];
        space.read(at, &mut legacy)?;
        let machine = self.world.machine.clone();
        let extent = machine.extent();
        let mut frame = vec![0; extent.length(&legacy)];
        // It may have changed since, and is checked as it is now.
        space.read(at, &mut frame)?;
        let now = self.processor()?.vectors().map_err(|_| Errno::IO)?;
        let state = extent.state(&frame, &now);
        self.processor()?.set_vectors(&state).map_err(|_| Errno::FAULT)
    }
}
