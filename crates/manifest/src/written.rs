//! A value, and where it was written.

/// A value, and where it was written. Two are equal when their values are.
#[derive(Clone, Debug, Default)]
pub struct Written<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub place: Place,
}

/// Where something was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// In the manifest: bytes of its text.
    Manifest {
        /// The first.
        offset: usize,
        /// How many.
        length: usize,
    },
    /// On the command line: the whole argument, with its flag. Paths are seen from the current
    /// directory, not from the manifest's.
    CommandLine(String),
    /// Nowhere: it was made by a program. Paths are seen from the manifest's directory.
    #[default]
    Nowhere,
}

impl<T> Written<T> {
    /// A value that was made by a program.
    pub fn nowhere(value: T) -> Self {
        Written { value, place: Place::Nowhere }
    }

    /// The same place with another value.
    pub(crate) fn with<U>(&self, value: U) -> Written<U> {
        Written { value, place: self.place.clone() }
    }
}

impl<T: PartialEq> PartialEq for Written<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Written<T> {}
