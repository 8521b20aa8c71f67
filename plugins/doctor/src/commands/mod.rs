//! The commands, one a file.

mod route;

use mesh_cli::{Exit, Failure, Ui};

/// Say what becomes of a request in an Istio mesh, and why.
#[derive(clap::Parser)]
#[command(
    version,
    before_help = "
# Where order-service gets to when it calls payment-service
kubectl mesh-doctor route order-service http://payment-service:8080/api/payments -n orders

# The same by manifests, without a cluster
kubectl mesh-doctor route order-service payment-service -f deploy/

# What a change would do before it is applied
kubectl mesh-doctor route order-service payment-service --what-if -f virtual-service.yaml
"
)]
pub(crate) enum Command {
    Route(Box<route::Arguments>),
}

impl Command {
    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        match self {
            Self::Route(arguments) => arguments.run(ui),
        }
    }
}
