//! What holds for every window, and what becomes of each kind of bad data.

use proptest::prelude::*;

use super::*;

const INFINITE: f64 = f64::INFINITY;

fn workload(name: &str) -> Identity {
    Identity::Workload { namespace: "shop".into(), name: name.into() }
}

fn tally() -> Tally {
    Tally::new(Versions::new(vec![workload("v1")], vec![workload("v2")]).unwrap(), 100.0)
}

fn labels(reporter: &str, workload: &str, code: &str, flags: &str) -> Labels {
    [
        ("reporter", reporter),
        ("destination_workload", workload),
        ("destination_workload_namespace", if workload == "unknown" { "unknown" } else { "shop" }),
        ("response_code", code),
        ("response_flags", flags),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

/// A series of the servers' proxies.
fn server(workload: &str, code: &str, samples: &[(f64, f64)]) -> Series {
    series(labels("destination", workload, code, "-"), samples)
}

fn series(labels: Labels, samples: &[(f64, f64)]) -> Series {
    Series { labels, samples: samples.iter().map(|&(at, value)| Sample { at, value }).collect() }
}

/// A window from 100 to 160 in which stable answered 4100 with 2 failures, and whatever else is given.
fn window(more: &[Series]) -> Window {
    let mut tally = tally();
    tally.take(
        &[
            server("v1", "200", &[(90.0, 1000.0), (159.0, 5098.0)]),
            server("v1", "503", &[(90.0, 7.0), (159.0, 9.0)]),
        ],
        160.0,
    );
    tally.take(more, 160.0);
    tally.window(15.0)
}

fn limits() -> Limits {
    Limits { max_error_rate: Some(0.01), tolerance: None, latency: Vec::new(), alpha: Alpha::default() }
}

/// The verdict, and the reason of the worst finding.
fn judged(more: &[Series]) -> (Verdict, String) {
    let judgement = judge(&window(more), &limits());
    (judgement.verdict, judgement.findings[0].reason.clone())
}

#[test]
fn counts_prove_or_do_not() {
    let canary = |good: f64, bad: f64| {
        judged(&[server("v2", "200", &[(150.0, good)]), server("v2", "500", &[(150.0, bad)])])
    };
    assert_eq!(
        canary(228.0, 12.0),
        (
            Verdict::Fail,
            "12 of 240 requests failed (5.0 %): 500: 12, limit 1 %, stable 2 of 4100 (0.049 %)".into()
        )
    );
    assert_eq!(
        canary(120.0, 0.0),
        (
            Verdict::Inconclusive,
            "0 of 120 requests failed (0 %), limit 1 %, stable 2 of 4100 (0.049 %); needs 299 requests, has 120"
                .into()
        )
    );
    assert_eq!(canary(299.0, 0.0).0, Verdict::Pass);
    assert_eq!(canary(298.0, 0.0).0, Verdict::Inconclusive);
}

#[test]
fn no_traffic_never_passes() {
    let (verdict, reason) = judged(&[]);
    assert_eq!(verdict, Verdict::Inconclusive);
    assert_eq!(
        reason,
        "the canary has had no requests, limit 1 %, stable 2 of 4100 (0.049 %); needs 299 requests, has 0"
    );
    let nothing = judge(&tally().window(15.0), &limits());
    assert_eq!(nothing.verdict, Verdict::Inconclusive);
    assert_eq!(nothing.findings[0].reason, "Prometheus has no istio_requests_total of either version");
}

#[test]
fn errors_that_are_born_at_three_count() {
    // `increase` sees none of them.
    let born = server("v2", "503", &[(120.0, 3.0), (150.0, 3.0)]);
    let (verdict, reason) = judged(&[born, server("v2", "200", &[(120.0, 17.0), (150.0, 17.0)])]);
    assert_eq!(verdict, Verdict::Fail, "{reason}");
    assert!(reason.starts_with("3 of 20 requests failed (15.0 %): 503: 3"), "{reason}");
}

#[test]
fn a_reset_never_passes_and_may_fail() {
    let reset = [(90.0, 500.0), (120.0, 900.0), (150.0, 400.0)];
    let (verdict, reason) = judged(&[server("v2", "200", &reset)]);
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(
        reason.contains("0 of 800 requests failed") && reason.contains("a counter went down"),
        "{reason}"
    );
    assert_eq!(judged(&[server("v2", "500", &reset)]).0, Verdict::Fail);
}

#[test]
fn what_is_no_number_proves_nothing() {
    for bad in [f64::NAN, INFINITE, -1.0, 0.5] {
        let more = [server("v2", "500", &[(150.0, 900.0)]), server("v2", "200", &[(150.0, bad)])];
        let (verdict, reason) = judged(&more);
        assert_eq!(verdict, Verdict::Inconclusive, "{bad}: {reason}");
        assert!(reason.contains("the canary, counted by the servers' proxies: a counter is"), "{reason}");
        // In a third workload it is no concern of ours; stable's count only where it is compared with.
        let good = server("v2", "200", &[(150.0, 900.0)]);
        assert_eq!(judged(&[good.clone(), server("v3", "200", &[(150.0, bad)])]).0, Verdict::Pass);
        assert_eq!(judged(&[good, server("v1", "201", &[(150.0, bad)])]).0, Verdict::Pass);
    }
}

#[test]
fn stale_samples_never_pass() {
    let (verdict, reason) = judged(&[server("v2", "200", &[(120.0, 5000.0)])]);
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(reason.ends_with("nothing has been scraped for 40 s"), "{reason}");
    assert_eq!(judged(&[server("v2", "500", &[(120.0, 5000.0)])]).0, Verdict::Fail);
}

#[test]
fn partial_answers_prove_nothing() {
    let mut tally = tally();
    tally.take(&[server("v2", "200", &[(150.0, 5000.0)])], 160.0);
    tally.incomplete("store 1 did not answer");
    let judgement = judge(&tally.window(15.0), &limits());
    assert_eq!(judgement.verdict, Verdict::Inconclusive);
    assert!(judgement.findings[0].reason.contains("store 1 did not answer"));
}

#[test]
fn wrong_labels_are_named() {
    let (verdict, reason) = judged(&[server("v2", "5xx", &[(150.0, 1.0)])]);
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(reason.contains("the label response_code is \"5xx\""), "{reason}");
    // Requests that went to somebody else are said.
    let judgement = judge(&window(&[server("v9", "200", &[(150.0, 70.0)])]), &limits());
    assert_eq!(judgement.verdict, Verdict::Inconclusive);
    assert!(judgement.notes.contains(&"requests to neither version: v9: 70".to_owned()), "{judgement:?}");
    // A reporter of a waypoint is none of ours.
    let waypoint = series(labels("waypoint", "v2", "200", "-"), &[(150.0, 900.0)]);
    assert_eq!(judged(&[waypoint]).0, Verdict::Inconclusive);
}

#[test]
fn the_worse_reporter_counts_and_none_is_added() {
    let good = server("v2", "200", &[(150.0, 900.0)]);
    let by_client = |code: &str, count: f64| series(labels("source", "v2", code, "-"), &[(150.0, count)]);
    assert_eq!(judged(std::slice::from_ref(&good)).0, Verdict::Pass);
    assert_eq!(judged(&[good.clone(), by_client("200", 100.0)]).0, Verdict::Inconclusive);
    assert_eq!(judged(&[good.clone(), by_client("503", 100.0)]).0, Verdict::Fail);
    assert_eq!(judged(&[good, by_client("200", 900.0)]).0, Verdict::Pass);
    // 150 of each are not 300.
    let half = [server("v2", "200", &[(150.0, 150.0)]), by_client("200", 150.0)];
    assert_eq!(judged(&half).0, Verdict::Inconclusive);
}

#[test]
fn a_missing_reporter_is_said() {
    let judgement = judge(&window(&[server("v2", "200", &[(150.0, 900.0)])]), &limits());
    assert_eq!(judgement.verdict, Verdict::Pass);
    assert_eq!(
        judgement.notes,
        [
            "the clients' proxies have counted nothing of this service: failures before the server are not seen"
        ]
    );
}

#[test]
fn requests_that_find_nobody_fail_the_step_that_they_begin_with() {
    let good = server("v2", "200", &[(150.0, 9000.0)]);
    let lost = |samples: &[(f64, f64)]| {
        judged(&[good.clone(), series(labels("source", "unknown", "503", "NC"), samples)])
    };
    let (verdict, reason) = lost(&[(150.0, 4.0)]);
    assert_eq!(verdict, Verdict::Fail);
    assert!(
        reason.starts_with("4 requests reached no version (503 NC: 4): there is no route, cluster or ready"),
        "{reason}"
    );
    // As before the step.
    assert_eq!(lost(&[(40.0, 0.0), (99.0, 60.0), (150.0, 110.0)]).0, Verdict::Pass);
    // Much more than before.
    assert_eq!(lost(&[(40.0, 0.0), (99.0, 1.0), (150.0, 100.0)]).0, Verdict::Fail);
    // Without a configuration error it is a question of how many.
    let reset = |count| {
        judged(&[good.clone(), series(labels("source", "unknown", "503", "UF"), &[(150.0, count)])]).0
    };
    assert_eq!(reset(40.0), Verdict::Fail);
}

#[test]
fn worse_than_stable_fails_under_the_absolute_limit_too() {
    let relative = |limit, tolerance, bad: f64| {
        let more = [server("v2", "200", &[(150.0, 10_000.0 - bad)]), server("v2", "500", &[(150.0, bad)])];
        judge(&window(&more), &Limits { max_error_rate: Some(limit), tolerance: Some(tolerance), ..limits() })
    };
    let judgement = relative(0.1, 0.01, 500.0);
    assert_eq!(judgement.verdict, Verdict::Fail);
    assert_eq!(
        judgement.findings[0].reason,
        "canary 500 of 10000 failed (5.0 %), stable 2 of 4100 failed (0.049 %), tolerance 1 %"
    );
    assert_eq!(relative(0.1, 0.01, 50.0).verdict, Verdict::Pass);
    assert_eq!(relative(0.1, 0.01, 105.0).verdict, Verdict::Inconclusive);
}

#[test]
fn a_stable_that_is_as_bad_excuses_nothing_but_is_said() {
    let bad = |workload: &str| {
        [server(workload, "200", &[(150.0, 900.0)]), server(workload, "502", &[(150.0, 100.0)])]
    };
    let mut tally = tally();
    tally.take(&bad("v1"), 160.0);
    tally.take(&bad("v2"), 160.0);
    let judgement = judge(&tally.window(15.0), &Limits { tolerance: Some(0.05), ..limits() });
    assert_eq!(judgement.verdict, Verdict::Fail);
    assert!(
        judgement.findings[0].reason.ends_with("; stable fails as well: look first for what both depend on")
    );
    let of = |check| judgement.findings.iter().find(|finding| finding.check == check).unwrap().verdict;
    assert_eq!(of(Check::Comparison), Verdict::Pass);
}

/// The answer to the query of latency.
fn buckets(workload: &str, buckets: &[(&str, f64)]) -> Vec<Series> {
    let one = |&(bound, value): &(&str, f64)| {
        let mut labels = labels("destination", workload, "", "");
        labels.insert("le".into(), bound.into());
        series(labels, &[(160.0, value)])
    };
    buckets.iter().map(one).collect()
}

#[test]
fn latency_is_held_against_buckets() {
    let judged = |of: &[(&str, f64)], milliseconds| {
        let mut tally = tally();
        tally.take(&[server("v2", "200", &[(150.0, 1000.0)])], 160.0);
        tally.take_latency(&buckets("v2", of));
        let latency = vec![LatencyLimit { quantile: 0.99, milliseconds }];
        let judgement = judge(&tally.window(15.0), &Limits { max_error_rate: None, latency, ..limits() });
        (judgement.verdict, judgement.findings[0].reason.clone())
    };
    let slow = [("100", 900.0), ("250", 950.0), ("500", 1000.0), ("+Inf", 1000.0)];
    assert_eq!(
        judged(&slow, 250.0),
        (
            Verdict::Fail,
            "50 of 1000 requests took longer than 250 ms, 1 % may: p99 is between 250 and 500 ms".into()
        )
    );
    let (verdict, reason) = judged(&slow, 300.0);
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(reason.starts_with("between 0 and 50 of 1000 requests took longer than 300 ms"), "{reason}");
    assert_eq!(judged(&slow, 500.0).0, Verdict::Pass);
    // Beyond the last bucket nothing can be proven to be slow.
    assert_eq!(judged(&[("100", 0.0), ("+Inf", 1000.0)], 200.0).0, Verdict::Inconclusive);
    // Few requests, none, and none that add up.
    let (verdict, reason) = judged(&[("100", 20.0), ("+Inf", 20.0)], 100.0);
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(reason.ends_with("; needs 299 requests, has 20"), "{reason}");
    assert_eq!(judged(&[], 100.0).0, Verdict::Inconclusive);
    for bad in [&[("100", 9.0), ("+Inf", 3.0)][..], &[("100", 900.0)], &[("+Inf", f64::NAN)], &[("x", 1.0)]] {
        let (verdict, reason) = judged(bad, 100.0);
        assert_eq!(verdict, Verdict::Inconclusive);
        assert!(reason.contains("the latency buckets do not add up"), "{reason}");
    }
}

#[test]
fn rates_are_ratios_of_the_window() {
    let window = window(&[server("v2", "200", &[(150.0, 60.0)])]);
    let rates = Rates::of(&window.destination.canary, window.seconds());
    assert_eq!((rates.requests_per_second, rates.error_rate), (1.0, Some(0.0)));
    assert_eq!(Rates::of(&Seen::default(), 60.0), Rates::default());
}

fn seen(requests: u64, failures: u64) -> Seen {
    let kinds = [("500".to_owned(), failures)].into();
    Seen { requests, failures, kinds, series: 1, newest: Some(160.0), latency: None }
}

fn counted(stable: Seen, canary: Seen) -> Window {
    Window { start: 100.0, end: 160.0, destination: Pair { stable, canary }, ..Window::default() }
}

/// The canary's verdict, with a comparison too.
fn verdict(requests: u64, failures: u64, alpha: Alpha) -> Verdict {
    let limits = Limits { tolerance: Some(0.02), alpha, ..limits() };
    judge(&counted(seen(4000, 20), seen(requests, failures)), &limits).verdict
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn more_failures_never_better_a_verdict(requests in 0_u64..5000, failures in 0_u64..5000) {
        let failures = failures % (requests + 1);
        let alpha = Alpha::default();
        prop_assert!(failures == requests || verdict(requests, failures, alpha) <= verdict(requests, failures + 1, alpha));
    }

    #[test]
    fn nothing_passes_below_what_is_needed(requests in 0_u64..3000, failures in 0_u64..20, looks in 1_u32..10) {
        let failures = failures.min(requests);
        let alpha = Alpha { looks, ..Alpha::default() };
        let judgement = judge(&counted(seen(4000, 20), seen(requests, failures)), &Limits { alpha, ..limits() });
        let needed = proportion::needed(failures, 0.01, alpha.pass()).unwrap();
        prop_assert_eq!(judgement.verdict == Verdict::Pass, requests >= needed);
        if let Some(needs) = judgement.needs() {
            prop_assert!(requests < needs);
        }
    }

    #[test]
    fn fewer_looks_prove_more(requests in 0_u64..3000, failures in 0_u64..100, looks in 1_u32..10) {
        let failures = failures.min(requests);
        let (one, many) = (Alpha::default(), Alpha { looks, steps: 4, ..Alpha::default() });
        let (one, many) = (verdict(requests, failures, one), verdict(requests, failures, many));
        prop_assert!(many == one || many == Verdict::Inconclusive);
    }
}

/// A generator of no quality but its seed's (splitmix64).
struct Dice(u64);

impl Dice {
    fn hits(&mut self, chance: f64) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        #[expect(clippy::cast_precision_loss, reason = "53 bits")]
        let unit = ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
        unit < chance
    }
}

/// Of 1000 runs, how many end at one of their looks with the verdict. The looks see growing counts.
fn ends_with(wanted: Verdict, rate: f64, looks: u32, seed: u64) -> u32 {
    let limits = Limits { alpha: Alpha { looks, ..Alpha::default() }, ..limits() };
    let mut dice = Dice(seed);
    let run = |dice: &mut Dice| {
        let (mut requests, mut failures) = (0, 0);
        (0..looks).any(|_| {
            requests += 400;
            failures += (0..400).filter(|_| dice.hits(rate)).count() as u64;
            judge(&counted(seen(4000, 0), seen(requests, failures)), &limits).verdict == wanted
        })
    };
    (0..1000).map(|_| u32::from(run(&mut dice))).sum()
}

#[test]
fn wrong_verdicts_over_repeated_looks_keep_to_alpha() {
    // Exactly at the limit, where both errors are most likely: at most 5 % of the runs (and what chance adds).
    for looks in [1, 6] {
        let failed = ends_with(Verdict::Fail, 0.01, looks, 1);
        let passed = ends_with(Verdict::Pass, 0.010_001, looks, 2);
        assert!(failed <= 65 && passed <= 65, "{looks} looks: {failed} failed, {passed} passed, of 1000");
    }
    // And the gate is of use: a bad version is found, a good one passes.
    assert!(ends_with(Verdict::Fail, 0.04, 6, 3) > 990);
    assert!(ends_with(Verdict::Pass, 0.001, 6, 4) > 990);
}

#[test]
fn a_canary_like_stable_seldom_fails_the_comparison() {
    // Both fail 2 % of their requests and no difference is tolerated, which is where it is hardest.
    let limits = Limits { max_error_rate: None, tolerance: Some(0.0), ..limits() };
    let mut dice = Dice(5);
    let mut counts = |rate: f64, requests: u64| (0..requests).filter(|_| dice.hits(rate)).count() as u64;
    let mut failed = |canary: f64| {
        let verdicts = (0..500).map(|_| {
            let (stable, canary) = (seen(1500, counts(0.02, 1500)), seen(500, counts(canary, 500)));
            judge(&counted(stable, canary), &limits).verdict
        });
        verdicts.filter(|&verdict| verdict == Verdict::Fail).count()
    };
    assert!(failed(0.02) <= 25);
    assert!(failed(0.08) > 450);
}

/// What docs/canary-gate.md says in numbers and in PromQL.
#[test]
fn the_documentation_says_what_is_so() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/canary-gate.md");
    let page = std::fs::read_to_string(path).unwrap();
    // The defaults of `run`: four steps, with 15 looks each; five checks in each look.
    let alpha = Alpha { steps: 4, looks: 15, ..Alpha::default() };
    let needed = |failures, limit, alpha| proportion::needed(failures, limit, alpha).unwrap();
    let mut missing = Vec::new();
    for (limit, name) in
        [(0.05, "5 %"), (0.02, "2 %"), (0.01, "1 %"), (0.005, "0.5 %"), (0.001, "0.1 %"), (0.5, "50 %")]
    {
        let [none, one, five] = [0, 1, 5].map(|failures| needed(failures, limit, alpha.pass()));
        let compared = needed(0, limit, alpha.pass() / 2.0);
        let fails = (1..=100).find(|&bad| proportion::lower(bad, 100, alpha.fail(5)) > limit).unwrap();
        let row = format!("| {name} | {none} | {one} | {five} | {compared} | {fails} |");
        missing.extend((!page.contains(&row)).then_some(row));
    }
    let service = query::ServiceName { namespace: "orders".into(), name: "payment".into() };
    let unrouted = query::unrouted(&service, 60.0 + query::LOOKBACK);
    let queries = [query::requests(&service, 60.0 + query::LOOKBACK), query::latency(&service, 60.0)];
    missing.extend(queries.into_iter().chain(unrouted).filter(|text| !page.contains(text)));
    assert!(missing.is_empty(), "docs/canary-gate.md lacks:\n{}", missing.join("\n"));
    // The same row by judging: one request less does not pass.
    let verdict = |requests, failures| {
        let limits = Limits { max_error_rate: Some(0.01), tolerance: None, latency: Vec::new(), alpha };
        judge(&counted(seen(4000, 0), seen(requests, failures)), &limits).verdict
    };
    let least = needed(1, 0.01, alpha.pass());
    assert_eq!([verdict(least, 1), verdict(least - 1, 1)], [Verdict::Pass, Verdict::Inconclusive]);
}
