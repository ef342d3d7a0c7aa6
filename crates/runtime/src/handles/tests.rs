use std::collections::BTreeMap;

use proptest::prelude::*;
use ringfence_manifest::Limits;

use super::*;

fn table() -> Handles {
    Handles::new(Arc::new(Meter::new(&Limits::default())))
}

const ALL: Rights = Rights::all();

#[test]
fn the_first_handles_are_the_standard_streams() {
    let handles = table();
    assert_eq!(handles.insert(Arc::new(1_u8), ALL), Ok(Handle::STDIN));
    assert_eq!(handles.insert(Arc::new(1_u8), ALL), Ok(Handle::STDOUT));
}

#[test]
fn a_handle_of_another_kind_is_a_bad_handle_and_a_missing_right_is_denied() {
    let handles = table();
    let handle = handles.insert(Arc::new(7_u8), Rights::READ).unwrap();
    assert_eq!(handles.get::<u16>(handle, Rights::READ).unwrap_err(), ErrorCode::BadHandle);
    assert_eq!(handles.get::<u8>(handle, Rights::READ | Rights::WRITE).unwrap_err(), ErrorCode::Denied);
    assert_eq!(*handles.get::<u8>(handle, Rights::READ).unwrap(), 7);
}

#[test]
fn a_closed_handle_stays_stale_when_its_slot_is_used_again() {
    let handles = table();
    let old = handles.insert(Arc::new(1_u8), ALL).unwrap();
    handles.close(old).unwrap();
    let new = handles.insert(Arc::new(2_u8), ALL).unwrap();
    assert_eq!(new.index(), old.index());
    assert_eq!(handles.get::<u8>(old, ALL).unwrap_err(), ErrorCode::BadHandle);
    assert_eq!(handles.close(old).map(drop), Err(ErrorCode::BadHandle));
    assert_eq!(*handles.get::<u8>(new, ALL).unwrap(), 2);
}

#[test]
fn a_slot_whose_generations_are_used_up_is_retired() {
    let handles = table();
    let first = handles.insert(Arc::new(1_u8), ALL).unwrap();
    handles.table.write().slots[0].generation = u32::MAX;
    let last = Handle::new(first.index(), u32::MAX);
    handles.close(last).unwrap();
    assert_eq!(handles.get::<u8>(last, ALL).unwrap_err(), ErrorCode::BadHandle);
    assert_eq!(handles.insert(Arc::new(1_u8), ALL).unwrap().index(), Handle::FIRST + 1);
    assert_eq!(handles.get::<u8>(first, ALL).unwrap_err(), ErrorCode::BadHandle);
}

#[test]
fn revoking_a_handle_reaches_through_closed_ones_and_into_other_tables() {
    let (here, there) = (table(), table());
    let first = here.insert(Arc::new(1_u8), ALL).unwrap();
    let second = here.duplicate(first, ALL).unwrap();
    let third = here.transfer(second, &there, ALL).unwrap();
    let fourth = there.duplicate(third, ALL).unwrap();
    here.close(second).unwrap();
    assert!(there.get::<u8>(fourth, ALL).is_ok());
    here.revoke(first).unwrap();
    assert!(here.get::<u8>(first, ALL).is_ok());
    for handle in [third, fourth] {
        assert_eq!(there.get::<u8>(handle, ALL).unwrap_err(), ErrorCode::BadHandle);
    }
}

#[test]
fn a_closed_table_takes_no_handle() {
    let handles = table();
    let handle = handles.insert(Arc::new(1_u8), ALL).unwrap();
    handles.close_all();
    assert_eq!(handles.get::<u8>(handle, ALL).unwrap_err(), ErrorCode::BadHandle);
    assert_eq!(handles.insert(Arc::new(1_u8), ALL), Err(ErrorCode::Stopping));
    assert_eq!(handles.table.meter.usage().open_files, 0);
}

#[test]
fn a_receiver_at_its_limit_is_not_stopped_by_a_gift() {
    let here = table();
    let there = Handles::new(Arc::new(Meter::new(&Limits { open_files: Some(0), ..Limits::default() })));
    let handle = here.insert(Arc::new(1_u8), ALL).unwrap();
    assert_eq!(here.transfer(handle, &there, ALL), Err(ErrorCode::TooManyHandles));
    assert_eq!(there.table.meter.go_on(), Ok(()));
}

/// What one operation of the property test does; handles are picked among those ever made.
#[derive(Clone, Debug)]
enum Operation {
    Insert { table: bool, rights: u32 },
    Duplicate { of: usize, rights: u32 },
    Transfer { of: usize, rights: u32 },
    Restrict { of: usize, rights: u32 },
    Close { of: usize },
    Revoke { of: usize },
    Forged { table: bool, raw: u64 },
}

fn operation() -> impl Strategy<Value = Operation> {
    // Most rights contain DUPLICATE and TRANSFER, or families would stay small.
    let rights = || prop_oneof![3 => Just(ALL.bits()), 1 => any::<u32>().prop_map(|bits| bits & ALL.bits())];
    let raw = prop_oneof![any::<u64>(), (95_u64..120, 0_u64..4).prop_map(|(at, generation)| generation << 32 | at)];
    prop_oneof![
        2 => (any::<bool>(), rights()).prop_map(|(table, rights)| Operation::Insert { table, rights }),
        3 => (any::<usize>(), rights()).prop_map(|(of, rights)| Operation::Duplicate { of, rights }),
        2 => (any::<usize>(), rights()).prop_map(|(of, rights)| Operation::Transfer { of, rights }),
        1 => (any::<usize>(), rights()).prop_map(|(of, rights)| Operation::Restrict { of, rights }),
        2 => any::<usize>().prop_map(|of| Operation::Close { of }),
        1 => any::<usize>().prop_map(|of| Operation::Revoke { of }),
        1 => (any::<bool>(), raw).prop_map(|(table, raw)| Operation::Forged { table, raw }),
    ]
}

/// A naive table: every handle ever made, with the whole chain of what it was made from.
#[derive(Clone)]
struct Known {
    resource: u32,
    rights: Rights,
    ancestors: Vec<(bool, Handle)>,
    live: bool,
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_operations_is_answered_as_a_naive_table_would(
        operations in proptest::collection::vec(operation(), 1..120)
    ) {
        let tables = [table(), table()];
        let mut model: BTreeMap<(bool, Handle), Known> = BTreeMap::new();
        let mut order: Vec<(bool, Handle)> = Vec::new();
        let mut next = 0_u32;
        for operation in operations {
            let pick = |of: usize| (!order.is_empty()).then(|| order[of % order.len()]);
            match operation {
                Operation::Insert { table, rights } => {
                    let rights = Rights::from_bits_truncate(rights);
                    let handle = tables[usize::from(table)].insert(Arc::new(next), rights).unwrap();
                    let known = Known { resource: next, rights, ancestors: Vec::new(), live: true };
                    prop_assert!(model.insert((table, handle), known).is_none(), "a handle was given twice");
                    order.push((table, handle));
                    next += 1;
                }
                Operation::Duplicate { of, rights } | Operation::Transfer { of, rights } => {
                    let Some((table, handle)) = pick(of) else { continue };
                    let duplicate = matches!(operation, Operation::Duplicate { .. });
                    let rights = Rights::from_bits_truncate(rights);
                    let here = &tables[usize::from(table)];
                    let target = if duplicate { table } else { !table };
                    let (got, needed) = if duplicate {
                        (here.duplicate(handle, rights), Rights::DUPLICATE)
                    } else {
                        (here.transfer(handle, &tables[usize::from(target)], rights), Rights::TRANSFER)
                    };
                    let of = model[&(table, handle)].clone();
                    let expected = match of {
                        Known { live: false, .. } => Err(ErrorCode::BadHandle),
                        Known { rights, .. } if !rights.contains(needed) => Err(ErrorCode::Denied),
                        _ => Ok(()),
                    };
                    prop_assert_eq!(got.map(|_| ()), expected);
                    if let Ok(made) = got {
                        let mut ancestors = of.ancestors.clone();
                        ancestors.push((table, handle));
                        let known = Known { resource: of.resource, rights: of.rights & rights, ancestors, live: true };
                        prop_assert!(model.insert((target, made), known).is_none(), "a handle was given twice");
                        order.push((target, made));
                    }
                }
                Operation::Restrict { of, rights } => {
                    let Some((table, handle)) = pick(of) else { continue };
                    let rights = Rights::from_bits_truncate(rights);
                    let known = model.get_mut(&(table, handle)).unwrap();
                    let got = tables[usize::from(table)].restrict(handle, rights);
                    prop_assert_eq!(got.is_ok(), known.live);
                    known.rights &= rights;
                }
                Operation::Close { of } => {
                    let Some((table, handle)) = pick(of) else { continue };
                    let known = model.get_mut(&(table, handle)).unwrap();
                    prop_assert_eq!(tables[usize::from(table)].close(handle).is_ok(), known.live);
                    known.live = false;
                }
                Operation::Revoke { of } => {
                    let Some((table, handle)) = pick(of) else { continue };
                    let live = model[&(table, handle)].live;
                    prop_assert_eq!(tables[usize::from(table)].revoke(handle).is_ok(), live);
                    if live {
                        for known in model.values_mut().filter(|known| known.ancestors.contains(&(table, handle))) {
                            known.live = false;
                        }
                    }
                }
                Operation::Forged { table, raw } => {
                    let handle = Handle::from_raw(raw);
                    let live = model.get(&(table, handle)).is_some_and(|known| known.live);
                    prop_assert_eq!(tables[usize::from(table)].rights(handle).is_ok(), live);
                }
            }
            for (&(table, handle), known) in &model {
                let got = tables[usize::from(table)].get::<u32>(handle, known.rights);
                prop_assert_eq!(got.map(|resource| *resource).ok(), known.live.then_some(known.resource));
                if known.live && known.rights != ALL {
                    let more = tables[usize::from(table)].get::<u32>(handle, ALL);
                    prop_assert_eq!(more.unwrap_err(), ErrorCode::Denied);
                }
            }
            for (side, table) in [false, true].into_iter().zip(&tables) {
                let live = model.iter().filter(|((at, _), known)| *at == side && known.live).count();
                prop_assert_eq!(table.table.meter.usage().open_files, live as u64);
            }
        }
    }
}
