//! Lists of a state that take no more memory than there is for it: in a file an element may be a single byte, and
//! a hundred times as much when it has been read.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// What the allocator adds to each.
const EACH: usize = 16;

thread_local! {
    /// How many bytes the state that this thread reads may still take.
    static LEFT: Cell<usize> = const { Cell::new(0) };
}

/// Reads something whose lists take so many bytes at most, beside what they hold as bytes in the file.
pub(super) fn within<T>(bytes: usize, read: impl FnOnce() -> T) -> T {
    LEFT.set(bytes);
    let done = read();
    LEFT.set(0);
    done
}

/// A list whose elements are counted.
pub(super) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    from.deserialize_seq(List(PhantomData))
}

struct List<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            let left = LEFT.get().checked_sub(size_of::<T>() + EACH);
            LEFT.set(left.ok_or_else(|| A::Error::custom("it is too long"))?);
            list.push(element);
        }
        Ok(list)
    }
}
