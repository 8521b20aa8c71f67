//! The mesh configuration: the ConfigMaps `istio` and `istio-REVISION` where istiod runs.

use std::collections::BTreeSet;

use kube::api::ListParams;
use mesh_model::object::{Kind, Object};

use super::Error;
use super::list::{List, collection, read_one};
use super::page::Items;
use super::request::{Failure, Server};

/// Where Istio is installed unless somebody chose otherwise.
pub(crate) const ROOT_NAMESPACE: &str = "istio-system";

const CONFIG_MAPS: Items<'static> = Items { kind: Kind::ConfigMap, api_version: "v1" };
const SERVICES: Items<'static> = Items { kind: Kind::Service, api_version: "v1" };

/// Reads the mesh configuration of every revision.
///
/// Without permission to list, the default revision's ConfigMap is read by its name; only if that is
/// not there or forbidden too, the failure is [`Failure::Forbidden`].
pub(crate) async fn read(server: &Server) -> Result<Vec<Object>, Failure> {
    let mut objects = Vec::new();
    let mut forbidden = None;
    for namespace in istiod_namespaces(server).await? {
        let list = List { items: CONFIG_MAPS, namespace: Some(&namespace) };
        match list.read(server, &mut |_| {}).await {
            Ok(listed) => objects.extend(listed),
            Err(Failure::Absent) => {}
            Err(Failure::Forbidden(reason)) => {
                match read_one(server, CONFIG_MAPS, Some(&namespace), "istio").await {
                    Ok(Some(object)) => objects.push(object),
                    Ok(None) | Err(Failure::Forbidden(_)) => forbidden = Some(reason),
                    Err(failure) => return Err(failure),
                }
            }
            Err(failure) => return Err(failure),
        }
    }
    match forbidden {
        Some(reason) if objects.is_empty() => Err(Failure::Forbidden(reason)),
        _ => Ok(objects),
    }
}

/// The namespaces with an istiod, known by the label that all its installers set on its Service.
async fn istiod_namespaces(server: &Server) -> Result<BTreeSet<String>, Failure> {
    let mut namespaces = BTreeSet::from([ROOT_NAMESPACE.to_owned()]);
    let path = collection(SERVICES, None);
    let request = kube::core::Request::new(path.clone())
        .list(&ListParams::default().labels("app=istiod"))
        .map_err(|error| Error::Configuration { reason: error.to_string() })?;
    match server.send(request).await {
        Ok(bytes) => {
            let mut services = Vec::new();
            SERVICES
                .read_page(&bytes, &mut services)
                .map_err(|error| Error::Answer { path, reason: error.to_string() })?;
            namespaces.extend(services.into_iter().map(|service| service.namespace));
        }
        Err(Failure::Forbidden(_) | Failure::Absent) => {}
        Err(failure) => return Err(failure),
    }
    Ok(namespaces)
}
