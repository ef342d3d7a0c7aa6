//! The resolver against a naive model of the whole tree in memory.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use proptest::prelude::*;
use ringfence_manifest::MountMode;
use rustix::fs::{AtFlags, fstat, statat};

use super::super::place::{End, Last, Place};
use super::*;

/// One thing in a folder.
#[derive(Clone, Debug)]
enum Node {
    Folder(BTreeMap<String, Node>),
    File,
    Link(String),
}

/// The same with where it is on the host, mounts in place.
#[derive(Clone, Debug)]
enum Seen {
    Folder(BTreeMap<String, Seen>, Option<PathBuf>),
    File(PathBuf),
    Link(String, PathBuf),
}

impl Seen {
    fn of(node: &Node, at: PathBuf) -> Seen {
        match node {
            Node::Folder(entries) => {
                let entries =
                    entries.iter().map(|(name, node)| (name.clone(), Seen::of(node, at.join(name)))).collect();
                Seen::Folder(entries, Some(at))
            }
            Node::File => Seen::File(at),
            Node::Link(target) => Seen::Link(target.clone(), at),
        }
    }

    /// Puts a mount in its place; what is in the way is hidden.
    fn graft(&mut self, path: &[&str], mount: Seen) {
        let Seen::Folder(entries, _) = self else { unreachable!("grafts are made into folders") };
        let [name, rest @ ..] = path else {
            *self = mount;
            return;
        };
        let next = entries.entry((*name).to_owned()).or_insert(Seen::File(PathBuf::new()));
        if !matches!(next, Seen::Folder(..)) {
            *next = Seen::Folder(BTreeMap::new(), None);
        }
        next.graft(rest, mount);
    }

    fn get(&self, path: &[String]) -> Option<&Seen> {
        match (path, self) {
            ([], _) => Some(self),
            ([name, rest @ ..], Seen::Folder(entries, _)) => entries.get(name)?.get(rest),
            _ => None,
        }
    }

    fn folders(&self, at: &str, found: &mut Vec<String>) {
        if let Seen::Folder(entries, _) = self {
            found.push(if at.is_empty() { "/".to_owned() } else { at.to_owned() });
            for (name, entry) in entries {
                entry.folders(&format!("{at}/{name}"), found);
            }
        }
    }

    fn host(&self) -> Option<&PathBuf> {
        match self {
            Seen::Folder(_, host) => host.as_ref(),
            Seen::File(host) | Seen::Link(_, host) => Some(host),
        }
    }
}

/// Resolves by looking every prefix up from the top again. The path of what was reached, and whether
/// anything is there.
fn naive<'a>(tree: &'a Seen, start: &str, path: &str, follow: bool) -> (String, Option<&'a Seen>) {
    let split = |path: &str| -> Vec<String> {
        let mut names: Vec<String> =
            path.split('/').filter(|name| !matches!(*name, "" | ".")).map(str::to_owned).collect();
        if path.ends_with("/.") || path == "." {
            names.push(".".to_owned());
        }
        names.reverse();
        names
    };
    let mut at: Vec<String> = if path.starts_with('/') { Vec::new() } else { split(start).into_iter().rev().collect() };
    let mut left = split(path);
    let mut must_be_folder = path.ends_with('/');
    let mut links = 0;
    let mut broken = false;
    while let Some(name) = left.pop() {
        if name == "." {
            continue;
        }
        if name == ".." {
            at.pop();
            continue;
        }
        at.push(name);
        if broken {
            continue;
        }
        match tree.get(&at) {
            Some(Seen::Folder(..)) => {}
            Some(Seen::Link(target, _)) if !left.is_empty() || follow || must_be_folder => {
                links += 1;
                if links > 40 {
                    broken = true;
                    continue;
                }
                at.pop();
                if target.starts_with('/') {
                    at.clear();
                }
                must_be_folder |= left.is_empty() && target.ends_with('/');
                left.extend(split(target));
            }
            Some(Seen::File(_)) | Some(Seen::Link(..)) if left.is_empty() => {}
            _ => broken |= !left.is_empty(),
        }
    }
    let found = if broken { None } else { tree.get(&at) };
    (format!("/{}", at.join("/")), found)
}

const NAMES: [&str; 4] = ["a", "b", "m", "w"];

fn path() -> impl Strategy<Value = String> {
    let component = prop_oneof![
        6 => prop::sample::select(&NAMES[..]),
        2 => Just(".."),
        1 => Just("."),
        1 => Just(""),
    ];
    let tail = prop_oneof![4 => Just(""), 1 => Just("/")];
    (any::<bool>(), prop::collection::vec(component, 1..7), tail).prop_map(|(absolute, components, tail)| {
        let path = format!("{}{}{tail}", if absolute { "/" } else { "" }, components.join("/"));
        if path.is_empty() { "a".to_owned() } else { path }
    })
}

fn node() -> impl Strategy<Value = Node> {
    // `OUT` is replaced by the place of the secret on the host.
    let escape = prop::sample::select(&["OUT", "OUT/secret", "../../../../../../OUT", "/", "../.."][..]);
    let target = prop_oneof![4 => path(), 1 => escape.prop_map(str::to_owned)];
    let leaf = prop_oneof![Just(Node::File), target.prop_map(Node::Link)];
    leaf.prop_recursive(3, 24, 4, folder)
}

fn folder(inner: impl Strategy<Value = Node>) -> impl Strategy<Value = Node> {
    let name = prop::sample::select(&NAMES[..]).prop_map(str::to_owned);
    prop::collection::btree_map(name, inner, 0..4).prop_map(Node::Folder)
}

fn write(node: &Node, at: &Path) {
    match node {
        Node::Folder(entries) => {
            std::fs::create_dir_all(at).unwrap();
            entries.iter().for_each(|(name, node)| write(node, &at.join(name)));
        }
        Node::File => std::fs::write(at, at.to_str().unwrap()).unwrap(),
        Node::Link(target) => std::os::unix::fs::symlink(target, at).unwrap(),
    }
}

fn with_secret(node: Node, secret: &str) -> Node {
    match node {
        Node::Folder(entries) => {
            Node::Folder(entries.into_iter().map(|(name, node)| (name, with_secret(node, secret))).collect())
        }
        Node::Link(target) => Node::Link(target.replace("OUT", secret)),
        Node::File => Node::File,
    }
}

/// What the resolver reached: device and inode, nothing of the disk, or nothing.
#[derive(Debug, PartialEq)]
enum Reached {
    Disk(u64, u64),
    Way,
    Nothing,
}

fn reached(tree: &Tree, end: &End) -> Reached {
    let found = match end {
        End::Name { folder, name, .. } => statat(folder, &name[..], AtFlags::SYMLINK_NOFOLLOW),
        End::Folder(Place { descriptor: Some(descriptor), .. }) => fstat(descriptor),
        End::Folder(_) => return Reached::Way,
        End::File { mount } => fstat(&tree.mounts[*mount].descriptor),
        End::Nowhere | End::Broken(_) => return Reached::Nothing,
    };
    found.map_or(Reached::Nothing, |stat| Reached::Disk(stat.st_dev, stat.st_ino))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_path_leads_where_a_naive_walk_of_the_model_leads(
        nodes in prop::collection::vec(folder(node()), 3),
        asked in prop::collection::vec((any::<prop::sample::Index>(), path(), any::<bool>()), 20),
    ) {
        let lab = tempfile::tempdir().unwrap();
        let outside = lab.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret"), "secret").unwrap();
        let nodes: Vec<Node> = nodes.into_iter().map(|node| with_secret(node, outside.to_str().unwrap())).collect();
        let hosts: Vec<PathBuf> = (0..nodes.len()).map(|number| lab.path().join(number.to_string())).collect();
        nodes.iter().zip(&hosts).for_each(|(node, host)| write(node, host));
        let single = lab.path().join("single");
        std::fs::write(&single, "single").unwrap();

        let mut spec = sample::spec(&hosts[0]);
        spec.permissions.files = sample::everything();
        let mut seen = Seen::of(&nodes[0], hosts[0].clone());
        let mounts = [
            ("/m", hosts[1].clone(), Seen::of(&nodes[1], hosts[1].clone())),
            ("/m/w", hosts[2].clone(), Seen::of(&nodes[2], hosts[2].clone())),
            ("/w/a/b", hosts[2].clone(), Seen::of(&nodes[2], hosts[2].clone())),
            ("/b/m", single.clone(), Seen::File(single.clone())),
        ];
        for (at, host, node) in mounts {
            spec.mounts.push(sample::mount(at, &host, MountMode::ReadWrite));
            let names: Vec<&str> = at.split('/').skip(1).collect();
            // A mount hides the whole of what was below it.
            seen.graft(&names, Seen::Folder(BTreeMap::new(), None));
            match node {
                Seen::File(host) => {
                    let (last, way) = names.split_last().unwrap();
                    let way: Vec<String> = way.iter().map(|&name| name.to_owned()).collect();
                    insert(&mut seen, &way, last, Seen::File(host));
                }
                folder => seen.graft(&names, folder),
            }
        }

        let vfs = vfs(spec);
        let mut folders = Vec::new();
        seen.folders("", &mut folders);
        for (start, path, follow) in asked {
            let start = start.get(&folders);
            let top = vfs.root();
            let Ok(Opened::Folder(from, _)) = top.open(start.as_bytes(), READ, Rights::all()) else {
                panic!("{start} is a folder of {seen:?}");
            };
            let resolved = from.resolve(path.as_bytes(), Last::from(follow)).unwrap();
            let (expected_path, expected) = naive(&seen, start, &path, follow);
            let what = format!("{path} from {start}, follow {follow}, in {seen:?}");
            prop_assert_eq!(String::from_utf8(resolved.path.clone()).unwrap(), expected_path, "{}", &what);
            let expected = match expected {
                None => Reached::Nothing,
                Some(node) => node.host().map_or(Reached::Way, |host| {
                    let metadata = std::fs::symlink_metadata(host).unwrap();
                    Reached::Disk(metadata.dev(), metadata.ino())
                }),
            };
            prop_assert_eq!(reached(&vfs.tree, &resolved.end), expected, "{}", &what);
            // The same step by step, where the one step was taken.
            let walked = super::super::resolve::walk(&vfs.tree, &from, path.as_bytes(), Last::from(follow));
            prop_assert_eq!(&walked.path, &resolved.path, "{}", &what);
            prop_assert_eq!(reached(&vfs.tree, &walked.end), reached(&vfs.tree, &resolved.end), "{}", &what);
            if let Ok(content) = content(&from, &path) {
                prop_assert_ne!(content, b"secret".to_vec(), "{}", &what);
            }
        }
    }
}

fn insert(tree: &mut Seen, way: &[String], name: &str, node: Seen) {
    let Seen::Folder(entries, _) = tree else { unreachable!("the way leads through folders") };
    match way {
        [] => {
            entries.insert(name.to_owned(), node);
        }
        [next, rest @ ..] => insert(entries.get_mut(next).unwrap(), rest, name, node),
    }
}
