# Shorthands. Each is one command that can be typed as it stands.

# Everything that has to pass.
test:
    cargo test --workspace

# Formatting and lints.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# Licences, advisories and sources of dependencies (needs cargo-deny).
deny:
    cargo deny check

# The example capsule.
tally:
    cargo run -- run capsules/tally

# The benchmarks, side by side with their peers.
bench:
    bench/run

# Lines of code to trust at level microvm (SECURITY.md), without comments, empty lines and tests.
trusted:
    #!/bin/sh
    count() { find "$@" -name '*.rs' ! -name tests.rs ! -path '*/tests/*' -exec sed -s '/^mod tests {$/,$d' {} + | grep -cvE '^\s*(//|$)'; }
    runner=crates/ringfence/src/runner
    echo "the monitor        $(count crates/vm/src), in sys $(count crates/vm/src/sys)"
    echo "its walls          $(count crates/linux/src), in sys $(count crates/linux/src/sys)"
    echo "answering it       $(cd $runner && count serve.rs carried.rs parcel.rs wire.rs machine.rs commands.rs captures.rs capturing.rs)"
    echo "the scoped hal     $(count crates/runtime/src)"

# Rebuild the committed WebAssembly programs from their sources.
programs:
    tests/programs/build
