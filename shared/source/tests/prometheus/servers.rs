//! A real Prometheus, what it scrapes, and servers that are none.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long a Prometheus may take to come up, on a machine that compiles at the same time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where Debian's package puts it.
const PROGRAM: &str = "/usr/bin/prometheus";

/// A target: what it says when it is scraped, or nothing when it does not answer.
#[derive(Clone, Default)]
pub(crate) struct Target(Arc<Mutex<Option<String>>>);

impl Target {
    /// From now on it has these counters: metric and labels, with the number as it is written.
    pub(crate) fn says(&self, lines: &[(String, &str)]) {
        let mut text = String::new();
        for (series, value) in lines {
            writeln!(text, "{series} {value}").unwrap();
        }
        *self.0.lock().unwrap() = Some(text);
    }

    /// From now on it does not answer.
    pub(crate) fn falls_silent(&self) {
        *self.0.lock().unwrap() = None;
    }

    /// Serves it, and returns its port.
    fn serve(&self) -> u16 {
        let text = Arc::clone(&self.0);
        serve(Ipv4Addr::LOCALHOST.into(), move |_| {
            let text = text.lock().unwrap().clone()?;
            Some(answer("200 OK", "text/plain; version=0.0.4", &text))
        })
    }
}

/// A Prometheus that scrapes one target every second; ends when dropped.
pub(crate) struct Scraper {
    child: Child,
    directory: PathBuf,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
}

impl Scraper {
    /// Starts one on an address; `None`, with a word, where the program is missing.
    #[expect(clippy::print_stderr, reason = "the test harness has no other way to say so")]
    pub(crate) fn start(name: &str, address: IpAddr, target: &Target) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{PROGRAM} is missing");
            eprintln!("skipped: {PROGRAM} is not installed");
            return None;
        }
        let directory = std::env::temp_dir().join(format!("kubectl-mesh-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        let configuration = format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs:\n- job_name: target\n  static_configs: \
             [{{ targets: ['127.0.0.1:{}'] }}]\n",
            target.serve()
        );
        let file = directory.join("prometheus.yml");
        fs::write(&file, configuration).unwrap();
        let port = TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port();
        let child = Command::new(PROGRAM)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address={address}:{port}"))
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let scraper = Self { child, directory, address, port };
        let begun = Instant::now();
        while !scraper.is_ready() {
            assert!(begun.elapsed() < PATIENCE, "Prometheus did not come up");
            thread::sleep(Duration::from_millis(50));
        }
        Some(scraper)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}:{}", self.address, self.port)
    }

    fn is_ready(&self) -> bool {
        let ask = || {
            let mut stream = TcpStream::connect((self.address, self.port))?;
            stream.write_all(b"GET /-/ready HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        };
        ask().is_ok_and(|answer| answer.contains(" 200 "))
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// An address of this machine that others could reach: the API server's proxy refuses loopback.
pub(crate) fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // Nothing is sent; it only chooses the interface.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback())
}

/// An HTTP answer.
pub(crate) fn answer(status: &str, sort: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {sort}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// Serves until the test ends: each request, as it came, gets what `reply` says, or the connection is closed.
pub(crate) fn serve(address: IpAddr, reply: impl Fn(&str) -> Option<String> + Send + 'static) -> u16 {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut piece) {
                    Ok(read) if read > 0 => request.extend_from_slice(&piece[..read]),
                    _ => break,
                }
            }
            if let Some(answer) = reply(&String::from_utf8_lossy(&request)) {
                let _ = stream.write_all(answer.as_bytes());
                // So that the answer is not lost with what was not read of the request.
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                while matches!(stream.read(&mut piece), Ok(read) if read > 0) {}
            }
        }
    });
    port
}
