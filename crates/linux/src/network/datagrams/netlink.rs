//! Requests to the kernel about interfaces, addresses and routes: `rtnetlink(7)`.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

const HEADER: usize = 16;
/// `NLMSG_ERROR`, which answers every request here, with 0 for done.
const ANSWER: u16 = 2;
const REQUEST: u16 = 1 | 4; // NLM_F_REQUEST | NLM_F_ACK
const NEW: u16 = REQUEST | 0x200 | 0x400; // NLM_F_EXCL | NLM_F_CREATE
/// Marks an attribute that holds others.
const NESTED: u16 = 0x8000;

// `linux/if_addr.h` and `linux/rtnetlink.h`.
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_NODAD: u32 = 0x02;
const IFA_F_PERMANENT: u32 = 0x80;
const RTA_OIF: u16 = 4;
// `linux/fib_rules.h`.
const FRA_PRIORITY: u16 = 6;
const FRA_IP_PROTO: u16 = 21;
const FR_ACT_TO_TBL: u8 = 1;
const RTNH_F_ONLINK: u32 = 4;

/// Requests in one buffer, which the kernel serves in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::network) struct Requests {
    bytes: Vec<u8>,
    count: u32,
}

/// An attribute, padded to the next one's place.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = 4 + value.len();
    let mut bytes = Vec::with_capacity(length.next_multiple_of(4));
    bytes.extend((length as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(length.next_multiple_of(4), 0);
    bytes
}

/// An attribute of attributes.
pub(super) fn nested(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NESTED, &attributes.concat())
}

/// `struct ifinfomsg` for the interface of this number.
pub(super) fn interface(index: i32, flags: u32) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend(index.to_ne_bytes());
    // Only flags that are to be set, so they are the mask too.
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes
}

impl Requests {
    /// `RTM_NEWLINK`: makes an interface.
    pub(super) fn make(self, index: i32, attributes: &[Vec<u8>]) -> Self {
        self.add(libc::RTM_NEWLINK, NEW, &interface(index, 0), attributes)
    }

    /// `RTM_NEWLINK`: changes one.
    pub(super) fn change(self, index: i32, flags: u32, attributes: &[Vec<u8>]) -> Self {
        self.add(libc::RTM_NEWLINK, REQUEST, &interface(index, flags), attributes)
    }

    /// `RTM_NEWADDR`: gives an interface an address, and nothing of a network around it.
    pub(super) fn give(self, index: i32, address: IpAddr) -> Self {
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let flags = IFA_F_PERMANENT | IFA_F_NODAD;
        let attributes = [of_address(address), attribute(IFA_FLAGS, &flags.to_ne_bytes())];
        self.add(libc::RTM_NEWADDR, NEW, &of_interface(address, whole, index), &attributes)
    }

    /// `RTM_DELADDR`: takes one from it.
    pub(super) fn take(self, index: i32, address: IpAddr, prefix: u8) -> Self {
        self.add(libc::RTM_DELADDR, REQUEST, &of_interface(address, prefix, index), &[of_address(address)])
    }

    /// `RTM_NEWROUTE`: sends what has no other way to `gateway`, by this interface.
    pub(super) fn route_everything(self, index: i32, gateway: IpAddr) -> Self {
        let mut head = vec![family(gateway), 0, 0, 0, libc::RT_TABLE_MAIN, libc::RTPROT_STATIC];
        head.extend([libc::RT_SCOPE_UNIVERSE, libc::RTN_UNICAST]);
        head.extend(RTNH_F_ONLINK.to_ne_bytes());
        let gateway = attribute(libc::RTA_GATEWAY, &octets(gateway));
        self.add(libc::RTM_NEWROUTE, NEW, &head, &[gateway, attribute(RTA_OIF, &index.to_ne_bytes())])
    }

    /// `RTM_NEWROUTE` and `RTM_NEWRULE`: of this family (`AF_INET`, `AF_INET6`), every packet of TCP arrives where it
    /// left, whatever its address: `ip-rule(8)`.
    pub(in crate::network) fn keep_streams_within(self, family: i32, loopback: i32) -> Self {
        const TABLE: u8 = 100;
        const AFTER_LOCAL: u32 = 1;
        let mut route = vec![family as u8, 0, 0, 0, TABLE, libc::RTPROT_STATIC];
        route.extend([libc::RT_SCOPE_HOST, libc::RTN_LOCAL]);
        route.extend(0_u32.to_ne_bytes());
        let mut rule = vec![family as u8, 0, 0, 0, TABLE, 0, 0, FR_ACT_TO_TBL];
        rule.extend(0_u32.to_ne_bytes());
        let streams = attribute(FRA_IP_PROTO, &[libc::IPPROTO_TCP as u8]);
        let priority = attribute(FRA_PRIORITY, &AFTER_LOCAL.to_ne_bytes());
        self.add(libc::RTM_NEWROUTE, NEW, &route, &[attribute(RTA_OIF, &loopback.to_ne_bytes())]).add(
            libc::RTM_NEWRULE,
            NEW,
            &rule,
            &[streams, priority],
        )
    }

    fn add(mut self, kind: u16, flags: u16, head: &[u8], attributes: &[Vec<u8>]) -> Self {
        let body = [head, &attributes.concat()].concat();
        self.bytes.extend(((HEADER + body.len()) as u32).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(self.count.to_ne_bytes());
        self.bytes.extend(0_u32.to_ne_bytes());
        self.bytes.extend(body);
        self.count += 1;
        self
    }

    /// Has the kernel serve them; the first error. Runs after a clone: it allocates nothing.
    pub(in crate::network) fn serve(&self, line: &OwnedFd) -> Result<(), Errno> {
        send(line, &self.bytes, SendFlags::empty())?;
        let mut failed = Ok(());
        for _ in 0..self.count {
            // They were served before `send` came back. What does not fit repeats the request.
            let mut answer = [0; HEADER + 4];
            recv(line, &mut answer, RecvFlags::DONTWAIT)?;
            let kind = u16::from_ne_bytes([answer[4], answer[5]]);
            let error = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
            failed = failed.and(match (kind, error) {
                (ANSWER, 0) => Ok(()),
                (ANSWER, error) => Err(Errno::from_raw_os_error(error.wrapping_neg())),
                _ => Err(Errno::PROTO),
            });
        }
        failed
    }
}

/// Where requests are sent. Runs after a clone: it allocates nothing.
pub(in crate::network) fn line() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// `struct ifaddrmsg`.
fn of_interface(address: IpAddr, prefix: u8, index: i32) -> Vec<u8> {
    let mut head = vec![family(address), prefix, 0, 0];
    head.extend(index.to_ne_bytes());
    head
}

/// `IFA_LOCAL` and `IFA_ADDRESS`, which are the same but on a line between two points.
fn of_address(address: IpAddr) -> Vec<u8> {
    let octets = octets(address);
    [attribute(IFA_LOCAL, &octets), attribute(IFA_ADDRESS, &octets)].concat()
}
