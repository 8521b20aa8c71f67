//! Changes of manifests in place: only the named field changes, every other byte stays.
//!
//! [`edit`] works out the new texts and writes nothing, so that a diff can be shown; [`write`] puts
//! them in place. Every step of an edit is read again by the same reader that read the objects, and
//! refused unless it is the wanted change and no other: what cannot be done in place is left to the
//! user, never done by halves.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use mesh_model::change::{Change, FieldChange, Mismatch, Patch, Reference, without_server_fields};
use mesh_model::object::{Kind, Object, Origin};
use serde_json::Value;
use tempfile::NamedTempFile;

use super::emit::to_yaml;
use super::place::{Place, printable};
use super::spans::{self, Located};
use super::{json, splice, template, text, tree, value};
use crate::error::Error;

/// What becomes of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEdit {
    /// The path as the user gave it.
    pub path: String,
    /// The text that the edit was made on; `None` for a file that is not there.
    pub before: Option<String>,
    /// The text after it; `None` for a file that goes, because nothing is left in it.
    pub after: Option<String>,
}

/// Why manifests were not edited. Unless it says otherwise, every file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// A file cannot be read, or is no manifest.
    #[error(transparent)]
    Read(#[from] Box<Error>),
    /// The object is in none of the manifests that were read, or no longer in its file.
    #[error("{object} is not in {}", path.as_deref().unwrap_or("the manifests"))]
    NotFound {
        /// The object.
        object: Box<Reference>,
        /// The file in which it was.
        path: Option<String>,
    },
    /// The object was read from standard input or from what kustomize built.
    #[error("{object} comes from {}, which is no file to write to", from)]
    NotAFile {
        /// The object.
        object: Box<Reference>,
        /// Where it was read: `-` or `-k DIR`.
        from: String,
    },
    /// The file is a template.
    #[error("{path}:{line} is a template (it has `{{{{`): it is not edited")]
    Template {
        /// The path.
        path: String,
        /// The first line with `{{`.
        line: u32,
    },
    /// The file may not be written.
    #[error("{path} is read-only")]
    ReadOnly {
        /// The path.
        path: String,
    },
    /// One file defines the object twice.
    #[error("{path} defines {object} twice")]
    Twice {
        /// The path.
        path: String,
        /// The object.
        object: Box<Reference>,
    },
    /// The object in the file is not the one that the plan was made on.
    #[error("{path}: {mismatch}")]
    Mismatch {
        /// The path.
        path: String,
        /// What differs.
        mismatch: Box<Mismatch>,
    },
    /// The field cannot be changed in place.
    #[error("{place}: cannot change {pointer} of {object} in place: {what}{}", place.excerpt())]
    Obstacle {
        /// Where.
        place: Box<Place>,
        /// The object.
        object: Box<Reference>,
        /// The field, as JSON pointer.
        pointer: String,
        /// What stands in the way.
        what: &'static str,
        /// What should stand there, as YAML; `None` if the field is to be removed.
        wanted: Option<String>,
    },
    /// The file was changed by somebody else since it was read.
    #[error("{path} was changed by somebody else meanwhile")]
    Changed {
        /// The path.
        path: String,
    },
    /// A file could not be written. It is as it was.
    #[error("cannot write {path}: {source}{}", written_already(written))]
    Write {
        /// The path.
        path: String,
        /// What the system said.
        source: io::Error,
        /// The files of the same plan that were written before.
        written: Vec<String>,
    },
}

impl EditError {
    /// What to do next, as a sentence without a full stop; `None` where the message says it all.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read(error) => return error.hint(),
            Self::NotAFile { from, .. } if from == "-" => "name the file with -f instead of -".to_owned(),
            Self::NotAFile { .. } => {
                "change the files that the kustomization names: -f FILE instead of -k DIR".to_owned()
            }
            Self::Template { .. } => "change the values that the template is rendered with".to_owned(),
            Self::ReadOnly { .. } => "make it writable first".to_owned(),
            Self::Twice { .. } => "remove one of the two".to_owned(),
            Self::Obstacle { wanted: Some(wanted), pointer, .. } => {
                format!("change it by hand: {pointer} should be {wanted}")
            }
            Self::Obstacle { pointer, .. } => format!("remove {pointer} by hand"),
            Self::NotFound { .. } | Self::Mismatch { .. } | Self::Changed { .. } => {
                "look at it as it is now, and run the command again".to_owned()
            }
            Self::Write { .. } => return None,
        })
    }
}

/// Works out what a plan does to the files that `objects` were read from. Writes nothing.
///
/// `default_namespace` is that with which the objects were read. Objects that are created go to the end
/// of the file `new`, which need not exist.
///
/// # Errors
/// See [`EditError`]: what cannot be done in place and proved to be the wanted change is refused.
pub fn edit(
    objects: &[Object],
    changes: &[Change],
    default_namespace: &str,
    new: &str,
) -> Result<Vec<FileEdit>, EditError> {
    let mut editor = Editor { default_namespace, files: BTreeMap::new() };
    let mut origins: Vec<(Reference, String)> = Vec::new();
    for change in changes {
        let reference = change.object();
        let known = origins.iter().rev().find(|(object, _)| same(object, &reference));
        let path = match (change, known) {
            (Change::Create(_), _) => new.to_owned(),
            (_, Some((_, path))) => path.clone(),
            _ => origin(objects, &reference)?,
        };
        match change {
            Change::Create(object) => editor.create(&path, object)?,
            Change::Delete { object, .. } => editor.delete(&path, &Reference::of(object))?,
            Change::Patch(patch) => {
                for field in &patch.fields {
                    editor.change(&path, &patch.object, field)?;
                }
            }
        }
        origins.push((reference, path));
    }
    let changed = |edit: &FileEdit| edit.before != edit.after;
    Ok(editor.files.into_values().filter(changed).collect())
}

fn same(one: &Reference, other: &Reference) -> bool {
    (one.kind, &one.namespace, &one.name) == (other.kind, &other.namespace, &other.name)
}

/// The file in which an object was read.
fn origin(objects: &[Object], reference: &Reference) -> Result<String, EditError> {
    let object = objects.iter().find(|object| reference.means(object));
    match object.map(|object| &object.origin) {
        Some(Origin::File { path, .. }) if **path == *"-" || path.starts_with("-k ") => {
            Err(EditError::NotAFile { object: Box::new(reference.clone()), from: printable(path) })
        }
        Some(Origin::File { path, .. }) => Ok(path.to_string()),
        Some(Origin::Cluster) | None => {
            Err(EditError::NotFound { object: Box::new(reference.clone()), path: None })
        }
    }
}

struct Editor<'a> {
    default_namespace: &'a str,
    /// By the file behind all links, so that two names of one file are one.
    files: BTreeMap<PathBuf, FileEdit>,
}

/// A text as documents, each with its place.
struct Documents(Vec<(Value, Located)>);

/// An object within a text: the number of its document and the pointer to it there.
struct Found {
    document: usize,
    pointer: String,
}

impl Editor<'_> {
    fn file(&mut self, path: &str) -> Result<&mut FileEdit, EditError> {
        let target = fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
        if !self.files.contains_key(&target) {
            let before = if Path::new(path).exists() { Some(read(path)?) } else { None };
            if let Some(line) = before.as_deref().and_then(template::line) {
                return Err(EditError::Template { path: printable(path), line });
            }
            let edit = FileEdit { path: path.to_owned(), after: before.clone(), before };
            self.files.insert(target.clone(), edit);
        }
        self.files.get_mut(&target).ok_or_else(|| EditError::Changed { path: printable(path) })
    }

    fn change(&mut self, path: &str, object: &Reference, field: &FieldChange) -> Result<(), EditError> {
        let default_namespace = self.default_namespace;
        let file = self.file(path)?;
        let before = file.after.clone().unwrap_or_default();
        let documents = Documents::of(path, &before)?;
        let found = documents.find(path, object, default_namespace)?;
        let field = FieldChange { pointer: format!("{}{}", found.pointer, field.pointer), ..field.clone() };
        let obstacle = |offset: usize, what: &'static str| EditError::Obstacle {
            place: Box::new(Place::at_offset(path, &before, offset)),
            object: Box::new(object.clone()),
            pointer: printable(field.pointer.strip_prefix(&found.pointer).unwrap_or(&field.pointer)),
            what,
            wanted: field.new.as_ref().map(super::emit::flow),
        };
        let mut wanted: Vec<Value> = documents.0.iter().map(|(value, _)| value.clone()).collect();
        let (Some(value), Some((_, located))) =
            (wanted.get_mut(found.document), documents.0.get(found.document))
        else {
            return Err(obstacle(0, UNPROVEN));
        };
        apply(value, object, &field).map_err(|mismatch| EditError::Mismatch {
            path: printable(path),
            mismatch: Box::new(mismatch),
        })?;
        let (place, text) = splice::splice(&before, located, &field)
            .map_err(|refused| obstacle(refused.offset, refused.what))?;
        let start = place.start;
        let after = replaced(&before, place, &text).ok_or_else(|| obstacle(start, UNPROVEN))?;
        if !reads_as(path, &after, &wanted) {
            return Err(obstacle(start, UNPROVEN));
        }
        file.after = Some(after);
        Ok(())
    }

    fn create(&mut self, path: &str, object: &Object) -> Result<(), EditError> {
        let default_namespace = self.default_namespace;
        let file = self.file(path)?;
        let before = file.after.clone().unwrap_or_default();
        let documents = Documents::of(path, &before)?;
        let reference = Reference::of(object);
        if documents.find(path, &reference, default_namespace).is_ok() {
            let mismatch = Box::new(Mismatch::Exists(reference));
            return Err(EditError::Mismatch { path: printable(path), mismatch });
        }
        let value = without_server_fields(object).value;
        let end = if before.contains("\r\n") { "\r\n" } else { "\n" };
        let is_json = if before.trim().is_empty() {
            path.ends_with(".json")
        } else {
            documents.0.iter().all(|(_, located)| located.json)
        };
        let mut after = before.clone();
        if !after.is_empty() && !after.ends_with('\n') {
            after.push_str(end);
        }
        if !is_json && !after.trim().is_empty() {
            after.push_str(&format!("---{end}"));
        }
        let text = if is_json { format!("{value:#}\n") } else { to_yaml(&value) };
        after.push_str(&text.replace('\n', end));
        let mut wanted: Vec<Value> = documents.0.into_iter().map(|(value, _)| value).collect();
        wanted.push(value);
        if !reads_as(path, &after, &wanted) {
            return Err(unproven(path, &before, reference, before.len(), Some(text)));
        }
        file.after = Some(after);
        Ok(())
    }

    fn delete(&mut self, path: &str, object: &Reference) -> Result<(), EditError> {
        let default_namespace = self.default_namespace;
        let file = self.file(path)?;
        let before = file.after.clone().unwrap_or_default();
        let documents = Documents::of(path, &before)?;
        let found = documents.find(path, object, default_namespace)?;
        let Some((value, located)) = documents.0.get(found.document) else { return Ok(()) };
        if !found.pointer.is_empty() {
            let old = value.pointer(&found.pointer).cloned();
            // The element itself, by its pointer from the document's root.
            let field = FieldChange { pointer: found.pointer, old, new: None };
            return self.remove_element(path, object, found.document, &field);
        }
        let after = replaced(&before, located.place.clone(), "").unwrap_or_default();
        let wanted: Vec<Value> = (0..)
            .zip(&documents.0)
            .filter(|(number, _)| *number != found.document)
            .map(|(_, (value, _))| value.clone())
            .collect();
        if !reads_as(path, &after, &wanted) {
            return Err(unproven(path, &before, object.clone(), located.root.start, None));
        }
        file.after = wanted.iter().any(|value| !value.is_null()).then_some(after);
        Ok(())
    }

    /// Removes an element of a List.
    fn remove_element(
        &mut self,
        path: &str,
        object: &Reference,
        document: usize,
        field: &FieldChange,
    ) -> Result<(), EditError> {
        let file = self.file(path)?;
        let before = file.after.clone().unwrap_or_default();
        let documents = Documents::of(path, &before)?;
        let refused = |offset| unproven(path, &before, object.clone(), offset, None);
        let mut wanted: Vec<Value> = documents.0.iter().map(|(value, _)| value.clone()).collect();
        let (Some(value), Some((_, located))) = (wanted.get_mut(document), documents.0.get(document)) else {
            return Err(refused(0));
        };
        apply(value, object, field).map_err(|_| refused(located.root.start))?;
        let (place, text) =
            splice::splice(&before, located, field).map_err(|obstacle| refused(obstacle.offset))?;
        let start = place.start;
        let after = replaced(&before, place, &text).ok_or_else(|| refused(start))?;
        if !reads_as(path, &after, &wanted) {
            return Err(refused(start));
        }
        file.after = Some(after);
        Ok(())
    }
}

/// Why an edit is refused that was tried: what came out is not what was wanted.
const UNPROVEN: &str = "the result would not be read as the wanted change";

fn unproven(path: &str, text: &str, object: Reference, offset: usize, wanted: Option<String>) -> EditError {
    EditError::Obstacle {
        place: Box::new(Place::at_offset(path, text, offset)),
        object: Box::new(object),
        pointer: "/".to_owned(),
        what: UNPROVEN,
        wanted,
    }
}

fn read(path: &str) -> Result<String, EditError> {
    let unreadable = |source| EditError::Read(Box::new(Error::Unreadable { path: printable(path), source }));
    let file = File::open(path).map_err(unreadable)?;
    text::read(path, file).map_err(|error| EditError::Read(Box::new(error)))
}

/// A field's change of a document, which is no object by itself where it is a List.
fn apply(document: &mut Value, object: &Reference, field: &FieldChange) -> Result<(), Mismatch> {
    let patch = Patch { object: object.clone(), resource_version: None, fields: vec![field.clone()] };
    let whole = Object {
        kind: object.kind,
        namespace: object.namespace.clone(),
        name: object.name.clone(),
        value: std::mem::take(document),
        origin: Origin::Cluster,
    };
    *document = patch.apply_to(&whole)?.value;
    Ok(())
}

fn replaced(text: &str, place: std::ops::Range<usize>, by: &str) -> Option<String> {
    Some(format!("{}{by}{}", text.get(..place.start)?, text.get(place.end..)?))
}

/// Whether a text holds these documents and nothing else.
fn reads_as(path: &str, text: &str, wanted: &[Value]) -> bool {
    let Ok(read) = values(path, text) else { return false };
    let filled = |value: &&Value| !value.is_null();
    read.iter().filter(filled).eq(wanted.iter().filter(filled))
}

fn values(path: &str, text: &str) -> Result<Vec<Value>, Error> {
    let mut values = Vec::new();
    for source in json::parts(path, text) {
        tree::each_document(source, |node, line| {
            values.push(value::of_document(&node, line).0);
            Ok(())
        })?;
    }
    Ok(values)
}

impl Documents {
    fn of(path: &str, text: &str) -> Result<Self, EditError> {
        let values = values(path, text)
            .map_err(|error| EditError::Read(Box::new(template::explain(path, text, error))))?;
        let located: Vec<Located> =
            json::parts(path, text).iter().filter_map(spans::locate).flatten().collect();
        // Both readers use one parser; should they ever differ, no edit would be found.
        if values.len() != located.len() {
            return Ok(Self(Vec::new()));
        }
        Ok(Self(values.into_iter().zip(located).collect()))
    }

    fn find(&self, path: &str, object: &Reference, default_namespace: &str) -> Result<Found, EditError> {
        let mut found = Vec::new();
        for (document, (value, _)) in self.0.iter().enumerate() {
            let mut here = Vec::new();
            holders(value, None, String::new(), &mut |pointer, kind, value| {
                let text =
                    |pointer| value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
                let namespace = text("/metadata/namespace").unwrap_or(default_namespace);
                let namespace = if kind.is_namespaced() { namespace } else { "" };
                if (kind, namespace) == (object.kind, object.namespace.as_str())
                    && text("/metadata/name") == Some(object.name.as_str())
                {
                    here.push(pointer);
                }
            });
            found.extend(here.into_iter().map(|pointer| Found { document, pointer }));
        }
        match (found.pop(), found.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(_), false) => {
                Err(EditError::Twice { path: printable(path), object: Box::new(object.clone()) })
            }
            (None, _) => {
                Err(EditError::NotFound { object: Box::new(object.clone()), path: Some(printable(path)) })
            }
        }
    }
}

/// Gives the objects of a document to `each`: itself, or the items of a List.
fn holders(
    value: &Value,
    inherited: Option<(&str, &str)>,
    pointer: String,
    each: &mut dyn FnMut(String, Kind, &Value),
) {
    let field = |key| value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let version = field("apiVersion").or(inherited.map(|(version, _)| version));
    let kind = field("kind").or(inherited.map(|(_, kind)| kind));
    let (Some(version), Some(kind)) = (version, kind) else { return };
    if let (Some(item), Some(items)) =
        (kind.strip_suffix("List"), value.get("items").and_then(Value::as_array))
    {
        let inherited = (!item.is_empty()).then_some((version, item));
        for (index, value) in items.iter().enumerate() {
            holders(value, inherited, format!("{pointer}/items/{index}"), each);
        }
    } else if let Some(kind) = Kind::from_manifest(version, kind) {
        each(pointer, kind, value);
    }
}

/// Writes files: all are prepared and checked before the first is put in place, each whole or not at
/// all. Links are followed, the mode of a file stays.
///
/// # Errors
/// [`EditError::Changed`] and [`EditError::ReadOnly`] before anything is written; [`EditError::Write`],
/// which says what was written.
pub fn write(edits: &[FileEdit]) -> Result<(), EditError> {
    let prepared = edits.iter().map(Prepared::new).collect::<Result<Vec<_>, _>>()?;
    // Preparing took time.
    edits.iter().try_for_each(unchanged)?;
    let mut written = Vec::new();
    for (edit, prepared) in edits.iter().zip(prepared) {
        prepared.put().map_err(|source| EditError::Write {
            path: printable(&edit.path),
            source,
            written: written.clone(),
        })?;
        written.push(printable(&edit.path));
    }
    Ok(())
}

/// A file that is ready to be put in place.
struct Prepared {
    /// The new content, beside the file; `None` for a file that goes.
    content: Option<NamedTempFile>,
    /// The file behind all links.
    target: PathBuf,
    is_new: bool,
}

impl Prepared {
    fn new(edit: &FileEdit) -> Result<Self, EditError> {
        unchanged(edit)?;
        let path = printable(&edit.path);
        let mode = edit.before.as_ref().and_then(|_| fs::metadata(&edit.path).ok());
        if mode.as_ref().is_some_and(|metadata| metadata.permissions().readonly()) {
            return Err(EditError::ReadOnly { path });
        }
        let prepare = || -> io::Result<Self> {
            let is_new = edit.before.is_none();
            let target = if is_new { PathBuf::from(&edit.path) } else { fs::canonicalize(&edit.path)? };
            let Some(after) = &edit.after else { return Ok(Self { content: None, target, is_new }) };
            // Hidden, so that nobody reads it as a manifest if this ends here.
            let mut builder = tempfile::Builder::new();
            builder.prefix(".kubectl-mesh-");
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt as _;
                // What a new file gets anyway; less where the process' mask says so.
                builder.permissions(fs::Permissions::from_mode(0o666));
            }
            let mut content = builder.tempfile_in(directory(&target))?;
            content.write_all(after.as_bytes())?;
            if let Some(metadata) = mode {
                fs::set_permissions(content.path(), metadata.permissions())?;
            }
            content.as_file().sync_all()?;
            Ok(Self { content: Some(content), target, is_new })
        };
        prepare().map_err(|source| EditError::Write { path, source, written: Vec::new() })
    }

    fn put(self) -> io::Result<()> {
        match self.content {
            None => fs::remove_file(&self.target)?,
            Some(content) if self.is_new => drop(content.persist_noclobber(&self.target)?),
            Some(content) => drop(content.persist(&self.target)?),
        }
        // So that the new name is on disk too. Some file systems cannot do that for a directory.
        let _ = File::open(directory(&self.target)).and_then(|directory| directory.sync_all());
        Ok(())
    }
}

/// The directory of a file.
fn directory(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Refuses a file that is not what the edit was made on.
fn unchanged(edit: &FileEdit) -> Result<(), EditError> {
    let now = match fs::read(&edit.path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => {
            let error = Error::Unreadable { path: printable(&edit.path), source };
            return Err(EditError::Read(Box::new(error)));
        }
    };
    if now.as_deref() == edit.before.as_deref().map(str::as_bytes) {
        Ok(())
    } else {
        Err(EditError::Changed { path: printable(&edit.path) })
    }
}

fn written_already(written: &[String]) -> String {
    if written.is_empty() { String::new() } else { format!("; written already: {}", written.join(", ")) }
}
