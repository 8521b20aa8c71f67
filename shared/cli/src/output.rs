//! `-o`: the shapes an answer can have.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::failure::Failure;
use crate::terminal::Ui;

/// The version of everything that is printed for programs. A field, once out, stays.
pub const API_VERSION: &str = "kubectl-mesh.dev/v1";

/// The shape of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For people with more room.
    Wide,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
    /// `KIND/NAME` lines, for other commands.
    Name,
}

impl Output {
    /// A clap value parser for the shapes that a command has:
    /// `#[arg(short, long, value_parser = Output::one_of(&[Output::Table, Output::Json]))]`.
    pub fn one_of(shapes: &'static [Self]) -> impl TypedValueParser<Value = Self> {
        PossibleValuesParser::new(shapes.iter().filter_map(ValueEnum::to_possible_value))
            .try_map(|name| Self::from_str(&name, false))
    }
}

/// `--no-headers`, for commands that print a table.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct HeaderArgs {
    /// Print the table without its headers.
    #[arg(long)]
    pub no_headers: bool,
}

/// Says an answer as JSON, with `apiVersion` and `kind` before its own fields.
///
/// # Errors
/// When stdout cannot be written, or the value is not a struct or a map.
pub fn json(ui: &Ui, kind: &str, value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(&Versioned { api_version: API_VERSION, kind, value })
        .map_err(|error| Failure::error(format!("could not write {kind} as JSON: {error}")))?;
    ui.document(&(text + "\n"))
}

/// Says an answer as YAML, with `apiVersion` and `kind` before its own fields.
///
/// # Errors
/// As [`json`].
pub fn yaml(ui: &Ui, kind: &str, value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_yaml::to_string(&Versioned { api_version: API_VERSION, kind, value })
        .map_err(|error| Failure::error(format!("could not write {kind} as YAML: {error}")))?;
    ui.document(&text)
}

/// An answer for programs.
#[derive(Serialize)]
struct Versioned<'a, T> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'a str,
    #[serde(flatten)]
    value: &'a T,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Serialize)]
    struct WhoCan {
        target: &'static str,
        callers: Vec<&'static str>,
    }

    const ANSWER: WhoCan = WhoCan { target: "payment", callers: vec![] };

    #[derive(Debug, Parser)]
    struct Arguments {
        #[arg(short, long, value_parser = Output::one_of(&[Output::Table, Output::Json]), default_value = "table")]
        output: Output,
    }

    #[test]
    fn version_and_kind_come_first() {
        let (ui, said) = Ui::recording(None);
        json(&ui, "WhoCan", &ANSWER).unwrap();
        yaml(&ui, "WhoCan", &ANSWER).unwrap();
        assert_eq!(
            said.stdout(),
            r#"{
  "apiVersion": "kubectl-mesh.dev/v1",
  "kind": "WhoCan",
  "target": "payment",
  "callers": []
}
apiVersion: kubectl-mesh.dev/v1
kind: WhoCan
target: payment
callers: []
"#
        );
    }

    #[test]
    fn what_has_no_fields_is_an_error() {
        let (ui, said) = Ui::recording(None);
        assert!(json(&ui, "WhoCan", &vec![1]).is_err());
        assert!(yaml(&ui, "WhoCan", &vec![1]).is_err());
        assert_eq!(said.stdout(), "");
    }

    #[test]
    fn a_command_offers_its_own_shapes() {
        let shape = |arguments: &[&str]| {
            Arguments::try_parse_from([&["x"], arguments].concat()).map(|arguments| arguments.output)
        };
        assert_eq!(shape(&[]).unwrap(), Output::Table);
        assert_eq!(shape(&["-ojson"]).unwrap(), Output::Json);
        assert_eq!(shape(&["-o", "json"]).unwrap(), Output::Json);
        assert_eq!(shape(&["--output=json"]).unwrap(), Output::Json);
        let refused = shape(&["-o", "wide"]).unwrap_err().to_string();
        assert!(refused.contains("[possible values: table, json]"), "{refused}");
    }
}
