//! `who-can TARGET`: a row for each caller and port.

use mesh_cli::layout::{self, Rows};
use mesh_cli::output::{self, HeaderArgs, Output};
use mesh_cli::text::{Styled, dim, plain, strong, warn};
use mesh_cli::{Exit, Failure, SourceArgs, Ui};
use mesh_model::authorization::evaluator::Evaluator;
use mesh_model::authorization::judge::Verdict;
use mesh_model::authorization::request::Request;
use mesh_model::inbound::OWN_PORTS;
use mesh_model::proxy::{Asked, Scope};
use mesh_model::question::who_can::{CallerKind, Connects, Row, WhoCan, who_can};
use mesh_model::world::World;

use crate::verify::{self, Answered, Verified, VerifyArgs};
use crate::words;

/// List who can call a service or workload, with which requests, resting on what, and why.
#[derive(clap::Args)]
#[command(before_help = "
# Who can call order-service
kubectl mesh-authz who-can order-service -n orders

# Who cannot, and which rule came closest to letting them
kubectl mesh-authz who-can order-service -n orders --deny

# And whether the running proxies see it so
kubectl mesh-authz who-can order-service -n orders --verify

# By the manifests of a directory, for a program
kubectl mesh-authz who-can deploy/payment-v1 -f deploy/ -o json
")]
pub(crate) struct Arguments {
    /// The service or workload: payment, svc/payment, deploy/payment-v1, pod/x, payment.orders.
    #[arg(value_name = "TARGET")]
    target: String,
    /// Show who cannot call it, and the rule that came closest.
    #[arg(long)]
    deny: bool,
    /// Show who can and who cannot.
    #[arg(long, conflicts_with = "deny")]
    all: bool,
    /// Output format.
    #[arg(short, long, default_value = "table", value_parser = Output::one_of(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Name]))]
    output: Output,
    #[command(flatten)]
    headers: HeaderArgs,
    #[command(flatten)]
    verify: VerifyArgs,
    #[command(flatten)]
    source: SourceArgs,
}

impl Arguments {
    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        let cluster = self.verify.cluster(&self.source)?;
        let loaded = self.source.load(ui)?;
        let target = words::find(ui, &loaded, &self.target)?;
        let mut evaluator = Evaluator::new(&loaded.world);
        let answer = who_can(&mut evaluator, &target);
        let anything = Request::anything();
        let verified = match &cluster {
            Some(cluster) => {
                let asked: Vec<(usize, Asked<'_>)> =
                    answer.callers.iter().filter_map(|row| asked(row, &anything)).collect();
                let unsure = answer.callers.iter().any(|row| row.access.verdict == Verdict::Unknown);
                Some(verify::ask(ui, cluster, &mut evaluator, &target, Scope::Rules, &asked, unsure)?)
            }
            None => None,
        };
        let answered = Answered { answer: &answer, verification: verified.as_ref() };
        match self.output {
            Output::Json => output::json(ui, "WhoCan", &answered)?,
            Output::Yaml => output::yaml(ui, "WhoCan", &answered)?,
            Output::Name => {
                let mut callers: Vec<&str> = answer
                    .callers
                    .iter()
                    .filter(|row| row.access.verdict != Verdict::Deny && row.kind != CallerKind::Bypass)
                    .map(|row| row.caller.as_str())
                    .collect();
                callers.sort_unstable();
                callers.dedup();
                callers.into_iter().try_for_each(|caller| ui.answer(plain(caller)))?;
                if let Some(verified) = &verified {
                    verified.note(ui, &loaded.world);
                }
            }
            Output::Table | Output::Wide => {
                self.show(ui, &loaded.world, &answer)?;
                if let Some(verified) = &verified {
                    verified.show(ui, &loaded.world)?;
                }
            }
        }
        Ok(Verified::exit(verified.as_ref(), Exit::Yes))
    }

    fn show(&self, ui: &Ui, world: &World, answer: &WhoCan) -> Result<(), Failure> {
        let wide = self.output == Output::Wide;
        let name = &answer.target;
        let several = answer.callers.iter().any(|row| row.targets.len() < name.workloads.len());
        // Where nothing gets through there is nothing to say about what does.
        let details = if self.deny { 1 } else { 3 };
        let mut headers = vec!["CALLER", "PORT", "VERDICT"];
        headers.extend(["REQUESTS", "RESTS ON", "BECAUSE"].into_iter().skip(3 - details));
        if several {
            headers.insert(1, "TARGET");
        }
        let first = headers.len() - details;
        if wide {
            headers.push("WITNESS");
            headers.push("WORKLOADS");
        }
        let mut rows = Rows::new(first, &headers);
        for row in answer.callers.iter().filter(|row| self.is_shown(row)) {
            let mut cells = vec![
                caller(row, if wide { row.caller.clone() } else { words::short(world, &row.caller) }),
                plain(format!("{}/{}", row.access.port, row.access.protocol)),
                words::verdict(row.access.verdict),
            ];
            cells.extend(
                [requests(row), words::rests_on(&row.access.rests_on), why(row)]
                    .into_iter()
                    .skip(3 - details),
            );
            if several {
                cells.insert(1, plain(row.targets.join(",")));
            }
            if wide {
                cells.push(plain(row.access.witness.as_ref().map_or(String::new(), words::witness)));
                cells.push(dim(row.workloads.join(",")));
            }
            rows.row(cells);
        }
        rows.show(ui, self.headers.no_headers)?;
        let name = format!("{}/{}", name.namespace, name.name);
        layout::say(ui, 0, 2, [strong(name), plain(self.summary(answer))])?;
        words::assumptions(ui, &answer.assumptions);
        Ok(())
    }

    fn is_shown(&self, row: &Row) -> bool {
        let denied = row.access.verdict == Verdict::Deny;
        if self.all {
            true
        } else if self.deny {
            denied
        } else {
            !denied && !is_own_port(row)
        }
    }

    fn summary(&self, answer: &WhoCan) -> String {
        let rows = || answer.callers.iter().filter(|row| row.kind != CallerKind::Bypass);
        let verdicts = rows().map(|row| row.access.verdict);
        let all_denied = verdicts.clone().all(|verdict| verdict == Verdict::Deny);
        let hidden = !self.deny && !self.all && verdicts.clone().any(|verdict| verdict == Verdict::Deny);
        let bypass =
            answer.callers.iter().filter(|row| row.kind == CallerKind::Bypass && !is_own_port(row)).count();
        let mut text = format!(": {}, of {} callers and ports", words::counts(verdicts), rows().count());
        if bypass > 0 {
            text.push_str(&format!("; {bypass} open to anybody, because no policy is asked"));
        } else if all_denied {
            text.push_str("; nobody can call it");
        }
        if hidden {
            text.push_str(" (--deny shows who cannot, and why)");
        }
        text
    }
}

/// What a running proxy is asked about a row: everything that its caller can send.
fn asked<'a>(row: &'a Row, anything: &'a Request) -> Option<(usize, Asked<'a>)> {
    let Connects { workload, port, speaks, way } = row.connects.as_ref()?;
    let caller = row.caller.clone();
    Some((*workload, Asked { caller, port, way, speaks: *speaks, request: anything, path: None }))
}

/// Ports that every sidecar has open for the kubelet and Prometheus.
fn is_own_port(row: &Row) -> bool {
    row.kind == CallerKind::Bypass && OWN_PORTS.iter().any(|(port, _)| *port == row.access.port)
}

fn caller(row: &Row, name: String) -> Styled {
    if row.kind == CallerKind::Bypass {
        return warn("anybody (no policy is asked)");
    }
    let kind = match row.kind {
        CallerKind::Identity | CallerKind::Bypass => "",
        CallerKind::Gateway => " (gateway)",
        CallerKind::Anonymous => " (no identity)",
        CallerKind::Unmatched => " (nothing runs as it)",
    };
    let arrives = if row.kind == CallerKind::Identity && row.access.arrives != "mtls" {
        format!(" (arrives as {})", row.access.arrives)
    } else {
        String::new()
    };
    plain(format!("{name}{kind}{arrives}"))
}

fn requests(row: &Row) -> Styled {
    match row.access.requests.len() {
        0 => dim("-"),
        1..=3 => plain(row.access.requests.join("; ")),
        more => {
            let shown = row.access.requests.get(..3).unwrap_or_default().join("; ");
            plain(format!("{shown}; {} more", more - 3))
        }
    }
}

fn why(row: &Row) -> Styled {
    match &row.access.nearest_miss {
        Some(miss) => plain(words::nearest_miss(miss)),
        None => plain(words::because(&row.access.because)),
    }
}
