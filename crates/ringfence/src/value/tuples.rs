//! Nothing, and tuples: as one value, and as the arguments of a function.

use ringfence_abi::Value;

use super::{FromValue, FromValues, IntoValue, IntoValues, ValueError};

impl FromValue for () {
    fn from_value(value: Value) -> Result<Self, ValueError> {
        match value {
            Value::Tuple(values) if values.is_empty() => Ok(()),
            other => Err(ValueError::new("nothing", &other)),
        }
    }

    fn from_payload(payload: Option<Value>) -> Result<Self, ValueError> {
        payload.map_or(Ok(()), Self::from_value)
    }
}

impl IntoValue for () {
    fn into_value(self) -> Value {
        Value::Tuple(Vec::new())
    }

    fn into_payload(self) -> Option<Value> {
        None
    }
}

impl FromValues for () {
    fn from_values(values: Vec<Value>) -> Result<Self, ValueError> {
        let []: [Value; 0] = exactly(values, "no arguments")?;
        Ok(())
    }
}

impl IntoValues for () {
    fn into_values(self) -> Vec<Value> {
        Vec::new()
    }
}

fn exactly<const N: usize>(values: Vec<Value>, wanted: &'static str) -> Result<[Value; N], ValueError> {
    values.try_into().map_err(|values| ValueError::new(wanted, &Value::Tuple(values)))
}

macro_rules! tuples {
    ($($count:literal: $($name:ident)*;)*) => {
        $(
            impl<$($name: FromValue),*> FromValues for ($($name,)*) {
                #[allow(non_snake_case, reason = "the variables are named as their types")]
                fn from_values(values: Vec<Value>) -> Result<Self, ValueError> {
                    let [$($name),*] = exactly(values, concat!("a tuple of ", $count))?;
                    Ok(($($name::from_value($name)?,)*))
                }
            }

            impl<$($name: IntoValue),*> IntoValues for ($($name,)*) {
                #[allow(non_snake_case, reason = "the variables are named as their types")]
                fn into_values(self) -> Vec<Value> {
                    let ($($name,)*) = self;
                    vec![$($name.into_value()),*]
                }
            }

            impl<$($name: FromValue),*> FromValue for ($($name,)*) {
                fn from_value(value: Value) -> Result<Self, ValueError> {
                    match value {
                        Value::Tuple(values) => Self::from_values(values),
                        other => Err(ValueError::new(concat!("a tuple of ", $count), &other)),
                    }
                }
            }

            impl<$($name: IntoValue),*> IntoValue for ($($name,)*) {
                fn into_value(self) -> Value {
                    Value::Tuple(self.into_values())
                }
            }
        )*
    };
}

tuples! {
    1: A;
    2: A B;
    3: A B C;
    4: A B C D;
    5: A B C D E;
    6: A B C D E F;
    7: A B C D E F G;
    8: A B C D E F G H;
}
