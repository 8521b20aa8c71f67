//! Measures the suite and prints the tables of docs/performance.md.
//!
//! ```text
//! measure report BINARY                 all figures, as Markdown
//! measure guard BINARY                  only what must never be lost, with generous limits
//! measure decide                        the decision alone
//! measure phases DIRECTORY TARGET       where the time of `who-can` goes
//! measure shift [SERVICES]              what a shift of traffic looks at
//! measure log FILE                      writes an access log of a million lines
//! measure world DIRECTORY [N/D]         writes the World, or a part or multiple of it
//! ```
//!
//! BINARY is the `kubectl-mesh_authz` to measure.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs, io};

use mesh_bench::process::{Cost, cost};
use mesh_bench::shape::Shape;
use mesh_bench::{access_log, decide, shift};
use mesh_model::authorization::evaluator::Evaluator;
use mesh_model::question::target::{Scope, find};
use mesh_model::question::who_can::who_can;
use mesh_model::world::{Snapshot, World};
use mesh_source::manifests::{self, Manifests};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Cases of `test` in the World of full size.
const CASES: usize = 100_000;

/// Services of the mesh in which a shift is planned.
const SERVICES: usize = 1_000;

/// Lines of an access log.
const LINES: usize = 1_000_000;

/// Whom all measurements of `who-can` ask about.
const TARGET: &str = "service-7.team-7";

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut out = io::stdout();
    match arguments.as_slice() {
        ["report", binary] => out.write_all(report(binary)?.as_bytes())?,
        ["guard", binary] => return guard(binary),
        ["decide"] => {
            let rate = decide::rate(Duration::from_secs(3))?;
            writeln!(out, "{:.0} requests a second, {} % let through", rate.a_second, rate.let_through)?;
        }
        ["phases", directory, target] => writeln!(out, "{:?}", Phases::of(directory, target)?)?,
        ["shift"] => writeln!(out, "{:?}", planning(SERVICES)?)?,
        ["shift", services] => writeln!(out, "{:?}", planning(services.parse()?)?)?,
        ["log", file] => access_log::write(Path::new(file), LINES, false)?,
        ["world", directory] => Shape::FULL.write(Path::new(directory))?,
        ["world", directory, part] => {
            let (numerator, denominator) = part.split_once('/').unwrap_or((part, "1"));
            Shape::FULL.scaled(numerator.parse()?, denominator.parse()?).write(Path::new(directory))?;
        }
        _ => {
            return Err(
                "usage: measure report|guard BINARY, decide, phases DIRECTORY TARGET, shift [SERVICES], log FILE, world DIRECTORY".into(),
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the time of a shift goes before anything is written.
fn planning(services: usize) -> Result<shift::Parts> {
    let world = shift::world(services);
    shift::parts(&world).ok_or_else(|| "the World is not as it should be".into())
}

/// Where the time of `who-can` goes.
#[derive(Clone, Copy, Debug)]
struct Phases {
    reading: Duration,
    understanding: Duration,
    answering: Duration,
}

impl Phases {
    fn of(directory: &str, target: &str) -> Result<Self> {
        let manifests = Manifests {
            filenames: vec![directory.to_owned()],
            default_namespace: "default".to_owned(),
            ..Manifests::default()
        };
        let started = Instant::now();
        let read = manifests::read(&manifests)?;
        let reading = started.elapsed();
        let world = World::new(Snapshot { objects: read.objects, ..Snapshot::default() });
        let understanding = started.elapsed() - reading;
        let target = find(&world, target, Scope { namespace: "default", anywhere: true })
            .map_err(|error| error.to_string())?;
        let answer = who_can(&mut Evaluator::new(&world), &target);
        let answering = started.elapsed() - reading - understanding;
        if answer.callers.is_empty() {
            return Err("nobody is a caller".into());
        }
        Ok(Self { reading, understanding, answering })
    }

    /// The share of reading, in percent.
    fn read_share(self) -> f64 {
        let all = self.reading + self.understanding + self.answering;
        100.0 * self.reading.as_secs_f64() / all.as_secs_f64()
    }
}

/// A World on disk, with cases; taken away when it is dropped.
struct OnDisk {
    directory: PathBuf,
    tree: String,
    cases: String,
}

impl OnDisk {
    fn new(shape: Shape, cases: usize) -> Result<Self> {
        let directory = env::temp_dir().join(format!("mesh-bench-{}-{}", std::process::id(), shape.services));
        let tree = directory.join("tree");
        shape.write(&tree)?;
        let file = directory.join("cases.yaml");
        fs::write(&file, shape.cases(cases))?;
        let text = |path: PathBuf| path.to_str().map(str::to_owned).ok_or("a path that is not UTF-8");
        Ok(Self { tree: text(tree)?, cases: text(file)?, directory })
    }

    /// The size of all manifests, in bytes.
    fn bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for entry in fs::read_dir(&self.tree)? {
            bytes += entry?.metadata()?.len();
        }
        Ok(bytes)
    }

    fn who_can(&self, binary: &str, runs: usize) -> io::Result<Cost> {
        cost(binary, &["who-can", TARGET, "-f", &self.tree], runs)
    }

    fn matrix(&self, binary: &str, runs: usize) -> io::Result<Cost> {
        cost(binary, &["matrix", "-A", "-o", "csv", "-f", &self.tree], runs)
    }

    fn explain_log(&self, binary: &str, json: bool, runs: usize) -> Result<Cost> {
        let path = self.directory.join("access.log");
        access_log::write(&path, LINES, json)?;
        let log = path.to_str().ok_or("a path that is not UTF-8")?;
        Ok(cost(binary, &["explain-log", TARGET, "--log", log, "-f", &self.tree], runs)?)
    }

    fn test(&self, binary: &str, runs: usize) -> io::Result<Cost> {
        cost(binary, &["test", &self.cases, "-o", "json", "-f", &self.tree], runs)
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        // What cannot be taken away stays in the directory for such things.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// What one World costs.
struct Measured {
    shape: Shape,
    bytes: u64,
    cases: usize,
    phases: Phases,
    who_can: Cost,
    matrix: Cost,
    test: Cost,
}

impl Measured {
    fn of(binary: &str, shape: Shape, cases: usize) -> Result<Self> {
        let world = OnDisk::new(shape, cases)?;
        Ok(Self {
            shape,
            bytes: world.bytes()?,
            cases,
            phases: Phases::of(&world.tree, TARGET)?,
            who_can: world.who_can(binary, 5)?,
            matrix: world.matrix(binary, 1)?,
            test: world.test(binary, 1)?,
        })
    }
}

fn report(binary: &str) -> Result<String> {
    let mut measured = Vec::new();
    for (numerator, denominator) in [(1, 4), (1, 2), (1, 1), (2, 1)] {
        let shape = Shape::FULL.scaled(numerator, denominator);
        measured.push(Measured::of(binary, shape, CASES * numerator / denominator)?);
    }
    let rate = decide::rate(Duration::from_secs(5))?;
    let help = cost(binary, &["--help"], 50)?;
    let version = cost(binary, &["--version"], 50)?;
    let size = fs::metadata(binary)?.len();
    let world = OnDisk::new(Shape::FULL, 0)?;
    let logs =
        [("text", world.explain_log(binary, false, 3)?), ("JSON", world.explain_log(binary, true, 3)?)];
    let full = measured.iter().find(|it| it.shape.services == Shape::FULL.services).ok_or("not measured")?;

    let mut text = String::from("| what | figure | wanted |\n| --- | --- | --- |\n");
    let mut row =
        |what: &str, figure: String, wanted: &str| writeln!(text, "| {what} | {figure} | {wanted} |");
    let decided = format!("{:.2} million a second", rate.a_second / 1e6);
    row("requests decided on one core, against 50 policies", decided, "1 million a second")?;
    let Shape { services, workloads, policies, .. } = full.shape;
    let world = format!("{services} services, {workloads} workloads, {policies} policies");
    row(&format!("`who-can`: {world}"), both(full.who_can), "1 s")?;
    row("of it, reading the files", format!("{:.0} %", full.phases.read_share()), "most")?;
    row(&format!("`matrix`: {services} × {services}"), both(full.matrix), "seconds")?;
    row(&format!("`test`: {} cases", full.cases), both(full.test), "fast")?;
    for (format, cost) in logs {
        let rate = LINES as f64 / 1e6 / cost.wall.as_secs_f64();
        let what = format!("`explain-log`: a million lines of {format}, {}", megabytes(cost.memory));
        row(&what, format!("{}, {rate:.2} million lines a second", both(cost)), "seconds")?;
    }
    row("`--help`", milliseconds(help.wall), "10 ms")?;
    row("`--version`", milliseconds(version.wall), "10 ms")?;
    row("the binary", megabytes(size), "10 MB")?;

    text.push_str(
        "\n| services | manifests | `who-can` | memory | `matrix` | memory | cases | `test` | memory |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for it in &measured {
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            it.shape.services,
            megabytes(it.bytes),
            seconds(it.who_can.work),
            megabytes(it.who_can.memory),
            seconds(it.matrix.work),
            megabytes(it.matrix.memory),
            it.cases,
            seconds(it.test.work),
            megabytes(it.test.memory),
        )?;
    }

    text.push_str(
        "\n| services | a shift's plan | routing | callers and their proxies | preflight |\n\
         | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for services in [SERVICES / 4, SERVICES / 2, SERVICES, 2 * SERVICES, 4 * SERVICES] {
        let parts = planning(services)?;
        writeln!(
            text,
            "| {services} | {} | {} | {} | {} |",
            seconds(parts.whole()),
            seconds(parts.routing),
            seconds(parts.callers + parts.carriers),
            seconds(parts.preflight),
        )?;
    }
    Ok(text)
}

/// Limits that a noisy machine keeps, and a program that has become quadratic does not.
fn guard(binary: &str) -> Result<ExitCode> {
    let world = OnDisk::new(Shape::FULL, CASES)?;
    let rate = decide::rate(Duration::from_secs(1))?;
    let checks = [
        ("who-can", world.who_can(binary, 3)?, Duration::from_secs(3), 400),
        ("matrix", world.matrix(binary, 1)?, Duration::from_secs(20), 500),
        ("test", world.test(binary, 1)?, Duration::from_secs(20), 1_500),
        ("explain-log", world.explain_log(binary, false, 1)?, Duration::from_secs(20), 400),
    ];
    let mut out = io::stdout();
    let mut kept = rate.a_second > 250_000.0;
    writeln!(out, "decide: {:.0} requests a second (at least 250000)", rate.a_second)?;
    for (name, cost, limit, limit_megabytes) in checks {
        writeln!(
            out,
            "{name}: {} (limit {}), {} (limit {limit_megabytes} MB)",
            seconds(cost.wall),
            seconds(limit),
            megabytes(cost.memory),
        )?;
        kept &= cost.wall < limit && cost.memory < limit_megabytes * 1_000_000;
    }
    let (shift, limit) = (planning(SERVICES)?.whole(), Duration::from_secs(3));
    writeln!(out, "a shift's plan: {} (limit {})", seconds(shift), seconds(limit))?;
    kept &= shift < limit;
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// How long it took, and the work in it.
fn both(cost: Cost) -> String {
    format!("{} ({})", seconds(cost.wall), seconds(cost.work))
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
