//! The proxy on the way to the API server.
//!
//! A `proxy-url` in the kubeconfig is used as it is. Without one, the environment decides, server by
//! server, as in Go's `http.ProxyFromEnvironment`. kube asks `NO_PROXY` about the proxy itself instead
//! of about the server behind it, so its choice is corrected here.

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

use super::Error;

/// Corrects the proxy of a client's configuration. `named` is the kubeconfig's.
pub(crate) fn correct(configuration: &mut kube::Config, named: Option<&str>) -> Result<(), Error> {
    let server = &configuration.cluster_url;
    configuration.proxy_url = match named {
        Some(named) => {
            let reason = |error| format!("proxy-url {named:?}: {error}");
            Some(
                named
                    .parse()
                    .map_err(|error: http::uri::InvalidUri| Error::Configuration { reason: reason(error) })?,
            )
        }
        // kube's value has the password for the proxy, which the matcher takes off.
        None => chosen(&Matcher::from_env(), server).map(|uri| configuration.proxy_url.take().unwrap_or(uri)),
    };
    Ok(())
}

/// The proxy that the environment wants for a server.
fn chosen(matcher: &Matcher, server: &Uri) -> Option<Uri> {
    // Go asks no proxy for the machine it runs on.
    let host = server.host()?.trim_matches(['[', ']']);
    let is_local =
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if is_local { None } else { matcher.intercept(server).map(|intercept| intercept.uri().clone()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_is_about_the_server() {
        let matcher = Matcher::builder().https("http://proxy.corp:3128").no("corp, 10.0.0.0/8").build();
        let chosen = |server: &str| chosen(&matcher, &server.parse().unwrap());
        assert!(chosen("https://api.example.com").is_some());
        for direct in [
            "https://api.corp:6443",
            "https://10.1.2.3",
            "https://localhost:1",
            "https://127.0.0.1:1",
            "https://[::1]:1",
        ] {
            assert_eq!(chosen(direct), None, "{direct}");
        }
    }
}
