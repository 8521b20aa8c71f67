//! No text makes the reader of manifests panic, hang or grow without bounds, and what it reads has
//! lines that exist.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_source::manifests::{documents, parse};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    match parse("a.yaml", &text, "default") {
        Ok(read) => {
            for object in &read.objects {
                assert!(!object.name.is_empty());
                assert_eq!(object.namespace.is_empty(), !object.kind.is_namespaced());
            }
        }
        Err(error) => {
            let message = error.to_string();
            let safe = |character: char| character == '\n' || !character.is_control();
            assert!(message.chars().all(safe), "{message:?}");
            let _ = error.hint();
        }
    }
    // A document starts on a line that the text has.
    let count = text.split(['\n', '\r']).count();
    for document in documents("a.yaml", &text).unwrap_or_default() {
        assert!((1..=count).contains(&(document.line as usize)));
    }
});
