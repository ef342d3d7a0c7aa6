//! Whether the capsule may reach an address or take one, and what it is told if not.

use std::net::{Ipv4Addr, SocketAddr};

use ringfence_abi::ErrorCode;
use ringfence_isolation::Denial;
use ringfence_manifest::{Block, ConnectRule, HostRule, Permission, Source};

use super::address::{canonical, in_words, is_never_learned, is_what_the_system_would_choose};
use super::{Network, locked};

/// Why the host refuses to bind.
pub(super) const UNPRIVILEGED: &str = "this user may not take the port (ip_unprivileged_port_start)";
/// Why the host refuses to send.
pub(super) const NO_BROADCAST: &str = "it is a broadcast address, or a firewall of the host stands before it";

/// By what right a socket has its local address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// By `net.listen`: anyone may send to it.
    Listen,
    /// As any socket that connects or sends has one: only those it may reach may answer.
    Implicit,
}

impl Network {
    /// Checks that the capsule may connect or send to `address`, `net.connect`.
    pub(super) fn check_connect(&self, address: SocketAddr) -> Result<(), ErrorCode> {
        let address = canonical(address);
        if !self.reaches(address) {
            return Err(self.deny_connect(address));
        }
        self.learn(Permission::NetConnect, || match self.name_of(address) {
            Some(name) => format!("{name}:{}", address.port()),
            None => address.to_string(),
        });
        Ok(())
    }

    /// Whether the capsule may connect or send to `address`; reports nothing.
    ///
    /// An address is granted by itself, or by a name this instance resolved to it.
    pub(super) fn reaches(&self, address: SocketAddr) -> bool {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        let network = &self.permissions.network;
        network.allows_address(ip, port)
            || (self.permissions.learn && !is_never_learned(ip))
            || locked(&self.pins).names(ip).any(|name| network.name_covers_address(name, ip, port))
    }

    /// Checks that the capsule may take a local address, `net.listen`. What the system would choose
    /// anyway needs no more than the right to connect to someone.
    pub(super) fn check_bind(&self, address: SocketAddr) -> Result<Claim, ErrorCode> {
        if self.permissions.network.allows_listen(canonical(address)) {
            self.learn(Permission::NetListen, || address.to_string());
            return Ok(Claim::Listen);
        }
        if is_what_the_system_would_choose(address)
            && (self.permissions.learn || !self.permissions.network.connect.is_empty())
        {
            return Ok(Claim::Implicit);
        }
        self.check_listen(address)?;
        Ok(Claim::Listen)
    }

    /// Checks that the capsule may accept connections at `address`, as it asked to be bound: with port
    /// 0 where the system was to choose.
    pub(super) fn check_listen(&self, address: SocketAddr) -> Result<(), ErrorCode> {
        let address = canonical(address);
        if !self.permissions.learn && !self.permissions.network.allows_listen(address) {
            return Err(self.deny(Denial {
                permission: Some(Permission::NetListen),
                resource: address.to_string(),
                rule: "not in net.listen".to_string(),
                written: self.written(Permission::NetListen),
                grant: Some(self.permissions.grant_line(Permission::NetListen, &address.to_string())),
            }));
        }
        self.learn(Permission::NetListen, || address.to_string());
        Ok(())
    }

    /// Whether who may listen at the unspecified address of IPv6 may be called by IPv4, too; reports nothing.
    pub(super) fn may_hear_ipv4(&self, port: u16) -> bool {
        self.permissions.learn || self.permissions.network.allows_listen((Ipv4Addr::UNSPECIFIED, port).into())
    }

    /// Notes that one does.
    pub(super) fn hears_ipv4(&self, port: u16) {
        self.learn(Permission::NetListen, || SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).to_string());
    }

    /// Reports that the host itself refused (`EACCES`), which no permission changes.
    pub(super) fn deny_by_host(&self, address: SocketAddr, why: &str) -> ErrorCode {
        self.deny(Denial {
            permission: None,
            resource: canonical(address).to_string(),
            rule: format!("the host refuses it: {why}"),
            written: None,
            grant: None,
        })
    }

    /// Reports a denial.
    pub(super) fn deny(&self, denial: Denial) -> ErrorCode {
        self.denials.record(denial);
        ErrorCode::Denied
    }

    /// Where a permission was written.
    pub(super) fn written(&self, permission: Permission) -> Option<Source> {
        self.permissions.sources.get(&permission).cloned()
    }

    /// Notes that a permission was used, when someone wants to know.
    pub(super) fn learn(&self, permission: Permission, resource: impl FnOnce() -> String) {
        if let Some(learned) = self.learned.as_ref().filter(|_| self.permissions.learn) {
            learned(permission, resource());
        }
    }

    fn deny_connect(&self, address: SocketAddr) -> ErrorCode {
        let port = address.port();
        let name = self.name_of(address);
        let resource = match &name {
            Some(name) => format!("{address} ({name})"),
            None => address.to_string(),
        };
        let block = Block::of(address.ip());
        let rules = &self.permissions.network.connect;
        let is_wildcard = |rule: &ConnectRule| rule.host == HostRule::Any;
        let wildcard = rules.iter().any(|rule| is_wildcard(rule) && rule.ports.contains(port));
        let rule = match block {
            _ if self.permissions.learn => "learning grants no link-local address and no metadata service".to_string(),
            Some(block) if wildcard => format!("not in net.connect, where * does not cover {}", in_words(block)),
            _ => "not in net.connect".to_string(),
        };
        // A special address is granted by itself only, never by a name.
        let wanted = match (block, name) {
            (None, Some(name)) => format!("{name}:{port}"),
            _ => address.to_string(),
        };
        self.deny(Denial {
            permission: Some(Permission::NetConnect),
            resource,
            rule,
            written: self.written(Permission::NetConnect),
            grant: Some(self.permissions.grant_line(Permission::NetConnect, &wanted)),
        })
    }

    /// The name the capsule most likely has in mind when it uses an address: the one it resolved last.
    fn name_of(&self, address: SocketAddr) -> Option<String> {
        locked(&self.pins).names(address.ip()).next_back().map(str::to_string)
    }
}
