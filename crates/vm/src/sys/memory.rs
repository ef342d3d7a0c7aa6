//! Guest memory: slots, and telling KVM that translations changed.

use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use vm_memory::mmap::MmapRegion;

/// `KVM_SET_USER_MEMORY_REGION`: bytes `range` of the region are guest memory at the same addresses.
///
/// The region must outlive the virtual machine: [`crate::kvm::Machine`] owns both and drops the
/// virtual machine first.
pub(crate) fn add_slot(vm: &VmFd, slot: u32, region: &MmapRegion, range: Range<u64>) -> Result<(), kvm_ioctls::Error> {
    if range.start >= range.end || range.end > region.size() as u64 {
        return Err(kvm_ioctls::Error::new(libc::EINVAL));
    }
    let description = kvm_userspace_memory_region {
        slot,
        flags: 0,
        guest_phys_addr: range.start,
        memory_size: range.end - range.start,
        userspace_addr: region.as_ptr() as u64 + range.start,
    };
    // SAFETY: the range lies within the mapping (checked above), which is owned by the caller's machine
    // and outlives its virtual machine; nothing of the host's own is in it.
    unsafe { vm.set_user_memory_region(description) }
}

/// `pwrite(2)`: writes what is at `range` to the file behind the region, from `to` on; whether all of it was.
pub(crate) fn copy_within(region: &MmapRegion, file: &impl AsFd, range: Range<u64>, to: u64) -> bool {
    if range.start >= range.end || range.end > region.size() as u64 {
        return false;
    }
    let (file, mut done) = (file.as_fd().as_raw_fd(), 0);
    while done < range.end - range.start {
        let (from, length) = (range.start + done, (range.end - range.start - done) as usize);
        // SAFETY: the bytes lie within a mapping that outlives the call. Only the kernel reads them, and it may find
        // any content there.
        let written = unsafe {
            libc::pwrite(file, region.as_ptr().add(from as usize).cast(), length, (to + done) as libc::off_t)
        };
        match written {
            1.. => done += written as u64,
            0 => return false,
            _ if std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted => {}
            _ => return false,
        }
    }
    true
}

/// `madvise(2)`, `MADV_POPULATE_READ`: what is in the file at `range` is mapped. Linux as of 5.14 does that; before,
/// it is mapped when it is touched.
pub(crate) fn map_ahead(region: &MmapRegion, range: Range<u64>) {
    if range.start >= range.end || range.end > region.size() as u64 {
        return;
    }
    let length = (range.end - range.start) as usize;
    // SAFETY: the range lies within a shared mapping of a file; nothing in it changes.
    unsafe { libc::madvise(region.as_ptr().add(range.start as usize).cast(), length, libc::MADV_POPULATE_READ) };
}

/// `madvise(2)`, `MADV_POPULATE_WRITE`: there is memory for what is in `range`, and it is mapped. Without it, before Linux
/// 5.14, that happens when it is touched.
pub(crate) fn make_ahead(region: &MmapRegion, range: Range<u64>) {
    if range.start >= range.end || range.end > region.size() as u64 {
        return;
    }
    let length = (range.end - range.start) as usize;
    // SAFETY: the range lies within a shared mapping of a file; nothing in it changes.
    unsafe { libc::madvise(region.as_ptr().add(range.start as usize).cast(), length, libc::MADV_POPULATE_WRITE) };
}

/// `madvise(2)`, `MADV_DONTNEED`: the mapping of `range` is dropped and made again from the file behind
/// it at the next touch, with the same content. KVM drops what it made of it.
pub(crate) fn forget(region: &MmapRegion, range: Range<u64>) {
    if range.start >= range.end || range.end > region.size() as u64 {
        return;
    }
    let length = (range.end - range.start) as usize;
    // SAFETY: the range lies within a shared mapping of a file: no content is lost, and nobody holds a
    // Rust reference into it (access is by volatile copies).
    unsafe { libc::madvise(region.as_ptr().add(range.start as usize).cast(), length, libc::MADV_DONTNEED) };
}
