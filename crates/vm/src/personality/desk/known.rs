//! Places of files at which some program of the instance made a system call: where another one has the same code
//! mapped, they need not be found out again.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::memory::{FilePlace, Space};
use crate::personality::process::lock;

/// How many files, and places of each, are remembered.
const FILES: usize = 32;
const PLACES: usize = 64;

/// What is known, by the paths of files.
#[derive(Default)]
pub(in crate::personality) struct KnownPlaces(Mutex<HashMap<Vec<u8>, Places>>);

/// Places of one file, each with the number that was called by.
type Places = Vec<(FilePlace, u64)>;

impl KnownPlaces {
    /// Takes down that this number was called by from a place that was rewritten.
    pub(super) fn learn(&self, path: &[u8], place: FilePlace, number: u64) {
        let mut files = lock(&self.0);
        if files.len() >= FILES && !files.contains_key(path) {
            return;
        }
        let places = files.entry(path.to_owned()).or_default();
        if places.len() < PLACES && !places.iter().any(|(known, _)| *known == place) {
            places.push((place, number));
        }
    }

    /// Rewrites the places of a file that are known, as far as this space has the very same code there, near an
    /// address. As for [`Space::rewrite`].
    pub(super) fn rewrite(&self, space: &Space, path: &[u8], near: u64) {
        if let Some(places) = lock(&self.0).get(path) {
            for (place, number) in places {
                if let Some(at) = space.address_of(place, near) {
                    space.rewrite(at, *number);
                }
            }
        }
    }
}
