//! What the processor of the guest can do, derived from what KVM offers.

use kvm_bindings::CpuId;

/// x87, SSE, AVX and AVX-512. Not AMX, whose state is larger than `struct kvm_xsave`, nor protection
/// keys, which nothing here serves.
const STATES: u64 = 0b1110_0111;

/// The control registers that CPUID allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Features {
    pub(super) cr4: u64,
    pub(super) xcr0: u64,
    pub(super) address_bits: u32,
}

/// What programs may have found out of processors and go on to use: words to be compared bit by bit, and how
/// the vector registers lie in memory.
pub(super) fn fingerprint(cpuid: &CpuId) -> (Vec<u32>, Vec<u32>) {
    let leaf = |function, index| {
        let found = cpuid.as_slice().iter().find(|leaf| leaf.function == function && leaf.index == index);
        found.map_or([0; 4], |leaf| [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx])
    };
    let [[_, _, first_c, first_d], seventh, [more, ..], [_, _, far_c, far_d]] =
        [leaf(1, 0), leaf(7, 0), leaf(7, 1), leaf(0x8000_0001, 0)];
    let [states, ..] = leaf(0xd, 0);
    let states = states & STATES as u32;
    let features = vec![first_c, first_d, seventh[1], seventh[2], seventh[3], more, far_c, far_d, states];
    let layout = (2..32).filter(|bit| states >> bit & 1 != 0).flat_map(|bit| {
        let [size, offset, ..] = leaf(0xd, bit);
        [bit, size, offset]
    });
    (features, layout.collect())
}

/// Whether the state of vector registers can be saved: `XSAVE`.
pub(super) fn has_vectors(cpuid: &CpuId) -> bool {
    cpuid.as_slice().iter().any(|leaf| leaf.function == 1 && leaf.ecx >> 26 & 1 != 0)
}

/// Says that instructions are there which nobody can take away from programs that run on the processor itself: `LZCNT`.
pub(super) fn add_bit_counting(cpuid: &mut CpuId) {
    let extended = cpuid.as_mut_slice().iter_mut().filter(|leaf| leaf.function == 0x8000_0001);
    extended.for_each(|leaf| leaf.ecx |= u32::from(std::arch::is_x86_feature_detected!("lzcnt")) << 5);
}

/// `supervisor` is whether the stubs are the supervisor's alone, so that it needs no page of a program.
pub(super) fn features(cpuid: &CpuId, supervisor: bool) -> Features {
    let leaf = |function, index| cpuid.as_slice().iter().find(|leaf| leaf.function == function && leaf.index == index);
    // PAE, OSFXSR, OSXMMEXCPT
    let mut cr4 = 0x620;
    let structured = leaf(7, 0).map_or(0, |leaf| leaf.ebx);
    if structured & 1 != 0 {
        cr4 |= 1 << 16; // FSGSBASE
    }
    if supervisor {
        cr4 |= u64::from(structured >> 7 & 1) << 20; // SMEP
        cr4 |= u64::from(structured >> 20 & 1) << 21; // SMAP
    }
    let mut xcr0 = 0;
    if has_vectors(cpuid) {
        cr4 |= 1 << 18; // OSXSAVE
        xcr0 = leaf(0xd, 0).map_or(1, |leaf| u64::from(leaf.eax) | u64::from(leaf.edx) << 32) & STATES | 1;
    }
    let address_bits = leaf(0x8000_0008, 0).map_or(36, |leaf| leaf.eax & 0xff);
    Features { cr4, xcr0, address_bits }
}
