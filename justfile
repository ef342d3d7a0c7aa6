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

# Rebuild the committed WebAssembly programs from their sources.
programs:
    tests/programs/build
