//! Which policies apply to a workload.
//!
//! Rules: `pilot/pkg/model/authorization.go`, `ShouldAttachPolicy` in `policyattachment.go`.

use crate::labels::Selector;
use crate::mesh_config::ProviderKind;
use crate::object::Object;
use crate::policy::{AuthorizationPolicy, TargetRef};
use crate::request_authentication::{JwtRule, RequestAuthentication};
use crate::workload::Workload;
use crate::world::World;

use super::chain::{Chain, Provider};
use super::compile::{Compiler, Protocol};

/// The numbers of the policies that are in force for a workload: of the root namespace and of its
/// own, without order or precedence between them.
#[must_use]
pub fn policies(world: &World, workload: &Workload) -> Vec<usize> {
    candidates(world, workload)
        .filter(|number| {
            world.policies.get(*number).is_some_and(|policy| why_not(world, policy, workload).is_none())
        })
        .collect()
}

/// All policies that could be meant for a workload by where they are.
pub fn candidates<'a>(world: &'a World, workload: &'a Workload) -> impl Iterator<Item = usize> + 'a {
    let root = &world.mesh.root_namespace;
    let own = if workload.namespace == *root { &[][..] } else { world.policies_in(&workload.namespace) };
    world.policies_in(root).iter().chain(own).copied()
}

/// Why a policy in the right place is not in force for a workload; `None` where it is.
#[must_use]
pub fn why_not(world: &World, policy: &AuthorizationPolicy, workload: &Workload) -> Option<String> {
    if !policy.is_readable() {
        return Some("istiod cannot read it".to_owned());
    }
    why_not_attached(world, &policy.object, &policy.target_refs, &policy.selector, workload)
}

fn why_not_attached(
    world: &World,
    policy: &Object,
    target_refs: &[TargetRef],
    selector: &Selector,
    workload: &Workload,
) -> Option<String> {
    let served_by = &workload.injection.revision;
    if let Some(revision) = policy.revision().filter(|revision| revision != served_by) {
        return Some(format!("it is for revision {revision} only, and the pods are served by {served_by}"));
    }
    let has_target_refs = world.profile.target_refs && !target_refs.is_empty();
    match workload.gateway_api_name() {
        None if has_target_refs => {
            Some("it has targetRefs, and sidecars ignore such policies whole".to_owned())
        }
        Some(gateway) if has_target_refs => {
            let meant = policy.namespace == workload.namespace
                && target_refs.iter().any(|target| {
                    (target.group.as_str(), target.kind.as_str(), target.name.as_str())
                        == ("gateway.networking.k8s.io", "Gateway", gateway)
                });
            (!meant).then(|| format!("its targetRefs do not name Gateway {gateway}"))
        }
        _ => unselected(selector, workload),
    }
}

fn unselected(selector: &Selector, workload: &Workload) -> Option<String> {
    (!selector.selects(&workload.labels)).then(|| {
        let missing: Vec<String> = selector
            .labels()
            .iter()
            .filter(|(name, value)| workload.labels.get(*name) != Some(value))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        format!("the pods do not have {}", missing.join(", "))
    })
}

/// The RequestAuthentications that are in force for a workload: of the root namespace and of its own.
pub fn authentications<'a>(
    world: &'a World,
    workload: &'a Workload,
) -> impl Iterator<Item = &'a RequestAuthentication> {
    let root = &world.mesh.root_namespace;
    world.request_authentications.iter().filter(move |policy| {
        let namespace = &policy.object.namespace;
        (namespace == root || *namespace == workload.namespace)
            && why_not_attached(world, &policy.object, &policy.target_refs, &policy.selector, workload)
                .is_none()
    })
}

/// The tokens that a workload's proxy accepts: of all RequestAuthentications that select it.
#[must_use]
pub fn tokens(world: &World, workload: &Workload) -> Vec<JwtRule> {
    authentications(world, workload).flat_map(|policy| policy.rules.iter().cloned()).collect()
}

/// The filters of a workload for one kind of chain.
#[must_use]
pub fn chain(world: &World, workload: &Workload, selected: &[usize], protocol: Protocol) -> Chain {
    let compiler = Compiler { trust_domains: &world.mesh.trust_domains, profile: &world.profile, protocol };
    Chain::new(compiler, &world.policies, selected, tokens(world, workload), |name| {
        let kind = world.mesh.providers.iter().find(|(known, _)| known == name).map(|(_, kind)| *kind);
        match (kind, protocol) {
            (Some(ProviderKind::Http), Protocol::Tcp) => Provider::Ignored,
            (Some(_), _) => Provider::Asked,
            (None, _) if world.mesh.is_known => Provider::Refuses,
            // Without the mesh configuration nobody knows whether it is defined.
            (None, _) => Provider::Asked,
        }
    })
}
