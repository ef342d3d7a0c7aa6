//! Connections whose bytes are counted, because bandwidth is limited.
//!
//! ```text
//! the program's socket ── 127.53.53.53 in its network ── ours ─▶ pair ─▶ the host's socket
//!                                                               ▲
//!                                                  bucket: so many bytes now
//! ```
//!
//! Without the limit, the host's socket takes the place of the program's own and this is not used. With
//! it, the program's own socket is connected to one of ours in the same network, and a thread passes
//! the bytes on, as fast as the bucket allows.
//!
//! Where connections may come in, the program's own socket listens in its network and one of the host's in ours
//! ([`inward`]).
//!
//! What differs for the program: `getpeername` shows 127.53.53.53, a connection is made or refused before
//! `connect` returns, also on a socket that does not wait, and urgent data comes in line.

mod bucket;
mod counted;
mod inward;
mod pair;
mod relay;

pub(super) use bucket::Bucket;
pub(super) use counted::{Counted, DOORS};
pub(super) use inward::{Inward, bind_anywhere};
use relay::Relay;
