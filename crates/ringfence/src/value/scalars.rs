//! Numbers, truth, characters and text.

use ringfence_abi::Value;

use super::{FromValue, IntoValue, ValueError};

macro_rules! scalars {
    ($($rust:ty = $case:ident, $wanted:literal;)*) => {
        $(
            impl FromValue for $rust {
                fn from_value(value: Value) -> Result<Self, ValueError> {
                    match value {
                        Value::$case(value) => Ok(value),
                        other => Err(ValueError::new($wanted, &other)),
                    }
                }
            }

            impl IntoValue for $rust {
                fn into_value(self) -> Value {
                    Value::$case(self)
                }
            }
        )*
    };
}

scalars! {
    bool = Bool, "a bool";
    u16 = U16, "a u16";
    u32 = U32, "a u32";
    u64 = U64, "a u64";
    i8 = S8, "an s8";
    i16 = S16, "an s16";
    i32 = S32, "an s32";
    i64 = S64, "an s64";
    f32 = F32, "an f32";
    f64 = F64, "an f64";
    char = Char, "a char";
    String = Text, "a string";
}

impl FromValue for u8 {
    fn from_value(value: Value) -> Result<Self, ValueError> {
        match value {
            Value::U8(value) => Ok(value),
            other => Err(ValueError::new("a u8", &other)),
        }
    }

    fn from_list(value: Value) -> Result<Vec<Self>, ValueError> {
        match value {
            Value::Bytes(bytes) => Ok(bytes),
            Value::List(values) => values.into_iter().map(Self::from_value).collect(),
            other => Err(ValueError::new("a list<u8>", &other)),
        }
    }
}

impl IntoValue for u8 {
    fn into_value(self) -> Value {
        Value::U8(self)
    }

    fn list_into_value(list: Vec<Self>) -> Value {
        Value::Bytes(list)
    }
}

impl IntoValue for &str {
    fn into_value(self) -> Value {
        Value::Text(self.to_owned())
    }
}
