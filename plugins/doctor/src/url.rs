//! What a person types for what a caller asks for: a URL, or less of it.

use std::fmt;

use mesh_model::routing::request::Protocol;

/// What a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// What is spoken first.
    pub scheme: Scheme,
    /// The host, in small letters.
    pub host: String,
    /// The port, if one was named.
    pub port: Option<u16>,
    /// The path with its query; `/` where none was named.
    pub path: String,
    /// Whether a path was named.
    pub has_path: bool,
}

/// The schemes that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// `http`, also where none is named.
    Http,
    /// `grpc`: HTTP/2, and always POST.
    Grpc,
    /// `https`: TLS that the caller begins.
    Https,
    /// `tls`: the same with anything within.
    Tls,
    /// `tcp`: any other bytes.
    Tcp,
}

impl Scheme {
    fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "http" => Self::Http,
            "grpc" => Self::Grpc,
            "https" => Self::Https,
            "tls" => Self::Tls,
            "tcp" => Self::Tcp,
            _ => return None,
        })
    }

    /// As it is typed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Https => "https",
            Self::Tls => "tls",
            Self::Tcp => "tcp",
        }
    }

    /// What the caller's proxy sees of it.
    pub(crate) fn speaks(self) -> Protocol {
        match self {
            Self::Http | Self::Grpc => Protocol::Http,
            Self::Https | Self::Tls => Protocol::Tls,
            Self::Tcp => Protocol::Tcp,
        }
    }

    /// The port where none is named.
    pub(crate) fn port(self) -> Option<u16> {
        match self {
            Self::Http | Self::Grpc => Some(80),
            Self::Https | Self::Tls => Some(443),
            Self::Tcp => None,
        }
    }
}

/// Why a text is no URL, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    message: String,
    /// What to write instead.
    pub hint: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

fn mistake<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, Mistake> {
    Err(Mistake { message: message.into(), hint: hint.into() })
}

impl Url {
    /// Reads `http://host:port/path?query`, or less of it.
    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return mistake(format!("URL `{text}` has a space in it"), "write a space in a path as %20");
        }
        let (scheme, rest) = match text.split_once("://") {
            None => (Scheme::Http, text),
            Some((word, rest)) => match Scheme::parse(word) {
                Some(scheme) => (scheme, rest),
                None => {
                    return mistake(
                        format!("URL `{text}` begins with the unknown scheme `{word}`"),
                        "known are http, https, grpc, tls and tcp; without one it is http",
                    );
                }
            },
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return mistake(
                format!("URL `{text}` has a user before its host"),
                "leave it out: proxies do not route by it",
            );
        }
        if authority.starts_with('[') || authority.matches(':').count() > 1 {
            return mistake(
                format!("URL `{text}` names an IPv6 address"),
                "name the host instead: addresses are looked up as the caller's resolver does",
            );
        }
        let (host, port) = match authority.split_once(':') {
            None => (authority, None),
            Some((host, port)) => (host, Some(port_number(text, port)?)),
        };
        if host.is_empty() {
            return mistake(format!("URL `{text}` names no host"), "write it as http://HOST:PORT/PATH");
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if let Some(other) = host.chars().find(|c| !is_name(*c)) {
            return mistake(
                format!("URL `{text}` has `{other}` in its host, which no host has"),
                "write it as http://HOST:PORT/PATH",
            );
        }
        let path = path.split('#').next().unwrap_or_default();
        let has_path = !path.is_empty() && path != "/";
        if has_path && scheme == Scheme::Tcp {
            return mistake(
                format!("URL `{text}` has a path, and a TCP connection has none"),
                "write it as tcp://HOST:PORT, or begin it with http:// or grpc://",
            );
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { scheme, host: host.to_ascii_lowercase(), port, path, has_path })
    }
}

fn port_number(text: &str, port: &str) -> Result<u16, Mistake> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => mistake(format!("URL `{text}` has the port `{port}`"), "ports are numbers from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(scheme: Scheme, host: &str, port: Option<u16>, path: &str) -> Url {
        Url { scheme, host: host.to_owned(), port, path: path.to_owned(), has_path: path != "/" }
    }

    #[test]
    fn whole_urls_and_less() {
        for (text, wanted) in [
            ("payment", url(Scheme::Http, "payment", None, "/")),
            ("Payment.Orders:8080", url(Scheme::Http, "payment.orders", Some(8080), "/")),
            ("payment/api?x=1#top", url(Scheme::Http, "payment", None, "/api?x=1")),
            ("payment?x=1", url(Scheme::Http, "payment", None, "/?x=1")),
            ("http://payment:65535/", url(Scheme::Http, "payment", Some(65535), "/")),
            ("HTTPS://example.com/a", url(Scheme::Https, "example.com", None, "/a")),
            ("grpc://payment:1/p.S/M", url(Scheme::Grpc, "payment", Some(1), "/p.S/M")),
            ("tls://db:5432", url(Scheme::Tls, "db", Some(5432), "/")),
            ("tcp://10.0.0.1:6379", url(Scheme::Tcp, "10.0.0.1", Some(6379), "/")),
        ] {
            assert_eq!(Url::parse(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_url_says_why() {
        for (text, wanted) in [
            ("", "names no host"),
            ("http://", "names no host"),
            ("http://:80/x", "names no host"),
            ("ftp://payment", "unknown scheme `ftp`"),
            ("://payment", "unknown scheme ``"),
            ("payment:0", "the port `0`"),
            ("payment:70000", "the port `70000`"),
            ("payment:", "the port ``"),
            ("payment:+80", "the port `+80`"),
            ("payment:http", "the port `http`"),
            ("[::1]:80", "IPv6"),
            ("::1", "IPv6"),
            ("http://[fe80::1]/", "IPv6"),
            ("pay ment", "a space"),
            ("payment/a b", "a space"),
            ("me@payment", "a user"),
            ("payment*", "`*` in its host"),
            ("tcp://payment:1/x", "a path"),
        ] {
            let mistake = Url::parse(text).unwrap_err();
            assert!(mistake.to_string().contains(wanted), "{text}: {mistake}");
            assert!(!mistake.hint.is_empty(), "{text}");
        }
    }
}
