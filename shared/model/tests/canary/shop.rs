//! What a shift of `server` works on, made of a World.

use mesh_model::canary::carrier::{Carrier, carriers};
use mesh_model::canary::plan::{self, Moving, Occasion, Wanted};
use mesh_model::canary::preflight::problems;
use mesh_model::canary::version::{Version, versions};
use mesh_model::change::Change;
use mesh_model::routing::registry::Host;
use mesh_model::routing::{Callers, Routing};
use mesh_model::world::World;
use serde_json::Value;

use crate::support::{Mesh, SERVER};

/// All that bears on the server's traffic.
pub(crate) struct Shop<'r, 'w> {
    pub(crate) routing: &'r Routing<'w>,
    pub(crate) host: &'r Host,
    pub(crate) callers: Vec<Callers<'w>>,
    pub(crate) carriers: Vec<Carrier<'r>>,
    pub(crate) versions: Vec<Version<'w>>,
}

impl Shop<'_, '_> {
    pub(crate) fn version(&self, name: &str) -> &Version<'_> {
        self.versions.iter().find(|version| version.name == name).expect(name)
    }

    /// What callers would get 503 for, in short.
    pub(crate) fn problems(&self, canary: &str) -> Vec<String> {
        let all: Vec<&Carrier<'_>> = self.carriers.iter().collect();
        let found = problems(self.routing, self.host, self.version(canary), &all, &self.callers);
        let text = |one: &mesh_model::canary::preflight::Problem| {
            format!("{}: {} {:?}", one.callers, one.cluster.port, one.cause)
        };
        found.iter().map(text).collect()
    }
}

pub(crate) fn look<R>(world: &World, read: impl FnOnce(&Shop<'_, '_>) -> R) -> R {
    let routing = Routing::new(world);
    let host = routing.registry.named(SERVER).next().expect("the server");
    let callers = routing.callers();
    let carriers = carriers(&routing, host, &callers);
    let versions = versions(&routing, host, &carriers);
    read(&Shop { routing: &routing, host, callers, carriers, versions })
}

pub(crate) fn ask<R>(mesh: &Mesh, read: impl FnOnce(&Shop<'_, '_>) -> R) -> R {
    look(&mesh.world(), read)
}

/// The routes of the server, each as `NS/NAME ROUTE: WEIGHTS; CLIENTS`.
pub(crate) fn routes(mesh: &Mesh) -> Vec<String> {
    ask(mesh, |shop| {
        let of = |carrier: &Carrier<'_>| {
            let clients: Vec<String> = carrier
                .in_force
                .iter()
                .map(|one| {
                    one.gateway.as_ref().map_or(one.namespace.clone(), |name| format!("gateway {name}"))
                })
                .collect();
            format!("{}: {:?}; {}", plan::label(carrier), carrier.weights(), clients.join(" "))
        };
        shop.carriers.iter().map(of).collect()
    })
}

/// What a shift moves and changes.
pub(crate) fn shift(
    world: &World,
    canary: &str,
    percent: u32,
    wanted: &Wanted,
    id: &str,
) -> (Vec<Moving>, Vec<Change>) {
    look(world, |shop| {
        let moving = plan::moving(&shop.carriers, shop.version(canary), percent, wanted).expect("a plan");
        let changes =
            plan::changes(&shop.carriers, canary, percent, &moving, &occasion(id)).expect("changes");
        (moving, changes)
    })
}

pub(crate) fn occasion(id: &str) -> Occasion {
    Occasion { id: id.to_owned(), command: "set".to_owned(), at: id.to_owned(), ..Occasion::default() }
}

/// The pointers that a change names.
pub(crate) fn pointers(changes: &[Change]) -> Vec<String> {
    let of = |change: &Change| match change {
        Change::Patch(patch) => patch.fields.iter().map(|field| field.pointer.clone()).collect(),
        other => vec![other.object().to_string()],
    };
    changes.iter().flat_map(of).collect()
}

/// The VirtualServices without annotations, and with `weight: 0` where there is no weight.
pub(crate) fn specs(world: &World) -> Vec<(String, Value)> {
    let written = |spec: &Value| {
        let mut spec = spec.clone();
        for list in ["http", "tls", "tcp"] {
            let routes = spec.get_mut(list).and_then(Value::as_array_mut);
            for entry in
                routes.into_iter().flatten().filter_map(|route| route.get_mut("route")?.as_array_mut())
            {
                for one in entry.iter_mut().filter_map(Value::as_object_mut) {
                    one.entry("weight").or_insert_with(|| Value::from(0));
                }
            }
        }
        spec
    };
    let all = world.virtual_services.iter();
    all.map(|one| (one.object.key(), written(one.object.get("/spec").expect("a spec")))).collect()
}
