//! Profiles and lists of system calls, at every level that runs Linux programs.

use crate::lab::Lab;
use crate::sandbox::lab;

/// Makes each call that its arguments name by number, with arguments that no call takes, and prints the error.
const TRIES: &str = "\
import ctypes, errno, sys
library = ctypes.CDLL(None, use_errno=True)
def attempt(number):
    if library.syscall(ctypes.c_long(int(number)), *[ctypes.c_long(-1)] * 6) != -1:
        return 'done'
    return errno.errorcode[ctypes.get_errno()]
print(*[attempt(number) for number in sys.argv[1:]])
";

/// Calls of the profile `default` that `strict` has not, by their numbers on x86-64.
const BEYOND_STRICT: [libc::c_long; 12] = [
    libc::SYS_msgget,
    libc::SYS_semctl,
    libc::SYS_shmat,
    libc::SYS_inotify_add_watch,
    libc::SYS_sched_setscheduler,
    libc::SYS_mlock,
    libc::SYS_vmsplice,
    libc::SYS_capset,
    libc::SYS_execveat,
    libc::SYS_ioprio_set,
    libc::SYS_memfd_create,
    libc::SYS_rt_sigqueueinfo,
];

fn texts(calls: &[libc::c_long]) -> Vec<String> {
    calls.iter().map(|call| call.to_string()).collect()
}

/// Runs python3 with these flags; what it prints.
fn printed(lab: &Lab, level: &str, flags: &[&str], script: &str, arguments: &[String]) -> String {
    let mut line = vec!["run", "--level", level, "python3"];
    line.extend(flags);
    line.extend(["--", "-I", "-c", script]);
    line.extend(arguments.iter().map(String::as_str));
    let ran = lab.ringfence(&line).exits(0);
    ran.stdout.trim().to_owned()
}

#[test]
fn the_strict_profile_holds_back_what_it_does_not_have() {
    let lab = Lab::new();
    for level in lab.levels_for("python3") {
        let calls = texts(&BEYOND_STRICT);
        let refused = ["EPERM"; BEYOND_STRICT.len()].join(" ");
        assert_eq!(printed(&lab, level, &["--seccomp", "strict"], TRIES, &calls), refused, "{level}");
        // What else is wrong with them is told by their own errors.
        let answers = printed(&lab, level, &[], TRIES, &calls);
        let own = answers.split(' ').filter(|answer| *answer != "EPERM").count();
        assert!(own > BEYOND_STRICT.len() / 2, "{level}: {answers}");
        let with =
            printed(&lab, level, &["--seccomp", "strict,mlock"], TRIES, &texts(&[libc::SYS_mlock, libc::SYS_msgget]));
        assert!(!with.starts_with("EPERM") && with.ends_with(" EPERM"), "{level}: {with}");
    }
}

#[test]
fn programs_that_compute_and_use_files_run_under_the_strict_profile() {
    let lab = Lab::new();
    let script = "\
import json, os, subprocess, tempfile, threading
with tempfile.TemporaryDirectory(dir='/tmp') as folder:
    open(folder + '/one', 'w').write('text')
    os.rename(folder + '/one', folder + '/two')
    out = subprocess.run(['cat', folder + '/two'], capture_output=True, text=True).stdout
threads = [threading.Thread(target=out.upper) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps({'out': out}))
";
    for level in lab.levels_for("python3") {
        let flags = ["--seccomp", "strict", "--allow", "fs.read,fs.write,fs.create,fs.delete,fs.list=/tmp"];
        assert_eq!(printed(&lab, level, &flags, script, &[]), "{\"out\": \"text\"}", "{level}");
    }
}

#[test]
fn a_list_lets_through_what_it_names_and_nothing_else() {
    let lab = Lab::new();
    const LEAST: &str = "execve,exit,exit_group,write";
    // What cannot be begun is told as ever.
    let broken = lab.write("broken", "#!/no/such/interpreter\n");
    std::fs::set_permissions(&broken, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for level in lab.levels_for("python3") {
        // No program of today's gets as far as its first line with these.
        let line = ["run", "--level", level, "--seccomp", LEAST, "python3", "--", "-c", "print(1)"];
        let ran = lab.ringfence(&line);
        assert!(ran.code != Some(0) && ran.stdout.is_empty(), "{level}: {:?} {}", ran.code, ran.stderr);
        let ran = lab.ringfence(&["run", "--level", level, "--seccomp", LEAST, "./broken"]).exits(120);
        assert!(ran.stderr.contains("cannot be executed"), "{level}: {}", ran.stderr);
    }
}

#[test]
fn who_asks_to_be_traced_by_nobody_goes_on() {
    let Some(lab) = lab(&["python3"]) else { return };
    let script = "\
import ctypes, os, signal
library = ctypes.CDLL(None)
handled = []
signal.signal(signal.SIGUSR1, lambda *_: handled.append(1))
print(library.ptrace(0, 0, 0, 0))
os.kill(os.getpid(), signal.SIGUSR1)
print(len(handled), flush=True)
library.ptrace(0, 0, 0, 0)
os.execv('/bin/echo', ['echo', 'executed'])
";
    let printed = printed(&lab, "sandbox", &["--seccomp", "permissive"], script, &[]);
    assert_eq!(printed.split_whitespace().collect::<Vec<_>>(), ["0", "1", "executed"]);
}

#[test]
fn the_permissive_profile_shows_a_program_its_own_processes_and_no_others() {
    let Some(lab) = lab(&["python3"]) else { return };
    let script = "\
import ctypes, errno, os, signal
library = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    arguments = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    result = library.syscall(ctypes.c_long(number), *arguments)
    return result if result != -1 else errno.errorcode[ctypes.get_errno()]
PTRACE, READV, PIDFD_OPEN, PIDFD_GETFD, SEIZE = 101, 310, 434, 438, 0x4206
child = os.fork()
if child == 0:
    signal.pause()
word = ctypes.create_string_buffer(8)
part = (ctypes.c_size_t * 2)(ctypes.addressof(word), 8)
own = (ctypes.c_size_t * 2)(ctypes.addressof(ctypes.create_string_buffer(8)), 8)
for pid in (child, 1):
    descriptor = call(PIDFD_OPEN, pid, 0)
    got = call(PIDFD_GETFD, descriptor, 1, 0)
    seized = call(PTRACE, SEIZE, pid, 0, 0)
    read = call(READV, pid, ctypes.byref(part), 1, ctypes.byref(own), 1, 0)
    try:
        memory = open(f'/proc/{pid}/mem', 'rb').name
    except OSError as error:
        memory = errno.errorcode[error.errno]
    print(got if isinstance(got, str) else 'got', seized, read, memory.replace(str(child), 'N'), end='; ')
os.kill(child, signal.SIGKILL)
";
    let tried = |profile: &str| printed(&lab, "sandbox", &["--seccomp", profile], script, &[]);
    let permissive = tried("permissive");
    let (own, first) = permissive.split_once("; ").unwrap();
    assert_eq!(own, "got 0 8 /proc/N/mem");
    let first = first.trim_end_matches(';');
    assert!(first.split(' ').all(|answer| ["EPERM", "ENOENT", "EACCES"].contains(&answer)), "{first}");
    let default = tried("default");
    assert!(default.split("; ").all(|line| line.starts_with("EPERM EPERM EPERM")), "{default}");
}
