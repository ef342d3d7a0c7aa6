//! The path for ordinary hardware: a Linux kernel in QEMU's TCG, which emulates AMD's SVM, and this very
//! test within it.
//!
//! Needs `qemu-system-x86_64`, a C compiler, and a kernel with its modules: `RINGFENCE_KERNEL` is a
//! folder with both as a package of Debian has them (`dpkg-deb -x linux-image-…-cloud-amd64.deb`), `/`
//! otherwise. What is missing is printed.

mod machine {
    pub(crate) mod archive;
}
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use machine::archive::Archive;
use ringfence_isolation::{Backend, Exit};
use ringfence_manifest::MountMode;
use support::{EMULATED, Lab, compiled, vm};

#[test]
fn programs_run_on_svm_with_nested_paging() {
    boot("1");
}

#[test]
fn programs_run_on_svm_with_shadow_paging() {
    boot("0");
}

/// Runs within the machine, which the other tests boot.
#[test]
fn inside() {
    if std::env::var_os(EMULATED).is_none() {
        println!("skipped: this is not the emulated machine");
        return;
    }
    let facts = vm().probe();
    assert_eq!(facts[0].found, "usable", "system calls lead to the supervisor's stub");
    let ordinary = |arguments: &[&str]| Lab::new("/programs/ordinary").args(arguments);
    let says = |lab: Lab, expected: &str| {
        lab.prints(expected);
        println!("inside: {:?} ok", lab.spec.program.args);
    };
    says(ordinary(&["hello"]), "hello");
    says(ordinary(&["arguments", "one", "two words"]).env("COLOUR", "blue"), "one two words blue");
    says(ordinary(&["protect"]), "b 1");
    says(ordinary(&["reuse"]), "empty");
    says(ordinary(&["signal"]), "1");
    says(ordinary(&["fork"]), "8 from a child, 7 here, status 3");
    says(ordinary(&["threads"]), "400");
    says(ordinary(&["files"]).mount("/data", MountMode::ReadWrite).grant_all("/data"), "4 entries");
    says(Lab::new("/programs/files").args(&["maps"]).grant_all("/tmp").grant_all("/dev/shm"), "ok maps");
    says(Lab::new("/programs/files").args(&["names"]).grant_all("/tmp").grant_all("/dev/shm"), "ok names");
    let outcome = Lab::new("/programs/time").args(&["clocks"]).run();
    assert!(outcome.stdout.starts_with("ok clocks"), "{}{}", outcome.stdout, outcome.report.exit);
    println!("inside: {}", outcome.stdout.trim());
    for word in ["vectors", "forged", "fresh", "prompt"] {
        says(Lab::new("/programs/linux").args(&[word]), &format!("ok {word}"));
    }
    for word in ["both", "flags", "middle", "behind", "processes", "rewrites", "takes", "itself"] {
        says(Lab::new("/programs/sites").args(&[word]), "ok");
    }
    let hostile = |arguments: &[&str]| Lab::new("/programs/hostile").args(arguments);
    says(hostile(&["over-stubs"]), "tried");
    says(hostile(&["flags"]), "returned");
    for arguments in [
        &["own-exit"][..],
        &["port"],
        &["privileged", "h"],
        &["privileged", "c"],
        &["privileged", "m"],
        &["privileged", "l"],
        &["write", "3fffffe00000"],
        &["read", "ffffffff80004000"],
        &["jump", "3fffffe00000"],
    ] {
        let exit = hostile(arguments).run().report.exit;
        assert!(matches!(exit, Exit::Returned(132 | 139)), "{arguments:?}: {exit}");
        println!("inside: {arguments:?} ok");
    }
}

struct Kernel {
    image: PathBuf,
    modules: Vec<PathBuf>,
}

/// A kernel and what of it makes KVM.
fn kernel() -> Result<Kernel, String> {
    let root = std::env::var_os("RINGFENCE_KERNEL").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    let listed = |folder: &str| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    let is_image = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"));
    let images = listed("boot").into_iter().filter(is_image);
    for image in images {
        let version = image.file_name().unwrap().to_string_lossy()["vmlinuz-".len()..].to_owned();
        let folder = root.join("lib/modules").join(version).join("kernel");
        let names = ["virt/lib/irqbypass.ko", "arch/x86/kvm/kvm.ko", "arch/x86/kvm/kvm-amd.ko"];
        let modules: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
        if modules.iter().all(|module| module.is_file()) {
            return Ok(Kernel { image, modules });
        }
    }
    Err(format!("no kernel with KVM's modules below {} (RINGFENCE_KERNEL names another folder)", root.display()))
}

/// The shared libraries of a program, and what loads them.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

/// This test without what only debuggers need, or as it is.
fn stripped(folder: &Path) -> PathBuf {
    let (whole, small) = (std::env::current_exe().unwrap(), folder.join("inside"));
    let done = Command::new("strip").arg("-o").arg(&small).arg(&whole).status();
    if done.is_ok_and(|status| status.success()) { small } else { whole }
}

fn initial_files(kernel: &Kernel, folder: &Path) -> Option<Vec<u8>> {
    let mut archive = Archive::default();
    let inside = stripped(folder);
    archive.add_file("/init", &compiled("init.c", &["-static"])?).unwrap();
    archive.add_file("/inside", &inside).unwrap();
    for library in libraries(&inside) {
        archive.add_file(&library.to_string_lossy(), &library).unwrap();
    }
    for module in &kernel.modules {
        archive.add_file(&format!("/modules/{}", module.file_name()?.to_string_lossy()), module).unwrap();
    }
    for name in ["ordinary", "files", "hostile", "time", "linux"] {
        archive.add_file(&format!("/programs/{name}"), &compiled(&format!("{name}.c"), &["-static"])?).unwrap();
    }
    archive.add_file("/programs/sites", &compiled("sites.c", &["-static", "-DOFTEN=200"])?).unwrap();
    Some(archive.finish())
}

fn boot(nested_paging: &str) {
    let kernel = match kernel() {
        Ok(kernel) => kernel,
        Err(missing) => return println!("skipped: {missing}"),
    };
    let folder = tempfile::tempdir().unwrap();
    let Some(files) = initial_files(&kernel, folder.path()) else { return };
    let initial = folder.path().join("initrd");
    std::fs::write(&initial, files).unwrap();
    // Without `no_timer_check` Linux gives up when the emulator is slow on a busy machine.
    let line = format!(
        "console=ttyS0 reboot=t panic=-1 nokaslr mitigations=off tsc=reliable no_timer_check quiet npt={nested_paging}"
    );
    let mut command = Command::new("timeout");
    command.args(["300", "qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "EPYC,+svm", "-smp", "2"]);
    command.args([
        "-m",
        "1536",
        "-nodefaults",
        "-no-user-config",
        "-nographic",
        "-serial",
        "stdio",
        "-monitor",
        "none",
    ]);
    command.arg("-no-reboot").arg("-kernel").arg(&kernel.image).arg("-initrd").arg(&initial).args(["-append", &line]);
    let output = match command.stdin(std::process::Stdio::null()).output() {
        Ok(output) if output.status.code() == Some(127) => {
            return println!("skipped: there is no qemu-system-x86_64");
        }
        Ok(output) => output,
        Err(error) => return println!("skipped: no command timeout: {error}"),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("ended with 0"), "npt={nested_paging}:\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    println!("npt={nested_paging}: {} programs", text.matches("inside: ").count());
}
