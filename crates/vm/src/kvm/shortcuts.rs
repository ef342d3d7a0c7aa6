//! Ways to be faster that nothing depends on.

bitflags::bitflags! {
    /// Which of them are taken. Without any of them everything is the same, and slower.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Shortcuts: u16 {
        /// Programs read the time from a page of their own: [`crate::vdso`].
        const TIME = 1;
        /// The machine things were tried out in is the first instance's.
        const SPARE = 2;
        /// More pages are made than the one that is touched, and some before any is.
        const AROUND = 4;
        /// Content of files goes to guest memory by writing to the file behind it.
        const FILL = 8;
        /// There is memory for the pages that are made around one before they are touched.
        const AHEAD = 16;
        /// A machine serves one instance of a snapshot after the other: [`super::Imprint`].
        const AGAIN = 32;
        /// Places where a program makes system calls again and again are rewritten: `crate::memory::sites`.
        const SITES = 64;
        /// A thread of the host answers such calls without an exit, while there is a processor for it.
        const DESK = 128;
        /// CPUID names caches in the leaf that programs ask first.
        const CACHES = 256;
    }
}
