//! The access log of a proxy: what its lines say, which of them are denials, and whose.
//!
//! A line is foreign input: clients choose paths, hosts and header values. What a line does not say for
//! sure is [`Fact::Unknown`].

pub mod cause;
pub mod explain;
pub mod format;
pub mod frame;
pub mod json;
pub mod lines;
pub mod summary;
#[cfg(test)]
mod tests;
pub mod text;

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use crate::authorization::request::Fact;
use crate::mesh_config::MeshConfig;

use cause::Matched;
use format::Format;
use frame::Frame;

/// What a field of an access log is about. Envoy's operators and Istio's JSON keys for each are in
/// [`format`](mod@format).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// When the request began.
    Time,
    /// The method.
    Method,
    /// The path with its query, after the proxy normalized it.
    Path,
    /// The version of HTTP.
    Protocol,
    /// The status; 0 without HTTP.
    Code,
    /// Envoy's short words for what went wrong.
    Flags,
    /// Who gave the response its status, and why.
    Details,
    /// Why a connection was ended.
    Termination,
    /// What was wrong with TLS towards the upstream.
    Failure,
    /// `:authority`.
    Host,
    /// `X-Forwarded-For`.
    ForwardedFor,
    /// The address that got the request.
    UpstreamHost,
    /// The cluster that the request was routed to.
    Cluster,
    /// The address from which the proxy sent the request on: where it went out, the pod's own.
    UpstreamLocal,
    /// The address that the client connected to.
    Local,
    /// The client's address as far as it is trusted: by `X-Forwarded-For` if there is one, and then with
    /// port 0 (measured: `plugins/authz/tests/fixtures/access-log`).
    Remote,
    /// The address of the direct peer.
    DirectRemote,
    /// The server name of the handshake.
    ServerName,
    /// The identities in the client's certificate.
    Peer,
    /// `X-Forwarded-Client-Cert`.
    Certificate,
}

/// How many fields there are.
const FIELDS: usize = Field::Certificate as usize + 1;

/// What a proxy writes where there is nothing.
const NOTHING: &str = "-";

/// A line of an access log, as far as its format has what we know. Only what the log says: nothing is
/// looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry<'a> {
    values: [Option<Cow<'a, str>>; FIELDS],
}

impl<'a> Entry<'a> {
    /// Puts a value; the proxy's `-` for nothing.
    pub fn set(&mut self, field: Field, value: Cow<'a, str>) {
        if let Some(slot) = self.values.get_mut(field as usize) {
            *slot = Some(value);
        }
    }

    /// The value of a field: absent if the log says that there is none, unknown if it says nothing.
    #[must_use]
    pub fn get(&self, field: Field) -> Fact<&str> {
        match self.values.get(field as usize).and_then(Option::as_deref) {
            None => Fact::Unknown,
            Some("" | NOTHING) => Fact::Absent,
            Some(value) => Fact::Known(value),
        }
    }

    /// The value of a field, if there is one.
    #[must_use]
    pub fn text(&self, field: Field) -> Option<&str> {
        self.get(field).known().copied()
    }

    /// The status.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        self.text(Field::Code)?.parse().ok()
    }

    /// An address with its port.
    #[must_use]
    pub fn address(&self, field: Field) -> Option<SocketAddr> {
        self.text(field)?.parse().ok()
    }

    /// The address of the direct peer. Behind `X-Forwarded-For` the log's remote address, which then has
    /// no port, is somebody else's.
    #[must_use]
    pub fn peer_address(&self) -> Option<IpAddr> {
        let direct = self.address(Field::DirectRemote);
        let remote = || self.address(Field::Remote).filter(|remote| remote.port() != 0);
        direct.or_else(remote).map(|address| address.ip())
    }

    /// Which way the request went through its proxy.
    #[must_use]
    pub fn direction(&self) -> Direction {
        // Names of clusters: `BuildInboundSubsetKey`, `BuildSubsetKey` and the passthrough clusters of
        // pilot/pkg/model and pilot/pkg/util.
        match self.text(Field::Cluster) {
            Some(cluster) if cluster.starts_with("inbound|") || cluster.starts_with("InboundPassthrough") => {
                Direction::Inbound
            }
            Some(cluster)
                if cluster.starts_with("outbound|")
                    || cluster.starts_with("outbound_.")
                    || cluster.starts_with("PassthroughCluster")
                    || cluster.starts_with("BlackHoleCluster") =>
            {
                Direction::Outbound
            }
            _ => Direction::Unknown,
        }
    }

    /// The workload's port: of its cluster, else of the address that the client connected to.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        let inbound = self.text(Field::Cluster).and_then(|cluster| cluster.strip_prefix("inbound|"));
        inbound
            .and_then(|rest| rest.split('|').next()?.parse().ok())
            .or_else(|| Some(self.address(Field::Local)?.port()))
            .filter(|port| *port != 0)
    }

    /// The same with values of its own.
    #[must_use]
    pub fn into_owned(self) -> Entry<'static> {
        Entry { values: self.values.map(|value| value.map(|value| Cow::Owned(value.into_owned()))) }
    }
}

/// Which way a request goes through a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the application beside the proxy.
    Inbound,
    /// To somebody else.
    Outbound,
    /// The log does not say.
    Unknown,
}

/// What a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and nearly always the large one")]
pub enum Line<'a> {
    /// A line of the access log.
    Access(Entry<'a>),
    /// A decision in the words of the proxy's rbac filter, at debug level.
    Decision {
        /// Whether it is of the rules of a dry run.
        shadow: bool,
        /// The rule.
        matched: Matched,
    },
    /// Anything else that a proxy or its agent writes.
    Own,
    /// None of these.
    Unreadable,
}

/// Reads the lines of a mesh.
#[derive(Clone, Debug)]
pub struct Reader {
    formats: Vec<Format>,
}

impl Reader {
    /// A reader of Istio's own formats and those of the mesh configuration.
    #[must_use]
    pub fn new(mesh: &MeshConfig) -> Self {
        let own = mesh.access_log_formats.iter().filter_map(Format::read);
        Self { formats: own.chain([Format::istio_text(), Format::istio_json()]).collect() }
    }

    /// Reads a line; with the name of the pod where the line says it.
    #[must_use]
    pub fn read<'a>(&self, line: &'a str) -> (Option<&'a str>, Line<'a>) {
        let Frame { pod, line } = Frame::of(line);
        let entry = self.formats.iter().find_map(|format| format.entry(line));
        (pod, entry.map_or_else(|| frame::own(line), Line::Access))
    }
}
