//! Granting, and the line of the manifest that would grant what was denied.

use std::str::FromStr;

use super::{ListenRule, Permission, Permissions, RuleError};
use crate::text::{list, string};

impl Permissions {
    /// The line of the manifest that would grant `permission` on `resource`, with what is granted
    /// already: `fs.read = ["/data", "/etc/passwd"]`. The resource is a path in the capsule's tree, a
    /// `host:port`, or a name; for a permission that is on or off it does not matter.
    pub fn grant_line(&self, permission: Permission, resource: &str) -> String {
        if permission.is_switch() {
            return format!("{permission} = true");
        }
        let mut rules = self.texts(permission);
        if !rules.iter().any(|rule| rule == resource) {
            rules.push(resource.to_owned());
        }
        format!("{permission} = {}", list(rules.iter().map(|rule| string(rule))))
    }

    /// Grants `permission` on `resource`, as a line of the manifest would; what is granted already is
    /// not granted twice. A permission that is on or off is switched on.
    ///
    /// # Errors
    /// When the resource is not a rule of that permission.
    pub fn grant(&mut self, permission: Permission, resource: &str) -> Result<(), RuleError> {
        match permission {
            Permission::FsRead => add(&mut self.files.read, resource),
            Permission::FsWrite => add(&mut self.files.write, resource),
            Permission::FsCreate => add(&mut self.files.create, resource),
            Permission::FsDelete => add(&mut self.files.delete, resource),
            Permission::FsList => add(&mut self.files.list, resource),
            Permission::NetConnect => add(&mut self.network.connect, resource),
            Permission::NetListen => {
                extend(&mut self.network.listen, ListenRule::parse(resource)?);
                Ok(())
            }
            Permission::NetResolve => add(&mut self.network.resolve, resource),
            Permission::Env => add(&mut self.environment, resource),
            Permission::ChannelSend => add(&mut self.channel_send, resource),
            Permission::ChannelReceive => add(&mut self.channel_receive, resource),
            Permission::Args | Permission::Clock | Permission::Random | Permission::Log => {
                self.switch(permission, true);
                Ok(())
            }
        }
    }

    /// Switches a permission that is on or off; does nothing to any other.
    pub(crate) fn switch(&mut self, permission: Permission, on: bool) {
        match permission {
            Permission::Args => self.args = on,
            Permission::Clock => self.clock = on,
            Permission::Random => self.random = on,
            Permission::Log => self.log = on,
            _ => {}
        }
    }

    /// The rules of a permission as the manifest writes them; none for one that is on or off.
    pub fn texts(&self, permission: Permission) -> Vec<String> {
        fn all<T: ToString>(rules: &[T]) -> Vec<String> {
            rules.iter().map(T::to_string).collect()
        }
        match permission {
            Permission::FsRead
            | Permission::FsWrite
            | Permission::FsCreate
            | Permission::FsDelete
            | Permission::FsList => all(self.files.rules(permission)),
            Permission::NetConnect => all(&self.network.connect),
            Permission::NetListen => ListenRule::texts(&self.network.listen),
            Permission::NetResolve => all(&self.network.resolve),
            Permission::Env => all(&self.environment),
            Permission::ChannelSend => all(&self.channel_send),
            Permission::ChannelReceive => all(&self.channel_receive),
            Permission::Args | Permission::Clock | Permission::Random | Permission::Log => Vec::new(),
        }
    }

    /// Whether a permission that is on or off is on; `false` for every other.
    pub fn is_on(&self, permission: Permission) -> bool {
        match permission {
            Permission::Args => self.args,
            Permission::Clock => self.clock,
            Permission::Random => self.random,
            Permission::Log => self.log,
            _ => false,
        }
    }
}

/// Adds the rule that `text` stands for.
fn add<R: FromStr<Err = RuleError> + PartialEq>(rules: &mut Vec<R>, text: &str) -> Result<(), RuleError> {
    extend(rules, [text.parse()?]);
    Ok(())
}

/// Adds rules that are not there yet.
fn extend<R: PartialEq>(rules: &mut Vec<R>, new: impl IntoIterator<Item = R>) {
    for rule in new {
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PathRule;

    #[test]
    fn the_line_keeps_what_is_granted_already() {
        let mut permissions = Permissions::default();
        assert_eq!(permissions.grant_line(Permission::FsRead, "/etc/passwd"), r#"fs.read = ["/etc/passwd"]"#);
        permissions.files.read.push(PathRule("/data".into()));
        assert_eq!(permissions.grant_line(Permission::FsRead, "/etc/passwd"), r#"fs.read = ["/data", "/etc/passwd"]"#);
        assert_eq!(permissions.grant_line(Permission::FsRead, "/data"), r#"fs.read = ["/data"]"#);
    }

    #[test]
    fn what_was_used_can_be_granted() {
        let mut permissions = Permissions::default();
        for _ in 0..2 {
            permissions.grant(Permission::FsRead, "/data/x").unwrap();
            permissions.grant(Permission::NetConnect, "[::1]:80").unwrap();
            permissions.grant(Permission::NetListen, "*:80").unwrap();
            permissions.grant(Permission::Log, "").unwrap();
        }
        assert_eq!(permissions.texts(Permission::FsRead), ["/data/x"]);
        assert_eq!(permissions.texts(Permission::NetConnect), ["[::1]:80"]);
        assert_eq!(permissions.texts(Permission::NetListen), ["*:80"]);
        assert!(permissions.log);
        assert!(permissions.grant(Permission::FsRead, "x").is_err());
    }

    #[test]
    fn a_switch_is_switched_on() {
        assert_eq!(Permissions::default().grant_line(Permission::Log, "stderr"), "log = true");
    }

    #[test]
    fn a_hostile_path_cannot_leave_its_string() {
        let line = Permissions::default().grant_line(Permission::FsRead, "/a\"]\nlog = true\u{1b}[2J");
        assert_eq!(line, r#"fs.read = ["/a\"]\nlog = true\u001b[2J"]"#);
    }
}
