use super::*;

const FULL: &str = r#"
[capsule]
name = "fetcher"
version = "1.2.0"

[program]
kind = "wasm"
path = "fetcher.wasm"
args = ["--once"]
cwd = "/data"

[isolation]
level = "auto"
minimum = "wasm"
require = ["memory-isolated", "kill-works"]

[permissions]
fs.read  = ["/data"]
fs.write = ["/data/out"]
net.connect = ["api.example.com:443", "*:80"]
net.listen = ["127.0.0.1:8080", "*:0"]
net.resolve = ["*.example.org"]
env = ["TERM"]
args = true
random = false
channel.send = ["jobs.*"]
log = true

[mounts]
"/data" = { from = "./data", mode = "rw" }
"in" = "./in"

[env]
LOG = "info"

[limits]
memory = "64 MiB"
cpu_time = "2s"
wall_time = "30s"
cores = 0.5
disk = 100
bandwidth = "10 Mbit/s"
open_files = 64
processes = 1
io_operations = 10_000

[stdio]
stdin = "null"
stdout = { file = "out.txt" }
"#;

#[test]
fn every_section_is_read() {
    let manifest = Manifest::parse("capsule.toml", FULL).unwrap_or_else(|error| panic!("{error}"));
    println!("{}", manifest.to_toml());
    assert_eq!(Manifest::parse("again", &manifest.to_toml()).unwrap(), manifest);
}
