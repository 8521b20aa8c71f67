//! What Prometheus has counted of a service: for eyes (`status`), and for the gate (`run`).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use mesh_cli::Failure;
use mesh_model::canary::version::Version;
use mesh_model::gate::query::{self, LOOKBACK, ServiceName};
use mesh_model::gate::{Identity, Rates, Reporter, Role, Seen, Series, Tally, Versions};
use mesh_source::cluster::Connection;
use mesh_source::prometheus::{self, Address, Options, Prometheus};
use serde::Serialize;

use crate::subject::Subject;

/// How long `status` waits for numbers beyond what it takes to read the cluster.
const QUICK: Duration = Duration::from_secs(2);

/// How much of the past `status` counts, in seconds.
const RECENT: f64 = 60.0;

/// How often Istio's own sample and most others scrape: what is taken where samples do not tell.
const USUAL_SCRAPE: f64 = 15.0;

/// Which Prometheus.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Metrics flags")]
pub(crate) struct PrometheusArgs {
    /// The Prometheus to ask; without it, one is looked for in the cluster and asked through its API server.
    #[arg(long, value_name = "URL")]
    prometheus_url: Option<Address>,
    /// A file with a bearer token for --prometheus-url; it is read anew for every request.
    #[arg(long, value_name = "FILE", requires = "prometheus_url")]
    prometheus_token_file: Option<PathBuf>,
}

impl PrometheusArgs {
    /// As the client takes them.
    pub(crate) fn options(&self, deadline: Duration) -> Options {
        Options {
            address: self.prometheus_url.clone(),
            token_file: self.prometheus_token_file.clone(),
            deadline,
        }
    }
}

/// A search for Prometheus that goes on while the cluster is read.
pub(crate) struct Search(Receiver<Result<Prometheus, prometheus::Error>>);

impl Search {
    /// Begins it.
    pub(crate) fn begin(connection: Connection, arguments: &PrometheusArgs) -> Self {
        let (sender, receiver) = mpsc::channel();
        let options = arguments.options(QUICK);
        // Without a thread nothing is sent, which reads as not found in time.
        let _ = thread::Builder::new().spawn(move || {
            let _ = sender.send(Prometheus::find(&connection, &options));
        });
        Self(receiver)
    }

    /// What it found; why there is nothing, as a person reads it.
    pub(crate) fn end(self) -> Result<Prometheus, String> {
        match self.0.recv_timeout(QUICK) {
            Ok(Ok(prometheus)) => Ok(prometheus),
            Ok(Err(error)) => Err(told(&error)),
            Err(_) => Err(format!("none was found within {} s", QUICK.as_secs())),
        }
    }
}

/// An error in one line, with what to do.
pub(crate) fn told(error: &prometheus::Error) -> String {
    let text = error.line();
    let text = text.strip_prefix("error: ").unwrap_or(&text).lines().collect::<Vec<_>>().join("; ");
    match error.hint() {
        Some(hint) => format!("{text} ({hint})"),
        None => text,
    }
}

/// An error that ends a command.
pub(crate) fn failure(error: &prometheus::Error) -> Failure {
    let line = error.line();
    let failure = match line.strip_prefix("error: ") {
        Some(message) => Failure::error(message),
        None => Failure::server(line),
    };
    failure.hints(error.hint())
}

/// The Services behind the versions of a subject: those that requests are counted under.
pub(crate) fn services(subject: &Subject<'_, '_>) -> Vec<ServiceName> {
    let own = ServiceName {
        namespace: subject.service.object.namespace.clone(),
        name: subject.service.object.name.clone(),
    };
    let mut found = vec![own];
    for version in &subject.versions {
        let hosts = subject.routing.registry.named(&version.host);
        for host in hosts.filter(|host| host.is_service()) {
            let one = ServiceName { namespace: host.namespace().to_owned(), name: host.object.name.clone() };
            if !found.contains(&one) {
                found.push(one);
            }
        }
    }
    found
}

/// What the pods of a version are called in metrics.
pub(crate) fn identities(version: &Version<'_>, by_label: bool) -> Vec<Identity> {
    let found: BTreeSet<Identity> = if by_label {
        let labels = version.workloads.iter().filter_map(|workload| workload.labels.get("version"));
        let labels = labels.chain(version.labels.iter().filter_map(|labels| labels.get("version")));
        labels.map(|label| Identity::Version(label.clone())).collect()
    } else {
        let workload = version.workloads.iter().map(|workload| Identity::Workload {
            namespace: workload.namespace.clone(),
            name: workload.name.clone(),
        });
        workload.collect()
    };
    found.into_iter().collect()
}

/// A version against all others, as metrics tell them apart.
pub(crate) fn apart(
    versions: &[Version<'_>],
    name: &str,
    by_label: bool,
) -> Result<Versions, mesh_model::gate::Indistinct> {
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for version in versions {
        let of = if version.name == name { &mut own } else { &mut others };
        of.extend(identities(version, by_label));
    }
    Versions::new(others, own)
}

/// All answers that a window takes.
pub(crate) struct Answers {
    /// When, by Prometheus' clock.
    pub(crate) at: f64,
    /// Requests.
    pub(crate) requests: Vec<Series>,
    /// Latency; only where asked for.
    pub(crate) latency: Vec<Series>,
    /// What Prometheus said of its answers.
    pub(crate) warnings: Vec<String>,
}

/// Asks for everything since `start`; it costs a request for the time, three and one for each Service.
pub(crate) fn ask(
    prometheus: &Prometheus,
    services: &[ServiceName],
    start: f64,
) -> Result<Answers, prometheus::Error> {
    let at = prometheus.now()?;
    let seconds = (at - start).max(1.0);
    let mut answers = Answers { at, requests: Vec::new(), latency: Vec::new(), warnings: Vec::new() };
    for (number, service) in services.iter().enumerate() {
        let mut texts = vec![query::requests(service, seconds + LOOKBACK)];
        if number == 0 {
            texts.extend(query::unrouted(service, seconds + LOOKBACK));
        }
        for text in texts {
            let answer = prometheus.query(&text, at)?;
            answers.requests.extend(answer.series);
            answers.warnings.extend(answer.warnings);
        }
        let answer = prometheus.query(&query::latency(service, seconds), at)?;
        answers.latency.extend(answer.series);
        answers.warnings.extend(answer.warnings);
    }
    Ok(answers)
}

/// Feeds a tally.
pub(crate) fn feed(tally: &mut Tally, answers: &Answers) {
    tally.take(&answers.requests, answers.at);
    tally.take_latency(&answers.latency);
    for warning in &answers.warnings {
        tally.incomplete(warning);
    }
}

/// How often Prometheus scrapes: the median of the gaps between samples, or what is usual.
pub(crate) fn scrape_interval(series: &[Series]) -> f64 {
    let mut gaps: Vec<f64> = series
        .iter()
        .flat_map(|series| series.samples.windows(2).map(|pair| pair[1].at - pair[0].at))
        .filter(|gap| *gap > 0.0)
        .collect();
    gaps.sort_by(f64::total_cmp);
    gaps.get(gaps.len() / 2).copied().unwrap_or(USUAL_SCRAPE)
}

/// What was seen of each version lately.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Lately {
    /// Which Prometheus.
    pub(crate) prometheus: String,
    /// Over how many seconds.
    pub(crate) seconds: f64,
    /// The reporter that counts: the clients' proxies where they have counted anything.
    pub(crate) reporter: Option<Reporter>,
    /// By version, in the order of the versions.
    pub(crate) versions: Vec<VersionLately>,
    /// Requests of all versions, by the reporter that counts.
    pub(crate) requests: u64,
}

/// What was seen of one version lately.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VersionLately {
    /// Its name.
    pub(crate) name: String,
    /// Its share of all versions' requests in percent, by the reporter that counts.
    pub(crate) share: Option<f64>,
    /// Requests, by the reporter that counts.
    pub(crate) requests: u64,
    /// By the clients' proxies.
    pub(crate) source: Option<Rates>,
    /// By the servers' proxies.
    pub(crate) destination: Option<Rates>,
}

impl VersionLately {
    /// By the reporter that counts.
    pub(crate) fn rates(&self, reporter: Option<Reporter>) -> Option<&Rates> {
        match reporter? {
            Reporter::Source => self.source.as_ref(),
            Reporter::Destination => self.destination.as_ref(),
        }
    }
}

/// The numbers of the last minute; why there are none, as a person reads it.
pub(crate) fn lately(prometheus: &Prometheus, subject: &Subject<'_, '_>) -> Result<Lately, String> {
    let begun = Instant::now();
    let now = prometheus.now().map_err(|error| told(&error))?;
    let services = services(subject);
    let start = now - RECENT;
    let answers = ask(prometheus, &services, start).map_err(|error| told(&error))?;
    if begun.elapsed() > QUICK * 3 {
        return Err(format!("{} is too slow", prometheus.name()));
    }
    let mut seen: Vec<(String, Seen, Seen)> = Vec::new();
    for version in &subject.versions {
        // With one version there is nobody to tell it from.
        let apart = match apart(&subject.versions, &version.name, false) {
            Ok(apart) => apart,
            Err(_) if subject.versions.len() == 1 => {
                let nobody = Identity::Version("\u{0}".to_owned());
                Versions::new(vec![nobody], identities(version, false)).map_err(|error| error.to_string())?
            }
            Err(error) => return Err(error.to_string()),
        };
        let mut tally = Tally::new(apart, start);
        feed(&mut tally, &answers);
        let window = tally.window(f64::INFINITY);
        let of = |reporter| window.by(reporter).of(Role::Canary).clone();
        seen.push((version.name.clone(), of(Reporter::Source), of(Reporter::Destination)));
    }
    let reporter = if seen.iter().any(|(_, source, _)| source.series > 0) {
        Some(Reporter::Source)
    } else if seen.iter().any(|(_, _, destination)| destination.series > 0) {
        Some(Reporter::Destination)
    } else {
        return Err(format!("{} has counted no request to it", prometheus.name()));
    };
    let counted = |source: &Seen, destination: &Seen| match reporter {
        Some(Reporter::Source) => source.requests,
        _ => destination.requests,
    };
    let requests: u64 = seen.iter().map(|(_, source, destination)| counted(source, destination)).sum();
    let seconds = answers.at - start;
    let versions = seen.iter().map(|(name, source, destination)| {
        let own = counted(source, destination);
        let rates = |seen: &Seen| (seen.series > 0).then(|| Rates::of(seen, seconds));
        VersionLately {
            name: name.clone(),
            share: share(own, requests),
            requests: own,
            source: rates(source),
            destination: rates(destination),
        }
    });
    let versions = versions.collect();
    Ok(Lately { prometheus: prometheus.name().to_owned(), seconds, reporter, versions, requests })
}

/// A part in percent.
#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
pub(crate) fn share(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| 100.0 * part as f64 / all as f64)
}
