//! Commands of the system, held against the host.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use ringfence_isolation::Exit;
use ringfence_manifest::MountMode;

use super::table::{Came, Trial};
use crate::support::Lab;

/// Where programs are looked for.
pub(crate) const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The command, and what is done with it; `@` stands for the command.
const COMMANDS: &[(&str, &str)] = &[
    ("ls", "@ -a folder; @ -d missing; @ -lR folder | cut -c1 | sort | uniq -c"),
    ("cat", "@ lines -; @ < lines"),
    ("sort", "@ -n numbers; @ -r lines; @ -u lines lines; @ -k2 table"),
    ("cut", "@ -d: -f2 table; @ -c1-3 lines"),
    ("wc", "@ lines numbers; @ -l < lines"),
    ("sha256sum", "@ lines numbers > sums; @ -c sums; cat sums"),
    ("sha512sum", "@ lines"),
    ("sha1sum", "@ lines"),
    ("md5sum", "@ lines"),
    ("cksum", "@ lines"),
    ("head", "@ -n 2 lines; @ -c 5 lines"),
    ("tail", "@ -n 2 lines; @ -c 5 lines"),
    ("tr", "@ a-z A-Z < lines; @ -d aeiou < lines"),
    ("uniq", "sort numbers | @ -c"),
    ("comm", "sort lines > a; @ -12 a a"),
    ("paste", "@ -d, lines numbers"),
    ("tee", "@ one two < lines; cat one two"),
    ("seq", "@ 1 3 10"),
    ("nl", "@ lines"),
    ("od", "@ -c lines"),
    ("base64", "@ lines | @ -d; @ lines"),
    ("cp", "@ -r folder copied && ls copied; @ lines numbers copied && ls copied"),
    ("mv", "@ lines moved && @ moved folder && ls folder"),
    ("rm", "@ -r folder && ls; @ missing; @ -f missing"),
    ("ln", "@ -s lines soft && cat soft; @ lines hard && cat hard"),
    ("mkdir", "@ -p a/b/c && ls a/b; @ a"),
    ("rmdir", "mkdir a; @ a; @ folder"),
    ("touch", "@ -d '2001-02-03 04:05:06' new && stat -c %Y new"),
    ("stat", "@ -c '%s %F %h' lines folder"),
    ("dd", "@ if=lines bs=3 count=2 skip=1 2>/dev/null"),
    ("truncate", "@ -s 3 lines && cat lines; @ -s 10 lines && wc -c < lines"),
    ("split", "@ -l 1 lines part && cat partaa partab"),
    ("shuf", "@ lines | sort"),
    ("expr", "@ 3 + 4 '*' 2; @ length word"),
    ("factor", "@ 1234567890"),
    ("env", "@ -i A=b @ | grep A"),
    ("printenv", "@ LANG"),
    ("uname", "@ -s -m"),
    ("nproc", "@"),
    ("sleep", "@ 0.01 && echo slept"),
    ("timeout", "@ 0.2 sleep 20; echo $?; @ 5 echo in time"),
    ("test", "@ -f lines && @ -d folder && @ ! -e missing && echo all"),
    ("true", "@; echo $?"),
    ("false", "@; echo $?"),
    ("yes", "@ | head -n 3"),
    ("realpath", "ln -s folder/inside deep; @ deep | sed 's/.*data/data/'"),
    ("readlink", "ln -s folder soft; @ soft"),
    ("dirname", "@ /a/b/c"),
    ("basename", "@ /a/b/c.d .d"),
    ("mktemp", "cp lines $(@) && echo made; ls -d $(@ -d) | cut -c1-5"),
    ("install", "@ -m 755 lines installed && cat installed"),
    ("fold", "@ -w 4 lines"),
    ("expand", "printf 'a\\tb\\n' | @"),
    ("tac", "@ lines"),
    ("tsort", "printf 'a b\\nb c\\n' | @"),
    ("echo", "@ one  two"),
    ("printf", "@ '%03d|%s\\n' 7 word"),
    ("pwd", "cd folder; @ | sed 's/.*data/data/'"),
    ("id", "@ -u"),
    ("date", "@ -u -d %%86400 +%F; TZ=UTC @ -r sums.old +%Y"),
    ("du", "@ -b lines | cut -f1"),
    ("sync", "@ && echo synced"),
    ("chmod", "@ +x lines && echo changed"),
    ("sed", "@ -n '2,3s/t/T/gp' lines; @ -i s/o/0/ lines && cat lines"),
    ("awk", "@ -F: '{ sum += length($2) } END { print sum, NR }' table"),
    ("grep", "@ -n t lines; @ -r deep folder; @ -c . numbers; @ missing lines"),
    ("find", "@ . -type f | sort; @ folder -name 'in*' -exec cat {} ';'"),
    ("xargs", "ls | sort | @ -n 2 echo"),
    ("diff", "@ lines numbers; @ -u lines lines && echo same"),
    ("cmp", "@ lines numbers; @ lines lines && echo same"),
    ("patch", "sed s/one/ONE/ lines > new; diff -u lines new > change; @ lines < change; cat lines"),
    ("tar", "@ cf all.tar folder lines && @ tf all.tar && mkdir out && @ xf all.tar -C out && cat out/folder/inside"),
    ("gzip", "@ -k lines && @ -dc lines.gz"),
    ("bzip2", "@ -k lines && @ -dc lines.bz2"),
    ("xz", "@ -k lines && @ -dc lines.xz"),
    ("bc", "echo '2^100' | @"),
    ("cpio", "echo lines | @ -o 2>/dev/null > all.cpio; rm lines; @ -i 2>/dev/null < all.cpio; cat lines"),
];

/// Of those, what busybox has as well and does in its own way.
const NOT_OF_BUSYBOX: &[(&str, &str)] = &[];

const KNOWN: &[(&str, &str)] = &[];

fn furnish(folder: &Path) {
    let write = |name: &str, content: &str| std::fs::write(folder.join(name), content).unwrap();
    std::fs::create_dir_all(folder.join("folder")).unwrap();
    write("lines", "one\ntwo\nthree\nfour\n");
    write("numbers", "3\n10\n2\n10\n");
    write("table", "a:bcd:e\nf:gh:i\n");
    write("folder/inside", "deep inside\n");
    let old = std::fs::File::create(folder.join("sums.old")).unwrap();
    old.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
}

/// Where a program is.
pub(crate) fn which(name: &str) -> Option<PathBuf> {
    PATH.split(':').map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

/// A shell in a capsule that may use `/data` and `/tmp`.
pub(crate) fn shell(shell: &str, script: &str) -> Lab {
    let lab = Lab::new(which(shell).expect("a shell")).args(&["-c", script]);
    let lab = lab.mount("/data", MountMode::ReadWrite).grant_all("/data").grant_all("/tmp").grant_all("/dev/shm");
    let mut lab = lab.env("PATH", PATH).env("HOME", "/tmp").env("LANG", "C.UTF-8").env("LC_ALL", "C");
    lab.spec.program.working_directory = "/data".into();
    lab
}

/// The same in a capsule and on the host.
fn compare(script: &str) -> Came {
    let Some(bash) = which("bash") else { return Came::Missing("there is no bash".into()) };
    let lab = shell("bash", script);
    furnish(&lab.host("/data"));
    let outcome = lab.run();
    let host = tempfile::tempdir().unwrap();
    let data = host.path().join("data");
    std::fs::create_dir(&data).unwrap();
    furnish(&data);
    let mut command = Command::new(bash);
    command.args(["-c", script]).current_dir(&data).env_clear().stdin(Stdio::null());
    for (name, value) in [("PATH", PATH), ("HOME", "/tmp"), ("LANG", "C.UTF-8"), ("LC_ALL", "C")] {
        command.env(name, value);
    }
    let there = command.output().unwrap();
    let expected = (String::from_utf8_lossy(&there.stdout).into_owned(), there.status.code().map(Exit::Returned));
    let found = (outcome.stdout, Some(outcome.report.exit));
    if found == expected {
        return Came::Runs;
    }
    Came::Fails(format!("{found:?} here, {expected:?} on the host\n{}", outcome.stderr))
}

fn trial(name: &str, prefix: &str, script: &str, known: &[(&'static str, &'static str)]) -> Trial {
    let script = script.replace('@', &format!("{prefix}{name}")).replace("%%", "@");
    let what = script.replace('|', "\\|").replace("/bin/busybox ", "");
    let trial = Trial::new(name, &format!("`{what}`"), move || compare(&script));
    match known.iter().find(|(known, _)| *known == name) {
        Some((_, why)) => trial.fails(why),
        None => trial,
    }
}

pub(crate) fn system() -> Vec<Trial> {
    let trial = |&(name, script): &(&'static str, &'static str)| {
        let mut trial = trial(name, "", script, KNOWN);
        if which(name).is_none() {
            trial.run = Box::new(move || Came::Missing(format!("there is no {name}")));
        }
        trial
    };
    COMMANDS.iter().map(trial).collect()
}

pub(crate) fn busybox() -> Vec<Trial> {
    static LISTED: OnceLock<Vec<String>> = OnceLock::new();
    let listed = LISTED.get_or_init(|| {
        let listed = Command::new("/bin/busybox").arg("--list").output();
        let text = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    });
    if listed.is_empty() {
        println!("skipped: there is no /bin/busybox");
    }
    let of_busybox = |(name, _): &&(&str, &str)| listed.iter().any(|applet| applet == name);
    let trial = |&(name, script): &(&'static str, &'static str)| trial(name, "/bin/busybox ", script, NOT_OF_BUSYBOX);
    COMMANDS.iter().filter(of_busybox).map(trial).collect()
}
