//! Unix sockets of a capsule's own work as anywhere, and lead nowhere else.

mod support;

use std::os::unix::net::UnixListener;

use ringfence_manifest::{MountMode, Permission};
use support::{Lab, here};

use Permission::{FsCreate, FsDelete, FsList, FsRead, FsWrite, NetConnect};

const ALL: [Permission; 5] = [FsCreate, FsDelete, FsList, FsRead, FsWrite];

/// The program of `within.c`, which may do everything in the folders in memory.
fn within(words: &[&str]) -> Option<Lab> {
    if !here() || !support::has(&["seccomp notify", "landlock"]) {
        return None;
    }
    let lab = Lab::new(support::compiled("within.c")?).args(words);
    Some(ALL.into_iter().fold(lab, |lab, permission| lab.grant(permission, "/tmp").grant(permission, "/dev/shm")))
}

/// The same with a folder of the host's at `/data`, in which it may do everything, too.
fn beside_the_host(words: &[&str]) -> Option<Lab> {
    let lab = within(words)?.mount("/data", MountMode::ReadWrite);
    Some(ALL.into_iter().fold(lab, |lab, permission| lab.grant(permission, "/data")))
}

/// A listener of the host's, which nobody is to reach.
fn nobodys(lab: &Lab) -> UnixListener {
    let listener = UnixListener::bind(lab.host("/data").join("socket")).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

#[test]
fn who_binds_a_name_is_reached_by_it() {
    let words = ["talk", "/tmp/a", "talk-packets", "/dev/shm/b", "talk", "@c", "talk-packets", "@d"];
    let words = [&words[..], &["cd", "/tmp", "talk", "e", "link", "/tmp/f", "a", "connect", "/tmp/f"]].concat();
    let Some(lab) = within(&words) else { return };
    let heard = "heard word, the same user, 0\n";
    lab.prints(&format!("{}cd done\n{heard}link done\nconnect ECONNREFUSED", heard.repeat(4)));
}

#[test]
fn nothing_is_bound_where_nothing_may_be_made() {
    let Some(mut lab) = within(&["bind", "/tmp/a", "connect", "/tmp/a", "bind", "@a"]) else { return };
    lab.spec.permissions = Lab::new("/bin/true").spec.permissions;
    lab.prints("bind EACCES\nconnect ENOENT\nbind done");
}

#[test]
fn a_crowd_is_served_one_after_the_other() {
    let Some(lab) = within(&["crowded", "/tmp/a"]) else { return };
    lab.prints(&format!("connect done\nat once EAGAIN\n{}", "connect done\n".repeat(40).trim_end()));
}

#[test]
fn who_gives_up_keeps_nobody_from_being_served_and_nothing_from_ending() {
    let Some(lab) = within(&["stuck", "/tmp/a"]) else { return };
    lab.prints("heard word, the same user, 0");
}

#[test]
fn no_socket_is_made_or_reached_in_a_folder_of_the_host() {
    let words = ["bind", "/data/own", "connect", "/data/socket", "cd", "/data", "connect", "socket", "bind", "own"];
    let links =
        ["link", "/tmp/x", "/data/socket", "connect", "/tmp/x", "link", "/tmp/y", "/data", "connect", "/tmp/y/socket"];
    let more =
        ["connect", "../data/socket", "connect", "/proc/self/cwd/socket", "connect", "/proc/self/root/data/socket"];
    let Some(lab) = beside_the_host(&[&words[..], &links, &more].concat()) else { return };
    let listener = nobodys(&lab);
    let outcome = lab.run();
    let lines: Vec<&str> = outcome.stdout.lines().filter(|line| !line.ends_with("done")).collect();
    assert_eq!(
        lines[..6],
        ["bind EACCES", "connect EACCES", "connect EACCES", "bind EACCES", "connect EACCES", "connect EACCES"]
    );
    assert!(lines.len() == 9 && lines[6..].iter().all(|line| line.starts_with("connect E")), "{outcome:?}");
    assert!(listener.accept().is_err(), "somebody connected");
    assert_eq!(std::fs::read_dir(lab.host("/data")).unwrap().count(), 1);
}

/// A grant holds for everything below, and that is the host's in part.
#[test]
fn no_socket_is_made_above_a_folder_of_the_host() {
    let Some(lab) = within(&["bind", "/tmp/deep/a", "bind", "/tmp/a", "talk", "/dev/shm/a"]) else { return };
    let lab = lab.mount("/tmp/deep", MountMode::ReadWrite);
    lab.prints("bind EACCES\nbind EACCES\nheard word, the same user, 0");
    assert_eq!(std::fs::read_dir(lab.host("/tmp/deep")).unwrap().count(), 0);
}

#[test]
fn a_name_that_changes_meanwhile_reaches_nothing_else() {
    let Some(lab) = beside_the_host(&["race", "/tmp/own", "/data/socket"]) else { return };
    let listener = nobodys(&lab);
    lab.prints("raced");
    assert!(listener.accept().is_err(), "somebody connected");
}

#[test]
fn a_socket_that_changes_meanwhile_is_neither_bound_nor_listens() {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
    let full = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&full, &std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listen(&full, 0).unwrap();
    let address = std::net::SocketAddr::try_from(getsockname(&full).unwrap()).unwrap();
    let _waiting = std::net::TcpStream::connect(address).unwrap();
    let Some(lab) = within(&["swapped", &address.port().to_string()]) else { return };
    let report = lab.permit(NetConnect, &address.to_string()).judged();
    let expected = ["connect EINPROGRESS", "shutdown done", "bound 0, listened 0"];
    assert_eq!(support::judged::lines(&report), expected, "{report:?}");
}

#[test]
fn processes_of_an_interpreter_talk_by_way_of_a_manager() {
    if !std::path::Path::new("/usr/bin/python3").exists() {
        return eprintln!("skipped: no python3");
    }
    let script = "\
import multiprocessing as processes
def work(shared, number): shared[number] = number * number
if __name__ == '__main__':
    for method in ['fork', 'forkserver']:
        context = processes.get_context(method)
        with context.Manager() as manager, context.Pool(2) as pool:
            shared = manager.dict()
            pool.starmap(work, [(shared, number) for number in range(5)])
            print(method, sorted(shared.items()))";
    let Some(mut lab) = within(&[]) else { return };
    let file = tempfile::Builder::new().suffix(".py").tempfile().unwrap();
    std::fs::write(file.path(), script).unwrap();
    lab.spec.program.path = "/usr/bin/python3".into();
    lab.spec.stdio.stdin = ringfence_manifest::StreamIn::Null;
    let lab = lab.mount("/script", MountMode::ReadOnly).grant(FsRead, "/script").grant(FsList, "/script");
    std::fs::copy(file.path(), lab.host("/script").join("main.py")).unwrap();
    let squares = "[(0, 0), (1, 1), (2, 4), (3, 9), (4, 16)]";
    lab.args(&["/script/main.py"]).prints(&format!("fork {squares}\nforkserver {squares}"));
}
