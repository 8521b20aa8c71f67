//! `--verify`: whether the target's running proxies do what the answer says.

use std::thread;
use std::time::Duration;

use mesh_cli::layout;
use mesh_cli::text::{Styled, bad, dim, good, plain, strong, warn};
use mesh_cli::{Exit, Failure, SourceArgs, Ui};
use mesh_model::authorization::evaluator::Evaluator;
use mesh_model::proxy::{Agreement, Asked, Decided, Proxy, Scope, Verification, in_turn, verify};
use mesh_model::question::target::Target;
use mesh_model::world::World;
use mesh_source::cluster::{Connection, Error, Proxies, ProxyDump, ProxyOf};
use serde::Serialize;

use crate::words;

/// The most proxies that are asked: those of one workload are alike, and each takes a port-forward.
const MOST_PROXIES: usize = 10;

/// How often a proxy that lags is read again, and after what time: istiod waits for changes to settle
/// (`PILOT_DEBOUNCE_AFTER`, 100ms) and then pushes within a second or two.
const AGAIN: usize = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// The flag; flattened into the arguments of the commands that have it.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// Ask the running proxies of the target whether they do what the answer says; exit code 3 if not.
    #[arg(long)]
    verify: bool,
}

impl VerifyArgs {
    /// The cluster whose proxies are to be asked; `None` without the flag.
    ///
    /// # Errors
    /// Where there are none that could have what is read.
    pub(crate) fn cluster(self, source: &SourceArgs) -> Result<Option<Connection>, Failure> {
        if !self.verify {
            return Ok(None);
        }
        match source.connection() {
            Some(_) if source.is_what_if() => Err(Failure::usage(
                "--verify asks the proxies that run, and they do not have the change of --what-if",
            )),
            Some(connection) => Ok(Some(connection)),
            None => Err(Failure::usage(
                "--verify asks the proxies that run, and manifests have none: leave out -f and -k",
            )),
        }
    }
}

/// What the proxies said.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verified {
    /// Whether all that were asked do what the answer says.
    agrees: bool,
    /// How many were asked.
    asked: usize,
    /// How many run.
    of: usize,
    /// Each that was asked.
    pods: Vec<Verification>,
    /// Whether the answer itself is not sure, so that what the proxies decide is worth telling.
    #[serde(skip)]
    unsure: bool,
}

/// An answer, and what the proxies say to it.
#[derive(Serialize)]
pub(crate) struct Answered<'a, T> {
    #[serde(flatten)]
    pub(crate) answer: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verification: Option<&'a Verified>,
}

/// A pod of the World's `number`th workload.
struct Pod {
    number: usize,
    of: ProxyOf,
}

/// Asks the proxies of a target about an answer: what it rests on, the requests that it is about, by the
/// number of a workload that stands for those alike, and whether it is unsure.
pub(crate) fn ask(
    ui: &Ui,
    connection: &Connection,
    evaluator: &mut Evaluator<'_>,
    target: &Target<'_>,
    scope: Scope,
    asked: &[(usize, Asked<'_>)],
    unsure: bool,
) -> Result<Verified, Failure> {
    let (pods, of) = pods(evaluator, target);
    let mut verified = Verified { agrees: true, asked: pods.len(), of, pods: Vec::new(), unsure };
    if pods.is_empty() {
        // A workload without a sidecar has no proxy to do otherwise.
        let world = evaluator.world();
        let injected = |number: &usize| world.workloads.get(*number).is_some_and(|w| w.injection.injected);
        verified.agrees = !target.workloads.iter().any(injected);
        return Ok(verified);
    }
    let proxies = Proxies::connect(connection)?;
    let progress = ui.progress();
    progress.show(format!("asking {} proxies…", pods.len()));
    let wanted: Vec<ProxyOf> = pods.iter().map(|pod| pod.of.clone()).collect();
    let mut dumps = proxies.read(&wanted);
    for attempt in 0.. {
        verified.pods = pods
            .iter()
            .zip(&dumps)
            .map(|(pod, dump)| one(evaluator, target, pod, dump, scope, asked))
            .collect();
        let lags: Vec<usize> = (0..)
            .zip(&verified.pods)
            .filter(|(_, pod)| pod.code == Agreement::Lags)
            .map(|(index, _)| index)
            .collect();
        if lags.is_empty() || attempt == AGAIN {
            break;
        }
        // A change may be on its way.
        progress.show(format!("waiting for {} proxies that lag…", lags.len()));
        thread::sleep(PAUSE);
        let again: Vec<ProxyOf> = lags.iter().filter_map(|index| wanted.get(*index).cloned()).collect();
        for (index, dump) in lags.into_iter().zip(proxies.read(&again)) {
            if let Some(known) = dumps.get_mut(index) {
                *known = dump;
            }
        }
    }
    drop(progress);
    if dumps.iter().any(|dump| matches!(dump, Err(Error::Forbidden { .. }))) {
        ui.note(dim("the rights that --verify takes are in docs/rbac/authz-verify.yaml"));
    }
    verified.agrees = verified.pods.iter().all(|pod| pod.agrees);
    Ok(verified)
}

/// The pods to ask, at most so many, some of each workload; and how many run.
fn pods(evaluator: &mut Evaluator<'_>, target: &Target<'_>) -> (Vec<Pod>, usize) {
    let world = evaluator.world();
    let stopped = world.stopped_pods();
    let mut by_workload: Vec<Vec<Pod>> = Vec::new();
    for &number in &target.workloads {
        let Some(workload) = world.workloads.get(number).filter(|workload| workload.injection.injected)
        else {
            continue;
        };
        let ports: Vec<u16> = evaluator.ports(number).iter().map(|port| port.port).collect();
        let running = workload
            .pods
            .iter()
            .filter(|pod| !stopped.contains(&(workload.namespace.as_str(), pod.as_str())));
        let pod = |pod: &String| Pod {
            number,
            of: ProxyOf { namespace: workload.namespace.clone(), pod: pod.clone(), ports: ports.clone() },
        };
        by_workload.push(running.map(pod).collect());
    }
    let mut chosen = in_turn(by_workload);
    let of = chosen.len();
    chosen.truncate(MOST_PROXIES);
    (chosen, of)
}

fn one(
    evaluator: &mut Evaluator<'_>,
    target: &Target<'_>,
    pod: &Pod,
    dump: &Result<ProxyDump, Error>,
    scope: Scope,
    asked: &[(usize, Asked<'_>)],
) -> Verification {
    let name = pod.of.pod.as_str();
    let dump = match dump {
        Ok(dump) => dump,
        Err(error) => return Verification::unreadable(name, error.to_string()),
    };
    let proxy = match Proxy::read(&dump.listeners, &dump.server) {
        Ok(proxy) => proxy,
        Err(reason) => return Verification::unreadable(name, reason),
    };
    let alike = evaluator.alike(&target.workloads);
    let stands_for =
        |first: usize| alike.iter().any(|alike| alike.contains(&first) && alike.contains(&pod.number));
    let own: Vec<Asked<'_>> =
        asked.iter().filter(|(first, _)| stands_for(*first)).map(|(_, asked)| asked.clone()).collect();
    verify(evaluator, pod.number, name, &proxy, &own, scope)
}

impl Verified {
    /// The exit code of an answer with these proxies: what they do wins.
    pub(crate) fn exit(verified: Option<&Self>, answer: Exit) -> Exit {
        match verified {
            Some(verified) if !verified.agrees => Exit::Unknown,
            _ => answer,
        }
    }

    /// Says it, behind the answer.
    pub(crate) fn show(&self, ui: &Ui, world: &World) -> Result<(), Failure> {
        self.lines(world)
            .into_iter()
            .try_for_each(|(indent, parts)| layout::say(ui, indent, indent + 2, parts))
    }

    /// Says it beside an answer that is for programs.
    pub(crate) fn note(&self, ui: &Ui, world: &World) {
        self.lines(world).into_iter().for_each(|(_, parts)| layout::note(ui, 2, parts));
    }

    /// Paragraphs with their indents.
    fn lines(&self, world: &World) -> Vec<(usize, Vec<Styled>)> {
        let agree = self.pods.iter().filter(|pod| pod.agrees).count();
        let of = if self.of > self.asked { format!(" (of {} that run)", self.of) } else { String::new() };
        let count = format!("{agree} of {} proxies asked{of}", self.asked);
        let summary = if self.asked == 0 && self.agrees {
            vec![strong("verified: "), plain("there is no proxy that could do otherwise")]
        } else if self.asked == 0 {
            vec![warn("not verified"), plain(": no pod of it runs")]
        } else if self.agrees {
            let does = match (agree, self.unsure) {
                (1, false) => "does what the answer says",
                (_, false) => "do what the answer says",
                (1, true) => "has what the policies say",
                (_, true) => "have what the policies say",
            };
            vec![strong("verified: "), good(format!("{count} {does}"))]
        } else {
            let does = if agree == 1 { "does" } else { "do" };
            vec![bad("not what the proxies do"), plain(format!(": {count} {does} what the answer says"))]
        };
        let mut lines = vec![(0, summary)];
        if self.unsure {
            let of_agreeing = self.pods.iter().filter(|pod| pod.agrees).flat_map(|pod| &pod.decides);
            let mut told: Vec<&Decided> = Vec::new();
            for decided in of_agreeing {
                if !told.contains(&decided) {
                    told.push(decided);
                    lines.push((2, decision(world, decided)));
                }
            }
        }
        for pod in self.pods.iter().filter(|pod| !pod.agrees || pod.code != Agreement::Agrees) {
            let code = if pod.agrees { warn(pod.code.code()) } else { bad(pod.code.code()) };
            lines
                .push((2, vec![plain(format!("pod {}: ", pod.pod)), code, plain(format!(": {}", pod.text))]));
            for difference in &pod.differences {
                let ports: Vec<String> = difference.ports.iter().map(ToString::to_string).collect();
                let text = format!("it {} (port {})", difference.text, ports.join(", "));
                lines.push((4, vec![plain(text)]));
            }
            let told = |decided: &&Decided| !pod.agrees && (self.unsure || decided.policies != decided.proxy);
            lines.extend(pod.decides.iter().filter(told).map(|decided| (4, decision(world, decided))));
        }
        lines
    }
}

fn decision(world: &World, decided: &Decided) -> Vec<Styled> {
    let caller = words::short(world, &decided.caller);
    let by = decided.rule.as_ref().map_or(String::new(), |rule| format!(" by rule {rule}"));
    let mut parts = vec![
        plain(format!("{caller} to {}/{}: the proxy says ", decided.port, decided.protocol)),
        words::verdict(decided.proxy),
        plain(by),
    ];
    if decided.policies != decided.proxy {
        parts.extend([plain(", the policies "), words::verdict(decided.policies)]);
    }
    parts
}
