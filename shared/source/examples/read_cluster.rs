//! Reads the cluster of the current context and counts what is there:
//! `cargo run --release --example read_cluster`. For measuring, too.

#![expect(clippy::print_stdout, reason = "an example has no other way to speak")]

use std::collections::BTreeMap;

use mesh_model::object::Kind;
use mesh_source::cluster::{self, Connection, Error};

fn main() -> Result<(), Error> {
    let read = cluster::read(&Connection::default(), &Kind::ALL, &[], &mut |_| {})?;
    let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
    for object in &read.objects {
        *counts.entry(object.kind).or_default() += 1;
    }
    for (kind, count) in counts {
        println!("{kind}: {count}");
    }
    let note = read.note();
    for gap in read.gaps {
        println!("gap: {}: {}", gap.kind, gap.reason);
    }
    if let Some(note) = note {
        println!("note: {note}");
    }
    Ok(())
}
