//! System calls that no crate offers safely, one to one and without policy. The only place of this
//! crate with unsafe code.
#![allow(unsafe_code)]

mod memory;
mod site;
mod thread;
mod vcpu;
mod vdso;

pub(crate) use memory::{add_slot, copy_within, forget, make_ahead, map_ahead};
pub(crate) use site::{ANSWERED, DESK, OPEN, POSTED, SITE_PORT, SiteCode, site_code};
pub(crate) use thread::{block_kicks, kick, take_kick, thread_time};
pub(crate) use vcpu::{accept_kicks, kvm_from, set_counter_offset, set_xsave};
pub(crate) use vdso::{CODE, FUNCTIONS, time_stamp, vdso_code};
