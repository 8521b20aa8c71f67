//! Which filter chain of a listener takes a connection.
//!
//! Envoy goes from one criterion to the next, each time to the chains that name the connection's value,
//! else to those that name none, and never back (`filter_chain_manager_impl.cc`). Istio's inbound chains
//! name the port, whether there is TLS, and its protocols (`filterchain_options.go`). What a connection is,
//! the listener's inspectors say; istiod switches them off on ports where no chain asks, and there TLS goes
//! where plaintext goes (`populateListenerFilters`).

use serde_json::Value;

use crate::authorization::compile::Protocol;
use crate::authorization::connection::Presents;
use crate::mesh_config::list;

/// A connection as the listener's inspectors see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    /// The workload's port.
    pub(super) port: u16,
    /// Whether it begins with a TLS handshake.
    pub(super) tls: bool,
    protocols: &'static [&'static str],
}

impl Connection {
    /// The connection of a client; `None` where none leaves it.
    pub(super) fn new(port: u16, presents: &Presents, speaks: Protocol) -> Option<Self> {
        let (tls, protocols): (bool, &[&str]) = match (presents, speaks) {
            (Presents::Nothing, _) => return None,
            // As `istio.alpn` writes them, and as istiod sets them on clusters.
            (Presents::Identity(_), Protocol::Http) => (true, &["istio-http/1.1", "istio", "http/1.1"]),
            (Presents::Identity(_), Protocol::Tcp) => (true, &["istio-peer-exchange", "istio"]),
            (Presents::ForeignTls, _) => (true, &[]),
            (Presents::Plaintext, Protocol::Http) => (false, &["http/1.1"]),
            (Presents::Plaintext, Protocol::Tcp) => (false, &[]),
        };
        Some(Self { port, tls, protocols })
    }
}

/// The chain that takes a connection; `None` where the listener closes it.
///
/// # Errors
/// A criterion of the chains that cannot be told of the connection.
pub(super) fn chain(listener: &Value, connection: Connection) -> Result<Option<&Value>, String> {
    let all: Vec<&Value> = list(listener.get("filter_chains")).iter().collect();
    let text = |chain: &Value, field: &str| {
        chain.pointer(&format!("/filter_chain_match/{field}")).and_then(Value::as_str).map(str::to_owned)
    };
    let port = |chain: &Value| chain.pointer("/filter_chain_match/destination_port").and_then(Value::as_u64);
    let of_port = narrowed(all, port, &u64::from(connection.port));
    for chain in &of_port {
        if let Some(criterion) = unknown_criterion(chain) {
            return Err(format!("a filter chain for `{criterion}`"));
        }
    }
    let seen_as_tls = connection.tls && inspects(listener, "TlsInspector", connection.port)?;
    let seen_as_http = !connection.tls && inspects(listener, "HttpInspector", connection.port)?;
    let transport = if seen_as_tls { "tls" } else { "raw_buffer" };
    let of_transport = narrowed(of_port, |chain| text(chain, "transport_protocol"), &transport.to_owned());
    let protocols = |chain: &Value| -> Vec<String> {
        crate::mesh_config::strings(chain.pointer("/filter_chain_match/application_protocols"))
    };
    let seen = if seen_as_tls || seen_as_http { connection.protocols } else { &[] };
    let wanted = seen.iter().find_map(|protocol| {
        of_transport.iter().find(|chain| protocols(chain).iter().any(|known| known == protocol))
    });
    let found = wanted.or_else(|| of_transport.iter().find(|chain| protocols(chain).is_empty()));
    Ok(match found {
        Some(chain) => Some(*chain),
        None => listener.get("default_filter_chain"),
    })
}

/// Whether an inspector looks at connections to a port.
fn inspects(listener: &Value, inspector: &str, port: u16) -> Result<bool, String> {
    let kind = |filter: &Value| {
        filter
            .pointer("/typed_config/@type")
            .and_then(Value::as_str)
            .map(|url| url.rsplit('.').next() == Some(inspector))
    };
    let mut found = list(listener.get("listener_filters")).iter().filter(|filter| kind(filter) == Some(true));
    let Some(filter) = found.next() else { return Ok(false) };
    match filter.get("filter_disabled") {
        None => Ok(true),
        Some(predicate) => match holds(predicate, port) {
            Some(disabled) => Ok(!disabled),
            None => Err(format!("where {inspector} is switched off")),
        },
    }
}

/// `envoy.config.listener.v3.ListenerFilterChainMatchPredicate` for a port, as far as istiod uses it.
fn holds(predicate: &Value, port: u16) -> Option<bool> {
    let rules = |pointer: &str| predicate.pointer(pointer).map(|rules| list(Some(rules)));
    if predicate.get("any_match").and_then(Value::as_bool) == Some(true) {
        Some(true)
    } else if let Some(inner) = predicate.get("not_match") {
        holds(inner, port).map(|holds| !holds)
    } else if let Some(rules) = rules("/or_match/rules") {
        rules.iter().map(|rule| holds(rule, port)).try_fold(false, |any, holds| Some(any | holds?))
    } else if let Some(rules) = rules("/and_match/rules") {
        rules.iter().map(|rule| holds(rule, port)).try_fold(true, |all, holds| Some(all & holds?))
    } else {
        let range = predicate.get("destination_port_range")?;
        // The end is not in it, and 0 is not printed.
        let bound = |name: &str| range.get(name).map_or(Some(0), Value::as_u64);
        Some((bound("start")?..bound("end")?).contains(&u64::from(port)))
    }
}

/// The chains that name this value, else those that name none.
fn narrowed<'a, T: PartialEq>(
    chains: Vec<&'a Value>,
    named: impl Fn(&Value) -> Option<T>,
    value: &T,
) -> Vec<&'a Value> {
    let exact = |chain: &&Value| named(chain).as_ref() == Some(value);
    let open = |chain: &&Value| named(chain).is_none();
    if chains.iter().any(exact) {
        chains.into_iter().filter(exact).collect()
    } else {
        chains.into_iter().filter(open).collect()
    }
}

/// A criterion beyond port, transport and protocols.
fn unknown_criterion(chain: &Value) -> Option<&str> {
    let known = ["destination_port", "transport_protocol", "application_protocols"];
    let fields = chain.get("filter_chain_match").and_then(Value::as_object);
    fields.into_iter().flatten().map(|(field, _)| field.as_str()).find(|field| !known.contains(field))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A workload with a declared HTTP port 8080 and everything else passed through, mode PERMISSIVE.
    fn listener() -> Value {
        let chain = |name: &str, port: Option<u16>, transport: &str, protocols: &[&str]| {
            json!({"name": name, "filter_chain_match": {
                "destination_port": port, "transport_protocol": transport, "application_protocols": protocols,
            }})
        };
        let http = ["istio-http/1.0", "istio-http/1.1", "istio-h2"];
        let inspector = |name: &str, off: &[u16]| {
            let ranges: Vec<Value> = off
                .iter()
                .map(|port| json!({"destination_port_range": {"start": port, "end": port + 1}}))
                .collect();
            let disabled = json!({"or_match": {"rules": ranges}});
            json!({"typed_config": {"@type": format!("type/envoy.x.v3.{name}")}, "filter_disabled": disabled})
        };
        json!({"listener_filters": [
            inspector("TlsInspector", &[15006, 7072]), inspector("HttpInspector", &[15006, 8080]),
        ], "filter_chains": [
            {"name": "blackhole", "filter_chain_match": {"destination_port": 15006}},
            chain("any-mtls-http", None, "tls", &http),
            chain("any-http", None, "raw_buffer", &["http/1.1", "h2c"]),
            chain("any-mtls", None, "tls", &["istio-peer-exchange", "istio"]),
            chain("any-plain", None, "raw_buffer", &[]),
            chain("any-tls", None, "tls", &[]),
            chain("8080-mtls", Some(8080), "tls", &["istio", "istio-peer-exchange", "istio-http/1.1"]),
            chain("8080-plain", Some(8080), "raw_buffer", &[]),
            chain("7072-http", Some(7072), "raw_buffer", &["http/1.1", "h2c"]),
            chain("7072-plain", Some(7072), "raw_buffer", &[]),
        ]})
    }

    #[test]
    fn connections_go_where_envoy_puts_them() {
        let identity = Presents::Identity("td/ns/a/sa/b".to_owned());
        let listener = listener();
        for (port, presents, speaks, expected) in [
            (8080, &identity, Protocol::Http, Some("8080-mtls")),
            (8080, &Presents::Plaintext, Protocol::Http, Some("8080-plain")),
            (8080, &Presents::ForeignTls, Protocol::Http, None),
            (9090, &identity, Protocol::Http, Some("any-mtls-http")),
            (9090, &identity, Protocol::Tcp, Some("any-mtls")),
            (9090, &Presents::Plaintext, Protocol::Http, Some("any-http")),
            (9090, &Presents::Plaintext, Protocol::Tcp, Some("any-plain")),
            (9090, &Presents::ForeignTls, Protocol::Tcp, Some("any-tls")),
            // Mutual TLS is off here, and nobody looks for TLS.
            (7072, &Presents::Plaintext, Protocol::Http, Some("7072-http")),
            (7072, &Presents::ForeignTls, Protocol::Tcp, Some("7072-plain")),
            (15006, &Presents::Plaintext, Protocol::Tcp, Some("blackhole")),
        ] {
            let connection = Connection::new(port, presents, speaks).unwrap();
            let found = chain(&listener, connection).unwrap().map(|chain| chain["name"].as_str().unwrap());
            assert_eq!(found, expected, "{port} {presents:?} {speaks:?}");
        }
        assert!(Connection::new(1, &Presents::Nothing, Protocol::Tcp).is_none());
    }

    #[test]
    fn a_criterion_that_cannot_be_told_is_not_guessed() {
        let connection = Connection::new(1, &Presents::Plaintext, Protocol::Tcp).unwrap();
        let listener = json!({"filter_chains": [{"filter_chain_match": {"server_names": ["a"]}}]});
        assert_eq!(chain(&listener, connection), Err("a filter chain for `server_names`".to_owned()));
        let listener = json!({"listener_filters": [{
            "typed_config": {"@type": "type/envoy.x.v3.HttpInspector"},
            "filter_disabled": {"destination_port_range": {"start": "all"}},
        }]});
        assert_eq!(chain(&listener, connection), Err("where HttpInspector is switched off".to_owned()));
    }
}
