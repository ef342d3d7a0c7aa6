//! Which tests there are.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A test: a program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) name: String,
    /// Its file in the folder of tests.
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
}

/// Every file of the folder that may be executed, once, without arguments.
pub(crate) fn programs(folder: &Path) -> io::Result<Vec<Test>> {
    let mut names = Vec::new();
    for entry in folder.read_dir()? {
        let entry = entry?;
        let metadata = std::fs::metadata(entry.path());
        let is_program = metadata.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
        if let (true, Ok(name)) = (is_program, entry.file_name().into_string()) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names.into_iter().map(|name| Test { program: name.clone(), name, arguments: Vec::new() }).collect())
}

/// The tests of a list, a line each; what follows `#` is a comment. Lines for a shell are left out.
pub(crate) fn listed(text: &str) -> Vec<Test> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let tests = lines.filter_map(|line| {
        let mut words = line.split_whitespace().map(str::to_owned);
        let (name, program) = (words.next()?, words.next()?);
        let is_plain = !line.contains(['|', ';', '&', '$', '`', '"', '\'', '<', '>']) && !program.contains('/');
        is_plain.then(|| Test { name, program, arguments: words.collect() })
    });
    tests.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_programs_with_their_arguments() {
        let found = listed("# a list\nopen01 open01 -i 2\n\nopen02 open02 # more\nshell export A=1; b\n");
        let names: Vec<_> = found.iter().map(|test| (test.name.as_str(), test.arguments.len())).collect();
        assert_eq!(names, [("open01", 2), ("open02", 0)]);
    }
}
