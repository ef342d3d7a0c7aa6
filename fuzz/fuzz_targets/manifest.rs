//! Any text at the manifest parser.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfence_manifest::Manifest;

fuzz_target!(|text: &str| {
    match Manifest::parse("capsule.toml", text) {
        Ok(manifest) => {
            let written = manifest.to_toml();
            let again = Manifest::parse("capsule.toml", &written).expect("what was written can be read");
            assert_eq!(manifest, again);
        }
        Err(diagnostics) => assert!(!diagnostics.to_string().is_empty()),
    }
});
