//! What the lifecycle asks of an instance's hal.

use ringfence_isolation::{BoxFuture, Denial, Host, Usage, Verdict};

/// The hal of one instance, as the task that owns the instance sees it.
pub trait Hal: Host {
    /// The program starts now: wall time counts from here.
    fn begin(&self);
    /// Ends the instance for this reason unless a verdict has fallen before: calls that wait are
    /// given up, and further ones are answered `Stopping`.
    fn end(&self, reason: Verdict);
    /// Resolves when a verdict other than `Continue` falls.
    fn ended(&self) -> BoxFuture<'_, ()>;
    /// What was used so far.
    fn usage(&self) -> Usage;
    /// Each distinct denial with how often it happened, and how many more were only counted.
    fn denials(&self) -> (Vec<(Denial, u64)>, u64);
    /// What the program printed, for each stream that is kept: standard output, standard error.
    fn captured(&self) -> [Option<Vec<u8>>; 2];
    /// Closes every handle. Nothing of the instance is open afterwards.
    fn close(&self);
}
