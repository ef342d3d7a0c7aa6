//! The vector registers in memory: the standard format of `XSAVE`, with what Linux says of it in a
//! signal's frame (Intel SDM volume 1, 13.4; `struct _xstate` of `asm/sigcontext.h`).

use kvm_bindings::{CpuId, kvm_xsave};

use crate::words::{u32_at, u64_at};

/// The legacy area, as `FXSAVE` writes it.
pub(crate) const LEGACY: usize = 512;
/// With the header of `XSAVE` behind it.
const HEADER_END: usize = LEGACY + 64;
/// Where `MXCSR` and the mask of what may be set in it are.
const MXCSR: usize = 24;
const MXCSR_MASK: usize = 28;
/// Of the legacy area, what the kernel says of the rest: `struct _fpx_sw_bytes`.
const SAID: usize = 464;
/// `FP_XSTATE_MAGIC1`, there, and `FP_XSTATE_MAGIC2`, behind everything.
const MAGIC: u32 = 0x4650_5853;
const MAGIC_AT_END: u32 = 0x4650_5845;
/// x87 and SSE, which are in the legacy area.
const BASE: u64 = 3;
/// What `MXCSR` may have when the processor does not say: `FXSAVE` of the Intel SDM.
const USUAL_MASK: u32 = 0xffbf;

/// Where the parts of the state are that are enabled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Each with its bit of `XCR0` and its end.
    parts: Vec<(u64, usize)>,
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, word: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&word);
}

fn bytes_of(state: &kvm_xsave) -> Vec<u8> {
    state.region.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn state_of(bytes: &[u8]) -> kvm_xsave {
    let mut state = kvm_xsave::default();
    for (word, part) in state.region.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32_at(part, 0);
    }
    state
}

/// What a program begins with: `FNINIT`, and `MXCSR` with every exception masked.
pub(super) fn initial() -> kvm_xsave {
    let mut bytes = vec![0; HEADER_END];
    put(&mut bytes, 0, 0x037f_u16.to_le_bytes());
    put(&mut bytes, MXCSR, 0x1f80_u32.to_le_bytes());
    put(&mut bytes, LEGACY, BASE.to_le_bytes());
    state_of(&bytes)
}

impl Extent {
    /// From the leaf of CPUID on extended states (`0xd`).
    pub(super) fn new(cpuid: &CpuId, enabled: u64) -> Extent {
        let leaves = cpuid.as_slice().iter().filter(|leaf| leaf.function == 0xd && (2..63).contains(&leaf.index));
        let parts = leaves.filter(|leaf| enabled >> leaf.index & 1 != 0).map(|leaf| {
            let end = (leaf.ebx as usize).saturating_add(leaf.eax as usize);
            (1 << leaf.index, end)
        });
        // Longer ones there are not: `STATES`.
        let room = size_of::<kvm_xsave>();
        Extent { parts: parts.filter(|&(_, end)| (HEADER_END..=room).contains(&end)).collect() }
    }

    /// Where the last of these parts ends.
    fn end(&self, features: u64) -> usize {
        let used = self.parts.iter().filter(|(bit, _)| features & bit != 0);
        used.map(|&(_, end)| end).fold(HEADER_END, usize::max)
    }

    fn known(&self) -> u64 {
        self.parts.iter().fold(BASE, |all, (bit, _)| all | bit)
    }

    /// What a signal's frame holds: the parts that are in use, and Linux's words on which they are.
    pub(crate) fn frame(&self, state: &kvm_xsave) -> Vec<u8> {
        let mut bytes = bytes_of(state);
        let features = u64_at(&bytes, LEGACY) & self.known() | BASE;
        put(&mut bytes, LEGACY, features.to_le_bytes());
        let end = self.end(features);
        bytes.truncate(end);
        bytes.extend_from_slice(&MAGIC_AT_END.to_le_bytes());
        bytes[SAID..LEGACY].fill(0);
        put(&mut bytes, SAID, MAGIC.to_le_bytes());
        put(&mut bytes, SAID + 4, (end as u32 + 4).to_le_bytes());
        put(&mut bytes, SAID + 8, features.to_le_bytes());
        put(&mut bytes, SAID + 16, (end as u32).to_le_bytes());
        bytes
    }

    /// How long a frame is that begins with this legacy area.
    pub(crate) fn length(&self, legacy: &[u8; LEGACY]) -> usize {
        let length = u32_at(legacy, SAID + 16) as usize;
        let told = u32_at(legacy, SAID) == MAGIC && u32_at(legacy, SAID + 4) as usize == length.saturating_add(4);
        if told && (HEADER_END..=self.end(self.known())).contains(&length) { length + 4 } else { LEGACY }
    }

    /// The state in a frame, made such that a processor takes it: the program may have written anything.
    /// `now` is what the processor has.
    pub(crate) fn state(&self, frame: &[u8], now: &kvm_xsave) -> kvm_xsave {
        let mut bytes = frame.to_vec();
        bytes.resize(size_of::<kvm_xsave>(), 0);
        let is_whole = frame.len() > HEADER_END && u32_at(frame, frame.len() - 4) == MAGIC_AT_END;
        let mut features = BASE;
        if is_whole {
            let end = frame.len() - 4;
            let there = self.parts.iter().filter(|&&(_, part)| part <= end).fold(BASE, |all, (bit, _)| all | bit);
            features = u64_at(&bytes, LEGACY) & u64_at(&bytes, SAID + 8) & there;
            bytes[end..].fill(0);
        } else {
            bytes[LEGACY..].fill(0);
        }
        bytes[LEGACY..HEADER_END].fill(0);
        put(&mut bytes, LEGACY, features.to_le_bytes());
        let mask = match u32_at(&bytes_of(now), MXCSR_MASK) {
            0 => USUAL_MASK,
            mask => mask,
        };
        let mxcsr = u32_at(&bytes, MXCSR) & mask;
        put(&mut bytes, MXCSR, mxcsr.to_le_bytes());
        put(&mut bytes, MXCSR_MASK, mask.to_le_bytes());
        bytes[SAID..LEGACY].fill(0);
        state_of(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent() -> Extent {
        Extent { parts: vec![(4, 832), (1 << 6, 1664)] }
    }

    fn filled() -> kvm_xsave {
        let mut bytes: Vec<u8> = (0..4096_u32).map(|at| at as u8).collect();
        put(&mut bytes, MXCSR, 0x1fa0_u32.to_le_bytes());
        put(&mut bytes, MXCSR_MASK, 0xffff_u32.to_le_bytes());
        bytes[LEGACY..HEADER_END].fill(0);
        put(&mut bytes, LEGACY, 7_u64.to_le_bytes());
        state_of(&bytes)
    }

    #[test]
    fn a_frame_holds_what_is_in_use_and_gives_it_back() {
        let state = filled();
        let frame = extent().frame(&state);
        assert_eq!(frame.len(), 832 + 4);
        let legacy: &[u8; LEGACY] = frame[..LEGACY].try_into().unwrap();
        assert_eq!(extent().length(legacy), frame.len());
        let (back, state) = (bytes_of(&extent().state(&frame, &state)), bytes_of(&state));
        assert_eq!(back[..SAID], state[..SAID]);
        assert_eq!(back[LEGACY..832], state[LEGACY..832]);
    }

    #[test]
    fn what_a_processor_would_refuse_is_taken_away() {
        let state = filled();
        let mut frame = extent().frame(&state);
        put(&mut frame, MXCSR, u32::MAX.to_le_bytes());
        frame[LEGACY..HEADER_END].fill(0xff);
        let back = bytes_of(&extent().state(&frame, &state));
        assert_eq!((u32_at(&back, MXCSR), u64_at(&back, LEGACY)), (0xffff, 7));
        assert!(back[LEGACY + 8..HEADER_END].iter().all(|&byte| byte == 0));
        // A length of the program's own, and none at all.
        put(&mut frame, SAID + 16, u32::MAX.to_le_bytes());
        let legacy: &[u8; LEGACY] = frame[..LEGACY].try_into().unwrap();
        assert_eq!(extent().length(legacy), LEGACY);
        assert_eq!(u64_at(&bytes_of(&extent().state(&frame[..LEGACY], &state)), LEGACY), BASE);
    }
}
