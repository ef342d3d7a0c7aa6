//! A run behind the real hal: its verdicts, its events, its report.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ringfence_isolation::BoxFuture;
use ringfence_manifest::Permission;
use ringfence_runtime::{Plan, Report, Resolver, ScopedHal, Surroundings};

use super::{Lab, executor, linux};

/// Knows a few names.
struct Names;

impl Resolver for Names {
    fn resolve(&self, name: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        let known: &[&str] = match name.as_str() {
            "here.test" | "localhost" => &["127.0.0.1"],
            "public.test" => &["203.0.113.7", "8.8.4.4"],
            "public6.test" => &["2606:4700::1111"],
            "meta.test" => &["169.254.169.254"],
            _ => &[],
        };
        let known: Vec<IpAddr> = known.iter().map(|ip| ip.parse().unwrap()).collect();
        let answer = if known.is_empty() { Err(std::io::ErrorKind::NotFound.into()) } else { Ok(known) };
        Box::pin(async move { answer })
    }
}

impl Lab {
    pub(crate) fn permit(mut self, permission: Permission, rule: &str) -> Self {
        self.spec.permissions.grant(permission, rule).unwrap();
        self
    }

    /// Runs behind the real hal and waits for the report.
    pub(crate) fn judged(&self) -> Report {
        self.judged_with(Arc::new(Names))
    }

    /// The same with names from elsewhere.
    pub(crate) fn judged_with(&self, resolver: Arc<dyn Resolver>) -> Report {
        let mut spec = self.spec.clone();
        spec.limits.wall_time.get_or_insert(Duration::from_secs(20));
        let spec = Arc::new(spec);
        executor().block_on(async move {
            let surroundings = Surroundings { resolver, ..Surroundings::default() };
            let hal = Arc::new(ScopedHal::new(spec.clone(), surroundings).unwrap());
            let plan = Plan::new(&linux(), spec, Duration::ZERO).unwrap();
            plan.build(hal).unwrap().start().unwrap().supervision.await
        })
    }
}

/// What was printed, by line.
pub(crate) fn lines(report: &Report) -> Vec<String> {
    let bytes = report.stdout.clone().unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
}

/// The denials: permission and resource.
pub(crate) fn denials(report: &Report) -> Vec<(Option<Permission>, String)> {
    report.denials.iter().map(|denied| (denied.denial.permission, denied.denial.resource.clone())).collect()
}
