//! Calls on the names in folders.

use ringfence_abi::{Call, ErrorCode, Reply, Rights};

use super::ScopedHal;
use crate::vfs::Folder;

/// What changing a folder needs.
const CHANGE: Rights = Rights::WALK.union(Rights::CHANGE);

impl ScopedHal {
    /// A call on the names in a folder; any other call comes back.
    pub(super) fn serve_folder<'a>(&self, call: Call<'a>) -> Result<Result<Reply, ErrorCode>, Call<'a>> {
        Ok(match call {
            Call::StatAt { directory, path, follow } => {
                self.in_folder(directory, Rights::WALK, |folder| folder.stat_at(path, follow).map(Reply::Stat))
            }
            Call::List { directory, after, most } => self.in_folder(directory, Rights::LIST, |folder| {
                folder.check_list()?;
                folder.list(after, most).map(Reply::Entries)
            }),
            Call::SetTimesAt { directory, path, follow, accessed, modified } => {
                self.in_folder(directory, Rights::WALK | Rights::TOUCH, |folder| {
                    folder.set_times_at(path, follow, accessed, modified).map(|()| Reply::Done)
                })
            }
            Call::SetModeAt { directory, path, follow, mode } => {
                self.in_folder(directory, Rights::WALK | Rights::TOUCH, |folder| {
                    folder.set_mode_at(path, follow, mode).map(|()| Reply::Done)
                })
            }
            Call::CreateDirectory { directory, path, mode } => {
                self.in_folder(directory, CHANGE, |folder| folder.create_directory(path, mode).map(|()| Reply::Done))
            }
            Call::RemoveDirectory { directory, path } => {
                self.in_folder(directory, CHANGE, |folder| folder.remove_directory(path).map(|()| Reply::Done))
            }
            Call::Unlink { directory, path } => {
                self.in_folder(directory, CHANGE, |folder| folder.unlink(path).map(|()| Reply::Done))
            }
            Call::Symlink { target, directory, path } => {
                self.in_folder(directory, CHANGE, |folder| folder.symlink(target, path).map(|()| Reply::Done))
            }
            Call::ReadLink { directory, path } => {
                self.in_folder(directory, Rights::WALK, |folder| folder.read_link(path).map(Reply::Bytes))
            }
            Call::Rename { from_directory, from, to_directory, to } => {
                self.in_folder(from_directory, CHANGE, |source| {
                    let target = self.handles.get::<Folder>(to_directory, CHANGE)?;
                    if !source.shares_tree(&target) {
                        return Err(ErrorCode::CrossDevice);
                    }
                    source.rename(from, &target, to).map(|()| Reply::Done)
                })
            }
            Call::Link { from_directory, from, follow, to_directory, to } => {
                self.in_folder(from_directory, Rights::WALK, |source| {
                    let target = self.handles.get::<Folder>(to_directory, CHANGE)?;
                    if !source.shares_tree(&target) {
                        return Err(ErrorCode::CrossDevice);
                    }
                    source.link(from, follow, &target, to).map(|()| Reply::Done)
                })
            }
            other => return Err(other),
        })
    }

    fn in_folder(
        &self,
        directory: ringfence_abi::Handle,
        rights: Rights,
        work: impl FnOnce(&Folder) -> Result<Reply, ErrorCode>,
    ) -> Result<Reply, ErrorCode> {
        let folder = self.handles.get::<Folder>(directory, rights)?;
        self.meter.operation()?;
        work(&folder)
    }
}
