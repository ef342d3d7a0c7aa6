//! The file server of the Model Context Protocol, from npm, in its example capsule.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::{Value, json};

use crate::lab::{Lab, capsule};
use crate::registry::{Missing, npm};

/// A server that runs, spoken to as an agent does: a line each way.
struct Server {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    asked: u64,
}

impl Server {
    /// The example capsule with the folder `granted`, told that it may serve everything it sees.
    fn start(lab: &Lab) -> Result<Self, Missing> {
        if let Some(missing) = lab.lacks("sandbox") {
            return Err(Missing::Unavailable(missing));
        }
        let package = npm("@modelcontextprotocol/server-filesystem", "2026.8.31")?;
        let modules = package.ancestors().nth(2).expect("it lies in node_modules").display().to_string();
        let modules = format!("{modules}:/server/node_modules:ro");
        let target = capsule("mcp-filesystem");
        let run = ["run", &target, "--mount", &modules, "--mount", "./granted:/files:rw", "--allow", "args", "--", "/"];
        let mut process = lab.command(&run).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let mut server = Server { process, input, output: BufReader::new(output), asked: 0 };
        let client = json!({ "name": "test", "version": "1" });
        let said = server
            .ask("initialize", json!({ "protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": client }));
        assert_eq!(said["serverInfo"]["name"], "secure-filesystem-server");
        server.tell(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        Ok(server)
    }

    fn tell(&mut self, message: &Value) {
        writeln!(self.input, "{message}").unwrap();
    }

    /// The result of a request.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let asked = self.asked;
        self.tell(&json!({ "jsonrpc": "2.0", "id": asked, "method": method, "params": params }));
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "it ended without an answer to {method}");
            let mut said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if said["id"] == asked {
                assert!(said["error"].is_null(), "{line}");
                return said["result"].take();
            }
        }
    }

    /// What a tool says, or the error it says.
    fn call(&mut self, tool: &str, arguments: Value) -> Result<String, String> {
        let said = self.ask("tools/call", json!({ "name": tool, "arguments": arguments }));
        let text = said["content"][0]["text"].as_str().unwrap().to_owned();
        if said["isError"] == true { Err(text) } else { Ok(text) }
    }

    /// An agent that goes closes the server's input, and the server ends.
    fn leave(mut self) {
        drop(self.input);
        assert!(self.process.wait().unwrap().success());
    }
}

pub(crate) fn a_server_serves_the_granted_folder_and_nothing_else() -> Result<(), Missing> {
    let lab = Lab::new();
    lab.write("granted/note.txt", "a note");
    let secret = lab.write("secret.txt", "the secret");
    std::os::unix::fs::symlink(&secret, lab.at("granted/link")).unwrap();
    let mut server = Server::start(&lab)?;
    let tools = server.ask("tools/list", json!({}));
    let tools: Vec<&str> = tools["tools"].as_array().unwrap().iter().filter_map(|tool| tool["name"].as_str()).collect();
    assert!(tools.contains(&"read_text_file") && tools.contains(&"write_file"), "{tools:?}");

    let read = |path: &str| json!({ "path": path });
    assert_eq!(server.call("read_text_file", read("/files/note.txt")).unwrap(), "a note");
    let written = json!({ "path": "/files/new.txt", "content": "made by the server" });
    server.call("write_file", written).unwrap();
    assert_eq!(lab.read("granted/new.txt"), "made by the server");

    // The server itself would serve these; what it cannot see it cannot serve.
    let secret = secret.to_str().unwrap();
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    for path in [secret, manifest, "/etc/shadow", "/files/link", "/proc/1/environ", "/files/../../etc/shadow"] {
        let said = server.call("read_text_file", read(path)).unwrap_err();
        assert!(!said.contains("the secret") && !said.contains("root:"), "{path}: {said}");
    }
    for path in ["/server/node_modules/new.txt", "/usr/new.txt", "/new.txt"] {
        let said = server.call("write_file", json!({ "path": path, "content": "x" })).unwrap_err();
        assert!(["EROFS", "EACCES"].iter().any(|why| said.contains(why)), "{path}: {said}");
    }
    server.leave();
    Ok(())
}
