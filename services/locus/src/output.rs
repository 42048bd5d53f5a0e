//! Results on standard output, everything else on standard error.

use crate::error::CommandError;
use serde::Serialize;
use std::io::{self, IsTerminal as _, Write as _};

/// How results are printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// JSON or text for people.
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether progress may be drawn: somebody watches, and nothing parses.
    pub(crate) fn draws_progress(self) -> bool {
        !self.json && io::stderr().is_terminal()
    }

    /// Prints a result: `value` as one line of JSON, or the text that `words` makes.
    pub(crate) fn result(self, value: &impl Serialize, words: impl FnOnce() -> String) -> Result<(), CommandError> {
        let mut text = if self.json {
            serde_json::to_string(value).map_err(|error| CommandError::Output(error.into()))?
        } else {
            words()
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        match written {
            // A reader such as `head` that has seen enough is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(CommandError::Output),
        }
    }

    /// Tells people something on standard error; programs are told nothing.
    pub(crate) fn note(self, words: &str) {
        if !self.json {
            // Nothing can be done about a closed standard error.
            let _ = writeln!(io::stderr().lock(), "{words}");
        }
    }

    /// Prints the reason of a failure on standard error.
    pub(crate) fn failure(self, error: &CommandError) {
        let text = if self.json {
            serde_json::json!({ "error": error.to_string() }).to_string()
        } else {
            format!("error: {error}")
        };
        // Nothing can be done about a closed standard error.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}
