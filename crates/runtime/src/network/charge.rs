//! What network operations cost the instance.

use ringfence_abi::ErrorCode;

/// Who counts what the instance uses of its limits.
///
/// An operation is charged before it is done, and an attempt that would have to wait, or is denied,
/// counts as one: a program that tries in a loop uses up its limit.
pub(crate) trait Charge: Send + Sync {
    /// One more network operation.
    fn operation(&self) -> Result<(), ErrorCode>;

    /// So many more bytes over the network. Charged before they are sent, and for what is received,
    /// where nobody knows before how much there is, before the capsule is told of it.
    fn bytes(&self, count: u64) -> Result<(), ErrorCode>;

    /// So many of the bytes charged last did not fit and were not sent.
    fn give_back(&self, count: u64);
}
