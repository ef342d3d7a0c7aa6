//! What an embedder puts around an instance.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringfence_abi::{ErrorCode, Value};
use ringfence_isolation::BoxFuture;

use crate::channels::Channels;
use crate::denials::DenialSink;
use crate::network::{Resolver, SystemResolver};

/// A function the embedder offers to capsules.
pub type Function = Arc<dyn Fn(Vec<Value>) -> BoxFuture<'static, Result<Vec<Value>, ErrorCode>> + Send + Sync>;

/// Called with the level and the text of each line a capsule logs.
pub type LogSink = Arc<dyn Fn(u8, &str) + Send + Sync>;

/// What an embedder puts around an instance. Everything may be shared between instances.
#[derive(Clone)]
pub struct Surroundings {
    /// Who looks up names.
    pub resolver: Arc<dyn Resolver>,
    /// The functions the capsule may call.
    pub functions: Functions,
    /// The channels it shares with others.
    pub channels: Arc<Channels>,
    /// Who hears of each new denial.
    pub denied: Option<DenialSink>,
    /// Who hears of each line that is logged.
    pub log: Option<LogSink>,
    /// Whether it begins with the root of its tree, beside its mounts.
    pub root_folder: bool,
}

impl Default for Surroundings {
    /// The host's resolver, and nothing else.
    fn default() -> Self {
        Self {
            resolver: Arc::new(SystemResolver::default()),
            functions: Functions::default(),
            channels: Arc::default(),
            denied: None,
            log: None,
            root_folder: true,
        }
    }
}

/// The functions an embedder offers, by their names: `interface#function`.
///
/// Offering a function grants it: what it does is done with the embedder's rights, and its arguments
/// come from the capsule.
#[derive(Clone, Default)]
pub struct Functions(BTreeMap<String, Function>);

impl Functions {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Offers a function; replaces one of the same name.
    pub fn offer<F>(&mut self, name: impl Into<String>, function: F) -> &mut Self
    where
        F: Fn(Vec<Value>) -> BoxFuture<'static, Result<Vec<Value>, ErrorCode>> + Send + Sync + 'static,
    {
        self.0.insert(name.into(), Arc::new(function));
        self
    }

    /// The function of that name.
    pub fn get(&self, name: &str) -> Option<&Function> {
        self.0.get(name)
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
