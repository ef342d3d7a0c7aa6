//! Lists, options and results.

use ringfence_abi::Value;

use super::{FromValue, IntoValue, ValueError};

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: Value) -> Result<Self, ValueError> {
        T::from_list(value)
    }
}

impl<T: IntoValue> IntoValue for Vec<T> {
    fn into_value(self) -> Value {
        T::list_into_value(self)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Result<Self, ValueError> {
        match value {
            Value::Option(value) => value.map(|value| T::from_value(*value)).transpose(),
            other => Err(ValueError::new("an option", &other)),
        }
    }
}

impl<T: IntoValue> IntoValue for Option<T> {
    fn into_value(self) -> Value {
        Value::Option(self.map(|value| Box::new(value.into_value())))
    }
}

impl<T: FromValue, E: FromValue> FromValue for Result<T, E> {
    fn from_value(value: Value) -> Result<Self, ValueError> {
        match value {
            Value::Result(Ok(payload)) => T::from_payload(payload.map(|value| *value)).map(Ok),
            Value::Result(Err(payload)) => E::from_payload(payload.map(|value| *value)).map(Err),
            other => Err(ValueError::new("a result", &other)),
        }
    }
}

impl<T: IntoValue, E: IntoValue> IntoValue for Result<T, E> {
    fn into_value(self) -> Value {
        Value::Result(match self {
            Ok(value) => Ok(value.into_payload().map(Box::new)),
            Err(value) => Err(value.into_payload().map(Box::new)),
        })
    }
}
