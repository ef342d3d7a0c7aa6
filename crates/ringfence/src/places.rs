//! Where ringfence keeps what it has to keep.

use std::path::{Path, PathBuf};

/// The folders of one user, after the XDG base directory specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// `$XDG_DATA_HOME/ringfence`: the files of capsules.
    pub data: Option<PathBuf>,
    /// `$XDG_CACHE_HOME/ringfence`: what can be made again.
    pub cache: Option<PathBuf>,
    /// `$XDG_STATE_HOME/ringfence`: changes that are kept apart.
    pub state: Option<PathBuf>,
}

impl Places {
    /// The folders of the user of this process.
    pub fn of_user() -> Self {
        Self::from(|name| std::env::var_os(name).map(PathBuf::from))
    }

    /// Where changes that are kept apart lie, a folder for each run.
    pub fn changes(&self) -> Option<PathBuf> {
        Some(self.state.as_ref()?.join("changes"))
    }

    /// Where snapshots that have a name are kept.
    pub fn snapshots(&self) -> Option<PathBuf> {
        Some(self.state.as_ref()?.join("snapshots"))
    }

    /// Where compiled code of level `wasm` is kept.
    pub fn compiled(&self) -> Option<PathBuf> {
        self.cache.as_deref().map(compiled)
    }

    fn from(variable: impl Fn(&str) -> Option<PathBuf>) -> Self {
        // The specification says that a relative path is to be ignored.
        let absolute = |name| variable(name).filter(|path| path.is_absolute());
        let home = absolute("HOME");
        let place = |name, below: &str| {
            let base = absolute(name).or_else(|| home.as_deref().map(|home: &Path| home.join(below)));
            base.map(|base| base.join("ringfence"))
        };
        Places {
            data: place("XDG_DATA_HOME", ".local/share"),
            cache: place("XDG_CACHE_HOME", ".cache"),
            state: place("XDG_STATE_HOME", ".local/state"),
        }
    }
}

/// Where in the cache compiled code of level `wasm` is kept.
pub(crate) fn compiled(cache: &Path) -> PathBuf {
    cache.join("wasm")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(variables: &[(&str, &str)]) -> Places {
        Places::from(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| PathBuf::from(value)))
    }

    #[test]
    fn the_variables_of_the_specification_win_over_the_home() {
        let places = places(&[("HOME", "/home/a"), ("XDG_DATA_HOME", "/data")]);
        assert_eq!(places.data.unwrap(), Path::new("/data/ringfence"));
        assert_eq!(places.cache.unwrap(), Path::new("/home/a/.cache/ringfence"));
    }

    #[test]
    fn a_relative_path_is_ignored() {
        assert_eq!(places(&[("XDG_DATA_HOME", "data"), ("HOME", "")]), Places { data: None, cache: None, state: None });
    }
}
