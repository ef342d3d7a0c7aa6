//! Programs that nobody here wrote, run by the `ringfence` command.
//!
//! They are installed from the package registries when they are needed, in one fixed version each, and
//! kept below the target folder. Where they cannot be had (offline, or without Python or npm) a test
//! is ignored and says why; with `RINGFENCE_REAL_PROGRAMS=required` it fails instead.

mod component;
mod cpython;
#[allow(dead_code, reason = "the tests of the command line use all of it")]
#[path = "../cli/lab.rs"]
mod lab;
mod mcp;
mod registry;
mod resvg;
mod ripgrep;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use registry::Missing;

/// The variable that makes a missing program a failure.
const REQUIRED: &str = "RINGFENCE_REAL_PROGRAMS";

fn main() {
    let trials = [
        ("ripgrep/it_counts_in_this_repository", ripgrep::it_counts_in_this_repository as fn() -> _),
        ("ripgrep/it_sees_nothing_outside", ripgrep::it_sees_nothing_outside),
        ("resvg/a_drawing_becomes_a_picture", resvg::a_drawing_becomes_a_picture),
        ("resvg/a_drawing_cannot_name_other_files", resvg::a_drawing_cannot_name_other_files),
        ("resvg/a_picture_needs_a_place", resvg::a_picture_needs_a_place),
        ("cpython/a_script_works_with_its_files_only", cpython::a_script_works_with_its_files_only),
        ("cpython/a_script_that_spins_meets_its_limit", cpython::a_script_that_spins_meets_its_limit),
        ("component/a_command_in_python_runs", component::a_command_in_python_runs),
        (
            "mcp/a_server_serves_the_granted_folder_and_nothing_else",
            mcp::a_server_serves_the_granted_folder_and_nothing_else,
        ),
        ("component/functions_in_python_are_called", component::functions_in_python_are_called),
    ];
    let trials = trials.map(|(name, run)| Trial::ignorable_test(name, move || complete(run())));
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit();
}

fn complete(result: Result<(), Missing>) -> Result<Completion, Failed> {
    match result {
        Ok(()) => Ok(Completion::Completed),
        Err(Missing::Unavailable(why)) if std::env::var_os(REQUIRED).is_none() => {
            Ok(Completion::ignored_with(format!("skipped: {why}")))
        }
        Err(Missing::Unavailable(why) | Missing::Broken(why)) => Err(why.into()),
    }
}
