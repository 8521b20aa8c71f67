//! A mesh of a given size: services with several versions each, and policies that look like those of
//! a real one.

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use crate::random::Random;

/// How large a World is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Services, each with its own service account.
    pub services: usize,
    /// Deployments, spread over the services.
    pub workloads: usize,
    /// AuthorizationPolicies, spread over the services: one in five is DENY.
    pub policies: usize,
    /// Namespaces, over which the services are spread.
    pub namespaces: usize,
}

impl Shape {
    /// The World that the suite is measured with.
    pub const FULL: Self = Self { services: 1_000, workloads: 3_000, policies: 5_000, namespaces: 50 };

    /// This World with `numerator / denominator` of everything.
    #[must_use]
    pub fn scaled(self, numerator: usize, denominator: usize) -> Self {
        let scaled = |count: usize| (count * numerator / denominator).max(1);
        Self {
            services: scaled(self.services),
            workloads: scaled(self.workloads),
            policies: scaled(self.policies),
            namespaces: scaled(self.namespaces),
        }
    }

    /// The name of a service; it is also that of its service account.
    #[must_use]
    pub fn service(self, number: usize) -> String {
        format!("service-{number}")
    }

    /// The namespace of a service.
    #[must_use]
    pub fn namespace(self, service: usize) -> String {
        format!("team-{}", service % self.namespaces)
    }

    /// The identity of a service.
    #[must_use]
    pub fn principal(self, service: usize) -> String {
        format!("cluster.local/ns/{}/sa/{}", self.namespace(service), self.service(service))
    }

    /// Writes the World as a tree of manifests: a file for the mesh, and one for each service.
    ///
    /// # Errors
    /// Fails if a file cannot be written.
    pub fn write(self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("mesh.yaml"), self.mesh())?;
        for service in 0..self.services {
            fs::write(directory.join(format!("service-{service}.yaml")), self.manifests(service))?;
        }
        Ok(())
    }

    fn mesh(self) -> String {
        let mut text = String::from(
            "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: istio
  namespace: istio-system
data:
  mesh: |
    trustDomain: cluster.local
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: default
  namespace: istio-system
spec:
  mtls:
    mode: STRICT
",
        );
        for number in 0..self.namespaces {
            push(
                &mut text,
                format_args!(
                    "\
---
apiVersion: v1
kind: Namespace
metadata:
  name: team-{number}
  labels:
    istio-injection: enabled
"
                ),
            );
        }
        text
    }

    /// A service with its workloads and policies.
    fn manifests(self, service: usize) -> String {
        let (name, namespace) = (self.service(service), self.namespace(service));
        let mut random = Random::new(u64::try_from(service).unwrap_or_default());
        let mut text = format!(
            "\
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: {namespace}
spec:
  selector:
    app: {name}
  ports:
  - name: http
    port: 80
    targetPort: 8080
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {name}
  namespace: {namespace}
"
        );
        for version in 0..share(self.workloads, self.services, service) {
            push(
                &mut text,
                format_args!(
                    "\
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}-v{version}
  namespace: {namespace}
  labels:
    app: {name}
spec:
  replicas: 3
  selector:
    matchLabels:
      app: {name}
      version: v{version}
  template:
    metadata:
      labels:
        app: {name}
        version: v{version}
    spec:
      serviceAccountName: {name}
      containers:
      - name: app
        image: registry.example.com/{name}:1.{version}
        ports:
        - containerPort: 8080
        resources:
          requests:
            cpu: 100m
            memory: 128Mi
"
                ),
            );
        }
        for policy in 0..share(self.policies, self.services, service) {
            self.policy(&mut text, &mut random, service, policy);
        }
        text
    }

    fn policy(self, text: &mut String, random: &mut Random, service: usize, policy: usize) {
        let (name, namespace) = (self.service(service), self.namespace(service));
        let action = if policy % 5 == 4 { "DENY" } else { "ALLOW" };
        push(
            text,
            format_args!(
                "\
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: {name}-{policy}
  namespace: {namespace}
spec:
  action: {action}
  selector:
    matchLabels:
      app: {name}
  rules:
  - from:
    - source:
        principals:
"
            ),
        );
        for _ in 0..3 {
            let caller = random.below(self.services);
            push(text, format_args!("        - {}\n", self.principal(caller)));
        }
        let methods = if action == "DENY" { "DELETE" } else { "GET, POST" };
        push(
            text,
            format_args!(
                "    to:\n    - operation:\n        methods: [{methods}]\n        \
                 paths: [\"/api/v{policy}/*\", /health]\n"
            ),
        );
        if policy % 5 == 3 {
            push(
                text,
                format_args!(
                    "    when:\n    - key: request.headers[x-tenant]\n      values: [{}]\n",
                    random.pick(&["blue", "green", "red"])
                ),
            );
        }
    }

    /// Cases for `test`, without `expect`: each is decided and reported.
    #[must_use]
    pub fn cases(self, count: usize) -> String {
        let mut random = Random::new(0);
        let mut text = String::from("cases:\n");
        for _ in 0..count {
            let (from, to) = (random.below(self.services), random.below(self.services));
            push(
                &mut text,
                format_args!(
                    "\
- from: {}
  to: {}.{}
  port: 8080
  request:
    method: {}
    path: /api/v{}/items/{}
    headers: {{x-tenant: {}}}
",
                    self.principal(from),
                    self.service(to),
                    self.namespace(to),
                    random.pick(&["GET", "POST", "PUT", "DELETE"]),
                    random.below(6),
                    random.below(1_000),
                    random.pick(&["blue", "green", "red"]),
                ),
            );
        }
        text
    }
}

/// How many of `all` things belong to one of `owners`.
fn share(all: usize, owners: usize, owner: usize) -> usize {
    all / owners + usize::from(owner < all % owners)
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = text.write_fmt(what);
}
