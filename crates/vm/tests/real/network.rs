//! A client that reaches what it may, a server that is asked.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use ringfence_manifest::{Bytes, ListenRule};

use super::commands::{shell, which};
use super::interpreters::{PATIENCE, judge};
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

fn node() -> Came {
    if which("node").is_none() || which("bash").is_none() {
        return Came::Missing("there is no node".into());
    }
    let script = "node -e '\nconst http = require(\"http\");\n\
        const server = http.createServer((request, answer) => answer.end(\"served\")).listen(0, () => {\n\
        http.get({ host: \"127.0.0.1\", port: server.address().port }, (answer) => {\n\
        answer.on(\"data\", (data) => { console.log(String(data)); server.close(); }); }); });'";
    let mut lab = shell("bash", script);
    lab.spec.permissions.network.listen = ListenRule::parse("*:*").unwrap();
    lab.spec.permissions.network.connect.push("127.0.0.1:*".parse().unwrap());
    judge(&lab.run(), "served")
}

/// It refuses to be user 0.
const POSTGRES: &str = "set -e; cat > /tmp/all.sh <<'END'\n\
    PATH=$(ls -d /usr/lib/postgresql/*/bin | head -n 1):$PATH; export PATH LC_ALL=C; cd /tmp\n\
    initdb -D /tmp/data -A trust -U me > /tmp/log 2>&1 || cat /tmp/log\n\
    pg_ctl -D /tmp/data -o \"-k /tmp -h ''\" -w -t 120 -l /tmp/log start > /dev/null || cat /tmp/log\n\
    psql -h /tmp -U me -d postgres -Atq -c 'create table t(a int primary key)' -c 'begin' -c 'insert into t select \
    generate_series(1, 1000)' -c 'commit' -c 'begin' -c 'delete from t where a > 10' -c 'rollback' -c 'select sum(a) from t' &\n\
    psql -h /tmp -U me -d postgres -Atqc 'select 6 * 7' > /tmp/other; wait; cat /tmp/other\n\
    pg_ctl -D /tmp/data -m fast -w stop | tail -n 1\nEND\n\
    test $(id -u) != 0 || exec python3 -c 'import os; os.setgroups([]); os.setgid(65534); os.setuid(65534); \
    os.execv(\"/bin/sh\", [\"sh\", \"/tmp/all.sh\"])'; exec sh /tmp/all.sh";

fn postgres() -> Came {
    let is_there = std::fs::read_dir("/usr/lib/postgresql").is_ok_and(|mut found| found.next().is_some());
    if !is_there || which("bash").is_none() || which("python3").is_none() {
        return Came::Missing("there is no postgresql, python3".into());
    }
    let lab = shell("bash", POSTGRES).limit(|limits| {
        limits.wall_time = Some(PATIENCE);
        limits.memory = Some(Bytes(3 << 30));
        limits.open_files = Some(8192);
    });
    judge(&lab.run(), "500500\n42\nserver stopped")
}

pub(crate) fn all() -> Vec<Trial> {
    vec![
        Trial::new("curl", "a server of the host that is granted, and one that is not there", curl),
        Trial::new("redis-server", "with `redis-cli` and `redis-benchmark` in the same capsule", redis),
        Trial::new("python3", "serves a folder over HTTP and asks itself", python),
        Trial::new("node", "serves at every address and asks itself by IPv4", node),
        Trial::new("postgres", "`initdb`, a server, two clients, transactions", postgres),
    ]
}
