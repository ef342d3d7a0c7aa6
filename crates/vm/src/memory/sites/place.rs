//! A place in bytes: what it was, what it becomes, and the code of its slot.

use super::super::area::page;
use super::{BEFORE, BEHIND, CODE, COMPARE_AT, code_at, compare_at, slot_at};
use crate::words::{u32_at, u64_at};

/// How many bytes of a place are rewritten.
pub(super) const LENGTH: usize = 7;
pub(super) const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// `mov $imm32, %eax`; `movabs $imm64, %rcx`; `movabs $imm64, %r11; jmp *%r11`; `jmp *address`
const SET_NUMBER: u8 = 0xb8;
const SET_RETURN: [u8; 2] = [0x48, 0xb9];
const SET_BACK: [u8; 2] = [0x49, 0xbb];
const GO_BACK: [u8; 3] = [0x41, 0xff, 0xe3];
/// In the form in which the third byte alone is `in $port, %eax`, of ports that no program has.
pub(super) const JUMP: [u8; 3] = [0xff, 0x24, 0xe5];
/// What instructions begin with that end in four bytes of their own and may have [`SET_NUMBER`] in the middle.
const LONG: [u8; 4] = [0x69, 0x81, 0xc7, 0xf7];

/// Whether these seven bytes may hold the beginning of an instruction of which [`SET_NUMBER`] and the number are the end, and which
/// went well with that number in `eax`: then it has no memory at `%rax` (Intel SDM volume 2, chapter 2).
fn may_go_on(earlier: &[u8]) -> bool {
    let &[.., fifth, fourth, third, second, first] = earlier else { return true };
    let is_rex = |byte: u8| matches!(byte, 0x40..=0x4f);
    // With four bytes of its own; at `%fs` and `%gs`, at a register of `VEX`, `EVEX` or `XOP`.
    let has = earlier.iter().any(|byte| LONG.contains(byte) || matches!(byte, 0x64 | 0x65 | 0xc4 | 0x62 | 0x8f));
    // Sets another register, or has memory at one.
    let has_other = is_rex(first) || is_rex(second);
    // Looks at nothing that lies there: `lea`, `nop`, `prefetch`; has `SIB` behind it.
    let has_address = first == 0x8d || first & 0xc7 == 0x84 || [first, second, third].contains(&0x0f);
    // Eight bytes of `movabs`, into a register, or between memory and `eax`.
    let is_wide = is_rex(fifth) && matches!(fourth, 0xb8..=0xbf) || matches!(fourth, 0xa0..=0xa3);
    has || has_other || has_address || is_wide
}

/// A place, and what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    /// Where it begins.
    pub(super) at: u64,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The number is set right before the call.
    Set(u32),
    /// The answer is compared right behind it, by this instruction.
    Compared(Vec<u8>),
}

impl Site {
    /// At an instruction `syscall`, by the bytes before it and those from there on; `number` is what it asked for.
    pub(super) fn find(before: &[u8], from: &[u8], at: u64, number: u64) -> Option<Site> {
        let behind = from.strip_prefix(&SYSCALL)?;
        let kind = match behind {
            [0x3d, ..] => Kind::Compared(behind.get(..5)?.to_vec()),
            [0x48, 0x3d, ..] => Kind::Compared(behind.get(..6)?.to_vec()),
            _ => {
                let (earlier, set) = before.split_at_checked(BEFORE - 5)?;
                let sets = set.len() == 5 && set[0] == SET_NUMBER && u64::from(u32_at(set, 1)) == number;
                (sets && !may_go_on(earlier)).then_some(Kind::Set(number as u32))?
            }
        };
        let at = if let Kind::Set(_) = kind { at - 5 } else { at };
        (page(at) == page(at + LENGTH as u64 - 1)).then_some(Site { at, kind })
    }

    /// Those in code at an address that are none by chance: the answer is compared with the lowest error there is. The
    /// others are only known for what they are when a call was made there.
    pub(super) fn all(code: &[u8], at: u64) -> impl Iterator<Item = Site> {
        memchr::memmem::find_iter(code, &SYSCALL).filter_map(move |found| {
            let from = &code[found..code.len().min(found + BEHIND)];
            let site = Site::find(&[], from, at + found as u64, 0)?;
            let Kind::Compared(compare) = &site.kind else { return None };
            // `cmp $-4096`, `cmp $-4095`
            matches!(compare[compare.len() - 4..], [0 | 1, 0xf0, 0xff, 0xff]).then_some(site)
        })
    }

    /// What the program had there.
    pub(super) fn original(&self) -> Vec<u8> {
        let mut bytes = match &self.kind {
            Kind::Set(number) => [&[SET_NUMBER][..], &number.to_le_bytes(), &SYSCALL].concat(),
            Kind::Compared(compare) => [&SYSCALL[..], compare].concat(),
        };
        bytes.truncate(LENGTH);
        bytes
    }

    /// What is there instead.
    pub(super) fn rewritten(slot: u64) -> Vec<u8> {
        [&JUMP[..], &(slot_at(slot) as u32).to_le_bytes()].concat()
    }

    /// The code of a slot.
    pub(super) fn code(&self, slot: u64) -> Vec<u8> {
        let start = code_at(slot);
        let mut code = Vec::new();
        if let Kind::Set(number) = self.kind {
            code.push(SET_NUMBER);
            code.extend(number.to_le_bytes());
        }
        let next = match self.kind {
            Kind::Set(_) => self.at + LENGTH as u64,
            Kind::Compared(_) => compare_at(slot),
        };
        code.extend(SET_RETURN);
        code.extend(next.to_le_bytes());
        code.push(0xe9);
        let from = start + code.len() as u64 + 4;
        code.extend((CODE.wrapping_sub(from) as u32).to_le_bytes());
        if let Kind::Compared(compare) = &self.kind {
            debug_assert_eq!(code.len(), COMPARE_AT);
            code.extend(compare);
            code.extend(SET_BACK);
            code.extend((self.at + 2 + compare.len() as u64).to_le_bytes());
            code.extend(GO_BACK);
        }
        code
    }

    /// The place that code is for.
    pub(super) fn of(code: &[u8]) -> Option<Site> {
        if code.first() == Some(&SET_NUMBER) {
            let (number, rest) = (u32_at(code.get(..5)?, 1), code.get(5..)?.strip_prefix(&SET_RETURN)?);
            let at = u64_at(rest.get(..8)?, 0).checked_sub(LENGTH as u64)?;
            return Some(Site { at, kind: Kind::Set(number) });
        }
        let rest = code.get(COMPARE_AT..)?;
        let length = if rest.first() == Some(&0x48) { 6 } else { 5 };
        let (compare, rest) = (rest.get(..length)?, rest.get(length..)?.strip_prefix(&SET_BACK)?);
        let at = u64_at(rest.get(..8)?, 0).checked_sub(2 + length as u64)?;
        Some(Site { at, kind: Kind::Compared(compare.to_vec()) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{EACH, MOST};
    use super::*;
    use crate::sys::DESK;

    /// Twelve bytes that end in these.
    fn behind_nops(last: &[u8]) -> Vec<u8> {
        [&[0x90; BEFORE][last.len()..], last].concat()
    }

    #[test]
    fn a_place_is_known_from_its_code_and_its_code_from_the_place() {
        let set = [0xb8, 39, 0, 0, 0];
        let (ret, long, short) = (
            [0x0f, 0x05, 0xc3],
            [0x0f, 0x05, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff],
            [0x0f, 0x05, 0x3d, 0, 0xf0, 0xff, 0xff],
        );
        let cases = [(&set[..], &ret[..], 39, 0x7f_1000), (&[], &long, 0, 0x7f_1005), (&[], &short, 0, 0x7f_1005)];
        for (before, from, number, at) in cases {
            let found = Site::find(&behind_nops(before), from, 0x7f_1005, number).unwrap();
            assert_eq!(found.at, at);
            assert_eq!(found.original(), [before, from].concat()[..LENGTH]);
            let code = found.code(3);
            assert!(code.len() <= EACH as usize);
            assert_eq!(Site::of(&code), Some(found));
        }
    }

    #[test]
    fn what_only_looks_like_a_place_is_none() {
        let (call, set) = ([0x0f, 0x05, 0xc3], [0xb8, 39, 0, 0, 0]);
        let find = |before: &[u8], number| {
            let before = behind_nops(&[before, &set].concat());
            Site::find(&before, &call, 0x1006, number).map(|site| site.at)
        };
        // Wherever it is in a function, and whatever is behind it, behind `mov $8, %r10d`, `ret`, `jmp`.
        for before in [&[][..], &[0x41, 0xba, 8, 0, 0, 0], &[0xc3], &[0xeb, 0x10]] {
            assert_eq!((find(before, 39), find(before, 40)), (Some(0x1001), None), "{before:x?}");
        }
        assert!(Site::find(&behind_nops(&set), &[0x0f, 0x05, 0x89, 0xc2], 0x1006, 39).is_some());
        let longer: [&[u8]; 13] = [
            &[0x41],                         // mov $39, %r8d
            &[0xc7, 0x44, 0x24],             // movl $39, -72(%rsp)
            &[0x48, 0xbf, 0x56, 0x34, 0x12], // movabs $0x27b8123456, %rdi
            &[0xa1, 0x56, 0x34, 0x12],       // movabs 0x27b8123456, %eax
            &[0x8d],                         // lea 39(%rax), %edi
            &[0x8d, 0x84],                   // lea 39(%rax,%rdi,4), %eax
            &[0x8b, 0x84],                   // mov 39(%rax,%rdi,4), %eax
            &[0x41, 0x8b],                   // mov 39(%r8), %edi
            &[0x64, 0x8b],                   // mov %fs:39(%rax), %edi
            &[0x0f, 0x1f],                   // nopl 39(%rax)
            &[0x41, 0x0f, 0x38, 0x00],       // pshufb 39(%r8), %mm7
            &[0xc4, 0xc1, 0x7a, 0x6f],       // vmovdqu 39(%r8), %xmm7
            &[0x62, 0xd1, 0x7e, 0x08, 0x6f], // the same of EVEX
        ];
        for before in longer {
            assert_eq!(find(before, 39), None, "{before:x?}");
        }
        // Where what is before it cannot be read; cut off, and over the end of a page.
        assert_eq!(Site::find(&behind_nops(&set)[1..], &call, 0x1005, 39), None);
        assert_eq!(Site::find(&[], &[0x0f, 0x05, 0x48, 0x3d, 0x01], 0x1005, 0), None);
        let compared = [0x0f, 0x05, 0x3d, 0, 0xf0, 0xff, 0xff];
        assert!(Site::find(&[], &compared, 0x1ff9, 0).is_some() && Site::find(&[], &compared, 0x1ffa, 0).is_none());
    }

    #[test]
    fn places_are_found_in_code_where_they_are_plain() {
        let mut code = vec![0x90; 64];
        // `mov $39, %r8d; syscall; ret` looks like a whole function that sets its number.
        code[15..24].copy_from_slice(&[0x41, 0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3]);
        code[40..48].copy_from_slice(&[0x0f, 0x05, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff]);
        let found: Vec<_> = Site::all(&code, 0x40_0000).map(|site| site.at).collect();
        assert_eq!(found, [0x40_0028]);
        // Compared with something else; cut off.
        code[46] = 0xfe;
        assert_eq!(Site::all(&code, 0x40_0000).count() + Site::all(&code[..47], 0x40_0000).count(), 0);
        assert_eq!(Site::all(&[0x0f, 0x05], 0).count(), 0);
    }

    #[test]
    fn the_middle_of_a_rewritten_place_is_no_instruction() {
        for slot in 0..MOST {
            // `push %es`, in 64-bit mode undefined: Intel SDM volume 2, appendix A.
            assert_eq!(Site::rewritten(slot)[5], 0x06);
            // `in $port, %eax`: four ports from one on, which a program would have to have all of.
            let bytes = Site::rewritten(slot);
            assert!(bytes[2] == 0xe5 && bytes[3].is_multiple_of(8));
        }
        const { assert!(slot_at(MOST) <= DESK) };
    }
}
