//! What is measured is what it says: Worlds have the size that was asked for, and requests are mixed.

use std::time::Duration;
use std::{env, fs, process};

use mesh_bench::decide;
use mesh_bench::shape::Shape;
use mesh_model::world::{Snapshot, World};
use mesh_source::manifests::{self, Manifests};

#[test]
fn worlds_have_their_size() {
    let shape = Shape { services: 7, workloads: 20, policies: 33, namespaces: 3 };
    let directory = env::temp_dir().join(format!("mesh-bench-test-{}", process::id()));
    shape.write(&directory).unwrap();
    let filenames = vec![directory.to_str().unwrap().to_owned()];
    let read = manifests::read(&Manifests { filenames, ..Manifests::default() });
    fs::remove_dir_all(&directory).unwrap();
    let world = World::new(Snapshot { objects: read.unwrap().objects, ..Snapshot::default() });
    assert_eq!(world.services.len(), shape.services);
    assert_eq!(world.workloads.len(), shape.workloads);
    assert_eq!(world.policies.len(), shape.policies);
    assert_eq!(world.namespaces.len(), shape.namespaces);
    assert!(world.workloads.iter().all(|workload| workload.injection.injected));
    assert_eq!(manifests::documents("cases", &shape.cases(5)).unwrap().len(), 1);
}

#[test]
fn requests_are_mixed() {
    let let_through = decide::rate(Duration::ZERO).unwrap().let_through;
    assert!((10..90).contains(&let_through), "{let_through} % are let through");
}
