//! The steps of a launch, so that the one that failed can be named.

macro_rules! steps {
    ($($name:ident = $text:literal;)*) => {
        /// One step of a launch.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Step {
            $(#[doc = $text] $name,)*
        }

        impl Step {
            const ALL: &'static [Step] = &[$(Step::$name,)*];

            /// What was being done.
            pub(crate) const fn doing(self) -> &'static str {
                match self { $(Step::$name => concat!("cannot ", $text),)* }
            }
        }
    };
}

steps! {
    Descriptors = "close the supervisor's descriptors";
    Identity = "become a user of the new user namespace";
    Cgroup = "enter the cgroup";
    CgroupNamespace = "make a cgroup namespace";
    Propagation = "make the mounts private";
    Root = "mount the new root";
    Folder = "make a folder to mount something on";
    File = "write a file of the new tree";
    Mount = "mount a folder or file of the host (a stale file handle is one that was replaced meanwhile)";
    Overlay = "keep changes to a folder apart";
    Memory = "mount a folder in memory";
    Processes = "mount /proc";
    Seal = "make the new tree read-only";
    Pivot = "leave the old root";
    Network = "set the network up";
    HostName = "set the host name";
    Dumpable = "hide the memory of pid 1";
    Profile = "have programs begin under the AppArmor profile ringfence-capsule";
    Landlock = "apply the Landlock rules";
    BoundingSet = "empty the capability bounding set";
    SecureBits = "set the secure bits";
    Capabilities = "give up capabilities";
    NoNewPrivileges = "set no_new_privs";
    Seccomp = "install the system call filter";
    Doors = "pass the way to the supervisor on";
    Clone = "make the program's process";
    Session = "begin a session";
    Limits = "set a resource limit";
    WorkingDirectory = "enter the working directory";
    Terminal = "set up the program's terminal";
    Streams = "connect the standard streams";
    Signals = "reset the signals";
    Order = "take an order for a further command";
    Execute = "execute the program";
}

impl Step {
    /// The number under which it is reported.
    pub(super) const fn number(self) -> u32 {
        self as u32
    }

    /// The step of that number.
    pub(super) fn from_number(number: u32) -> Option<Step> {
        Self::ALL.get(number as usize).copied()
    }
}
