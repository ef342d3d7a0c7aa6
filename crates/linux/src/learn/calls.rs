//! The system calls that name files, and what they do with them.

use libc::c_long;

/// A file that a call names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operand {
    /// The argument with the folder's descriptor; none is the working directory.
    pub(super) folder: Option<usize>,
    /// The argument with the path's address; none when it is the descriptor itself.
    pub(super) path: Option<usize>,
    pub(super) what: What,
}

/// What is done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Look,
    Execute,
    /// By the flags in this argument.
    Open(usize),
    /// By the flags this argument leads to (`open_how`).
    OpenHow(usize),
    Create,
    Delete,
    /// Something else takes its name.
    Replace,
    Write,
    /// It is made, or cut to nothing.
    Truncate,
    /// Its mode, owner, times or attributes are changed.
    Metadata,
}

/// A path as it is, in this argument.
const fn of(path: usize, what: What) -> Operand {
    Operand { folder: None, path: Some(path), what }
}

/// A path seen from a descriptor, in this argument and the next.
const fn at(folder: usize, what: What) -> Operand {
    Operand { folder: Some(folder), path: Some(folder + 1), what }
}

/// A descriptor itself, the first argument.
const DESCRIPTOR: Operand = Operand { folder: Some(0), path: None, what: What::Metadata };

macro_rules! calls {
    ($($(#[$attribute:meta])* $name:ident = [$($operand:expr),+];)*) => {
        const CALLS: &[(c_long, &[Operand])] = &[$($(#[$attribute])* (libc::$name, &[$($operand),+]),)*];
    };
}

calls! {
    SYS_openat = [at(0, What::Open(2))];
    SYS_openat2 = [at(0, What::OpenHow(2))];
    SYS_newfstatat = [at(0, What::Look)];
    SYS_statx = [at(0, What::Look)];
    SYS_faccessat = [at(0, What::Look)];
    SYS_faccessat2 = [at(0, What::Look)];
    SYS_readlinkat = [at(0, What::Look)];
    SYS_statfs = [of(0, What::Look)];
    SYS_getxattr = [of(0, What::Look)];
    SYS_lgetxattr = [of(0, What::Look)];
    SYS_execve = [of(0, What::Execute)];
    SYS_execveat = [at(0, What::Execute)];
    SYS_mkdirat = [at(0, What::Create)];
    SYS_mknodat = [at(0, What::Create)];
    SYS_symlinkat = [at(1, What::Create)];
    SYS_linkat = [at(0, What::Look), at(2, What::Create)];
    SYS_unlinkat = [at(0, What::Delete)];
    SYS_renameat2 = [at(0, What::Delete), at(2, What::Replace)];
    SYS_truncate = [of(0, What::Write)];
    SYS_fchmod = [DESCRIPTOR];
    SYS_fchown = [DESCRIPTOR];
    SYS_fsetxattr = [DESCRIPTOR];
    SYS_fremovexattr = [DESCRIPTOR];
    SYS_fchmodat = [at(0, What::Metadata)];
    SYS_fchmodat2 = [at(0, What::Metadata)];
    SYS_fchownat = [at(0, What::Metadata)];
    SYS_utimensat = [at(0, What::Metadata)];
    SYS_setxattr = [of(0, What::Metadata)];
    SYS_lsetxattr = [of(0, What::Metadata)];
    SYS_removexattr = [of(0, What::Metadata)];
    SYS_lremovexattr = [of(0, What::Metadata)];
    #[cfg(target_arch = "x86_64")] SYS_open = [of(0, What::Open(1))];
    #[cfg(target_arch = "x86_64")] SYS_creat = [of(0, What::Truncate)];
    #[cfg(target_arch = "x86_64")] SYS_stat = [of(0, What::Look)];
    #[cfg(target_arch = "x86_64")] SYS_lstat = [of(0, What::Look)];
    #[cfg(target_arch = "x86_64")] SYS_access = [of(0, What::Look)];
    #[cfg(target_arch = "x86_64")] SYS_readlink = [of(0, What::Look)];
    #[cfg(target_arch = "x86_64")] SYS_mkdir = [of(0, What::Create)];
    #[cfg(target_arch = "x86_64")] SYS_mknod = [of(0, What::Create)];
    #[cfg(target_arch = "x86_64")] SYS_symlink = [of(1, What::Create)];
    #[cfg(target_arch = "x86_64")] SYS_link = [of(0, What::Look), of(1, What::Create)];
    #[cfg(target_arch = "x86_64")] SYS_unlink = [of(0, What::Delete)];
    #[cfg(target_arch = "x86_64")] SYS_rmdir = [of(0, What::Delete)];
    #[cfg(target_arch = "x86_64")] SYS_rename = [of(0, What::Delete), of(1, What::Replace)];
    #[cfg(target_arch = "x86_64")] SYS_renameat = [at(0, What::Delete), at(2, What::Replace)];
    #[cfg(target_arch = "x86_64")] SYS_chmod = [of(0, What::Metadata)];
    #[cfg(target_arch = "x86_64")] SYS_chown = [of(0, What::Metadata)];
    #[cfg(target_arch = "x86_64")] SYS_lchown = [of(0, What::Metadata)];
    #[cfg(target_arch = "x86_64")] SYS_utime = [of(0, What::Metadata)];
    #[cfg(target_arch = "x86_64")] SYS_utimes = [of(0, What::Metadata)];
    #[cfg(target_arch = "x86_64")] SYS_futimesat = [at(0, What::Metadata)];
}

/// What a system call names; `None` for those that name no file.
pub(super) fn operands(number: i32) -> Option<&'static [Operand]> {
    CALLS.iter().find(|(known, _)| *known == c_long::from(number)).map(|(_, operands)| *operands)
}

/// The numbers of these calls.
pub(crate) fn numbers() -> impl Iterator<Item = c_long> {
    CALLS.iter().map(|(number, _)| *number)
}
