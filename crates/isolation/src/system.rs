//! The parts of the host that every Linux program sees, whichever level runs it.
//!
//! Programs, libraries and what C libraries read of `/etc`, none of which is anybody's own; and the files of
//! `/etc` that are made for each program, because the host's would tell of its users and its network.

/// Folders of programs and libraries. On a host where one is a symbolic link, it is one for the program too.
pub const FOLDERS: [&str; 8] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store"];

/// The folders of `/etc` that those programs read and cannot begin without on one distribution or another: which alternative
/// a command is, certificates, fonts, what Debian has of Java; never those that hold private keys, or passwords of a
/// service.
pub const FOLDERS_OF_ETC: [&str; 16] = [
    "/etc/alternatives",
    "/etc/ssl/certs",
    "/etc/ca-certificates",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/pki/java",
    "/etc/fonts",
    "/etc/groff",
    "/etc/ImageMagick-6",
    "/etc/ImageMagick-7",
    "/etc/java-8-openjdk",
    "/etc/java-11-openjdk",
    "/etc/java-17-openjdk",
    "/etc/java-21-openjdk",
    "/etc/java-25-openjdk",
    "/etc/nim",
];

/// The files: where libraries are, which distribution they are of, the time zone, protocols and services, what libraries
/// of cryptography, locales, Maven, Mono and R begin with. No names of users, no passwords, no configuration of the host.
pub const FILES_OF_ETC: [&str; 16] = [
    "/etc/ld.so.cache",
    "/etc/os-release",
    "/etc/debian_version",
    "/etc/lsb-release",
    "/etc/redhat-release",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/locale.alias",
    "/etc/maven/m2.conf",
    "/etc/mime.types",
    "/etc/mono/config",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/openssl.cnf",
    "/etc/R/Renviron",
    "/etc/R/ldpaths",
];

/// `hosts(5)` of a program, which knows itself alone: the name of its machine, too, where that can be one.
pub fn hosts(name: &str) -> String {
    let is_one = name != "localhost" && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    let own = if is_one && !name.is_empty() { format!("127.0.1.1 {name}\n") } else { String::new() };
    format!("127.0.0.1 localhost\n::1 localhost\n{own}")
}

/// `nsswitch.conf(5)` of a program: names of hosts are asked for as DNS does it.
pub const NAME_SERVICES: &str = "passwd: files\ngroup: files\nhosts: files dns\n";

/// The users and groups that every system has (Linux Standard Base 5.0, "Required Users & Groups"), and nobody.
const OTHERS: [(&str, u32); 3] = [("daemon", 1), ("bin", 2), ("nobody", 65534)];

/// `passwd(5)` with the one user there is, and those whose names programs expect.
pub fn users(user: u32, group: u32) -> String {
    let name = name(user);
    let others = OTHERS.map(|(name, number)| format!("{name}:x:{number}:{number}:{name}:/:/usr/sbin/nologin\n"));
    format!("{name}:x:{user}:{group}:{name}:/:/bin/sh\n{}", others.concat())
}

/// `group(5)` with the one group there is, and those whose names programs expect.
pub fn groups(group: u32) -> String {
    let others = OTHERS.map(|(name, number)| (if name == "nobody" { "nogroup" } else { name }, number));
    let others = others.map(|(name, number)| format!("{name}:x:{number}:\n"));
    format!("{}:x:{group}:\n{}", name(group), others.concat())
}

/// What a user and a group of this number are called.
fn name(number: u32) -> &'static str {
    if number == 0 { "root" } else { "capsule" }
}
