//! The memory of a program: areas, and the pages that are there.
//!
//! An area says what may be done at some addresses and where content comes from; a page is made when
//! it is first touched, together with some around it. The host's own maps are the truth; page tables
//! are written from them and never read.

mod advice;
mod area;
mod attached;
mod copy;
mod heap;
mod moving;
mod pages;
mod parts;
mod residence;
mod segment;
mod sites;
mod space;

pub(crate) use advice::Advice;
pub(crate) use area::{Backing, Content, LOCKS, Marks, Protection, Reach};
pub(crate) use pages::Touch;
pub(crate) use parts::Region;
pub(crate) use segment::{Origin, Quota, Segment, Source};
pub(crate) use sites::{ANSWER_AT, CALL_AT, CLOSED, LEAVE, REFUSED, Within, concerns_sites};
pub(crate) use space::{Ledger, Placement, Space};
