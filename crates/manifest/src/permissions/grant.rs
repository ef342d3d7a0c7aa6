//! The line of the manifest that would grant what was denied.

use super::{ListenRule, Permission, Permissions};
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
    fn a_switch_is_switched_on() {
        assert_eq!(Permissions::default().grant_line(Permission::Log, "stderr"), "log = true");
    }

    #[test]
    fn a_hostile_path_cannot_leave_its_string() {
        let line = Permissions::default().grant_line(Permission::FsRead, "/a\"]\nlog = true\u{1b}[2J");
        assert_eq!(line, r#"fs.read = ["/a\"]\nlog = true\u001b[2J"]"#);
    }
}
