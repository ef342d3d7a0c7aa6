//! Any bytes at the decoder of what leaves a capsule's network.
#![no_main]
#![allow(dead_code, reason = "the module is more than its decoder")]

#[path = "../../crates/linux/src/network/datagrams/packet.rs"]
mod packet;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(read) = packet::Datagram::read(bytes) {
        let mut written = Vec::new();
        read.write(&mut written);
        let again = packet::Datagram::read(&written).expect("what was written can be read");
        assert_eq!(again.ends, read.ends);
        assert!(read.payload.starts_with(again.payload));
    }
});
