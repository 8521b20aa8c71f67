//! No objects make a question panic or hang, however little they make sense.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_model::authorization::evaluator::Evaluator;
use mesh_model::authorization::judge::Verdict;
use mesh_model::authorization::request::{Fact, Request, Token};
use mesh_model::question::can::{Ask, can};
use mesh_model::question::matrix::matrix;
use mesh_model::question::target::{Caller, Target};
use mesh_model::question::who_can::who_can;
use mesh_model::world::{Snapshot, World};
use mesh_source::manifests::parse;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let Ok(read) = parse("a.yaml", &text, "default") else { return };
    if read.objects.is_empty() || read.objects.len() > 30 {
        return;
    }
    let world = World::new(Snapshot { objects: read.objects, gaps: Vec::new(), istio_version: None });
    let mut evaluator = Evaluator::new(&world);
    matrix(&mut evaluator, None);
    let services = world.services.iter().map(|service| Target {
        namespace: service.object.namespace.clone(),
        name: service.object.name.clone(),
        service: Some(service),
        workloads: (0..world.workloads.len())
            .filter(|number| {
                world.workloads_of(service).any(|of| std::ptr::eq(of, &world.workloads[*number]))
            })
            .collect(),
        note: None,
    });
    let workloads = (0..).zip(&world.workloads).map(|(number, workload)| Target {
        namespace: workload.namespace.clone(),
        name: workload.name.clone(),
        service: None,
        workloads: vec![number],
        note: None,
    });
    let token = Token { issuer: Fact::Known("i".to_owned()), others_unknown: true, ..Token::default() };
    let requests = [
        Request { other_headers_unknown: true, ..Request::default() },
        Request { method: Fact::Known("GET".to_owned()), token: Fact::Known(token), ..Request::default() },
    ];
    for target in services.chain(workloads) {
        who_can(&mut evaluator, &target);
        for request in &requests {
            for (port, path) in [(None, None), (Some(8080), Some("/a/..%2f/b?c".to_owned()))] {
                let ask = Ask {
                    caller: Caller::Anonymous,
                    target: target.clone(),
                    port,
                    or_service_port: true,
                    speaks: None,
                    request: request.clone(),
                    path,
                };
                let answer = can(&mut evaluator, &ask);
                for case in answer.cases {
                    // Whoever is let in is shown how.
                    let outcome = case.outcome;
                    if outcome.verdict == Verdict::Conditional {
                        assert!(outcome.witness.is_some());
                    }
                }
            }
        }
    }
});
