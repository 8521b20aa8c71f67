//! `explain TARGET`: what protects each port, in the order of evaluation.

use mesh_cli::output::{self, Output};
use mesh_cli::text::{bad, dim, good, plain, strong, warn};
use mesh_cli::{Exit, Failure, SourceArgs, Ui};
use mesh_model::authorization::evaluator::Evaluator;
use mesh_model::question::explain::{ChainPart, Explain, PolicyPart, PortPart, explain};

use crate::words;

/// Explain what protects each port of a service or workload, in the order in which it is evaluated.
#[derive(clap::Args)]
#[command(before_help = "
# What protects payment-service
kubectl mesh-authz explain payment-service -n orders

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
    source: SourceArgs,
}

impl Arguments {
    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        let loaded = self.source.load(ui)?;
        let target = words::find(ui, &loaded, &self.target)?;
        let answer = explain(&mut Evaluator::new(&loaded.world), &target);
        match self.output {
            Output::Json => output::json(ui, "Explain", &answer)?,
            Output::Yaml => output::yaml(ui, "Explain", &answer)?,
            Output::Table | Output::Wide | Output::Name => show(ui, &answer)?,
        }
        Ok(Exit::Yes)
    }
}

fn show(ui: &Ui, answer: &Explain) -> Result<(), Failure> {
    words::assumptions(ui, &answer.assumptions);
    for (index, workload) in answer.workloads.iter().enumerate() {
        if index > 0 {
            ui.answer(plain(""))?;
        }
        ui.answer(strong(format!("namespace {}: {}", answer.target.namespace, workload.names.join(", "))))?;
        if workload.injected {
            ui.answer(good("  sidecar: yes") + dim(format!(", {}", workload.sidecar)))?;
        } else {
            ui.answer(bad("  sidecar: no") + plain(format!(", {}", workload.sidecar)))?;
            ui.answer(bad("  Nothing is enforced: whoever reaches the pod gets in."))?;
            continue;
        }
        for port in &workload.ports {
            show_port(ui, port)?;
        }
        for ignored in &workload.ignored {
            ui.answer(
                dim(format!("  not in force: {} ", ignored.policy))
                    + plain(&ignored.reason)
                    + dim(place(&ignored.at, &ignored.policy)),
            )?;
        }
    }
    Ok(())
}

fn place(at: &str, policy: &str) -> String {
    if at == policy { String::new() } else { format!("  {at}") }
}

fn show_port(ui: &Ui, port: &PortPart) -> Result<(), Failure> {
    ui.answer(plain(""))?;
    ui.answer(
        strong(format!("  port {}", port.port))
            + plain(format!(": {}", port.protocol))
            + dim(format!(", {}", port.reason))
            + dim(port.at.as_ref().map_or(String::new(), |at| format!("  {at}"))),
    )?;
    if let Some(bypass) = &port.bypass {
        return ui.answer(bad(format!("    No policy is asked here: {bypass}.")));
    }
    let from = port
        .mtls_from
        .as_ref()
        .map_or_else(|| "Istio's default".to_owned(), |policy| format!("PeerAuthentication {policy}"));
    let at = match (&port.mtls_at, &port.mtls_from) {
        (Some(at), Some(policy)) => place(at, policy),
        _ => String::new(),
    };
    let meaning = match port.mtls {
        "STRICT" => "only callers with the mesh's certificate get in",
        "PERMISSIVE" => "callers without a certificate get in too, as anonymous",
        "DISABLE" => "nobody has an identity here",
        _ => "clients are those of a gateway",
    };
    ui.answer(plain(format!("    mTLS {}: {meaning}", port.mtls)) + dim(format!(", {from}{at}")))?;
    let several = port.chains.len() > 1;
    for chain in &port.chains {
        if several {
            ui.answer(plain(format!("    if it speaks {}:", chain.protocol.to_uppercase())))?;
        }
        show_chain(ui, chain, if several { "      " } else { "    " })?;
    }
    Ok(())
}

fn show_chain(ui: &Ui, chain: &ChainPart, indent: &str) -> Result<(), Failure> {
    if !chain.issuers.is_empty() {
        ui.answer(plain(format!(
            "{indent}tokens of {} are checked; none is needed to get here",
            chain.issuers.join(", ")
        )))?;
    }
    for (index, policy) in chain.policies.iter().enumerate() {
        show_policy(ui, index + 1, policy, indent)?;
    }
    let number = chain.policies.len() + 1;
    ui.answer(plain(format!("{indent}{number}. everything else is {}", chain.otherwise)))
}

fn show_policy(ui: &Ui, number: usize, policy: &PolicyPart, indent: &str) -> Result<(), Failure> {
    let action = match policy.action {
        "ALLOW" => good(policy.action),
        "DENY" => bad(policy.action),
        other => warn(other),
    };
    let note = policy.note.as_ref().map_or(String::new(), |note| format!(": {note}"));
    ui.answer(plain(format!("{indent}{number}. ")) + action + plain(format!(" {}{note}", policy.policy)))?;
    for rule in &policy.rules {
        ui.answer(
            plain(format!("{indent}   [{}] {}", rule.rule, rule.matches))
                + dim(place(&rule.at, &policy.policy)),
        )?;
        if let Some(fate) = &rule.fate {
            ui.answer(warn(format!("{indent}       {fate}")))?;
        }
    }
    Ok(())
}
