//! The access log of one sidecar, in Istio's two formats.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::random::Random;

/// Writes a log of so many lines. One line in ten is a denial: mostly that no rule matched, of many callers
/// on many paths.
///
/// # Errors
/// Fails if the file cannot be written.
pub fn write(path: &Path, lines: usize, json: bool) -> io::Result<()> {
    let mut random = Random::new(7);
    let mut file = BufWriter::new(File::create(path)?);
    for number in 0..lines {
        let method = random.pick(&["GET", "POST", "PUT", "DELETE"]);
        let (path, caller) = (random.below(5_000), random.below(250));
        let (code, details) = match random.below(10) {
            0 => (403, "rbac_access_denied_matched_policy[none]"),
            1 => (403, "via_upstream"),
            _ => (200, "via_upstream"),
        };
        let time = format!(
            "2026-01-01T{:02}:{:02}:{:02}.{:03}Z",
            number / 3_600_000 % 24,
            number / 60_000 % 60,
            number / 1_000 % 60,
            number % 1_000
        );
        let name = "outbound_.80_._.service-7.team-7.svc.cluster.local";
        if json {
            writeln!(
                file,
                r#"{{"authority":"service-7","bytes_received":0,"bytes_sent":19,"connection_termination_details":null,"downstream_local_address":"10.0.0.7:8080","downstream_remote_address":"10.0.1.{caller}:40000","duration":1,"method":"{method}","path":"/items/{path}?page=1","protocol":"HTTP/1.1","request_id":"21b758d8-26f9-49fd-a0a6-251446fda6f8","requested_server_name":"{name}","response_code":{code},"response_code_details":"{details}","response_flags":"-","route_name":"default","start_time":"{time}","upstream_cluster":"inbound|8080||","upstream_host":"10.0.0.7:8080","upstream_local_address":"127.0.0.6:33590","upstream_service_time":"1","upstream_transport_failure_reason":null,"user_agent":"client/1.0","x_forwarded_for":null}}"#
            )?;
        } else {
            writeln!(
                file,
                r#"[{time}] "{method} /items/{path}?page=1 HTTP/1.1" {code} - {details} - "-" 0 19 1 1 "-" "client/1.0" "21b758d8-26f9-49fd-a0a6-251446fda6f8" "service-7" "10.0.0.7:8080" inbound|8080|| 127.0.0.6:33590 10.0.0.7:8080 10.0.1.{caller}:40000 {name} default"#
            )?;
        }
    }
    file.flush()
}
