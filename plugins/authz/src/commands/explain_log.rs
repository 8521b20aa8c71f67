//! `explain-log [TARGET]`: the denials of an access log, and why.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::time::Duration;

use mesh_cli::layout::say;
use mesh_cli::output::{self, Output};
use mesh_cli::text::{Styled, bad, dim, plain, strong, warn};
use mesh_cli::{Exit, Failure, Loaded, SourceArgs, Ui};
use mesh_model::access_log::explain::{By, Explainer};
use mesh_model::access_log::lines::Lines;
use mesh_model::access_log::summary::{Counts, Denial, Summarizer, Summary};
use mesh_model::question::target::Target;
use mesh_model::question::who_can;
use mesh_model::world::{Assumption, World};
use mesh_source::cluster::{self, Connection, Logs};
use serde::Serialize;

use crate::words;

/// Explain the denials in the access log of a sidecar: exit code 1 if there are any.
#[derive(clap::Args)]
#[command(before_help = "
# Why do callers of payment get 403 or a reset? Its sidecars' logs say
kubectl mesh-authz explain-log payment -n orders --since 10m

# A log that somebody sent
kubectl mesh-authz explain-log --log access.log -n orders

# From a pipe
kubectl logs deploy/payment -n orders -c istio-proxy | kubectl mesh-authz explain-log -n orders

# By manifests, without a cluster: the log of payment, and the policies of a directory
kubectl mesh-authz explain-log payment --log access.log -f deploy/

# Would a change let these requests through?
kubectl mesh-authz explain-log payment -n orders --what-if -f new-policy.yaml
")]
pub(crate) struct Arguments {
    /// Whose log: a service or workload. Without it the lines themselves must tell.
    #[arg(value_name = "TARGET")]
    target: Option<String>,
    /// Read this file, or - for standard input, instead of the logs of TARGET's pods.
    #[arg(long, value_name = "FILE")]
    log: Option<String>,
    /// Of the pods' logs, read only what is younger, such as 10m or 2h.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// Of each pod's log, read only so many lines, the last ones.
    #[arg(long, value_name = "LINES")]
    tail: Option<u64>,
    /// Output format.
    #[arg(short, long, default_value = "table", value_parser = Output::one_of(&[Output::Table, Output::Json, Output::Yaml]))]
    output: Output,
    #[command(flatten)]
    source: SourceArgs,
}

/// The answer as programs see it.
#[derive(Serialize)]
struct LogExplanation<'a> {
    lines: &'a Counts,
    denials: &'a [Denial],
    assumptions: Vec<Assumption>,
}

/// Where the lines are.
enum Input<'a> {
    Pods(Box<Connection>),
    File(&'a str),
    Stdin,
}

impl Arguments {
    pub(crate) fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        let input = self.input(io::stdin().is_terminal())?;
        // Opened before anything else is read: it is what is mistyped.
        let file = match &input {
            Input::File(path) => Some(File::open(path).map_err(|error| unreadable(path, &error))?),
            Input::Pods(..) | Input::Stdin => None,
        };
        let loaded = self.source.load(ui)?;
        let target = self.target.as_deref().map(|target| words::find(ui, &loaded, target)).transpose()?;
        let explainer = Explainer::new(&loaded.world, target.clone(), words::scope(&loaded));
        let mut log = Log { ui, lines: Lines::default(), summarizer: Summarizer::new(explainer) };
        match (&input, &target, file) {
            (Input::Pods(connection), Some(target), _) => {
                self.read_pods(&loaded, target, connection, &mut log)?
            }
            (Input::File(path), _, Some(file)) => log.read(path, file)?,
            _ => log.read("standard input", io::stdin().lock())?,
        }
        let summary = log.summarizer.finish();
        let assumptions = assumptions(&loaded.world, target.as_ref(), &summary);
        let view = LogExplanation { lines: &summary.counts, denials: &summary.denials, assumptions };
        match self.output {
            Output::Json => output::json(ui, "LogExplanation", &view)?,
            Output::Yaml => output::yaml(ui, "LogExplanation", &view)?,
            Output::Table | Output::Wide | Output::Name => show(ui, &loaded.world, &view)?,
        }
        say_unreadable(ui, &summary.counts);
        Ok(if summary.has_denials() { Exit::No } else { Exit::Yes })
    }

    /// Which log is meant.
    fn input(&self, is_terminal: bool) -> Result<Input<'_>, Failure> {
        let input = match (&self.log, &self.target, self.source.connection()) {
            (Some(path), ..) if path != "-" => Input::File(path),
            (None, Some(_), Some(connection)) => Input::Pods(Box::new(connection)),
            (None, Some(_), None) => {
                return Err(Failure::usage("manifests have no pods whose logs could be read")
                    .hint("name the log with --log FILE, or --log - for standard input"));
            }
            (None, None, _) if is_terminal => {
                return Err(Failure::usage("there is no log to read")
                    .hint("name the workload whose log it is (payment -n orders), a file (--log FILE), or pipe it in: kubectl logs deploy/payment -n orders -c istio-proxy | kubectl mesh-authz explain-log"));
            }
            _ => Input::Stdin,
        };
        if !matches!(input, Input::Pods(..)) && (self.since.is_some() || self.tail.is_some()) {
            return Err(Failure::usage(
                "--since and --tail are about the logs of pods, and this log comes from elsewhere",
            ));
        }
        if matches!(input, Input::Stdin) && self.source.reads_stdin() {
            return Err(Failure::usage("standard input cannot be both the log and the manifests")
                .hint("name the log with --log FILE"));
        }
        Ok(input)
    }

    fn read_pods(
        &self,
        loaded: &Loaded,
        target: &Target<'_>,
        connection: &Connection,
        log: &mut Log<'_, '_>,
    ) -> Result<(), Failure> {
        let workloads = target.workloads.iter().filter_map(|number| loaded.world.workloads.get(*number));
        let logs = Logs {
            namespace: target.namespace.clone(),
            pods: workloads.flat_map(|workload| workload.pods.iter().cloned()).collect(),
            since: self.since,
            tail: self.tail,
        };
        if logs.pods.is_empty() {
            return Err(Failure::error(format!("no pod of {}/{} runs", target.namespace, target.name))
                .hint("explain a log that was kept with --log FILE"));
        }
        let progress = log.ui.progress();
        let unread = cluster::read_logs(connection, &logs, &mut |pod, piece| {
            log.take(piece, Some(pod));
            progress.show(format!("reading the log of pod {pod}…"));
        });
        drop(progress);
        let unread = unread.map_err(no_log)?;
        for unread in unread {
            log.ui.warning(&format!("the log of pod {} could not be read: {}", unread.pod, unread.error));
        }
        Ok(())
    }
}

/// A log while it is read.
struct Log<'u, 'w> {
    ui: &'u Ui,
    lines: Lines,
    summarizer: Summarizer<'w>,
}

impl Log<'_, '_> {
    /// Takes a piece; an empty one is the end.
    fn take(&mut self, piece: &[u8], pod: Option<&str>) {
        let Self { lines, summarizer, .. } = self;
        let mut line = |line: &str| summarizer.line(line, pod);
        if piece.is_empty() { lines.finish(&mut line) } else { lines.push(piece, &mut line) }
    }

    fn read(&mut self, name: &str, mut from: impl Read) -> Result<(), Failure> {
        let progress = self.ui.progress();
        let mut piece = vec![0; 64 * 1024];
        let mut bytes = 0;
        loop {
            let length = match from.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(|error| unreadable(name, &error))?,
            };
            self.take(piece.get(..length).unwrap_or_default(), None);
            if length == 0 {
                return Ok(());
            }
            bytes += length;
            progress.show(format!("reading {name}… {} MB", bytes / 1_000_000));
        }
    }
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    Failure::error(format!("cannot read the log {name}: {why}"))
        .hint("--log takes the path of a file, relative to the current directory, or - for standard input")
}

/// Logs need a right of their own, which the general hint does not name.
fn no_log(error: cluster::Error) -> Failure {
    match error {
        cluster::Error::Forbidden { .. } => Failure::server(error.line())
            .hint("reading logs takes the verb get on pods/log: docs/rbac/authz-logs.yaml grants it"),
        error => error.into(),
    }
}

/// What all explanations assume, and each of them.
fn assumptions(world: &World, target: Option<&Target<'_>>, summary: &Summary) -> Vec<Assumption> {
    let workloads = target.map_or(&[][..], |target| target.workloads.as_slice());
    let mut all = who_can::assumptions(world, workloads);
    all.extend(summary.denials.iter().flat_map(|denial| denial.explanation.assumptions.iter().cloned()));
    all.into_iter().collect()
}

fn show(ui: &Ui, world: &World, view: &LogExplanation<'_>) -> Result<(), Failure> {
    for denial in view.denials {
        show_denial(ui, world, denial)?;
        ui.answer(plain(""))?;
    }
    let Counts { read, denied, dry_run, passed, own, unreadable, not_listed, .. } = view.lines;
    let mut parts = vec![format!("{denied} denied"), format!("{passed} not denied")];
    for (count, what) in [
        (dry_run, "that a dry run would have denied"),
        (own, "of the proxy about itself"),
        (unreadable, "that could not be read"),
    ] {
        if *count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    let lines = if *read == 1 { "line" } else { "lines" };
    say(ui, 0, 2, [plain(format!("{read} {lines}: {}", parts.join(", ")))])?;
    if *not_listed > 0 {
        say(
            ui,
            0,
            2,
            [warn(format!("{not_listed} denials are not listed: there are too many different ones"))],
        )?;
    }
    words::assumptions(ui, &view.assumptions);
    Ok(())
}

fn show_denial(ui: &Ui, world: &World, denial: &Denial) -> Result<(), Failure> {
    let Denial { count, first, last, explanation, example } = denial;
    let cut = explanation.cause == "cut";
    let who = match explanation.by {
        By::Mesh => bad("denied by the mesh"),
        By::Application if cut => warn("cut off, not by the mesh"),
        By::Application => warn("denied by the application"),
        By::Unknown if cut => warn("cut off, perhaps by the mesh"),
        By::Unknown => warn("denied by the mesh or the application"),
        By::Nobody => dim("would be denied"),
    };
    let mut text = if *count == 1 { ", once: ".to_owned() } else { format!(", {count} times: ") };
    text.push_str(&match (&explanation.caller, &example.client) {
        (Some(caller), _) => words::short(world, caller),
        // The proxy writes port 0 behind an address that a header states.
        (None, Some(client)) => {
            let such = if *count == 1 { "" } else { "such as " };
            match client.strip_suffix(":0") {
                Some(address) => format!("somebody ({such}X-Forwarded-For {address})"),
                None => format!("somebody ({such}{})", client.rsplit_once(':').map_or("", |(ip, _)| ip)),
            }
        }
        (None, None) => "somebody".to_owned(),
    });
    if let Some(target) = &explanation.target {
        text.push_str(&format!(" to {target}"));
    }
    if let Some(port) = explanation.port {
        text.push_str(&format!(" :{port}"));
    }
    let request: Vec<&str> =
        [&example.method, &example.path].into_iter().flatten().map(String::as_str).collect();
    if !request.is_empty() {
        let such = if *count == 1 { "" } else { "such as " };
        text.push_str(&format!(", {such}{}", request.join(" ")));
    }
    if let Some(status) = explanation.status {
        text.push_str(&format!(", {status}"));
    }
    say(ui, 0, 2, [who, plain(text)])?;
    for because in &explanation.because {
        let kind = because.kind.filter(|kind| *kind != "AuthorizationPolicy");
        let kind = kind.map_or(String::new(), |kind| format!("{kind} "));
        let place =
            words::object(because).map(|object| format!("{kind}{object}")).or_else(|| because.at.clone());
        let place = place.map_or(String::new(), |place| format!(": {place}"));
        say(ui, 2, 4, [plain(format!("{}{place}", because.text))])?;
    }
    if let Some(miss) = &explanation.nearest_miss {
        say(ui, 2, 4, [plain(words::nearest_miss(miss))])?;
    }
    if let Some(changed) = &explanation.changed {
        say(ui, 2, 4, [strong("does not fit the policies that were read"), plain(format!(": {changed}"))])?;
    }
    let times = match (first, last) {
        (Some(first), Some(last)) if first != last => format!("{first} to {last}, first in "),
        (Some(first), _) => format!("{first}, "),
        _ => String::new(),
    };
    let pod = example.pod.as_ref().map_or(String::new(), |pod| format!(" of pod {pod}"));
    let details = example.details.as_ref().map_or(String::new(), |details| format!(": {details}"));
    let parts: [Styled; 1] = [dim(format!("{times}line {}{pod}{details}", example.line))];
    say(ui, 2, 4, parts)
}

/// What nobody understood is said, also where the answer is for a program.
fn say_unreadable(ui: &Ui, counts: &Counts) {
    let Some(first) = &counts.first_unreadable else { return };
    let lines = if counts.unreadable == 1 { "line" } else { "lines" };
    ui.warning(&format!(
        "{} {lines} could not be read, first line {}: {}",
        counts.unreadable, first.line, first.text
    ));
    ui.note(dim(
        "known are Istio's formats, as text and as JSON, and those of the mesh configuration that was read",
    ));
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    /// Where the log is, or the first line of what is wrong.
    fn input(arguments: &[&str], is_terminal: bool) -> String {
        let Command { arguments } = Command::try_parse_from([&["x"], arguments].concat()).unwrap();
        match arguments.input(is_terminal) {
            Ok(Input::Pods(_)) => "pods".to_owned(),
            Ok(Input::File(path)) => path.to_owned(),
            Ok(Input::Stdin) => "stdin".to_owned(),
            Err(failure) => format!("{failure:?}"),
        }
    }

    #[test]
    fn where_the_log_is() {
        for (arguments, expected) in [
            (&["payment"][..], "pods"),
            (&["payment", "-n", "orders", "--since", "10m", "--tail", "100"], "pods"),
            (&["payment", "--what-if", "-f", "new.yaml"], "pods"),
            (&["payment", "--log", "a.log", "-f", "deploy"], "a.log"),
            (&["--log", "a.log"], "a.log"),
            (&["--log", "-", "-f", "deploy"], "stdin"),
            (&["payment", "--log", "-"], "stdin"),
        ] {
            assert_eq!(input(arguments, true), expected, "{arguments:?}");
        }
        assert_eq!(input(&[], false), "stdin");
    }

    #[test]
    fn nobody_waits_for_a_log_to_be_typed() {
        let refused = input(&["-n", "orders"], true);
        assert!(refused.contains("there is no log to read") && refused.contains("kubectl logs"), "{refused}");
        for (arguments, message) in [
            (&["payment", "-f", "deploy"][..], "manifests have no pods"),
            (&["--log", "a.log", "--tail", "5"], "--since and --tail"),
            (&["--log", "-", "-f", "-"], "standard input cannot be both"),
        ] {
            let refused = input(arguments, true);
            assert!(refused.contains(message), "{refused}");
        }
    }
}
