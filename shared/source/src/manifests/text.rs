//! Bytes of a file as text, refused early where they are no manifest.

use std::io::Read;

use crate::error::Error;

/// How large a file may be. The API server takes no object over 3 MiB, so that anything larger is
/// a list; a list of all pods of a cluster of 5,000 fits.
pub(super) const MAXIMUM_SIZE: usize = 64 << 20;

/// How much is looked at before the rest is read: binary files show themselves early.
const FIRST: usize = 64 << 10;

/// Reads text to its end. `path` is for messages.
pub(super) fn read(path: &str, mut from: impl Read) -> Result<String, Error> {
    let unreadable = |source| Error::Unreadable { path: super::place::printable(path), source };
    let mut bytes = Vec::new();
    from.by_ref().take(FIRST as u64).read_to_end(&mut bytes).map_err(unreadable)?;
    refuse_binary(path, &bytes, 0)?;
    let seen = bytes.len();
    if seen == FIRST {
        let rest = (MAXIMUM_SIZE + 1).saturating_sub(seen);
        from.take(rest as u64).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() > MAXIMUM_SIZE {
            return Err(Error::TooLarge { path: super::place::printable(path), limit: MAXIMUM_SIZE });
        }
        refuse_binary(path, bytes.get(seen..).unwrap_or_default(), seen)?;
    }
    String::from_utf8(bytes).map_err(|error| Error::NotText {
        path: super::place::printable(path),
        what: "bytes that are not UTF-8",
        advice: "save the file as UTF-8",
        offset: error.utf8_error().valid_up_to(),
    })
}

fn refuse_binary(path: &str, bytes: &[u8], offset: usize) -> Result<(), Error> {
    let path = || super::place::printable(path);
    if offset == 0 && (bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff])) {
        return Err(Error::NotText {
            path: path(),
            what: "UTF-16 text",
            advice: "save the file as UTF-8; PowerShell's `>` writes UTF-16, `| Out-File -Encoding utf8` does not",
            offset,
        });
    }
    match bytes.iter().position(|byte| *byte == 0) {
        Some(position) => Err(Error::NotText {
            path: path(),
            what: "a NUL byte",
            advice: "this is a binary file; name the manifest it was made from",
            offset: offset + position,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> String {
        read("a.yaml", bytes).unwrap_err().to_string()
    }

    #[test]
    fn names_what_is_not_text() {
        assert_eq!(refused(b"ELF\0"), "a.yaml is no manifest: a NUL byte at byte 3");
        assert_eq!(refused(b"a: \xff"), "a.yaml is no manifest: bytes that are not UTF-8 at byte 3");
        assert_eq!(refused(b"\xff\xfea\0"), "a.yaml is no manifest: UTF-16 text at byte 0");
        let mut late = vec![b' '; FIRST + 10];
        late.push(0);
        assert!(refused(&late).ends_with(&format!("a NUL byte at byte {}", FIRST + 10)));
    }

    #[test]
    fn endless_input_is_refused_with_bounded_memory() {
        assert_eq!(
            read("/dev/random", std::io::repeat(b'a')).unwrap_err().to_string(),
            "/dev/random is larger than 64 MiB, too large for a manifest"
        );
        // Binary content is refused on sight, before the rest is read.
        assert!(read("/dev/zero", std::io::repeat(0)).is_err());
    }

    #[test]
    fn exactly_the_limit_is_read() {
        let text = read("a", std::io::repeat(b' ').take(MAXIMUM_SIZE as u64)).unwrap();
        assert_eq!(text.len(), MAXIMUM_SIZE);
    }
}
