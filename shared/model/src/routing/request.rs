//! Requests, and whether a route takes them, as Envoy decides it.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::virtual_service::{HttpMatch, StringMatch};

/// A request, or a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// What is spoken.
    pub speaks: Protocol,
    /// The host that the caller asks for: what its resolver gets, and the Host header where none is given.
    pub host: String,
    /// The port that the caller asks for.
    pub port: u16,
    /// The method.
    pub method: String,
    /// The path, with its query.
    pub path: String,
    /// The headers; `host` takes the place of the URL's.
    pub headers: Vec<(String, String)>,
    /// The server name of TLS; the host where absent.
    pub server_name: Option<String>,
    /// The address that the caller connects to; what its resolver says where absent.
    pub address: Option<IpAddr>,
}

/// What a request is carried by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP in plaintext, as far as the caller's proxy sees it.
    #[default]
    Http,
    /// TLS that the caller begins itself.
    Tls,
    /// Any other bytes.
    Tcp,
}

impl Request {
    /// The Host header.
    #[must_use]
    pub fn authority(&self) -> Cow<'_, str> {
        let given = self.headers.iter().find(|(name, _)| is_host(name)).map(|(_, value)| value.as_str());
        match given {
            Some(given) => Cow::Borrowed(given),
            None if self.port == 80 => Cow::Borrowed(&self.host),
            None => Cow::Owned(format!("{}:{}", self.host, self.port)),
        }
    }

    /// The Host header without its port, by which virtual hosts are chosen (`ignore_port_in_host_matching`).
    #[must_use]
    pub fn domain(&self) -> String {
        let authority = self.authority();
        let bare = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !port.is_empty() => host,
            _ => &authority,
        };
        bare.to_ascii_lowercase()
    }

    /// The path without query and fragment, by which routes are chosen.
    #[must_use]
    pub fn bare_path(&self) -> &str {
        let end = self.path.find(['?', '#']).unwrap_or(self.path.len());
        self.path.get(..end).unwrap_or_default()
    }

    /// The scheme: of routes within TLS, which only a gateway has, it is `https`.
    fn scheme(&self) -> &'static str {
        if self.speaks == Protocol::Tls { "https" } else { "http" }
    }

    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        if is_host(name) {
            return Some(self.authority());
        }
        match name {
            ":method" => return Some(Cow::Borrowed(&self.method)),
            ":path" => return Some(Cow::Borrowed(&self.path)),
            ":scheme" => return Some(Cow::Borrowed(self.scheme())),
            _ => {}
        }
        let mut values =
            self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let first = values.next()?;
        let mut joined = Cow::Borrowed(first.as_str());
        for value in values {
            joined = Cow::Owned(format!("{joined},{value}"));
        }
        Some(joined)
    }

    fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.path.split_once('?')?;
        let query = query.split('#').next().unwrap_or_default();
        query.split('&').find_map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (key == name).then_some(value)
        })
    }

    /// Whether a match takes it. What the match asks of the caller is decided already.
    #[must_use]
    pub fn fits(&self, matches: &HttpMatch) -> bool {
        let text = |matches: &StringMatch, text: &str| matches.fits(text, false);
        matches.uri.as_ref().is_none_or(|uri| uri.fits(self.bare_path(), matches.ignore_case))
            && matches.method.as_ref().is_none_or(|method| text(method, &self.method))
            && matches.authority.as_ref().is_none_or(|authority| text(authority, &self.authority()))
            && matches.scheme.as_ref().is_none_or(|scheme| text(scheme, self.scheme()))
            && matches
                .headers
                .iter()
                .all(|(name, wanted)| self.header(name).is_some_and(|value| text(wanted, &value)))
            && matches.without_headers.iter().all(|(name, unwanted)| match self.header(name) {
                Some(value) => !text(unwanted, &value),
                // An absent header counts as empty, unless its presence is what is unwanted.
                None => *unwanted == StringMatch::Present || !text(unwanted, ""),
            })
            && matches
                .query
                .iter()
                .all(|(name, wanted)| self.query(name).is_some_and(|value| text(wanted, value)))
    }
}

fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name == ":authority"
}

impl StringMatch {
    /// Whether a text is matched. Case is ignored by exact and prefix matches only.
    #[must_use]
    pub fn fits(&self, text: &str, ignore_case: bool) -> bool {
        let same = |one: &str, other: &str| {
            if ignore_case { one.eq_ignore_ascii_case(other) } else { one == other }
        };
        match self {
            Self::Exact(exact) => same(exact, text),
            Self::Prefix(prefix) => text.get(..prefix.len()).is_some_and(|start| same(prefix, start)),
            // A regex that RE2 would refuse matches nothing here; a proxy refuses the whole update.
            Self::Regex(regex) => {
                regex::Regex::new(&format!("^(?:{regex})$")).is_ok_and(|regex| regex.is_match(text))
            }
            Self::Present => true,
        }
    }
}
