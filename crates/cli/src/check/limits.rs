//! The limits of a capsule, those by default marked.

use ringfence::Spec;

use crate::table::{Cell, Table};

/// A row for each limit that is set, and the names of the rest.
pub(super) fn table(spec: &Spec) -> (Table, String) {
    let mut table = Table::new(2);
    let mut unlimited = Vec::new();
    for (name, amount) in amounts(spec) {
        match amount {
            Some(amount) if spec.defaults.contains(name) => {
                table.row([name.into(), amount.into(), Cell::faint("default")]);
            }
            Some(amount) => table.row([name.into(), amount.into(), "".into()]),
            None => unlimited.push(name),
        }
    }
    (table, unlimited.join(", "))
}

fn amounts(spec: &Spec) -> [(&'static str, Option<String>); 13] {
    fn text<T: ToString>(amount: Option<T>) -> Option<String> {
        amount.map(|amount| amount.to_string())
    }
    // Every limit has its line here: a new one does not compile until it is shown.
    let ringfence::manifest::Limits {
        memory,
        cpu_time,
        wall_time,
        cores,
        processes,
        open_files,
        disk,
        file_size,
        bandwidth,
        io_operations,
        io_bytes,
        output,
        fuel,
    } = spec.limits;
    [
        ("memory", text(memory)),
        ("cpu_time", cpu_time.map(|time| format!("{time:?}"))),
        ("wall_time", wall_time.map(|time| format!("{time:?}"))),
        ("cores", text(cores)),
        ("processes", text(processes)),
        ("open_files", text(open_files)),
        ("disk", text(disk)),
        ("file_size", text(file_size)),
        ("bandwidth", text(bandwidth)),
        ("io_operations", text(io_operations)),
        ("io_bytes", text(io_bytes)),
        ("output", text(output)),
        ("fuel", text(fuel)),
    ]
}
