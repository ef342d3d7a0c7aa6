//! What appears where in a capsule's tree.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};

use ringfence_isolation::system::{FILES_OF_ETC, FOLDERS, FOLDERS_OF_ETC, NAME_SERVICES, groups, hosts, users};
use ringfence_manifest::{Mount, MountMode, Permission, Spec};

use super::PlanError;
use super::extent::{Extent, changes, covers, extent};
use super::system::{self, Found};
use super::target::{check_target, obstacle};
use crate::console::Console;
use crate::network;

use super::{Identity, Operation, Overlay, PAGE, Protection, Room, Source, Spot, overlay};

/// The size of the folders in memory when no limit on the disk says otherwise. What is in them counts
/// as memory too.
const SCRATCH: u64 = 1 << 30;
/// Folders of ours in them.
const OWN_FILES: u64 = 16;
/// Folders of the new tree that live in memory: the capsule's to use where its permissions say so.
pub(crate) const SCRATCH_FOLDERS: [&str; 2] = ["/tmp", "/dev/shm"];
/// Where the program is mounted when it is not part of the system.
pub(crate) const PROGRAM: &str = "/program";

/// What a tree is made of.
pub(crate) struct Plan {
    pub(crate) root: Root,
    pub(crate) operations: Vec<Operation>,
    /// The places where the host's files are, in the capsule's tree.
    pub(crate) places: Vec<Place>,
    /// Where the system's programs and libraries are.
    pub(crate) system: Vec<String>,
    /// The devices.
    pub(crate) devices: Vec<String>,
    /// The user's terminal, when the program has it among its streams.
    pub(crate) console: Option<Console>,
    /// The program, in the capsule's tree.
    pub(crate) program: CString,
    /// The names of the file system in memory that the capsule has; by the first one what is made there can be measured.
    pub(crate) scratch: Vec<CString>,
    /// What the folders of the host that can be changed can hold, when the disk is limited.
    pub(crate) room: Option<Room>,
}

/// What lies at `/`.
pub(crate) enum Root {
    /// An empty folder in memory, sealed when it is furnished.
    Memory,
    /// The capsule's own folder.
    Own { from: PathBuf, source: Source, writable: bool, overlay: Option<Overlay> },
}

/// A folder or file of the host's in the tree.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) at: String,
    pub(crate) from: PathBuf,
    pub(crate) is_folder: bool,
    pub(crate) writable: bool,
}

/// What a place has of its own beside the system and what is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Furniture {
    /// Nothing, and not even the system: for a program that needs no file but its own.
    Bare,
    /// Nothing beside the system.
    None,
    /// Devices, and those folders in memory where anything is granted: nothing but mounts keeps others from them.
    Granted,
    /// Devices and folders in memory.
    Whole,
}

/// Collects operations, making each folder once.
pub(super) struct Builder {
    pub(super) operations: Vec<Operation>,
    made: BTreeSet<String>,
    overlays: Overlays,
    pub(super) console: Option<Console>,
}

/// Where changes are kept apart, if they are.
struct Overlays {
    below: Option<PathBuf>,
    made: usize,
}

impl Plan {
    pub(crate) fn new(spec: &Spec, user: u32, group: u32, furniture: Furniture) -> Result<Plan, PlanError> {
        let mut overlays = Overlays { below: spec.session.overlay.clone(), made: 0 };
        let root = root(spec, &mut overlays)?;
        let mut builder = Builder { operations: Vec::new(), made: BTreeSet::new(), overlays, console: None };
        let own = matches!(root, Root::Own { .. });
        let system = if furniture == Furniture::Bare { Vec::new() } else { builder.system(own)? };
        if own {
            // Nothing of ours is written to the capsule's own folder.
            builder.memory("/etc", 1 << 20, 256)?;
            builder.memory("/dev", 1 << 20, 256)?;
        }
        if furniture != Furniture::Bare {
            builder.etc(spec, user, group)?;
        }
        let devices = match furniture {
            Furniture::Bare | Furniture::None => Vec::new(),
            Furniture::Granted | Furniture::Whole => builder.devices(spec)?,
        };
        let scratch = builder.scratch(spec, furniture)?;
        builder.folder("/proc")?;
        builder.operations.push(Operation::Processes { at: spot("/proc")? });
        let mut places = builder.mounts(spec)?;
        if let Root::Own { from, writable, .. } = &root {
            places.insert(0, Place { at: "/".into(), from: from.clone(), is_folder: true, writable: *writable });
        }
        let room = spec.limits.disk.map(|allowed| Room::of(&places, allowed.0, builder.overlays.below.is_some()));
        let room = room.transpose().map_err(PlanError::Room)?;
        if let (Some(allowed), Some(Room::Bounded { bytes, .. })) = (spec.limits.disk, &room) {
            builder.bound_scratch(allowed.0.saturating_sub(*bytes))?;
        }
        let program = builder.program(spec, &system, &places)?;
        let ours = if own { &["/dev", "/etc"] as &[_] } else { &["/"] };
        for at in ours {
            builder.operations.push(Operation::Seal { at: relative(at)? });
        }
        let Builder { operations, console, .. } = builder;
        Ok(Plan { root, operations, places, system, devices, console, program, scratch, room })
    }

    /// Which file is the user's terminal, when the place has it.
    pub(crate) fn console(&self) -> Option<Identity> {
        self.console.as_ref().map(|console| console.source.identity)
    }

    /// How much the folders in memory may hold of what is allowed: the rest is the host's folders'.
    pub(crate) fn left_for_scratch(&self, allowed: u64) -> u64 {
        match &self.room {
            Some(Room::Bounded { bytes, .. }) => allowed.saturating_sub(*bytes),
            _ => allowed,
        }
    }

    /// Whether any folder of the host's can be changed.
    pub(crate) fn writes_to_the_host(&self) -> bool {
        self.places.iter().any(|place| place.writable)
    }
}

/// Whether anything is granted in a folder, beside what is mounted there.
pub(crate) fn is_granted(spec: &Spec, folder: &str) -> bool {
    let mounts: Vec<&str> = spec.mounts.iter().map(|mount| mount.at.as_str()).collect();
    extent(&spec.permissions.files, folder, &mounts) != Extent::Nothing
}

/// The capsule's own folder when something in it is granted; nothing of it appears otherwise.
fn root(spec: &Spec, overlays: &mut Overlays) -> Result<Root, PlanError> {
    if spec.mounts.iter().any(|mount| mount.at == "/") {
        return Err(PlanError::Mount { at: "/".into(), why: "at level sandbox the system's folders lie there" });
    }
    let mut others: Vec<&str> = spec.mounts.iter().map(|mount| mount.at.as_str()).collect();
    others.extend(FOLDERS);
    others.extend(["/etc", "/dev", "/proc", PROGRAM]);
    others.extend(SCRATCH_FOLDERS);
    let files = &spec.permissions.files;
    if extent(files, "/", &others) == Extent::Nothing {
        return Ok(Root::Memory);
    }
    let from = spec.root.clone().ok_or(PlanError::NoRoot)?;
    let failed = |source| PlanError::Open { from: from.clone(), at: "/".into(), source };
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&from).map_err(failed)?;
    let from = from.canonicalize().map_err(failed)?;
    let (source, writable) = (Source::look_resolved(&from).map_err(failed)?, changes(files, "/", &others));
    let overlay = if writable { overlays.folder("/", &from)? } else { None };
    Ok(Root::Own { source, from, writable, overlay })
}

impl Overlays {
    fn folder(&mut self, at: &str, from: &Path) -> Result<Option<Overlay>, PlanError> {
        self.with(from, |folder| overlay::of_folder(folder, at, from))
    }

    fn file(&mut self, at: &str, from: &Path) -> Result<Option<Source>, PlanError> {
        self.with(from, |folder| overlay::of_file(folder, at, from))
    }

    fn with<T>(&mut self, from: &Path, make: impl FnOnce(&Path) -> io::Result<T>) -> Result<Option<T>, PlanError> {
        let Some(below) = &self.below else { return Ok(None) };
        let failed = |source| PlanError::Open { from: from.to_owned(), at: "its changes".into(), source };
        if let Some(why) = overlay::obstacle(below, from).map_err(failed)? {
            return Err(PlanError::Overlay { from: from.to_owned(), why });
        }
        let folder = below.join(self.made.to_string());
        self.made += 1;
        make(&folder).map(Some).map_err(failed)
    }
}

impl Builder {
    pub(super) fn folder(&mut self, at: &str) -> Result<(), PlanError> {
        let mut path = String::new();
        for name in at.split('/').filter(|name| !name.is_empty()) {
            let at = Spot { parent: relative(&path)?, name: text(name)? };
            path.push('/');
            path.push_str(name);
            if self.made.insert(path.clone()) {
                self.operations.push(Operation::Folder(at));
            }
        }
        Ok(())
    }

    /// `at`, with the folder above it made.
    pub(super) fn below_its_folder(&mut self, at: &str) -> Result<Spot, PlanError> {
        let at = spot(at)?;
        let parent = at.parent.to_string_lossy().into_owned();
        self.folder(&parent)?;
        Ok(at)
    }

    pub(super) fn attach(&mut self, source: Source, at: &str, protection: Protection) -> Result<(), PlanError> {
        if source.is_folder {
            self.folder(at)?;
        } else if self.made.insert(at.to_owned()) {
            let target = self.below_its_folder(at)?;
            self.operations.push(Operation::Target(target));
        }
        self.operations.push(Operation::Attach { source, at: spot(at)?, protection });
        Ok(())
    }

    /// The same for what can be changed: in its place, or with its changes kept apart.
    fn attach_writable(&mut self, source: Source, at: &str, protection: Protection) -> Result<(), PlanError> {
        let from = source.path();
        if !source.is_folder {
            let source = self.overlays.file(at, &from)?.unwrap_or(source);
            return self.attach(source, at, protection);
        }
        let Some(overlay) = self.overlays.folder(at, &from)? else { return self.attach(source, at, protection) };
        self.folder(at)?;
        self.operations.push(Operation::Overlay { source, overlay, at: spot(at)? });
        Ok(())
    }

    fn file(&mut self, at: &str, content: Vec<u8>) -> Result<(), PlanError> {
        let at = self.below_its_folder(at)?;
        self.operations.push(Operation::File { at, content });
        Ok(())
    }

    pub(super) fn link(&mut self, at: &str, target: &str) -> Result<(), PlanError> {
        let at = self.below_its_folder(at)?;
        self.operations.push(Operation::Link { at, target: text(target)? });
        Ok(())
    }

    /// A folder in memory.
    fn memory(&mut self, at: &str, bytes: u64, files: u64) -> Result<(), PlanError> {
        self.folder(at)?;
        let (size, files) = (text(&bytes.to_string())?, text(&files.to_string())?);
        self.operations.push(Operation::Memory { at: spot(at)?, size, files, protection: Protection::WRITABLE });
        Ok(())
    }

    /// Programs and libraries; where they are. In the capsule's own folder no link is made: a folder
    /// is mounted instead.
    fn system(&mut self, own: bool) -> Result<Vec<String>, PlanError> {
        let mut system = Vec::new();
        for at in FOLDERS {
            match system::look(at) {
                None => continue,
                Some(Found::Link(target)) if !own => {
                    self.link(at, &target)?;
                    continue;
                }
                Some(Found::Link(_)) => {
                    let path = PathBuf::from(at);
                    let source = Source::look(&path);
                    let source = source.map_err(|source| PlanError::Open { from: path, at: at.into(), source })?;
                    self.attach(source, at, Protection::READ_ONLY)?;
                }
                Some(Found::Folder(source)) => self.attach(source, at, Protection::READ_ONLY)?,
            }
            system.push(at.to_owned());
        }
        Ok(system)
    }

    fn etc(&mut self, spec: &Spec, user: u32, group: u32) -> Result<(), PlanError> {
        for at in FILES_OF_ETC.into_iter().chain(FOLDERS_OF_ETC) {
            let path = Path::new(at);
            let small = |found: &std::fs::Metadata| found.is_file() && found.len() <= system::SMALL;
            if let Some(target) = system::link(path) {
                self.link(at, &target)?;
            } else if path.metadata().is_ok_and(|found| small(&found))
                && let Ok(content) = std::fs::read(path)
            {
                self.file(at, content)?;
            } else if let Ok(source) = Source::look(path) {
                self.attach(source, at, Protection::READ_ONLY)?;
            }
        }
        self.file("/etc/passwd", users(user, group).into_bytes())?;
        self.file("/etc/group", groups(group).into_bytes())?;
        if spec.permissions.has_names() {
            self.file("/etc/resolv.conf", format!("nameserver {}\n", network::NAME_SERVER).into_bytes())?;
        }
        self.file("/etc/hosts", hosts(&spec.capsule.name).into())?;
        self.file("/etc/nsswitch.conf", NAME_SERVICES.into())
    }

    /// One file system in memory under two names, so that one size bounds both.
    fn scratch(&mut self, spec: &Spec, furniture: Furniture) -> Result<Vec<CString>, PlanError> {
        let is_free = |folder: &str| !spec.mounts.iter().any(|mount| mount.at == folder);
        let is_there = |folder: &str| match furniture {
            Furniture::Bare | Furniture::None => false,
            Furniture::Granted => is_granted(spec, folder),
            Furniture::Whole => true,
        };
        let free: Vec<&str> =
            SCRATCH_FOLDERS.into_iter().filter(|folder| is_free(folder) && is_there(folder)).collect();
        let Some((first, others)) = free.split_first() else { return Ok(Vec::new()) };
        self.folder(first)?;
        let (size, files) = Self::scratch_bounds(spec.limits.disk.map_or(SCRATCH, |bytes| bytes.0))?;
        self.operations.push(Operation::Memory { at: spot(first)?, size, files, protection: Protection::WRITABLE });
        for other in others {
            let part = format!("{first}/.shm");
            self.operations.push(Operation::Folder(spot(&part)?));
            self.folder(other)?;
            self.operations.push(Operation::Again { from: relative(&part)?, at: spot(other)? });
        }
        let mounts: Vec<&str> = spec.mounts.iter().map(|mount| mount.at.as_str()).collect();
        for &folder in &free {
            // A rule names a folder below: it is there from the beginning.
            if let Extent::Parts(parts) = extent(&spec.permissions.files, folder, &mounts) {
                for part in parts {
                    if !spec.permissions.files.allows(Permission::FsList, part.as_bytes()) {
                        return Err(PlanError::Unclear { at: part, folder });
                    }
                    self.folder(&part)?;
                }
            }
        }
        free.into_iter().map(text).collect()
    }

    /// Gives the folders in memory less room.
    fn bound_scratch(&mut self, bytes: u64) -> Result<(), PlanError> {
        let bounds = Self::scratch_bounds(bytes)?;
        let first = SCRATCH_FOLDERS.map(spot).into_iter().collect::<Result<Vec<_>, _>>()?;
        for operation in &mut self.operations {
            if let Operation::Memory { at, size, files, .. } = operation
                && first.contains(at)
            {
                (*size, *files) = bounds.clone();
            }
        }
        Ok(())
    }

    /// One page more than is allowed: who takes it has gone over the limit.
    fn scratch_bounds(bytes: u64) -> Result<(CString, CString), PlanError> {
        let bytes = bytes / PAGE * PAGE + PAGE;
        Ok((text(&bytes.to_string())?, text(&(bytes / PAGE + OWN_FILES).to_string())?))
    }

    fn mounts(&mut self, spec: &Spec) -> Result<Vec<Place>, PlanError> {
        let mut mounts: Vec<&Mount> = spec.mounts.iter().collect();
        mounts.sort_by_key(|mount| mount.at.split('/').count());
        let mut places: Vec<Place> = Vec::new();
        let files = &spec.permissions.files;
        for mount in mounts {
            if let Some(why) = obstacle(&mount.at) {
                return Err(PlanError::Mount { at: mount.at.clone(), why });
            }
            let deeper: Vec<&str> =
                spec.mounts.iter().map(|other| other.at.as_str()).filter(|other| *other != mount.at).collect();
            let parts = match extent(files, &mount.at, &deeper) {
                Extent::Nothing => continue,
                Extent::Whole => vec![mount.at.clone()],
                Extent::Parts(parts) => parts,
            };
            for at in parts {
                let rest = at[mount.at.len()..].trim_start_matches('/');
                let found = match rest {
                    "" => Source::look_resolved(&mount.from),
                    rest => Source::look_below(&mount.from, rest),
                };
                let source = match found {
                    Ok(source) => source,
                    Err(error) if !rest.is_empty() && error.kind() == io::ErrorKind::NotFound => {
                        let from = mount.from.join(rest);
                        return Err(PlanError::Missing { at, from });
                    }
                    Err(source) => return Err(PlanError::Open { from: mount.from.join(rest), at, source }),
                };
                if let Some(above) = places.iter().find(|place| covers(&place.at, &at)) {
                    check_target(above, &at, source.is_folder)?;
                    self.taken(&at);
                }
                let writable = mount.mode == MountMode::ReadWrite && changes(files, &at, &deeper);
                let protection = Protection { read_only: !writable, ..Protection::WRITABLE };
                let is_folder = source.is_folder;
                let from = source.path();
                match writable {
                    true => self.attach_writable(source, &at, protection)?,
                    false => self.attach(source, &at, protection)?,
                }
                places.push(Place { at, from, is_folder, writable });
            }
        }
        Ok(places)
    }

    /// Records that a path and those above it exist.
    fn taken(&mut self, at: &str) {
        let ends = at.char_indices().filter(|&(_, letter)| letter == '/').map(|(index, _)| index).skip(1);
        let paths: Vec<String> = ends.chain([at.len()]).map(|end| at[..end].to_owned()).collect();
        self.made.extend(paths);
    }

    /// The program, in the capsule's tree: where it is when that is visible, else mounted on its own.
    fn program(&mut self, spec: &Spec, system: &[String], places: &[Place]) -> Result<CString, PlanError> {
        let path = &spec.program.path;
        let open = |source| PlanError::Open { from: path.clone(), at: PROGRAM.into(), source };
        let source = Source::look(path).map_err(open)?;
        let shown = path.to_str().unwrap_or("");
        if system.iter().any(|folder| covers(folder, shown)) || self.links_to_system(shown) {
            return text(shown);
        }
        let at_same_place = |place: &&Place| place.from.to_str().is_some_and(|from| from == place.at);
        if places.iter().filter(at_same_place).any(|place| covers(&place.at, shown)) {
            return text(shown);
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("program");
        let at = format!("{PROGRAM}/{name}");
        self.attach(source, &at, Protection::READ_ONLY)?;
        text(&at)
    }

    /// Whether a path goes through one of the links to the system's folders.
    fn links_to_system(&self, path: &str) -> bool {
        self.operations.iter().any(|operation| match operation {
            Operation::Link { at, .. } if at.parent.is_empty() => {
                covers(&format!("/{}", at.name.to_string_lossy()), path)
            }
            _ => false,
        })
    }
}

fn text(text: &str) -> Result<CString, PlanError> {
    CString::new(text).map_err(|_| PlanError::Path(text.to_owned()))
}

/// A path of the tree as a name in a folder.
pub(super) fn spot(at: &str) -> Result<Spot, PlanError> {
    let (parent, name) = at.rsplit_once('/').unwrap_or(("", at));
    Ok(Spot { parent: relative(parent)?, name: text(name)? })
}

/// A path of the tree, relative to its root.
fn relative(at: &str) -> Result<CString, PlanError> {
    text(at.trim_start_matches('/'))
}
