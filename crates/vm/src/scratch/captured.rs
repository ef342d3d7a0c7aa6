//! What is in the folders in memory, for who captures it, and making them of that.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rustix::io::Errno;

use super::{Body, Node, Scratch};
use crate::memory::{Segment, Source};

impl Scratch {
    /// The folders at the top, by their paths.
    pub(crate) fn tops(&self) -> impl Iterator<Item = (&'static [u8], &Arc<Node>)> {
        self.folders.iter().map(|(path, node)| (*path, node))
    }

    /// Empty pages of a file in memory, which are counted like those of the others.
    pub(crate) fn pages(&self, size: u64) -> Arc<Segment> {
        Segment::of(self.machine.clone(), Source::Counted(self.room.clone()), Some(size))
    }

    /// A thing that nothing names yet, with the number it had. Names come by [`name`](Self::name).
    pub(crate) fn revive(&self, number: u64, body: Body) -> Result<Arc<Node>, Errno> {
        self.next.fetch_max(number.saturating_add(1), Relaxed);
        Node::counted(number, body, 0, 0, &self.room)
    }

    /// Gives a thing a name in a folder; each name after its first is charged.
    pub(crate) fn name(&self, folder: &Node, name: &[u8], node: &Arc<Node>, is_first: bool) -> Result<(), Errno> {
        if !is_first {
            node.add_name(&self.room)?;
        }
        folder.names()?.insert(name, node.clone());
        Ok(())
    }
}
