//! The address of a Prometheus, as the user gives it.

use percent_encoding::percent_decode_str;
use std::fmt;
use std::str::FromStr;

use http::Uri;

/// `--prometheus-url`: `http://` or `https://`, a host, perhaps a port and a path, perhaps `USER:PASSWORD@`.
///
/// The password is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Without user and password.
    pub(crate) url: Uri,
    /// User and password.
    pub(crate) login: Option<(String, String)>,
}

impl FromStr for Address {
    type Err = String;

    /// Reads an address. The error says what is wrong, without repeating the address: a password may be in it.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "write it as http://HOST:PORT or https://HOST/PATH";
        let (scheme, rest) = text.split_once("://").ok_or(expected)?;
        if !matches!(scheme, "http" | "https") {
            return Err(expected.into());
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if path.contains(['?', '#']) {
            return Err("a query or a fragment has no place in it".into());
        }
        let (login, host) = match authority.rsplit_once('@') {
            Some((login, host)) => (Some(login), host),
            None => (None, authority),
        };
        let url = format!("{scheme}://{host}{}", if path.is_empty() { "/" } else { path });
        let url: Uri = url.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
        if url.host().is_none_or(str::is_empty) {
            return Err(expected.into());
        }
        let login = login.map(|login| {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            (decoded(user), decoded(password))
        });
        Ok(Self { url, login })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

/// Shows everything but the password, which must not reach a log.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let login = self.login.as_ref().map(|(user, _)| format!("{user}:***"));
        f.debug_struct("Address").field("url", &self.url).field("login", &login).finish()
    }
}

/// Undoes percent-encoding; what is none stays as it is.
fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_urls() {
        let address: Address = "https://me:p%40ss:w@prom.example:9090/mesh/".parse().unwrap();
        assert_eq!(address.to_string(), "https://prom.example:9090/mesh/");
        assert_eq!(address.login, Some(("me".into(), "p@ss:w".into())));
        assert!(!format!("{address:?}").contains("ss:w"));
        assert_eq!("http://h".parse::<Address>().unwrap().to_string(), "http://h/");
        for bad in ["", "prometheus:9090", "ftp://h", "http://", "http:///x", "http://h?x=1", "http://a b"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
        let error = "http://me:secret@a b".parse::<Address>().unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn only_codes_are_decoded() {
        assert_eq!(decoded("a%2fb%zz%4"), "a/b%zz%4");
    }
}
