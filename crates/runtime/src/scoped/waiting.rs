//! Calls that may have to wait. All of them end when a verdict falls.

use std::future::Future;

use ringfence_abi::{Call, ErrorCode, Handle, Interest, Reply, Rights, Value};
use ringfence_isolation::Answer;
use ringfence_manifest::Permission;

use super::ScopedHal;
use crate::clock;
use crate::network::{TcpSocket, UdpSocket};
use crate::streams::Stream;

impl ScopedHal {
    /// A call that may have to wait.
    pub(super) fn serve_later<'a>(&'a self, call: Call<'a>) -> Answer<'a> {
        let answer = match call {
            Call::Ready { handle, interest } => self.ready(handle, interest),
            Call::Sleep { until } => self.sleep(until),
            Call::Resolve { name } => Ok(self.later(self.network.resolve(name))),
            Call::ChannelReceive { channel } => self.channel_receive(channel),
            Call::Invoke { function, arguments } => self.invoke(function, arguments),
            _ => Err(ErrorCode::NotImplemented),
        };
        answer.unwrap_or_else(|code| Answer::Now(Err(code)))
    }

    /// The answer of `work`, or `Stopping` as soon as a verdict falls.
    fn later<'a>(&'a self, work: impl Future<Output = Result<Reply, ErrorCode>> + Send + 'a) -> Answer<'a> {
        Answer::Later(Box::pin(async move {
            tokio::select! {
                biased;
                () = self.meter.stopped() => Err(ErrorCode::Stopping),
                reply = work => reply,
            }
        }))
    }

    fn ready(&self, handle: Handle, interest: Interest) -> Result<Answer<'_>, ErrorCode> {
        let resource = self.handles.get_any(handle, Rights::empty())?;
        if let Some(stream) = resource.downcast_ref::<Stream>() {
            if stream.is_ready(interest) {
                return Ok(Answer::Now(Ok(Reply::Done)));
            }
            return Ok(self.later(async move {
                // Kept by the future: the handle may be closed while it waits.
                let stream = resource.downcast_ref::<Stream>().ok_or(ErrorCode::BadHandle)?;
                stream.ready(interest).await.map(|()| Reply::Done)
            }));
        }
        if !resource.is::<TcpSocket>() && !resource.is::<UdpSocket>() {
            return Err(ErrorCode::BadHandle);
        }
        Ok(self.later(async move {
            match (resource.downcast_ref::<TcpSocket>(), resource.downcast_ref::<UdpSocket>()) {
                (Some(socket), _) => self.network.ready(socket.descriptor(), interest).await,
                (_, Some(socket)) => self.network.ready(socket.descriptor(), interest).await,
                (None, None) => Err(ErrorCode::BadHandle),
            }
        }))
    }

    fn sleep(&self, until: i128) -> Result<Answer<'_>, ErrorCode> {
        self.check_clock()?;
        Ok(self.later(async move {
            clock::sleep(until).await;
            Ok(Reply::Done)
        }))
    }

    fn channel_receive<'a>(&'a self, channel: &'a str) -> Result<Answer<'a>, ErrorCode> {
        if !self.spec.permissions.channel_receive.iter().any(|pattern| pattern.matches(channel)) {
            return Err(self.authority.deny(Permission::ChannelReceive, channel));
        }
        let channels = &self.surroundings.channels;
        if let Some(message) = channels.try_receive(channel) {
            return Ok(Answer::Now(Ok(Reply::Bytes(message))));
        }
        Ok(self.later(async move { channels.receive(channel).await.map(Reply::Bytes) }))
    }

    fn invoke(&self, function: &str, arguments: Vec<Value>) -> Result<Answer<'_>, ErrorCode> {
        let function = self.surroundings.functions.get(function).ok_or(ErrorCode::NotFound)?;
        let results = function(arguments);
        Ok(self.later(async move { results.await.map(Reply::Values) }))
    }
}
