//! The lab itself: what the other scenarios rely on.

use std::fs;

use mesh_lab::{Mesh, Request};

use crate::clients::{client, workload};

#[test]
fn a_mesh_can_be_broken_and_leaves_nothing_behind() {
    let Some(mesh) = Mesh::started() else { return };
    client(&mesh, "shop", true).unwrap();
    mesh.apply(&workload("shop", "server")).unwrap();
    mesh.ready("shop").unwrap();
    mesh.settle().unwrap();
    let request = Request::get("http://server:8080/");
    assert_eq!(mesh.call("shop/client", &request).unwrap().outcome(), "200");

    // One request to the API server is lost on its way there, another one's answer on its way back.
    for (name, served) in [("lost", false), ("done", true)] {
        let object = mesh.directory().join(name);
        let text =
            format!(r#"{{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {{"name": "{name}"}}}}"#);
        fs::write(&object, text).unwrap();
        mesh.requests().unwrap();
        mesh.cut(1, served).unwrap();
        let path = "/api/v1/namespaces/shop/configmaps";
        let create = mesh.kubectl(&["create", "--raw", path, "-f", &object.to_string_lossy()]);
        assert!(create.is_err(), "{create:?}");
        assert_eq!(mesh.requests().unwrap(), [format!("POST {path}")]);
        let there = mesh.kubectl(&["get", "configmap", name, "--namespace=shop"]);
        assert_eq!(there.is_ok(), served, "{there:?}");
    }

    // Without controllers no Deployment becomes pods; with them, it does.
    mesh.stop("kube-controller-manager").unwrap();
    mesh.apply(&workload("shop", "late")).unwrap();
    mesh.stop("kube-controller-manager").unwrap_err();
    let pods = mesh.kubectl(&["get", "pods", "--namespace=shop", "--selector=app=late", "--output=name"]);
    assert_eq!(pods.unwrap(), "");
    mesh.restart("kube-controller-manager").unwrap();
    mesh.ready("shop").unwrap();

    // Without istiod the proxies go on with what they have.
    mesh.stop_istiod().unwrap();
    assert_eq!(mesh.call("shop/client", &request).unwrap().outcome(), "200");
    mesh.start_istiod().unwrap();

    // However the machine ends: its processes name its directory, or are in its namespaces.
    let directory = mesh.directory().to_string_lossy().into_owned();
    let processes = || {
        let commands = fs::read_dir("/proc").unwrap().flatten();
        let of_ours = |command: &Vec<u8>| String::from_utf8_lossy(command).contains(&directory);
        commands.filter_map(|process| fs::read(process.path().join("cmdline")).ok()).filter(of_ours).count()
    };
    assert!(processes() > 5, "{}", processes());
    mesh.crash().unwrap();
    assert_eq!(processes(), 0);
}
