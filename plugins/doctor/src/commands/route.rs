//! `route CALLER URL`: which way a request takes.

use mesh_cli::layout::{Rows, say};
use mesh_cli::output::{self, HeaderArgs, Output};
use mesh_cli::text::{Styled, bad, dim, good, plain, strong, warn};
use mesh_cli::{Exit, Failure, SourceArgs, Ui};
use mesh_model::routing::request::Request;
use mesh_model::routing::resolve::Outcome;
use mesh_model::routing::{Proxy, Routing};
use mesh_model::world::{Assumption, World};
use serde::Serialize;

use crate::answer::{self, Asked, Destination, FaultView, Header, MirrorView, Route, SettingsAt};
use crate::url::{Scheme, Url};
use crate::words;

/// Say which way a caller's request takes, and which VirtualServices have no part in it, and why.
///
/// Exit code 0 if it gets to a destination, 1 if it is answered with 404 or 503 or is refused, 3 if that
/// rests on something that could not be known.
#[derive(clap::Args)]
#[command(before_help = "
# Where order-service gets to when it calls payment-service
kubectl mesh-doctor route order-service http://payment-service:8080/api/payments -n orders

# With what routes look at
kubectl mesh-doctor route order-service payment-service/api/payments --method POST --header x-canary=true

# What comes from outside, at a gateway
kubectl mesh-doctor route istio-ingressgateway https://shop.example.com/orders -n istio-ingress

# By manifests, without a cluster
kubectl mesh-doctor route order-service payment-service -f deploy/

# After a change, before it is applied
kubectl mesh-doctor route order-service payment-service --what-if -f virtual-service.yaml
")]
pub(crate) struct Arguments {
    /// The caller: a service, workload or pod, also with .NAMESPACE; or a gateway.
    #[arg(value_name = "CALLER")]
    caller: String,
    /// What it asks for: http, https, grpc, tls or tcp://HOST:PORT/PATH, or only a part of it.
    #[arg(value_name = "URL")]
    url: String,
    /// The HTTP method; GET if not given, POST for grpc.
    #[arg(long, value_parser = method)]
    method: Option<String>,
    /// A header; repeat it for more. `host` takes the place of the URL's.
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// Output format.
    #[arg(short, long, default_value = "table", value_parser = Output::one_of(&[Output::Table, Output::Json, Output::Yaml, Output::Name]))]
    output: Output,
    #[command(flatten)]
    headers: HeaderArgs,
    #[command(flatten)]
    source: SourceArgs,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:".contains(c);
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(format!("`{name}` is no name of a header"));
    }
    if value.chars().any(char::is_control) {
        return Err(format!("the value of {name} has a control character"));
    }
    Ok((name.to_ascii_lowercase(), value.to_owned()))
}

fn method(text: &str) -> Result<String, String> {
    let is_word = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if is_word { Ok(text.to_owned()) } else { Err("write it as GET, POST, ...".to_owned()) }
}

/// Several answers, where callers get different ones.
#[derive(Serialize)]
struct RouteList<'a> {
    items: &'a [Route],
}

impl Arguments {
    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        let url = self.url()?;
        let loaded = self.source.load(ui)?;
        let world = &loaded.world;
        let caller = mesh_cli::words::find(ui, &loaded, &self.caller)?;
        let routing = Routing::new(world);
        let first = caller.workloads.first().and_then(|number| world.workloads.get(*number));
        let Some(first) = first else {
            return Err(Failure::error(format!("`{}` stands for no workload that was read", self.caller)));
        };
        let (port, note) = port(&url, &routing.proxy(first))?;
        if let Some(note) = note {
            ui.note(dim(note));
        }
        let request = self.request(&url, port);
        let routes = answer::routes(&routing, &caller.workloads, &request, &self.asked(&url, &request));
        match (self.output, routes.as_slice()) {
            (Output::Json, [only]) => output::json(ui, "Route", only)?,
            (Output::Json, items) => output::json(ui, "RouteList", &RouteList { items })?,
            (Output::Yaml, [only]) => output::yaml(ui, "Route", only)?,
            (Output::Yaml, items) => output::yaml(ui, "RouteList", &RouteList { items })?,
            (Output::Name, items) => {
                items.iter().try_for_each(|route| ui.answer(plain(answer::name(route.outcome))))?;
            }
            (Output::Table | Output::Wide, items) => {
                for (index, route) in items.iter().enumerate() {
                    if index > 0 {
                        ui.answer(plain(""))?;
                    }
                    self.show(ui, world, route)?;
                }
                assumptions(ui, items);
            }
        }
        Ok(exit(&routes))
    }

    /// The URL, and what makes no sense with it.
    fn url(&self) -> Result<Url, Failure> {
        let url =
            Url::parse(&self.url).map_err(|wrong| Failure::usage(wrong.to_string()).hint(wrong.hint))?;
        if matches!(url.scheme, Scheme::Tcp | Scheme::Tls)
            && (self.method.is_some() || !self.header.is_empty())
        {
            let scheme = url.scheme.name();
            return Err(Failure::usage(format!(
                "--method and --header are of HTTP requests, and {scheme}:// is any connection"
            ))
            .hint("begin the URL with http://, https:// or grpc://"));
        }
        Ok(url)
    }

    fn request(&self, url: &Url, port: u16) -> Request {
        let mut headers = self.header.clone();
        let is_grpc = url.scheme == Scheme::Grpc;
        if is_grpc && !headers.iter().any(|(name, _)| name == "content-type") {
            headers.push(("content-type".to_owned(), "application/grpc".to_owned()));
        }
        let method = self.method.as_deref().unwrap_or(if is_grpc { "POST" } else { "GET" });
        Request {
            speaks: url.scheme.speaks(),
            host: url.host.clone(),
            port,
            method: method.to_owned(),
            path: url.path.clone(),
            headers,
            server_name: None,
            address: None,
        }
    }

    fn asked(&self, url: &Url, request: &Request) -> Asked {
        let is_http = !matches!(url.scheme, Scheme::Tcp | Scheme::Tls);
        let headers = request.headers.iter().cloned();
        Asked {
            protocol: url.scheme.name(),
            host: request.host.clone(),
            port: request.port,
            method: is_http.then(|| request.method.clone()),
            path: is_http.then(|| request.path.clone()),
            headers: headers.map(|(name, value)| Header { name, value }).collect(),
        }
    }

    /// The outcome first, then what leads there, then what has no part in it.
    fn show(&self, ui: &Ui, world: &World, route: &Route) -> Result<(), Failure> {
        let mut parts = vec![outcome(route), plain(": "), strong(asked(&route.request))];
        parts.push(plain(format!(" from {}", few(&route.callers))));
        parts.push(plain(format!(" {}", becomes(route))));
        say(ui, 0, 2, parts)?;
        show_route(ui, route)?;
        self.show_destinations(ui, route)?;
        show_settings(ui, world, route)?;
        for note in &route.notes {
            say(ui, 2, 4, [warn("note"), plain(format!(": {note}"))])?;
        }
        if !route.why_shadowed.is_empty() {
            say(ui, 2, 4, [dim("not in force for this request:")])?;
        }
        for one in &route.why_shadowed {
            let text = format!(": {}", one.reason);
            let at = place(&one.at, &one.virtual_service);
            say(ui, 4, 6, [plain(format!("VirtualService {}", one.virtual_service)), plain(text), at])?;
        }
        Ok(())
    }

    fn show_destinations(&self, ui: &Ui, route: &Route) -> Result<(), Failure> {
        if route.destinations.is_empty() {
            return Ok(());
        }
        let headers = ["HOST", "PORT", "SUBSET", "WEIGHT", "DESTINATIONRULE", "READY"];
        let mut rows = Rows::new(1, &headers);
        for one in &route.destinations {
            rows.row([
                plain(&one.host),
                plain(one.port.to_string()),
                one.subset.as_ref().map_or_else(|| dim("-"), plain),
                plain(words::percent(one.weight)),
                one.destination_rule.as_ref().map_or_else(|| dim("-"), plain),
                ready(one),
            ]);
        }
        rows.show(ui, self.headers.no_headers)?;
        for one in &route.destinations {
            if let Some(missing) = &one.missing {
                let share = words::percent(one.weight);
                let at = one.at.as_ref().map_or_else(|| plain(""), |at| place(at, ""));
                // What the first line says is not said again.
                let is_said = route.reason.as_ref() == Some(missing);
                let text = if is_said { String::new() } else { format!(": {}", missing.text) };
                say(ui, 2, 4, [bad(format!("{share} get 503")), plain(text), at])?;
            } else if one.endpoints == Some(0) {
                let share = words::percent(one.weight);
                let text = match one.not_ready {
                    Some(0) | None => ": no pod has the labels that are asked for".to_owned(),
                    Some(1) => ": its only pod is not ready".to_owned(),
                    Some(more) => format!(": none of its {more} pods is ready"),
                };
                let at = one.destination_rule_at.as_ref().filter(|_| one.subset.is_some());
                let at = at.map_or_else(|| plain(""), |at| place(at, ""));
                say(ui, 2, 4, [bad(format!("{share} get 503 until pods are ready")), plain(text), at])?;
            } else if one.by_caller {
                let text = format!("{} is reached at the address that the caller asked for", one.host);
                say(ui, 2, 4, [dim(text)])?;
            }
        }
        Ok(())
    }
}

/// The port: as typed, the scheme's, or the only one of the Service.
fn port(url: &Url, proxy: &Proxy<'_, '_>) -> Result<(u16, Option<String>), Failure> {
    if let Some(port) = url.port {
        return Ok((port, None));
    }
    let default = url.scheme.port();
    let host = if proxy.workload.is_gateway { None } else { proxy.named(&url.host) };
    let ports: Vec<u16> =
        host.map_or_else(Vec::new, |host| host.ports.iter().map(|port| port.number).collect());
    match (default, ports.as_slice()) {
        (Some(default), []) => Ok((default, None)),
        (Some(default), several) if several.contains(&default) => Ok((default, None)),
        (_, [only]) => {
            let name = host.map_or(&url.host, |host| &host.name);
            Ok((*only, Some(format!("port {only}: the only one of {name}"))))
        }
        (_, several) => {
            let has = several.iter().map(u16::to_string).collect::<Vec<_>>();
            let usage = Failure::usage(format!("URL `{}` names no port", url.host));
            Err(if has.is_empty() {
                usage.hint(format!("write it as {}://{}:PORT", url.scheme.name(), url.host))
            } else {
                usage.hint(format!("{} has the ports {}", url.host, words::all(&has)))
            })
        }
    }
}

/// The outcome in its colour.
fn outcome(route: &Route) -> Styled {
    let name = answer::name(route.outcome);
    let suffers = |one: &Destination| one.missing.is_some() || one.endpoints == Some(0);
    match route.outcome {
        Outcome::Routed if route.destinations.iter().any(suffers) => warn(name),
        Outcome::Routed => good(name),
        Outcome::Passthrough | Outcome::Redirect | Outcome::Direct | Outcome::Refused => warn(name),
        Outcome::NotFound | Outcome::NoCluster | Outcome::Blocked | Outcome::Reset => bad(name),
    }
}

/// `POST http://payment:8080/api/payments`.
fn asked(asked: &Asked) -> String {
    let method = asked.method.as_ref().map_or(String::new(), |method| format!("{method} "));
    let path = asked.path.as_deref().unwrap_or_default();
    let headers: String =
        asked.headers.iter().map(|header| format!(" {}={}", header.name, header.value)).collect();
    format!("{method}{}://{}:{}{path}{headers}", asked.protocol, asked.host, asked.port)
}

/// Up to three names, and how many there are more.
fn few(names: &[String]) -> String {
    match names.split_at_checked(3) {
        Some((first, rest)) if rest.len() > 1 => format!("{} and {} more", first.join(", "), rest.len()),
        _ => words::all(names),
    }
}

/// What becomes of the request, as the rest of its sentence.
fn becomes(route: &Route) -> String {
    let reason = route.reason.as_ref().map_or("", |reason| reason.text.as_str());
    match route.outcome {
        Outcome::Routed => goes(route),
        Outcome::NotFound => format!("is answered with 404: {reason}"),
        Outcome::NoCluster => format!("is answered with 503: {reason}"),
        Outcome::Passthrough => match &route.reason {
            Some(reason) if reason.code == "caller-without-sidecar" => {
                format!("is sent as it is, around the mesh's routing: {}", reason.text)
            }
            _ => format!("is sent on as it is, to the address that the caller has: {reason}"),
        },
        Outcome::Blocked => format!("is refused by the caller's proxy: {reason}"),
        Outcome::Reset => format!("is closed: {reason}"),
        Outcome::Refused => format!("cannot be known: {reason}"),
        Outcome::Redirect => format!("is answered with a redirect: {}", redirect(route)),
        Outcome::Direct => format!("is answered by the proxy itself: {}", direct(route)),
    }
}

fn goes(route: &Route) -> String {
    let to = |one: &Destination| {
        let subset = one.subset.as_ref().map_or(String::new(), |subset| format!(" subset {subset}"));
        format!("{}:{}{subset}", one.host, one.port)
    };
    let Some(first) = route.destinations.first() else { return String::new() };
    let fails = |one: &&Destination| one.missing.is_some();
    let waits = |one: &&Destination| one.missing.is_none() && one.endpoints == Some(0);
    let share = |fits: &dyn Fn(&&Destination) -> bool| {
        route.destinations.iter().filter(fits).map(|one| one.weight).sum::<f64>()
    };
    let mut text = if let [only] = route.destinations.as_slice() {
        format!("goes to {}", to(only))
    } else if route.destinations.iter().all(|one| (&one.host, one.port) == (&first.host, first.port)) {
        let subsets = route.destinations.iter().map(|one| {
            let subset =
                one.subset.as_ref().map_or("without a subset".to_owned(), |name| format!("subset {name}"));
            format!("{} to {subset}", words::percent(one.weight))
        });
        format!("goes to {}:{}, {}", first.host, first.port, words::all(&subsets.collect::<Vec<_>>()))
    } else {
        let all =
            route.destinations.iter().map(|one| format!("{} to {}", words::percent(one.weight), to(one)));
        format!("goes {}", words::all(&all.collect::<Vec<_>>()))
    };
    if share(&fails) > 0.0 {
        text.push_str(&format!("; {} get 503", words::percent(share(&fails))));
    }
    if share(&waits) > 0.0 {
        text.push_str(&format!("; {} get 503 until pods are ready", words::percent(share(&waits))));
    }
    text
}

fn redirect(route: &Route) -> String {
    let written = route.redirect.as_ref();
    let text = |name: &str| written.and_then(|written| written.get(name)).and_then(|value| value.as_str());
    let code = written.and_then(|written| written.get("redirectCode")).and_then(serde_json::Value::as_u64);
    let mut parts = vec![code.unwrap_or(301).to_string()];
    parts.extend(text("scheme").map(|scheme| format!("scheme {scheme}")));
    parts.extend(text("authority").map(|host| format!("host {host}")));
    parts.extend(text("uri").map(|path| format!("path {path}")));
    parts.join(", ")
}

fn direct(route: &Route) -> String {
    let status = route.direct_response.as_ref().and_then(|direct| direct.get("status"));
    status.map_or("no status".to_owned(), |status| format!("status {status}"))
}

/// Where something stands, after what stands there.
fn place(at: &str, object: &str) -> Styled {
    dim(if at == object { String::new() } else { format!(" {at}") })
}

fn show_route(ui: &Ui, route: &Route) -> Result<(), Failure> {
    let Some(virtual_service) = &route.virtual_service else {
        if matches!(route.outcome, Outcome::Routed | Outcome::NoCluster) {
            say(ui, 2, 4, [dim("no VirtualService takes part: the Service's own route")])?;
        }
        return Ok(());
    };
    let mut parts = vec![plain("VirtualService "), strong(virtual_service)];
    if let Some(name) = &route.route {
        parts.push(plain(format!(", route {name}")));
    }
    if let Some(delegate) = &route.delegate {
        parts.push(plain(format!(" of its delegate {delegate}")));
    }
    if let Some(at) = &route.at {
        parts.push(place(at, route.delegate.as_ref().unwrap_or(virtual_service)));
    }
    say(ui, 2, 4, parts)?;
    if route.route.is_none() {
        return Ok(());
    }
    if route.matched.is_empty() {
        return if route.virtual_host.is_some() {
            say(ui, 2, 4, [plain("the route takes every request")])
        } else {
            Ok(())
        };
    }
    let at = route.matched_at.as_ref().map_or_else(|| plain(""), |at| place(at, virtual_service));
    say(ui, 2, 4, [plain(format!("taken because {}", words::all(&route.matched))), at])
}

fn show_settings(ui: &Ui, world: &World, route: &Route) -> Result<(), Failure> {
    let owner = route.delegate.as_ref().or(route.virtual_service.as_ref()).map_or("", String::as_str);
    let at = |at: &Option<String>| at.as_ref().map_or_else(|| plain(""), |at| place(at, owner));
    let SettingsAt { timeout, retries, fault, rewrite } = &route.settings_at;
    if let Some(written) = &route.fault {
        for text in faults(written) {
            say(ui, 2, 4, [bad("fault"), plain(format!(": {text}")), at(fault)])?;
        }
    }
    let is_http = route.virtual_host.is_some() && !route.destinations.is_empty();
    if is_http {
        let text = route.timeout.as_deref().unwrap_or("none");
        say(ui, 2, 4, [plain(format!("timeout {text}")), at(timeout)])?;
        let text = match &route.retries {
            None => "none".to_owned(),
            Some(policy) => {
                let each = policy
                    .per_try_timeout
                    .as_ref()
                    .map_or(String::new(), |each| format!(", each try {each}"));
                let codes: Vec<String> = policy.codes.iter().map(u16::to_string).collect();
                let codes = if codes.is_empty() { String::new() } else { format!(" ({})", codes.join(",")) };
                format!("{} on {}{codes}{each}", policy.attempts, policy.retry_on)
            }
        };
        let default = match (retries, &world.mesh.default_retries) {
            (Some(_), _) => "",
            (None, Some(_)) => ", the mesh's default",
            (None, None) => ", Istio's default",
        };
        say(ui, 2, 4, [plain(format!("retries {text}")), dim(default), at(retries)])?;
    }
    if let Some(written) = &route.rewrite {
        let mut parts = Vec::new();
        parts.extend(written.uri.as_ref().map(|uri| format!("path to {uri}")));
        if let (Some(matches), Some(by)) = (&written.uri_regex_match, &written.uri_regex_rewrite) {
            parts.push(format!("path: {matches} to {by}"));
        }
        parts.extend(written.authority.as_ref().map(|host| format!("Host to {host}")));
        say(ui, 2, 4, [plain(format!("rewrite {}", words::all(&parts))), at(rewrite)])?;
    }
    route.mirrors.iter().try_for_each(|mirror| show_mirror(ui, mirror))
}

fn show_mirror(ui: &Ui, mirror: &MirrorView) -> Result<(), Failure> {
    let subset = mirror.subset.as_ref().map_or(String::new(), |subset| format!(" subset {subset}"));
    let share = words::percent(mirror.percent);
    let lost =
        mirror.missing.as_ref().map_or(String::new(), |missing| format!("; they are lost: {}", missing.text));
    let text = format!("mirror: copies of {share} go to {}:{}{subset}{lost}", mirror.host, mirror.port);
    say(ui, 2, 4, [plain(text)])
}

/// What is broken on purpose, and for how many.
fn faults(fault: &FaultView) -> Vec<String> {
    let mut texts = Vec::new();
    let never = "but for 0% of the requests, so that it never happens";
    if let Some(delay) = &fault.delay {
        let how_long = &delay.fixed_delay;
        texts.push(if delay.percent > 0.0 {
            format!("{} of the requests are delayed by {how_long}", words::percent(delay.percent))
        } else {
            format!("a delay by {how_long}, {never}")
        });
    }
    if let Some(abort) = &fault.abort {
        let what = match (&abort.http_status, &abort.grpc_status) {
            (Some(status), _) => status.to_string(),
            (None, status) => format!("gRPC status {}", status.as_deref().unwrap_or_default()),
        };
        texts.push(if abort.percent > 0.0 {
            format!(
                "{} of the requests are answered with {what} by the caller's proxy",
                words::percent(abort.percent)
            )
        } else {
            format!("an answer with {what}, {never}")
        });
    }
    texts
}

fn ready(destination: &Destination) -> Styled {
    match (destination.endpoints, destination.not_ready) {
        _ if destination.missing.is_some() => bad("no cluster"),
        (Some(0), _) => bad("0"),
        (Some(ready), Some(others)) if others > 0 => plain(format!("{ready} of {}", ready + others)),
        (Some(ready), _) => plain(ready.to_string()),
        (None, _) if destination.by_caller => dim("-"),
        (None, _) => dim("unknown"),
    }
}

/// Says what was assumed, each once.
fn assumptions(ui: &Ui, routes: &[Route]) {
    let mut all: Vec<&answer::Assumed> = routes.iter().flat_map(|route| &route.assumptions).collect();
    all.sort();
    all.dedup();
    let all: Vec<Assumption> =
        all.into_iter().map(|one| Assumption { code: one.code, text: one.text.clone() }).collect();
    mesh_cli::words::assumptions(ui, &all);
}

/// 0 where it gets somewhere, 1 where it is refused, 3 where that rests on what could not be known.
fn exit(routes: &[Route]) -> Exit {
    let of = |route: &Route| {
        if route.assumptions.iter().any(|assumed| assumed.decisive) {
            return Exit::Unknown;
        }
        match route.outcome {
            Outcome::Routed | Outcome::Passthrough | Outcome::Redirect | Outcome::Direct => Exit::Yes,
            Outcome::NotFound | Outcome::NoCluster | Outcome::Blocked | Outcome::Reset => Exit::No,
            Outcome::Refused => Exit::Unknown,
        }
    };
    let all: Vec<Exit> = routes.iter().map(of).collect();
    [Exit::No, Exit::Unknown].into_iter().find(|exit| all.contains(exit)).unwrap_or(Exit::Yes)
}
