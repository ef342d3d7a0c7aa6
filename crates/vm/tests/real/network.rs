//! A client that reaches what it may, a server that is asked.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use ringfence_manifest::ListenRule;

use super::commands::{shell, which};
use super::interpreters::judge;
use super::table::{Came, Trial};

/// Answers one request.
fn serve() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        if let Ok((mut stream, _)) = listener.accept() {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nserved");
        }
    });
    port
}

fn curl() -> Came {
    if which("curl").is_none() || which("bash").is_none() {
        return Came::Missing("there is no curl".into());
    }
    let port = serve();
    let mut lab = shell(
        "bash",
        &format!("curl -s --max-time 30 http://127.0.0.1:{port}/; echo; curl -s http://127.0.0.1:1/ || echo $?"),
    );
    lab.spec.permissions.network.connect.push(format!("127.0.0.1:{port}").parse().unwrap());
    judge(&lab.run(), "served\n7")
}

fn redis() -> Came {
    if which("bash").is_none() || which("redis-server").is_none() || which("redis-cli").is_none() {
        return Came::Missing("there is no redis-server, redis-cli".into());
    }
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let script = format!(
        "redis-server --port {port} --bind 127.0.0.1 --dir /tmp --save '' --daemonize no --logfile /tmp/log & \
         until redis-cli -p {port} ping > /dev/null 2>&1; do sleep 0.05; done; redis-cli -p {port} set key value; \
         redis-cli -p {port} get key; redis-benchmark -p {port} -q -n 200 -c 5 -t set,get > /tmp/all 2>&1 || cat /tmp/all; \
         tr '\\r' '\\n' < /tmp/all | grep -c 'requests per second'; redis-cli -p {port} shutdown nosave; wait"
    );
    let mut lab = shell("bash", &script);
    lab.spec.permissions.network.listen = ListenRule::parse("127.0.0.1:*").unwrap();
    lab.spec.permissions.network.connect.push(format!("127.0.0.1:{port}").parse().unwrap());
    judge(&lab.run(), "OK\nvalue\n2")
}

fn python() -> Came {
    if which("python3").is_none() || which("bash").is_none() {
        return Came::Missing("there is no python3".into());
    }
    let script = "python3 -c '\nimport http.server, threading, urllib.request\n\
        s = http.server.ThreadingHTTPServer((\"127.0.0.1\", 0), http.server.SimpleHTTPRequestHandler)\n\
        threading.Thread(target=s.serve_forever, daemon=True).start()\n\
        print(urllib.request.urlopen(\"http://127.0.0.1:%d/page\" % s.server_port).read().decode())\n\
        s.shutdown()' 2>/dev/null";
    let mut lab = shell("bash", script);
    std::fs::write(lab.host("/data").join("page"), "a page").unwrap();
    lab.spec.permissions.network.listen = ListenRule::parse("127.0.0.1:*").unwrap();
    lab.spec.permissions.network.connect.push("127.0.0.1:*".parse().unwrap());
    judge(&lab.run(), "a page")
}

pub(crate) fn all() -> Vec<Trial> {
    vec![
        Trial::new("curl", "a server of the host that is granted, and one that is not there", curl),
        Trial::new("redis-server", "with `redis-cli` and `redis-benchmark` in the same capsule", redis),
        Trial::new("python3", "serves a folder over HTTP and asks itself", python),
    ]
}
