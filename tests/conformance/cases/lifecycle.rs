//! Endings.

use super::AS_A_SHELL;
use crate::{Case, Ends, Natively, Otherwise};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "lifecycle/an_abort_is_a_trap",
        probe: "abort",
        ends: Ends::Trapped(""),
        natively: Natively::Otherwise(Otherwise::because(AS_A_SHELL).ends(Ends::Signalled)),
        ..Case::NOTHING
    },
    Case {
        name: "lifecycle/a_trap_is_a_trap",
        probe: "trap",
        ends: Ends::Trapped(""),
        natively: Natively::Otherwise(Otherwise::because(AS_A_SHELL).ends(Ends::Signalled)),
        ..Case::NOTHING
    },
    Case {
        name: "lifecycle/no_process_is_started",
        permissions: r#"fs.read = ["/"]"#,
        probe: "spawn /bin/true + threads 2",
        prints: &["err …", "err …"],
        ends: Ends::Status(1),
        natively: Natively::Otherwise(
            Otherwise::because("a Linux program starts others, behind the same walls and limits")
                .prints(&[r#"ok 0 """#, "ok 2"])
                .ends(Ends::Status(0)),
        ),
        ..Case::NOTHING
    },
];
