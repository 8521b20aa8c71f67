//! The decision on single requests, without anything around it.

use std::fmt::Write as _;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mesh_model::authorization::chain::{Chain, Decision};
use mesh_model::authorization::compile::Protocol;
use mesh_model::authorization::evaluator::Evaluator;
use mesh_model::authorization::request::{Fact, Request};
use mesh_model::path::Normalization;
use mesh_model::world::{Snapshot, World};
use mesh_source::error::Error;
use mesh_source::manifests;

use crate::random::Random;

/// A workload with 50 policies, 40 of ALLOW and 10 of DENY, with a rule each: who, which methods,
/// which paths, and in every second one a header.
fn manifests() -> String {
    let mut text = String::from(
        "\
apiVersion: v1
kind: Pod
metadata:
  name: target
  namespace: shop
  labels:
    app: target
    sidecar.istio.io/inject: \"true\"
spec:
  containers:
  - name: app
    ports:
    - containerPort: 8080
",
    );
    for policy in 0..50 {
        let action = if policy % 5 == 4 { "DENY" } else { "ALLOW" };
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "\
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: policy-{policy}
  namespace: shop
spec:
  action: {action}
  selector:
    matchLabels:
      app: target
  rules:
  - from:
    - source:
        principals:
        - cluster.local/ns/shop/sa/caller-{policy}
        - cluster.local/ns/shop/sa/caller-{}
        - cluster.local/ns/team-{policy}/*
    to:
    - operation:
        methods: [{}]
        paths: [\"/api/v{policy}/*\", \"*/status-{policy}\", /health]
",
            policy + 1,
            if action == "DENY" { "DELETE, PUT" } else { "GET, POST" },
        );
        if policy % 2 == 1 {
            text.push_str("    when:\n    - key: request.headers[x-tenant]\n      values: [blue, green]\n");
        }
    }
    text
}

/// Requests of every kind: let through by any of the rules, refused by one, or matched by none.
fn requests() -> Vec<Request> {
    let mut random = Random::new(0);
    let mut request = || {
        let policy = random.below(50);
        let caller = match random.below(4) {
            0 => format!("cluster.local/ns/team-{policy}/sa/somebody"),
            1 => "cluster.local/ns/elsewhere/sa/nobody".to_owned(),
            _ => format!("cluster.local/ns/shop/sa/caller-{policy}"),
        };
        let path = match random.below(4) {
            0 => "/health".to_owned(),
            1 => format!("/anything/status-{policy}"),
            _ => format!("/api/v{policy}/items/{}?page=2", random.below(1_000)),
        };
        let headers = [
            ("user-agent", "curl/8.5.0"),
            ("accept", "application/json"),
            ("x-tenant", random.pick(&["blue", "green", "red"])),
        ];
        let mut request = Request {
            principal: Fact::Known(caller),
            destination_port: 8080,
            sni: Fact::Absent,
            method: Fact::Known(random.pick(&["GET", "POST", "PUT", "DELETE"]).to_owned()),
            host: Fact::Known("target.shop".to_owned()),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()]))
                .collect(),
            token: Fact::Absent,
            ..Request::default()
        };
        request.set_path(&path, Normalization::default());
        request
    };
    (0..1_024).map(|_| request()).collect()
}

/// What was found.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Requests decided in a second, in the fastest of many rounds: the others were disturbed.
    pub a_second: f64,
    /// Of a hundred requests, how many were let through.
    pub let_through: usize,
}

/// Decides on requests for about `time`, on one core.
///
/// # Errors
/// Fails if the World of the measurement cannot be read.
pub fn rate(time: Duration) -> Result<Rate, Error> {
    let read = manifests::parse("bench", &manifests(), "shop")?;
    let world = World::new(Snapshot { objects: read.objects, ..Snapshot::default() });
    let chain: Rc<Chain> = Evaluator::new(&world).chain(0, Protocol::Http);
    let requests = requests();
    let allowed =
        requests.iter().filter(|request| matches!(chain.decide(request), Decision::Allow(_))).count();

    let started = Instant::now();
    let mut fastest = Duration::MAX;
    while started.elapsed() < time || fastest == Duration::MAX {
        let round = Instant::now();
        for request in &requests {
            black_box(chain.decide(black_box(request)));
        }
        fastest = fastest.min(round.elapsed());
    }
    let a_second = requests.len() as f64 / fastest.as_secs_f64();
    Ok(Rate { a_second, let_through: allowed * 100 / requests.len() })
}
