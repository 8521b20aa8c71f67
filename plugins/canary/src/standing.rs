//! How a service's traffic is split now: the answer of `status`, as a value.

use std::collections::BTreeMap;

use mesh_model::canary::attempt;
use mesh_model::canary::course::Run;
use mesh_model::canary::owner;
use mesh_model::canary::plan::{label, last_step, unreached};
use mesh_model::canary::version::Choice;
use mesh_model::canary::weights::percent;
use mesh_model::gate::{Reporter, proportion};
use mesh_model::routing::request::Request;
use mesh_model::routing::resolve::Why;
use serde::Serialize;

use crate::shift::Assumed;
use crate::subject::{Subject, because};
use crate::traffic::Lately;

/// The least number of requests in the last minute from which a split is read.
pub(crate) const LEAST_FOR_SPLIT: u64 = 30;

/// The chance that a split which is right reads as wrong, at either side.
const SPLIT_ALPHA: f64 = 0.005;

/// The answer; printed for programs as `CanaryStatus`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Standing {
    /// `NAMESPACE/NAME`.
    pub(crate) service: String,
    /// The canary; none where nothing tells it.
    pub(crate) canary: Option<String>,
    /// Why it is that one, or why none is.
    pub(crate) because: String,
    /// The share that the routes in force give it, in percent, where all give it the same.
    pub(crate) percent: Option<f64>,
    /// Every route that carries the service.
    pub(crate) routes: Vec<RouteStanding>,
    /// Every version that a route names.
    pub(crate) versions: Vec<VersionStanding>,
    /// Who else writes the routes' objects.
    pub(crate) owners: Vec<OwnerStanding>,
    /// Objects (`NAMESPACE/NAME`) that an interrupted shift has not reached.
    pub(crate) unreached: Vec<String>,
    /// A run that has not ended.
    pub(crate) run: Option<RunStanding>,
    /// An attempt (`set --try`) that is under way.
    pub(crate) attempt: Option<AttemptStanding>,
    /// What could change this answer, and cannot be known from what was read.
    pub(crate) assumptions: Vec<Assumed>,
    /// What Prometheus has counted in the last minute.
    pub(crate) traffic: Option<Lately>,
    /// Why there are no numbers.
    pub(crate) no_traffic: Option<String>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RouteStanding {
    /// As people call it: `NS/NAME http[0]`.
    pub(crate) route: String,
    /// The VirtualService, as `NAMESPACE/NAME`.
    pub(crate) virtual_service: String,
    /// Where it stands: `file:line`, or the object.
    pub(crate) at: String,
    /// Its destinations.
    pub(crate) destinations: Vec<Share>,
    /// Whether it takes only some requests.
    pub(crate) has_match: bool,
    /// Whom it is in force for.
    pub(crate) in_force: Vec<InForce>,
    /// Where it is in force for nobody: what comes before it, and why.
    pub(crate) shadowed: Vec<Shadow>,
}

/// A destination's share.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Share {
    /// The version; of another service its host.
    pub(crate) version: String,
    /// Its weight.
    pub(crate) weight: u32,
}

/// Callers that a route is in force for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InForce {
    /// Their namespace.
    pub(crate) namespace: String,
    /// The gateway, where it is one.
    pub(crate) gateway: Option<String>,
    /// How many proxies run there.
    pub(crate) proxies: usize,
}

/// What comes before a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shadow {
    /// The VirtualService that callers go by instead; none where they go by none.
    pub(crate) by: Option<String>,
    /// Why.
    pub(crate) why: &'static str,
}

/// A version.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VersionStanding {
    /// Its name.
    pub(crate) name: String,
    /// The host that routes name.
    pub(crate) host: String,
    /// The subset; empty for a host of its own.
    pub(crate) subset: String,
    /// The labels of its pods, `NAME=VALUE` by commas; none where no DestinationRule defines the subset.
    pub(crate) labels: Option<String>,
    /// Its workloads, as `KIND/NAME`.
    pub(crate) workloads: Vec<String>,
    /// Endpoints that take requests; none where the source does not say.
    pub(crate) ready: Option<usize>,
    /// All endpoints; none where the source does not say.
    pub(crate) endpoints: Option<usize>,
}

/// Somebody who writes the routes' objects.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OwnerStanding {
    /// The object, as `NAMESPACE/NAME`.
    pub(crate) object: String,
    /// The tool.
    pub(crate) tool: &'static str,
    /// What says so.
    pub(crate) evidence: String,
    /// What it does with a shift.
    pub(crate) effect: &'static str,
}

/// A run that has not ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunStanding {
    /// When it began.
    pub(crate) began: String,
    /// Its steps in percent.
    pub(crate) steps: Vec<u32>,
    /// The step it is at, in percent; none before the first.
    pub(crate) at: Option<u32>,
}

/// An attempt that is under way.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttemptStanding {
    /// The canary.
    pub(crate) canary: String,
    /// Its share in percent.
    pub(crate) percent: u32,
    /// What it is in front of, as `NAMESPACE/NAME`.
    pub(crate) of: String,
    /// The copies, as `NAMESPACE/NAME`.
    pub(crate) virtual_services: Vec<String>,
    /// The Jobs that they burn with, in the namespace of the copies.
    pub(crate) jobs: Vec<String>,
    /// Why it is not what it was, if so.
    pub(crate) stale: Option<String>,
}

impl AttemptStanding {
    fn of(subject: &Subject<'_, '_>) -> Option<Self> {
        // The copies are of this World: nothing can be missing.
        let attempt::Standing { running, stale } =
            attempt::standing(subject.world(), subject.service).ok().flatten()?;
        Some(Self {
            canary: running.attempt.canary.clone(),
            percent: running.attempt.percent,
            of: running.attempt.of.clone(),
            virtual_services: running.copies.iter().map(mesh_model::object::Object::key).collect(),
            jobs: running.jobs().into_iter().map(str::to_owned).collect(),
            stale: stale.map(|stale| stale.to_string()),
        })
    }
}

impl Standing {
    /// Of a subject, with what Prometheus has counted.
    pub(crate) fn of(
        subject: &Subject<'_, '_>,
        named: Option<&str>,
        traffic: Result<Lately, Option<String>>,
    ) -> Self {
        let attempt = AttemptStanding::of(subject);
        let tried = attempt.as_ref().filter(|_| named.is_none()).map(|attempt| attempt.canary.as_str());
        let canary =
            mesh_model::canary::version::canary(&subject.versions, &subject.carriers, named.or(tried));
        let (traffic, no_traffic) = match traffic {
            Ok(lately) => (Some(lately), None),
            Err(why) => (None, why),
        };
        let because = match &canary {
            Ok((_, Choice::Named)) if tried.is_some() => "the attempt that is under way says so".to_owned(),
            Ok((_, choice)) => because(choice).to_owned(),
            Err(_) if subject.carriers.is_empty() => "no canary, no VirtualService routes to it".to_owned(),
            Err(_) if subject.versions.len() < 2 => "no canary, there are not two versions".to_owned(),
            Err(_) => "canary unknown, name it with --canary".to_owned(),
        };
        let name = canary.as_ref().ok().map(|(version, _)| version.name.clone());
        let mut shares = Vec::new();
        if let Ok((version, _)) = &canary {
            for carrier in subject.carriers.iter().filter(|carrier| !carrier.in_force.is_empty()) {
                let is: Vec<bool> = carrier.destinations.iter().map(|one| version.is(one)).collect();
                if is.contains(&true) {
                    shares.extend(percent(&carrier.weights(), &is));
                }
            }
        }
        let same = shares.windows(2).all(|pair| (pair[0] - pair[1]).abs() < 1.0);
        let percent = shares.first().copied().filter(|_| same);
        let mut owners: BTreeMap<String, OwnerStanding> = BTreeMap::new();
        for carrier in &subject.carriers {
            let object = &carrier.place.object;
            for one in owner::owners(object) {
                let standing = OwnerStanding {
                    object: object.key(),
                    tool: one.tool,
                    evidence: one.evidence,
                    effect: one.effect,
                };
                owners.insert(format!("{} {}", object.key(), one.tool), standing);
            }
        }
        let unreached = last_step(&subject.carriers).map(|step| unreached(&subject.carriers, &step));
        // Another command has ended it: what is left of its plan is old.
        let run = Run::of_all(&subject.carriers).filter(|run| run.ended_by(&subject.carriers).is_none());
        let run = run.map(|run| RunStanding {
            began: run.id.clone(),
            at: run.at(&subject.carriers).and_then(|at| run.steps.get(at).copied()),
            steps: run.steps,
        });
        Self {
            service: subject.key(),
            canary: name,
            because,
            percent,
            routes: routes(subject),
            versions: versions(subject),
            owners: owners.into_values().collect(),
            unreached: unreached.unwrap_or_default(),
            run,
            attempt,
            assumptions: subject.assumptions().into_iter().map(Assumed::from).collect(),
            traffic,
            no_traffic,
        }
    }

    /// Whether the observed split is what the weights say: the canary's share of at least
    /// [`LEAST_FOR_SPLIT`] requests is within the exact 99 % bounds; why not otherwise.
    pub(crate) fn is_as_weighted(&self) -> Result<(), String> {
        if !self.unreached.is_empty() {
            return Err("a shift was interrupted".to_owned());
        }
        if self.canary.is_none() {
            return Err(self.because.clone());
        }
        let Some(percent) = self.percent else {
            return Err(self.no_percent().to_owned());
        };
        let (Some(canary), Some(traffic)) = (&self.canary, &self.traffic) else {
            let why = self.no_traffic.as_ref().map_or(String::new(), |why| format!(": {why}"));
            return Err(format!("no numbers{why}"));
        };
        let own = traffic.versions.iter().find(|one| one.name == *canary).map_or(0, |one| one.requests);
        if traffic.requests < LEAST_FOR_SPLIT {
            return Err(format!("{} requests are too few to see a split", traffic.requests));
        }
        let low = proportion::lower(own, traffic.requests, SPLIT_ALPHA);
        let high = proportion::upper(own, traffic.requests, SPLIT_ALPHA);
        let wanted = percent / 100.0;
        if low <= wanted && wanted <= high {
            Ok(())
        } else {
            Err(format!(
                "the canary gets between {:.0} and {:.0} % of the requests, and should get {percent:.0}",
                low * 100.0,
                high * 100.0
            ))
        }
    }

    /// Why the canary has no share that could be said.
    pub(crate) fn no_percent(&self) -> &'static str {
        let leads = |route: &&RouteStanding| {
            route.destinations.iter().any(|share| Some(&share.version) == self.canary.as_ref())
        };
        let mut in_force = self.routes.iter().filter(|route| !route.in_force.is_empty());
        if in_force.any(|route| leads(&route)) {
            "its share differs by route"
        } else {
            "no route in force leads to it"
        }
    }

    /// The reporter that counts.
    pub(crate) fn reporter(&self) -> Option<Reporter> {
        self.traffic.as_ref().and_then(|traffic| traffic.reporter)
    }
}

fn routes(subject: &Subject<'_, '_>) -> Vec<RouteStanding> {
    subject
        .carriers
        .iter()
        .map(|carrier| {
            let destinations = carrier.destinations.iter().zip(carrier.weights());
            let destinations = destinations.map(|(destination, weight)| {
                let version = subject.versions.iter().find(|version| version.is(destination));
                let version = version.map_or_else(|| destination.host.clone(), |one| one.name.clone());
                Share { version, weight }
            });
            let mut in_force: Vec<InForce> = Vec::new();
            for client in &carrier.in_force {
                let same = in_force
                    .iter_mut()
                    .find(|one| one.namespace == client.namespace && one.gateway == client.gateway);
                match same {
                    Some(one) => one.proxies += client.proxies,
                    None => in_force.push(InForce {
                        namespace: client.namespace.clone(),
                        gateway: client.gateway.clone(),
                        proxies: client.proxies,
                    }),
                }
            }
            let virtual_service = carrier.virtual_service.object.key();
            let shadowed = if in_force.is_empty() { shadows(subject, &virtual_service) } else { Vec::new() };
            RouteStanding {
                route: label(carrier),
                virtual_service,
                at: carrier.place.at(),
                destinations: destinations.collect(),
                has_match: carrier.has_match,
                in_force,
                shadowed,
            }
        })
        .collect()
}

/// By what callers go instead of a VirtualService, and why; one answer each.
fn shadows(subject: &Subject<'_, '_>, virtual_service: &str) -> Vec<Shadow> {
    let mut found = Vec::new();
    for callers in &subject.callers {
        let proxy = subject.routing.proxy_of(callers);
        for port in &subject.host.ports {
            let request = Request {
                host: subject.host.name.clone(),
                port: port.number,
                method: "GET".to_owned(),
                path: "/".to_owned(),
                ..Request::default()
            };
            let taken = proxy.resolve(&request);
            let by = taken.virtual_service.map(|one| one.object.key());
            if by.as_deref() == Some(virtual_service) {
                let why = "a route before it takes everything";
                found.push(Shadow { by: None, why });
                continue;
            }
            let shadowed =
                taken.shadowed.iter().find(|one| one.virtual_service.object.key() == virtual_service);
            if let Some(shadowed) = shadowed {
                let why = match shadowed.why {
                    Why::OtherGateway => "it is for other gateways",
                    Why::NotExported => "it is not exported there",
                    Why::NotImported => "the callers' Sidecar objects do not import it",
                    Why::NoRouteForCaller => "none of its routes is for these callers",
                    Why::Later => "it comes first",
                    Why::LessSpecific => "it names the host more exactly",
                };
                let by = by.filter(|_| matches!(shadowed.why, Why::Later | Why::LessSpecific));
                found.push(Shadow { by, why });
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

fn versions(subject: &Subject<'_, '_>) -> Vec<VersionStanding> {
    let knows_pods = subject.routing.registry.knows_pods();
    let of = subject.versions.iter().map(|version| VersionStanding {
        name: version.name.clone(),
        host: version.host.clone(),
        subset: version.subset.clone(),
        labels: version.labels.as_ref().map(|labels| {
            labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
        }),
        workloads: version
            .workloads
            .iter()
            .map(|workload| format!("{}/{}", workload.kind.to_string().to_lowercase(), workload.name))
            .collect(),
        ready: knows_pods.then(|| version.ready()),
        endpoints: knows_pods.then_some(version.endpoints.len()),
    });
    of.collect()
}
