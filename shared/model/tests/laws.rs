//! Laws that hold for all policies and requests, tried on random ones.
//!
//! Policies are made of values that meet each other, over one to three axes (a path, a token, ...);
//! what the judge says about sets of requests is compared with every single request of a small
//! universe. `PROPTEST_CASES=20000` tries more.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use mesh_model::authorization::chain::{Chain, Decision};
use mesh_model::authorization::compile::Protocol;
use mesh_model::authorization::judge::{Judge, Verdict};
use mesh_model::authorization::request::{Fact, Request, Token};
use mesh_model::authorization::selection;
use mesh_model::authorization::solver::Solver;
use mesh_model::object::{Kind, Object, Origin};
use mesh_model::path::Normalization;
use mesh_model::pattern::Pattern;
use mesh_model::trust_domain::TrustDomains;
use mesh_model::world::{Snapshot, World};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};

/// What varies in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    Method,
    Path,
    Host,
    HeaderX,
    HeaderY,
    Token,
    Source,
    Remote,
    Sni,
}

const AXES: [Axis; 9] = [
    Axis::Method,
    Axis::Path,
    Axis::Host,
    Axis::HeaderX,
    Axis::HeaderY,
    Axis::Token,
    Axis::Source,
    Axis::Remote,
    Axis::Sni,
];

/// Fields and `when` keys of an axis, with values that meet each other.
fn fields(axis: Axis) -> Vec<(Part, &'static str, &'static [&'static str])> {
    const IPS: &[&str] =
        &["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "0.0.0.0/0", "::/0", "2001:db8::/32", "bad"];
    const TEXTS: &[&str] = &["v", "w", "v*", "*w", "*", "vw", "v,w", ""];
    const PATHS: &[&str] =
        &["/a", "/a*", "/a/*", "*/b", "*b", "*", "/a/{*}", "/a/{**}", "/{*}/b", "/{**}/b", "/", "*a*"];
    match axis {
        Axis::Method => vec![(Part::To, "methods", &["GET", "PUT", "P*", "*T", "*"])],
        Axis::Path => vec![
            (Part::To, "paths", PATHS),
            (Part::When, "request.headers[:path]", &["/a", "/a*", "*b", "*?q", "*"]),
        ],
        Axis::Host => vec![
            (Part::To, "hosts", &["h", "H*", "*.g", "*:80", "*", "h.g"]),
            (Part::When, "request.headers[host]", &["h", "H", "h*"]),
        ],
        Axis::HeaderX => vec![(Part::When, "request.headers[x]", TEXTS)],
        Axis::HeaderY => vec![(Part::When, "request.headers[y]", TEXTS)],
        Axis::Token => vec![
            (Part::From, "requestPrincipals", &["*", "i/s", "i/*", "*/s", "j*", "*t", "i", "k/s"]),
            (Part::When, "request.auth.principal", &["i/s", "*", "i/t*"]),
            (Part::When, "request.auth.claims[role]", &["v", "w", "v*", "*"]),
            (Part::When, "request.auth.claims[role][n]", &["v", "*"]),
            (Part::When, "request.auth.claims[scope]", &["v", "v w", "*"]),
            (Part::When, "request.auth.audiences", &["a", "b", "*"]),
            (Part::When, "request.auth.claims[iss]", &["i", "j", "*"]),
        ],
        Axis::Source => vec![(Part::From, "ipBlocks", IPS), (Part::When, "source.ip", IPS)],
        Axis::Remote => vec![(Part::From, "remoteIpBlocks", IPS), (Part::When, "remote.ip", IPS)],
        Axis::Sni => vec![(Part::When, "connection.sni", &["a.g", "*.g", "a*", "*", "A.g"])],
    }
}

/// Fields that are known of every request here.
fn known_fields() -> Vec<(Part, &'static str, &'static [&'static str])> {
    vec![
        (Part::From, "principals", &["cluster.local/ns/a/sa/b", "cluster.local/ns/a/*", "*/sa/c", "*"]),
        (Part::From, "namespaces", &["a", "*", "b*"]),
        (Part::From, "serviceAccounts", &["a/b", "b"]),
        (Part::To, "ports", &["8080", "90", "bad"]),
        (Part::When, "source.namespace", &["a", "b"]),
        (Part::When, "unknown.key", &["a"]),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    From,
    To,
    When,
}

type Filled = (Part, String, Vec<String>, Vec<String>);

fn field(axes: &[Axis]) -> impl Strategy<Value = Filled> + use<> {
    let mut pool: Vec<_> = axes.iter().flat_map(|axis| fields(*axis)).collect();
    // Mostly what varies.
    let often = pool.clone();
    pool.extend(often.clone());
    pool.extend(often);
    pool.extend(known_fields());
    select(pool).prop_flat_map(|(part, name, values)| {
        let some = subsequence(values.to_vec(), 0..=values.len().min(2));
        let owned = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect::<Vec<_>>();
        (some.clone(), some).prop_map(move |(yes, no)| (part, name.to_owned(), owned(yes), owned(no)))
    })
}

fn not(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    format!("not{}", first.into_iter().chain(letters).collect::<String>())
}

/// A rule of some fields, spread over sources and operations.
fn rule(axes: &[Axis]) -> impl Strategy<Value = Value> + use<> {
    proptest::collection::vec((field(axes), 0..2_usize), 0..5).prop_map(|fields| {
        let mut rule = Map::new();
        let mut when = Vec::new();
        let (mut from, mut to) = (vec![Map::new(), Map::new()], vec![Map::new(), Map::new()]);
        for ((part, name, values, not_values), place) in fields {
            let lists = match part {
                Part::When => {
                    when.push(json!({"key": name, "values": values, "notValues": not_values}));
                    continue;
                }
                Part::From => &mut from,
                Part::To => &mut to,
            };
            lists[place].insert(not(&name), json!(not_values));
            lists[place].insert(name, json!(values));
        }
        for (name, inner, lists) in [("from", "source", from), ("to", "operation", to)] {
            let lists: Vec<Value> =
                lists.into_iter().filter(|map| !map.is_empty()).map(|map| json!({ inner: map })).collect();
            if !lists.is_empty() {
                rule.insert(name.to_owned(), lists.into());
            }
        }
        rule.insert("when".to_owned(), when.into());
        rule.into()
    })
}

fn policy(axes: &[Axis]) -> impl Strategy<Value = Value> + use<> {
    let action = prop_oneof![
        6 => Just(json!({})),
        4 => Just(json!({"action": "DENY"})),
        1 => Just(json!({"action": "AUDIT"})),
        1 => Just(json!({"action": "CUSTOM", "provider": {"name": "none"}})),
    ];
    (action, proptest::collection::vec(rule(axes), 0..4)).prop_map(|(mut spec, rules)| {
        spec["rules"] = rules.into();
        spec
    })
}

/// More requests than these are thinned out.
const MANY: usize = 1500;

/// Axes, the specs of policies, how requests are restricted, and with which version.
#[derive(Clone, Debug)]
struct Case {
    axes: Vec<Axis>,
    specs: Vec<Value>,
    facts: Vec<prop::sample::Index>,
    fixed: Vec<bool>,
    identity: Option<&'static str>,
    tcp: bool,
    audiences: bool,
    version: &'static str,
}

fn case() -> impl Strategy<Value = Case> {
    subsequence(AXES.to_vec(), 1..=3).prop_flat_map(|axes| {
        (
            Just(axes.clone()),
            proptest::collection::vec(policy(&axes), 1..4),
            proptest::collection::vec(any::<prop::sample::Index>(), AXES.len()),
            proptest::collection::vec(any::<bool>(), AXES.len()),
            select(vec![None, Some("cluster.local/ns/a/sa/b"), Some("cluster.local/ns/b/sa/c")]),
            (prop::bool::weighted(0.15), any::<bool>(), select(vec!["1.31.0", "1.31.0", "1.26.0"])),
        )
            .prop_map(|(axes, specs, facts, fixed, identity, (tcp, audiences, version))| Case {
                axes,
                specs,
                facts,
                fixed,
                identity,
                tcp,
                audiences,
                version,
            })
    })
}

fn object(kind: Kind, name: &str, spec: &Value, dry_run: bool) -> Object {
    let annotations = if dry_run { json!({"istio.io/dry-run": "true"}) } else { json!({}) };
    Object {
        kind,
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        value: json!({"metadata": {"name": name, "annotations": annotations}, "spec": spec}),
        origin: Origin::Cluster,
    }
}

impl Case {
    /// The chain of a workload under policies with these specs.
    fn chain_of(&self, specs: &[Value], dry: &[Value]) -> Chain {
        let pod = json!({"template": {"spec": {"containers": [{"name": "main"}]}}});
        let audiences = if self.audiences { json!(["a"]) } else { json!([]) };
        let tokens = json!({"jwtRules": [{"issuer": "i"}, {"issuer": "j", "audiences": audiences}]});
        let mut objects = vec![
            object(Kind::Deployment, "server", &pod, false),
            object(Kind::RequestAuthentication, "tokens", &tokens, false),
            Object {
                namespace: "istio-system".to_owned(),
                value: json!({"data": {"mesh": "rootNamespace: istio-system"}}),
                ..object(Kind::ConfigMap, "istio", &Value::Null, false)
            },
        ];
        for (number, spec) in specs.iter().enumerate() {
            objects.push(object(Kind::AuthorizationPolicy, &format!("p{number}"), spec, false));
        }
        for (number, spec) in dry.iter().enumerate() {
            objects.push(object(Kind::AuthorizationPolicy, &format!("dry{number}"), spec, true));
        }
        let version = Some(self.version.to_owned());
        let world = World::new(Snapshot { objects, gaps: Vec::new(), istio_version: version });
        let protocol = if self.tcp { Protocol::Tcp } else { Protocol::Http };
        let selected = selection::policies(&world, &world.workloads[0]);
        selection::chain(&world, &world.workloads[0], &selected, protocol)
    }

    fn chain(&self) -> Chain {
        self.chain_of(&self.specs, &[])
    }

    fn judge(&self) -> Judge {
        Judge::new(Solver::new(Normalization::Base, self.version != "1.26.0"))
    }

    /// Every request of the universe; on axes that do not vary, one is enough.
    fn universe(&self) -> Vec<Request> {
        let mut requests = vec![Request {
            principal: Fact::or_absent(self.identity.map(str::to_owned)),
            destination_port: 8080,
            destination_ip: ip("10.0.0.9"),
            ..Request::default()
        }];
        for axis in AXES {
            let values = values(axis);
            let values = if self.axes.contains(&axis) { values } else { values[..1].to_vec() };
            requests = requests
                .iter()
                .flat_map(|request| {
                    values.iter().map(|value| {
                        let mut request = request.clone();
                        value.put(&mut request);
                        request
                    })
                })
                .collect();
            // A prime stride keeps some of every kind.
            if requests.len() > MANY {
                let stride = [7, 31, 127].into_iter().find(|stride| requests.len() / stride < MANY);
                requests = requests.into_iter().step_by(stride.unwrap_or(509)).collect();
            }
        }
        requests
    }

    /// A request of which some axes are fixed, and the universe's requests that agree with it.
    fn partly(&self) -> (Request, Vec<Request>) {
        let mut known = Request {
            principal: Fact::or_absent(self.identity.map(str::to_owned)),
            destination_port: 8080,
            destination_ip: ip("10.0.0.9"),
            other_headers_unknown: true,
            ..Request::default()
        };
        let mut universe = self.universe();
        for (index, axis) in AXES.into_iter().enumerate() {
            if !self.fixed[index] {
                continue;
            }
            let all = values(axis);
            let all = if self.axes.contains(&axis) { all } else { all[..1].to_vec() };
            let value = &all[self.facts[index].index(all.len())];
            // An absent header among unknown ones cannot be stated.
            if matches!(value, Put::Header(_, values) if values.is_empty()) {
                continue;
            }
            value.put(&mut known);
            let agrees = |request: &Request| {
                let mut same = request.clone();
                value.put(&mut same);
                same == *request
            };
            universe.retain(agrees);
        }
        (known, universe)
    }
}

fn ip(text: &str) -> Fact<std::net::IpAddr> {
    Fact::Known(text.parse().unwrap())
}

/// A value on an axis.
#[derive(Clone, Debug)]
enum Put {
    Method(&'static str),
    Path(&'static str),
    Host(&'static str),
    Header(&'static str, &'static [&'static str]),
    Token(Fact<Token>),
    Source(&'static str),
    Remote(&'static str),
    Sni(&'static str),
}

impl Put {
    fn put(&self, request: &mut Request) {
        let text = |text: &str| Fact::Known(text.to_owned());
        match self {
            Self::Method(method) => request.method = text(method),
            Self::Path(path) => request.set_path(path, Normalization::Base),
            Self::Host(host) => request.host = text(host),
            Self::Header(name, values) => {
                request.headers.remove(*name);
                if !values.is_empty() {
                    let values = values.iter().map(|value| (*value).to_owned()).collect();
                    request.headers.insert((*name).to_owned(), values);
                }
            }
            Self::Token(token) => request.token = token.clone(),
            Self::Source(address) => request.source_ip = ip(address),
            Self::Remote(address) => request.remote_ip = ip(address),
            Self::Sni("") => request.sni = Fact::Absent,
            Self::Sni(name) => request.sni = text(name),
        }
    }
}

fn values(axis: Axis) -> Vec<Put> {
    const HEADERS: &[&[&str]] = &[
        &[],
        &["v"],
        &["w"],
        &["vw"],
        &["vx"],
        &["xw"],
        &["x"],
        &[""],
        &["v,w"],
        &["v", "w"],
        &["vx", "xw"],
        &["x", "v"],
    ];
    const IPS: &[&str] = &["10.0.0.1", "10.1.2.3", "10.1.9.9", "192.168.0.1", "2001:db8::1", "2001:db9::1"];
    const PATHS: &[&str] = &[
        "/",
        "/a",
        "/a/",
        "/a/b",
        "/a/c",
        "/a/b/c",
        "/a/c/b",
        "/b",
        "/ab",
        "/ac",
        "/c",
        "/c/b",
        "/c/d",
        "/abb",
        "/cb",
        "/a/[",
        "/a/[/b",
        "/a/[b",
        "/c/[/b",
        "/[",
        "/[/b",
        "/[b",
        "/a[",
        "/a[/b",
        "/a[b",
        "/ac/b",
        "/ac/d",
        "/c/d/b",
        "/a?q",
        "/b?q",
        "/c?q",
        "/a?b",
        "/ab?q",
        "/a/b?q",
        "/a/cb",
        "/c/cb",
        "/*a*",
        "/xa*",
        "//b",
        "/a//b",
        "/a/c/d/b",
        "/ac/d/b",
        "/a/c/d/cb",
        "/a/c?b",
        "/c?b",
    ];
    match axis {
        Axis::Method => ["GET", "PUT", "POST", "PT", "X", "T"].map(Put::Method).into(),
        Axis::Path => PATHS.iter().map(|path| Put::Path(path)).collect(),
        Axis::Host => {
            ["h", "H", "x", "hx", "Hx", "x.g", "h.g", "H.G", "x:80", "h:80", "H:80", "x.g:80", "h.g:80", ""]
                .map(Put::Host)
                .into()
        }
        Axis::HeaderX => HEADERS.iter().map(|values| Put::Header("x", values)).collect(),
        Axis::HeaderY => HEADERS.iter().map(|values| Put::Header("y", values)).collect(),
        Axis::Token => tokens().into_iter().map(Put::Token).collect(),
        Axis::Source => IPS.iter().map(|ip| Put::Source(ip)).collect(),
        Axis::Remote => IPS.iter().map(|ip| Put::Remote(ip)).collect(),
        Axis::Sni => ["", "a.g", "b.g", "ab", "b"].map(Put::Sni).into(),
    }
}

fn tokens() -> Vec<Fact<Token>> {
    let mut tokens = vec![Fact::Absent];
    for issuer in ["i", "j", "jx", "k"] {
        for subject in [None, Some(""), Some("s"), Some("t"), Some("tt")] {
            for audiences in [vec![], vec!["a"], vec!["b"], vec!["a", "b"]] {
                for claims in [
                    json!({}),
                    json!({"role": "v", "scope": "v"}),
                    json!({"role": "vx", "scope": "v w"}),
                    json!({"role": ["v", "w"], "scope": ["v w"]}),
                    json!({"role": {"n": "v"}}),
                ] {
                    let Value::Object(claims) = claims else { continue };
                    tokens.push(Fact::Known(Token {
                        issuer: Fact::Known(issuer.to_owned()),
                        subject: Fact::or_absent(subject.map(str::to_owned)),
                        audiences: Fact::Known(audiences.iter().map(|a| (*a).to_owned()).collect()),
                        presenter: Fact::Absent,
                        claims: claims.into_iter().collect(),
                        others_unknown: false,
                    }));
                }
            }
        }
    }
    tokens
}

/// Whether a whole request is let through.
fn lets(chain: &Chain, request: &Request) -> bool {
    match chain.decide(&chain.view(request)) {
        Decision::Allow(_) => true,
        Decision::Undecided | Decision::Asks(_) => panic!("a whole request is not decided: {request:#?}"),
        _ => false,
    }
}

/// Whether the JWT filter lets a request pass: only such tokens count among unknown ones.
fn is_read(chain: &Chain, request: &Request) -> bool {
    chain.decide(&chain.view(request)) != Decision::BadToken
}

/// Checks what the judge says of `known` against requests that agree with it.
fn exact(case: &Case, known: &Request, universe: &[Request]) -> Result<(), TestCaseError> {
    let chain = case.chain();
    let judgement = case.judge().judge(&chain, known);
    let open_token = known.token == Fact::Unknown;
    let universe: Vec<&Request> =
        universe.iter().filter(|request| !open_token || is_read(&chain, request)).collect();
    match judgement.verdict {
        Verdict::Deny => {
            if let Some(request) = universe.iter().find(|request| lets(&chain, request)) {
                prop_assert!(false, "denied, but this is let through: {request:#?}");
            }
        }
        Verdict::Allow => {
            if let Some(request) = universe.iter().find(|request| !lets(&chain, request)) {
                prop_assert!(false, "allowed, but this is refused: {request:#?}");
            }
        }
        Verdict::Conditional => {}
        Verdict::Unknown => prop_assert!(false, "given up: {:?}", judgement.doubts),
    }
    if let Some(witness) = &judgement.witness {
        // What is open does not matter for it.
        let decision = chain.decide(&chain.view(witness));
        prop_assert!(matches!(decision, Decision::Allow(_)), "{decision:?} {witness:#?}");
    } else {
        prop_assert_eq!(judgement.verdict, Verdict::Deny);
    }
    Ok(())
}

/// A few cases where nobody asks for more, since every case tries a thousand requests.
fn config() -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { config } else { ProptestConfig { cases: 64, ..config } }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_judge_agrees_with_every_single_request(case in case()) {
        let open = Request {
            principal: Fact::or_absent(case.identity.map(str::to_owned)),
            destination_port: 8080,
            destination_ip: ip("10.0.0.9"),
            other_headers_unknown: true,
            ..Request::default()
        };
        exact(&case, &open, &case.universe())?;
    }

    #[test]
    fn the_judge_agrees_with_every_request_that_fits_what_is_known(case in case()) {
        let (known, universe) = case.partly();
        exact(&case, &known, &universe)?;
    }

    #[test]
    fn a_stated_token_of_which_parts_are_open(case in case(), pick in any::<prop::sample::Index>(), open in 0..8_u8) {
        let case = Case { tcp: false, axes: vec![Axis::Token], ..case };
        let universe = case.universe();
        let mut known = pick.get(&universe).clone();
        if let Fact::Known(token) = &mut known.token {
            let whole = token.clone();
            if open & 1 != 0 { token.issuer = Fact::Unknown; }
            if open & 2 != 0 { token.subject = Fact::Unknown; }
            if open & 4 != 0 { token.audiences = Fact::Unknown; token.claims.clear(); token.others_unknown = true; }
            let agrees = |request: &Request| match &request.token {
                Fact::Known(other) => {
                    (open & 1 != 0 || other.issuer == whole.issuer)
                        && (open & 2 != 0 || other.subject == whole.subject)
                        && (open & 4 != 0 || (other.audiences == whole.audiences && other.claims == whole.claims))
                }
                _ => false,
            };
            let universe: Vec<Request> = universe.into_iter().filter(agrees).collect();
            exact(&case, &known, &universe)?;
        }
    }

    #[test]
    fn a_definite_decision_holds_however_the_rest_turns_out(case in case()) {
        let chain = case.chain();
        let (known, universe) = case.partly();
        let decision = chain.decide(&chain.view(&known));
        if decision != Decision::Undecided {
            let allowed = matches!(decision, Decision::Allow(_));
            let open_token = known.token == Fact::Unknown;
            for request in universe.iter().filter(|request| !open_token || is_read(&chain, request)) {
                prop_assert_eq!(lets(&chain, request), allowed, "{:#?}", request);
            }
        }
    }

    #[test]
    fn deny_never_grants_and_allow_beside_allow_never_revokes(case in case(), rule in rule(&AXES)) {
        let before = case.chain();
        let with = |spec: Value| {
            let specs: Vec<Value> = case.specs.iter().cloned().chain([spec]).collect();
            case.chain_of(&specs, &[])
        };
        let deny = with(json!({"action": "DENY", "rules": [rule]}));
        let allow = with(json!({"rules": [rule]}));
        for request in case.universe() {
            prop_assert!(!lets(&deny, &request) || lets(&before, &request));
            if before.allow.is_some() {
                prop_assert!(lets(&allow, &request) || !lets(&before, &request));
            }
        }
    }

    #[test]
    fn audit_and_dry_runs_change_nothing(case in case(), rule in rule(&AXES), deny in any::<bool>()) {
        let audit = json!({"action": "AUDIT", "rules": [rule]});
        let dry = if deny { json!({"action": "DENY", "rules": [rule]}) } else { json!({"rules": [rule]}) };
        let specs: Vec<Value> = case.specs.iter().cloned().chain([audit]).collect();
        let (before, after) = (case.chain(), case.chain_of(&specs, &[dry]));
        for request in case.universe() {
            prop_assert_eq!(lets(&before, &request), lets(&after, &request));
        }
    }

    #[test]
    fn order_does_not_matter(case in case()) {
        let turned: Vec<Value> = case.specs.iter().rev().map(reversed).collect();
        let (one, other) = (case.chain(), case.chain_of(&turned, &[]));
        for request in case.universe() {
            prop_assert_eq!(lets(&one, &request), lets(&other, &request));
        }
        let (known, _) = case.partly();
        let verdict = |chain: &Chain| case.judge().judge(chain, &known).verdict;
        prop_assert_eq!(verdict(&one), verdict(&other));
    }

    #[test]
    fn a_rule_for_each_source_is_the_same_as_one_for_all(case in case()) {
        let split: Vec<Value> = case.specs.iter().map(split).collect();
        // On TCP an HTTP-only source takes its whole rule with it, but only its own when split.
        let case = Case { tcp: false, ..case };
        // So does a value that cannot be read.
        if case.specs.iter().any(|spec| spec.to_string().contains("bad")) {
            return Ok(());
        }
        let (one, other) = (case.chain(), case.chain_of(&split, &[]));
        for request in case.universe() {
            prop_assert_eq!(lets(&one, &request), lets(&other, &request));
        }
    }

    #[test]
    fn what_normalization_makes_can_be_seen(raw in "/[/.%2eE5cCfF\\\\a?#\\[0361{ ~]{0,12}") {
        for mode in [
            Normalization::None,
            Normalization::Base,
            Normalization::MergeSlashes,
            Normalization::DecodeAndMergeSlashes,
        ] {
            if let Some(path) = mode.apply(&raw) {
                prop_assert!(mode.yields(&path), "{mode:?} {raw} {path}");
                // Whatever holds no more encodings is made once and for all.
                if !path.contains('%') {
                    prop_assert_eq!(mode.apply(&path), Some(path.clone()), "{:?}", mode);
                }
            }
        }
    }

    #[test]
    fn expanding_a_principal_twice_lets_in_no_others(
        domain in select(vec!["new", "old", "cluster.local", "*w", "n*", "*", "x", "*d"]),
        rest in select(vec!["/ns/a/sa/b", "/ns/*/sa/b", "/ns/a", "/*", ""]),
    ) {
        let domains = TrustDomains::new("new", ["old".to_owned()]);
        let once = domains.expand_principal(&format!("{domain}{rest}"));
        let twice: Vec<String> = once.iter().flat_map(|value| domains.expand_principal(value)).collect();
        let any = |values: &[String], caller: &str| values.iter().any(|value| Pattern::text(value).matches(caller));
        for caller in ["new/ns/a/sa/b", "old/ns/a/sa/b"] {
            prop_assert_eq!(any(&once, caller), any(&twice, caller));
        }
    }
}

/// The same JSON with all lists turned around.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().rev().map(reversed).collect(),
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), reversed(value))).collect(),
        other => other.clone(),
    }
}

/// A spec with a rule for each source.
fn split(spec: &Value) -> Value {
    let mut rules: Vec<Value> = Vec::new();
    for rule in spec["rules"].as_array().into_iter().flatten() {
        match rule.get("from").and_then(Value::as_array) {
            Some(sources) => rules.extend(sources.iter().map(|source| {
                let mut rule = rule.clone();
                rule["from"] = json!([source]);
                rule
            })),
            None => rules.push(rule.clone()),
        }
    }
    let mut spec = spec.clone();
    spec["rules"] = rules.into();
    spec
}
