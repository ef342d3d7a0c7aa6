//! Programs nobody here wrote, and what of them runs. Most are held against the same command on the
//! host. `UPDATE_EXPECTED=1` writes the table of `docs/microvm-programs.md` anew; a program that is not
//! on this machine is skipped, which is printed, and keeps its line. `RINGFENCE_TRIAL` names the only
//! one to be tried.

mod real {
    pub(crate) mod commands;
    pub(crate) mod interpreters;
    pub(crate) mod network;
    pub(crate) mod table;
    pub(crate) mod tools;
}
mod support;

use real::{commands, interpreters, network, table, tools};

#[test]
fn commands_of_the_system_do_as_on_the_host() {
    table::check("Commands", commands::system());
}

#[test]
fn applets_of_busybox_do_as_on_the_host() {
    table::check("Applets of busybox", commands::busybox());
}

#[test]
fn interpreters_run_their_programs() {
    table::check("Interpreters", interpreters::all());
}

#[test]
fn tools_of_developers_work_in_a_mount() {
    table::check("Tools", tools::all());
}

#[test]
fn clients_and_servers_talk_where_they_may() {
    table::check("Network", network::all());
}
