//! `explain TARGET`: what protects each port, in the order of evaluation.

use mesh_cli::layout::say;
use mesh_cli::output::{self, Output};
use mesh_cli::text::{Styled, bad, dim, good, plain, strong, warn};
use mesh_cli::{Exit, Failure, SourceArgs, Ui};
use mesh_model::authorization::evaluator::Evaluator;
use mesh_model::proxy::Scope;
use mesh_model::question::explain::{ChainPart, Explain, PolicyPart, PortPart, explain};

use crate::verify::{self, Answered, Verified, VerifyArgs};
use crate::words;

/// Explain what protects each port of a service or workload, in the order in which it is evaluated.
#[derive(clap::Args)]
#[command(before_help = "
# What protects payment-service
kubectl mesh-authz explain payment-service -n orders

# And whether the running proxies have it
kubectl mesh-authz explain payment-service -n orders --verify

# After a change, before it is applied
kubectl mesh-authz explain payment-service --what-if -f policy.yaml
")]
pub(crate) struct Arguments {
    /// The service or workload.
    #[arg(value_name = "TARGET")]
    target: String,
    /// Output format.
    #[arg(short, long, default_value = "table", value_parser = Output::one_of(&[Output::Table, Output::Json, Output::Yaml]))]
    output: Output,
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
        let explanation = explain(&mut evaluator, &target);
        let verified = match &cluster {
            Some(cluster) => {
                Some(verify::ask(ui, cluster, &mut evaluator, &target, Scope::Rules, &[], false)?)
            }
            None => None,
        };
        let answer = Answered { answer: &explanation, verification: verified.as_ref() };
        match self.output {
            Output::Json => output::json(ui, "Explain", &answer)?,
            Output::Yaml => output::yaml(ui, "Explain", &answer)?,
            Output::Table | Output::Wide | Output::Name => {
                show(ui, &explanation)?;
                if let Some(verified) = &verified {
                    ui.answer(plain(""))?;
                    verified.show(ui, &loaded.world)?;
                }
            }
        }
        Ok(Verified::exit(verified.as_ref(), Exit::Yes))
    }
}

fn show(ui: &Ui, answer: &Explain) -> Result<(), Failure> {
    for (index, workload) in answer.workloads.iter().enumerate() {
        if index > 0 {
            ui.answer(plain(""))?;
        }
        let names = workload.names.join(", ");
        say(ui, 0, 2, [strong(names), plain(format!(" in namespace {}", answer.target.namespace))])?;
        if workload.injected {
            say(ui, 2, 4, [plain("sidecar: "), good("yes"), plain(format!(", {}", workload.sidecar))])?;
        } else {
            say(ui, 2, 4, [plain("sidecar: "), bad("no"), plain(format!(", {}", workload.sidecar))])?;
            say(ui, 2, 4, [bad("Nothing is enforced: whoever reaches the pod gets in.")])?;
            continue;
        }
        for port in &workload.ports {
            ui.answer(plain(""))?;
            show_port(ui, port)?;
        }
        if !workload.ignored.is_empty() {
            ui.answer(plain(""))?;
            say(ui, 2, 4, [dim("not in force here:")])?;
        }
        for ignored in &workload.ignored {
            let text = format!("{}: {}", ignored.policy, ignored.reason);
            say(ui, 4, 6, [dim(text), place(&ignored.at, &ignored.policy)])?;
        }
    }
    words::assumptions(ui, &answer.assumptions);
    Ok(())
}

/// Where something stands, after what stands there.
fn place(at: &str, policy: &str) -> Styled {
    dim(if at == policy { String::new() } else { format!(" {at}") })
}

fn show_port(ui: &Ui, port: &PortPart) -> Result<(), Failure> {
    let at = port.at.as_deref().map_or_else(|| plain(""), |at| place(at, ""));
    let protocol = format!(": {}, {}", port.protocol, port.reason);
    say(ui, 2, 4, [strong(format!("port {}", port.port)), plain(protocol), at])?;
    if let Some(bypass) = &port.bypass {
        return say(ui, 4, 6, [bad(format!("No policy is asked here: {bypass}."))]);
    }
    if !["STRICT", "PERMISSIVE", "DISABLE"].contains(&port.mtls) {
        say(
            ui,
            4,
            6,
            [plain("TLS as the Gateway says; who comes from outside has no identity of the mesh")],
        )?;
        return show_chains(ui, port);
    }
    let meaning = match port.mtls {
        "STRICT" => "only callers with the mesh's certificate get in",
        "PERMISSIVE" => "callers without a certificate get in too, as anonymous",
        _ => "nobody has an identity here",
    };
    let from = match &port.mtls_from {
        Some(policy) => format!(", says PeerAuthentication {policy}"),
        None => " (Istio's default)".to_owned(),
    };
    let at = match (&port.mtls_at, &port.mtls_from) {
        (Some(at), Some(policy)) => place(at, policy),
        _ => plain(""),
    };
    say(ui, 4, 6, [plain("mTLS "), strong(port.mtls), plain(format!(": {meaning}{from}")), at])?;
    show_chains(ui, port)
}

fn show_chains(ui: &Ui, port: &PortPart) -> Result<(), Failure> {
    let several = port.chains.len() > 1;
    for chain in &port.chains {
        if several {
            say(ui, 4, 6, [plain(format!("if it speaks {}:", chain.protocol.to_uppercase()))])?;
        }
        show_chain(ui, chain, if several { 6 } else { 4 })?;
    }
    Ok(())
}

fn show_chain(ui: &Ui, chain: &ChainPart, indent: usize) -> Result<(), Failure> {
    if !chain.issuers.is_empty() {
        let issuers = chain.issuers.join(", ");
        let text = format!("tokens of {issuers} are checked; none is needed to get here");
        say(ui, indent, indent + 2, [plain(text)])?;
    }
    for (index, policy) in chain.policies.iter().enumerate() {
        show_policy(ui, index + 1, policy, indent)?;
    }
    let number = chain.policies.len() + 1;
    let text = format!("{number}. everything else is {}", chain.otherwise);
    say(ui, indent, indent + 3, [plain(text)])
}

fn show_policy(ui: &Ui, number: usize, policy: &PolicyPart, indent: usize) -> Result<(), Failure> {
    let action = match policy.action {
        "ALLOW" => good(policy.action),
        "DENY" => bad(policy.action),
        other => warn(other),
    };
    let note = policy.note.as_ref().map_or(String::new(), |note| format!(": {note}"));
    let number = format!("{number}. ");
    say(ui, indent, indent + 3, [plain(number), action, plain(format!(" {}{note}", policy.policy))])?;
    for rule in &policy.rules {
        let text = format!("[{}] {}", rule.rule, rule.matches);
        say(ui, indent + 3, indent + 7, [plain(text), place(&rule.at, &policy.policy)])?;
        if let Some(fate) = &rule.fate {
            say(ui, indent + 7, indent + 9, [warn(fate)])?;
        }
    }
    Ok(())
}
