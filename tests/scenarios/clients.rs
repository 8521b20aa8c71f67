//! Workloads and users for scenarios.

use mesh_lab::mesh::{Error, Mesh};

/// Makes a namespace with a caller, `client`; `injected` says whether with a sidecar.
pub(crate) fn client(mesh: &Mesh, namespace: &str, injected: bool) -> Result<(), Error> {
    let injection = if injected { "enabled" } else { "disabled" };
    mesh.apply(&format!(
        "\
apiVersion: v1
kind: Namespace
metadata: {{ name: {namespace}, labels: {{ istio-injection: {injection} }} }}
---
{}",
        workload(namespace, "client")
    ))?;
    mesh.ready(namespace)
}

/// A workload of the test application with its Service and ServiceAccount, which serves HTTP on 8080 and
/// TCP on 9000.
pub(crate) fn workload(namespace: &str, name: &str) -> String {
    // A cluster of others has it from where its owner put it.
    let image = std::env::var("KUBECTL_MESH_TEST_IMAGE").unwrap_or("application".to_owned());
    format!(
        "\
apiVersion: v1
kind: ServiceAccount
metadata: {{ name: {name}, namespace: {namespace} }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{ name: {name}, namespace: {namespace} }}
spec:
  selector: {{ matchLabels: {{ app: {name} }} }}
  template:
    metadata:
      labels: {{ app: {name} }}
      annotations: {{ prometheus.io/scrape: \"true\", prometheus.io/port: \"8080\", prometheus.io/path: /metrics }}
    spec:
      serviceAccountName: {name}
      terminationGracePeriodSeconds: 1
      containers:
        - name: application
          image: {image}
          readinessProbe: {{ httpGet: {{ path: /, port: 8080 }}, periodSeconds: 1 }}
          env:
            - {{ name: NAME, value: {name} }}
            - {{ name: TCP_PORTS, value: \"9000\" }}
---
apiVersion: v1
kind: Service
metadata: {{ name: {name}, namespace: {namespace} }}
spec:
  selector: {{ app: {name} }}
  ports:
    - {{ name: http, port: 8080 }}
    - {{ name: tcp, port: 9000 }}
"
    )
}

/// Gives the user `limited` the ClusterRole of a file in docs/rbac, and the Role beside it.
pub(crate) fn grant(mesh: &Mesh, file: &str, role: &str) {
    mesh.apply(&format!("docs/rbac/{file}.yaml")).unwrap();
    let user = "--user=limited";
    mesh.kubectl(&["create", "clusterrolebinding", file, &format!("--clusterrole={role}"), user]).unwrap();
    // Where there is no such Role, nothing is bound.
    let namespace = "--namespace=istio-system";
    mesh.kubectl(&["create", "rolebinding", file, &format!("--role={role}"), user, namespace]).unwrap();
}
