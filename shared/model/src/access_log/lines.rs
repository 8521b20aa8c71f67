//! From pieces of a stream to lines.

/// The longest line that is read. Envoy's own limit for all headers of a request is 60 KiB, and a line
/// repeats few of them.
pub const LONGEST: usize = 256 * 1024;

/// Puts lines together from pieces of a stream, holding one line at a time.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
    /// Whether the rest of the line is skipped: it is longer than a line can be.
    skipping: bool,
}

impl Lines {
    /// Takes a piece, and gives each line that ends in it to `line`, without its end. Bytes that are no
    /// UTF-8 are replaced. A line longer than [`LONGEST`] is cut there.
    pub fn push(&mut self, mut piece: &[u8], line: &mut dyn FnMut(&str)) {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            let (ended, rest) = piece.split_at(end);
            if self.begun.is_empty() && !self.skipping && ended.len() <= LONGEST {
                say(ended, line);
            } else {
                self.begin(ended);
                self.end(line);
            }
            piece = rest.get(1..).unwrap_or_default();
        }
        self.begin(piece);
    }

    /// Gives the last line, which may have no end.
    pub fn finish(&mut self, line: &mut dyn FnMut(&str)) {
        if !self.begun.is_empty() {
            self.end(line);
        }
    }

    fn begin(&mut self, piece: &[u8]) {
        if self.skipping {
            return;
        }
        let room = LONGEST.saturating_sub(self.begun.len());
        self.skipping = piece.len() > room;
        self.begun.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
    }

    fn end(&mut self, line: &mut dyn FnMut(&str)) {
        say(&self.begun, line);
        self.begun.clear();
        self.skipping = false;
    }
}

fn say(bytes: &[u8], line: &mut dyn FnMut(&str)) {
    match std::str::from_utf8(bytes) {
        Ok(text) => line(text),
        Err(_) => line(&String::from_utf8_lossy(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut said = Vec::new();
        let mut keep = |line: &str| said.push(line.to_owned());
        for piece in pieces {
            lines.push(piece, &mut keep);
        }
        lines.finish(&mut keep);
        said
    }

    #[test]
    fn lines_are_the_same_however_the_stream_is_cut() {
        let text = "one\n\ntwo ü\nthree".as_bytes();
        let whole = lines(&[text]);
        assert_eq!(whole, ["one", "", "two ü", "three"]);
        for cut in 0..text.len() {
            let (left, right) = text.split_at(cut);
            assert_eq!(lines(&[left, right]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_line_without_end_does_not_fill_memory() {
        let long = vec![b'x'; LONGEST];
        let said = lines(&[&long, &long, b"y\nnext\n"]);
        assert_eq!(said.iter().map(String::len).collect::<Vec<_>>(), [LONGEST, 4]);
        assert_eq!(said[1], "next");
    }
}
