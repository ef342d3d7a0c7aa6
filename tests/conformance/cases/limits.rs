//! Every limit trips under its own name.

use super::AS_A_SHELL;
use crate::{Case, Ends, Natively, Otherwise, Place, Stdin};

const WRITE: &str = r#"
fs.read = ["/data"]
fs.write = ["/data"]
fs.create = ["/data"]
fs.delete = ["/data"]
"#;

/// How much a folder of the host holds.
fn size(place: &Place, folder: &str) -> u64 {
    std::fs::read_dir(place.path(folder))
        .expect("the folder is there")
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .filter(|found| found.is_file())
        .map(|found| found.len())
        .sum()
}

pub(super) const CASES: &[Case] = &[
    Case {
        name: "limits/memory",
        limits: "memory = \"32 MiB\"\nwall_time = \"20s\"",
        probe: "alloc 100000000",
        ends: Ends::Exceeded("memory"),
        ..Case::NOTHING
    },
    Case {
        name: "limits/memory_below_its_limit_is_given",
        limits: "memory = \"64 MiB\"\nwall_time = \"20s\"",
        probe: "alloc 20000000",
        prints: &["ok 20000000"],
        ..Case::NOTHING
    },
    Case {
        name: "limits/cpu_time",
        limits: "cpu_time = \"100ms\"\nwall_time = \"20s\"",
        probe: "spin",
        ends: Ends::Exceeded("cpu_time"),
        ..Case::NOTHING
    },
    Case {
        name: "limits/wall_time_of_a_busy_program",
        limits: "wall_time = \"100ms\"",
        probe: "spin",
        ends: Ends::Exceeded("wall_time"),
        ..Case::NOTHING
    },
    Case {
        name: "limits/wall_time_of_an_idle_program",
        limits: "wall_time = \"100ms\"",
        stdin: Stdin::Silent,
        probe: "block-stdin",
        ends: Ends::Exceeded("wall_time"),
        ..Case::NOTHING
    },
    Case {
        name: "limits/wall_time_of_a_program_that_accepts",
        permissions: r#"net.listen = ["127.0.0.1:*"]"#,
        limits: "wall_time = \"200ms\"",
        probe: "block-accept 127.0.0.1:0",
        prints: &["ok 127.0.0.1:…"],
        ends: Ends::Exceeded("wall_time"),
        ..Case::NOTHING
    },
    Case {
        name: "limits/open_files",
        permissions: r#"fs.read = ["/data"]"#,
        limits: "open_files = 64\nwall_time = \"20s\"",
        probe: "open-many /data/in.txt 100000",
        ends: Ends::Exceeded("open_files"),
        natively: Natively::Otherwise(
            Otherwise::because("the kernel's error reaches the program before the supervisor ends it")
                .prints(&["err EMFILE after …"]),
        ),
        served: Some(Natively::Equal),
        ..Case::NOTHING
    },
    Case {
        name: "limits/disk",
        permissions: WRITE,
        limits: "disk = \"1 MiB\"\nwall_time = \"20s\"",
        probe: "fill /data/big 100000000",
        ends: Ends::Exceeded("disk"),
        after: |place| assert!(size(place, "data") <= (1 << 20) + 100),
        natively: Natively::Refused("disk-limit"),
        served: Some(Natively::Equal),
        ..Case::NOTHING
    },
    Case {
        name: "limits/disk_counts_files_that_are_gone_but_open",
        permissions: WRITE,
        limits: "disk = \"1 MiB\"\nwall_time = \"20s\"",
        probe: "keep-unlinked /data 100 100000",
        ends: Ends::Exceeded("disk"),
        natively: Natively::Refused("disk-limit"),
        served: Some(Natively::Equal),
        ..Case::NOTHING
    },
    Case {
        name: "limits/disk_counts_empty_files",
        permissions: WRITE,
        limits: "disk = \"1 MiB\"\nwall_time = \"20s\"",
        probe: "many-files /data/empty 100000",
        ends: Ends::Exceeded("disk"),
        after: |place| assert!(std::fs::read_dir(place.path("data/empty")).expect("it is there").count() <= 256),
        natively: Natively::Refused("disk-limit"),
        served: Some(Natively::Equal),
        ..Case::NOTHING
    },
    Case {
        name: "limits/disk_counts_a_file_made_long_at_once",
        permissions: WRITE,
        limits: "disk = \"1 MiB\"\nwall_time = \"20s\"",
        probe: "truncate /data/in.txt 1000000000000",
        ends: Ends::Exceeded("disk"),
        after: |place| assert_eq!(place.text("data/in.txt"), "inside\n"),
        natively: Natively::Refused("disk-limit"),
        served: Some(Natively::Equal),
        ..Case::NOTHING
    },
    Case {
        name: "limits/file_size",
        permissions: WRITE,
        limits: "file_size = \"100 KiB\"\nwall_time = \"20s\"",
        probe: "fill /data/big 1000000",
        ends: Ends::Exceeded("file_size"),
        after: |place| assert!(place.path("data/big").metadata().expect("it is there").len() <= 100 << 10),
        ..Case::NOTHING
    },
    Case {
        name: "limits/output",
        limits: "output = \"64 KiB\"\nwall_time = \"20s\"",
        probe: "output-forever",
        ends: Ends::Exceeded("output"),
        prints: &["…"],
        ..Case::NOTHING
    },
    Case {
        name: "limits/io_operations",
        permissions: r#"fs.read = ["/data"]"#,
        limits: "io_operations = 500\nwall_time = \"20s\"",
        probe: "race-read /data/in.txt 100000",
        ends: Ends::Exceeded("io_operations"),
        ..Case::NOTHING
    },
    Case {
        name: "limits/io_bytes",
        permissions: WRITE,
        limits: "io_bytes = \"1 MiB\"\nwall_time = \"20s\"",
        probe: "fill /data/big 100000000",
        ends: Ends::Exceeded("io_bytes"),
        natively: Natively::Refused("io-bytes-limit"),
        served: Some(Natively::Equal),
        ..Case::NOTHING
    },
    Case {
        name: "limits/a_deep_recursion_is_the_programs_fault",
        probe: "recurse",
        ends: Ends::Trapped(""),
        natively: Natively::Otherwise(Otherwise::because(AS_A_SHELL).ends(Ends::Signalled)),
        ..Case::NOTHING
    },
];
