//! The files and folders in memory, made of captured ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ReviveError::{self, Invalid};
use super::{Reviving, at, shown};
use crate::scratch::{Body, Node};
use crate::snapshot::state::{self, Index};

impl Reviving<'_> {
    pub(super) fn folders_in_memory(&mut self) -> Result<(), ReviveError> {
        let (world, state) = (self.world, self.state);
        let tops: Vec<(&[u8], Arc<Node>)> = world.scratch.tops().map(|(path, node)| (path, node.clone())).collect();
        let captured: BTreeMap<Index, &[u8]> = state.tops.iter().map(|(path, top)| (*top, &path[..])).collect();
        for (index, node) in (0..).zip(&state.nodes) {
            let top = captured.get(&index);
            let here = top.and_then(|path| tops.iter().find(|(top, _)| top == path));
            let is_folder = matches!(node.body, state::Body::Folder(..));
            if (top.is_some() && !is_folder) || node.number >= i64::MAX as u64 {
                return Err(Invalid("files in memory"));
            }
            let made = match (&node.body, here) {
                (_, Some((_, there))) => there.clone(),
                (state::Body::File(segment), None) => {
                    let source = at(&state.segments, *segment, "files in memory")?.source;
                    let segment = at(&self.segments, *segment, "files in memory")?.clone();
                    let segment = segment.filter(|_| source == state::Source::Memory);
                    self.thing(node, Body::File(segment.ok_or(Invalid("files in memory"))?))?
                }
                (state::Body::Link(target), None) if target.len() < 4096 => {
                    self.thing(node, Body::Link(target.clone()))?
                }
                (state::Body::Fifo, None) => self.thing(node, Body::Fifo)?,
                (state::Body::Socket, None) => self.thing(node, Body::Socket)?,
                (state::Body::Folder(names, _), None) => match top {
                    Some(path) if !names.is_empty() => return Err(ReviveError::Mounted(shown(path))),
                    _ => self.thing(node, Body::folder())?,
                },
                _ => return Err(Invalid("files in memory")),
            };
            self.nodes.push(made);
        }
        self.names()
    }

    fn thing(&self, node: &state::Node, body: Body) -> Result<Arc<Node>, ReviveError> {
        let made = self.world.scratch.revive(node.number, body).map_err(|_| ReviveError::Disk)?;
        let mut known = made.state();
        (known.mode, known.times, known.seals) = (node.mode & 0o7777, node.times, node.seals);
        drop(known);
        Ok(made)
    }

    fn names(&self) -> Result<(), ReviveError> {
        let mut named = BTreeSet::new();
        for (index, node) in self.state.nodes.iter().enumerate() {
            let state::Body::Folder(names, is_removed) = &node.body else { continue };
            for (name, child) in names {
                let captured = at(&self.state.nodes, *child, "names")?;
                let is_folder = matches!(captured.body, state::Body::Folder(..));
                let is_first = named.insert(*child);
                // Folders are in one place, and never in themselves.
                let wrong = is_folder && (*child as usize <= index || !is_first);
                let is_name = (1..=255).contains(&name.len()) && !name.iter().any(|byte| matches!(byte, 0 | b'/'));
                if wrong || !is_name || name == b"." || name == b".." || *is_removed {
                    return Err(Invalid("names"));
                }
                let (folder, child) = (&self.nodes[index], &self.nodes[*child as usize]);
                self.world.scratch.name(folder, name, child, is_first).map_err(|_| ReviveError::Disk)?;
            }
            if *is_removed && let Ok(mut names) = self.nodes[index].names() {
                names.set_detached();
            }
        }
        named.extend(self.state.tops.iter().map(|&(_, top)| top));
        for (index, node) in self.nodes.iter().enumerate() {
            // Open, and without a name; those at the top have theirs.
            if !named.contains(&(index as Index)) {
                node.state().names = self.state.nodes[index].names.min(1);
            }
        }
        Ok(())
    }
}
