//! Endings.

use crate::{Case, Ends};

pub(super) const CASES: &[Case] = &[
    Case { name: "lifecycle/an_abort_is_a_trap", probe: "abort", ends: Ends::Trapped(""), ..Case::NOTHING },
    Case { name: "lifecycle/a_trap_is_a_trap", probe: "trap", ends: Ends::Trapped(""), ..Case::NOTHING },
    Case {
        name: "lifecycle/no_process_is_started",
        permissions: r#"fs.read = ["/"]"#,
        probe: "spawn /bin/true + threads 2",
        prints: &["err …", "err …"],
        ends: Ends::Status(1),
        ..Case::NOTHING
    },
];
