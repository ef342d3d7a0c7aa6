//! The files and folders in memory, as they are captured.

use std::sync::Arc;

use super::{CaptureError, Capturing, address, unread};
use crate::scratch::{Body, Node};
use crate::snapshot::state::{self, Index};

impl Capturing<'_> {
    /// Everything in the folders in memory, each folder before what is in it.
    pub(super) fn folders_in_memory(&mut self) -> Result<Vec<(Vec<u8>, Index)>, CaptureError> {
        let world = self.world;
        world.scratch.tops().map(|(path, node)| Ok((path.to_vec(), self.node(node)?))).collect()
    }

    pub(super) fn node(&mut self, top: &Arc<Node>) -> Result<Index, CaptureError> {
        let first = match self.place(address(top), |me| &mut me.nodes) {
            Ok(known) => return Ok(known),
            Err(place) => place,
        };
        self.nodes.push(shell(top));
        let mut waiting = vec![(first, top.clone())];
        while let Some((place, node)) = waiting.pop() {
            let body = match &node.body {
                Body::File(segment) => state::Body::File(self.segment(segment)?),
                Body::Link(target) => state::Body::Link(target.clone()),
                Body::Fifo => state::Body::Fifo,
                Body::Socket => state::Body::Socket,
                Body::Folder(_) => {
                    let (names, is_removed) = node.names().map_err(unread(b"a folder in memory"))?.captured();
                    let mut named = Vec::with_capacity(names.len());
                    for (name, child) in names {
                        let index = self.place(address(&child), |me| &mut me.nodes).unwrap_or_else(|index| {
                            self.nodes.push(shell(&child));
                            waiting.push((index, child.clone()));
                            index
                        });
                        named.push((name, index));
                    }
                    state::Body::Folder(named, is_removed)
                }
            };
            self.nodes[place as usize].body = body;
        }
        Ok(first)
    }
}

/// A thing in memory without what is in it.
fn shell(node: &Node) -> state::Node {
    let known = *node.state();
    let (mode, names, times, seals) = (known.mode, known.names, known.times, known.seals);
    state::Node { number: node.number, body: state::Body::Link(Vec::new()), mode, names, times, seals }
}
