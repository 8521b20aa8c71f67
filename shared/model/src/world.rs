//! The World: a snapshot of objects, indexed. The only door from I/O to logic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::destination_rule::DestinationRule;
use crate::gateway::Gateway;
use crate::host;
use crate::injection::DEFAULT_REVISION;
use crate::labels::{Labels, labels, selector_matches};
use crate::mesh_config::MeshConfig;
use crate::object::{Kind, Object};
use crate::peer_authentication::{PeerAuthentication, PeerAuthentications};
use crate::policy::AuthorizationPolicy;
use crate::request_authentication::RequestAuthentication;
use crate::service::Service;
use crate::service_entry::ServiceEntry;
use crate::sidecar::Sidecar;
use crate::version::{Profile, Version};
use crate::virtual_service::VirtualService;
use crate::workload::{self, Workload};

/// Something that is assumed in an answer because it could not be known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Assumption {
    /// Stable, kebab-case; each is explained in `docs/authz.md`.
    pub code: &'static str,
    /// What was assumed and about what, as a sentence.
    pub text: String,
}

impl Assumption {
    /// That nobody here knows what an external authorizer says.
    pub(crate) fn external_authorizer(policy: &str) -> Self {
        let text = format!(
            "AuthorizationPolicy {policy} asks an external authorizer, whose answer is not known here"
        );
        Self { code: "external-authorizer", text }
    }
}

/// A list that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The kind that could not be listed.
    pub kind: Kind,
    /// The only namespaces in which it could be listed after all; usually none.
    pub readable: Vec<String>,
    /// Why, in the server's words.
    pub reason: String,
}

/// What was read, before it is understood.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// All objects read.
    pub objects: Vec<Object>,
    /// All lists that could not be read.
    pub gaps: Vec<Gap>,
    /// Istio's version if the user stated it (`--istio-version 1.27.3`).
    pub istio_version: Option<String>,
}

/// An age that sorts after all others.
const YOUNGEST: &str = "9999-12-31T23:59:59Z";

/// A snapshot of objects, indexed for questions.
#[derive(Clone, Debug)]
pub struct World {
    objects: Vec<Arc<Object>>,
    gaps: Vec<Gap>,
    stated_version: Option<String>,
    /// How the mesh's version of Istio reads policies.
    pub profile: Profile,
    /// Where the version comes from; `None` where the newest is assumed.
    pub version_source: Option<String>,
    /// The mesh configuration.
    pub mesh: MeshConfig,
    /// The labels of each Namespace in the input.
    pub namespaces: BTreeMap<String, Labels>,
    /// Services, the oldest first, then by name: the order in which ports are given away.
    pub services: Vec<Service>,
    /// Workloads by namespace and name.
    pub workloads: Vec<Workload>,
    /// AuthorizationPolicies by namespace and name.
    pub policies: Vec<AuthorizationPolicy>,
    /// PeerAuthentications by namespace, the oldest first.
    pub peer_authentications: Vec<PeerAuthentication>,
    /// RequestAuthentications.
    pub request_authentications: Vec<RequestAuthentication>,
    /// DestinationRules, the oldest first.
    pub destination_rules: Vec<DestinationRule>,
    /// Sidecar objects in the order in which they are tried: with selectors first, then the oldest.
    pub sidecars: Vec<Sidecar>,
    /// Gateway objects.
    pub gateways: Vec<Gateway>,
    /// VirtualServices, as they are written, the oldest first.
    pub virtual_services: Vec<VirtualService>,
    /// ServiceEntries.
    pub service_entries: Vec<ServiceEntry>,
    /// EnvoyFilters.
    pub envoy_filters: Vec<Arc<Object>>,
    policies_of: BTreeMap<String, Vec<usize>>,
    destination_rules_of: BTreeMap<String, Vec<usize>>,
    services_of: BTreeMap<String, Vec<usize>>,
}

impl World {
    /// Understands a snapshot. Never fails: what is malformed is kept and treated as a proxy would.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        let objects = snapshot.objects.into_iter().map(Arc::new).collect();
        Self::of(objects, snapshot.gaps, snapshot.istio_version)
    }

    fn of(objects: Vec<Arc<Object>>, gaps: Vec<Gap>, stated_version: Option<String>) -> Self {
        let mesh = mesh_config(&objects);
        let namespaces: BTreeMap<String, Labels> = of_kind(&objects, Kind::Namespace)
            .map(|object| (object.name.clone(), labels(object.get("/metadata/labels"))))
            .collect();
        // Namespaces that istiod does not watch are not there for it; pods are pods all the same.
        let watched = |object: &&Arc<Object>| {
            mesh.discovery_selectors.is_empty()
                || namespaces.get(&object.namespace).is_none_or(|labels| {
                    mesh.discovery_selectors.iter().any(|selector| selector_matches(selector, labels))
                })
        };
        let seen = |kind| of_kind(&objects, kind).filter(watched);

        let mut services: Vec<Service> = seen(Kind::Service).map(Service::read).collect();
        services.sort_by_cached_key(|service| (service.created.clone(), service.host()));
        let mut policies: Vec<AuthorizationPolicy> =
            seen(Kind::AuthorizationPolicy).map(AuthorizationPolicy::read).collect();
        policies.sort_by(|a, b| {
            (&a.object.namespace, &a.object.name).cmp(&(&b.object.namespace, &b.object.name))
        });
        let mut destination_rules: Vec<DestinationRule> =
            seen(Kind::DestinationRule).map(DestinationRule::read).collect();
        destination_rules.sort_by(|a, b| {
            (&a.created, &a.object.name, &a.object.namespace).cmp(&(
                &b.created,
                &b.object.name,
                &b.object.namespace,
            ))
        });
        let mut sidecars: Vec<Sidecar> = seen(Kind::Sidecar).map(Sidecar::read).collect();
        sidecars.sort_by(|a, b| {
            (a.selector.is_none(), &a.created, &a.object.name).cmp(&(
                b.selector.is_none(),
                &b.created,
                &b.object.name,
            ))
        });
        let mut peer_authentications: Vec<PeerAuthentication> =
            seen(Kind::PeerAuthentication).map(PeerAuthentication::read).collect();
        peer_authentications.sort_by(PeerAuthentication::order);
        let request_authentications: Vec<RequestAuthentication> =
            seen(Kind::RequestAuthentication).map(RequestAuthentication::read).collect();
        let gateways: Vec<Gateway> = seen(Kind::Gateway).map(Gateway::read).collect();
        let mut virtual_services: Vec<VirtualService> =
            seen(Kind::VirtualService).map(VirtualService::read).collect();
        virtual_services.sort_by(VirtualService::order);
        let service_entries = seen(Kind::ServiceEntry).map(ServiceEntry::read).collect();

        let selected_by: BTreeSet<String> = policies
            .iter()
            .map(|policy| &policy.selector)
            .chain(services.iter().filter_map(|service| service.selector.as_ref()))
            .chain(request_authentications.iter().map(|policy| &policy.selector))
            .flat_map(|selector| selector.labels().keys().cloned())
            .collect();
        let context = workload::Context {
            namespaces: &namespaces,
            root_namespace: &mesh.root_namespace,
            selected_by: &selected_by,
        };
        let mut workloads = workload::read(&objects, &context);
        for workload in &mut workloads {
            workload.is_gateway = workload.gateway_api_name().is_some()
                || gateways.iter().any(|gateway: &Gateway| gateway.serves(workload));
        }
        let (profile, version_source) = version(stated_version.as_deref(), &objects);
        let policies_of = by_namespace(policies.iter().map(|policy| &policy.object));
        let destination_rules_of = by_namespace(destination_rules.iter().map(|rule| &rule.object));
        let envoy_filters = seen(Kind::EnvoyFilter).cloned().collect();
        let services_of = by_namespace(services.iter().map(|service| &service.object));
        Self {
            gaps,
            stated_version,
            profile,
            version_source,
            namespaces,
            services,
            workloads,
            policies,
            peer_authentications,
            request_authentications,
            destination_rules,
            sidecars,
            gateways,
            virtual_services,
            service_entries,
            envoy_filters,
            policies_of,
            destination_rules_of,
            services_of,
            mesh,
            objects,
        }
    }

    /// This World as if `objects` had been applied to it: an object with the kind, namespace and
    /// name of an existing one replaces it.
    #[must_use]
    pub fn with(&self, objects: Vec<Object>) -> Self {
        let replaced: BTreeSet<(Kind, &str, &str)> = objects
            .iter()
            .map(|object| (object.kind, object.namespace.as_str(), object.name.as_str()))
            .collect();
        let kept = self
            .objects
            .iter()
            .filter(|old| !replaced.contains(&(old.kind, old.namespace.as_str(), old.name.as_str())))
            .cloned()
            .collect::<Vec<_>>();
        let mut objects = objects;
        objects.iter_mut().for_each(|new| self.keep_what_the_server_sets(new));
        let all = kept.into_iter().chain(objects.into_iter().map(Arc::new)).collect();
        Self::of(all, self.gaps.clone(), self.stated_version.clone())
    }

    /// What an applied manifest does not say and the API server keeps: the age, by which rules come before
    /// others, and a Service's address. What is new is younger than all that is there.
    fn keep_what_the_server_sets(&self, new: &mut Object) {
        let age = "/metadata/creationTimestamp";
        let same = |old: &&Arc<Object>| {
            (old.kind, &old.namespace, &old.name) == (new.kind, &new.namespace, &new.name)
        };
        let old = self.objects.iter().find(same);
        let has_ages = || self.objects.iter().any(|object| object.get(age).is_some());
        let kept = match old {
            Some(old) => old.get(age).cloned(),
            None => has_ages().then(|| Value::from(YOUNGEST)),
        };
        let address = old.and_then(|old| old.get("/spec/clusterIP")).filter(|_| new.kind == Kind::Service);
        let address = address.cloned();
        for (part, name, value) in [("metadata", "creationTimestamp", kept), ("spec", "clusterIP", address)] {
            let part = new.value.get_mut(part).and_then(Value::as_object_mut);
            if let (Some(part), Some(value)) = (part, value) {
                let slot = part.entry(name).or_insert(Value::Null);
                if slot.is_null() {
                    *slot = value;
                }
            }
        }
    }

    /// This World with some objects as they are now; `None` for those that are gone.
    pub(crate) fn replacing(&self, mut now: BTreeMap<(Kind, String, String), Option<Object>>) -> Self {
        let mut objects = Vec::with_capacity(self.objects.len());
        for old in &self.objects {
            match now.remove(&(old.kind, old.namespace.clone(), old.name.clone())) {
                Some(new) => objects.extend(new.map(Arc::new)),
                None => objects.push(Arc::clone(old)),
            }
        }
        objects.extend(now.into_values().flatten().map(Arc::new));
        Self::of(objects, self.gaps.clone(), self.stated_version.clone())
    }

    /// The objects, as read.
    #[must_use]
    pub fn objects(&self) -> &[Arc<Object>] {
        &self.objects
    }

    /// The lists that could not be read.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// The numbers of the policies in a namespace.
    #[must_use]
    pub fn policies_in(&self, namespace: &str) -> &[usize] {
        self.policies_of.get(namespace).map_or(&[], Vec::as_slice)
    }

    /// The Services of a namespace, the oldest first.
    pub fn services_in(&self, namespace: &str) -> impl Iterator<Item = &Service> {
        let numbers = self.services_of.get(namespace).map_or(&[][..], Vec::as_slice);
        numbers.iter().filter_map(|number| self.services.get(*number))
    }

    /// The workloads that a Service selects.
    pub fn workloads_of<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a Workload> {
        self.workloads_in(&service.object.namespace).filter(|workload| {
            service.selector.as_ref().is_some_and(|selector| selector.selects(&workload.labels))
        })
    }

    /// The workloads of a namespace.
    pub fn workloads_in(&self, namespace: &str) -> impl Iterator<Item = &Workload> {
        let start = self.workloads.partition_point(|w| w.namespace.as_str() < namespace);
        let rest = self.workloads.get(start..).unwrap_or_default();
        let namespace = namespace.to_owned();
        rest.iter().take_while(move |workload| workload.namespace == namespace)
    }

    /// The identity of a service account, without `spiffe://`.
    #[must_use]
    pub fn principal(&self, namespace: &str, service_account: &str) -> String {
        format!("{}/ns/{namespace}/sa/{service_account}", self.mesh.trust_domains.own())
    }

    /// The PeerAuthentications with the namespace that is the mesh's.
    #[must_use]
    pub fn peer_authentications(&self) -> PeerAuthentications<'_> {
        PeerAuthentications { all: &self.peer_authentications, root_namespace: &self.mesh.root_namespace }
    }

    /// The pods that do not run, as far as the server says: by namespace and name.
    #[must_use]
    pub fn stopped_pods(&self) -> BTreeSet<(&str, &str)> {
        self.objects()
            .iter()
            .filter(|object| object.kind == Kind::Pod)
            .filter(|pod| pod.get("/status/phase").is_some_and(|phase| phase != "Running"))
            .map(|pod| (pod.namespace.as_str(), pod.name.as_str()))
            .collect()
    }

    /// The Sidecar object that a workload's proxy goes by (`doGetSidecarScope`): the first of its
    /// namespace that selects it, else the root namespace's without a selector.
    #[must_use]
    pub fn sidecar_of(&self, workload: &Workload) -> Option<&Sidecar> {
        if workload.is_gateway {
            return None;
        }
        let in_namespace = |namespace: &str| {
            let namespace = namespace.to_owned();
            self.sidecars.iter().filter(move |sidecar| sidecar.object.namespace == namespace)
        };
        in_namespace(&workload.namespace)
            .find(|sidecar| {
                sidecar.selector.as_ref().is_none_or(|selector| selector.selects(&workload.labels))
            })
            .or_else(|| in_namespace(&self.mesh.root_namespace).find(|sidecar| sidecar.selector.is_none()))
    }

    /// The Gateway objects that select a workload, in any namespace
    /// (`PILOT_SCOPE_GATEWAY_TO_NAMESPACE` is off by default).
    pub fn gateways_of<'a>(&'a self, workload: &'a Workload) -> impl Iterator<Item = &'a Gateway> {
        self.gateways.iter().filter(|gateway| gateway.serves(workload))
    }

    /// The DestinationRule that clients of a workload go by for a host: of the client's namespace,
    /// then the service's, then the root namespace; in each the most specific host, of equals the
    /// oldest. One for a selection of clients comes before those for all.
    #[must_use]
    pub fn destination_rule(&self, client: &Workload, service: &Service) -> Option<&DestinationRule> {
        let name = service.host();
        let root = &self.mesh.root_namespace;
        let owner = &service.object.namespace;
        let applies = |rule: &&DestinationRule, tier: &str| {
            rule.object.namespace == tier
                && host::covers(&rule.host, &name)
                && (rule.workload_selector.is_empty()
                    || (tier == client.namespace && rule.workload_selector.selects(&client.labels)))
                && (tier == client.namespace || {
                    let default = &self.mesh.default_destination_rule_export_to;
                    let export_to = rule.export_to.as_ref().unwrap_or(default);
                    host::exported(export_to, tier, &client.namespace)
                })
        };
        let mut tiers = vec![client.namespace.as_str(), owner, root];
        if client.namespace == *root {
            tiers.remove(0);
        }
        tiers.into_iter().find_map(|tier| {
            let rules = self.destination_rules_of.get(tier).map_or(&[][..], Vec::as_slice);
            let rules = rules.iter().filter_map(|number| self.destination_rules.get(*number));
            rules.filter(|rule| applies(rule, tier)).min_by_key(|rule| {
                (
                    rule.workload_selector.is_empty(),
                    std::cmp::Reverse(rule.host.trim_start_matches('*').len()),
                )
            })
        })
    }

    /// Whether a workload's proxy knows a Service: exported to its namespace and imported by its
    /// Sidecar.
    #[must_use]
    pub fn knows(&self, client: &Workload, service: &Service, port: u16) -> bool {
        let owner = &service.object.namespace;
        let export_to = service.export_to.as_ref().unwrap_or(&self.mesh.default_service_export_to);
        host::exported(export_to, owner, &client.namespace)
            && self
                .sidecar_of(client)
                .is_none_or(|sidecar| sidecar.imports(&client.namespace, owner, &service.host(), port))
    }
}

fn of_kind(objects: &[Arc<Object>], kind: Kind) -> impl Iterator<Item = &Arc<Object>> {
    objects.iter().filter(move |object| object.kind == kind)
}

fn by_namespace<'a>(objects: impl Iterator<Item = &'a Arc<Object>>) -> BTreeMap<String, Vec<usize>> {
    let mut index: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (number, object) in objects.enumerate() {
        index.entry(object.namespace.clone()).or_default().push(number);
    }
    index
}

/// The ConfigMap `istio`, else of the first revision (`istio-REVISION`), with a key `mesh`.
fn mesh_config(objects: &[Arc<Object>]) -> MeshConfig {
    let mut maps: Vec<&Arc<Object>> = of_kind(objects, Kind::ConfigMap)
        .filter(|object| object.name == "istio" || object.name.starts_with("istio-"))
        .filter(|object| object.get("/data/mesh").is_some())
        .collect();
    maps.sort_by_key(|object| (object.name != "istio", object.name.clone()));
    let Some(map) = maps.first() else { return MeshConfig::default() };
    let text = map.get("/data/mesh").and_then(Value::as_str).unwrap_or_default();
    let mesh: Value = serde_saphyr::from_str(text).unwrap_or(Value::Null);
    let mut config = MeshConfig::read(&mesh);
    let revision = map.name.strip_prefix("istio-").unwrap_or(DEFAULT_REVISION);
    config.revision = Some(revision.to_owned());
    if mesh.get("rootNamespace").is_none() {
        config.root_namespace.clone_from(&map.namespace);
    }
    config
}

/// The version that the user states, else istiod's label or image tag, else the newest.
fn version(stated: Option<&str>, objects: &[Arc<Object>]) -> (Profile, Option<String>) {
    if let Some(version) = stated.and_then(Version::parse) {
        return (Profile::new(version), Some("--istio-version".to_owned()));
    }
    let istiod = objects.iter().filter(|object| {
        matches!(object.kind, Kind::Deployment | Kind::Pod)
            && ["/metadata/labels/app", "/spec/template/metadata/labels/app"]
                .iter()
                .any(|label| object.get(label).and_then(Value::as_str) == Some("istiod"))
    });
    for object in istiod {
        let label =
            ["/metadata/labels/app.kubernetes.io~1version", "/metadata/labels/operator.istio.io~1version"];
        let images = ["/spec/template/spec/containers/0/image", "/spec/containers/0/image"];
        let tag = images.iter().find_map(|at| object.get(at)?.as_str()?.rsplit_once(':').map(|(_, tag)| tag));
        let labelled = label.iter().find_map(|at| object.get(at)?.as_str());
        // 1.0.0 is what Istio's charts say until a release writes its number into them (Chart.yaml).
        let labelled = labelled.filter(|&version| version != "1.0.0");
        if let Some(version) = labelled.into_iter().chain(tag).find_map(Version::parse) {
            let source = format!("{} {}", object.kind.name().to_ascii_lowercase(), object.key());
            return (Profile::new(version), Some(source));
        }
    }
    (Profile::default(), None)
}
