//! The answer: what becomes of a request, as a value.

use std::collections::BTreeSet;

use mesh_model::mesh_config::Outbound;
use mesh_model::object::Kind;
use mesh_model::question::who_can;
use mesh_model::routing::action::{Abort, Action, Cluster, Fault, Mirror, Retries, Rewrite, Weighted};
use mesh_model::routing::assumption;
use mesh_model::routing::registry::{Addressing, Host};
use mesh_model::routing::request::{Protocol, Request};
use mesh_model::routing::resolve::{Outcome, Resolution, Why};
use mesh_model::routing::scope::Egress;
use mesh_model::routing::{Landing, Proxy, Routing};
use mesh_model::virtual_service::{HttpRoute, Place, VirtualService};
use mesh_model::workload::Workload;
use mesh_model::world::Assumption;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::why::{self, Reason};
use crate::words;

/// What becomes of a request of callers for whom it is the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Route {
    pub virtual_service: Option<String>,
    pub route: Option<String>,
    pub destinations: Vec<Destination>,
    pub timeout: Option<String>,
    pub retries: Option<RetriesView>,
    pub fault: Option<FaultView>,
    pub rewrite: Option<RewriteView>,
    pub shadowed: Vec<String>,
    #[serde(serialize_with = "outcome")]
    pub outcome: Outcome,
    pub reason: Option<Reason>,
    pub callers: Vec<String>,
    pub request: Asked,
    pub virtual_host: Option<String>,
    pub delegate: Option<String>,
    pub at: Option<String>,
    pub matched: Vec<String>,
    pub matched_at: Option<String>,
    pub settings_at: SettingsAt,
    pub mirrors: Vec<MirrorView>,
    pub redirect: Option<Value>,
    pub direct_response: Option<Value>,
    pub why_shadowed: Vec<ShadowedView>,
    pub notes: Vec<String>,
    pub assumptions: Vec<Assumed>,
}

/// The request that was asked about.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Asked {
    pub protocol: &'static str,
    pub host: String,
    pub port: u16,
    pub method: Option<String>,
    pub path: Option<String>,
    pub headers: Vec<Header>,
}

/// A header of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Header {
    pub name: String,
    pub value: String,
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Destination {
    pub host: String,
    pub port: u16,
    pub subset: Option<String>,
    #[serde(serialize_with = "share")]
    pub weight: f64,
    pub destination_rule: Option<String>,
    pub endpoints: Option<usize>,
    pub not_ready: Option<usize>,
    pub by_caller: bool,
    pub destination_rule_at: Option<String>,
    pub at: Option<String>,
    pub missing: Option<Reason>,
}

/// `retries` as the proxy has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RetriesView {
    pub attempts: u32,
    pub retry_on: String,
    pub codes: Vec<u16>,
    pub per_try_timeout: Option<String>,
}

/// `fault` as the proxy has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FaultView {
    pub delay: Option<DelayView>,
    pub abort: Option<AbortView>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DelayView {
    pub fixed_delay: String,
    #[serde(serialize_with = "share")]
    pub percent: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AbortView {
    pub http_status: Option<u16>,
    pub grpc_status: Option<String>,
    #[serde(serialize_with = "share")]
    pub percent: f64,
}

/// `rewrite` as the proxy has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RewriteView {
    pub uri: Option<String>,
    pub uri_regex_match: Option<String>,
    pub uri_regex_rewrite: Option<String>,
    pub authority: Option<String>,
}

/// A copy of the requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MirrorView {
    pub host: String,
    pub port: u16,
    pub subset: Option<String>,
    #[serde(serialize_with = "share")]
    pub percent: f64,
    pub missing: Option<Reason>,
}

/// Where the settings of a route stand: of a delegated one, in the delegate or in its root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct SettingsAt {
    pub timeout: Option<String>,
    pub retries: Option<String>,
    pub fault: Option<String>,
    pub rewrite: Option<String>,
}

/// A VirtualService that the caller does not go by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShadowedView {
    pub virtual_service: String,
    pub code: &'static str,
    pub reason: String,
    pub at: String,
}

/// What is assumed, and whether the outcome could be another without it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Assumed {
    pub code: &'static str,
    pub text: String,
    pub decisive: bool,
}

fn outcome<S: Serializer>(outcome: &Outcome, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name(*outcome))
}

/// Whole numbers without a point, others to two places.
fn share<S: Serializer>(share: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    let rounded = (share * 100.0).round() / 100.0;
    if rounded.fract() == 0.0 {
        serializer.serialize_i64(rounded as i64)
    } else {
        serializer.serialize_f64(rounded)
    }
}

/// The name of an outcome, for programs and people.
pub(crate) fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Routed => "routed",
        Outcome::NotFound => "404",
        Outcome::NoCluster => "503",
        Outcome::Passthrough => "passthrough",
        Outcome::Blocked => "blocked",
        Outcome::Reset => "reset",
        Outcome::Refused => "refused",
        Outcome::Redirect => "redirect",
        Outcome::Direct => "direct",
    }
}

/// The answers for some workloads: each once, with those for whom it holds.
pub(crate) fn routes(
    routing: &Routing<'_>,
    numbers: &[usize],
    request: &Request,
    asked: &Asked,
) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    for number in numbers {
        let Some(workload) = routing.world().workloads.get(*number) else { continue };
        let mut new = route(routing, workload, request, asked);
        let caller = workload.key();
        if let Some(same) = routes.iter_mut().find(|old| {
            new.callers.clone_from(&old.callers);
            **old == new
        }) {
            if !same.callers.contains(&caller) {
                same.callers.push(caller);
            }
            continue;
        }
        new.callers = vec![caller];
        routes.push(new);
    }
    routes
}

fn route(routing: &Routing<'_>, workload: &Workload, request: &Request, asked: &Asked) -> Route {
    let proxy = routing.proxy(workload);
    if !workload.injection.injected && !workload.is_gateway {
        return bypass(&proxy, asked);
    }
    let found = proxy.resolve(request);
    let total: u32 = found.destinations.iter().map(|(one, _)| one.weight).sum();
    let mut route = empty(found.outcome, asked);
    route.virtual_host.clone_from(&found.virtual_host);
    route.destinations =
        found.destinations.iter().map(|(one, landing)| destination(&proxy, one, landing, total)).collect();
    by(&mut route, &found);
    if let Some(taken) = &found.route {
        does(&mut route, &proxy, &taken.action, taken.fault.as_ref());
        if let Some(matches) = &taken.matches {
            route.matched = words::of_caller(&matches.caller);
            let parts = words::of_request(matches, request);
            route.matched.extend(parts.into_iter().map(|(words, _)| words));
        }
    }
    if found.outcome == Outcome::Redirect && found.route.is_none() {
        // No route does it, but the Gateway's server.
        route.redirect = Some(serde_json::json!({ "scheme": "https" }));
    }
    let mut by_name = false;
    for one in &found.shadowed {
        let (reason, rests_on_name) = why::shadowed(&proxy, one, found.virtual_service);
        by_name |= rests_on_name && one.why == Why::Later;
        let key = one.virtual_service.object.key();
        route.shadowed.push(key.clone());
        let at = one.virtual_service.object.at("/spec/hosts");
        route.why_shadowed.push(ShadowedView {
            virtual_service: key,
            code: reason.code,
            reason: reason.text,
            at,
        });
    }
    route.reason = why(&proxy, request, &found, &route.destinations);
    route.notes = notes(&proxy, request, &found);
    route.assumptions = assumptions(&proxy, &route, by_name);
    route
}

fn empty(outcome: Outcome, asked: &Asked) -> Route {
    Route {
        virtual_service: None,
        route: None,
        destinations: Vec::new(),
        timeout: None,
        retries: None,
        fault: None,
        rewrite: None,
        shadowed: Vec::new(),
        outcome,
        reason: None,
        callers: Vec::new(),
        request: asked.clone(),
        virtual_host: None,
        delegate: None,
        at: None,
        matched: Vec::new(),
        matched_at: None,
        settings_at: SettingsAt::default(),
        mirrors: Vec::new(),
        redirect: None,
        direct_response: None,
        why_shadowed: Vec::new(),
        notes: Vec::new(),
        assumptions: Vec::new(),
    }
}

/// Without a sidecar, Kubernetes alone decides.
fn bypass(proxy: &Proxy<'_, '_>, asked: &Asked) -> Route {
    let (world, workload) = (proxy.routing().world(), proxy.workload);
    let mut route = empty(Outcome::Passthrough, asked);
    route.reason = Some(Reason {
        code: "caller-without-sidecar",
        text: format!("it has no sidecar: {}", workload.injection.reason),
    });
    let mut all: BTreeSet<Assumed> = BTreeSet::new();
    all.insert(Assumed {
        code: "caller-without-sidecar",
        text: "no VirtualService, DestinationRule or Sidecar is asked; Services alone decide".to_owned(),
        decisive: false,
    });
    all.extend(who_can::defaults(world).into_iter().map(minor));
    all.extend(proxy.assumptions().into_iter().filter(|one| one.code == "ambient").map(assumed));
    route.assumptions = all.into_iter().collect();
    route
}

fn assumed(one: assumption::Assumed) -> Assumed {
    Assumed { code: one.code, text: one.text, decisive: one.decisive }
}

fn minor(assumption: Assumption) -> Assumed {
    Assumed { code: assumption.code, text: assumption.text, decisive: false }
}

/// The VirtualService, its delegate, and the route.
fn by(route: &mut Route, found: &Resolution<'_>) {
    route.virtual_service = found.virtual_service.map(|one| one.object.key());
    let Some(place) = &found.place else { return };
    route.at = Some(place.at());
    let key = place.object.key();
    route.delegate = Some(key).filter(|key| Some(key) != route.virtual_service.as_ref());
    let number = || place.pointer.strip_prefix("/spec/").and_then(|rest| rest.split_once('/'));
    let named = found.route.as_ref().map(|route| route.name.clone()).filter(|name| !name.is_empty());
    route.route = named.or_else(|| number().map(|(list, number)| format!("{list}[{number}]")));
    if let Some(http) = found.virtual_service.and_then(|one| http_route(one, place)) {
        let at = |name: &str| http.settings.get(name).map(|setting| setting.place.at());
        route.settings_at = SettingsAt {
            timeout: at("timeout"),
            retries: at("retries"),
            fault: at("fault"),
            rewrite: at("rewrite"),
        };
        let matches = found.route.as_ref().and_then(|route| route.matches.as_ref());
        let index = matches.and_then(|taken| http.matches.iter().position(|one| one == taken));
        // A delegate's matches are joined with its root's and stand nowhere as they are.
        let index = index.filter(|_| route.delegate.is_none());
        route.matched_at = index.map(|index| place.below(format_args!("match/{index}")).at());
    }
}

fn http_route<'v>(one: &'v VirtualService, place: &Place) -> Option<&'v HttpRoute> {
    one.http
        .iter()
        .find(|http| http.place.pointer == place.pointer && http.place.object.key() == place.object.key())
}

fn does(route: &mut Route, proxy: &Proxy<'_, '_>, action: &Action, fault: Option<&Fault>) {
    route.fault = fault.map(|fault| FaultView {
        delay: fault
            .delay
            .map(|(how_long, percent)| DelayView { fixed_delay: words::duration(how_long), percent }),
        abort: fault.abort.as_ref().map(|(what, percent)| match what {
            Abort::Http(status) => {
                AbortView { http_status: Some(*status), grpc_status: None, percent: *percent }
            }
            Abort::Grpc(status) => {
                AbortView { http_status: None, grpc_status: Some(status.clone()), percent: *percent }
            }
        }),
    });
    match action {
        Action::Redirect(written) => route.redirect = Some(written.clone()),
        Action::Direct(written) => route.direct_response = Some(written.clone()),
        Action::Forward { timeout, retries, rewrite, mirrors, .. } => {
            route.timeout = Some(*timeout).filter(|timeout| !timeout.is_zero()).map(words::duration);
            route.retries = retries.as_ref().map(retries_view);
            route.rewrite = rewrite.as_ref().map(rewrite_view);
            route.mirrors = mirrors.iter().map(|mirror| mirror_view(proxy, mirror)).collect();
        }
    }
}

fn retries_view(retries: &Retries) -> RetriesView {
    RetriesView {
        attempts: retries.attempts,
        retry_on: retries.on.clone(),
        codes: retries.codes.clone(),
        per_try_timeout: retries.per_try_timeout.map(words::duration),
    }
}

fn rewrite_view(rewrite: &Rewrite) -> RewriteView {
    RewriteView {
        uri: rewrite.uri.clone(),
        uri_regex_match: rewrite.regex.as_ref().map(|(matches, _)| matches.clone()),
        uri_regex_rewrite: rewrite.regex.as_ref().map(|(_, rewrite)| rewrite.clone()),
        authority: rewrite.authority.clone(),
    }
}

fn mirror_view(proxy: &Proxy<'_, '_>, mirror: &Mirror) -> MirrorView {
    let Cluster { host, port, subset } = mirror.cluster.clone();
    let landing = proxy.landing(&mirror.cluster);
    let missing = (!landing.exists).then(|| why::no_destination(proxy, &mirror.cluster, &landing));
    MirrorView { host, port, subset: some(subset), percent: mirror.percent, missing }
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn destination(proxy: &Proxy<'_, '_>, one: &Weighted, landing: &Landing<'_>, total: u32) -> Destination {
    let Cluster { host, port, subset } = one.cluster.clone();
    let known = proxy.scope.host(&host).map(|known| known.host);
    let counted = landing.exists
        && !landing.is_passthrough
        && known.is_none_or(|host| counts_pods(proxy.routing(), host));
    let ready = || landing.endpoints.iter().filter(|endpoint| endpoint.ready).count();
    let weight = if total == 0 { 0.0 } else { f64::from(one.weight) * 100.0 / f64::from(total) };
    Destination {
        host,
        port,
        subset: some(subset),
        weight,
        destination_rule: landing.rule.map(|rule| rule.key()),
        endpoints: counted.then(ready),
        not_ready: counted.then(|| landing.endpoints.len() - ready()),
        by_caller: landing.is_passthrough,
        destination_rule_at: landing.rule.and_then(|rule| rule.from.first()).map(|object| {
            let pointer = landing.subset.map(|subset| &subset.place);
            pointer.map_or_else(|| object.at("/spec"), Place::at)
        }),
        at: one.place.as_ref().map(Place::at),
        missing: (!landing.exists).then(|| why::no_destination(proxy, &one.cluster, landing)),
    }
}

/// Whether what was read tells which pods are behind a host.
fn counts_pods(routing: &Routing<'_>, host: &Host) -> bool {
    let forbidden = routing.world().gaps().iter().any(|gap| {
        gap.kind == Kind::Pod && !gap.readable.iter().any(|readable| readable == host.namespace())
    });
    let by_pods = !matches!(host.kind, Addressing::Entry(_));
    routing.registry.knows_endpoints(host) && !(by_pods && forbidden)
}

fn why(
    proxy: &Proxy<'_, '_>,
    request: &Request,
    found: &Resolution<'_>,
    destinations: &[Destination],
) -> Option<Reason> {
    match found.outcome {
        Outcome::Routed | Outcome::Redirect | Outcome::Direct => None,
        Outcome::NoCluster => {
            let first = destinations.iter().find_map(|destination| destination.missing.clone());
            Some(first.unwrap_or_else(|| Reason {
                code: "no-destination",
                text: "the route has no destination with a weight".to_owned(),
            }))
        }
        Outcome::NotFound => {
            Some(why::no_route(proxy, request, found.virtual_host.as_deref(), &found.missed))
        }
        Outcome::Reset => Some(why::no_server(proxy, request)),
        Outcome::Refused => Some(Reason {
            code: "listener-refused",
            text: format!(
                "two ways for port {} take the same connections (tls or tcp routes, or servers of Gateways), so \
                 that the proxy refuses what istiod sends it and goes on with what it had before",
                request.port
            ),
        }),
        Outcome::Passthrough | Outcome::Blocked => Some(why::not_known(proxy, request)),
    }
}

fn notes(proxy: &Proxy<'_, '_>, request: &Request, found: &Resolution<'_>) -> Vec<String> {
    let host = proxy.named(&request.host).map_or(request.host.as_str(), |host| host.name.as_str());
    let mut notes = why::dropped(proxy, host);
    if found.outcome == Outcome::Redirect && found.route.is_none() {
        notes.push("the Gateway's server sends all plaintext to https (tls.httpsRedirect)".to_owned());
    }
    let connected = found.virtual_host.is_none() && !found.destinations.is_empty();
    match request.speaks {
        Protocol::Http if connected => notes.push(format!(
            "port {} is taken as TCP by the proxy: http routes, timeouts and retries are not looked at",
            request.port
        )),
        Protocol::Tls if connected => notes.push(
            "the caller begins TLS itself: only its server name is seen, and http routes are not looked at"
                .to_owned(),
        ),
        _ => {}
    }
    notes
}

fn assumptions(proxy: &Proxy<'_, '_>, route: &Route, by_name: bool) -> Vec<Assumed> {
    let world = proxy.routing().world();
    let workload = proxy.workload;
    let mut all: BTreeSet<Assumed> = who_can::defaults(world).into_iter().map(minor).collect();
    let mut add = |code, text: String, decisive| {
        all.insert(Assumed { code, text, decisive });
    };
    let by_sidecar = world.sidecar_of(workload).is_some_and(|sidecar| sidecar.outbound.is_some());
    if !world.mesh.is_known
        && !by_sidecar
        && !workload.is_gateway
        && matches!(route.outcome, Outcome::Passthrough | Outcome::Blocked)
    {
        let mode = match proxy.scope.outbound {
            Outbound::AllowAny => "ALLOW_ANY",
            Outbound::RegistryOnly => "REGISTRY_ONLY",
        };
        add(
            "outbound-policy-default",
            format!("outboundTrafficPolicy is {mode}, Istio's default, as no mesh configuration was read"),
            true,
        );
    }
    if by_name {
        let text = "of VirtualServices that do not say how old they are, the first by name is taken; in a cluster the oldest is".to_owned();
        add("age-unknown", text, true);
    }
    let asks_elsewhere = |one: &assumption::Assumed| {
        // Only the port that is offered as an HTTP proxy has other routes.
        let is_offered = |egress: &Egress<'_>| {
            egress.is_http_proxy && egress.port.is_some_and(|(port, _)| port == route.request.port)
        };
        one.code == "http-proxy-listener" && !proxy.scope.egress.iter().any(is_offered)
    };
    all.extend(proxy.assumptions().into_iter().filter(|one| !asks_elsewhere(one)).map(assumed));
    for destination in &route.destinations {
        let known = proxy.scope.host(&destination.host).map(|known| known.host);
        all.extend(known.into_iter().flat_map(|host| proxy.routing().assumptions_of(host)).map(assumed));
    }
    all.into_iter().collect()
}
