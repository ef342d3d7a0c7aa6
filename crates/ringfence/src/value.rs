//! Between Rust's types and the [`Value`]s that functions of every level take and give.

mod collections;
mod scalars;
mod tuples;

use ringfence_abi::Value;

/// A value that is not of the type it was asked as.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found} is not {wanted}")]
pub struct ValueError {
    /// What was asked for, in the words of WIT.
    pub wanted: &'static str,
    /// What there is.
    pub found: String,
}

impl ValueError {
    fn new(wanted: &'static str, found: &Value) -> Self {
        const MOST: usize = 60;
        let mut shown = format!("{found:?}");
        if let Some((cut, _)) = shown.char_indices().nth(MOST) {
            shown.truncate(cut);
            shown.push('…');
        }
        ValueError { wanted, found: shown }
    }
}

/// A Rust type that can be made from a value.
///
/// | Rust | WIT |
/// | --- | --- |
/// | `u8` … `u64`, `i8` … `i64`, `f32`, `f64`, `bool`, `char` | of the same name (`s8` … `s64`) |
/// | `String` | `string` |
/// | `Vec<T>`; `Vec<u8>` is bytes | `list<T>` |
/// | `Option<T>`, `Result<T, E>` | `option<T>`, `result<T, E>`; `()` where a case carries nothing |
/// | tuples of 1 to 8 | `tuple<…>` |
/// | [`Value`] | anything |
pub trait FromValue: Sized {
    /// The value as this type.
    ///
    /// # Errors
    /// [`ValueError`] when it is of another type.
    fn from_value(value: Value) -> Result<Self, ValueError>;

    /// What a case of a variant carries, which may be nothing.
    #[doc(hidden)]
    fn from_payload(payload: Option<Value>) -> Result<Self, ValueError> {
        match payload {
            Some(value) => Self::from_value(value),
            None => Err(ValueError { wanted: "a value", found: "nothing".into() }),
        }
    }

    /// A list of values of this type; bytes have their own form.
    #[doc(hidden)]
    fn from_list(value: Value) -> Result<Vec<Self>, ValueError> {
        match value {
            Value::List(values) => values.into_iter().map(Self::from_value).collect(),
            Value::Bytes(bytes) => bytes.into_iter().map(|byte| Self::from_value(Value::U8(byte))).collect(),
            other => Err(ValueError::new("a list", &other)),
        }
    }
}

/// A Rust type that a value can be made from; the same types as for [`FromValue`].
pub trait IntoValue: Sized {
    /// This as a value.
    fn into_value(self) -> Value;

    /// This as what a case of a variant carries, which may be nothing.
    #[doc(hidden)]
    fn into_payload(self) -> Option<Value> {
        Some(self.into_value())
    }

    /// A list of this type; bytes have their own form.
    #[doc(hidden)]
    fn list_into_value(list: Vec<Self>) -> Value {
        Value::List(list.into_iter().map(Self::into_value).collect())
    }
}

/// The arguments of a function as a Rust type: a tuple of up to 8.
pub trait FromValues: Sized {
    /// The values as this type.
    ///
    /// # Errors
    /// [`ValueError`] when they are not so many, or one is of another type.
    fn from_values(values: Vec<Value>) -> Result<Self, ValueError>;
}

/// The arguments of a function from a Rust type: a tuple of up to 8.
pub trait IntoValues {
    /// This as values.
    fn into_values(self) -> Vec<Value>;
}

impl FromValue for Value {
    fn from_value(value: Value) -> Result<Self, ValueError> {
        Ok(value)
    }
}

impl IntoValue for Value {
    fn into_value(self) -> Value {
        self
    }
}

impl FromValues for Vec<Value> {
    fn from_values(values: Vec<Value>) -> Result<Self, ValueError> {
        Ok(values)
    }
}

impl IntoValues for Vec<Value> {
    fn into_values(self) -> Vec<Value> {
        self
    }
}

/// What a function returned, which may be nothing.
pub(crate) fn returned<R: FromValue>(mut values: Vec<Value>) -> Result<R, ValueError> {
    match values.len() {
        0 | 1 => R::from_payload(values.pop()),
        _ => R::from_value(Value::Tuple(values)),
    }
}

#[cfg(test)]
mod tests;
