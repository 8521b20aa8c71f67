//! A whole plugin, as small as one can be: `cargo run -p mesh-cli --example plugin -- list -f FILE`.

use std::process::ExitCode;

use mesh_cli::output::{self, HeaderArgs, Output};
use mesh_cli::text::{dim, plain, strong};
use mesh_cli::{Exit, Failure, SourceArgs, Table, Ui};
use mesh_model::object::Object;
use serde::Serialize;

/// What a World holds.
#[derive(clap::Parser)]
enum Command {
    List(Arguments),
}

/// List the objects that a World holds.
#[derive(clap::Args)]
#[command(before_help = "
# What the cluster holds
kubectl mesh-example list

# What is in the manifests of a directory, for a program
kubectl mesh-example list -f deploy/ -o json
")]
struct Arguments {
    /// Only objects of this name.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Output format.
    #[arg(short, long, default_value = "table", value_parser = Output::one_of(&[Output::Table, Output::Json, Output::Yaml]))]
    output: Output,
    #[command(flatten)]
    headers: HeaderArgs,
    #[command(flatten)]
    source: SourceArgs,
}

/// The answer, as programs see it.
#[derive(Serialize)]
struct Listing {
    objects: Vec<String>,
}

fn main() -> ExitCode {
    mesh_cli::run("kubectl mesh-example", |ui, command| match command {
        Command::List(arguments) => arguments.run(ui),
    })
}

impl Arguments {
    fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        let world = self.source.load(ui)?.world;
        let objects: Vec<&Object> = world
            .objects()
            .iter()
            .map(AsRef::as_ref)
            .filter(|object: &&Object| self.name.as_ref().is_none_or(|name| *name == object.name))
            .collect();
        let listing = Listing { objects: objects.iter().map(|object| object.key()).collect() };
        match self.output {
            Output::Json => output::json(ui, "Listing", &listing)?,
            Output::Yaml => output::yaml(ui, "Listing", &listing)?,
            _ => self.show(ui, &objects)?,
        }
        Ok(if objects.is_empty() { Exit::No } else { Exit::Yes })
    }

    fn show(&self, ui: &Ui, objects: &[&Object]) -> Result<(), Failure> {
        let mut table = Table::new(&["KIND", "NAME", "WHERE"]).no_headers(self.headers.no_headers);
        for object in objects {
            table.row([plain(object.kind.name()), strong(object.key()), dim(object.at("/spec"))]);
        }
        if table.is_empty() {
            ui.note("No resources found.");
            return Ok(());
        }
        ui.table(&table)
    }
}
