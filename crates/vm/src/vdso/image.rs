//! The ELF image that a C library finds by `AT_SYSINFO_EHDR`: `vdso(7)`, `elf(5)`.

use crate::kvm::PAGE;
use crate::sys::{CODE, FUNCTIONS, vdso_code};

/// What the functions' version is called.
const VERSION: &[u8] = b"LINUX_2.6";
const NAME: &[u8] = b"linux-vdso.so.1";

const DYNAMIC: u64 = 0xb0;
const SYMBOLS: u64 = 0x160;

/// One page. Addresses in it are relative to its beginning.
pub(super) fn image() -> Vec<u8> {
    let mut names = vec![0];
    let mut name = |text: &[u8]| {
        let at = names.len() as u32;
        names.extend_from_slice(text);
        names.push(0);
        at
    };
    let (own, version) = (name(NAME), name(VERSION));
    let functions = FUNCTIONS.map(|(text, at)| (text, name(text.as_bytes()), CODE as u64 + at));
    let count = functions.len() as u32 + 1;

    let mut symbols = vec![0; 24];
    for (_, name, at) in functions {
        symbols.extend(name.to_le_bytes());
        // A global function of the first section.
        symbols.extend([0x12, 0, 1, 0]);
        symbols.extend(at.to_le_bytes());
        symbols.extend(0_u64.to_le_bytes());
    }
    // One bucket with all of them.
    let mut hashes: Vec<u32> = vec![1, count, 1, 0];
    hashes.extend((2..count).chain([0]));
    let mut of_versions: Vec<u16> = vec![0];
    of_versions.extend(functions.map(|_| 2));
    let mut versions = version_definition(1, 1, hash(NAME), own, 28);
    versions.extend(version_definition(0, 2, hash(VERSION), version, 0));

    let mut page = vec![0; PAGE as usize];
    let mut put = |at: u64, bytes: &[u8]| {
        page[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        (at + bytes.len() as u64).next_multiple_of(8)
    };
    let hash_at = put(SYMBOLS, &symbols);
    let of_versions_at = put(hash_at, &hashes.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>());
    let versions_at = put(of_versions_at, &of_versions.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>());
    let names_at = put(versions_at, &versions);
    let end = put(names_at, &names);
    debug_assert!(end <= CODE as u64);
    put(CODE as u64, vdso_code());
    let dynamic = [
        (14, own.into()),              // DT_SONAME
        (4, hash_at),                  // DT_HASH
        (5, names_at),                 // DT_STRTAB
        (6, SYMBOLS),                  // DT_SYMTAB
        (10, names.len() as u64),      // DT_STRSZ
        (11, 24),                      // DT_SYMENT
        (0x6fff_fff0, of_versions_at), // DT_VERSYM
        (0x6fff_fffc, versions_at),    // DT_VERDEF
        (0x6fff_fffd, 2),              // DT_VERDEFNUM
        (0, 0),                        // DT_NULL
    ];
    put(
        DYNAMIC,
        &dynamic
            .iter()
            .flat_map(|&(tag, value): &(u64, u64)| [tag, value])
            .flat_map(u64::to_le_bytes)
            .collect::<Vec<_>>(),
    );
    put(0, &header());
    put(64, &program_header(1, 5, 0, PAGE));
    put(64 + 56, &program_header(2, 4, DYNAMIC, dynamic.len() as u64 * 16));
    page
}

fn header() -> Vec<u8> {
    let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // A shared object, for x86-64.
    header.extend([3, 0, 62, 0, 1, 0, 0, 0]);
    header.extend([0_u64, 64, 0].into_iter().flat_map(u64::to_le_bytes));
    header.extend([0, 0, 0, 0]);
    // Its size, two program headers of 56 bytes, no sections.
    header.extend([64_u16, 56, 2, 64, 0, 0].into_iter().flat_map(u16::to_le_bytes));
    header
}

fn program_header(kind: u32, flags: u32, at: u64, size: u64) -> Vec<u8> {
    let mut header: Vec<u8> = [kind, flags].into_iter().flat_map(u32::to_le_bytes).collect();
    header.extend([at, at, at, size, size, if kind == 1 { PAGE } else { 8 }].into_iter().flat_map(u64::to_le_bytes));
    header
}

/// `Elf64_Verdef` with its one `Elf64_Verdaux`.
fn version_definition(flags: u16, index: u16, hash: u32, name: u32, next: u32) -> Vec<u8> {
    let mut definition: Vec<u8> = [1, flags, index, 1].into_iter().flat_map(u16::to_le_bytes).collect();
    definition.extend([hash, 20, next, name, 0].into_iter().flat_map(u32::to_le_bytes));
    definition
}

/// The hash of names in ELF files.
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0, |hash: u32, &byte| {
        let hash = (hash << 4).wrapping_add(byte.into());
        let top = hash & 0xf000_0000;
        (hash ^ (top >> 24)) & !top
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_has_the_hash_that_c_libraries_expect() {
        assert_eq!(hash(VERSION), 0x03ae_75f6);
    }

    #[test]
    fn the_image_is_an_elf_file_with_its_code_where_the_symbols_say() {
        let page = image();
        assert_eq!(page.len(), PAGE as usize);
        assert_eq!(page[..4], *b"\x7fELF");
        for (index, (_, at)) in FUNCTIONS.into_iter().enumerate() {
            let symbol = SYMBOLS as usize + (index + 1) * 24;
            let value = u64::from_le_bytes(page[symbol + 8..symbol + 16].try_into().unwrap());
            assert_eq!(value, CODE as u64 + at);
            assert_ne!(page[value as usize], 0, "there is code");
        }
    }
}
