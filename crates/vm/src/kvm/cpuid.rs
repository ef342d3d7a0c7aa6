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

/// Says of the caches in leaf 2 itself what it otherwise says to look for in leaf 4. A C library asks both for each of a
/// dozen numbers when a program starts, and leaf 4 once more for each cache: two thirds of all its questions, each of
/// which leaves the guest. Each cache is the largest one that leaf 2 has a name for and that is no larger; the exact
/// sizes are still in leaf 4. Intel's manual, volume 2, CPUID, table 3-12.
pub(super) fn tell_caches_at_once(cpuid: &mut CpuId) {
    /// Caches whose lines have 64 bytes, the largest first: level and type as in leaf 4, bytes, and the name.
    const NAMES: [(u32, u32, u64, u8); 13] = [
        (1, 1, 32 << 10, 0x2c),
        (1, 1, 24 << 10, 0x0e),
        (1, 2, 32 << 10, 0x30),
        (2, 3, 2 << 20, 0x7d),
        (2, 3, 1 << 20, 0x7c),
        (2, 3, 512 << 10, 0x7f),
        (2, 3, 256 << 10, 0x21),
        (3, 3, 24 << 20, 0xec),
        (3, 3, 18 << 20, 0xeb),
        (3, 3, 12 << 20, 0xea),
        (3, 3, 8 << 20, 0xe4),
        (3, 3, 4 << 20, 0xd8),
        (3, 3, 2 << 20, 0xd7),
    ];
    /// The name that says to look in leaf 4.
    const ELSEWHERE: u8 = 0xff;
    let caches = cpuid.as_slice().iter().filter(|leaf| leaf.function == 4 && leaf.eax & 0x1f != 0);
    let named = caches.map(|leaf| {
        let line = leaf.ebx & 0xfff;
        let counts = [leaf.ebx >> 22, leaf.ebx >> 12 & 0x3ff, line, leaf.ecx].map(|less| u64::from(less) + 1);
        let size = counts.into_iter().product::<u64>();
        let (level, kind) = (leaf.eax >> 5 & 7, leaf.eax & 0x1f);
        let fits = |name: &&(u32, u32, u64, u8)| (name.0, name.1) == (level, kind) && name.2 <= size && line == 63;
        NAMES.iter().find(fits).map(|name| name.3)
    });
    let Some(named) = named.collect::<Option<Vec<u8>>>().filter(|named| !named.is_empty()) else { return };
    let Some(leaf) = cpuid.as_mut_slice().iter_mut().find(|leaf| leaf.function == 2) else { return };
    let mut registers = [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes);
    let bytes = registers.as_flattened_mut();
    // The lowest byte says how often to ask, the highest bit of each register that there is nothing in it.
    let is_read = bytes[0] == 1 && bytes.iter().skip(3).step_by(4).all(|byte| byte >> 7 == 0);
    if !is_read || !bytes.contains(&ELSEWHERE) {
        return;
    }
    let mut names = named.into_iter();
    for (index, byte) in bytes.iter_mut().enumerate().skip(1) {
        if *byte == ELSEWHERE {
            *byte = 0;
        }
        if *byte == 0 && index % 4 != 3 {
            *byte = names.next().unwrap_or(0);
        }
    }
    if names.len() == 0 {
        [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx] = registers.map(u32::from_le_bytes);
    }
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

#[cfg(test)]
mod tests {
    use kvm_bindings::kvm_cpuid_entry2;

    use super::*;

    fn leaf(function: u32, index: u32, [eax, ebx, ecx, edx]: [u32; 4]) -> kvm_cpuid_entry2 {
        kvm_cpuid_entry2 { function, index, eax, ebx, ecx, edx, ..Default::default() }
    }

    fn told(leaves: &[kvm_cpuid_entry2]) -> [u32; 4] {
        let mut cpuid = CpuId::from_entries(leaves).unwrap();
        tell_caches_at_once(&mut cpuid);
        let second = cpuid.as_slice().iter().find(|leaf| leaf.function == 2).unwrap();
        [second.eax, second.ebx, second.ecx, second.edx]
    }

    /// 48 KiB, 64 KiB, 2 MiB and 480 MiB, as a Xeon has them.
    const CACHES: [[u32; 4]; 5] = [
        [0x400_0121, 0x2c0_003f, 0x3f, 0],
        [0x400_0122, 0x3c0_003f, 0x3f, 0],
        [0x400_0143, 0x3c0_003f, 0x7ff, 0],
        [0x400_4163, 0x3c0_003f, 0x7_7fff, 0],
        [0; 4],
    ];

    #[test]
    fn caches_are_named_where_leaf_2_says_to_look_elsewhere() {
        let caches = CACHES.iter().zip(0..).map(|(registers, index)| leaf(4, index, *registers));
        let with = |second| caches.clone().chain([leaf(2, 0, second)]).collect::<Vec<_>>();
        // What is no cache stays: TLBs in leaf 0x18, prefetching by 64 bytes.
        assert_eq!(told(&with([0x00fe_ff01, 0xf0, 0, 0])), [0x00fe_2c01, 0x007d_30f0, 0xec, 0]);
        // Names that are there already, more than one question, a register that is not to be read.
        for second in [[0x00ec_7d01, 0x302c, 0, 0], [0x00fe_ff02, 0xf0, 0, 0], [0x00fe_ff01, 0x8000_00f0, 0, 0]] {
            assert_eq!(told(&with(second)), second);
        }
        // No room.
        let full = [0x01b3_ff01, 0x015a_b4f0, 0x01b1_b2c1, 0x01ca_cbf0];
        assert_eq!(told(&with(full)), full);
    }

    #[test]
    fn a_cache_without_a_name_leaves_leaf_2_as_it_is() {
        let second = leaf(2, 0, [0x00fe_ff01, 0xf0, 0, 0]);
        // Lines of 32 bytes; a fourth level; none at all.
        for odd in [[0x121, 0x2c0_001f, 0x3f, 0], [0x183, 0x3c0_003f, 0x7fff, 0], [0; 4]] {
            assert_eq!(told(&[leaf(4, 0, odd), second]), [0x00fe_ff01, 0xf0, 0, 0]);
        }
    }
}
