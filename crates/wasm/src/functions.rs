//! The functions an embedder offers, as imports of a component.

use ringfence_abi::{Call, Reply};
use wasmtime::component::{Linker, Val};

use crate::state::{State, sift};
use crate::trap::HostFault;
use crate::values;

/// Adds each function, named `interface#function`, to the linker. They are served through
/// [`Host::call`](ringfence_isolation::Host::call), so one linker serves every instance.
pub(crate) fn add(linker: &mut Linker<State>, functions: &[String]) -> wasmtime::Result<()> {
    for whole in functions {
        let (interface, name) = match whole.rsplit_once('#') {
            Some((interface, name)) => (Some(interface), name),
            None => (None, whole.as_str()),
        };
        let mut root = linker.root();
        let mut place = match interface {
            Some(interface) => root.instance(interface)?,
            None => root,
        };
        let function = whole.clone();
        place.func_new_async(name, move |context, signature, arguments, results| {
            let function = function.clone();
            let host = context.data().host.clone();
            Box::new(async move {
                let arguments: Vec<_> = arguments
                    .iter()
                    .map(|argument| values::lift(argument.clone()))
                    .collect::<Result<_, _>>()
                    .map_err(|reason| fault(&function, &reason))?;
                let answer = host.call(Call::Invoke { function: &function, arguments }).wait().await;
                let returned = match sift(answer)? {
                    Ok(Reply::Values(returned)) => returned,
                    Ok(_) => return Err(fault(&function, "the host answered with something else than values")),
                    Err(code) => return Err(fault(&function, &code.to_string())),
                };
                put(returned, signature.results(), results).map_err(|reason| fault(&function, &reason))
            })
        })?;
    }
    Ok(())
}

fn put(
    returned: Vec<ringfence_abi::Value>,
    wanted: impl ExactSizeIterator<Item = wasmtime::component::Type>,
    results: &mut [Val],
) -> Result<(), String> {
    if returned.len() != results.len() {
        return Err(format!("{} results instead of {}", returned.len(), results.len()));
    }
    for ((value, wanted), slot) in returned.into_iter().zip(wanted).zip(results) {
        *slot = values::lower(value, &wanted)?;
    }
    Ok(())
}

fn fault(function: &str, reason: &str) -> wasmtime::Error {
    HostFault(format!("the host's function {function} failed: {reason}")).into()
}
