//! What a route does besides: `TranslateRoute` in `pilot/pkg/networking/core/route/route.go`, `ConvertPolicy`
//! in `pilot/pkg/networking/core/route/retry/retry.go`, `TranslateFault`.

use mesh_model::routing::action::{Abort, Action, Fault, Retries};
use mesh_model::routing::resolve::Outcome;

use crate::support::{Mesh, TO_ALL, request};

fn fault(written: &str) -> Option<Fault> {
    let mesh = Mesh::new().virtual_service("shop/a", &format!("{{fault: {written}, route: [{TO_ALL}]}}"));
    mesh.ask("client", &request("server"), |answer| {
        answer.route.as_ref().and_then(|route| route.fault.clone())
    })
}

fn retries(written: &str) -> Option<Retries> {
    let mesh = Mesh::new().virtual_service("shop/a", &format!("{{{written}route: [{TO_ALL}]}}"));
    mesh.ask("client", &request("server"), |answer| match answer.route.as_ref().map(|route| &route.action) {
        Some(Action::Forward { retries, .. }) => retries.clone(),
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_fault_without_percentage_never_happens() {
    let abort = Some((Abort::Http(503), 0.0));
    assert_eq!(fault("{abort: {httpStatus: 503}}"), Some(Fault { delay: None, abort }));
}

#[test]
fn a_fault_has_its_percentage() {
    let delay = Some((std::time::Duration::from_secs(3), 50.0));
    assert_eq!(
        fault("{delay: {fixedDelay: 3s, percentage: {value: 50}}}"),
        Some(Fault { delay, abort: None })
    );
}

#[test]
fn without_a_word_there_are_two_retries() {
    assert_eq!(retries("").map(|retries| retries.attempts), Some(2));
}

#[test]
fn no_attempts_are_no_retries() {
    assert_eq!(retries("retries: {attempts: 0}, "), None);
}

#[test]
fn a_redirect_and_a_direct_response_have_no_destination() {
    let outcome = |written: &str| {
        let mesh = Mesh::new().virtual_service("shop/a", &format!("{{{written}}}"));
        mesh.ask("client", &request("server"), |answer| answer.outcome)
    };
    assert_eq!(outcome("redirect: {uri: /x}"), Outcome::Redirect);
    assert_eq!(outcome("directResponse: {status: 418}"), Outcome::Direct);
}
