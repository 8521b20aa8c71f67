//! The mesh configuration: ConfigMap `istio`, key `mesh` (`api/mesh/v1alpha1/config.proto`).

use serde_json::Value;

use crate::path::Normalization;
use crate::trust_domain::TrustDomains;

/// What an extension provider is, as far as CUSTOM policies care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderKind {
    /// `envoyExtAuthzHttp`: HTTP chains only.
    Http,
    /// `envoyExtAuthzGrpc`: HTTP and TCP chains.
    Grpc,
}

/// What a sidecar does with hosts that it does not know (`outboundTrafficPolicy.mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outbound {
    /// `ALLOW_ANY`: passed on as it is, without mutual TLS.
    #[default]
    AllowAny,
    /// `REGISTRY_ONLY`: refused.
    RegistryOnly,
}

impl Outbound {
    /// Reads `outboundTrafficPolicy`, of the mesh or of a Sidecar.
    #[must_use]
    pub fn read(value: Option<&Value>) -> Option<Self> {
        match value?.get("mode")?.as_str()? {
            "REGISTRY_ONLY" => Some(Self::RegistryOnly),
            "ALLOW_ANY" => Some(Self::AllowAny),
            _ => None,
        }
    }
}

/// The mesh configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct MeshConfig {
    /// Whether it was in the input; else all fields are Istio's defaults.
    pub is_known: bool,
    /// The revision of istiod that it is of, where it was in the input.
    pub revision: Option<String>,
    /// `trustDomain` and `trustDomainAliases`.
    pub trust_domains: TrustDomains,
    /// Trust domains of `caCertificates`, which handshakes accept too.
    pub ca_trust_domains: Vec<String>,
    /// `rootNamespace`.
    pub root_namespace: String,
    /// `pathNormalization.normalization`.
    pub normalization: Normalization,
    /// `enableAutoMtls`.
    pub auto_mtls: bool,
    /// `extensionProviders` that are external authorizers, by name.
    pub providers: Vec<(String, ProviderKind)>,
    /// Formats of access logs: `accessLogFormat`, and those of `extensionProviders` that write files.
    pub access_log_formats: Vec<Value>,
    /// `discoverySelectors`: namespaces that istiod reads; all where empty.
    pub discovery_selectors: Vec<Value>,
    /// `outboundTrafficPolicy`.
    pub outbound: Outbound,
    /// `defaultServiceExportTo`; everywhere where empty.
    pub default_service_export_to: Vec<String>,
    /// `defaultDestinationRuleExportTo`; everywhere where empty.
    pub default_destination_rule_export_to: Vec<String>,
    /// `defaultVirtualServiceExportTo`; everywhere where empty.
    pub default_virtual_service_export_to: Vec<String>,
    /// `defaultHttpRetryPolicy`; Envoy's two retries where absent.
    pub default_retries: Option<Value>,
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            is_known: false,
            revision: None,
            trust_domains: TrustDomains::default(),
            ca_trust_domains: Vec::new(),
            root_namespace: "istio-system".to_owned(),
            normalization: Normalization::Base,
            auto_mtls: true,
            providers: Vec::new(),
            access_log_formats: Vec::new(),
            discovery_selectors: Vec::new(),
            outbound: Outbound::AllowAny,
            default_service_export_to: Vec::new(),
            default_destination_rule_export_to: Vec::new(),
            default_virtual_service_export_to: Vec::new(),
            default_retries: None,
        }
    }
}

impl MeshConfig {
    /// Reads the value of the key `mesh`; what is absent has Istio's default.
    #[must_use]
    pub fn read(mesh: &Value) -> Self {
        let text = |name: &str| mesh.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let default = Self::default();
        let providers = list(mesh.get("extensionProviders"))
            .iter()
            .filter_map(|provider| {
                let kind = if provider.get("envoyExtAuthzGrpc").is_some() {
                    ProviderKind::Grpc
                } else if provider.get("envoyExtAuthzHttp").is_some() {
                    ProviderKind::Http
                } else {
                    return None;
                };
                Some((provider.get("name")?.as_str()?.to_owned(), kind))
            })
            .collect();
        Self {
            is_known: true,
            revision: None,
            trust_domains: TrustDomains::new(
                text("trustDomain").unwrap_or("cluster.local"),
                strings(mesh.get("trustDomainAliases")),
            ),
            ca_trust_domains: list(mesh.get("caCertificates"))
                .iter()
                .flat_map(|certificate| strings(certificate.get("trustDomains")))
                .collect(),
            root_namespace: text("rootNamespace").unwrap_or(&default.root_namespace).to_owned(),
            normalization: mesh
                .pointer("/pathNormalization/normalization")
                .and_then(Value::as_str)
                .and_then(Normalization::parse)
                .unwrap_or_default(),
            auto_mtls: mesh.get("enableAutoMtls").and_then(Value::as_bool).unwrap_or(true),
            providers,
            access_log_formats: list(mesh.get("extensionProviders"))
                .iter()
                .filter_map(|provider| provider.pointer("/envoyFileAccessLog/logFormat"))
                .filter_map(|format| format.get("text").or_else(|| format.get("labels")))
                .chain(mesh.get("accessLogFormat"))
                .filter(|format| format.as_str() != Some(""))
                .cloned()
                .collect(),
            discovery_selectors: list(mesh.get("discoverySelectors")).to_vec(),
            outbound: Outbound::read(mesh.get("outboundTrafficPolicy")).unwrap_or_default(),
            default_service_export_to: strings(mesh.get("defaultServiceExportTo")),
            default_destination_rule_export_to: strings(mesh.get("defaultDestinationRuleExportTo")),
            default_virtual_service_export_to: strings(mesh.get("defaultVirtualServiceExportTo")),
            default_retries: mesh.get("defaultHttpRetryPolicy").filter(|policy| !policy.is_null()).cloned(),
        }
    }

    /// Whether a handshake accepts identities of a trust domain (`plugin/authn/util.go`).
    #[must_use]
    pub fn accepts_trust_domain(&self, domain: &str) -> bool {
        self.trust_domains.iter().any(|own| own == domain)
            || self.ca_trust_domains.iter().any(|own| own == domain)
    }
}

/// The items of a JSON list; none where it is anything else.
pub(crate) fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The strings of a JSON list.
pub(crate) fn strings(value: Option<&Value>) -> Vec<String> {
    list(value).iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}
