//! Shells, Python, Node.js, Perl.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ringfence_isolation::Exit;
use ringfence_manifest::{Mount, MountMode};

use super::commands::{shell, which};
use super::table::{Came, Trial};
use crate::support::{Lab, Outcome};

/// How long one may take: many system calls are slow where KVM is software.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

pub(crate) fn judge(outcome: &Outcome, expected: &str) -> Came {
    if outcome.report.exit == Exit::Returned(0) && outcome.stdout.trim_end() == expected {
        return Came::Runs;
    }
    let tail =
        |text: &str| text.lines().rev().take(25).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
    Came::Fails(format!("{} {:?}\n{}", outcome.report.exit, tail(&outcome.stdout), tail(&outcome.stderr)))
}

/// A command in a shell that has to print this.
pub(crate) fn command(name: &'static str, what: &str, script: &'static str, expected: &'static str) -> Trial {
    Trial::new(name, what, move || match which(name) {
        None => Came::Missing(format!("there is no {name}")),
        Some(_) if which("bash").is_none() => Came::Missing("there is no bash".into()),
        Some(_) => {
            let lab = shell("bash", script).limit(|limits| limits.wall_time = Some(PATIENCE));
            judge(&lab.run(), expected)
        }
    })
}

const BASH: &str = "set -e; shopt -s extglob; declare -A map=([one]=1 [two]=2); list=(a b c); \
    echo ${#list[@]} ${map[two]} $((2**40)) ${list[@]:1}; \
    while read -r line; do echo \"<$line>\"; done < <(printf 'x\\ny\\n'); \
    cat <<END\nhere $(echo document)\nEND\n\
    trap 'echo trapped' USR1; kill -USR1 $$; (exit 3) || echo status $?; sleep 0.05 & wait $!; \
    [[ foobar =~ o(b.) ]] && echo ${BASH_REMATCH[1]}; echo a | tee >(cat > /tmp/copy) > /dev/null; \
    coproc cat; echo to >&${COPROC[1]}; read -r back <&${COPROC[0]}; echo $back";
const BASH_SAYS: &str = "3 2 1099511627776 b c\n<x>\n<y>\nhere document\ntrapped\nstatus 3\nba\nto";

const NODE: &str = "const fs = require('fs'), { Worker } = require('worker_threads'); \
    (async () => { \
      await Promise.all([1, 2, 3].map(n => new Promise(done => setTimeout(done, n)))); \
      fs.mkdirSync('/tmp/d'); fs.writeFileSync('/tmp/d/f', 'content'); \
      await fs.promises.appendFile('/tmp/d/f', ' more'); \
      console.log(fs.readFileSync('/tmp/d/f', 'utf8'), fs.readdirSync('/tmp/d').join()); \
      const w = new Worker('require(\"worker_threads\").parentPort.postMessage(6 * 7)', { eval: true }); \
      console.log(await new Promise((yes, no) => { w.on('message', yes); w.on('error', no); })); \
      const { stdout } = require('child_process').spawnSync('/bin/echo', ['child']); \
      console.log(String(stdout).trim(), require('zlib').gunzipSync(require('zlib').gzipSync('zipped')).toString()); \
      console.log(require('crypto').createHash('sha256').update('x').digest('hex').slice(0, 8)); \
    })()";

/// A Python that has its own tests, and where it is.
fn python_with_tests() -> Option<(PathBuf, PathBuf)> {
    let folders = std::env::var_os("PATH")?;
    let all = std::env::split_paths(&folders).map(|folder| folder.join("python3")).filter(|path| path.is_file());
    all.filter_map(|path| {
        let script = "import sys, test.test_json, test.test_threading; print(sys.executable); print(sys.prefix)";
        let output = Command::new(path).args(["-c", script]).output().ok().filter(|output| output.status.success())?;
        let text = String::from_utf8(output.stdout).ok()?;
        let (executable, prefix) = text.trim().split_once('\n')?;
        Some((executable.into(), prefix.into()))
    })
    .next()
}

/// One of Python's own tests, with what is left out of it.
fn python(name: &'static str, what: &str, arguments: &'static [&'static str]) -> Trial {
    Trial::new(&format!("python3 -m test {name}"), what, move || {
        let Some((executable, prefix)) = python_with_tests() else {
            return Came::Missing("there is no python3 with its tests".into());
        };
        let mut lab = Lab::new(executable).args(&["-m", "unittest", &format!("test.{name}")]);
        lab.spec.program.args.extend(arguments.iter().map(|&argument| argument.to_owned()));
        if !prefix.starts_with("/usr") {
            let at = prefix.display().to_string();
            lab = lab.grant_all(&at);
            lab.spec.mounts.push(Mount { at: at.clone(), name: at, from: prefix, mode: MountMode::ReadOnly });
        }
        let lab = lab.grant_all("/tmp").grant_all("/dev/shm").env("HOME", "/tmp").env("PATH", "/usr/bin:/bin");
        let mut lab = lab.env("PYTHONDONTWRITEBYTECODE", "1").limit(|limits| limits.wall_time = Some(PATIENCE));
        lab.spec.program.working_directory = "/tmp".into();
        let outcome = lab.run();
        // What fails on the host as well says nothing about this level.
        match (&outcome.report.exit, failures(&outcome.stderr)) {
            (Exit::Returned(1), failed) if !failed.is_empty() => {
                let there = Command::new(&lab.spec.program.path).args(&lab.spec.program.args).output().unwrap();
                let known = failures(&String::from_utf8_lossy(&there.stderr));
                let new: Vec<_> = failed.difference(&known).collect();
                if new.is_empty() { Came::Runs } else { Came::Fails(format!("{new:#?}\n{}", outcome.stderr)) }
            }
            (Exit::Returned(0), _) => Came::Runs,
            _ => judge(&outcome, ""),
        }
    })
}

/// The names of what failed.
fn failures(text: &str) -> BTreeSet<String> {
    let failed = text.lines().filter(|line| line.starts_with("FAIL: ") || line.starts_with("ERROR: "));
    failed.map(str::to_owned).collect()
}

pub(crate) fn all() -> Vec<Trial> {
    vec![
        command("bash", "arrays, here-documents, process substitution, traps, jobs, coprocesses", BASH, BASH_SAYS),
        Trial::new("node", "promises, timers, files, a worker, a child, zlib, crypto", || {
            let Some(node) = which("node") else { return Came::Missing("there is no node".into()) };
            let lab = Lab::new(node).args(&["-e", NODE]).grant_all("/tmp").env("HOME", "/tmp");
            let outcome = lab.limit(|limits| limits.wall_time = Some(PATIENCE)).run();
            judge(&outcome, "content more f\n42\nchild zipped\n2d711642")
        }),
        command(
            "perl",
            "files, a child in a pipe, sorting",
            "perl -e 'open(F, \">/tmp/f\"); print F \"b\\na\\n\"; close F; open(P, \"sort /tmp/f|\"); print <P>; \
             print join(\",\", sort { $a <=> $b } (10, 9, 8)), \"\\n\"; local $SIG{ALRM} = sub { die \"rung\\n\" }; \
             eval { alarm 1; select(undef, undef, undef, 9) }; print $@'",
            "a\nb\n8,9,10\nrung",
        ),
        command(
            "python3",
            "asyncio, threads, processes, shared memory",
            "python3 -c '\nimport asyncio, concurrent.futures as f, multiprocessing as m, subprocess, tempfile\n\
             from multiprocessing import shared_memory\n\
             async def main():\n    p = await asyncio.create_subprocess_exec(\"echo\", \"child\", stdout=-1)\n    \
             print((await p.communicate())[0].decode().strip(), await asyncio.to_thread(lambda: 7))\n\
             asyncio.run(main())\n\
             with f.ThreadPoolExecutor(3) as pool: print(sum(pool.map(lambda x: x * x, range(10))))\n\
             with m.get_context(\"fork\").Pool(2) as pool: print(pool.map(abs, [-1, -2]))\n\
             s = shared_memory.SharedMemory(create=True, size=10); s.buf[0] = 9\n\
             t = shared_memory.SharedMemory(s.name); print(t.buf[0]); s.unlink()\n\
             with tempfile.TemporaryFile() as t: t.write(b\"x\"); print(t.tell())\n'",
            "child 7\n285\n[1, 2]\n9\n1",
        ),
        python("test_json", "its own tests", &[]),
        python("test_math", "its own tests", &[]),
        python("test_re", "its own tests", &[]),
        python(
            "test_threading",
            "its own tests of threads",
            &["-k", "ThreadTests", "-k", "LockTests", "-k", "BarrierTests"],
        ),
        python("test_subprocess", "its own tests of processes", &["-k", "*.ProcessTestCase.*"]),
        python("test_subprocess", "its own tests of POSIX processes", &["-k", "*.POSIXProcessTestCase.*"]),
    ]
}
