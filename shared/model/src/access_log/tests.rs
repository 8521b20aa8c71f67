//! Lines as Envoy 1.38.3 wrote them (plugins/authz/tests/fixtures/access-log), and what can be made of
//! any others.

use proptest::prelude::*;
use serde_json::json;

use super::cause::{Cause, Matched};
use super::*;

const BY_RULE: &str = r#"[2026-11-23T19:53:27.511Z] "DELETE /entries/7?force=yes HTTP/1.1" 403 - rbac_access_denied_matched_policy[ns[bank]-policy[append-only]-rule[0]] - "-" 0 19 0 - "-" "till/1.0" "2a" "ledger.bank" "-" inbound|8080|| - 127.9.1.1:8080 127.9.1.2:42511 outbound_.80_._.ledger.bank.svc.cluster.local default"#;
const TCP: &str = r#"[2026-11-23T19:53:27.533Z] "- - -" 0 - - rbac_access_denied_matched_policy[none] "-" 5 0 1 - "-" "-" "-" "-" "127.9.1.9:18080" inbound|9000|| 127.0.0.1:36272 127.9.1.1:9000 127.9.1.4:41679 outbound_.9000_._.ledger.bank.svc.cluster.local -"#;
const NO_CHAIN: &str = r#"[2026-11-23T19:53:27.528Z] "- - -" 0 NR filter_chain_not_found - "-" 0 0 0 - "-" "-" "-" "-" "-" - - 127.9.1.1:8080 127.9.1.4:57035 - -"#;
const FORWARDED: &str = r#"[2026-11-23T19:53:27.521Z] "GET /balance HTTP/1.1" 403 - rbac_access_denied_matched_policy[none] - "-" 0 19 0 - "203.0.113.7" "-" "ba" "ledger.bank" "-" inbound|8080|| - 127.9.1.1:8080 203.0.113.7:0 outbound_.80_._.ledger.bank.svc.cluster.local default"#;
/// The client's `User-Agent` is `a" "b" "c<TAB>d`.
const QUOTED: &str = "[2026-11-23T19:53:27.522Z] \"GET /%22quoted%22 HTTP/1.1\" 403 - rbac_access_denied_matched_policy[none] - \"-\" 0 19 0 - \"-\" \"a\" \"b\" \"c\td\" \"1d\" \"ledger.bank\" \"-\" inbound|8080|| - 127.9.1.1:8080 127.9.1.3:45567 outbound_.80_._.ledger.bank.svc.cluster.local default";

fn reader(mesh: serde_json::Value) -> Reader {
    Reader::new(&MeshConfig::read(&mesh))
}

fn entry(line: &str) -> Entry<'_> {
    match reader(json!({})).read(line).1 {
        Line::Access(entry) => entry,
        other => panic!("{line}: {other:?}"),
    }
}

fn rule(namespace: &str, name: &str, index: usize, custom: bool) -> Matched {
    Matched::Rule { namespace: namespace.to_owned(), name: name.to_owned(), index, custom }
}

#[test]
fn a_line_of_istios_format() {
    let entry = entry(BY_RULE);
    assert_eq!(entry.text(Field::Time), Some("2026-11-23T19:53:27.511Z"));
    assert_eq!(entry.text(Field::Method), Some("DELETE"));
    assert_eq!(entry.text(Field::Path), Some("/entries/7?force=yes"));
    assert_eq!(entry.code(), Some(403));
    assert_eq!(entry.text(Field::Host), Some("ledger.bank"));
    assert_eq!(entry.get(Field::ForwardedFor), Fact::Absent);
    assert_eq!(entry.get(Field::Peer), Fact::Unknown, "the format does not have it");
    assert_eq!(entry.port(), Some(8080));
    assert_eq!(entry.direction(), Direction::Inbound);
    assert_eq!(entry.peer_address(), Some("127.9.1.2".parse().unwrap()));
    assert_eq!(entry.text(Field::ServerName), Some("outbound_.80_._.ledger.bank.svc.cluster.local"));
}

#[test]
fn causes() {
    let cause = |line| Cause::of(&entry(line));
    let matched = rule("bank", "append-only", 0, false);
    assert_eq!(cause(BY_RULE), Some(Cause::Policy { matched, tcp: false }));
    assert_eq!(cause(TCP), Some(Cause::Policy { matched: Matched::Nothing, tcp: true }));
    assert_eq!(cause(NO_CHAIN), Some(Cause::NoFilterChain));
    let with = |code: &str, flags: &str, details: &str, cluster: &str| {
        let line = BY_RULE.replacen("403 - ", &format!("{code} {flags} "), 1);
        let line =
            line.replace("rbac_access_denied_matched_policy[ns[bank]-policy[append-only]-rule[0]]", details);
        Cause::of(&entry(&line.replace("inbound|8080||", cluster)))
    };
    let outbound = "outbound|80||ledger.bank.svc.cluster.local";
    for (code, flags, details, cluster, expected) in [
        ("200", "-", "via_upstream", "inbound|8080||", None),
        ("403", "-", "via_upstream", "inbound|8080||", Some(Cause::Application)),
        ("401", "-", "via_upstream", "InboundPassthroughCluster", Some(Cause::Application)),
        ("403", "-", "via_upstream", outbound, Some(Cause::OtherSide)),
        ("403", "-", "direct_response", outbound, Some(Cause::Proxy(Some("direct_response".to_owned())))),
        ("403", "-", "-", "inbound|8080||", Some(Cause::Proxy(None))),
        ("404", "NR", "route_not_found", "-", None),
        ("403", "UAEX", "ext_authz_denied", "inbound|8080||", Some(Cause::Authorizer { failed: false })),
        ("403", "UAEX", "ext_authz_error", "inbound|8080||", Some(Cause::Authorizer { failed: true })),
        (
            "401",
            "-",
            "jwt_authn_access_denied{Jwt_is_expired}",
            "inbound|8080||",
            Some(Cause::Token("Jwt is expired".to_owned())),
        ),
        (
            "503",
            "UC",
            "upstream_reset_before_response_started{connection_termination}",
            outbound,
            Some(Cause::Cut),
        ),
        (
            "503",
            "UC",
            "upstream_reset_before_response_started{connection_termination}",
            "inbound|8080||",
            None,
        ),
        ("503", "UF", "upstream_reset_before_response_started{remote_connection_failure}", outbound, None),
    ] {
        assert_eq!(with(code, flags, details, cluster), expected, "{code} {flags} {details} {cluster}");
    }
}

#[test]
fn names_of_rules() {
    for (id, expected) in [
        ("none", Matched::Nothing),
        ("ns[a]-policy[b-c]-rule[12]", rule("a", "b-c", 12, false)),
        ("istio-ext-authz-ns[a]-policy[b]-rule[0]", rule("a", "b", 0, true)),
        (
            "istio-ext-authz-two-man-rule-ns[bank]-policy[vault]-rule[0]-deny-due-to-bad-CUSTOM-action",
            rule("bank", "vault", 0, true),
        ),
        ("ns[a]-policy[b]-rule[x]", Matched::Other("ns[a]-policy[b]-rule[x]".to_owned())),
        ("ns[a]-policy[b]-rule[0]more", Matched::Other("ns[a]-policy[b]-rule[0]more".to_owned())),
        ("mine", Matched::Other("mine".to_owned())),
    ] {
        assert_eq!(Matched::of(id), expected);
    }
}

#[test]
fn behind_a_forwarded_address_the_peer_is_not_known() {
    let entry = entry(FORWARDED);
    assert_eq!(entry.peer_address(), None);
    assert_eq!(entry.address(Field::Remote).unwrap().ip().to_string(), "203.0.113.7");
}

#[test]
fn a_client_cannot_write_fields_with_its_header() {
    let read = entry(QUOTED);
    assert_eq!(Cause::of(&read), Some(Cause::Policy { matched: Matched::Nothing, tcp: false }));
    assert_eq!(read.text(Field::Path), Some("/%22quoted%22"));
    assert_eq!(read.text(Field::Host), Some("ledger.bank"));
    assert_eq!(read.text(Field::Remote), Some("127.9.1.3:45567"));
    assert_eq!(read.get(Field::ForwardedFor), Fact::Unknown, "it can be read in two ways");
    // A header that looks like the rest of a line.
    let forged = QUOTED.replace(
        "c\td",
        "x\" \"y\" \"z\" \"evil\" \"-\" inbound|1|| - 10.0.0.1:1 10.0.0.2:2 outbound_.1_._.evil default",
    );
    let read = entry(&forged);
    assert_eq!(read.port(), Some(8080));
    assert_eq!(read.text(Field::Host), Some("ledger.bank"));
}

#[test]
fn lines_of_json() {
    let line = r#"{"authority":"ledger.bank","bytes_sent":19,"connection_termination_details":null,"downstream_remote_address":"127.9.1.2:42511","method":"DELETE","path":"/a\"b","response_code":403,"response_code_details":"rbac_access_denied_matched_policy[none]","response_flags":"-","start_time":"2026-11-23T19:53:27.511Z","upstream_cluster":"inbound|8080||"}"#;
    let entry = entry(line);
    assert_eq!(entry.code(), Some(403));
    assert_eq!(entry.text(Field::Path), Some("/a\"b"));
    assert_eq!(entry.get(Field::Termination), Fact::Absent);
    assert_eq!(entry.get(Field::ServerName), Fact::Unknown);
    assert_eq!(Cause::of(&entry), Some(Cause::Policy { matched: Matched::Nothing, tcp: false }));
}

#[test]
fn formats_of_the_mesh() {
    let mesh = json!({
        "accessLogFormat": "%START_TIME(%s %3f)% %%DONE%% code=%RESPONSE_CODE% [%RESPONSE_CODE_DETAILS%] \"%REQ(:METHOD)% %REQ_WITHOUT_QUERY(:PATH)%\" %DOWNSTREAM_PEER_URI_SAN%\n",
        "extensionProviders": [
            {"name": "a", "envoyFileAccessLog": {"logFormat": {"labels": {"why": "%RESPONSE_CODE_DETAILS%", "who": "%DOWNSTREAM_PEER_URI_SAN%", "code": "%RESPONSE_CODE%"}}}},
            {"name": "b", "envoyFileAccessLog": {"logFormat": {"text": "no field that helps"}}},
        ],
    });
    let reader = reader(mesh);
    let text = "1700000000 123 %DONE% code=403 [rbac_access_denied_matched_policy[none]] \"GET /a\" spiffe://cluster.local/ns/a/sa/b";
    let Line::Access(entry) = reader.read(text).1 else { panic!("{:?}", reader.read(text)) };
    assert_eq!(entry.text(Field::Time), Some("1700000000 123"));
    assert_eq!(entry.text(Field::Path), Some("/a"));
    assert_eq!(entry.text(Field::Peer), Some("spiffe://cluster.local/ns/a/sa/b"));
    let json = r#"{"why":"rbac_access_denied_matched_policy[none]","who":null,"code":403}"#;
    let Line::Access(entry) = reader.read(json).1 else { panic!("{:?}", reader.read(json)) };
    assert_eq!(entry.get(Field::Peer), Fact::Absent);
    assert_eq!(entry.code(), Some(403));
    assert!(matches!(reader.read(BY_RULE).1, Line::Access(_)), "Istio's own are known beside them");
    assert!(matches!(reader.read("no field that helps").1, Line::Unreadable));
    // As it stands in the mesh configuration with `accessLogEncoding: JSON`.
    let reader =
        Reader::new(&MeshConfig::read(&json!({"accessLogFormat": r#"{"d": "%RESPONSE_CODE_DETAILS%"}"#})));
    assert!(matches!(reader.read(r#"{"d":"via_upstream"}"#).1, Line::Access(_)));
}

#[test]
fn what_kubectl_and_runtimes_put_before_a_line() {
    let reader = reader(json!({}));
    let plain = reader.read(BY_RULE);
    for (prefix, pod) in [
        ("[pod/ledger-0/istio-proxy] ", Some("ledger-0")),
        ("2026-11-23T19:53:27.511123456Z ", None),
        ("2026-11-23T19:53:27.511123456Z stdout F ", None),
        ("[pod/ledger-0/istio-proxy] 2026-11-23T19:53:27.511123456+01:00 ", Some("ledger-0")),
    ] {
        let line = format!("{prefix}{BY_RULE}\r\n");
        assert_eq!(reader.read(&line), (pod, plain.1.clone()), "{prefix}");
    }
}

#[test]
fn other_lines_of_the_container() {
    let reader = reader(json!({}));
    for line in [
        "",
        "2026-11-23T19:53:27.511123Z\tinfo\tEnvoy proxy is ready",
        "2026/11/23 21:01:29 INFO GOMEMLIMIT is already set, skipping",
        "[2026-11-23 19:53:27.511][20][warning][config] [source/x.cc:1] gRPC config stream closed",
        r#"{"level":"info","time":"2026-11-23T19:53:27.511123Z","msg":"Envoy proxy is ready"}"#,
        "2026-11-23T19:53:27.511123Z\tdebug\tenvoy rbac external/envoy/rbac_filter.cc:1\tshadow denied, matched policy istio-ext-authz-ns[a]-policy[b]-rule[0]\tthread=20",
    ] {
        assert_eq!(reader.read(line), (None, Line::Own), "{line}");
    }
    for (words, shadow) in [("enforced", false), ("shadow", true)] {
        let line = format!(
            "2026-11-23T19:53:27.511123Z\tdebug\tenvoy rbac external/envoy/rbac_filter.cc:1\t{words} denied, matched policy ns[a]-policy[b]-rule[3]\tthread=20"
        );
        assert_eq!(reader.read(&line).1, Line::Decision { shadow, matched: rule("a", "b", 3, false) });
    }
    for line in ["a stack trace", "{\"some\": \"json\"}", "{\"response_code\": 403", "[unfinished"] {
        assert_eq!(reader.read(line), (None, Line::Unreadable), "{line}");
    }
}

/// What Envoy can write for each operator of Istio's text format, in order.
fn values() -> impl Strategy<Value = Vec<String>> {
    let word = "[!#-~]{1,12}";
    let free = "[ !#-~]{0,20}";
    let texts =
        [word, "[A-Z]{1,7}", "/[!-~]{0,20}", word, "[0-9]{1,3}", word, word, "[!#-~]{1,20}", "[ !#-~]{0,20}"];
    let numbers = ["[0-9]{1,6}", "[0-9]{1,6}", "[0-9]{1,6}", "[0-9]{1,6}"];
    let headers = [free, free, "[0-9a-f-]{1,36}", word];
    let last = [word, "[a-z|.0-9]{1,20}", word, word, word, word, word];
    texts.into_iter().chain(numbers).chain(headers).chain(last).collect::<Vec<_>>()
}

fn rendered(values: &[String]) -> String {
    let [
        time,
        method,
        path,
        protocol,
        code,
        flags,
        details,
        termination,
        failure,
        received,
        sent,
        took,
        service,
        forwarded,
        agent,
        id,
        host,
        upstream,
        cluster,
        from,
        local,
        remote,
        name,
        route,
    ] = values
    else {
        panic!("{} values", values.len())
    };
    format!(
        "[{time}] \"{method} {path} {protocol}\" {code} {flags} {details} {termination} \"{failure}\" {received} {sent} {took} {service} \"{forwarded}\" \"{agent}\" \"{id}\" \"{host}\" \"{upstream}\" {cluster} {from} {local} {remote} {name} {route}\n"
    )
}

const IN_ORDER: [(usize, Field); 17] = [
    (0, Field::Time),
    (1, Field::Method),
    (2, Field::Path),
    (3, Field::Protocol),
    (4, Field::Code),
    (5, Field::Flags),
    (6, Field::Details),
    (7, Field::Termination),
    (8, Field::Failure),
    (13, Field::ForwardedFor),
    (16, Field::Host),
    (17, Field::UpstreamHost),
    (18, Field::Cluster),
    (19, Field::UpstreamLocal),
    (20, Field::Local),
    (21, Field::Remote),
    (22, Field::ServerName),
];

fn expected(value: &str) -> Fact<&str> {
    if matches!(value, "" | "-") { Fact::Absent } else { Fact::Known(value) }
}

proptest! {
    #[test]
    fn a_rendered_line_gives_its_fields_back(values in values()) {
        // A time with a bracket would end there.
        prop_assume!(!values[0].contains(']'));
        let line = rendered(&values);
        let format = format::Format::istio_text();
        let entry = format.entry(line.trim_end_matches('\n')).unwrap();
        for (index, field) in IN_ORDER {
            prop_assert_eq!(entry.get(field), expected(&values[index]), "{:?} of {}", field, line);
        }
    }

    #[test]
    fn whatever_a_client_writes_the_proxys_own_fields_stay(values in values(), forwarded: String, agent: String) {
        prop_assume!(!values[0].contains(']'));
        let clean = |text: String| text.replace(['\n', '\r'], "");
        let mut values = values;
        (values[13], values[14]) = (clean(forwarded), clean(agent));
        let line = rendered(&values);
        let format = format::Format::istio_text();
        let entry = format.entry(line.trim_end_matches('\n')).unwrap();
        for (index, field) in IN_ORDER {
            let read = entry.get(field);
            let unknown = field == Field::ForwardedFor && read == Fact::Unknown;
            prop_assert!(unknown || read == expected(&values[index]), "{:?} of {}", field, line);
        }
    }

    #[test]
    fn json_gives_its_fields_back(method: String, path: String, details: String, code in 0u16..600) {
        let line = json!({"method": method, "x": [{}], "path": path, "response_code_details": details, "response_code": code}).to_string();
        let entry = format::Format::istio_json();
        let entry = entry.entry(&line).unwrap();
        prop_assert_eq!(entry.get(Field::Method), expected(&method));
        prop_assert_eq!(entry.get(Field::Path), expected(&path));
        prop_assert_eq!(entry.get(Field::Details), expected(&details));
        prop_assert_eq!(entry.code(), Some(code));
    }

    #[test]
    fn no_line_and_no_format_is_too_much(line: String, format: String) {
        let reader = reader(json!({"accessLogFormat": format}));
        let _ = reader.read(&line);
        let template = text::Template::parse(&format);
        let _ = template.entry(&line);
    }
}
