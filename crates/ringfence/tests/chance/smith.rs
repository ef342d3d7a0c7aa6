//! Programs made of chance, by `wasm-smith`.

use arbitrary::{Arbitrary, Result, Unstructured};
use wasm_smith::{Component, Config, Module};

/// WASI preview 1: names and parameters, `l` for the long ones. All but `proc_exit` answer an error number.
const PREVIEW1: [(&str, &str); 44] = [
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "ili"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("fd_advise", "illi"),
    ("fd_allocate", "ill"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "ill"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "il"),
    ("fd_filestat_set_times", "illi"),
    ("fd_pread", "iiili"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_prestat_get", "ii"),
    ("fd_pwrite", "iiili"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiili"),
    ("fd_renumber", "ii"),
    ("fd_seek", "ilii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiilli"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiillii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_exit", "i"),
    ("proc_raise", "i"),
    ("random_get", "ii"),
    ("sched_yield", ""),
    ("sock_recv", "iiiiii"),
    ("sock_shutdown", "ii"),
];

/// What a program of WASI preview 1 has to export.
const COMMAND: &str = r#"(module (memory (export "memory") 1 32) (func (export "_start")))"#;

/// A valid core module. Most have what a program needs and call WASI with arguments of chance; the
/// others have whatever the proposals of WebAssembly allow, and imports that nobody offers.
pub(crate) fn module(chance: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let stranger = chance.ratio(1, 8)?;
    let config = if stranger {
        Config { generate_custom_sections: true, memory64_enabled: chance.arbitrary()?, ..Config::arbitrary(chance)? }
    } else {
        Config {
            exports: Some(binary(COMMAND)),
            available_imports: Some(binary(&imports())),
            // Imported ones are among them.
            max_funcs: PREVIEW1.len() + 8,
            max_instructions: 200,
            // Code that cannot trap runs longer: into its limits, or to its end.
            disallow_traps: chance.arbitrary()?,
            allow_start_export: chance.ratio(1, 4)?,
            max_table_elements: 1000,
            memory64_enabled: false,
            ..plain()
        }
    };
    Ok(Module::new(config, chance)?.to_bytes())
}

/// A component.
pub(crate) fn component(chance: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let config = Config { max_components: 3, max_modules: 3, ..plain() };
    Ok(Component::new(config, chance)?.to_bytes())
}

/// Without the proposals that the engine here does not have.
fn plain() -> Config {
    Config {
        gc_enabled: false,
        reference_types_enabled: false,
        exceptions_enabled: false,
        threads_enabled: false,
        ..Config::default()
    }
}

fn imports() -> String {
    let import = |&(name, parameters): &(&str, &str)| {
        let parameters: String = parameters.chars().map(|one| if one == 'l' { " i64" } else { " i32" }).collect();
        let result = if name == "proc_exit" { "" } else { "(result i32)" };
        format!(r#"(import "wasi_snapshot_preview1" "{name}" (func (param{parameters}) {result}))"#)
    };
    format!("(module {})", PREVIEW1.iter().map(import).collect::<String>())
}

fn binary(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("it is WebAssembly text")
}
