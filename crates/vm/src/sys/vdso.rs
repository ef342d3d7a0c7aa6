//! The code of the page of time, which programs run themselves, and the processor's counter.

use std::arch::global_asm;

// Everything is reached from here relative to the code: the page of data lies right before the page of
// the image, and the code begins `CODE` bytes into that. What is where in the page of data stands in
// `crate::vdso::clock`.
//
// `now` gives the monotonic time in rax and what to add for the time of day in r9, or sets the carry flag
// when there is no clock. It changes rcx, rdx, r8 and r11 as well.
global_asm!(
    ".pushsection .rodata.ringfence_vdso, \"a\", @progbits",
    ".globl ringfence_vdso_code",
    ".hidden ringfence_vdso_code",
    ".globl ringfence_vdso_end",
    ".hidden ringfence_vdso_end",
    ".balign 16",
    "ringfence_vdso_code:",
    // int clock_gettime(clockid_t edi, struct timespec *rsi), at 0
    "    cmp edi, 11",
    "    ja 9f",
    "    mov ecx, edi",
    "    mov r10d, 1",
    "    shl r10d, cl",
    "    test r10d, {known}",
    "    jz 9f",
    "    call 20f",
    "    jc 9f",
    "    test r10d, {wall}",
    "    jz 1f",
    "    add rax, r9",
    "1:  mov ecx, 1000000000",
    "    xor edx, edx",
    "    div rcx",
    "    mov [rsi], rax",
    "    mov [rsi + 8], rdx",
    "    xor eax, eax",
    "    ret",
    "9:  mov eax, 228",
    "    syscall",
    "    ret",
    // int gettimeofday(struct timeval *rdi, struct timezone *rsi), at 0x60
    "    .org ringfence_vdso_code + 0x60",
    "    test rsi, rsi",
    "    jnz 9f",
    "    test rdi, rdi",
    "    jz 2f",
    "    call 20f",
    "    jc 9f",
    "    add rax, r9",
    "    mov ecx, 1000000000",
    "    xor edx, edx",
    "    div rcx",
    "    mov [rdi], rax",
    "    mov eax, edx",
    "    mov ecx, 1000",
    "    xor edx, edx",
    "    div ecx",
    "    mov [rdi + 8], rax",
    "2:  xor eax, eax",
    "    ret",
    "9:  mov eax, 96",
    "    syscall",
    "    ret",
    // time_t time(time_t *rdi), at 0xb0
    "    .org ringfence_vdso_code + 0xb0",
    "    call 20f",
    "    jc 9f",
    "    add rax, r9",
    "    mov ecx, 1000000000",
    "    xor edx, edx",
    "    div rcx",
    "    test rdi, rdi",
    "    jz 3f",
    "    mov [rdi], rax",
    "3:  ret",
    "9:  mov eax, 201",
    "    syscall",
    "    ret",
    // int getcpu(unsigned *rdi, unsigned *rsi), at 0xe0: on which processor a thread may run only the host knows
    "    .org ringfence_vdso_code + 0xe0",
    "    mov eax, 309",
    "    syscall",
    "    ret",
    "    .org ringfence_vdso_code + 0x100",
    // now
    "20: lea r8, [rip + ringfence_vdso_code - {code} - 0x1000]",
    "21: mov r11d, [r8]",
    "    test r11d, r11d",
    "    jz 29f",
    "    mov ecx, r11d",
    "    and ecx, 1",
    "    shl ecx, 6",
    "    lea rcx, [r8 + rcx + 64]",
    "    lfence",
    "    rdtsc",
    "    shl rdx, 32",
    "    or rax, rdx",
    "    sub rax, [rcx]",
    "    jae 22f",
    "    xor eax, eax",
    "22: mul qword ptr [rcx + 8]",
    "    shrd rax, rdx, 32",
    "    add rax, [rcx + 16]",
    "    mov r9, [rcx + 24]",
    "    cmp r11d, [r8]",
    "    jne 21b",
    "    clc",
    "    ret",
    "29: stc",
    "    ret",
    "ringfence_vdso_end:",
    ".popsection",
    code = const CODE,
    known = const MONOTONIC | WALL,
    wall = const WALL,
);

unsafe extern "C" {
    static ringfence_vdso_code: u8;
    static ringfence_vdso_end: u8;
}

/// How far into the page of the image the code begins.
pub(crate) const CODE: usize = 0x400;
/// `CLOCK_MONOTONIC`, `_RAW`, `_COARSE`, and `CLOCK_BOOTTIME`, as bits.
const MONOTONIC: u32 = 1 << 1 | 1 << 4 | 1 << 6 | 1 << 7;
/// `CLOCK_REALTIME`, `_COARSE`, and `CLOCK_TAI`.
const WALL: u32 = 1 << 0 | 1 << 5 | 1 << 11;
/// Where the functions are in the code.
pub(crate) const FUNCTIONS: [(&str, u64); 4] =
    [("__vdso_clock_gettime", 0), ("__vdso_gettimeofday", 0x60), ("__vdso_time", 0xb0), ("__vdso_getcpu", 0xe0)];

/// The code.
pub(crate) fn vdso_code() -> &'static [u8] {
    let (start, end) = (&raw const ringfence_vdso_code, &raw const ringfence_vdso_end);
    // SAFETY: both symbols are in one read-only section, in this order, with the code between them.
    unsafe { std::slice::from_raw_parts(start, end as usize - start as usize) }
}

/// The processor's time stamp counter, not read before what stands before it.
pub(crate) fn time_stamp() -> u64 {
    // SAFETY: every x86-64 processor has both instructions, and neither touches memory.
    unsafe {
        std::arch::x86_64::_mm_lfence();
        std::arch::x86_64::_rdtsc()
    }
}
