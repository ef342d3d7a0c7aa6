//! Which paths WASI allows to be seen from a folder.
//!
//! This is about what programs expect of WASI. What they may reach is decided in the scoped hal, on
//! the path that was reached, whatever is let through here.

/// Whether `path` leaves the folder it is seen from, by what is written.
///
/// In WASI an absolute path leaves every folder, and `..` may not lead out of one. But for a folder
/// that was given at the start (`given`): C libraries spell an absolute path as such a folder and the
/// rest of the path, so `/data/../x` arrives as `../x` from `/data`, and has to mean the same as at
/// every other level.
pub(super) fn leaves(path: &str, given: bool) -> bool {
    if path.starts_with('/') {
        return true;
    }
    if given {
        return false;
    }
    let mut depth = 0_usize;
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::leaves;

    #[test]
    fn an_absolute_path_leaves_every_folder() {
        assert!(leaves("/", false) && leaves("/data", false) && leaves("/data", true));
    }

    #[test]
    fn dots_may_lead_back_but_not_out() {
        for path in ["", ".", "a", "a/..", "a/./../b//../.", "..a", "a/b/../.."] {
            assert!(!leaves(path, false), "{path}");
        }
        for path in ["..", "./..", "a/../..", "a/b/../../../a"] {
            assert!(leaves(path, false), "{path}");
            assert!(!leaves(path, true), "{path}");
        }
    }
}
