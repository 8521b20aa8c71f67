//! Reading manifests, from outside the crate.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mesh_model::object::{Kind, Object, Origin};
use mesh_source::error::Error;
use mesh_source::manifests::{Manifests, Read, documents, parse, read};
use serde_json::{Value, json};

#[path = "manifests/laws.rs"]
mod laws;

const SHOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/manifests/shop");

fn files<const N: usize>(filenames: [&str; N], recursive: bool) -> Manifests {
    Manifests {
        filenames: filenames.map(str::to_owned).into(),
        recursive,
        kustomize: None,
        default_namespace: "default".to_owned(),
    }
}

/// An empty directory of this test's own.
fn directory(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("manifests").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

fn write(directory: &Path, files: &[(&str, &str)]) -> Manifests {
    for (name, text) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    self::files([directory.to_str().unwrap()], true)
}

fn find<'read>(read: &'read Read, kind: Kind, key: &str) -> &'read Object {
    read.objects.iter().find(|object| object.kind == kind && object.key() == key).unwrap()
}

fn value(text: &str) -> Value {
    documents("a.yaml", text).unwrap().remove(0).value
}

/// The message, with the lines shown, and the hint.
fn refused(text: &str) -> (String, String) {
    let error = parse("a.yaml", text, "default").unwrap_err();
    (error.to_string(), error.hint().unwrap_or_default())
}

const POLICY: &str = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: a\n";

// === what is read ===

#[test]
fn a_directory() {
    let read = read(&files([SHOP], false)).unwrap();
    let keys: Vec<String> =
        read.objects.iter().map(|object| format!("{} {}", object.kind, object.key())).collect();
    assert_eq!(
        keys,
        [
            "DestinationRule shop/orders",
            "Pod shop/orders-1",
            "ConfigMap istio-system/istio",
            "AuthorizationPolicy shop/orders",
            "Service default/orders",
            "Namespace shop",
            "VirtualService shop/orders",
        ]
    );
    assert_eq!(
        read.notes,
        [format!("{SHOP}/values.yaml:1: skipped, not a Kubernetes object (no apiVersion and kind)")]
    );
}

#[test]
fn directories_below_it() {
    let read = read(&files([&format!("{SHOP}/")], true)).unwrap();
    assert_eq!(find(&read, Kind::Gateway, "default/public").at(""), format!("{SHOP}/nested/gateway.yaml:1"));
}

#[test]
fn lines_of_every_part() {
    let read = read(&files([SHOP], false)).unwrap();
    let policy = find(&read, Kind::AuthorizationPolicy, "shop/orders");
    let line = |pointer: &str| {
        assert!(policy.get(pointer).is_some(), "{pointer}");
        policy.at(pointer).rsplit(':').next().unwrap().parse::<u32>().unwrap()
    };
    let lines = [
        ("", 2),
        ("/kind", 3),
        ("/metadata/annotations/example.com~1owner~0team", 8),
        ("/spec/rules", 11),
        ("/spec/rules/0", 12),
        ("/spec/rules/0/from/0", 13),
        ("/spec/rules/0/from/0/source/principals/0", 14),
        ("/spec/rules/0/to/0/operation/ports/0", 18),
        ("/spec/rules/1", 20),
        ("/spec/rules/1/to/0/operation/paths/0", 21),
    ];
    for (pointer, expected) in lines {
        assert_eq!(line(pointer), expected, "{pointer}");
    }
    let rule = find(&read, Kind::DestinationRule, "shop/orders");
    assert_eq!(rule.at(""), format!("{SHOP}/list.yml:3"));
    assert_eq!(rule.at("/spec/host"), format!("{SHOP}/list.yml:9"));
    let route = find(&read, Kind::VirtualService, "shop/orders");
    assert_eq!(route.at("/spec/hosts/0"), format!("{SHOP}/stream.json:12"));
    let Origin::File { line, lines, .. } = &find(&read, Kind::Service, "default/orders").origin else {
        panic!("read from a file")
    };
    assert_eq!((*line, lines.line_of("/spec")), (31, None), "only Istio's kinds keep lines");
}

#[test]
fn what_no_answer_rests_on_is_dropped() {
    let read = read(&files([SHOP], false)).unwrap();
    let service = find(&read, Kind::Service, "default/orders");
    assert_eq!(service.get("/metadata/managedFields"), None);
    assert_eq!(service.get("/status"), None);
    assert_eq!(service.get("/spec/ports/0/targetPort"), Some(&json!(8080)));
    assert_eq!(find(&read, Kind::Pod, "shop/orders-1").get("/status/phase"), Some(&json!("Running")));
}

#[test]
fn items_of_a_typed_list_get_their_type() {
    let read = read(&files([SHOP], false)).unwrap();
    let route = find(&read, Kind::VirtualService, "shop/orders");
    assert_eq!(route.get("/apiVersion"), Some(&json!("networking.istio.io/v1")));
    assert_eq!(route.get("/kind"), Some(&json!("VirtualService")));
}

#[test]
fn empty_lists_and_documents() {
    for text in
        ["", "\n", "# nothing\n", "---\n---\n", "apiVersion: v1\nkind: List\n", "~", "\u{feff}# bom\n"]
    {
        assert_eq!(parse("a.yaml", text, "default").unwrap(), Read::default(), "{text:?}");
    }
}

#[test]
fn names_that_the_server_completes() {
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: load-}\n";
    let read = parse("a.yaml", &format!("{job}---\n{job}"), "shop").unwrap();
    assert_eq!(read.objects.iter().map(Object::key).collect::<Vec<_>>(), ["shop/load-?", "shop/load-?"]);
}

#[test]
fn an_object_defined_twice() {
    let read = parse("a.yaml", &format!("{POLICY}---\n{POLICY}spec: {{}}\n---\n{POLICY}"), "x").unwrap();
    assert_eq!(read.objects.len(), 1);
    assert_eq!(read.objects[0].at(""), "a.yaml:12");
    assert_eq!(
        read.notes,
        [
            "AuthorizationPolicy x/a is defined twice: a.yaml:6 replaces a.yaml:1",
            "AuthorizationPolicy x/a is defined twice: a.yaml:12 replaces a.yaml:6",
        ]
    );
}

#[test]
fn misspelled_kinds_are_noted_and_unknown_ones_not() {
    let text = "apiVersion: networking.istio.io/v1\nkind: Virtualservice\n---\napiVersion: gateway.networking.k8s.io/v1\n\
                kind: Gateway\n---\napiVersion: v1\nkind: Event\n";
    let read = parse("a.yaml", text, "x").unwrap();
    assert_eq!(
        read.notes,
        ["a.yaml:1: skipped, kind Virtualservice is unknown; the kind is called VirtualService"]
    );
}

#[test]
fn the_same_twice_reads_the_same_on_many_threads() {
    let directory = directory("threads");
    let texts: Vec<(String, String)> = (0..200)
        .map(|index| (format!("{index:03}.yaml"), POLICY.replace("name: a", &format!("name: a{index:03}"))))
        .collect();
    let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (&**name, &**text)).collect();
    let manifests = write(&directory, &texts);
    let first = read(&manifests).unwrap();
    assert_eq!(first.objects.len(), 200);
    assert!(first.objects.is_sorted_by_key(|object| object.name.clone()));
    fs::write(directory.join("150.yaml"), "a: [").unwrap();
    fs::write(directory.join("020.yaml"), "b: [").unwrap();
    for _ in 0..20 {
        assert!(read(&manifests).unwrap_err().to_string().contains("020.yaml:1:"));
    }
}

// === YAML as kubectl reads it: every expectation was produced by kubectl 1.32 ===

#[test]
fn scalars() {
    assert_eq!(
        value("[yes, 'yes', \"8080\", 8080, 012, 1.0, 2001-01-01, '', ~]"),
        json!([true, "yes", "8080", 8080, 10, 1, "2001-01-01", "", null])
    );
}

#[test]
fn tags() {
    let text = "a: !!str 5\nb: !!int \"5\"\nc: !!float 5\nd: !!bool yes\ne: !foo bar\nf: ! 5\ng: !!str\nh: !foo 5\n\
                i: !!null ''\nj: !!timestamp 2001-01-01\n";
    let expected = json!({"a": "5", "b": 5, "c": 5, "d": true, "e": "bar", "f": "5", "g": "", "h": "5",
        "i": null, "j": "2001-01-01"});
    assert_eq!(value(text), expected);
    assert!(
        refused("a: !!int x").0.starts_with("a.yaml:1:10: the value is not of the type that its tag names")
    );
    assert!(refused("a: !!binary aGVsbG8=").0.contains("`!!binary`"));
}

#[test]
fn keys() {
    assert_eq!(
        value("8080: a\ntrue: b\nno: c\n1.50: d\n0x10: e\n2001-01-01: f\n? x\n"),
        json!({"8080": "a", "true": "b", "false": "c", "1.5": "d", "16": "e", "2001-01-01": "f", "x": null})
    );
    for text in ["~: a", ": a", "[x]: a", "{a: b}: c", "? [x]\n: y"] {
        assert!(refused(text).0.contains("a mapping key must be"), "{text}");
    }
}

#[test]
fn merges() {
    let text = "a: &x {q: 1}\nb: {<<: *x, z: 2}\nc: {q: 7, <<: *x}\nd: {<<: [*x, {q: 3, w: 4}]}\n\
                e: {<<: *x, q: 8}\nf: {\"<<\": 1}\n";
    assert_eq!(
        value(text),
        json!({"a": {"q": 1}, "b": {"q": 1, "z": 2}, "c": {"q": 1}, "d": {"q": 1, "w": 4}, "e": {"q": 8},
            "f": {"<<": 1}})
    );
    assert!(refused("a: &x 1\nb: {<<: *x}\n").0.starts_with("a.yaml:2: `<<` merges mappings"));
    let (message, _) = refused("a: {<<: {b: 1}, c: 1, c: 2}");
    assert!(message.contains("\"c\" already stands on line 1"), "{message}");
}

#[test]
fn aliases_are_shown_where_they_stand() {
    let text = "a: &x\n  b: [1]\nc: *x\nd:\n  <<: *x\n  e: 1\n";
    let document = documents("a.yaml", text).unwrap().remove(0);
    assert_eq!(document.value, json!({"a": {"b": [1]}, "c": {"b": [1]}, "d": {"b": [1], "e": 1}}));
    let line = |pointer| document.lines.line_of(pointer);
    assert_eq!(
        (line("/c"), line("/c/b/0"), line("/d/b"), line("/d/e")),
        (Some(3), Some(3), Some(5), Some(6))
    );
}

#[test]
fn anchors_end_with_their_document() {
    let error = documents("a.yaml", "a: &x 1\n---\nb: *x\n").unwrap_err().to_string();
    assert!(error.starts_with("a.yaml:3:4: an alias `*name` has no anchor"), "{error}");
    assert!(refused("a: &x [*x]\n").0.contains("inside the part that it refers to"));
}

#[test]
fn json_with_tabs_escapes_and_long_keys() {
    let long = "k".repeat(3000);
    let text =
        format!("{{\n\t\"apiVersion\": \"v1\",\n\t\"a\\/\\ud83d\\ude00\": 1e2, \"{long}\": null\n}}\n");
    assert_eq!(value(&text), json!({"apiVersion": "v1", "a/😀": 100, long: null}));
}

// === what is refused, and how ===

#[test]
fn syntax_errors() {
    let cases = [
        (
            "a: b: c\n",
            "a.yaml:1:5: a second `: ` stands where only a value may stand\n  |\n1 | a: b: c\n  |     ^",
        ),
        ("a:\n\t- x\n", "a.yaml:2:2: a tab stands where YAML allows only spaces\n  |\n2 | \\t- x\n  |   ^"),
        ("a: 'b\n", "a.yaml:1:4: a quoted string has no end\n  |\n1 | a: 'b\n  |    ^"),
        ("a: [b\n", "a `[` or `{` is never closed"),
        ("a: 1\n b: 2\n", "a.yaml:2:"),
        ("a:\n  b: 1\n c: 2\n", "a.yaml:3:"),
        ("a: *b\n", "a.yaml:1:4: an alias `*name` has no anchor"),
        ("a: @x\n", "this character cannot start a value"),
        ("a: *\n", "a `*` or `&` stands alone"),
        ("a: \"\\d+\"\n", "meaning that YAML does not know"),
        ("a: .inf\n", "a.yaml:1:4: Kubernetes has no infinite numbers"),
    ];
    for (text, expected) in cases {
        let (message, hint) = refused(text);
        assert!(message.contains(expected), "{text:?}: {message}");
        assert!(!hint.is_empty(), "{text:?}");
    }
}

#[test]
fn duplicate_keys() {
    assert_eq!(
        refused("a: 1\nb:\n  name: x\n  other: z\n  name: y\n").0,
        "a.yaml:5: the key \"name\" already stands on line 3\n  |\n3 |   name: x\n5 |   name: y"
    );
    assert!(refused("1: a\n\"1\": b\n").0.contains("already stands on line 1"));
    assert!(refused("true: a\nyes: b\n").0.contains("the key \"true\" already stands on line 1"));
    let many: String = (0..40).map(|index| format!("k{index}: 1\n")).collect();
    assert!(refused(&format!("{many}k7: 2\n")).0.contains("\"k7\" already stands on line 8"));
}

#[test]
fn documents_that_are_no_objects() {
    assert_eq!(
        refused("\na: 1\n").0,
        "a.yaml:2: not a Kubernetes object: it has no apiVersion and no kind\n  |\n2 | a: 1"
    );
    assert!(refused("apiVersion: v1\n").0.contains("it has no kind"));
    assert!(refused("kind: Pod\n").0.contains("it has no apiVersion"));
    assert!(refused("- a\n").0.contains("not a Kubernetes object"));
    assert!(refused("words\n").0.contains("not a Kubernetes object"));
    let list = "apiVersion: v1\nkind: List\nitems:\n- a: 1\n";
    assert!(refused(list).0.starts_with("a.yaml:4: not a Kubernetes object"));
    let (message, hint) = refused("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n");
    assert_eq!(message, "a.yaml:1 is a kustomization, which only names manifests");
    assert!(hint.contains("-k DIR"));
}

#[test]
fn objects_without_identity() {
    let policy = |metadata: &str| refused(&POLICY.replace("metadata:\n  name: a\n", metadata)).0;
    for metadata in ["", "metadata:\n", "metadata: {}\n", "metadata: {name: ''}\n", "metadata: [x]\n"] {
        assert!(policy(metadata).starts_with("a.yaml:1: this AuthorizationPolicy has no metadata.name"));
    }
    assert!(
        policy("metadata: {name: 123}\n")
            .starts_with("a.yaml:3: metadata.name of this AuthorizationPolicy must be a string")
    );
    assert!(policy("metadata: {name: a, namespace: yes}\n").contains("metadata.namespace"));
}

#[test]
fn helm_templates() {
    for text in [
        "a: {{ .Values.x }}\n",
        "{{- if .Values.x }}\na: 1\n{{- end }}\n",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: '{{ .Release.Name }}'\n",
    ] {
        let error = parse("web/templates/a.yaml", text, "x").unwrap_err();
        assert!(matches!(error, Error::Template { .. }), "{text}");
        assert!(error.to_string().contains(" is a Helm template (it has `{{`), not a manifest: "), "{error}");
        assert!(error.hint().unwrap().ends_with("helm template web | ... -f -"), "{error}");
    }
    // Only what fails is a template: Lua and dashboards hold `{{` by right.
    assert_eq!(value("a: 'x {{ y }}'\n"), json!({"a": "x {{ y }}"}));
    assert!(!refused("# {{ x }}\na: [\n").0.contains("Helm"));
}

#[test]
fn helm_charts() {
    let directory = directory("chart");
    let manifests = write(&directory, &[("a.yaml", POLICY), ("web/Chart.yaml", "name: web\n")]);
    let error = read(&manifests).unwrap_err();
    assert!(error.to_string().contains("/chart/web is a Helm chart"), "{error}");
    assert!(error.hint().unwrap().contains("helm template "));
}

#[test]
fn alias_bombs() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..40 {
        let alias = format!("*a{}", level - 1);
        let aliases = [&*alias; 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    let started = Instant::now();
    assert!(refused(&bomb).0.contains("(an alias bomb)"));
    assert!(started.elapsed() < Duration::from_secs(10));
    // One large string, many times.
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a, ".repeat(10_000));
    assert!(refused(&long).0.contains("(an alias bomb)"));
    // Mergers multiply, too.
    let mut merges = "a0: &a0 {k: 1, l: 2}\n".to_owned();
    for level in 1..64 {
        let previous = level - 1;
        merges.push_str(&format!(
            "a{level}: &a{level} {{<<: [*a{previous}, *a{previous}], k{level}: *a{previous}}}\n"
        ));
    }
    assert!(parse("a.yaml", &merges, "x").is_err());
}

#[test]
fn deep_nesting() {
    let many = 100_000;
    let block: String = (0..2000).map(|depth| format!("{:depth$}a:\n", "")).collect();
    let mut aliases = "a0: &a0 [x]\n".to_owned();
    for level in 1..1000 {
        aliases.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    for text in [
        "[".repeat(many),
        "{a: ".repeat(many),
        "- ".repeat(many),
        "? ".repeat(many),
        "[{a: ".repeat(many),
        format!("{}1{}", "{\"a\":".repeat(many), "}".repeat(many)),
        block,
        aliases,
    ] {
        let (message, _) = refused(&text);
        assert!(message.contains("nested deeper than 128 levels"), "{message}");
    }
    assert!(documents("a", &format!("{}1{}", "[".repeat(127), "]".repeat(127))).is_ok());
}

#[test]
fn junk_is_refused_fast() {
    let started = Instant::now();
    for junk in
        ["a", "a ", "a\n", "- ", "{", "'", "\"", "&", "*", "!", "%", "|", ">", ":", "? ", "#", ", ", "\t"]
    {
        let text = junk.repeat((1 << 17) / junk.len());
        // A long anchor or comment is an empty document.
        let objects = parse("a.yaml", &text, "x").map(|read| read.objects.len());
        assert_eq!(objects.unwrap_or_default(), 0, "{junk:?}");
    }
    // Far above what it takes, far below what anything quadratic would.
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[test]
fn secrets_stay_out_of_messages() {
    let (message, _) = refused("apiVersion: v1\nkind: Secret\nstringData:\n  password: a: hunter2\n");
    assert!(message.starts_with("a.yaml:4:"), "{message}");
    assert!(!message.contains("hunter2"));
}

#[test]
fn control_characters_are_escaped() {
    let (message, _) = refused("\"a\\eb\": 1\n\"a\\eb\": 2\n");
    assert!(message.contains("\"a\\u{1b}b\""), "{message}");
    assert!(!message.contains('\u{1b}'));
}

// === paths ===

#[test]
fn paths_that_cannot_be_read() {
    let message = |name: &str| {
        let error = read(&files([name], false)).unwrap_err();
        (error.to_string(), error.hint().unwrap_or_default())
    };
    assert_eq!(message("no/such").0, "cannot read no/such: no such file or directory");
    assert!(message("no/*.yaml").1.contains("the shell's work"));
    assert!(message("https://example.com/a.yaml").1.starts_with("fetch it first: curl"));
    assert_eq!(read(&Manifests::default()).unwrap_err().to_string(), "no manifests were named");
    let error = read(&files(["-", "-"], false)).unwrap_err();
    assert_eq!(error.to_string(), "standard input (-) is named twice, and can be read only once");
}

#[test]
fn empty_directories() {
    let directory = directory("empty");
    let path = directory.to_str().unwrap();
    let error = read(&files([path], false)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("no manifests found in {path}: no file there ends in .yaml, .yml or .json")
    );
    assert!(!error.hint().unwrap().contains("-R"));
    write(&directory, &[("below/a.yaml", POLICY), ("notes.txt", "x")]);
    assert!(read(&files([path], false)).unwrap_err().hint().unwrap().contains("add -R"));
    assert_eq!(read(&files([path], true)).unwrap().objects.len(), 1);
}

#[test]
fn hidden_files() {
    let directory = directory("hidden");
    let manifests = write(&directory, &[("a.yaml", POLICY), (".b.yaml", "x: ["), (".github/c.yaml", "x: [")]);
    let read = read(&manifests).unwrap();
    assert_eq!(read.objects.len(), 1);
    assert_eq!(read.notes, [format!("{}/.b.yaml: hidden file skipped", directory.display())]);
}

#[test]
fn one_unreadable_file_fails_the_read() {
    let directory = directory("binary");
    let manifests = write(&directory, &[("a.yaml", POLICY), ("b.yaml", "\u{0}")]);
    let error = read(&manifests).unwrap_err().to_string();
    assert!(error.ends_with("/b.yaml is no manifest: a NUL byte at byte 0"), "{error}");
}

#[cfg(unix)]
#[test]
fn links() {
    use std::os::unix::fs::symlink;
    let directory = directory("links");
    let manifests = write(&directory, &[("real/a.yaml", POLICY)]);
    symlink(&directory, directory.join("real/loop")).unwrap();
    symlink(directory.join("real/a.yaml"), directory.join("b.yaml")).unwrap();
    let read = mesh_source::manifests::read(&manifests).unwrap();
    assert_eq!(read.objects[0].at(""), format!("{}/real/a.yaml:1", directory.display()));
    assert_eq!(read.notes.len(), 2, "{:?}", read.notes);
    assert!(read.notes[0].ends_with("/real/loop: link to a directory not followed"));
    symlink("nowhere", directory.join("c.yaml")).unwrap();
    let error = mesh_source::manifests::read(&manifests).unwrap_err();
    assert!(error.to_string().contains("/c.yaml"), "{error}");
}
