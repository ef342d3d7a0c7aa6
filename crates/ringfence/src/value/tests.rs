use std::fmt::Debug;

use super::*;

fn survives<T: FromValue + IntoValue + Clone + PartialEq + Debug>(value: T) {
    assert_eq!(T::from_value(value.clone().into_value()), Ok(value));
}

#[test]
fn every_type_survives_the_way_through_a_value() {
    survives(true);
    survives((1u8, 2u16, 3u32, 4u64));
    survives((-1i8, -2i16, -3i32, -4i64));
    survives((1.5f32, -2.5f64, 'é', "text".to_owned()));
    survives(vec![1i64, 2, 3]);
    survives(vec![vec![0u8, 255], vec![]]);
    survives(Some(vec![Some("a".to_owned()), None]));
    survives(Ok::<u32, String>(7));
    survives(Err::<(), String>("no".into()));
    survives(Ok::<(), ()>(()));
    survives((1u32, 2u32, 3u32, 4u32, 5u32, 6u32, 7u32, (8u32,)));
}

#[test]
fn bytes_have_a_form_of_their_own_and_are_taken_in_either() {
    assert_eq!(vec![1u8, 2].into_value(), Value::Bytes(vec![1, 2]));
    assert_eq!(Vec::<u8>::from_value(Value::List(vec![Value::U8(1)])), Ok(vec![1]));
    assert_eq!(Vec::<u8>::from_value(Value::List(Vec::new())), Ok(vec![]));
    assert_eq!(Vec::<u32>::from_value(Value::List(Vec::new())), Ok(vec![]));
}

#[test]
fn a_case_that_carries_nothing_is_the_unit() {
    assert_eq!(Ok::<(), String>(()).into_value(), Value::Result(Ok(None)));
    assert_eq!(Result::<(), String>::from_value(Value::Result(Ok(None))), Ok(Ok(())));
    assert!(Result::<u32, String>::from_value(Value::Result(Ok(None))).is_err());
}

#[test]
fn a_value_of_another_type_is_named() {
    let error = u32::from_value(Value::Text("7".into())).unwrap_err();
    assert_eq!(error.to_string(), "Text(\"7\") is not a u32");
    assert!(u32::from_value(Value::U64(7)).is_err());
}

#[test]
fn arguments_are_counted() {
    assert!(<(u32, u32)>::from_values(vec![Value::U32(1)]).is_err());
    assert!(<()>::from_values(vec![Value::U32(1)]).is_err());
    assert_eq!(<(u32,)>::from_values((1u32,).into_values()), Ok((1,)));
}

#[test]
fn nothing_one_and_many_results_are_returned() {
    assert_eq!(returned::<()>(Vec::new()), Ok(()));
    assert_eq!(returned::<u32>(vec![Value::U32(1)]), Ok(1));
    assert_eq!(returned::<(u32, bool)>(vec![Value::U32(1), Value::Bool(true)]), Ok((1, true)));
    assert!(returned::<u32>(Vec::new()).is_err());
}
