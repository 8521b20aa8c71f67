//! Which files a path names.

use std::fs;
use std::path::{Path, PathBuf};

use super::place::printable;
use super::template;
use crate::error::Error;

/// Something to read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Input {
    /// How the user would type it.
    pub(super) shown: String,
    /// The file; `None` for standard input.
    pub(super) file: Option<PathBuf>,
    /// Whether the user named it, or it was found in a directory that the user named.
    pub(super) named: bool,
}

/// The files that `filenames` name, in kubectl's order: as given, directories sorted by name.
/// Adds a note for everything passed over that might have been meant.
pub(super) fn inputs(
    filenames: &[String],
    recursive: bool,
    notes: &mut Vec<String>,
) -> Result<Vec<Input>, Error> {
    let mut inputs: Vec<Input> = Vec::new();
    for name in filenames {
        if name == "-" {
            if inputs.iter().any(|input| input.file.is_none()) {
                return Err(Error::StandardInputTwice);
            }
            inputs.push(Input { shown: name.clone(), file: None, named: true });
            continue;
        }
        if name.starts_with("http://") || name.starts_with("https://") {
            return Err(Error::Url { url: printable(name) });
        }
        let path = Path::new(name);
        let metadata = fs::metadata(path).map_err(|source| unreadable(name, source))?;
        if !metadata.is_dir() {
            inputs.push(Input { shown: name.clone(), file: Some(path.to_owned()), named: true });
            continue;
        }
        let before = inputs.len();
        walk(name, path, recursive, &mut inputs, notes)?;
        if inputs.len() == before {
            let below = !recursive && holds_manifests(path);
            return Err(Error::Empty { path: printable(name), below });
        }
    }
    Ok(inputs)
}

fn unreadable(shown: &str, source: std::io::Error) -> Error {
    let path = printable(shown);
    if source.kind() == std::io::ErrorKind::NotFound {
        Error::Missing { path }
    } else {
        Error::Unreadable { path, source }
    }
}

/// Collects the manifests of a directory. Symbolic links to files are followed and links to
/// directories are not, as in kubectl: a tree has no loops that way.
fn walk(
    shown: &str,
    directory: &Path,
    recursive: bool,
    inputs: &mut Vec<Input>,
    notes: &mut Vec<String>,
) -> Result<(), Error> {
    if template::is_chart(directory) {
        return Err(Error::Chart { path: printable(shown) });
    }
    let unreadable = |source| unreadable(shown, source);
    let mut entries = fs::read_dir(directory)
        .and_then(Iterator::collect::<Result<Vec<fs::DirEntry>, _>>)
        .map_err(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let shown = if shown.ends_with('/') { format!("{shown}{name}") } else { format!("{shown}/{name}") };
        let kind = entry.file_type().map_err(|source| self::unreadable(&shown, source))?;
        if kind.is_dir() {
            if recursive && !name.starts_with('.') {
                walk(&shown, &path, recursive, inputs, notes)?;
            }
        } else if name.starts_with('.') {
            if is_manifest(&path) && kind.is_file() {
                notes.push(format!("{}: hidden file skipped", printable(&shown)));
            }
        } else if kind.is_symlink() && path.is_dir() {
            if recursive {
                notes.push(format!("{}: link to a directory not followed", printable(&shown)));
            }
        } else if is_manifest(&path) && !kind.is_file() && !kind.is_symlink() {
            // A pipe would be waited for without end.
            notes.push(format!("{}: skipped, not a regular file", printable(&shown)));
        } else if is_manifest(&path) {
            inputs.push(Input { shown, file: Some(path), named: false });
        }
    }
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
}

/// Whether a manifest stands anywhere below a directory; what cannot be read counts as none, since
/// this only words a hint.
fn holds_manifests(directory: &Path) -> bool {
    fs::read_dir(directory).into_iter().flatten().flatten().any(|entry| {
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !hidden => holds_manifests(&entry.path()),
            Ok(kind) => kind.is_file() && !hidden && is_manifest(&entry.path()),
            Err(_) => false,
        }
    })
}
