//! A captured state, ready to be built.

use std::fmt::{Debug, Write};
use std::sync::Arc;

use ringfence_isolation::{BuildError, Enforcement, Host, Instance, Prepared};
use ringfence_manifest::Spec;
use rustix::io::Errno;

use super::state::{FileIs, Origin};
use super::{Image, Used};
use crate::kvm::{Kvm, StubKind};
use crate::personality;
use crate::prepared::{Ready, no_machine};
use crate::tree::System;

/// How much of what is different is shown.
const SHOWN: usize = 120;

/// A captured state, and what is needed to build from it.
pub(crate) struct Frozen {
    ready: Ready,
    image: Arc<Image>,
    used: Arc<Used>,
}

impl Frozen {
    /// Refuses what is of another program, of other circumstances that the program has seen, or of a machine
    /// that can do what this one cannot.
    pub(crate) fn new(ready: Ready, image: Image) -> Result<Self, BuildError> {
        let known = Some(&image.state.origin.program);
        let here = origin(&ready.spec, &ready.system, &ready.kvm, ready.kind, known)
            .map_err(|errno| BuildError::Unreadable { path: ready.spec.program.path.clone(), source: errno.into() })?;
        check(&image.state.origin, &here).map_err(BuildError::Snapshot)?;
        Ok(Frozen::of(ready, image))
    }

    /// Of what was captured here.
    pub(crate) fn of(ready: Ready, image: Image) -> Self {
        let image = Arc::new(image);
        let used = Arc::new(Used::new(image.clone()));
        Frozen { ready, image, used }
    }
}

/// What would be captured of this spec on this machine. The program is read only when it is not the file that
/// is `known`.
pub(crate) fn origin(
    spec: &Spec,
    system: &System,
    kvm: &Kvm,
    kind: StubKind,
    known: Option<&FileIs>,
) -> Result<Origin, Errno> {
    let file = system.program_file()?;
    let (features, layout) = kvm.fingerprint();
    Ok(Origin {
        name: spec.capsule.name.clone(),
        program: personality::file_is(&file, known)?,
        path: system.program().to_vec(),
        arguments: spec.program.args.clone(),
        environment: spec.environment.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        working_directory: spec.program.working_directory.clone(),
        user: rustix::process::getuid().as_raw(),
        user_stub: kind == StubKind::User,
        features,
        layout,
    })
}

/// As much of it as fits into a line, however long it is: what was captured is what a file says.
fn shortened(value: &dyn Debug) -> String {
    struct Line(String);
    impl Write for Line {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            let room = SHOWN.saturating_sub(self.0.len());
            let end = text.floor_char_boundary(room);
            self.0.push_str(&text[..end]);
            if end < text.len() { Err(std::fmt::Error) } else { Ok(()) }
        }
    }
    let mut line = Line(String::new());
    // An error says that there is more.
    if write!(line, "{value:?}").is_err() {
        line.0.push_str(" …");
    }
    line.0
}

/// Why what was captured cannot go on here.
pub(crate) fn check(captured: &Origin, here: &Origin) -> Result<(), String> {
    let different = |what: &str, then: &dyn Debug, now: &dyn Debug| {
        let (then, now) = (shortened(then), shortened(now));
        format!("it was captured with other {what}, which the program has seen already: {then} then, {now} now")
    };
    if captured.program.hash != here.program.hash || captured.path != here.path {
        return Err("it is of another program, or the program has changed since: capture it again".into());
    }
    if captured.arguments != here.arguments {
        return Err(different("arguments", &captured.arguments, &here.arguments));
    }
    if captured.environment != here.environment {
        // Values may be secrets.
        let names = |of: &Origin| of.environment.iter().map(|(name, _)| name.clone()).take(SHOWN).collect::<Vec<_>>();
        return Err(different("environment variables or values", &names(captured), &names(here)));
    }
    if captured.working_directory != here.working_directory {
        return Err(different("working directory", &captured.working_directory, &here.working_directory));
    }
    if captured.user != here.user {
        return Err(format!("it was captured by user {}, and this is user {}", captured.user, here.user));
    }
    if captured.user_stub != here.user_stub {
        return Err("it was captured on a machine that virtualizes in another way: capture it again here".into());
    }
    let has = |(captured, here): (&u32, &u32)| captured & !here == 0;
    let fits = captured.features.len() == here.features.len() && captured.features.iter().zip(&here.features).all(has);
    if !fits || captured.layout != here.layout {
        return Err("it was captured on a processor that can do what this one cannot: capture it again here".into());
    }
    Ok(())
}

impl Prepared for Frozen {
    fn promised(&self) -> &Enforcement {
        self.ready.promised()
    }

    fn build(&self, host: Arc<dyn Host>) -> Result<Box<dyn Instance>, BuildError> {
        let revive = |world: &Arc<_>| {
            personality::revive(world, &self.image).map_err(|error| BuildError::Snapshot(error.to_string()))
        };
        let is_kept = self.used.is_wanted() && self.ready.kvm.uses_again();
        let machine = match self.used.take() {
            Some(machine) => machine,
            None => {
                let machine = self.ready.pool.machine().map_err(no_machine)?;
                if is_kept {
                    machine.record();
                }
                machine
            }
        };
        self.ready.build_in(machine, host, is_kept.then(|| self.used.clone()), revive)
    }

    /// Machines without a program, and as many that had an instance before and are as at the capture again.
    fn keep_warm(&self, count: usize) -> Result<(), BuildError> {
        self.used.keep(count);
        self.ready.keep_warm(count)
    }

    fn save(&self, into: &mut dyn std::io::Write) -> std::io::Result<()> {
        self.image.save(into)
    }
}
