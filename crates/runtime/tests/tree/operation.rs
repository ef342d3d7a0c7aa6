//! What a hostile program, and a hostile neighbour, may do to a tree of files.

use arbitrary::{Arbitrary, Result, Unstructured};
use ringfence_abi::OpenHow;

/// The most steps of a sequence.
const MOST: usize = 400;

/// The steps that these bytes stand for.
pub(crate) fn sequence(chance: &[u8]) -> Vec<Operation> {
    let mut chance = Unstructured::new(chance);
    let mut operations = Vec::new();
    while !chance.is_empty()
        && operations.len() < MOST
        && let Ok(operation) = chance.arbitrary()
    {
        operations.push(operation);
    }
    operations
}

/// One step, made of chance. A number names one of the handles held, whichever that is.
#[derive(Arbitrary, Debug)]
pub(crate) enum Operation {
    Open {
        from: u8,
        path: Way,
        how: How,
    },
    Read {
        file: u8,
    },
    Write {
        file: u8,
        at: Option<u8>,
    },
    Resize {
        file: u8,
        size: u8,
    },
    Touch {
        handle: u8,
    },
    TouchAt {
        from: u8,
        path: Way,
        follow: bool,
    },
    Stat {
        handle: u8,
    },
    StatAt {
        from: u8,
        path: Way,
        follow: bool,
    },
    List {
        folder: u8,
    },
    CreateDirectory {
        from: u8,
        path: Way,
    },
    RemoveDirectory {
        from: u8,
        path: Way,
    },
    Unlink {
        from: u8,
        path: Way,
    },
    Rename {
        from: u8,
        old: Way,
        to: u8,
        new: Way,
    },
    Link {
        from: u8,
        old: Way,
        follow: bool,
        to: u8,
        new: Way,
    },
    Symlink {
        target: Way,
        from: u8,
        path: Way,
    },
    ReadLink {
        from: u8,
        path: Way,
    },
    Close {
        handle: u8,
    },
    /// Somebody on the host puts a link into the program's folder.
    Plant {
        target: Way,
        folder: bool,
        name: Name,
    },
}

/// A path, with the mistakes that paths are written with. `OUTSIDE` stands for where the folder outside
/// is on the host.
#[derive(Debug)]
pub(crate) struct Way {
    begin: &'static str,
    names: Vec<Name>,
    end: &'static [u8],
}

/// One component of a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name(pub(crate) &'static str);

// What is written more than once is chosen more often.
const BEGIN: [&str; 10] =
    ["", "work/", "/work/", "/work/", "/work/", "/work/", "/work/a/", "/work/m/", "../../", "OUTSIDE/"];
const NAMES: [&str; 24] = [
    "a",
    "a",
    "a",
    "a",
    "b",
    "b",
    "b",
    "b",
    "b",
    "c",
    "c",
    "c",
    "c",
    "m",
    "fixed",
    "single",
    "work",
    "shown",
    "hidden",
    "outside",
    ".",
    "..",
    "",
    "proc/self/root",
];
const END: [&[u8]; 12] = [b"", b"", b"", b"", b"", b"", b"", b"", b"", b"/", b"/.", b"\0x"];

impl<'a> Arbitrary<'a> for Way {
    fn arbitrary(chance: &mut Unstructured<'a>) -> Result<Self> {
        let names =
            (0..chance.choose(&[1, 1, 1, 2, 3])?.to_owned()).map(|_| chance.arbitrary()).collect::<Result<_>>()?;
        Ok(Way { begin: chance.choose(&BEGIN)?, names, end: chance.choose(&END)? })
    }
}

impl<'a> Arbitrary<'a> for Name {
    fn arbitrary(chance: &mut Unstructured<'a>) -> Result<Self> {
        chance.choose(&NAMES).copied().map(Name)
    }
}

/// How a file is opened.
#[derive(Arbitrary, Debug)]
pub(crate) enum How {
    Read { follow: bool },
    Change { follow: bool },
    Create { follow: bool },
    Truncate { create: bool },
    Directory { follow: bool },
    Any([bool; 7]),
}

impl Way {
    /// The path, when the folder outside is at `outside`.
    pub(crate) fn bytes(&self, outside: &str) -> Vec<u8> {
        let names: Vec<&str> = self.names.iter().map(|name| name.0).collect();
        let path = format!("{}{}", self.begin.replace("OUTSIDE", outside), names.join("/"));
        [path.as_bytes(), self.end].concat()
    }
}

impl From<&How> for OpenHow {
    fn from(how: &How) -> Self {
        let nothing = OpenHow::default();
        match *how {
            How::Read { follow } => OpenHow { read: true, follow, ..nothing },
            How::Change { follow } => OpenHow { read: true, write: true, follow, ..nothing },
            How::Create { follow } => OpenHow { read: true, write: true, create: true, follow, ..nothing },
            How::Truncate { create } => OpenHow { write: true, truncate: true, follow: true, create, ..nothing },
            How::Directory { follow } => OpenHow { directory: true, follow, ..nothing },
            How::Any([read, write, create, exclusive, truncate, directory, follow]) => {
                OpenHow { read, write, create, exclusive, truncate, directory, follow, mode: None }
            }
        }
    }
}
