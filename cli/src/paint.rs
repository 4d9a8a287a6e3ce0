//! Colours, and the one place where data goes to the standard output.

use std::io::{IsTerminal, Write};

/// What a piece of text is meant to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// Labels and headings.
    Strong,
    /// Of less weight.
    Faint,
    /// All is well.
    Good,
    /// Under way.
    Busy,
    /// Waits for someone.
    Held,
    /// Not well.
    Bad,
}

/// Puts colours on text, or not.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    /// Colours are wanted.
    pub colours: bool,
}

impl Paint {
    /// Colours when the standard output is a terminal and nobody asked for none.
    pub fn for_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Paint { colours: std::io::stdout().is_terminal() && !refused && !dumb }
    }

    /// The text with its tone.
    pub fn put(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Busy => "36",
            Tone::Held => "33",
            Tone::Bad => "31",
        };
        if self.colours && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Writes data to the standard output. A reader that went away (`serin get | head`) is not an error.
pub fn write_out(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(failure) if failure.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
