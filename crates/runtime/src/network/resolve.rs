//! The addresses of a name: granted ones only, pinned for the life of the instance.

use std::net::IpAddr;

use ringfence_abi::{ErrorCode, Reply};
use ringfence_isolation::Denial;
use ringfence_manifest::{Block, ConnectRule, Permission, Ports};

use super::address::{in_words, is_never_learned};
use super::error::code_of;
use super::name::{self, Host};
use super::pins::Pins;
use super::{Network, locked};

impl Network {
    /// Answers `Call::Resolve`.
    ///
    /// An address, written out, stands for itself if some rule could let the capsule connect to it. A
    /// name must be granted. What it resolves to is held against the rules again, and what is left is
    /// pinned: a second question has the same answer, whatever the name stands for by then.
    pub(crate) async fn resolve(&self, name: &str) -> Result<Reply, ErrorCode> {
        self.charge.operation()?;
        match name::parse(name)? {
            Host::Address(ip) if self.could_connect(ip) || locked(&self.pins).names(ip).next().is_some() => {
                Ok(Reply::Addresses(vec![ip]))
            }
            Host::Address(ip) => Err(self.deny_address(ip)),
            Host::Name(name) => self.resolve_name(name).await.map(Reply::Addresses),
        }
    }

    async fn resolve_name(&self, name: String) -> Result<Vec<IpAddr>, ErrorCode> {
        if !self.permissions.learn && !self.permissions.network.may_resolve(&name) {
            return Err(self.deny_name(&name));
        }
        self.learn(Permission::NetResolve, || name.clone());
        {
            let pins = locked(&self.pins);
            if let Some(addresses) = pins.addresses(&name) {
                return Ok(addresses.to_vec());
            }
            if pins.is_full() {
                return Err(ErrorCode::NoBufferSpace);
            }
        }
        let answer = self.resolver.resolve(name.clone()).await.map_err(|error| code_of(&error))?;
        let mut addresses: Vec<IpAddr> = Vec::new();
        for ip in answer.into_iter().map(|ip| ip.to_canonical()) {
            if addresses.len() < Pins::MOST_ADDRESSES && !addresses.contains(&ip) {
                addresses.push(ip);
            }
        }
        if addresses.is_empty() {
            return Err(ErrorCode::NotFound);
        }
        addresses.retain(|&ip| self.may_stand_for(&name, ip) || self.deny_meaning(&name, ip));
        if addresses.is_empty() {
            return Err(ErrorCode::Denied);
        }
        locked(&self.pins).pin(&name, addresses).map(<[IpAddr]>::to_vec).ok_or(ErrorCode::NoBufferSpace)
    }

    /// Whether the capsule may be told that `name` stands for `ip`: a public address, or one a rule lets
    /// it connect to under this name. Whether it may connect is asked again when it does.
    fn may_stand_for(&self, name: &str, ip: IpAddr) -> bool {
        let network = &self.permissions.network;
        // A rule that covers the address on any port covers it on its own first one.
        Block::of(ip).is_none()
            || network.connect.iter().any(|rule| network.name_covers_address(name, ip, rule.ports.first))
            || (self.permissions.learn && !is_never_learned(ip))
    }

    /// Whether some address rule grants connecting to `ip` on some port.
    fn could_connect(&self, ip: IpAddr) -> bool {
        let network = &self.permissions.network;
        let granted = network.connect.iter().any(|rule| network.allows_address(ip, rule.ports.first));
        granted || (self.permissions.learn && !is_never_learned(ip))
    }

    fn deny_name(&self, name: &str) -> ErrorCode {
        self.deny(Denial {
            permission: Some(Permission::NetResolve),
            resource: name.to_string(),
            rule: "neither in net.connect nor in net.resolve".to_string(),
            written: self.written(Permission::NetResolve).or_else(|| self.written(Permission::NetConnect)),
            grant: Some(self.permissions.grant_line(Permission::NetResolve, name)),
        })
    }

    fn deny_address(&self, ip: IpAddr) -> ErrorCode {
        self.deny(Denial {
            permission: Some(Permission::NetConnect),
            resource: ip.to_string(),
            rule: "not in net.connect".to_string(),
            written: self.written(Permission::NetConnect),
            grant: self.grant_of(ip, Ports::ALL),
        })
    }

    /// Reports that `name` stands for an address no rule covers; always `false`.
    fn deny_meaning(&self, name: &str, ip: IpAddr) -> bool {
        let network = &self.permissions.network;
        let of_name = |rule: &&ConnectRule| network.allows_name(name, rule.ports.first).is_some();
        let ports = network.connect.iter().find(of_name).map_or(Ports::ALL, |rule| rule.ports);
        let what = Block::of(ip).map_or("an address no rule covers", in_words);
        self.deny(Denial {
            permission: Some(Permission::NetConnect),
            resource: name.to_string(),
            rule: format!("{name} resolves to {ip}, {what}"),
            written: self.written(Permission::NetConnect),
            grant: self.grant_of(ip, ports),
        });
        false
    }

    /// The line that would grant the address itself.
    fn grant_of(&self, ip: IpAddr, ports: Ports) -> Option<String> {
        let target = match ip {
            IpAddr::V4(ip) => format!("{ip}:{ports}"),
            IpAddr::V6(ip) => format!("[{ip}]:{ports}"),
        };
        Some(self.permissions.grant_line(Permission::NetConnect, &target))
    }
}
