//! `init SERVICE`: makes what a canary needs, in the order that never breaks traffic.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use mesh_cli::dry_run::{DryRun, DryRunArgs};
use mesh_cli::interrupt::Interrupts;
use mesh_cli::output::{self, Output};
use mesh_cli::text::{dim, good, plain, strong, warn};
use mesh_cli::{Exit, Failure, Loaded, SourceArgs, Ui, plan};
use mesh_model::canary::carrier::Carrier;
use mesh_model::canary::init::{Init, NoInit, init};
use mesh_model::canary::preflight::problems;
use mesh_model::canary::proof::{clusters_due, due};
use mesh_model::change::{Change, Reference};
use mesh_model::routing::request::Request;
use mesh_model::routing::{KINDS, Routing};
use mesh_model::world::World;
use serde::Serialize;

use crate::apply::{self, How, Sink, Written};
use crate::preflight;
use crate::proof::{Proof, ProofArgs};
use crate::subject::Subject;

/// How long the proxies get for new subsets where they cannot be asked: istiod gathers changes for 10 seconds at
/// most before it pushes them (`PILOT_DEBOUNCE_MAX`).
const BLIND_WAIT: Duration = Duration::from_secs(12);

/// Make what is missing for a canary: subsets from the versions that the pods carry, and routes at 100/0.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(before_help = "
# Prepare payment for a canary; show first what would be made
kubectl mesh-canary init payment --dry-run -o yaml
kubectl mesh-canary init payment

# The versions are in another label of the pods
kubectl mesh-canary init payment --label track
")]
pub(crate) struct Arguments {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: String,
    /// The label of the pods whose values are the versions.
    #[arg(long, value_name = "LABEL", default_value = "version")]
    label: String,
    /// Which version is the canary; the one whose workload is youngest if not given.
    #[arg(long, value_name = "VERSION")]
    canary: Option<String>,
    /// Make it even where callers would get 503.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    proof: ProofArgs,
    #[command(flatten)]
    dry_run: DryRunArgs,
    /// Output format.
    #[arg(short, long, default_value = "table", value_parser = Output::one_of(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Name]))]
    output: Output,
    #[command(flatten)]
    source: SourceArgs,
}

/// What was made, as programs see it.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Prepared {
    service: String,
    /// The versions; the first keeps all requests.
    versions: Vec<String>,
    /// The objects that were written, in order.
    written: Vec<String>,
    /// What would break, and why: nothing was made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refusals: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<Proof>,
}

impl Arguments {
    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        let sink = Sink::open(&self.source)?;
        let loaded = self.source.load_only(ui, &KINDS)?;
        let routing = Routing::new(&loaded.world);
        let subject = Subject::find(ui, &routing, &loaded, &self.service)?;
        let Subject { service, host, carriers, .. } = &subject;
        let made = init(&routing, service, host, carriers, &self.label, self.canary.as_deref());
        let made = made.map_err(|why| no_init(&subject, &why))?;
        let mut prepared =
            Prepared { service: subject.key(), versions: made.versions.clone(), ..Prepared::default() };
        let all: Vec<Change> = made.first.iter().chain(&made.then).cloned().collect();
        if all.is_empty() {
            if self.is_table() {
                ui.answer(plain(format!("{}: nothing is missing", subject.key())))?;
            }
            return self.finish(ui, &prepared);
        }
        prepared.refusals = self.refusals(ui, &subject, &made, &all)?;
        if !prepared.refusals.is_empty() {
            if self.is_table() {
                preflight::say(ui, "these callers would be cut off or led elsewhere", &prepared.refusals)?;
            }
            return self.finish(ui, &prepared).map(|_| Exit::No);
        }
        for note in &made.notes {
            ui.note(dim(note));
        }
        prepared.written = all.iter().map(|change| plan::name(&change.object())).collect();
        let exit = match &sink {
            Sink::Cluster { .. } if self.dry_run.dry_run == DryRun::None => {
                self.in_order(ui, &sink, &loaded, &subject, &made, &mut prepared)?
            }
            _ => {
                self.write(ui, &sink, &loaded, &all)?;
                if matches!(sink, Sink::Files) && !made.first.is_empty() && !made.then.is_empty() {
                    ui.note(dim(
                        "in a running mesh apply the DestinationRule first, and the VirtualService when all \
                         proxies have it",
                    ));
                }
                Exit::Yes
            }
        };
        self.finish(ui, &prepared)?;
        Ok(exit)
    }

    fn is_table(&self) -> bool {
        matches!(self.output, Output::Table | Output::Wide)
    }

    /// Says what was made.
    fn finish(&self, ui: &Ui, prepared: &Prepared) -> Result<Exit, Failure> {
        let objects_shown = self.dry_run.dry_run != DryRun::None && prepared.refusals.is_empty();
        match self.output {
            Output::Json if !objects_shown => output::json(ui, "CanaryInit", prepared)?,
            Output::Yaml if !objects_shown => output::yaml(ui, "CanaryInit", prepared)?,
            Output::Table | Output::Wide if !prepared.written.is_empty() => {
                if let Some(proof) = &prepared.proof {
                    proof.show(ui, "in force")?;
                }
                let [stable, rest @ ..] = prepared.versions.as_slice() else { return Ok(Exit::Yes) };
                let next = rest.last().map_or(String::new(), |canary| {
                    format!("; next: kubectl mesh-canary {} 10 --canary {canary}", self.service)
                });
                let go = if self.dry_run.dry_run == DryRun::None { "go" } else { "would go" };
                ui.answer(
                    strong(&prepared.service) + plain(format!(": all requests {go} to {stable}{next}")),
                )?;
            }
            _ => {}
        }
        Ok(Exit::Yes)
    }

    /// Who would get 503 from the version that keeps the requests.
    fn refusals(
        &self,
        ui: &Ui,
        subject: &Subject<'_, '_>,
        made: &Init,
        all: &[Change],
    ) -> Result<Vec<String>, Failure> {
        let after = after(subject.world(), all)?;
        let routing = Routing::new(&after);
        let Some(then) = of(&routing, subject)? else { return Ok(Vec::new()) };
        let routes: Vec<&Carrier<'_>> = written(&then.carriers, all);
        let stable = made.versions.first();
        let stable = then.versions.iter().find(|version| Some(&version.name) == stable);
        let Some(stable) = stable else { return Ok(Vec::new()) };
        let (ready, of) =
            (stable.ready(), then.versions.iter().map(|version| version.ready()).sum::<usize>());
        if ready < of {
            ui.warning(&format!(
                "{} keeps all requests with {ready} of {of} ready pods; until now all of them took requests",
                stable.name
            ));
        }
        if routes.iter().all(|route| route.in_force.is_empty()) {
            ui.warning(
                "the new routes will be in force for nobody: another VirtualService comes before them, or \
                 nothing has a sidecar",
            );
        }
        let found = problems(&routing, then.host, stable, &routes, &then.callers);
        let mut found: Vec<String> = found.iter().map(preflight::words).collect();
        found.extend(hidden(subject, &then));
        if self.force {
            found.iter().for_each(|problem| ui.warning(problem));
            return Ok(Vec::new());
        }
        Ok(found)
    }

    /// First the subsets, then, when the callers' proxies have them, the routes.
    fn in_order(
        &self,
        ui: &Ui,
        sink: &Sink,
        loaded: &Loaded,
        subject: &Subject<'_, '_>,
        made: &Init,
        prepared: &mut Prepared,
    ) -> Result<Exit, Failure> {
        let Sink::Cluster { connection, .. } = sink else { return Ok(Exit::Yes) };
        let interrupts = RefCell::new(Interrupts::take());
        self.write(ui, sink, loaded, &made.first)?;
        let before = after(&loaded.world, &made.first)?;
        if !made.first.is_empty() && !made.then.is_empty() {
            let routing = Routing::new(&before);
            let due = clusters_due(&routing, subject.host, &made.versions);
            let proof = self.proof.prove(ui, connection, due, &interrupts)?;
            if proof.forbidden {
                ui.note(dim("the proxies cannot be asked whether they have the subsets: giving them time"));
                let progress = ui.progress();
                progress.show("waiting for the proxies to have the subsets…");
                thread::sleep(BLIND_WAIT);
            } else if proof.have < proof.asked && !self.force {
                proof.show(ui, "ready for the routes")?;
                let text = ": the subsets are written, and no route leads to them yet; run it again to go on";
                ui.answer(warn("not finished") + plain(text))?;
                prepared.written.truncate(made.first.len());
                return Ok(Exit::Unknown);
            } else {
                ui.note(good("ready: ") + plain(format!("{} proxies have the subsets", proof.have)));
            }
        }
        self.write(ui, sink, loaded, &made.then)?;
        if self.proof.is_skipped() {
            return Ok(Exit::Yes);
        }
        let world = after(&before, &made.then)?;
        let routing = Routing::new(&world);
        let Some(then) = of(&routing, subject)? else { return Ok(Exit::Yes) };
        let routes = written(&then.carriers, &made.then);
        let proof = self.proof.prove(ui, connection, due(&routing, then.host, &routes), &interrupts)?;
        let exit = proof.exit();
        prepared.proof = Some(proof);
        Ok(exit)
    }

    fn write(&self, ui: &Ui, sink: &Sink, loaded: &Loaded, changes: &[Change]) -> Result<(), Failure> {
        let how = How {
            dry_run: self.dry_run.dry_run,
            output: match self.dry_run.dry_run {
                DryRun::None => Output::Table,
                DryRun::Client | DryRun::Server => self.output,
            },
            quiet: !self.is_table(),
        };
        match apply::write(ui, sink, loaded, changes, how)? {
            Written::All => Ok(()),
            Written::Conflict { done, failure } => Err(apply::interrupted(failure, changes, done)
                .hint(format!("run it again: kubectl mesh-canary init {}", self.service))),
        }
    }
}

fn after(world: &World, changes: &[Change]) -> Result<World, Failure> {
    world.after(changes).map_err(|mismatch| Failure::conflict(format!("error: {mismatch}")))
}

/// The service in another World.
fn of<'r, 'w>(
    routing: &'r Routing<'w>,
    subject: &Subject<'_, '_>,
) -> Result<Option<Subject<'r, 'w>>, Failure> {
    let same = |service: &&mesh_model::service::Service| service.object.key() == subject.key();
    routing.world().services.iter().find(same).map(|service| Subject::of(routing, service)).transpose()
}

/// The callers whose requests another VirtualService takes now, which would not any more: one for the service's
/// own name comes before those for wildcards, with all that they say of timeouts, retries and headers.
fn hidden(before: &Subject<'_, '_>, after: &Subject<'_, '_>) -> BTreeSet<String> {
    let taken = |subject: &Subject<'_, '_>| -> BTreeSet<(String, String)> {
        let sidecars = subject.callers.iter().filter(|callers| !callers.workload.is_gateway);
        let asked = sidecars.flat_map(|callers| {
            let proxy = subject.routing.proxy_of(callers);
            let ports = subject.host.ports.iter().filter(|port| port.speaks.may_be_http());
            let taken = ports.filter_map(|port| {
                let request = Request {
                    host: subject.host.name.clone(),
                    port: port.number,
                    method: "GET".to_owned(),
                    path: "/".to_owned(),
                    ..Request::default()
                };
                proxy.resolve(&request).virtual_service.map(|one| one.object.key())
            });
            let namespace = callers.workload.namespace.clone();
            taken.map(move |key| (namespace.clone(), key)).collect::<Vec<_>>()
        });
        asked.collect()
    };
    let gone = &taken(before) - &taken(after);
    gone.into_iter()
        .map(|(namespace, key)| {
            format!(
                "for namespace {namespace}: VirtualService {key} takes their requests now, and would not any more"
            )
        })
        .collect()
}

/// The routes of objects that some changes write.
fn written<'c, 'r>(carriers: &'c [Carrier<'r>], changes: &[Change]) -> Vec<&'c Carrier<'r>> {
    let objects: Vec<Reference> = changes.iter().map(Change::object).collect();
    let is = |carrier: &&Carrier<'_>| objects.iter().any(|object| object.means(&carrier.place.object));
    carriers.iter().filter(is).collect()
}

fn no_init(subject: &Subject<'_, '_>, why: &NoInit) -> Failure {
    let key = subject.key();
    match why {
        NoInit::NoPods => Failure::error(format!("no pods of {key} were read: there are no versions"))
            .hint("a selector that fits, or the Deployments beside it in the manifests"),
        NoInit::Unlabelled { label, workloads } => {
            Failure::error(format!("not all pods of {key} have the label {label}: {}", workloads.join(", ")))
                .hint("label the pods' templates, or name another label with --label")
        }
        NoInit::OneVersion { label, version } => {
            Failure::error(format!("all pods of {key} have {label}={version}: there is one version only"))
                .hint("deploy the new version first, with its own value of the label")
        }
        NoInit::Mismatch(mismatch) => Failure::conflict(format!("error: {mismatch}")),
    }
}
