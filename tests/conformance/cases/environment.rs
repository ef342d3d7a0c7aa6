//! Environment, arguments, clocks, chance and the standard streams.

use crate::{Case, Ends, Natively, Stdin};

pub(super) const CASES: &[Case] = &[
    Case { name: "environment/the_hosts_variables_are_invisible", probe: "env", prints: &["ok 0"], ..Case::NOTHING },
    Case {
        name: "environment/what_the_manifest_sets_is_there",
        permissions: r#"env = { LOG = "info" }"#,
        sections: "[env]\nNAME = \"value\"",
        probe: "env + getenv NAME",
        prints: &[r#"ok 2 "LOG=info" "NAME=value""#, r#"ok "value""#],
        ..Case::NOTHING
    },
    Case { name: "environment/arguments_arrive_whole", probe: "args", prints: &[r#"ok 2 "…"#], ..Case::NOTHING },
    Case { name: "environment/clocks_run", probe: "clock", prints: &["ok wall=…"], ..Case::NOTHING },
    Case {
        name: "environment/a_denied_clock_ends_it",
        permissions: "clock = false",
        probe: "clock",
        ends: Ends::Denied,
        denies: &[("clock", "…")],
        natively: Natively::Refused("clock = false"),
        ..Case::NOTHING
    },
    Case { name: "environment/random_bytes_come", probe: "random 64", prints: &["ok 64 …"], ..Case::NOTHING },
    Case {
        name: "environment/denied_random_bytes_end_it",
        permissions: "random = false",
        probe: "random 64",
        ends: Ends::Denied,
        denies: &[("random", "…")],
        natively: Natively::Refused("random = false"),
        ..Case::NOTHING
    },
    Case {
        name: "environment/standard_input_is_read_to_its_end",
        stdin: Stdin::Text("one\ntwo\n"),
        probe: "stdin",
        prints: &["ok 8"],
        ..Case::NOTHING
    },
    Case {
        name: "environment/an_exit_status_passes_through",
        probe: "exit 42",
        ends: Ends::Status(42),
        ..Case::NOTHING
    },
];
