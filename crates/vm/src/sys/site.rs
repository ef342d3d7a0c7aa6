//! The code that a rewritten place of a program's goes through to make a system call: it leaves a call at the desk
//! and waits there, or leaves the guest. What is where at the desk stands in `crate::memory::sites`.

use std::arch::global_asm;

// Comes with the number of the call in rax, its arguments where `syscall(2)` has them, and in rcx where to go on.
// Changes r11 beside them, as the instruction `syscall` does. The flags are kept: in ah as `lahf` has them, the
// overflow in al, both in r11 all the while.
//
// Before `POSTED` nothing was left at the desk, and the guest is about to be left or a call to be posted. From there
// on rcx and r11 are as said.
global_asm!(
    ".pushsection .rodata.ringfence_site, \"a\", @progbits",
    ".globl ringfence_site_code",
    ".hidden ringfence_site_code",
    ".globl ringfence_site_posted",
    ".hidden ringfence_site_posted",
    ".globl ringfence_site_answered",
    ".hidden ringfence_site_answered",
    ".globl ringfence_site_end",
    ".hidden ringfence_site_end",
    ".balign 16",
    "ringfence_site_code:",
    "    mov r11, rax",
    "    lahf",
    "    seto al",
    "    xchg rax, r11",
    "    cmp dword ptr [{desk}], {open}",
    "    je 3f",
    // Out of the guest, from where it goes on at rcx.
    "2:  out {port}, al",
    "    ud2",
    "3:  mov [{desk} + 8], rax",
    "    mov [{desk} + 16], rdi",
    "    mov [{desk} + 24], rsi",
    "    mov [{desk} + 32], rdx",
    "    mov [{desk} + 40], r10",
    "    mov [{desk} + 48], r8",
    "    mov [{desk} + 56], r9",
    "    mov dword ptr [{desk}], {posted}",
    "ringfence_site_posted:",
    "    mov eax, {patience}",
    "4:  pause",
    "    cmp dword ptr [{desk}], {posted}",
    "    jne 5f",
    "    dec eax",
    "    jnz 4b",
    // Nobody came, or whoever did says that the guest has to be left.
    "6:  mov rax, [{desk} + 8]",
    "    jmp 2b",
    "5:  cmp dword ptr [{desk}], {answered}",
    "    jne 6b",
    "    mov rax, r11",
    "    add al, 0x7f",
    "    sahf",
    "    mov rax, [{desk} + 64]",
    "    mov dword ptr [{desk}], {open}",
    "ringfence_site_answered:",
    "    jmp rcx",
    "ringfence_site_end:",
    ".popsection",
    desk = const DESK,
    port = const SITE_PORT,
    open = const OPEN,
    posted = const POSTED,
    answered = const ANSWERED,
    patience = const PATIENCE,
);

unsafe extern "C" {
    static ringfence_site_code: u8;
    static ringfence_site_posted: u8;
    static ringfence_site_answered: u8;
    static ringfence_site_end: u8;
}

/// Where the desk is, for the program. The third byte of everything around it is no instruction in 64-bit mode.
pub(crate) const DESK: u64 = 0x6_1000;
/// The port by which the code leaves the guest.
pub(crate) const SITE_PORT: u16 = 0x91;
/// At the desk: calls are answered.
pub(crate) const OPEN: u32 = 1;
/// A call is there.
pub(crate) const POSTED: u32 = 2;
/// It was answered, and nobody has seen that yet.
pub(crate) const ANSWERED: u32 = 3;
/// How often the code looks for an answer before it leaves the guest: a few times what leaving it costs.
const PATIENCE: u32 = 2000;

/// The code.
pub(crate) struct SiteCode {
    pub(crate) code: &'static [u8],
    /// How far into it a call has been posted.
    pub(crate) posted: u64,
    /// How far into it the answer is where it belongs.
    pub(crate) answered: u64,
}

pub(crate) fn site_code() -> SiteCode {
    let (start, end) = (&raw const ringfence_site_code, &raw const ringfence_site_end);
    // SAFETY: the symbols are in one read-only section, in this order, with the code between them.
    let code = unsafe { std::slice::from_raw_parts(start, end as usize - start as usize) };
    let until = |symbol: *const u8| (symbol as usize - start as usize) as u64;
    SiteCode {
        code,
        posted: until(&raw const ringfence_site_posted),
        answered: until(&raw const ringfence_site_answered),
    }
}
