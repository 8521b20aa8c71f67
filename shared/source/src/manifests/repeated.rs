//! The same object twice.

use std::collections::HashMap;

use mesh_model::object::Object;

use super::Read;
use super::place::printable;

/// Keeps the last of several objects with one kind, namespace and name, as `kubectl apply` would,
/// and notes both places. Objects with generated names are never the same.
pub(super) fn keep_last(read: &mut Read) {
    let mut last = HashMap::with_capacity(read.objects.len());
    let mut replaced = Vec::new();
    for (index, object) in read.objects.iter().enumerate() {
        if object.name.ends_with('?') {
            continue;
        }
        if let Some(earlier) = last.insert((object.kind, &*object.namespace, &*object.name), index) {
            replaced.push((earlier, index));
        }
    }
    if replaced.is_empty() {
        return;
    }
    let place = |index: usize| read.objects.get(index).map(|object: &Object| printable(&object.at("")));
    let notes: Vec<String> = replaced
        .iter()
        .filter_map(|(earlier, later)| {
            let object = read.objects.get(*later)?;
            let (earlier, later) = (place(*earlier)?, place(*later)?);
            let (kind, key) = (object.kind, printable(&object.key()));
            Some(format!("{kind} {key} is defined twice: {later} replaces {earlier}"))
        })
        .collect();
    read.notes.extend(notes);
    let mut replaced = replaced.into_iter().map(|(earlier, _)| earlier).collect::<Vec<_>>();
    replaced.sort_unstable();
    let mut index = 0;
    read.objects.retain(|_| {
        let kept = replaced.binary_search(&index).is_err();
        index += 1;
        kept
    });
}
