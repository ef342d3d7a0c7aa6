//! Arguments and results of functions, the same at every level.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// One argument or result. The cases are those of the component model's value types
/// (WIT), which every other level can express.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Value {
    /// `bool`
    Bool(bool),
    /// `u8`
    U8(u8),
    /// `u16`
    U16(u16),
    /// `u32`
    U32(u32),
    /// `u64`
    U64(u64),
    /// `s8`
    S8(i8),
    /// `s16`
    S16(i16),
    /// `s32`
    S32(i32),
    /// `s64`
    S64(i64),
    /// `f32`
    F32(f32),
    /// `f64`
    F64(f64),
    /// `char`
    Char(char),
    /// `string`
    Text(String),
    /// `list<u8>`, which is common enough to have a form of its own.
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    /// `list<T>`
    List(Vec<Value>),
    /// `tuple<…>`
    Tuple(Vec<Value>),
    /// `record { … }`, fields in their declared order.
    Record(Vec<(String, Value)>),
    /// `variant { … }`: the case and what it carries.
    Variant(String, Option<Box<Value>>),
    /// `enum { … }`
    Enum(String),
    /// `flags { … }`: those that are set.
    Flags(Vec<String>),
    /// `option<T>`
    Option(Option<Box<Value>>),
    /// `result<T, E>`
    Result(Result<Option<Box<Value>>, Option<Box<Value>>>),
}
