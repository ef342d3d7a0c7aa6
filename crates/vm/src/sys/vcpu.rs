//! What `kvm-ioctls` leaves out or leaves unsafe.

use std::os::fd::AsRawFd;

use kvm_bindings::{kvm_device_attr, kvm_xsave};
use kvm_ioctls::VcpuFd;
use rustix::io::Errno;

/// `KVM_SET_SIGNAL_MASK`: `_IOW(0xae, 0x8b, struct kvm_signal_mask)`.
const KVM_SET_SIGNAL_MASK: libc::c_ulong = 0x4004_ae8b;

/// `struct kvm_signal_mask` with the kernel's signal set behind it.
#[repr(C, packed)]
struct SignalMask {
    length: u32,
    set: u64,
}

/// `KVM_SET_SIGNAL_MASK`: in the guest every signal is blocked but the kick.
pub(crate) fn accept_kicks(vcpu: &VcpuFd) -> Result<(), Errno> {
    let mask = SignalMask { length: 8, set: super::thread::mask_inside() };
    // SAFETY: the kernel reads the length and as many bytes of set as it says; both outlive the call.
    let returned = unsafe { libc::ioctl(vcpu.as_raw_fd(), KVM_SET_SIGNAL_MASK as _, &raw const mask) };
    if returned == 0 { Ok(()) } else { Err(Errno::IO) }
}

/// `KVM_SET_XSAVE` with what `KVM_GET_XSAVE` gave for a processor of the same machine, or with zeroes.
pub(crate) fn set_xsave(vcpu: &VcpuFd, state: &kvm_xsave) -> Result<(), kvm_ioctls::Error> {
    // SAFETY: no feature is enabled whose state is larger than this structure: `XCR0` never has the
    // bits of AMX (`crate::kvm::features`).
    unsafe { vcpu.set_xsave(state) }
}

/// `_IOW(0xae, 0xe1, struct kvm_device_attr)`
const KVM_SET_DEVICE_ATTR: libc::c_ulong = 0x4018_aee1;

/// `KVM_VCPU_TSC_OFFSET`: how far the processor's counter is from the host's. KVM as of Linux 5.16 has it.
pub(crate) fn set_counter_offset(vcpu: &VcpuFd, offset: u64) -> Result<(), Errno> {
    let attribute = kvm_device_attr {
        group: kvm_bindings::KVM_VCPU_TSC_CTRL,
        attr: kvm_bindings::KVM_VCPU_TSC_OFFSET.into(),
        addr: &raw const offset as u64,
        flags: 0,
    };
    // SAFETY: the kernel reads the attribute and the eight bytes it points to; both outlive the call.
    let returned = unsafe { libc::ioctl(vcpu.as_raw_fd(), KVM_SET_DEVICE_ATTR as _, &raw const attribute) };
    if returned == 0 { Ok(()) } else { Err(Errno::IO) }
}

/// KVM from its device, which is open for reading and writing.
pub(crate) fn kvm_from(device: std::fs::File) -> kvm_ioctls::Kvm {
    use std::os::fd::{FromRawFd, IntoRawFd};
    // SAFETY: the descriptor is open, and nobody else owns it from here on.
    unsafe { kvm_ioctls::Kvm::from_raw_fd(device.into_raw_fd()) }
}
