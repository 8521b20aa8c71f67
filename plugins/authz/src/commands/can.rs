//! `can CALLER TARGET [METHOD [PATH]]`: one request.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mesh_cli::layout::say;
use mesh_cli::output::{self, Output};
use mesh_cli::text::{Styled, dim, plain, strong};
use mesh_cli::{Exit, Failure, SourceArgs, Ui};
use mesh_model::authorization::compile::Protocol;
use mesh_model::authorization::evaluator::Evaluator;
use mesh_model::authorization::judge::Verdict;
use mesh_model::authorization::request::{Fact, Request, Token};
use mesh_model::proxy::{Asked, Scope};
use mesh_model::question::access::arrives;
use mesh_model::question::can::{Answer, Ask, Case, can};
use mesh_model::question::reason::{Because, NearestMiss};
use mesh_model::question::trace::{Step, trace};
use mesh_model::question::{what_can, who_can};
use mesh_model::world::{Assumption, World};
use serde::Serialize;
use serde_json::Value;

use crate::verify::{self, Answered, Verified, VerifyArgs};
use crate::words;

/// Say whether one request is let through: exit code 0 if allowed, 1 if denied, 3 if that depends.
#[derive(clap::Args)]
#[command(before_help = "
# May order-service post payments?
kubectl mesh-authz can order-service payment-service POST /api/payments -n orders

# Step by step, as the proxy does it
kubectl mesh-authz can order-service payment-service POST /api/payments --trace -f deploy/

# And whether the running proxies decide so too
kubectl mesh-authz can order-service payment-service POST /api/payments -n orders --verify

# With a token, from an identity that nothing runs as yet
kubectl mesh-authz can cluster.local/ns/web/sa/shop order-service GET /orders --issuer https://id.example.com --subject alice

# Whether anybody without an identity gets in
kubectl mesh-authz can anonymous payment-service
")]
pub(crate) struct Arguments {
    /// The caller: a service or workload, sa/NAME, a full principal, or anonymous.
    #[arg(value_name = "CALLER")]
    caller: String,
    /// The service or workload that is called.
    #[arg(value_name = "TARGET")]
    target: String,
    /// The HTTP method.
    #[arg(value_name = "METHOD")]
    method: Option<String>,
    /// The path, with its query if there is one.
    #[arg(value_name = "PATH")]
    path: Option<String>,
    /// Follow the evaluation in order.
    #[arg(long)]
    trace: bool,
    /// Output format.
    #[arg(short, long, default_value = "table", value_parser = Output::one_of(&[Output::Table, Output::Json, Output::Yaml, Output::Name]))]
    output: Output,
    /// The port of the workload, or else of the service.
    #[arg(long, value_name = "PORT", value_parser = port, help_heading = "Request flags")]
    port: Option<u16>,
    /// The host as the client writes it, with the port if it does.
    #[arg(long, help_heading = "Request flags")]
    host: Option<String>,
    /// A header; repeat it for more, also of the same name.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair, help_heading = "Request flags")]
    header: Vec<(String, String)>,
    // As an attribute, because in a doc comment brackets are a link.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair, help_heading = "Request flags")]
    #[arg(help = "A claim of the token; NAME[INNER] for a nested one; repeat it for a list.")]
    claim: Vec<(String, String)>,
    /// The issuer of the token.
    #[arg(long, help_heading = "Request flags")]
    issuer: Option<String>,
    /// The subject of the token.
    #[arg(long, help_heading = "Request flags")]
    subject: Option<String>,
    /// An audience of the token; repeat it for more.
    #[arg(long, help_heading = "Request flags")]
    audience: Vec<String>,
    /// The address of the direct peer.
    #[arg(long, value_name = "IP", help_heading = "Request flags")]
    source_ip: Option<IpAddr>,
    /// The client address that the proxy trusts (X-Forwarded-For).
    #[arg(long, value_name = "IP", help_heading = "Request flags")]
    remote_ip: Option<IpAddr>,
    /// The server name of the TLS handshake.
    #[arg(long, help_heading = "Request flags")]
    sni: Option<String>,
    /// What the client speaks; told from the other flags and the port if not given.
    #[arg(long, value_parser = protocol, value_name = "http|tcp", help_heading = "Request flags")]
    protocol: Option<Protocol>,
    #[command(flatten)]
    verify: VerifyArgs,
    #[command(flatten)]
    source: SourceArgs,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| "write its number, 1 to 65535".to_owned())
}

pub(crate) fn protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "http" => Ok(Protocol::Http),
        "tcp" => Ok(Protocol::Tcp),
        _ => Err("known are http and tcp".to_owned()),
    }
}

/// The answer as programs see it.
#[derive(Serialize)]
struct Can<'a> {
    caller: String,
    target: String,
    verdict: Verdict,
    rule: Option<&'a String>,
    missing: &'a [String],
    cases: Vec<CaseView>,
    assumptions: Vec<Assumption>,
}

#[derive(Serialize)]
struct CaseView {
    targets: Vec<String>,
    port: u16,
    protocol: &'static str,
    arrives: &'static str,
    principal: Option<String>,
    verdict: Verdict,
    because: Vec<Because>,
    #[serde(rename = "nearestMiss", skip_serializing_if = "Option::is_none")]
    nearest_miss: Option<NearestMiss>,
    witness: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trace: Vec<Step>,
}

impl Arguments {
    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        let cluster = self.verify.cluster(&self.source)?;
        let loaded = self.source.load(ui)?;
        let caller = words::caller(ui, &loaded, &self.caller)?;
        let target = words::find(ui, &loaded, &self.target)?;
        let world = &loaded.world;
        let mut evaluator = Evaluator::new(world);
        let (caller_name, _) = what_can::name(&evaluator, &caller);
        let ask = Ask {
            caller,
            target,
            port: self.port,
            or_service_port: true,
            speaks: self.protocol,
            request: self.request(),
            path: self.path.clone(),
        };
        let answer = can(&mut evaluator, &ask);
        let mut assumptions = who_can::assumptions(world, &ask.target.workloads);
        assumptions.extend(answer.doubts.iter().cloned());
        let cases = self.views(&mut evaluator, &ask, &answer);
        let verified = match &cluster {
            Some(cluster) => {
                let asked: Vec<(usize, Asked<'_>)> =
                    answer.cases.iter().map(|case| asked(case, &caller_name, &ask)).collect();
                let unsure = answer.verdict == Verdict::Unknown;
                Some(verify::ask(ui, cluster, &mut evaluator, &ask.target, Scope::Requests, &asked, unsure)?)
            }
            None => None,
        };
        let view = Can {
            caller: caller_name,
            target: format!("{}/{}", ask.target.namespace, ask.target.name),
            verdict: answer.verdict,
            rule: answer.rule.as_ref(),
            missing: &answer.missing,
            cases,
            assumptions: assumptions.into_iter().collect(),
        };
        let answered = Answered { answer: &view, verification: verified.as_ref() };
        match self.output {
            Output::Json => output::json(ui, "Can", &answered)?,
            Output::Yaml => output::yaml(ui, "Can", &answered)?,
            Output::Name => {
                ui.answer(plain(answer.verdict.name()))?;
                if let Some(verified) = &verified {
                    verified.note(ui, world);
                }
            }
            Output::Table | Output::Wide => {
                self.show(ui, world, &view, &answer)?;
                if let Some(verified) = &verified {
                    verified.show(ui, world)?;
                }
            }
        }
        Ok(Verified::exit(verified.as_ref(), exit(answer.verdict)))
    }

    /// What is stated; all else is not known.
    fn request(&self) -> Request {
        let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in &self.header {
            headers.entry(name.to_ascii_lowercase()).or_default().push(value.clone());
        }
        let stated = self.issuer.is_some()
            || self.subject.is_some()
            || !self.audience.is_empty()
            || !self.claim.is_empty();
        Request {
            source_ip: Fact::or_unknown(self.source_ip),
            remote_ip: Fact::or_unknown(self.remote_ip),
            sni: Fact::or_unknown(self.sni.clone()),
            method: Fact::or_unknown(self.method.clone()),
            host: Fact::or_unknown(self.host.clone()),
            headers,
            other_headers_unknown: true,
            token: if stated { Fact::Known(self.token()) } else { Fact::Unknown },
            ..Request::default()
        }
    }

    fn token(&self) -> Token {
        let mut token = Token {
            issuer: Fact::or_unknown(self.issuer.clone()),
            subject: Fact::or_unknown(self.subject.clone()),
            audiences: if self.audience.is_empty() {
                Fact::Unknown
            } else {
                Fact::Known(self.audience.clone())
            },
            others_unknown: true,
            ..Token::default()
        };
        for (name, value) in &self.claim {
            match name.as_str() {
                "iss" => token.issuer = Fact::Known(value.clone()),
                "sub" => token.subject = Fact::Known(value.clone()),
                "azp" => token.presenter = Fact::Known(value.clone()),
                "aud" => match &mut token.audiences {
                    Fact::Known(audiences) => audiences.push(value.clone()),
                    audiences => *audiences = Fact::Known(vec![value.clone()]),
                },
                _ => {
                    let path: Vec<&str> = name.split(['[', ']']).filter(|part| !part.is_empty()).collect();
                    add_claim(&mut token.claims, &path, value);
                }
            }
        }
        token
    }

    fn views(&self, evaluator: &mut Evaluator<'_>, ask: &Ask<'_>, answer: &Answer) -> Vec<CaseView> {
        let world: &World = evaluator.world();
        let mut request = ask.request.clone();
        if let Some(path) = &ask.path {
            request.set_path(path, world.mesh.normalization);
        }
        let view = |case: &Case| CaseView {
            targets: case.targets.clone(),
            port: case.port.port,
            protocol: case.speaks.name(),
            arrives: arrives(&case.way),
            principal: case.outcome.principal.clone(),
            verdict: case.outcome.verdict,
            because: case.reasons(evaluator),
            nearest_miss: case.nearest_miss(evaluator, &request),
            witness: case.witness(),
            trace: if self.trace { trace(evaluator, case, &request) } else { Vec::new() },
        };
        answer.cases.iter().map(view).collect()
    }

    /// The verdict first, then why; the steps before both, as they lead there.
    fn show(&self, ui: &Ui, world: &World, view: &Can<'_>, answer: &Answer) -> Result<(), Failure> {
        if let Some(note) = &answer.note {
            ui.note(dim(note.clone()));
        }
        for case in view.cases.iter().filter(|_| self.trace) {
            if view.cases.len() > 1 {
                ui.answer(strong(case.name()))?;
            }
            show_steps(ui, &case.trace)?;
            ui.answer(plain(""))?;
        }
        let request = match (&self.method, &self.path) {
            (Some(method), Some(path)) => format!(" {method} {path}"),
            (Some(method), None) => format!(" {method}"),
            _ => String::new(),
        };
        let question = format!(": {} to {}{request}", words::shorts(world, &view.caller), view.target);
        say(ui, 0, 2, [words::verdict(view.verdict), plain(question)])?;
        match view.cases.as_slice() {
            [only] => show_reasons(ui, 2, only)?,
            several => {
                for case in several {
                    say(ui, 2, 4, [words::verdict(case.verdict), plain(format!(": {}", case.name()))])?;
                    show_reasons(ui, 4, case)?;
                }
            }
        }
        if !view.missing.is_empty() {
            say(ui, 2, 4, [plain(format!("it depends on what was not said: {}", view.missing.join(", ")))])?;
        }
        let witness = view.cases.iter().find_map(|case| case.witness.as_ref());
        if let (Verdict::Conditional, Some(witness)) = (view.verdict, witness) {
            say(ui, 2, 4, [plain(format!("let through, for one: {}", words::witness(witness)))])?;
        }
        words::assumptions(ui, &view.assumptions);
        Ok(())
    }
}

/// What a running proxy is asked about a case.
fn asked<'a>(case: &'a Case, caller: &str, ask: &'a Ask<'_>) -> (usize, Asked<'a>) {
    let asked = Asked {
        caller: caller.to_owned(),
        port: &case.port,
        way: &case.way,
        speaks: case.speaks,
        request: &ask.request,
        path: ask.path.as_deref(),
    };
    (case.workload, asked)
}

impl CaseView {
    /// `port 8080 as http of payment-v1, payment-v2`.
    fn name(&self) -> String {
        let arrives = if self.arrives == "mtls" { "" } else { self.arrives };
        let space = if arrives.is_empty() { "" } else { ", arriving as " };
        format!("port {} as {} of {}{space}{arrives}", self.port, self.protocol, self.targets.join(", "))
    }
}

/// The steps of the evaluation, without the last: the verdict is said with the reason.
fn show_steps(ui: &Ui, steps: &[Step]) -> Result<(), Failure> {
    for (number, step) in steps.iter().filter(|step| step.stage != "verdict").enumerate() {
        let rule = step.rule.map_or(String::new(), |rule| format!("[{rule}]"));
        let policy = step.policy.as_deref().unwrap_or_default();
        // A rule before what it does, a mode before the object that sets it.
        let text = match policy {
            "" => step.text.clone(),
            _ if step.rule.is_some() => format!("{policy}{rule} {}", step.text),
            _ => format!("{} by {policy}", step.text),
        };
        let at = step.at.as_deref().filter(|at| *at != policy);
        let number = format!("{:>2}. ", number + 1);
        let parts: [Styled; 4] = [
            dim(number),
            strong(format!("{:8}", step.stage)),
            plain(text),
            dim(at.map_or(String::new(), |at| format!(" {at}"))),
        ];
        say(ui, 0, 12, parts)?;
    }
    Ok(())
}

/// The reasons, each with its place, and what came closest.
fn show_reasons(ui: &Ui, indent: usize, case: &CaseView) -> Result<(), Failure> {
    for because in &case.because {
        let kind = because.kind.filter(|kind| *kind != "AuthorizationPolicy");
        let kind = kind.map_or(String::new(), |kind| format!("{kind} "));
        let place =
            words::object(because).map(|object| format!("{kind}{object}")).or_else(|| because.at.clone());
        let place = place.map_or(String::new(), |place| format!(": {place}"));
        say(ui, indent, indent + 2, [plain(format!("{}{place}", because.text))])?;
    }
    if let Some(miss) = &case.nearest_miss {
        say(ui, indent, indent + 2, [plain(words::nearest_miss(miss))])?;
    }
    Ok(())
}

/// 0 allowed, 1 denied, 3 no definite answer.
pub(crate) fn exit(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Allow => Exit::Yes,
        Verdict::Deny => Exit::No,
        Verdict::Conditional | Verdict::Unknown => Exit::Unknown,
    }
}

/// Puts a value at a claim's path; a second value makes a list.
fn add_claim(claims: &mut BTreeMap<String, Value>, path: &[&str], value: &str) {
    let Some((first, rest)) = path.split_first() else { return };
    let mut slot = claims.entry((*first).to_owned()).or_insert(Value::Null);
    for part in rest {
        if !slot.is_object() {
            *slot = Value::Object(serde_json::Map::new());
        }
        let Some(object) = slot.as_object_mut() else { return };
        slot = object.entry((*part).to_owned()).or_insert(Value::Null);
    }
    match slot {
        Value::Array(items) => items.push(value.into()),
        Value::Null => *slot = value.into(),
        one => *one = Value::Array(vec![one.take(), value.into()]),
    }
}
