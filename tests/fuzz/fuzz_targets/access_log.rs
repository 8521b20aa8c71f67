//! No line and no format makes the reader of access logs panic or hang, or remember without bounds; every
//! line is counted once.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mesh_model::access_log::explain::Explainer;
use mesh_model::access_log::lines::Lines;
use mesh_model::access_log::summary::Summarizer;
use mesh_model::question::target::Scope;
use mesh_model::world::{Snapshot, World};
use mesh_source::manifests::parse;

const BANK: &str = include_str!("../../../plugins/authz/tests/fixtures/access-log/bank.yaml");

fn world(format: &str) -> World {
    let mut objects = parse("bank.yaml", BANK, "default").map(|read| read.objects).unwrap_or_default();
    let mesh = objects.iter_mut().filter_map(|object| object.value.pointer_mut("/data/mesh"));
    let format = serde_json::json!({ "accessLogFormat": format }).to_string();
    mesh.for_each(|mesh| *mesh = format.clone().into());
    World::new(Snapshot { objects, ..Snapshot::default() })
}

static PLAIN: LazyLock<World> = LazyLock::new(|| world(""));

fuzz_target!(|bytes: &[u8]| {
    // A first line that begins with a per cent sign is the format of the others.
    let own = (bytes.first() == Some(&b'%')).then(|| {
        let format = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        world(&String::from_utf8_lossy(format))
    });
    let world = own.as_ref().unwrap_or(&*PLAIN);
    let scope = Scope { namespace: "default", anywhere: true };
    let mut summarizer = Summarizer::new(Explainer::new(world, None, scope));
    let mut lines = Lines::default();
    let mut line = |line: &str| summarizer.line(line, None);
    for piece in bytes.chunks(7) {
        lines.push(piece, &mut line);
    }
    lines.finish(&mut line);
    let summary = summarizer.finish();
    let counts = &summary.counts;
    assert_eq!(counts.read, counts.denied + counts.dry_run + counts.passed + counts.own + counts.unreadable);
    assert_eq!(counts.unreadable == 0, counts.first_unreadable.is_none());
    let listed: u64 = summary.denials.iter().map(|denial| denial.count).sum();
    assert_eq!(listed + counts.not_listed, counts.denied + counts.dry_run);
});
