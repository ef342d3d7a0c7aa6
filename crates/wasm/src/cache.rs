//! Compiled code on disk, named by what it was compiled from.
//!
//! An entry is `magic | keyed hash | code`. The key is a secret of the user, so an entry that was cut
//! short, altered, or written by anybody else is not loaded: it is compiled again and replaced.
//! Entries are written to a temporary name and renamed, so concurrent writers never show each other
//! half an entry.
//!
//! What it does not protect against: a process of the same user that reads the key. It could as well
//! replace the `ringfence` program.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// The start of an entry; the digit rises with the format. As long as a page, so the code behind it
/// can be mapped.
const MAGIC: &[u8; 16] = b"ringfence-code-1";
const KEY_FILE: &str = "key";
const HASH: usize = 32;
/// The largest entry that is read; no program compiles to as much.
const MOST: usize = 1 << 30;

/// The folder of compiled code.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
    key: [u8; HASH],
}

/// One entry, for listings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// The hash it is named by.
    pub name: String,
    /// Bytes on disk.
    pub size: u64,
}

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// A file operation failed.
    #[error("cannot use the cache at {}", .path.display())]
    Io {
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else could have written to it.
    #[error("the cache at {} belongs to another user or can be written by one", .0.display())]
    Shared(PathBuf),
}

impl Cache {
    /// Opens the cache in `folder`, making it (mode 0700) with a new key when there is none.
    ///
    /// # Errors
    /// [`CacheError`] when the folder cannot be made or others can write to it.
    pub fn open(folder: &Path) -> Result<Self, CacheError> {
        let failed = |source| CacheError::Io { path: folder.to_owned(), source };
        make_folder(folder).map_err(failed)?;
        let found = rustix::fs::stat(folder).map_err(|error| failed(error.into()))?;
        private(folder, &found)?;
        let key = read_or_make_key(folder).map_err(failed)?;
        Ok(Cache { folder: folder.to_owned(), key })
    }

    /// Looks at the cache in `folder` without making or changing anything.
    pub(crate) fn inspect(folder: &Path) -> Result<String, CacheError> {
        let failed = |source| CacheError::Io { path: folder.to_owned(), source };
        match rustix::fs::stat(folder) {
            Err(rustix::io::Errno::NOENT) => Ok(format!("{}, not made yet", folder.display())),
            Err(error) => Err(failed(error.into())),
            Ok(found) => {
                private(folder, &found)?;
                let entries = fs::read_dir(folder).map_err(failed)?.count();
                Ok(format!("{}, {entries} files", folder.display()))
            }
        }
    }

    /// The name of what `program` compiles to with an engine that `engine` describes.
    pub(crate) fn name(program: &[u8], engine: &[u8]) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(engine.len() as u64).to_le_bytes()).update(engine).update(program);
        hasher.finalize().to_hex().to_string()
    }

    /// The code stored under `name`, if it is there and whole. A damaged entry is removed.
    pub(crate) fn load(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.folder.join(name);
        let file = open_regular(&path).ok()?;
        let code = file.and_then(|file| self.read(name, file));
        if code.is_none() {
            let _ = fs::remove_file(&path);
        }
        code
    }

    fn read(&self, name: &str, mut file: File) -> Option<Vec<u8>> {
        let size = usize::try_from(file.metadata().ok()?.len()).ok().filter(|&size| size <= MOST)?;
        let mut head = [0; MAGIC.len() + HASH];
        file.read_exact(&mut head).ok()?;
        if head[..MAGIC.len()] != *MAGIC {
            return None;
        }
        let mut code = Vec::new();
        code.try_reserve_exact(size.checked_sub(head.len())?).ok()?;
        file.take((size - head.len()) as u64).read_to_end(&mut code).ok()?;
        (self.hash(name, &code) == head[MAGIC.len()..]).then_some(code)
    }

    /// Stores code under `name`. Readers see the whole of it or nothing.
    pub(crate) fn store(&self, name: &str, code: &[u8]) -> io::Result<()> {
        let mut file = tempfile_in(&self.folder)?;
        file.file.write_all(MAGIC)?;
        file.file.write_all(self.hash(name, code).as_bytes())?;
        file.file.write_all(code)?;
        file.persist(&self.folder.join(name))
    }

    /// What is stored.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn entries(&self) -> io::Result<Vec<CacheEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.len() == 2 * HASH && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                entries.push(CacheEntry { name, size: entry.metadata()?.len() });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// What processes left here that were killed while they stored something.
    pub(crate) fn left(folder: &Path) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        let temporary = |name: &str| {
            name.len() == 17 && name.starts_with('.') && name[1..].bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        let named = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(temporary));
        let paths = named.map(|entry| entry.path());
        // Who stores something holds a lock on it.
        let is_free =
            |path: &PathBuf| open_regular(path).is_ok_and(|file| file.is_some_and(|file| file.try_lock().is_ok()));
        paths.filter(is_free).collect()
    }

    /// Removes every entry and says how many there were.
    ///
    /// # Errors
    /// When an entry cannot be removed.
    pub fn clear(&self) -> io::Result<usize> {
        let entries = self.entries()?;
        for entry in &entries {
            match fs::remove_file(self.folder.join(&entry.name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(entries.len())
    }

    /// The name is part of what is hashed, so an entry cannot be passed off as another.
    fn hash(&self, name: &str, code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(name.as_bytes()).update(code);
        hasher.finalize()
    }
}

fn private(folder: &Path, found: &rustix::fs::Stat) -> Result<(), CacheError> {
    let ours = found.st_uid == rustix::process::geteuid().as_raw() && found.st_mode & 0o022 == 0;
    if ours { Ok(()) } else { Err(CacheError::Shared(folder.to_owned())) }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Opens a file to read it, without following a link and without waiting; `None` for what is there and
/// is no regular file.
fn open_regular(path: &Path) -> io::Result<Option<File>> {
    let careful = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, OFlags::RDONLY | careful, Mode::empty())?);
    Ok(file.metadata()?.is_file().then_some(file))
}

/// The user's secret: made once, under a name that appears only when it is complete.
fn read_or_make_key(folder: &Path) -> io::Result<[u8; HASH]> {
    let path = folder.join(KEY_FILE);
    for _ in 0..2 {
        if let Ok(found) = open_regular(&path) {
            let mut key = [0; HASH];
            if let Some(mut file) = found
                && file.metadata()?.len() == HASH as u64
                && file.read_exact(&mut key).is_ok()
            {
                return Ok(key);
            }
            // A key of the wrong size or kind was never written by this code; a new one voids the entries.
            fs::remove_file(&path)?;
        }
        let mut key = [0; HASH];
        rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())?;
        let mut file = tempfile_in(folder)?;
        file.file.write_all(&key)?;
        match fs::hard_link(&file.path, &path) {
            Ok(()) => return Ok(key),
            // Somebody was quicker: use theirs.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("the cache key changes under our hands"))
}

/// A new file (mode 0600) that is removed unless it is persisted.
struct Temporary {
    file: File,
    path: PathBuf,
}

fn tempfile_in(folder: &Path) -> io::Result<Temporary> {
    loop {
        let mut bytes = [0; 8];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        let path = folder.join(format!(".{:016x}", u64::from_le_bytes(bytes)));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)?);
        // Held as long as it is written: what nobody holds was left by a process that was killed, and
        // whoever looks for that may have been quicker than the lock.
        file.lock()?;
        if rustix::fs::fstat(&file)?.st_nlink > 0 {
            return Ok(Temporary { file, path });
        }
    }
}

impl Temporary {
    fn persist(self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("cache")).unwrap();
        (folder, cache)
    }

    #[test]
    fn what_was_stored_is_loaded() {
        let (_folder, cache) = cache();
        let name = Cache::name(b"program", b"engine");
        cache.store(&name, b"code").unwrap();
        assert_eq!(cache.load(&name).as_deref(), Some(&b"code"[..]));
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_noticed() {
        let (_folder, cache) = cache();
        let name = Cache::name(b"program", b"engine");
        cache.store(&name, b"native code").unwrap();
        let path = cache.folder.join(&name);
        let whole = fs::read(&path).unwrap();
        for position in 0..whole.len() {
            let mut altered = whole.clone();
            altered[position] ^= 1;
            fs::write(&path, &altered).unwrap();
            assert_eq!(cache.load(&name), None, "byte {position} flipped");
            fs::write(&path, &whole[..position]).unwrap();
            assert_eq!(cache.load(&name), None, "cut at {position}");
        }
        fs::write(&path, &whole).unwrap();
        assert!(cache.load(&name).is_some());
    }

    #[test]
    fn an_entry_passed_off_as_another_is_noticed() {
        let (_folder, cache) = cache();
        let (one, two) = (Cache::name(b"one", b"e"), Cache::name(b"two", b"e"));
        cache.store(&one, b"code of one").unwrap();
        fs::rename(cache.folder.join(&one), cache.folder.join(&two)).unwrap();
        assert_eq!(cache.load(&two), None);
    }

    #[test]
    fn an_entry_of_another_users_key_is_noticed() {
        let (_folder, cache) = cache();
        let name = Cache::name(b"program", b"engine");
        let stranger = Cache { key: [7; HASH], ..cache.clone() };
        stranger.store(&name, b"evil").unwrap();
        assert_eq!(cache.load(&name), None);
    }

    #[test]
    fn a_link_in_place_of_an_entry_is_not_followed() {
        let (_folder, cache) = cache();
        let (name, other) = (Cache::name(b"a", b"e"), Cache::name(b"b", b"e"));
        cache.store(&other, b"code").unwrap();
        std::os::unix::fs::symlink(cache.folder.join(&other), cache.folder.join(&name)).unwrap();
        assert_eq!(cache.load(&name), None);
    }

    #[test]
    fn an_entry_of_any_size_is_absent_and_makes_room() {
        let (_folder, cache) = cache();
        let name = Cache::name(b"program", b"engine");
        for size in [MOST as u64 + 1, 15 << 40] {
            let file = File::create(cache.folder.join(&name)).unwrap();
            // A file system that has no files so large has no such entries.
            if file.set_len(size).is_ok() {
                assert_eq!(cache.load(&name), None, "{size}");
                assert!(!cache.folder.join(&name).exists());
            }
        }
    }

    #[test]
    fn a_pipe_in_place_of_an_entry_or_the_key_makes_nobody_wait() {
        let (_folder, cache) = cache();
        let name = Cache::name(b"program", b"engine");
        for file in [name.as_str(), KEY_FILE] {
            let path = cache.folder.join(file);
            let _ = fs::remove_file(&path);
            rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        }
        assert_eq!(cache.load(&name), None);
        let cache = Cache::open(&cache.folder).unwrap();
        cache.store(&name, b"code").unwrap();
        assert_eq!(Cache::open(&cache.folder).unwrap().load(&name).as_deref(), Some(&b"code"[..]));
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let (_folder, cache) = cache();
        fs::set_permissions(&cache.folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Cache::open(&cache.folder), Err(CacheError::Shared(_))));
    }

    #[test]
    fn many_writers_of_one_entry_and_their_readers_see_it_whole() {
        let (_folder, cache) = cache();
        let name = Cache::name(b"program", b"engine");
        let code = vec![42; 100_000];
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        cache.store(&name, &code).unwrap();
                        assert_eq!(cache.load(&name).as_deref(), Some(&code[..]));
                    }
                });
            }
        });
        assert_eq!(cache.entries().unwrap().len(), 1);
    }

    #[test]
    fn concurrent_first_users_agree_on_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| Cache::open(&path).unwrap().key)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn clearing_leaves_the_key() {
        let (_folder, cache) = cache();
        cache.store(&Cache::name(b"a", b"e"), b"x").unwrap();
        assert_eq!(cache.clear().unwrap(), 1);
        assert_eq!(Cache::open(&cache.folder).unwrap().key, cache.key);
        assert!(cache.entries().unwrap().is_empty());
    }
}
