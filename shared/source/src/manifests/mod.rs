//! Objects from manifests: files, directories, standard input, kustomizations; and changes of them in
//! place ([`edit`](edit())).
//!
//! Reads what kubectl reads, the way kubectl reads it,
//! with three differences, all on the safe side: a key that stands twice in a mapping is an error
//! (kubectl drops the first), hidden files in directories are skipped, and URLs are not fetched.

mod edit;
mod emit;
mod find;
mod json;
mod kustomize;
mod objects;
mod place;
mod repeated;
mod scalar;
mod spans;
mod splice;
mod syntax;
mod template;
mod text;
mod tree;
mod value;

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use mesh_model::object::{Lines, Object};
use serde_json::Value;

pub use self::edit::{EditError, FileEdit, edit, write};
pub use self::emit::to_yaml;
use self::find::Input;
use self::objects::Reader;
pub use self::place::Place;
use self::tree::{Node, Source};
use crate::error::Error;

/// Which manifests to read, as kubectl's flags say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifests {
    /// `-f`: files, directories, or `-` for standard input.
    pub filenames: Vec<String>,
    /// `-R`: also the directories below those named.
    pub recursive: bool,
    /// `-k`: a directory with a kustomization, built by `kubectl kustomize`.
    pub kustomize: Option<String>,
    /// The namespace of objects that name none.
    pub default_namespace: String,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Read {
    /// The objects of the kinds that a World holds, in the order in which they were read.
    pub objects: Vec<Object>,
    /// What was passed over, and objects that are defined twice: lines for standard error, control
    /// characters escaped.
    pub notes: Vec<String>,
}

/// A YAML or JSON document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its value as JSON.
    pub value: Value,
    /// The line of every part.
    pub lines: Lines,
    /// The line on which it starts, counted from 1.
    pub line: u32,
}

/// Reads all objects that the manifests hold.
///
/// Directories are read as kubectl does: files that end in `.yaml`, `.yml` or `.json`, sorted by
/// name. Kinds that a World does not hold are passed over, Secrets among them. An object without
/// `metadata.name` takes its `generateName` and a `?`. Of an object that is defined twice the last
/// stays, as with `kubectl apply`.
///
/// # Errors
/// Fails as a whole if anything named cannot be read and understood.
pub fn read(manifests: &Manifests) -> Result<Read, Error> {
    read_from(manifests, io::stdin)
}

fn read_from<R: io::Read>(manifests: &Manifests, stdin: impl Fn() -> R + Sync) -> Result<Read, Error> {
    if manifests.filenames.is_empty() && manifests.kustomize.is_none() {
        return Err(Error::NothingNamed);
    }
    let mut read = Read::default();
    if let Some(directory) = &manifests.kustomize {
        let path = format!("-k {directory}");
        let text = kustomize::build(&kustomize::kubectl(), directory, &path)?;
        read = parse_text(&path, &text, true, &manifests.default_namespace)?;
    }
    let inputs = find::inputs(&manifests.filenames, manifests.recursive, &mut read.notes)?;
    for part in in_parallel(&inputs, |input| read_input(input, &stdin, &manifests.default_namespace))? {
        read.objects.extend(part.objects);
        read.notes.extend(part.notes);
    }
    repeated::keep_last(&mut read);
    Ok(read)
}

fn read_input<R: io::Read>(
    input: &Input,
    stdin: impl Fn() -> R,
    default_namespace: &str,
) -> Result<Read, Error> {
    let text = match &input.file {
        None => text::read(&input.shown, stdin())?,
        Some(path) => {
            let file = File::open(path)
                .map_err(|source| Error::Unreadable { path: place::printable(&input.shown), source })?;
            text::read(&input.shown, file)?
        }
    };
    parse_text(&input.shown, &text, input.named, default_namespace)
}

/// Reads every input on as many threads as there are processors; results keep the order of the
/// inputs, and so does the error of the first that fails.
fn in_parallel(
    inputs: &[Input],
    read: impl Fn(&Input) -> Result<Read, Error> + Sync,
) -> Result<Vec<Read>, Error> {
    // Beyond four, reading files is not what takes time.
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4).min(inputs.len() / 16);
    if threads < 2 {
        return inputs.iter().map(read).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(input) = inputs.get(index) else { return done };
            let result = read(input);
            if result.is_err() {
                // Nobody needs what comes after; what came before is still read by somebody.
                next.fetch_max(inputs.len(), Ordering::Relaxed);
            }
            done.push((index, result));
        }
    };
    let mut done = std::thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for worker in workers {
            match worker.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Reads the objects of one text, as if the user had named it with `-f`.
///
/// # Errors
/// Fails if any part of the text cannot be understood, or is no Kubernetes object.
pub fn parse(path: &str, text: &str, default_namespace: &str) -> Result<Read, Error> {
    let mut read = parse_text(path, text, true, default_namespace)?;
    repeated::keep_last(&mut read);
    Ok(read)
}

fn parse_text(path: &str, text: &str, named: bool, default_namespace: &str) -> Result<Read, Error> {
    let mut reader = Reader::new(path, text, named, default_namespace);
    for source in json::parts(path, text) {
        tree::each_document(source, |node, line| reader.add(&node, line))
            .map_err(|error| template::explain(path, text, error))?;
    }
    Ok(reader.finish())
}

/// Reads the documents of one text, whatever they hold. Empty documents are left out.
///
/// # Errors
/// Fails if any part of the text cannot be understood.
pub fn documents(path: &str, text: &str) -> Result<Vec<Document>, Error> {
    let mut documents = Vec::new();
    tree::each_document(Source::whole(path, text), |node, line| {
        if !matches!(node.plain(), Node::Null) {
            let (value, lines) = value::of_document(&node, line);
            documents.push(Document { value, lines, line });
        }
        Ok(())
    })?;
    Ok(documents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_input() {
        let manifests = Manifests {
            filenames: vec!["-".to_owned()],
            default_namespace: "shop".to_owned(),
            ..Manifests::default()
        };
        let input = b"apiVersion: v1\nkind: Service\nmetadata: {name: orders}\n";
        let read = read_from(&manifests, || &input[..]).unwrap();
        let places: Vec<String> = read.objects.iter().map(|object| object.at("")).collect();
        assert_eq!(places, ["-:1"]);
        let error = read_from(&manifests, || &b"a: ["[..]).unwrap_err().to_string();
        assert!(error.starts_with("-:1:"), "{error}");
    }
}
