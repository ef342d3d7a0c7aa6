//! `wasi:filesystem`: descriptors are handles of the scoped hal.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use ringfence_abi::{Call, Entry, ErrorCode, FileKind, OpenHow, Position, Reply, Rights, Stat, Timestamp};
use wasmtime::component::{ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType};
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream};

use super::clocks::Datetime;
use super::name;
use super::streams::{CHUNK, FileReader, FileWriter};
use crate::memory::Kept;
use crate::state::{Context, Owned, State, sift};

mod path;
mod types;

use path::leaves;
use types::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, FsError, HashValue, NewTimestamp,
    OpenFlags, PathFlags,
};

/// How many entries of a folder are fetched at once.
const ENTRIES: usize = 64;
/// What a stream of entries keeps at most: those that were fetched, and those the hal has read ahead.
const LISTING: u64 = 40 << 10;

/// `wasi:filesystem/types.descriptor`.
pub(super) struct Descriptor(Arc<Owned>);

/// `wasi:filesystem/types.directory-entry-stream`.
pub(super) struct EntryStream {
    folder: Arc<Owned>,
    fetched: VecDeque<Entry>,
    after: u64,
    ended: bool,
    _kept: Kept,
}

type File = Resource<Descriptor>;
type Answer<T> = wasmtime::Result<(Result<T, FsError>,)>;

pub(super) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut types = linker.instance(&name("filesystem/types"))?;
    types.resource("descriptor", ResourceType::host::<Descriptor>(), |mut context, rep| {
        context.data_mut().table.delete(File::new_own(rep))?;
        Ok(())
    })?;
    types.resource("directory-entry-stream", ResourceType::host::<EntryStream>(), |mut context, rep| {
        context.data_mut().table.delete(Resource::<EntryStream>::new_own(rep))?;
        Ok(())
    })?;
    content(&mut types)?;
    metadata(&mut types)?;
    names(&mut types)?;
    listing(&mut types)?;
    types.func_wrap("filesystem-error-code", |context: Context, (error,): (Resource<wasmtime::Error>,)| {
        let error = context.data().table.get(&error)?;
        Ok((error.downcast_ref::<ErrorCode>().map(|&code| FsError::from(code)),))
    })?;

    linker.instance(&name("filesystem/preopens"))?.func_wrap("get-directories", |mut context: Context, (): ()| {
        let host = context.data().host.clone();
        let mut folders = Vec::new();
        for folder in host.folders() {
            let descriptor = Descriptor(Owned::borrowed(&host, folder.handle));
            folders.push((context.data_mut().table.push(descriptor)?, folder.name));
        }
        Ok((folders,))
    })
}

/// The handle behind a descriptor.
fn owned(context: &Context<'_>, file: &File) -> wasmtime::Result<Arc<Owned>> {
    Ok(context.data().table.get(file)?.0.clone())
}

/// The folder behind a descriptor, if WASI allows `path` to be seen from it.
fn base(context: &Context<'_>, folder: &File, path: &str) -> wasmtime::Result<Option<Arc<Owned>>> {
    let folder = owned(context, folder)?;
    Ok((!leaves(path, folder.is_borrowed())).then_some(folder))
}

/// The answer when WASI does not allow a path.
fn refused<T>() -> Answer<T> {
    Ok((Err(FsError::NotPermitted),))
}

/// The guest's answer to a call whose reply has nothing in it, or is looked at by `take`.
fn answer<T>(reply: Result<Reply, ErrorCode>, take: impl FnOnce(Reply) -> Option<T>) -> Answer<T> {
    Ok((sift(reply)?.map_err(FsError::from).and_then(|reply| take(reply).ok_or(FsError::Io)),))
}

fn done(reply: Result<Reply, ErrorCode>) -> Answer<()> {
    answer(reply, |_| Some(()))
}

fn content(types: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    types.func_wrap("[method]descriptor.read-via-stream", |mut context: Context, (file, offset): (File, u64)| {
        let file = owned(&context, &file)?;
        if let Err(error) = has(&file, Rights::READ)? {
            return Ok((Err(error),));
        }
        let reader: DynInputStream = Box::new(FileReader::new(file, offset));
        Ok((Ok(context.data_mut().table.push(reader)?),))
    })?;
    types.func_wrap("[method]descriptor.write-via-stream", |context: Context, (file, offset): (File, u64)| {
        writer(context, &file, Position::Offset(offset))
    })?;
    types.func_wrap("[method]descriptor.append-via-stream", |context: Context, (file,): (File,)| {
        writer(context, &file, Position::End)
    })?;
    types.func_wrap(
        "[method]descriptor.read",
        |context: Context, (file, length, offset): (File, u64, u64)| -> Answer<(Vec<u8>, bool)> {
            let file = owned(&context, &file)?;
            let mut buffer = vec![0; usize::try_from(length).unwrap_or(CHUNK).min(CHUNK)];
            let wanted = buffer.len();
            let reply = file.call(Call::Read { file: file.handle, offset, into: &mut buffer });
            answer(reply, |reply| match reply {
                Reply::Count(count) => {
                    buffer.truncate(count);
                    Some((buffer, count == 0 && wanted > 0))
                }
                _ => None,
            })
        },
    )?;
    types.func_wrap(
        "[method]descriptor.write",
        |context: Context, (file, from, offset): (File, Vec<u8>, u64)| -> Answer<u64> {
            let file = owned(&context, &file)?;
            answer(file.call(Call::Write { file: file.handle, at: Position::Offset(offset), from: &from }), count)
        },
    )?;
    types.func_wrap("[method]descriptor.set-size", |context: Context, (file, size): (File, u64)| {
        let file = owned(&context, &file)?;
        done(file.call(Call::SetSize { file: file.handle, size }))
    })?;
    types.func_wrap("[method]descriptor.sync", |context: Context, (file,): (File,)| {
        let file = owned(&context, &file)?;
        done(file.call(Call::Sync { handle: file.handle, metadata: true }))
    })?;
    types.func_wrap("[method]descriptor.sync-data", |context: Context, (file,): (File,)| {
        let file = owned(&context, &file)?;
        done(file.call(Call::Sync { handle: file.handle, metadata: false }))
    })?;
    types.func_wrap(
        "[method]descriptor.advise",
        |context: Context, (file, _, _, _): (File, u64, u64, Advice)| -> Answer<()> {
            // Advice changes nothing a program can see; only whether there is a file to advise on matters.
            let file = owned(&context, &file)?;
            Ok((match kind(&file)? {
                Ok(FileKind::Directory) => Err(FsError::BadDescriptor),
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            },))
        },
    )
}

fn count(reply: Reply) -> Option<u64> {
    match reply {
        Reply::Count(count) => Some(count as u64),
        _ => None,
    }
}

fn writer(mut context: Context<'_>, file: &File, at: Position) -> Answer<Resource<DynOutputStream>> {
    let file = owned(&context, file)?;
    if let Err(error) = has(&file, Rights::WRITE)? {
        return Ok((Err(error),));
    }
    let writer: DynOutputStream = Box::new(FileWriter::new(file, at));
    Ok((Ok(context.data_mut().table.push(writer)?),))
}

/// Whether a handle is a file with a right; a stream made without it would fail at its first use.
fn has(file: &Owned, right: Rights) -> wasmtime::Result<Result<(), FsError>> {
    Ok(match sift(file.call(Call::RightsOf { handle: file.handle }))? {
        Ok(Reply::Rights(rights)) if rights.contains(Rights::WALK) => Err(FsError::IsDirectory),
        Ok(Reply::Rights(rights)) if rights.contains(right) => Ok(()),
        Ok(_) => Err(FsError::BadDescriptor),
        Err(code) => Err(code.into()),
    })
}

fn kind(file: &Owned) -> wasmtime::Result<Result<FileKind, FsError>> {
    Ok(stat(file)?.map(|stat| stat.kind))
}

fn stat(file: &Owned) -> wasmtime::Result<Result<Stat, FsError>> {
    Ok(match sift(file.call(Call::Stat { handle: file.handle }))? {
        Ok(Reply::Stat(stat)) => Ok(stat),
        Ok(_) => Err(FsError::Io),
        Err(code) => Err(code.into()),
    })
}

fn metadata(types: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    types.func_wrap(
        "[method]descriptor.get-flags",
        |context: Context, (file,): (File,)| -> Answer<DescriptorFlags> {
            let file = owned(&context, &file)?;
            answer(file.call(Call::RightsOf { handle: file.handle }), |reply| match reply {
                Reply::Rights(rights) => Some(flags(rights)),
                _ => None,
            })
        },
    )?;
    types.func_wrap("[method]descriptor.get-type", |context: Context, (file,): (File,)| -> Answer<DescriptorType> {
        let file = owned(&context, &file)?;
        Ok((kind(&file)?.map(DescriptorType::from),))
    })?;
    types.func_wrap("[method]descriptor.stat", |context: Context, (file,): (File,)| -> Answer<DescriptorStat> {
        let file = owned(&context, &file)?;
        Ok((stat(&file)?.map(DescriptorStat::from),))
    })?;
    types.func_wrap(
        "[method]descriptor.stat-at",
        |context: Context, (folder, flags, path): (File, PathFlags, String)| -> Answer<DescriptorStat> {
            Ok((stat_at(&context, &folder, flags, &path)?.map(DescriptorStat::from),))
        },
    )?;
    types.func_wrap("[method]descriptor.metadata-hash", |context: Context, (file,): (File,)| -> Answer<HashValue> {
        let file = owned(&context, &file)?;
        Ok((stat(&file)?.map(hash),))
    })?;
    types.func_wrap(
        "[method]descriptor.metadata-hash-at",
        |context: Context, (folder, flags, path): (File, PathFlags, String)| -> Answer<HashValue> {
            Ok((stat_at(&context, &folder, flags, &path)?.map(hash),))
        },
    )?;
    types.func_wrap("[method]descriptor.is-same-object", |context: Context, (one, other): (File, File)| {
        let (one, other) = (stat(&*owned(&context, &one)?)?, stat(&*owned(&context, &other)?)?);
        Ok((matches!((one, other), (Ok(one), Ok(other)) if one.identity == other.identity),))
    })?;
    types.func_wrap(
        "[method]descriptor.set-times",
        |context: Context, (file, accessed, modified): (File, NewTimestamp, NewTimestamp)| {
            let file = owned(&context, &file)?;
            let (accessed, modified) = (moment(&context, accessed)?, moment(&context, modified)?);
            done(file.call(Call::SetTimes { handle: file.handle, accessed, modified }))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.set-times-at",
        |context: Context,
         (folder, flags, path, accessed, modified): (File, PathFlags, String, NewTimestamp, NewTimestamp)| {
            let Some(folder) = base(&context, &folder, &path)? else { return refused() };
            let (accessed, modified) = (moment(&context, accessed)?, moment(&context, modified)?);
            let follow = flags.contains(PathFlags::SYMLINK_FOLLOW);
            let path = path.as_bytes();
            done(folder.call(Call::SetTimesAt { directory: folder.handle, path, follow, accessed, modified }))
        },
    )
}

fn stat_at(
    context: &Context<'_>,
    folder: &File,
    flags: PathFlags,
    path: &str,
) -> wasmtime::Result<Result<Stat, FsError>> {
    let folder = owned(context, folder)?;
    let follow = flags.contains(PathFlags::SYMLINK_FOLLOW);
    let call = Call::StatAt { directory: folder.handle, path: path.as_bytes(), follow };
    Ok(match sift(folder.call(call))? {
        Ok(Reply::Stat(stat)) => Ok(stat),
        Ok(_) => Err(FsError::Io),
        Err(code) => Err(code.into()),
    })
}

/// WASI asks for a hash that two names of one thing share and that need not tell anything else.
fn hash(stat: Stat) -> HashValue {
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        (salt, stat.identity).hash(&mut hasher);
        hasher.finish()
    };
    HashValue { lower: half(1), upper: half(2) }
}

fn moment(context: &Context<'_>, wanted: NewTimestamp) -> wasmtime::Result<Option<Timestamp>> {
    Ok(match wanted {
        NewTimestamp::NoChange => None,
        NewTimestamp::Timestamp(datetime) => Some(datetime.timestamp()),
        NewTimestamp::Now => match context.data().call(Call::Now { clock: ringfence_abi::Clock::Wall })? {
            Ok(Reply::Time(now)) => Some(now),
            _ => None,
        },
    })
}

fn flags(rights: Rights) -> DescriptorFlags {
    let mut flags = DescriptorFlags::default();
    if rights.contains(Rights::READ) || rights.contains(Rights::WALK) {
        flags |= DescriptorFlags::READ;
    }
    if rights.contains(Rights::WRITE) {
        flags |= DescriptorFlags::WRITE;
    }
    if rights.contains(Rights::CHANGE) {
        flags |= DescriptorFlags::MUTATE_DIRECTORY;
    }
    flags
}

fn names(types: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    types.func_wrap(
        "[method]descriptor.open-at",
        |mut context: Context,
         (folder, path_flags, path, open_flags, flags): (File, PathFlags, String, OpenFlags, DescriptorFlags)|
         -> Answer<File> {
            let Some(folder) = base(&context, &folder, &path)? else { return refused() };
            if synchronous(flags) {
                return Ok((Err(FsError::Unsupported),));
            }
            let how = how(path_flags, open_flags, flags);
            match sift(folder.call(Call::Open { directory: folder.handle, path: path.as_bytes(), how }))? {
                Ok(Reply::Handle(handle)) => {
                    let descriptor = Descriptor(Owned::new(&folder.host, handle));
                    Ok((Ok(context.data_mut().table.push(descriptor)?),))
                }
                Ok(_) => Ok((Err(FsError::Io),)),
                Err(code) => Ok((Err(code.into()),)),
            }
        },
    )?;
    types.func_wrap("[method]descriptor.create-directory-at", |context: Context, (folder, path): (File, String)| {
        let Some(folder) = base(&context, &folder, &path)? else { return refused() };
        done(folder.call(Call::CreateDirectory { directory: folder.handle, path: path.as_bytes(), mode: None }))
    })?;
    types.func_wrap("[method]descriptor.remove-directory-at", |context: Context, (folder, path): (File, String)| {
        let Some(folder) = base(&context, &folder, &path)? else { return refused() };
        done(folder.call(Call::RemoveDirectory { directory: folder.handle, path: path.as_bytes() }))
    })?;
    types.func_wrap("[method]descriptor.unlink-file-at", |context: Context, (folder, path): (File, String)| {
        let Some(folder) = base(&context, &folder, &path)? else { return refused() };
        done(folder.call(Call::Unlink { directory: folder.handle, path: path.as_bytes() }))
    })?;
    types.func_wrap(
        "[method]descriptor.rename-at",
        |context: Context, (from_folder, from, to_folder, to): (File, String, File, String)| {
            let Some(source) = base(&context, &from_folder, &from)? else { return refused() };
            let Some(target) = base(&context, &to_folder, &to)? else { return refused() };
            done(source.call(Call::Rename {
                from_directory: source.handle,
                from: from.as_bytes(),
                to_directory: target.handle,
                to: to.as_bytes(),
            }))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.link-at",
        |context: Context, (from_folder, flags, from, to_folder, to): (File, PathFlags, String, File, String)| {
            let Some(source) = base(&context, &from_folder, &from)? else { return refused() };
            let Some(target) = base(&context, &to_folder, &to)? else { return refused() };
            done(source.call(Call::Link {
                from_directory: source.handle,
                from: from.as_bytes(),
                follow: flags.contains(PathFlags::SYMLINK_FOLLOW),
                to_directory: target.handle,
                to: to.as_bytes(),
            }))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.symlink-at",
        |context: Context, (folder, target, path): (File, String, String)| {
            let Some(folder) = base(&context, &folder, &path)? else { return refused() };
            let call = Call::Symlink { target: target.as_bytes(), directory: folder.handle, path: path.as_bytes() };
            done(folder.call(call))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.readlink-at",
        |context: Context, (folder, path): (File, String)| -> Answer<String> {
            let Some(folder) = base(&context, &folder, &path)? else { return refused() };
            let call = Call::ReadLink { directory: folder.handle, path: path.as_bytes() };
            let (target,) = answer(folder.call(call), |reply| match reply {
                Reply::Bytes(target) => Some(target),
                _ => None,
            })?;
            Ok((target.and_then(|target| String::from_utf8(target).map_err(|_| FsError::IllegalByteSequence)),))
        },
    )
}

/// Whether writes are to return when their content is on the disk. That is not done, so not accepted.
fn synchronous(flags: DescriptorFlags) -> bool {
    use DescriptorFlags as Flags;
    [Flags::FILE_INTEGRITY_SYNC, Flags::DATA_INTEGRITY_SYNC, Flags::REQUESTED_WRITE_SYNC]
        .into_iter()
        .any(|flag| flags.contains(flag))
}

fn how(path_flags: PathFlags, open_flags: OpenFlags, flags: DescriptorFlags) -> OpenHow {
    OpenHow {
        read: flags.contains(DescriptorFlags::READ),
        write: flags.contains(DescriptorFlags::WRITE),
        create: open_flags.contains(OpenFlags::CREATE),
        exclusive: open_flags.contains(OpenFlags::EXCLUSIVE),
        truncate: open_flags.contains(OpenFlags::TRUNCATE),
        directory: open_flags.contains(OpenFlags::DIRECTORY),
        follow: path_flags.contains(PathFlags::SYMLINK_FOLLOW),
        mode: None,
    }
}

fn listing(types: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    types.func_wrap(
        "[method]descriptor.read-directory",
        |mut context: Context, (folder,): (File,)| -> Answer<Resource<EntryStream>> {
            let folder = owned(&context, &folder)?;
            let kept = Kept::bytes(&context.data().memory, LISTING)?;
            let folder = match sift(folder.call(again(&folder)))? {
                Ok(Reply::Handle(handle)) => Owned::new(&folder.host, handle),
                Ok(_) => return Ok((Err(FsError::Io),)),
                Err(code) => return Ok((Err(code.into()),)),
            };
            let mut stream = EntryStream { folder, fetched: VecDeque::new(), after: 0, ended: false, _kept: kept };
            if let Err(error) = stream.fetch()? {
                return Ok((Err(error),));
            }
            Ok((Ok(context.data_mut().table.push(stream)?),))
        },
    )?;
    types.func_wrap(
        "[method]directory-entry-stream.read-directory-entry",
        |mut context: Context, (stream,): (Resource<EntryStream>,)| -> Answer<Option<DirectoryEntry>> {
            let stream = context.data_mut().table.get_mut(&stream)?;
            if stream.fetched.is_empty()
                && !stream.ended
                && let Err(error) = stream.fetch()?
            {
                return Ok((Err(error),));
            }
            Ok((stream.fetched.pop_front().map(DirectoryEntry::try_from).transpose(),))
        },
    )
}

/// Opens a folder once more. A stream of entries has a folder to itself, as after `opendir(3)`: its
/// place in it, what the hal reads ahead, and a count in `limits.open_files`.
fn again(folder: &Owned) -> Call<'static> {
    let how = OpenHow {
        read: true,
        write: false,
        create: false,
        exclusive: false,
        truncate: false,
        directory: true,
        follow: false,
        mode: None,
    };
    Call::Open { directory: folder.handle, path: b".", how }
}

impl EntryStream {
    fn fetch(&mut self) -> wasmtime::Result<Result<(), FsError>> {
        let call = Call::List { directory: self.folder.handle, after: self.after, most: ENTRIES };
        match sift(self.folder.call(call))? {
            Ok(Reply::Entries(entries)) => {
                self.ended = entries.is_empty();
                self.after = entries.last().map_or(self.after, |entry| entry.cookie);
                self.fetched.extend(entries);
                Ok(Ok(()))
            }
            Ok(_) => Ok(Err(FsError::Io)),
            Err(code) => Ok(Err(code.into())),
        }
    }
}
