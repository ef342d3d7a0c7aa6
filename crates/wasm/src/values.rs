//! Between the values of the component model and those every level shares.

use ringfence_abi::Value;
use wasmtime::component::{Type, Val};

/// `value` as the component's `wanted` type; the error says where it does not fit.
pub(crate) fn lower(value: Value, wanted: &Type) -> Result<Val, String> {
    Ok(match (wanted, value) {
        (Type::Bool, Value::Bool(value)) => Val::Bool(value),
        (Type::U8, Value::U8(value)) => Val::U8(value),
        (Type::U16, Value::U16(value)) => Val::U16(value),
        (Type::U32, Value::U32(value)) => Val::U32(value),
        (Type::U64, Value::U64(value)) => Val::U64(value),
        (Type::S8, Value::S8(value)) => Val::S8(value),
        (Type::S16, Value::S16(value)) => Val::S16(value),
        (Type::S32, Value::S32(value)) => Val::S32(value),
        (Type::S64, Value::S64(value)) => Val::S64(value),
        (Type::Float32, Value::F32(value)) => Val::Float32(value),
        (Type::Float64, Value::F64(value)) => Val::Float64(value),
        (Type::Char, Value::Char(value)) => Val::Char(value),
        (Type::String, Value::Text(value)) => Val::String(value),
        (Type::List(list), Value::Bytes(bytes)) if list.ty() == Type::U8 => {
            Val::List(bytes.into_iter().map(Val::U8).collect())
        }
        (Type::List(list), Value::List(values)) => {
            Val::List(values.into_iter().map(|value| lower(value, &list.ty())).collect::<Result<_, _>>()?)
        }
        (Type::Tuple(tuple), Value::Tuple(values)) if tuple.types().len() == values.len() => Val::Tuple(
            tuple.types().zip(values).map(|(wanted, value)| lower(value, &wanted)).collect::<Result<_, _>>()?,
        ),
        (Type::Record(record), Value::Record(mut fields)) if record.fields().len() == fields.len() => {
            let mut lowered = Vec::with_capacity(fields.len());
            for wanted in record.fields() {
                let position = fields
                    .iter()
                    .position(|(name, _)| name == wanted.name)
                    .ok_or_else(|| format!("the field {} is missing", wanted.name))?;
                let (name, value) = fields.swap_remove(position);
                lowered.push((name, lower(value, &wanted.ty)?));
            }
            Val::Record(lowered)
        }
        (Type::Variant(variant), Value::Variant(case, payload)) => {
            let wanted =
                variant.cases().find(|wanted| wanted.name == case).ok_or_else(|| format!("there is no case {case}"))?;
            Val::Variant(case, lower_payload(payload, wanted.ty)?)
        }
        (Type::Enum(cases), Value::Enum(case)) => match cases.names().any(|name| name == case) {
            true => Val::Enum(case),
            false => return Err(format!("there is no case {case}")),
        },
        (Type::Flags(flags), Value::Flags(set)) => {
            match set.iter().find(|name| !flags.names().any(|known| known == name.as_str())) {
                None => Val::Flags(set),
                Some(name) => return Err(format!("there is no flag {name}")),
            }
        }
        (Type::Option(option), Value::Option(value)) => {
            Val::Option(value.map(|value| lower(*value, &option.ty()).map(Box::new)).transpose()?)
        }
        (Type::Result(result), Value::Result(value)) => Val::Result(match value {
            Ok(value) => Ok(lower_payload(value, result.ok())?),
            Err(value) => Err(lower_payload(value, result.err())?),
        }),
        (wanted, value) => return Err(format!("{value:?} is not a {}", name_of(wanted))),
    })
}

fn lower_payload(value: Option<Box<Value>>, wanted: Option<Type>) -> Result<Option<Box<Val>>, String> {
    match (value, wanted) {
        (None, None) => Ok(None),
        (Some(value), Some(wanted)) => Ok(Some(Box::new(lower(*value, &wanted)?))),
        (None, Some(wanted)) => Err(format!("a {} is missing", name_of(&wanted))),
        (Some(value), None) => Err(format!("{value:?} is too much: the case carries nothing")),
    }
}

/// A value of the component as one every level shares; resources, streams and the like have none.
pub(crate) fn lift(value: Val) -> Result<Value, String> {
    let lift_box = |value: Option<Box<Val>>| -> Result<Option<Box<Value>>, String> {
        value.map(|value| lift(*value).map(Box::new)).transpose()
    };
    Ok(match value {
        Val::Bool(value) => Value::Bool(value),
        Val::U8(value) => Value::U8(value),
        Val::U16(value) => Value::U16(value),
        Val::U32(value) => Value::U32(value),
        Val::U64(value) => Value::U64(value),
        Val::S8(value) => Value::S8(value),
        Val::S16(value) => Value::S16(value),
        Val::S32(value) => Value::S32(value),
        Val::S64(value) => Value::S64(value),
        Val::Float32(value) => Value::F32(value),
        Val::Float64(value) => Value::F64(value),
        Val::Char(value) => Value::Char(value),
        Val::String(value) => Value::Text(value),
        Val::List(values) if matches!(values.first(), Some(Val::U8(_))) => {
            Value::Bytes(values.into_iter().map(|value| if let Val::U8(byte) = value { byte } else { 0 }).collect())
        }
        Val::List(values) => Value::List(values.into_iter().map(lift).collect::<Result<_, _>>()?),
        Val::Tuple(values) => Value::Tuple(values.into_iter().map(lift).collect::<Result<_, _>>()?),
        Val::Record(fields) => Value::Record(
            fields.into_iter().map(|(name, value)| Ok((name, lift(value)?))).collect::<Result<_, String>>()?,
        ),
        Val::Variant(case, payload) => Value::Variant(case, lift_box(payload)?),
        Val::Enum(case) => Value::Enum(case),
        Val::Flags(flags) => Value::Flags(flags),
        Val::Option(value) => Value::Option(lift_box(value)?),
        Val::Result(value) => Value::Result(match value {
            Ok(value) => Ok(lift_box(value)?),
            Err(value) => Err(lift_box(value)?),
        }),
        other => return Err(format!("{other:?} cannot leave its component")),
    })
}

fn name_of(wanted: &Type) -> &'static str {
    match wanted {
        Type::Bool => "bool",
        Type::U8 => "u8",
        Type::U16 => "u16",
        Type::U32 => "u32",
        Type::U64 => "u64",
        Type::S8 => "s8",
        Type::S16 => "s16",
        Type::S32 => "s32",
        Type::S64 => "s64",
        Type::Float32 => "f32",
        Type::Float64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        Type::List(_) => "list",
        Type::Tuple(_) => "tuple of that length",
        Type::Record(_) => "record of those fields",
        Type::Variant(_) => "variant",
        Type::Enum(_) => "enum",
        Type::Flags(_) => "flags",
        Type::Option(_) => "option",
        Type::Result(_) => "result",
        _ => "value of that type",
    }
}
