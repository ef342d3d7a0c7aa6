//! Answers what a capsule's programs ask of the network.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use ringfence_abi::{Call, ErrorCode, Handle, Reply};
use ringfence_isolation::Host;
use ringfence_manifest::{HostRule, NetworkPermissions, Spec};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use tokio::runtime;
use tokio::task::JoinSet;

use super::Doors;
use super::address::Target;
use super::ask::{Answer, Ask};
use super::bound::Bound;
use super::datagrams::{Ports, Relay};
use super::signal::Signal;
use super::slots::Slots;
use super::streams::{Bucket, Counted};
use super::within::Within;
use crate::cgroup::Cgroup;
use crate::learn::Notes;
use crate::seccomp::Network as NetworkCalls;
use crate::sys::{self, Notification};

/// How many calls are worked on at once: each holds up to three descriptors of the supervisor.
const MOST_CALLS: usize = 64;
/// Nor do all of them together hold more than an eighth of those there are.
const SHARE: u64 = 8 * 3;
const LEAST_CALLS: usize = 8;
/// How many names are looked up at once.
const MOST_NAMES: usize = 32;
/// How many more are taken and wait here. The end of a process is asked for at the same door as a connection,
/// and must not wait for one.
const MOST_WAITING: usize = 1024;
/// How often it is looked whether who asked is still there.
const GONE: Duration = Duration::from_millis(200);

/// How long work that was called off may take to be gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// Answers the questions of one instance. Each is a task of its own: a connection that takes time
/// makes nobody else wait.
pub(crate) struct Broker {
    desk: Arc<Desk>,
    executor: runtime::Handle,
    tasks: JoinSet<()>,
    calls: Slots,
    lookups: Slots,
    /// Taken, and not worked on.
    waiting: VecDeque<Notification>,
    /// When it was last looked for those among them who are gone.
    swept: Instant,
    relay: Option<Relay>,
    working: Sender<()>,
    done: Receiver<()>,
    /// Who takes down which files are used, when that is to be learned.
    notes: Option<Notes>,
}

/// What every task works with.
pub(super) struct Desk {
    pub(super) doors: Doors,
    pub(super) host: Arc<dyn Host>,
    /// Sockets that are bound and not yet listening or connected.
    bound: Bound,
    localhost: Localhost,
    /// Where connections begin whose bytes are counted.
    pub(super) counted: Option<Counted>,
    /// How the relay of datagrams is called, if they have a way out.
    pub(super) relay: Option<Arc<Signal>>,
    /// The ports they are heard at.
    pub(super) ports: Ports,
    /// Where its Unix sockets may be, if it may have any.
    pub(super) within: Option<Within>,
    /// How many names were answered.
    pub(super) answers: AtomicU64,
}

/// Whether the name `localhost` is granted, which programs look up in `/etc/hosts` by themselves.
struct Localhost {
    is_granted: bool,
    looked_up: tokio::sync::OnceCell<()>,
}

/// A socket of the scoped hal; closed there when it is dropped.
pub(super) struct Opened {
    host: Arc<dyn Host>,
    pub(super) handle: Handle,
}

impl Broker {
    pub(crate) fn new(
        mut doors: Doors,
        host: Arc<dyn Host>,
        executor: runtime::Handle,
        spec: &Spec,
        cgroup: &Arc<Cgroup>,
        within: Option<Within>,
    ) -> io::Result<Self> {
        // Saves time where the kernel can do it, and changes nothing else.
        let _ = sys::notify_synchronously(doors.listener.as_fd());
        let localhost = Localhost::new(&spec.permissions.network);
        let (working, done) = channel();
        let wire = doors.wire.take();
        let signal = wire.as_ref().map(|_| Signal::new().map(Arc::new)).transpose()?;
        let bucket = spec.limits.bandwidth.map(|rate| Arc::new(Bucket::new(rate, Instant::now())));
        let counted = bucket.clone().map(|bucket| Counted::new(std::mem::take(&mut doors.streams), bucket));
        let counted = counted.transpose()?.flatten();
        let desk = Arc::new(Desk {
            doors,
            host,
            bound: Bound::of(cgroup),
            localhost,
            counted,
            relay: signal.clone(),
            ports: Ports::default(),
            within,
            answers: AtomicU64::new(0),
        });
        let wire = wire.zip(signal);
        let relay = wire.map(|(wire, signal)| Relay::start(wire, desk.clone(), signal, bucket)).transpose()?;
        let (calls, lookups) = (Slots::new(most_calls())?, Slots::new(MOST_NAMES)?);
        let (tasks, waiting, swept) = (JoinSet::new(), VecDeque::new(), Instant::now());
        let mut broker =
            Broker { desk, executor, tasks, calls, lookups, waiting, swept, relay, working, done, notes: None };
        broker.learn_localhost();
        Ok(broker)
    }

    /// Learns before anybody asks what `localhost` is: the relay has nobody to wait for the answer with.
    fn learn_localhost(&mut self) {
        if let Some(wake) = self.relay.as_ref().map(Relay::waker) {
            let desk = self.desk.clone();
            if desk.localhost.is_granted {
                self.spawn(async move {
                    desk.look_localhost_up().await;
                    wake();
                });
            }
        }
    }

    /// Takes down which files are used: every call that names one is let go on.
    pub(crate) fn learning(self, notes: Notes) -> Self {
        Broker { notes: Some(notes), ..self }
    }

    /// What becomes readable when somebody asks.
    pub(crate) fn listener(&self) -> &OwnedFd {
        &self.desk.doors.listener
    }

    /// Whether anybody's question can be taken now; they wait in the kernel otherwise.
    pub(crate) fn takes_calls(&mut self) -> bool {
        if self.waiting.len() >= MOST_WAITING && self.swept.elapsed() >= GONE {
            // A program can end its processes while they ask, and ask with others.
            let listener = self.desk.doors.listener.as_fd();
            self.waiting.retain(|waiting| sys::notify_is_valid(listener, waiting.id));
            self.swept = Instant::now();
        }
        self.waiting.len() < MOST_WAITING
    }

    /// Whether a question for a name can be taken now. Those beyond stay in the socket, which drops what it has
    /// no room for, as any name server may: programs ask again.
    pub(crate) fn takes_names(&self) -> bool {
        self.lookups.is_free()
    }

    /// What becomes readable when [`resume`](Self::resume) has something to do, or more can be taken.
    pub(crate) fn freed(&self) -> [&OwnedFd; 2] {
        [self.calls.freed(), self.lookups.freed()]
    }

    /// Goes on with those who wait.
    pub(crate) fn resume(&mut self) {
        self.calls.hear();
        self.lookups.hear();
        while self.calls.is_free() {
            let Some(next) = self.waiting.pop_front() else { break };
            self.work(next);
        }
    }

    /// What becomes readable when somebody asks for a name.
    pub(crate) fn names(&self) -> Option<&OwnedFd> {
        self.desk.doors.names.as_ref()
    }

    /// Takes one question and sees to it that it is answered; one that is not about the network is for the
    /// caller to [let go on](Self::let_go_on).
    pub(crate) fn serve_call(&mut self) -> Option<Notification> {
        // Who asked may be gone already.
        let notification = sys::notify_receive(self.desk.doors.listener.as_fd()).ok()?;
        if !NetworkCalls::CALLS.contains(&libc::c_long::from(notification.number)) {
            if let Some(notes) = &self.notes {
                notes.take(&notification);
            }
            return Some(notification);
        }
        if self.waiting.is_empty() && self.calls.is_free() {
            self.work(notification);
        } else {
            self.waiting.push_back(notification);
        }
        None
    }

    fn work(&mut self, notification: Notification) {
        let Some(slot) = self.calls.take() else { return self.waiting.push_back(notification) };
        let desk = self.desk.clone();
        self.spawn(async move {
            let _slot = slot;
            let ask = Ask::new(notification);
            // What is opened for somebody who is gone must not outlive them.
            tokio::select! {
                answer = desk.serve(&ask) => desk.answer(&ask, answer),
                () = desk.gone(&ask) => {}
            }
        });
    }

    /// Lets a call be made that was asked for.
    pub(crate) fn let_go_on(&self, call: Notification) {
        // Who was killed meanwhile has ended.
        let _ = sys::notify_continue(self.desk.doors.listener.as_fd(), call.id);
    }

    /// Takes one question for a name and sees to it that it is answered.
    pub(crate) fn serve_name(&mut self) {
        let Some(slot) = self.lookups.take() else { return };
        if let Some((question, from)) = self.names().and_then(super::names::receive) {
            let desk = self.desk.clone();
            self.spawn(async move {
                let _slot = slot;
                desk.answer_name(&question, from).await;
            });
        }
    }

    fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        let working = self.working.clone();
        let work = async move {
            let _working = working;
            work.await;
        };
        self.tasks.spawn_on(work, &self.executor);
    }

    /// Calls everything off and waits until it is gone.
    pub(crate) fn close(mut self) {
        drop(self.relay);
        self.tasks.abort_all();
        drop(self.tasks);
        drop(self.working);
        // Nothing is ever sent: this ends when the last task has gone.
        let _ = self.done.recv_timeout(PATIENCE);
    }
}

fn most_calls() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(descriptors / SHARE).unwrap_or(MOST_CALLS).clamp(LEAST_CALLS, MOST_CALLS)
}

impl Desk {
    async fn serve(&self, ask: &Ask) -> Answer {
        let served = match ask.number() {
            libc::SYS_connect => self.connect(ask).await,
            libc::SYS_bind => self.bind(ask).await,
            libc::SYS_listen => self.listen(ask).await,
            _ => Err(Errno::NOSYS),
        };
        served.unwrap_or_else(|errno| Answer::plain(Err(errno)))
    }

    /// Returns when nobody waits for the answer any more.
    async fn gone(&self, ask: &Ask) {
        while self.check(ask).is_ok() {
            tokio::time::sleep(GONE).await;
        }
    }

    /// Hands the answer over. When who asked is gone, so is what was made for it.
    fn answer(&self, ask: &Ask, answer: Answer) {
        let listener = self.doors.listener.as_fd();
        let (result, socket) = match answer {
            Answer::Returns { result, socket } => (result, socket),
            // Who was killed meanwhile has ended.
            Answer::GoesOn => {
                let _ = sys::notify_continue(listener, ask.id());
                return;
            }
        };
        let mut result = result.map(|()| 0);
        if let Some(socket) = &socket {
            let given = ask.closes_on_exec().and_then(|closes| {
                sys::notify_add_descriptor(listener, ask.id(), socket.as_fd(), ask.descriptor(), closes)
            });
            if let Err(errno) = given {
                result = Err(errno);
            }
        }
        let result = result.map_err(|errno| match errno {
            // It is the supervisor who has too many open, not the program.
            Errno::MFILE => Errno::NFILE,
            errno => errno,
        });
        let _ = sys::notify_respond(listener, ask.id(), result);
    }

    /// Whether what was read of who asks is really theirs: their number may belong to another by now.
    pub(super) fn check(&self, ask: &Ask) -> Result<(), Errno> {
        if sys::notify_is_valid(self.doors.listener.as_fd(), ask.id()) { Ok(()) } else { Err(Errno::SRCH) }
    }

    /// A new socket of the scoped hal.
    pub(super) fn open(&self, call: Call<'_>) -> Result<Opened, ErrorCode> {
        match self.host.call(call).now()? {
            Reply::Handle(handle) => Ok(Opened { host: self.host.clone(), handle }),
            _ => Err(ErrorCode::Io),
        }
    }

    /// A call that does not wait.
    pub(super) fn call(&self, call: Call<'_>) -> Result<(), ErrorCode> {
        self.host.call(call).now().map(drop)
    }

    /// The socket behind a handle.
    pub(super) fn export(&self, opened: &Opened) -> Result<OwnedFd, Errno> {
        self.host.descriptor(opened.handle).map_err(errno)
    }

    pub(super) fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Before an address of the host itself is judged: what `localhost` stands for, if that is granted.
    pub(super) async fn know(&self, target: &Target) {
        let is_loopback = matches!(target, Target::Internet(address) if address.ip().to_canonical().is_loopback());
        if is_loopback && self.localhost.is_granted {
            self.look_localhost_up().await;
        }
    }

    pub(super) async fn look_localhost_up(&self) {
        let look_up = async || drop(self.host.call(Call::Resolve { name: "localhost" }).wait().await);
        self.localhost.looked_up.get_or_init(look_up).await;
    }

    /// Whether a verdict on the address can be given: that on a loopback address may depend on what
    /// `localhost` is.
    pub(super) fn knows(&self, address: SocketAddr) -> bool {
        let Localhost { is_granted, looked_up } = &self.localhost;
        !is_granted || looked_up.initialized() || !address.ip().to_canonical().is_loopback()
    }
}

impl Desk {
    /// One that asks `host` and is asked by nobody.
    #[cfg(test)]
    pub(super) fn idle(host: Arc<dyn Host>, localhost_is_granted: bool, relay: Option<Arc<Signal>>) -> Self {
        let localhost = Localhost { is_granted: localhost_is_granted, looked_up: tokio::sync::OnceCell::new() };
        let (listener, _) = crate::launch::pair().expect("a pipe");
        let doors = Doors::new(listener, None);
        let (bound, ports, answers) = (Bound::default(), Ports::default(), AtomicU64::new(0));
        Desk { doors, host, bound, localhost, counted: None, relay, ports, within: None, answers }
    }
}

impl Localhost {
    fn new(network: &NetworkPermissions) -> Self {
        let by_name = |rule: &HostRule| matches!(rule, HostRule::Name(_)) && rule.covers_name("localhost");
        let is_granted = network.connect.iter().any(|rule| by_name(&rule.host));
        Localhost { is_granted, looked_up: tokio::sync::OnceCell::new() }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // When it is closed already, so is everything.
        let _ = self.host.call(Call::Close { handle: self.handle }).now();
    }
}

/// The error that a program is told.
pub(super) fn errno(code: ErrorCode) -> Errno {
    Errno::from_raw_os_error(code.errno())
}
