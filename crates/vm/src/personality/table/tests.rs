use std::collections::BTreeSet;

use super::*;

#[test]
fn each_number_and_each_name_is_there_once() {
    let calls = system_calls();
    let numbers: BTreeSet<_> = calls.iter().map(|call| call.number).collect();
    let names: BTreeSet<_> = calls.iter().map(|call| call.name).collect();
    assert_eq!((numbers.len(), names.len()), (calls.len(), calls.len()));
    assert!(NAMES.iter().all(|&(number, ..)| SERVICES[number].is_some()));
}

/// The numbers of x86-64 go to 334, and from 424 on they are those of every architecture; 335 is for one
/// that is called by the kernel alone.
#[test]
fn no_call_of_linux_is_forgotten() {
    let there: BTreeSet<_> = system_calls().iter().map(|call| call.number).collect();
    let missing: Vec<_> = (0..=334).chain(424..=467).filter(|number| !there.contains(number)).collect();
    assert!(missing.is_empty(), "{missing:?} neither served nor absent with a reason");
}

#[test]
fn the_profile_default_lets_through_what_is_served() {
    let calls = SystemCalls::default();
    let beyond: Vec<_> = NAMES.iter().map(|(_, name, _)| *name).filter(|name| !calls.lets_through(name)).collect();
    // Served to refuse what cannot be, as Linux does.
    assert_eq!(beyond, ["clock_settime", "unshare"]);
    assert!(Barred::of(&calls).is_none());
}

#[test]
fn what_is_said_to_be_missing_is_missing_of_a_call_that_is_served() {
    for (name, _) in PARTLY {
        assert!(NAMES.iter().any(|(_, known, _)| known == name), "{name}");
    }
}
