//! The vector registers in the frame of a handler: `struct _xstate`, as Linux lays it out.

use kvm_bindings::kvm_xsave;

use super::thread::Thread;

/// `FP_XSTATE_MAGIC1`, `FP_XSTATE_MAGIC2`
const MAGIC: [u32; 2] = [0x4650_5853, 0x4650_5845];
/// Where the software's own words are in the area of `fxsave`.
const SOFTWARE_AT: usize = 464;
/// Where the header of `xsave` is: which parts are there.
const HEADER_AT: usize = 512;
/// `MXCSR`, and the bits of it that exist.
const MXCSR_AT: usize = 24;
const MXCSR: u32 = 0xffff;
/// The parts a program may have: x87, SSE, AVX, and AVX-512 where the machine has it.
const AVX_512: u64 = 0xe0;

impl Thread {
    fn vectors_size(&self) -> (usize, u64) {
        let parts = self.world.machine.vector_parts();
        let size = match parts {
            0 => 512,
            parts if parts & AVX_512 != 0 => 2696,
            _ => 832,
        };
        (size, parts)
    }

    /// The vector registers below `top`: where they lie, and their bytes with what follows.
    pub(super) fn vectors_for(&self, top: u64) -> Option<(u64, Vec<u8>)> {
        let (size, parts) = self.vectors_size();
        let vectors = self.processor.vectors().ok()?;
        let mut bytes: Vec<u8> = vectors.region.iter().flat_map(|word| word.to_le_bytes()).take(size).collect();
        bytes.resize(size, 0);
        if parts != 0 {
            let mut put = |at: usize, word: u64| bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
            put(SOFTWARE_AT, u64::from(MAGIC[0]) | (size as u64 + 4) << 32);
            put(SOFTWARE_AT + 8, parts);
            put(SOFTWARE_AT + 16, size as u64);
            bytes.extend_from_slice(&MAGIC[1].to_le_bytes());
        }
        let at = top.wrapping_sub(bytes.len() as u64) & !63;
        Some((at, bytes))
    }

    /// Takes the vector registers back from where a handler's frame says that they are; none lie at 0.
    /// They come from the program: parts the machine does not have are taken out. `None` when there is
    /// nothing, or nothing a processor would take.
    pub(super) fn take_vectors(&mut self, at: u64) -> Option<()> {
        let (size, parts) = self.vectors_size();
        if at == 0 {
            return Some(());
        }
        let mut bytes = vec![0; size];
        self.process.space().ok()?.read(at, &mut bytes).ok()?;
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let masked = word(MXCSR_AT) & MXCSR;
        let has_parts = parts != 0 && word(SOFTWARE_AT) == MAGIC[0];
        bytes[MXCSR_AT..MXCSR_AT + 4].copy_from_slice(&masked.to_le_bytes());
        bytes[SOFTWARE_AT..HEADER_AT].fill(0);
        if parts != 0 {
            let found =
                bytes[HEADER_AT..HEADER_AT + 8].iter().rev().fold(0_u64, |word, &byte| word << 8 | u64::from(byte));
            let kept = if has_parts { found & parts } else { 3 };
            bytes[HEADER_AT..HEADER_AT + 64].fill(0);
            bytes[HEADER_AT..HEADER_AT + 8].copy_from_slice(&kept.to_le_bytes());
        }
        let mut vectors = kvm_xsave::default();
        for (place, chunk) in vectors.region.iter_mut().zip(bytes.chunks_exact(4)) {
            *place = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        }
        if parts == 0 {
            // Without `xsave` KVM takes what its header says is there, all the same.
            vectors.region[HEADER_AT / 4] = 3;
        }
        self.processor.set_vectors(&vectors).ok()
    }
}
