//! All VirtualServices with their delegates, in the order in which a caller's proxy tries them.
//!
//! Rules: `initVirtualServices` in `pilot/pkg/model/push_context.go`.

use std::collections::BTreeMap;

use crate::routing::delegate::{self, Dropped};
use crate::virtual_service::VirtualService;
use crate::world::World;

/// VirtualServices by who may know them.
#[derive(Clone, Debug, Default)]
pub struct VirtualServices {
    all: Vec<VirtualService>,
    /// What of delegates is not taken, and why.
    pub dropped: Vec<Dropped>,
    private: BTreeMap<(String, String), Vec<usize>>,
    exported: BTreeMap<(String, String), Vec<usize>>,
    public: BTreeMap<String, Vec<usize>>,
}

impl VirtualServices {
    /// Those of a World.
    #[must_use]
    pub fn new(world: &World) -> Self {
        let default = &world.mesh.default_virtual_service_export_to;
        let (all, dropped) = delegate::merged(world.virtual_services.clone(), default);
        let mut found = Self { dropped, ..Self::default() };
        for (number, one) in all.iter().enumerate() {
            let namespace = &one.object.namespace;
            let export_to = one.export_to.as_deref().unwrap_or(default);
            let has = |name: &str| export_to.iter().any(|to| to == name);
            for gateway in &one.gateways {
                if export_to.is_empty() || has("*") {
                    found.public.entry(gateway.clone()).or_default().push(number);
                    continue;
                }
                if has("~") {
                    continue;
                }
                let mut to: Vec<&String> =
                    export_to.iter().map(|to| if to == "." { namespace } else { to }).collect();
                to.sort_unstable();
                to.dedup();
                for to in to {
                    let tier = if to == namespace { &mut found.private } else { &mut found.exported };
                    tier.entry((to.clone(), gateway.clone())).or_default().push(number);
                }
            }
        }
        found.all = all;
        found
    }

    /// All of them, by number.
    #[must_use]
    pub fn all(&self) -> &[VirtualService] {
        &self.all
    }

    /// One by its number.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<&VirtualService> {
        self.all.get(number)
    }

    /// The numbers of those that proxies of a namespace know for a gateway or the mesh: first the
    /// namespace's own private ones, then those exported to it, then the public ones; in each the oldest
    /// first.
    pub fn for_gateway(&self, namespace: &str, gateway: &str) -> impl Iterator<Item = usize> {
        let key = (namespace.to_owned(), gateway.to_owned());
        let private = self.private.get(&key).into_iter().flatten();
        let exported = self.exported.get(&key).into_iter().flatten();
        let public = self.public.get(gateway).into_iter().flatten();
        private.chain(exported).chain(public).copied()
    }
}
