//! `ringfence check`

use clap::Args;
use ringfence::{Held, Runtime};

use crate::exit_code::ExitCode;
use crate::output::{print, print_json};
use crate::style::Style;
use crate::table::{Cell, Table};
use crate::target::Target;
use crate::{Outcome, failure};

/// What to check.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Validates, and prints what would hold each guarantee.
pub(crate) fn check(arguments: Arguments) -> Outcome {
    let runtime = Runtime::builder().current_thread().build()?;
    let resolved = match arguments.target.load().and_then(|load| runtime.resolve(&load)) {
        Ok(resolved) => resolved,
        Err(error) => return Ok(failure::load(&error)),
    };
    let spec = &resolved.spec;
    let examined = runtime.examine(spec);
    let code = examined.refused.as_ref().map_or(ExitCode::Done, failure::of_build);
    let refused = examined.refused.as_ref().map(ToString::to_string);
    if arguments.json {
        let verdict = if refused.is_none() { "runs" } else { "refused" };
        print_json(&serde_json::json!({
            "verdict": verdict, "why": refused, "enforcement": examined.promised, "spec": spec,
        }))?;
        return Ok(code);
    }
    let mut table = Table::new(2);
    for (guarantee, held) in examined.promised.iter().flat_map(|promised| promised.iter()) {
        let required = spec.isolation.require.contains(&guarantee);
        let need = if required { "required" } else { "" };
        let cell = match held {
            Held::By { .. } => Cell::good(held.to_string()),
            _ if required => Cell::bad(held.to_string()),
            _ => Cell::faint(held.to_string()),
        };
        table.row([Cell::from(guarantee.name()), Cell::from(need), cell]);
    }
    let style = Style::of_stdout();
    let mut text = format!("{} at level {}\n\n{}", spec.capsule.name, spec.isolation.level, table.render(style));
    for mount in &spec.mounts {
        text += &format!("\nmount {} from {} ({:?})", mount.at, mount.from.display(), mount.mode);
    }
    text += &match &refused {
        None => "\n\nverdict: it runs\n".to_owned(),
        Some(why) => format!("\n\nverdict: {why}\n"),
    };
    print(&text)?;
    Ok(code)
}
