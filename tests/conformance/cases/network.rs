//! What network permissions grant and deny. Everything stays on loopback.

use crate::{Case, Ends};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "network/nothing_is_reached_without_a_grant",
        probe: "connect 127.0.0.1:{tcp} + udp 127.0.0.1:{udp} hello + bind 127.0.0.1:0",
        prints: &["err EACCES", "err EACCES", "err EACCES"],
        ends: Ends::Status(1),
        denies: &[("net.connect", "127.0.0.1:{tcp}"), ("net.listen", "127.0.0.1:0")],
        ..Case::NOTHING
    },
    Case {
        name: "network/a_granted_address_answers",
        permissions: r#"net.connect = ["127.0.0.1:{tcp}", "127.0.0.1:{closed}"]"#,
        probe: "tcp 127.0.0.1:{tcp} hello + connect 127.0.0.1:{closed}",
        prints: &[r#"ok 5 "hello""#, "err ECONNREFUSED"],
        ends: Ends::Status(1),
        ..Case::NOTHING
    },
    Case {
        name: "network/a_granted_address_answers_datagrams",
        permissions: r#"net.connect = ["127.0.0.1:{udp}"]"#,
        probe: "udp 127.0.0.1:{udp} hello",
        prints: &[r#"ok 5 "hello""#],
        ..Case::NOTHING
    },
    Case {
        name: "network/a_wildcard_does_not_cover_the_host_itself_for_datagrams",
        permissions: r#"net.connect = ["*:*", "0.0.0.0/0:*"]"#,
        probe: "udp 127.0.0.1:{udp} hello + udp 169.254.169.254:53 hello + udp 10.0.0.1:53 hello",
        prints: &["err EACCES", "err EACCES", "err EACCES"],
        ends: Ends::Status(1),
        denies: &[
            ("net.connect", "127.0.0.1:{udp}"),
            ("net.connect", "169.254.169.254:53"),
            ("net.connect", "10.0.0.1:53"),
        ],
        ..Case::NOTHING
    },
    Case {
        name: "network/a_port_that_is_not_granted_is_denied",
        permissions: r#"net.connect = ["127.0.0.1:{tcp}"]"#,
        probe: "connect 127.0.0.1:{closed}",
        prints: &["err EACCES"],
        ends: Ends::Status(1),
        denies: &[("net.connect", "127.0.0.1:{closed}")],
        ..Case::NOTHING
    },
    Case {
        name: "network/a_block_covers_its_addresses",
        permissions: r#"net.connect = ["127.0.0.0/8:{tcp}"]"#,
        probe: "tcp 127.0.0.1:{tcp} hello",
        prints: &[r#"ok 5 "hello""#],
        ..Case::NOTHING
    },
    Case {
        name: "network/a_wildcard_does_not_cover_the_host_itself",
        permissions: r#"net.connect = ["*:*", "0.0.0.0/0:*"]"#,
        probe: "connect 127.0.0.1:{tcp} + connect 169.254.169.254:80 + connect 10.0.0.1:80 + connect 0.0.0.0:{tcp}",
        prints: &["err EACCES", "err EACCES", "err EACCES", "err …"],
        ends: Ends::Status(1),
        denies: &[
            ("net.connect", "127.0.0.1:{tcp}"),
            ("net.connect", "169.254.169.254:80"),
            ("net.connect", "10.0.0.1:80"),
        ],
        ..Case::NOTHING
    },
    Case {
        name: "network/an_address_written_another_way_is_the_same_address",
        permissions: r#"net.connect = ["*:*"]"#,
        probe: "connect [::ffff:127.0.0.1]:{tcp} + connect [::1]:{tcp} + connect [64:ff9b::7f00:1]:{tcp}",
        prints: &["err …", "err EACCES", "err EACCES"],
        ends: Ends::Status(1),
        denies: &[("net.connect", "…")],
        ..Case::NOTHING
    },
    Case {
        name: "network/a_name_that_points_inside_is_denied",
        permissions: r#"net.connect = ["loop.test:*", "meta.test:*", "mapped.test:*"]"#,
        probe: "connect loop.test:{tcp} + connect meta.test:80 + connect mapped.test:{tcp}",
        prints: &["err …", "err …", "err …"],
        ends: Ends::Status(1),
        denies: &[("net.connect", "…")],
        ..Case::NOTHING
    },
    Case {
        name: "network/a_name_that_is_not_granted_is_not_looked_up",
        permissions: r#"net.connect = ["*.good.test:443"]"#,
        probe: "resolve evil.test + resolve good.test",
        prints: &["err …", "err …"],
        ends: Ends::Status(1),
        denies: &[("net.resolve", "evil.test"), ("net.resolve", "good.test")],
        ..Case::NOTHING
    },
    Case {
        name: "network/a_name_is_pinned_to_its_first_answer",
        permissions: r#"net.connect = ["rebind.test:{tcp}", "127.0.0.1:{tcp}"]"#,
        probe: "connect-twice rebind.test {tcp}",
        prints: &["ok …"],
        ..Case::NOTHING
    },
    Case {
        name: "network/localhost_is_loopback",
        permissions: r#"net.connect = ["localhost:{tcp}"]"#,
        probe: "tcp localhost:{tcp} hello",
        prints: &[r#"ok 5 "hello""#],
        ..Case::NOTHING
    },
    Case {
        name: "network/a_granted_port_is_listened_on",
        permissions: r#"net.listen = ["127.0.0.1:*"]"#,
        probe: "bind 127.0.0.1:0 + bind 0.0.0.0:0",
        prints: &["ok 127.0.0.1:…", "err EACCES"],
        ends: Ends::Status(1),
        denies: &[("net.listen", "0.0.0.0:0")],
        ..Case::NOTHING
    },
];
