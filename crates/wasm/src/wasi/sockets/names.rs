//! `wasi:sockets/ip-name-lookup`.

use std::net::IpAddr;
use std::task::{Poll, Waker};

use ringfence_abi::{Call, ErrorCode, Reply};
use ringfence_isolation::BoxFuture;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::poll::Pollable;

use super::address::Address;
use super::{Answer, NetError, Network, name};
use crate::memory::Kept;
use crate::state::{Context, State, sift};

/// What one question keeps beside its name: the future, and the addresses of the answer.
const LOOKUP: u64 = 8 << 10;

/// `resolve-address-stream`.
struct Lookup {
    progress: Progress,
    _kept: Kept,
}

/// A question under way, or the rest of its answer.
enum Progress {
    Asked(BoxFuture<'static, Result<Reply, ErrorCode>>),
    Answered(Result<std::vec::IntoIter<IpAddr>, ErrorCode>),
}

impl Progress {
    fn settle(&mut self, answer: Result<Reply, ErrorCode>) {
        *self = Progress::Answered(match answer {
            Ok(Reply::Addresses(addresses)) => Ok(addresses.into_iter()),
            Ok(_) => Err(ErrorCode::Io),
            Err(code) => Err(code),
        });
    }

    /// Looks whether the answer has come, without waiting.
    fn look(&mut self) {
        if let Progress::Asked(question) = self {
            let mut context = std::task::Context::from_waker(Waker::noop());
            if let Poll::Ready(answer) = question.as_mut().poll(&mut context) {
                self.settle(answer);
            }
        }
    }
}

#[async_trait]
impl Pollable for Lookup {
    async fn ready(&mut self) {
        if let Progress::Asked(question) = &mut self.progress {
            let answer = question.await;
            self.progress.settle(answer);
        }
    }
}

pub(super) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut lookup = linker.instance(&name("sockets/ip-name-lookup"))?;
    lookup.resource("resolve-address-stream", ResourceType::host::<Lookup>(), |mut context, rep| {
        context.data_mut().table.delete(Resource::<Lookup>::new_own(rep))?;
        Ok(())
    })?;
    lookup.func_wrap(
        "resolve-addresses",
        |mut context: Context, (_, name): (Resource<Network>, String)| -> Answer<Resource<Lookup>> {
            let host = context.data().host.clone();
            let kept = Kept::bytes(&context.data().memory, LOOKUP + name.len() as u64)?;
            let question = Box::pin(async move { host.call(Call::Resolve { name: &name }).wait().await });
            let mut progress = Progress::Asked(question);
            progress.look();
            Ok((match progress {
                Progress::Answered(Err(code)) => {
                    Err(sift(Err::<(), _>(code))?.map_or_else(NetError::from, |()| NetError::Unknown))
                }
                progress => Ok(context.data_mut().table.push(Lookup { progress, _kept: kept })?),
            },))
        },
    )?;
    lookup.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |mut context: Context, (lookup,): (Resource<Lookup>,)| -> Answer<Option<Address>> {
            let progress = &mut context.data_mut().table.get_mut(&lookup)?.progress;
            progress.look();
            Ok((match progress {
                Progress::Asked(_) => Err(NetError::WouldBlock),
                Progress::Answered(Ok(addresses)) => Ok(addresses.next().map(Address::from)),
                Progress::Answered(Err(code)) => sift(Err(*code))?.map_err(NetError::from),
            },))
        },
    )?;
    lookup.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut context: Context, (lookup,): (Resource<Lookup>,)| {
            Ok((context.data_mut().table.subscribe(Resource::<Lookup>::new_borrow(lookup.rep()))?,))
        },
    )
}
