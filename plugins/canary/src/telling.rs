//! How a run is told: as lines, as JSON events, or as a view that is drawn in place.

use std::collections::BTreeSet;

use mesh_cli::live::Live;
use mesh_cli::text::{Line, Styled, bad, dim, good, plain, strong, warn};
use mesh_cli::{Failure, Ui};
use mesh_model::gate::{Rates, Verdict};
use serde::Serialize;

use crate::commands::{clock, line_of_json};
use crate::gate::{Looked, title};
use crate::live::{Graph, bar};
use crate::proof::Proof;
use crate::shift::Moved;
use crate::steps::End;
use crate::words::{between, fraction, per_second, seconds};

/// How wide the graphs are.
const GRAPH: usize = 20;

/// How many findings the view shows.
const FINDINGS: usize = 6;

/// Something that happened in a run.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Told<'a> {
    /// It begins, or goes on.
    Started {
        /// The service, as `NAMESPACE/NAME`.
        service: &'a str,
        /// The canary.
        canary: &'a str,
        /// Its shares in percent.
        steps: &'a [u32],
        /// The share with which it begins.
        from: u32,
        /// The least number of requests of the canary that a step can pass with.
        needs: Option<u64>,
        /// Which Prometheus is asked.
        prometheus: &'a str,
    },
    /// The canary got its share.
    Shifted {
        /// In percent.
        percent: u32,
        /// What moved.
        routes: &'a [Moved],
        /// What the proxies say.
        proof: Option<&'a Proof>,
    },
    /// The gate looked.
    Looked {
        /// The step, in percent.
        percent: u32,
        /// Seconds until the interval is over.
        left: f64,
        /// What it saw and says.
        #[serde(flatten)]
        looked: &'a Looked,
    },
    /// Nobody answered a look, or the cluster could not be read.
    Unanswered {
        /// The step, in percent.
        percent: u32,
        /// What was said instead.
        why: &'a str,
    },
    /// The weights from before go back.
    Back {
        /// Why.
        why: &'a [String],
    },
    /// It is over.
    Ended {
        /// How.
        end: &'static str,
        /// The canary's share now, in percent; absent where that is not known.
        percent: Option<u32>,
        /// In words.
        text: &'a str,
    },
}

/// Tells what happens.
pub(crate) struct Teller<'u> {
    ui: &'u Ui,
    form: Form<'u>,
    /// What was said, so that nothing is said twice in a row, and what is always so only once.
    last: String,
    noted: BTreeSet<String>,
}

enum Form<'u> {
    Lines,
    Json,
    Live(Box<View<'u>>),
}

/// What the view shows.
struct View<'u> {
    live: Live<'u>,
    service: String,
    canary: String,
    steps: Vec<u32>,
    percent: u32,
    weights: Vec<String>,
    state: Styled,
    findings: Vec<Line>,
    /// Stable and the canary.
    seen: [Seen; 2],
    split: Option<f64>,
    is_over: bool,
}

/// What was seen of a version.
struct Seen {
    rates: Option<Rates>,
    graph: Graph,
    /// How many requests at the last glance, and how many seconds into the window.
    before: (f64, f64),
}

impl<'u> Teller<'u> {
    /// As lines, or for programs.
    pub(crate) fn new(ui: &'u Ui, is_json: bool, service: &str, canary: &str, steps: &[u32]) -> Self {
        let seen = || Seen { rates: None, graph: Graph::new(GRAPH), before: (0.0, 0.0) };
        let form = match (is_json, Live::on(ui)) {
            (true, _) => Form::Json,
            (false, None) => Form::Lines,
            (false, Some(live)) => Form::Live(Box::new(View {
                live,
                service: service.to_owned(),
                canary: canary.to_owned(),
                steps: steps.to_vec(),
                percent: 0,
                weights: Vec::new(),
                state: plain(""),
                findings: Vec::new(),
                seen: [seen(), seen()],
                split: None,
                is_over: false,
            })),
        };
        Self { ui, form, last: String::new(), noted: BTreeSet::new() }
    }

    /// Whether there is a view that wants fresh numbers between looks.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.form, Form::Live(_))
    }

    /// Fresh numbers between two looks: only drawn, never judged.
    pub(crate) fn glance(
        &mut self,
        looked: Option<&Looked>,
        left: Option<(f64, f64)>,
    ) -> Result<(), Failure> {
        let Form::Live(view) = &mut self.form else { return Ok(()) };
        if let Some(looked) = looked {
            view.take(looked);
        }
        if let Some((interval, wait)) = left {
            view.state = match interval > 0.0 {
                true => plain(format!("{} left of the interval", seconds(interval))),
                false => {
                    warn(format!("the interval is over, nothing is proven; waits {} more", seconds(wait)))
                }
            };
        }
        view.draw()
    }

    /// Tells something.
    pub(crate) fn tell(&mut self, told: &Told<'_>) -> Result<(), Failure> {
        match &mut self.form {
            Form::Json => line_of_json(self.ui, "CanaryRunEvent", &At { at: clock(), told }),
            Form::Lines => {
                if let Told::Looked { looked, .. } = told {
                    let new = looked.notes.iter().filter(|note| self.noted.insert((*note).clone()));
                    new.for_each(|note| self.ui.note(dim(note)));
                }
                for line in lines(told) {
                    let text = line.render(false);
                    if text != self.last {
                        self.last = text;
                        self.ui.answer(line.after("  ").after(dim(clock())))?;
                    }
                }
                Ok(())
            }
            Form::Live(view) => {
                view.tell(told);
                view.draw()?;
                if matches!(told, Told::Ended { .. }) {
                    view.live.rest();
                    lines(told).into_iter().try_for_each(|line| self.ui.answer(line))?;
                }
                Ok(())
            }
        }
    }
}

#[derive(Serialize)]
struct At<'a> {
    at: String,
    #[serde(flatten)]
    told: &'a Told<'a>,
}

/// How a run ended, in a word.
pub(crate) fn word(end: End) -> &'static str {
    match end {
        End::Passed => "passed",
        End::Failed => "failed",
        End::FailedAndStuck => "failedAndStuck",
        End::Held => "held",
        End::Interrupted => "interrupted",
        End::Lost => "lost",
        End::Stuck => "stuck",
    }
}

fn verdict(verdict: Verdict) -> Styled {
    match verdict {
        Verdict::Pass => good("pass"),
        Verdict::Inconclusive => warn("not proven"),
        Verdict::Fail => bad("fail"),
    }
}

fn step(percent: u32) -> Styled {
    strong(format!("{percent:>3} %"))
}

fn lines(told: &Told<'_>) -> Vec<Line> {
    match told {
        Told::Started { service, canary, steps, from, needs, prometheus } => {
            let steps = steps.iter().map(|step| format!("{step} %")).collect::<Vec<_>>().join(", ");
            let mut lines = vec![
                strong(*service)
                    + format!(": {canary} gets {steps}, beginning with {from} %; asks {prometheus}"),
            ];
            if let Some(needs) = needs {
                lines.push(dim(format!("a step passes with at least {needs} requests to {canary}")).into());
            }
            lines
        }
        Told::Shifted { percent, routes, proof } => {
            let routes = routes.iter().map(|route| route.route.as_str()).collect::<Vec<_>>().join(", ");
            let proof = proof.map(|proof| {
                format!(
                    "; in force on {} of {} proxies after {:.1} s",
                    proof.have, proof.asked, proof.seconds
                )
            });
            let text = if routes.is_empty() {
                "has its share already".to_owned()
            } else {
                format!("moved {routes}")
            };
            vec![step(*percent) + "  " + plain(text + &proof.unwrap_or_default())]
        }
        Told::Looked { percent, looked, .. } => {
            let worst = looked.findings.iter().filter(|finding| finding.verdict == looked.verdict);
            worst
                .map(|finding| {
                    step(*percent)
                        + "  "
                        + verdict(finding.verdict)
                        + format!("  {}: {}", title(finding), finding.reason)
                })
                .collect()
        }
        Told::Unanswered { percent, why } => {
            vec![step(*percent) + "  " + verdict(Verdict::Inconclusive) + format!("  {why}")]
        }
        Told::Back { why } => {
            let mut lines: Vec<Line> = why.iter().map(|why| bad("fail") + format!("  {why}")).collect();
            lines.push(strong("taking the weights back").into());
            lines
        }
        Told::Ended { end, text, .. } => {
            let styled = match *end {
                "passed" => good(*end),
                "held" | "interrupted" => warn(*end),
                _ => bad(*end),
            };
            vec![styled + format!(": {text}")]
        }
    }
}

impl View<'_> {
    fn take(&mut self, looked: &Looked) {
        self.split = looked.split;
        for (seen, rates) in self.seen.iter_mut().zip([looked.stable_rates, looked.canary_rates]) {
            let Some(rates) = rates else { continue };
            let now = (rates.requests_per_second * looked.seconds, looked.seconds);
            let (count, time) = seen.before;
            // A new window begins at nothing.
            let (count, time) = if now.1 < time { (0.0, 0.0) } else { (count, time) };
            if now.1 > time {
                seen.graph.push((now.0 - count) / (now.1 - time));
            }
            seen.before = now;
            seen.rates = Some(rates);
        }
    }

    fn tell(&mut self, told: &Told<'_>) {
        match told {
            Told::Started { from, .. } => {
                self.percent = *from;
                self.state = plain("shifting");
            }
            Told::Shifted { percent, routes, .. } => {
                self.percent = *percent;
                let list = |weights: &[u32]| weights.iter().map(u32::to_string).collect::<Vec<_>>().join("/");
                self.weights =
                    routes.iter().map(|route| format!("{} {}", route.route, list(&route.to))).collect();
                self.findings.clear();
                self.state = plain("shifted; waiting for two scrapes");
            }
            Told::Looked { looked, .. } => {
                self.take(looked);
                self.findings = looked
                    .findings
                    .iter()
                    .take(FINDINGS)
                    .map(|finding| {
                        // What is cut off at the end of a line must not be what is waited for.
                        let needs = finding.needs.map_or(String::new(), |needs| format!("needs {needs}; "));
                        verdict(finding.verdict) + format!("  {}: {needs}{}", title(finding), finding.reason)
                    })
                    .collect();
            }
            Told::Unanswered { why, .. } => {
                self.findings = vec![verdict(Verdict::Inconclusive) + format!("  {why}")];
            }
            Told::Back { why } => {
                self.findings = why.iter().map(|why| bad("fail") + format!("  {why}")).collect();
                self.state = bad("taking the weights back");
            }
            Told::Ended { percent, .. } => {
                self.percent = percent.unwrap_or(self.percent);
                self.is_over = true;
            }
        }
    }

    fn draw(&mut self) -> Result<(), Failure> {
        let width = self.live.size().0;
        let steps = self
            .steps
            .iter()
            .map(|step| if *step == self.percent { format!("[{step} %]") } else { format!("{step} %") });
        let steps = steps.collect::<Vec<_>>().join("  ");
        let mut lines: Vec<Line> =
            vec![strong(&self.service) + format!("  {}  ", self.canary) + plain(steps)];
        let most = self.seen.iter().map(|seen| seen.graph.most()).fold(0.0, f64::max);
        let room = width.saturating_sub(70 + GRAPH).clamp(5, 30);
        let shares = [self.split.map(|share| 100.0 - share), self.split];
        let weights = [100 - self.percent.min(100), self.percent];
        let names = ["stable", &self.canary];
        for (((seen, share), weight), name) in self.seen.iter().zip(shares).zip(weights).zip(names) {
            let name: String = format!("{name:<8}").chars().take(14).collect();
            let share_text = share.map_or("     -".to_owned(), |share| format!("{share:4.1} %"));
            let mut line = strong(name) + format!(" {weight:>3} %  ") + bar(share, room).as_str();
            line = line + format!(" {share_text}  ") + dim(seen.graph.text(most));
            if let Some(rates) = &seen.rates {
                line = line + format!(" {:>7}", per_second(rates.requests_per_second));
                line = line + "  errors " + fraction(rates.error_rate) + "  p99 " + between(rates.p99);
            }
            lines.push(line);
        }
        lines.extend(self.weights.iter().map(|route| Line::from(dim(route))));
        lines.extend(self.findings.iter().cloned());
        if !self.is_over {
            lines.push(dim(format!("{}  ", clock())) + self.state.clone());
            lines.push(dim("Ctrl-C holds the weights where they are").into());
        }
        self.live.draw(&lines)
    }
}
