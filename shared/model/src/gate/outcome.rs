//! Which requests failed, and whom that can be blamed on.

use super::Labels;
use super::versions::label;

/// How a request ended, for the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered, be it with "not found": the version did its work.
    Answered,
    /// Not answered as it should have been.
    Failed {
        /// What an operator looks for: `503 UF`, `gRPC 14`, `no answer`.
        kind: String,
    },
}

/// gRPC codes that are the server's fault, as OpenTelemetry's conventions for a server's spans have it:
/// UNKNOWN, `DEADLINE_EXCEEDED`, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, `DATA_LOSS`. All others (`NOT_FOUND`,
/// `INVALID_ARGUMENT`, CANCELLED, ...) answer a client that asked for the wrong thing or went away, as 4xx
/// does; a canary that answers more of these is a matter for `--query`.
/// <https://opentelemetry.io/docs/specs/semconv/rpc/grpc/>
const GRPC_FAULTS: [u8; 6] = [2, 4, 12, 13, 14, 15];

/// Flags of a request for which the proxy had no route, no cluster or no endpoint: the configuration is
/// wrong, or no pod is ready. One such request is one too many.
const NOWHERE: [&str; 3] = ["NC", "NR", "UH"];

/// How the requests of a series of `istio_requests_total` ended.
///
/// - HTTP: 5xx failed, everything else is an answer.
/// - `response_code="0"`: the client closed the connection before there was any answer (flag DC). It counts as
///   failed. A canary that hangs shows exactly this, and nothing else, when its callers have timeouts.
///   Impatient users do it as well, on both versions alike, and show in stable's count beside it. A stream
///   that was cut after it began has the code that it began with.
/// - gRPC, where `grpc_response_status` is there: the faults of a server failed. HTTP says 200 then.
/// - Without route, cluster or endpoint (flags NR, NC, UH) it failed, also with 404.
///
/// # Errors
/// The label and its value, where that is no code at all: then nobody knows, and nothing is guessed.
pub fn outcome(labels: &Labels) -> Result<Outcome, (&'static str, String)> {
    let code = label(labels, "response_code");
    let status = label(labels, "grpc_response_status");
    let flags = flags(labels);
    let unreadable = |name| (name, label(labels, name).to_owned());
    let code: u16 = code.parse().map_err(|_| unreadable("response_code"))?;
    if code > 599 {
        return Err(unreadable("response_code"));
    }
    let grpc: Option<u8> = match status {
        "" => None,
        status => Some(status.parse().map_err(|_| unreadable("grpc_response_status"))?),
    };
    let kind = if code == 0 {
        "no answer".to_owned()
    } else if code >= 500 || is_nowhere(labels) {
        code.to_string()
    } else if let Some(status) = grpc.filter(|status| GRPC_FAULTS.contains(status)) {
        format!("gRPC {status}")
    } else {
        return Ok(Outcome::Answered);
    };
    Ok(Outcome::Failed { kind: if flags.is_empty() { kind } else { format!("{kind} {flags}") } })
}

/// Whether the proxy had nowhere to send the request.
#[must_use]
pub fn is_nowhere(labels: &Labels) -> bool {
    flags(labels).split(',').any(|flag| NOWHERE.contains(&flag))
}

/// Whether the request went to nobody that is known: no version can be blamed for it.
#[must_use]
pub fn has_no_destination(labels: &Labels) -> bool {
    matches!(label(labels, "destination_workload"), "" | "unknown")
        && matches!(label(labels, "destination_version"), "" | "unknown")
}

/// The response flags; Envoy writes a dash for none.
fn flags(labels: &Labels) -> &str {
    match label(labels, "response_flags") {
        "-" => "",
        flags => flags,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: &str, grpc: &str, flags: &str) -> Result<Outcome, (&'static str, String)> {
        let labels = [("response_code", code), ("grpc_response_status", grpc), ("response_flags", flags)];
        outcome(&labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    fn failed(kind: &str) -> Result<Outcome, (&'static str, String)> {
        Ok(Outcome::Failed { kind: kind.to_owned() })
    }

    #[test]
    fn http_fails_with_5xx_and_without_an_answer() {
        for code in ["101", "200", "301", "404", "429", "499"] {
            assert_eq!(of(code, "", "-"), Ok(Outcome::Answered), "{code}");
        }
        assert_eq!(of("500", "", "-"), failed("500"));
        assert_eq!(of("503", "", "URX,UF"), failed("503 URX,UF"));
        assert_eq!(of("0", "", "DC"), failed("no answer DC"));
        assert_eq!(of("200", "", "DC"), Ok(Outcome::Answered));
        assert_eq!(of("404", "", "NR"), failed("404 NR"));
    }

    #[test]
    fn grpc_fails_by_the_servers_fault() {
        for status in ["0", "1", "3", "5", "7", "8", "10", "16"] {
            assert_eq!(of("200", status, "-"), Ok(Outcome::Answered), "{status}");
        }
        for status in ["2", "4", "12", "13", "14", "15"] {
            assert_eq!(of("200", status, "-"), failed(&format!("gRPC {status}")));
        }
        assert_eq!(of("503", "14", "UF"), failed("503 UF"));
    }

    #[test]
    fn what_is_no_code_is_not_guessed() {
        assert_eq!(of("", "", ""), Err(("response_code", String::new())));
        assert_eq!(of("5xx", "", ""), Err(("response_code", "5xx".into())));
        assert_eq!(of("700", "", ""), Err(("response_code", "700".into())));
        assert_eq!(of("200", "OK", ""), Err(("grpc_response_status", "OK".into())));
    }
}
