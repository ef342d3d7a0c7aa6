//! What the processor of the guest can do, derived from what KVM offers.

use kvm_bindings::CpuId;

use crate::words::u32_at;

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

/// Leaf 2 of CPUID: ask leaf 4 for caches.
const SEE_LEAF_4: u8 = 0xff;
/// What leaf 4 says that a cache is for, and at which level.
type Cache = (u32, u32);
/// Descriptors of caches in leaf 2, by what leaf 4 says of them, each with its size in KiB, from the
/// smallest on: Intel SDM volume 2, table 3-12. Those of one kind that the lists of programs have.
const DESCRIPTORS: [(Cache, &[(u32, u8)]); 4] = [
    ((1, 1), &[(8, 0x0a), (16, 0x0d), (24, 0x0e), (32, 0x2c)]),
    ((2, 1), &[(8, 0x06), (16, 0x08), (32, 0x30)]),
    ((3, 2), &[(128, 0x79), (256, 0x7a), (512, 0x7b), (1 << 10, 0x7c), (2 << 10, 0x7d)]),
    (
        (3, 3),
        &[
            (512, 0xd0),
            (1 << 10, 0xd1),
            (2 << 10, 0xd2),
            (4 << 10, 0xd8),
            (8 << 10, 0xe4),
            (12 << 10, 0xea),
            (18 << 10, 0xeb),
            (24 << 10, 0xec),
        ],
    ),
];

/// Names caches in leaf 2 where it only leads to leaf 4: by the descriptor of the largest one that is not larger. The GNU
/// C library asks for each property of each cache at every program's start, and where leaf 2 leads on it goes through
/// leaf 4 from its beginning each time, 37 times CPUID in all. Each is an exit. Leaf 4 stays as it is.
pub(super) fn name_caches(cpuid: &mut CpuId) {
    let caches: Vec<(Cache, u32)> = cpuid
        .as_slice()
        .iter()
        .filter(|leaf| leaf.function == 4 && leaf.eax & 0x1f != 0)
        .map(|leaf| {
            let (ways, partitions, line) = ((leaf.ebx >> 22) + 1, (leaf.ebx >> 12 & 0x3ff) + 1, (leaf.ebx & 0xfff) + 1);
            let size = u64::from(ways) * u64::from(partitions) * u64::from(line) * (u64::from(leaf.ecx) + 1);
            ((leaf.eax & 0x1f, leaf.eax >> 5 & 7), u32::try_from(size >> 10).unwrap_or(u32::MAX))
        })
        .collect();
    let Some(leaf) = cpuid.as_mut_slice().iter_mut().find(|leaf| leaf.function == 2) else { return };
    let registers = [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx];
    // The highest bit of a register says that it has none. The lowest byte of the first is how often to ask.
    let said = registers.iter().filter(|register| **register >> 31 == 0).flat_map(|register| register.to_le_bytes());
    let mut descriptors: Vec<u8> = said.skip(1).filter(|&descriptor| descriptor != 0).collect();
    if registers[0] & 0x8000_00ff != 1 || !descriptors.contains(&SEE_LEAF_4) {
        return;
    }
    descriptors.retain(|&descriptor| descriptor != SEE_LEAF_4);
    for (kind, sizes) in DESCRIPTORS {
        let Some((_, size)) = caches.iter().find(|(of, _)| *of == kind) else { continue };
        let fitting = sizes.iter().rev().find(|(named, _)| named <= size);
        descriptors.extend(fitting.map(|(_, descriptor)| descriptor));
    }
    let mut bytes = [0; 16];
    bytes[0] = 1;
    // What is said of other things comes last: that of caches is looked for.
    for (byte, descriptor) in bytes[1..].iter_mut().zip(descriptors.into_iter().rev()) {
        *byte = descriptor;
    }
    let register = |index: usize| u32_at(&bytes, index * 4);
    [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx] = [register(0), register(1), register(2), register(3)];
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

    fn leaf(function: u32, index: u32, registers: [u32; 4]) -> kvm_cpuid_entry2 {
        let [eax, ebx, ecx, edx] = registers;
        kvm_cpuid_entry2 { function, index, eax, ebx, ecx, edx, ..Default::default() }
    }

    /// Leaf 2 where it is this and leaf 4 tells of caches: type and level, ways, sets.
    fn named(second: [u32; 4], caches: &[(Cache, u32, u32)]) -> [u32; 4] {
        let caches = caches.iter().enumerate().map(|(index, ((kind, level), ways, sets))| {
            leaf(4, index as u32, [level << 5 | kind, (ways - 1) << 22 | 63, sets - 1, 0])
        });
        let leaves: Vec<_> = [leaf(2, 0, second)].into_iter().chain(caches).chain([leaf(4, 9, [0; 4])]).collect();
        let mut cpuid = CpuId::from_entries(&leaves).unwrap();
        name_caches(&mut cpuid);
        let [found, ..] = cpuid.as_slice() else { unreachable!() };
        [found.eax, found.ebx, found.ecx, found.edx]
    }

    #[test]
    fn caches_are_named_by_the_largest_that_is_not_larger() {
        // 48 and 64 KiB, 2 and 480 MiB, and what is said of the translation buffers and of prefetching.
        let caches = [((1, 1), 12, 64), ((2, 1), 16, 64), ((3, 2), 16, 2048), ((3, 3), 16, 491_520)];
        assert_eq!(named([0x00fe_ff01, 0xf0, 0, 0], &caches), [0x307d_ec01, 0x00fe_f02c, 0, 0]);
        // No third level; smaller than all that have a name; a register that says nothing.
        let caches = [((1, 1), 8, 64), ((2, 1), 1, 16), ((3, 2), 4, 1024)];
        assert_eq!(named([0xff01, 0x8000_00b1, 0, 0], &caches), [0x002c_7a01, 0, 0, 0]);
    }

    #[test]
    fn what_names_caches_or_nothing_stays_as_it_is() {
        let caches = [((1, 1), 8, 64)];
        for second in [[0x665b_5001, 0, 0, 0x007a_7000], [0; 4], [0xff02, 0, 0, 0], [0x8000_ff01, 0, 0, 0]] {
            assert_eq!(named(second, &caches), second);
        }
    }
}
