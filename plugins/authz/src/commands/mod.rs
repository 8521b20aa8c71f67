//! The commands, one a file.

mod can;
mod explain;
mod explain_log;
mod lint;
mod matrix;
mod record;
pub(crate) mod test;
mod what_can;
mod who_can;

use mesh_cli::{Exit, Failure, Ui};

/// Say who can call a service in an Istio mesh, with which requests, and why.
#[derive(clap::Parser)]
#[command(
    version,
    before_help = "
# Who can call order-service, by the policies of the cluster
kubectl mesh-authz who-can order-service -n orders

# The same by manifests, without a cluster
kubectl mesh-authz who-can order-service -f deploy/

# Whether one request is let through, step by step
kubectl mesh-authz can order-service payment-service POST /api/payments --trace

# What a change would do before it is applied
kubectl mesh-authz who-can payment-service --what-if -f new-policy.yaml
"
)]
#[expect(clippy::large_enum_variant, reason = "there is one, read once")]
pub(crate) enum Command {
    WhoCan(who_can::Arguments),
    WhatCan(what_can::Arguments),
    Can(can::Arguments),
    Matrix(matrix::Arguments),
    Explain(explain::Arguments),
    ExplainLog(explain_log::Arguments),
    Lint(lint::Arguments),
    Test(test::Arguments),
    Record(record::Arguments),
}

impl Command {
    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        match self {
            Self::WhoCan(arguments) => arguments.run(ui),
            Self::WhatCan(arguments) => arguments.run(ui),
            Self::Can(arguments) => arguments.run(ui),
            Self::Matrix(arguments) => arguments.run(ui),
            Self::Explain(arguments) => arguments.run(ui),
            Self::ExplainLog(arguments) => arguments.run(ui),
            Self::Lint(arguments) => arguments.run(ui),
            Self::Test(arguments) => arguments.run(ui),
            Self::Record(arguments) => arguments.run(ui),
        }
    }
}
