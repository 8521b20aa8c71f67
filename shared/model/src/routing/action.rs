//! What a route does with a request that it takes.
//!
//! Rules: `TranslateRoute` in `pilot/pkg/networking/core/route/route.go`, `ConvertPolicy` in
//! `pilot/pkg/networking/core/route/retry/retry.go`.

use std::time::Duration;

use serde_json::Value;

use crate::duration;
use crate::host;
use crate::mesh_config::list;
use crate::service::port_number;
use crate::virtual_service::{HttpRoute, Place};

/// A destination as a proxy names it: `outbound|PORT|SUBSET|HOST`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cluster {
    /// The host.
    pub host: String,
    /// The host's port.
    pub port: u16,
    /// The subset; empty for all endpoints.
    pub subset: String,
}

impl Cluster {
    /// The name in the proxy.
    #[must_use]
    pub fn name(&self) -> String {
        format!("outbound|{}|{}|{}", self.port, self.subset, self.host)
    }

    /// Reads a name in the proxy; `None` for those that stand for no host.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('|');
        let (direction, port, subset, host) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_whole = direction == "outbound" && parts.next().is_none();
        is_whole.then_some(())?;
        Some(Self { host: host.to_owned(), port: port.parse().ok()?, subset: subset.to_owned() })
    }
}

/// A destination with its share.
#[derive(Clone, Debug)]
pub struct Weighted {
    /// Where requests go.
    pub cluster: Cluster,
    /// The share, relative to the others'.
    pub weight: u32,
    /// The destination in the VirtualService; `None` where no VirtualService says it.
    pub place: Option<Place>,
}

/// `retries` as the proxy gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retries {
    /// How many tries there are after the first.
    pub attempts: u32,
    /// Envoy's conditions.
    pub on: String,
    /// Status codes that count as failures.
    pub codes: Vec<u16>,
    /// The timeout of each try.
    pub per_try_timeout: Option<Duration>,
}

/// The conditions for a retry where nothing else is said.
const RETRY_ON: &str = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";

impl Retries {
    /// Of `retries` of a route, else of the mesh, else Istio's default; `None` where they are off.
    #[must_use]
    pub fn of(policy: Option<&Value>) -> Option<Self> {
        let mut retries =
            Self { attempts: 2, on: RETRY_ON.to_owned(), codes: Vec::new(), per_try_timeout: None };
        let Some(policy) = policy else { return Some(retries) };
        let attempts = policy.get("attempts").and_then(Value::as_i64).unwrap_or(0);
        retries.attempts = u32::try_from(attempts).ok().filter(|attempts| *attempts > 0)?;
        if let Some(on) = policy.get("retryOn").and_then(Value::as_str).filter(|on| !on.is_empty()) {
            let mut words = Vec::new();
            for part in on.split(',').map(str::trim).filter(|part| !part.is_empty()) {
                match part.parse() {
                    Ok(code) if is_status(code) => retries.codes.push(code),
                    _ => words.push(part),
                }
            }
            retries.on = words.join(",");
            if !retries.codes.is_empty() && !retries.on.contains("retriable-status-codes") {
                retries.on.push_str(",retriable-status-codes");
            }
        }
        retries.per_try_timeout =
            policy.get("perTryTimeout").and_then(Value::as_str).and_then(duration::parse);
        Some(retries)
    }
}

/// The codes that Go's net/http has a text for.
fn is_status(code: u16) -> bool {
    matches!(code, 100..=103 | 200..=208 | 226 | 300..=305 | 307 | 308 | 400..=418 | 421..=426 | 428 | 429 | 431 | 451
        | 500..=508 | 510 | 511)
}

/// What an injected abort answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Abort {
    /// `httpStatus`.
    Http(u16),
    /// `grpcStatus`, by name.
    Grpc(String),
}

/// `fault` as the proxy gets it. Percentages are of all requests; where a VirtualService names none they are
/// 0, and the fault never happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// `delay`: how long, and for how many percent.
    pub delay: Option<(Duration, f64)>,
    /// `abort`: with what, and for how many percent.
    pub abort: Option<(Abort, f64)>,
}

impl Fault {
    fn of(fault: &Value) -> Option<Self> {
        // The proxy counts in parts of a million.
        let percent = |part: &Value| {
            let value = part.pointer("/percentage/value").and_then(Value::as_f64);
            value.map(|value| (value * 10_000.0).trunc() / 10_000.0)
        };
        let delay = fault.get("delay").and_then(|delay| {
            let how_long = delay.get("fixedDelay").and_then(Value::as_str).and_then(duration::parse)?;
            let has_percentage = delay.get("percentage").is_some_and(|percentage| !percentage.is_null());
            let old = delay.get("percent").and_then(Value::as_f64).filter(|_| !has_percentage);
            Some((how_long, percent(delay).or(old).unwrap_or(0.0)))
        });
        let abort = fault.get("abort").and_then(|abort| {
            let http = abort.get("httpStatus").and_then(Value::as_u64).and_then(|code| code.try_into().ok());
            let grpc = || Some(abort.get("grpcStatus")?.as_str()?.to_owned());
            let what = http.map(Abort::Http).or_else(|| grpc().map(Abort::Grpc))?;
            Some((what, percent(abort).unwrap_or(0.0)))
        });
        (delay.is_some() || abort.is_some()).then_some(Self { delay, abort })
    }
}

/// `rewrite` as the proxy gets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// What replaces the matched path or prefix.
    pub uri: Option<String>,
    /// A regex and what replaces what it matches.
    pub regex: Option<(String, String)>,
    /// The Host header.
    pub authority: Option<String>,
}

/// A copy of the requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Mirror {
    /// Where copies go.
    pub cluster: Cluster,
    /// For how many percent of the requests.
    pub percent: f64,
}

/// What a route does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Sends the request on.
    Forward {
        /// Where to; those with weight 0 among others are left out.
        clusters: Vec<Weighted>,
        /// `timeout`; zero is none.
        timeout: Duration,
        /// `retries`.
        retries: Option<Retries>,
        /// `rewrite`.
        rewrite: Option<Rewrite>,
        /// `mirror` and `mirrors`.
        mirrors: Vec<Mirror>,
    },
    /// Answers with a redirect: `redirect` as it is written.
    Redirect(Value),
    /// Answers itself: `directResponse` as it is written.
    Direct(Value),
}

/// A mirror as it is written.
pub(crate) struct WrittenMirror {
    pub host: String,
    pub port: Option<u16>,
    subset: String,
    percent: Option<f64>,
}

/// `mirror` and `mirrors` of a route.
pub(crate) fn mirrors(route: &HttpRoute) -> Vec<WrittenMirror> {
    let read = |destination: &Value, place: &Place, percent: Option<f64>| {
        let text = |name: &str| destination.get(name).and_then(Value::as_str).unwrap_or_default();
        WrittenMirror {
            host: host::resolve(text("host"), &place.object.namespace),
            port: port_number(destination.pointer("/port/number")).filter(|port| *port != 0),
            subset: text("subset").to_owned(),
            percent,
        }
    };
    let number = |value: &Value| value.as_f64();
    let mut found = Vec::new();
    if let Some(mirror) = route.settings.get("mirror") {
        let percentage = route.setting("mirrorPercentage");
        let old = route.setting("mirrorPercent").or_else(|| route.setting("mirror_percent"));
        let percent = match percentage {
            Some(percentage) => Some(percentage.get("value").and_then(number).unwrap_or(0.0)),
            None => old.and_then(number),
        };
        found.push(read(&mirror.value, &mirror.place, percent));
    }
    if let Some(mirrors) = route.settings.get("mirrors") {
        for mirror in list(Some(&mirrors.value)) {
            let Some(destination) = mirror.get("destination") else { continue };
            let percentage = mirror.get("percentage").filter(|percentage| !percentage.is_null());
            let percent =
                percentage.map(|percentage| percentage.get("value").and_then(number).unwrap_or(0.0));
            found.push(read(destination, &mirrors.place, percent));
        }
    }
    found
}

/// How a destination becomes a cluster: by its host, subset and port (`GetDestinationCluster`).
pub(crate) type Locate<'a> = dyn Fn(&str, &str, Option<u16>) -> Cluster + 'a;

impl Action {
    /// What an http route does.
    pub(crate) fn of(route: &HttpRoute, locate: &Locate<'_>, default_retries: Option<&Value>) -> Self {
        if let Some(redirect) = route.setting("redirect") {
            return Self::Redirect(redirect.clone());
        }
        if let Some(direct) = route.setting("directResponse") {
            return Self::Direct(direct.clone());
        }
        let single = route.destinations.len() == 1;
        let clusters = route
            .destinations
            .iter()
            .filter(|destination| single || destination.weight > 0)
            .map(|destination| Weighted {
                cluster: locate(&destination.host, &destination.subset, destination.port),
                weight: if single { 1 } else { destination.weight },
                place: Some(destination.place.clone()),
            })
            .collect();
        let timeout = route.setting("timeout").and_then(Value::as_str).and_then(duration::parse);
        let mirrors = mirrors(route)
            .into_iter()
            .filter(|mirror| mirror.percent.is_none_or(|percent| percent > 0.0))
            .map(|mirror| Mirror {
                cluster: locate(&mirror.host, &mirror.subset, mirror.port),
                percent: mirror.percent.unwrap_or(100.0),
            })
            .collect();
        Self::Forward {
            clusters,
            timeout: timeout.unwrap_or_default(),
            retries: Retries::of(route.setting("retries").or(default_retries)),
            rewrite: rewrite(route),
            mirrors,
        }
    }

    /// What is done for a host without a VirtualService.
    pub(crate) fn default_for(cluster: Cluster, default_retries: Option<&Value>) -> Self {
        Self::Forward {
            clusters: vec![Weighted { cluster, weight: 1, place: None }],
            timeout: Duration::ZERO,
            retries: Retries::of(default_retries),
            rewrite: None,
            mirrors: Vec::new(),
        }
    }
}

/// The fault of a route.
pub(crate) fn fault(route: &HttpRoute) -> Option<Fault> {
    route.setting("fault").and_then(Fault::of)
}

fn rewrite(route: &HttpRoute) -> Option<Rewrite> {
    let text = |value: &Value, name: &str| {
        value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let written = route.setting("rewrite");
    let regex = written.and_then(|rewrite| rewrite.get("uriRegexRewrite")).filter(|regex| !regex.is_null());
    let regex = regex
        .map(|regex| (text(regex, "match").unwrap_or_default(), text(regex, "rewrite").unwrap_or_default()));
    let rewrite = Rewrite {
        uri: written.filter(|_| regex.is_none()).and_then(|rewrite| text(rewrite, "uri")),
        regex,
        authority: written
            .and_then(|rewrite| text(rewrite, "authority"))
            .or_else(|| route.setting("headers").and_then(authority)),
    };
    (rewrite != Rewrite::default()).then_some(rewrite)
}

/// The Host header that `headers.request` sets (`TranslateHeadersOperations`): `set` before `add`.
fn authority(headers: &Value) -> Option<String> {
    ["set", "add"].into_iter().find_map(|operation| {
        let entries = headers.pointer(&format!("/request/{operation}"))?.as_object()?;
        let is_host =
            |name: &str| name.eq_ignore_ascii_case(":authority") || name.eq_ignore_ascii_case("host");
        entries.iter().find(|(name, _)| is_host(name))?.1.as_str().map(str::to_owned)
    })
}
