//! What a Service port says about its protocol.
//!
//! Rules: `ConvertProtocol` in `pkg/config/kube/conversion.go`, `Parse` in `pkg/config/protocol`, and
//! `ModelProtocolToListenerProtocol` in `pilot/pkg/networking`.

/// How a sidecar listens on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortProtocol {
    /// Always HTTP.
    Http,
    /// Always TCP; TLS passes through.
    Tcp,
    /// HTTP or TCP, by what the connection begins with.
    Sniffed,
    /// UDP: no listener.
    Udp,
}

impl PortProtocol {
    /// The protocol of a Service port, and where it comes from.
    #[must_use]
    pub fn of_service_port(
        port: u16,
        name: &str,
        transport: &str,
        app_protocol: Option<&str>,
    ) -> (Self, String) {
        if transport == "UDP" {
            return (Self::Udp, "protocol UDP".to_owned());
        }
        let source = match app_protocol {
            Some(app) => format!("appProtocol `{app}`"),
            None if name.is_empty() => "the port has neither a name nor appProtocol".to_owned(),
            None => format!("port name `{name}`"),
        };
        match app_protocol {
            Some("kubernetes.io/h2c" | "kubernetes.io/ws") => return (Self::Http, source),
            Some("kubernetes.io/wss") => return (Self::Tcp, source),
            _ => {}
        }
        let word = app_protocol.unwrap_or(name);
        let starts_grpc_web = word.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("grpc-web"));
        if starts_grpc_web {
            return (Self::Http, source);
        }
        let word = word.split_once('-').map_or(word, |(word, _)| word);
        match Self::parse(word) {
            Some(protocol) => (protocol, source),
            None if [25, 53, 3306, 27017].contains(&port) => {
                (Self::Tcp, format!("{source}; {port} is a well-known TCP port"))
            }
            None => (Self::Sniffed, format!("{source} names no protocol")),
        }
    }

    /// A protocol word, as in port names and `Sidecar.ingress[].port.protocol`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "http" | "http2" | "grpc" | "grpc-web" | "http_proxy" => Self::Http,
            "tcp" | "tls" | "https" | "mongo" | "redis" | "mysql" => Self::Tcp,
            "udp" => Self::Udp,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::PortProtocol::{self, Http, Sniffed, Tcp, Udp};

    fn of(port: u16, name: &str, app: Option<&str>) -> PortProtocol {
        PortProtocol::of_service_port(port, name, "TCP", app).0
    }

    #[test]
    fn the_name_up_to_the_first_dash_decides() {
        assert_eq!(of(80, "http", None), Http);
        assert_eq!(of(80, "HTTP-main", None), Http);
        assert_eq!(of(80, "http2-x", None), Http);
        assert_eq!(of(80, "grpc-web-ui", None), Http);
        assert_eq!(of(80, "GRPC-WEBX", None), Http);
        assert_eq!(of(80, "httpfoo", None), Sniffed);
        assert_eq!(of(80, "web", None), Sniffed);
        assert_eq!(of(80, "", None), Sniffed);
        assert_eq!(of(443, "https", None), Tcp);
        assert_eq!(of(6379, "redis", None), Tcp);
    }

    #[test]
    fn app_protocol_wins_and_has_words_of_its_own() {
        assert_eq!(of(80, "tcp", Some("http")), Http);
        assert_eq!(of(80, "http", Some("kubernetes.io/wss")), Tcp);
        assert_eq!(of(80, "tcp", Some("kubernetes.io/h2c")), Http);
        assert_eq!(of(80, "http", Some("example.com/x")), Sniffed);
    }

    #[test]
    fn well_known_ports_and_udp() {
        assert_eq!(of(3306, "db", None), Tcp);
        assert_eq!(of(3306, "http", None), Http);
        assert_eq!(PortProtocol::of_service_port(53, "http", "UDP", None).0, Udp);
    }
}
