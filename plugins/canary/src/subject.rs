//! What a command works on: the service, the routes that carry it, its versions, and which is the canary.

use mesh_cli::text::dim;
use mesh_cli::{Failure, Loaded, Ui};
use mesh_model::canary::carrier::{Carrier, carriers};
use mesh_model::canary::version::{self, Choice, NoCanary, Version, versions};
use mesh_model::question::target::{self, Scope};
use mesh_model::routing::registry::Host;
use mesh_model::routing::{Callers, Routing};
use mesh_model::service::Service;
use mesh_model::world::{Assumption, World};

/// A service among everything that bears on its traffic.
pub(crate) struct Subject<'r, 'w> {
    /// The routing of the World.
    pub(crate) routing: &'r Routing<'w>,
    /// The Service.
    pub(crate) service: &'w Service,
    /// The Service as a host.
    pub(crate) host: &'r Host,
    /// All kinds of callers.
    pub(crate) callers: Vec<Callers<'w>>,
    /// The routes that carry it.
    pub(crate) carriers: Vec<Carrier<'r>>,
    /// Its versions.
    pub(crate) versions: Vec<Version<'w>>,
}

impl<'r, 'w> Subject<'r, 'w> {
    /// Finds a service by what a person calls it, saying how that was understood.
    pub(crate) fn find(
        ui: &Ui,
        routing: &'r Routing<'w>,
        loaded: &Loaded,
        name: &str,
    ) -> Result<Self, Failure> {
        Self::of(routing, Self::service(ui, routing.world(), loaded, name)?)
    }

    /// The Service that a person means, saying how that was understood.
    pub(crate) fn service(
        ui: &Ui,
        world: &'w World,
        loaded: &Loaded,
        name: &str,
    ) -> Result<&'w Service, Failure> {
        let scope = Scope { namespace: &loaded.default_namespace, anywhere: loaded.anywhere };
        let found = target::find(world, name, scope)
            .map_err(|error| Failure::error(error.to_string()).hint(error.hint()))?;
        if let Some(note) = &found.note {
            ui.note(dim(note.clone()));
        }
        found.service.ok_or_else(|| {
            Failure::error(format!("{name} is no Service"))
                .hint("routes lead to Services: name the one in front of it, as in svc/payment")
        })
    }

    /// All that bears on a service's traffic.
    pub(crate) fn of(routing: &'r Routing<'w>, service: &'w Service) -> Result<Self, Failure> {
        let namespace = &service.object.namespace;
        let Some(host) = routing.registry.of(&service.host(), namespace) else {
            let key = service.object.key();
            return Err(Failure::error(format!("istiod does not know Service {key}"))
                .hint("its namespace is outside of meshConfig.discoverySelectors"));
        };
        let callers = routing.callers();
        let carriers = carriers(routing, host, &callers);
        let versions = versions(routing, host, &carriers);
        Ok(Self { routing, service, host, callers, carriers, versions })
    }

    /// The World.
    pub(crate) fn world(&self) -> &'w World {
        self.routing.world()
    }

    /// What could change which way requests take, and cannot be known from what was read.
    pub(crate) fn assumptions(&self) -> Vec<Assumption> {
        let all = self.routing.assumptions(self.host, &self.callers).into_iter().filter(|one| one.decisive);
        all.map(|one| Assumption { code: one.code, text: one.text }).collect()
    }

    /// `namespace/name` of the Service.
    pub(crate) fn key(&self) -> String {
        self.service.object.key()
    }

    /// The canary, and why it is that one.
    pub(crate) fn canary(&self, named: Option<&str>) -> Result<(&Version<'w>, Choice), Failure> {
        version::canary(&self.versions, &self.carriers, named).map_err(|error| self.no_canary(&error))
    }

    fn no_canary(&self, error: &NoCanary) -> Failure {
        let key = self.key();
        let list = |names: &[String]| names.join(", ");
        match error {
            NoCanary::Unknown { name, versions } => {
                Failure::usage(format!("no route of {key} has a version {name}"))
                    .hint(format!("there are: {}", list(versions)))
            }
            NoCanary::Other { name, recorded } => {
                Failure::usage(format!("a shift of {key} to {recorded} is under way, not to {name}"))
                    .hint(format!("end it first: kubectl mesh-canary abort {}", self.service.object.name))
            }
            NoCanary::Unclear { versions } => {
                Failure::usage(format!("nothing tells which version of {key} is the canary"))
                    .hint(format!("say it with --canary; there are: {}", list(versions)))
            }
            NoCanary::Single { versions } if versions.is_empty() => Failure::error(format!(
                "no VirtualService routes to {key}"
            ))
            .hint(format!("make what is missing: kubectl mesh-canary init {}", self.service.object.name)),
            NoCanary::Single { versions } => {
                Failure::error(format!("the routes of {key} know one version only: {}", list(versions)))
                    .hint("add a destination for the other version to its route, with weight 0")
            }
        }
    }
}

/// Why a version is the canary, in words.
pub(crate) fn because(choice: &Choice) -> &'static str {
    match choice {
        Choice::Recorded => "the shift that is under way says so",
        Choice::Named => "--canary says so",
        Choice::Youngest => "its workload is the youngest",
    }
}
