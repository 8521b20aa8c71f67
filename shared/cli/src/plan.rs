//! A plan, and what became of it, in kubectl's words.

use mesh_model::change::{Change, Reference};
use mesh_model::object::Object;
use mesh_source::cluster::WriteError;
use mesh_source::manifests::{EditError, to_yaml};
use serde_json::{Value, json};

use crate::dry_run::DryRun;
use crate::failure::Failure;
use crate::output::Output;
use crate::terminal::Ui;

/// Says the objects of a plan as they are after it, for `-o yaml|json|name`: as kubectl does, one by
/// itself and several as a List. Other shapes say nothing: they are the command's own.
///
/// # Errors
/// When stdout cannot be written.
pub fn objects(ui: &Ui, output: Output, objects: &[Object]) -> Result<(), Failure> {
    let document = || match objects {
        [one] => one.value.clone(),
        several => {
            let items: Vec<&Value> = several.iter().map(|object| &object.value).collect();
            json!({"apiVersion": "v1", "kind": "List", "items": items})
        }
    };
    match output {
        Output::Yaml => ui.document(&to_yaml(&document())),
        Output::Json => ui.document(&format!("{:#}\n", document())),
        Output::Name => objects.iter().try_for_each(|object| ui.answer(name(&Reference::of(object)))),
        Output::Table | Output::Wide => Ok(()),
    }
}

/// What was done, as kubectl says it: `virtualservice.networking.istio.io/payment patched`.
#[must_use]
pub fn receipt(change: &Change, dry_run: DryRun) -> String {
    let done = match change {
        Change::Create(_) => "created",
        Change::Delete { .. } => "deleted",
        Change::Patch(patch) if patch.is_empty() => "unchanged",
        Change::Patch(_) => "patched",
    };
    format!("{} {done}{}", name(&change.object()), dry_run.suffix())
}

/// `virtualservice.networking.istio.io/payment`, as kubectl names objects.
#[must_use]
pub fn name(object: &Reference) -> String {
    let kind = object.kind.name().to_ascii_lowercase();
    match object.kind.group() {
        "" => format!("{kind}/{}", object.name),
        group => format!("{kind}.{group}/{}", object.name),
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        let failure = match &error {
            WriteError::Conflict { .. } | WriteError::AlreadyExists { .. } => {
                Self::conflict(error.to_string())
            }
            _ => Self::server(error.to_string()),
        };
        failure.hints(error.hint())
    }
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        let failure = match &error {
            EditError::Mismatch { .. } | EditError::Changed { .. } => {
                Self::conflict(format!("error: {error}"))
            }
            _ => Self::error(error.to_string()),
        };
        failure.hints(error.hint())
    }
}

#[cfg(test)]
mod tests {
    use mesh_model::change::Edit;
    use mesh_model::object::{Kind, Origin};

    use super::*;
    use crate::failure::Exit;

    fn object(name: &str) -> Object {
        Object {
            kind: Kind::VirtualService,
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            value: json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": name}}),
            origin: Origin::Cluster,
        }
    }

    fn said(output: Output, these: &[Object]) -> String {
        let (ui, said) = Ui::recording(None);
        objects(&ui, output, these).unwrap();
        said.stdout()
    }

    #[test]
    fn one_object_stands_by_itself_and_several_in_a_list() {
        assert_eq!(
            said(Output::Yaml, &[object("a")]),
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: a\n"
        );
        let list: Value = serde_json::from_str(&said(Output::Json, &[object("a"), object("b")])).unwrap();
        assert_eq!((&list["kind"], list["items"].as_array().map(Vec::len)), (&json!("List"), Some(2)));
        assert_eq!(said(Output::Name, &[object("a")]), "virtualservice.networking.istio.io/a\n");
        assert_eq!(said(Output::Table, &[object("a")]), "");
    }

    #[test]
    fn receipts_are_kubectls() {
        let deletion = Change::Delete { object: object("a"), propagation: None };
        assert_eq!(
            receipt(&deletion, DryRun::Server),
            "virtualservice.networking.istio.io/a deleted (server dry run)"
        );
        let nothing = Change::Patch(Edit::of(&object("a")).patch());
        assert_eq!(receipt(&nothing, DryRun::None), "virtualservice.networking.istio.io/a unchanged");
    }

    #[test]
    fn a_conflict_has_its_own_exit_code() {
        let conflict =
            WriteError::Conflict { object: Box::new(Reference::of(&object("a"))), message: "m".to_owned() };
        assert_eq!(Failure::from(conflict).exit(), Exit::Conflict);
        let forbidden =
            WriteError::Forbidden { object: Box::new(Reference::of(&object("a"))), message: "m".to_owned() };
        assert_eq!(Failure::from(forbidden).exit(), Exit::CouldNot);
    }
}
