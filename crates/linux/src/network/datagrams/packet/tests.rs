use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn ends(is_ipv6: bool, chance: [u8; 32], ports: (u16, u16)) -> Ends {
    let (from, to) = chance.split_at(16);
    let ip = |half: &[u8]| -> IpAddr {
        let octets: [u8; 16] = half.try_into().unwrap();
        if is_ipv6 {
            Ipv6Addr::from(octets).into()
        } else {
            Ipv4Addr::from([octets[0], octets[1], octets[2], 9]).into()
        }
    };
    Ends { from: SocketAddr::new(ip(from), ports.0), to: SocketAddr::new(ip(to), ports.1) }
}

fn packet(ends: Ends, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![7; 3];
    Datagram { ends, payload }.write(&mut packet);
    packet
}

fn plain(is_ipv6: bool) -> Vec<u8> {
    packet(ends(is_ipv6, [1; 32], (1000, 53)), b"hello")
}

proptest! {
    #[test]
    fn what_is_written_is_read(is_ipv6: bool, chance: [u8; 32], ports: (u16, u16), payload in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let ends = ends(is_ipv6, chance, ports);
        let packet = packet(ends, &payload);
        prop_assert_eq!(Datagram::read(&packet), Some(Datagram { ends, payload: &payload }));
        // What covers itself with its checksum sums up to nothing.
        let header = if is_ipv6 { IPV6_HEADER } else { IPV4_HEADER };
        prop_assert!(is_ipv6 || checksum(&[&packet[..header]]) == 0);
        let pseudo = pseudo_header(ends.from.ip(), ends.to.ip(), UDP, packet.len() - header);
        prop_assert_eq!(checksum(&[&pseudo, &packet[header..]]), 0);
    }

    #[test]
    fn bytes_of_chance_are_read_within_their_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Some(read) = Datagram::read(&bytes) {
            prop_assert!(bytes.as_ptr_range().contains(&read.payload.as_ptr()) || read.payload.is_empty());
        }
    }

    #[test]
    fn a_packet_with_a_changed_byte_is_another_or_none(is_ipv6: bool, at in 0_usize..60, to: u8) {
        let (before, mut after) = (plain(is_ipv6), plain(is_ipv6));
        let at = at % after.len();
        after[at] = to;
        // Nothing is read beyond what was there.
        if let Some(read) = Datagram::read(&after) {
            prop_assert!(read.payload.len() <= before.len());
        }
    }
}

#[test]
fn a_packet_cut_short_is_none() {
    for is_ipv6 in [false, true] {
        let whole = plain(is_ipv6);
        for length in 0..whole.len() {
            assert_eq!(Datagram::read(&whole[..length]), None, "{length}");
        }
        // What follows is not part of it: short frames are filled up.
        let longer = [&whole[..], &[0; 20]].concat();
        assert_eq!(Datagram::read(&longer), Datagram::read(&whole));
    }
}

#[test]
fn what_is_no_plain_datagram_is_none() {
    let change = |is_ipv6: bool, at: usize, to: u8| {
        let mut packet = plain(is_ipv6);
        packet[at] = to;
        assert_eq!(Datagram::read(&packet), None, "{at} {to}");
    };
    for (at, to) in
        [(0, 0x46), (0, 0x55), (0, 0x44), (6, 0x20), (7, 1), (9, 6), (9, 1), (9, 136), (2, 0xff), (24, 0xff), (25, 7)]
    {
        change(false, at, to);
    }
    // A hop-by-hop, routing, fragment or destination header; another protocol.
    for (at, to) in [(0, 0x40), (0, 0x70), (6, 0), (6, 43), (6, 44), (6, 60), (6, 6), (4, 0xff), (44, 0xff), (45, 7)] {
        change(true, at, to);
    }
}

#[test]
fn the_checksum_is_the_one_of_the_internet() {
    // RFC 1071, section 3.
    assert_eq!(checksum(&[&[0x00, 0x01, 0xf2, 0x03], &[0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
    assert_eq!(checksum(&[&[0xff]]), !0xff00);
}

#[test]
fn a_payload_of_every_size_has_its_length() {
    for length in [0, 1, 65_507, 70_000] {
        let packet = packet(ends(false, [3; 32], (1, 2)), &vec![1; length]);
        assert_eq!(Datagram::read(&packet).unwrap().payload.len(), length.min(65_507));
    }
}
