//! What is refused, and with which words.

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ringfence_isolation::{Backend, BuildError, Guarantee};
use ringfence_manifest::Kind;
use ringfence_runtime::Plan;
use ringfence_vm::Vm;
use support::{Lab, executor, explain, here};

fn refused_on(device: &std::path::Path) -> ringfence_isolation::Refusal {
    let lab = Lab::new("/bin/sh");
    let vm = Vm::on(device.to_owned(), executor().handle().clone());
    assert!(vm.probe().iter().all(|fact| !fact.usable && fact.remedy.is_some()));
    match Plan::new(&vm, Arc::new(lab.spec.clone()), Duration::ZERO).map(drop) {
        Err(BuildError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_machine_without_kvm_refuses_with_the_fact_and_a_remedy() {
    let refusal = refused_on(&PathBuf::from("/dev/there-is-no-kvm"));
    assert_eq!(refusal.guarantee, Guarantee::OwnKernel);
    assert!(refusal.found.contains("there is no /dev/there-is-no-kvm"), "{}", refusal.found);
    assert!(refusal.remedy.contains("modprobe"), "{}", refusal.remedy);
}

#[test]
fn a_device_that_is_not_kvm_is_refused() {
    let refusal = refused_on(&PathBuf::from("/dev/null"));
    assert!(refusal.found.contains("/dev/null"), "{}", refusal.found);
}

#[test]
fn what_is_no_program_of_this_level_is_said_to_be_none() {
    if !here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    std::fs::write(&text, "not a program").unwrap();
    let error = Lab::new(&text).plan().map(drop).unwrap_err();
    assert!(explain(&error).contains("not executable"), "{}", explain(&error));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&text, mode).unwrap();
    let error = Lab::new(&text).plan().map(drop).unwrap_err();
    assert!(explain(&error).contains("not an ELF program"), "{}", explain(&error));
    let mut lab = Lab::new("/bin/sh");
    lab.spec.program.kind = Kind::Wasm;
    assert!(matches!(lab.plan().map(drop), Err(BuildError::Program { .. })));
}

#[test]
fn a_guarantee_that_is_not_held_is_refused() {
    let mut lab = Lab::new("/bin/sh");
    lab.spec.isolation.require.insert(Guarantee::FuelLimit);
    if here() {
        assert!(matches!(lab.plan().map(drop), Err(BuildError::Refused(_))));
    }
}
