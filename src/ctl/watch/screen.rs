//! Where the story is told: a terminal with bars, or plain lines.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use console::Term;

use super::picture::{Picture, Size, lines};
use super::story::Row;

/// How often the picture may change: news that come at once are shown at once.
pub(super) const REDRAW: Duration = Duration::from_millis(100);
/// How many times [`REDRAW`] pass before it is drawn anew when nothing happens: it shows for how long a copy has been running.
pub(super) const IDLE_REDRAWS: u32 = 10;

/// Where lines and bars go.
pub(super) enum Screen {
    /// A terminal: lines above, bars below.
    Terminal { term: Term, picture: Picture, told: Vec<String> },
    /// Anything else: lines alone.
    Plain,
}

impl Screen {
    /// Standard output. A terminal that says it is `dumb` can move no cursor and gets plain lines, as does one whose owner asked for them.
    pub(super) fn of_stdout(plain: bool, term: Option<&str>) -> Self {
        if plain || term == Some("dumb") || !io::stdout().is_terminal() {
            return Self::Plain;
        }
        Self::Terminal { term: Term::stdout(), picture: Picture::default(), told: Vec::new() }
    }

    /// Whether bars are shown.
    pub(super) fn has_bars(&self) -> bool {
        matches!(self, Self::Terminal { .. })
    }

    /// Tells lines, which stay; on a terminal with the next picture.
    pub(super) fn tell(&mut self, lines: Vec<String>) -> io::Result<()> {
        match self {
            Self::Terminal { told, .. } => {
                told.extend(lines);
                Ok(())
            }
            Self::Plain => write(&lines.into_iter().flat_map(|line| [line, "\n".to_owned()]).collect::<String>()),
        }
    }

    /// Shows what was told, and the bars anew.
    pub(super) fn show(&mut self, rows: Vec<Row>) -> io::Result<()> {
        let Self::Terminal { term, picture, told } = self else { return Ok(()) };
        let (height, width) = term.size();
        let size = Size { width: width.into(), height: height.into() };
        let lines = lines(rows, size, console::colors_enabled());
        write(&picture.redraw(&std::mem::take(told), &lines, size.width))
    }

    /// Says a last line, below the bars as they are.
    pub(super) fn close(&mut self, line: String) -> io::Result<()> {
        let (begin, told) = match self {
            // Over the `^C` that the terminal shows of the key.
            Self::Terminal { told, .. } => ("\r\x1b[K", std::mem::take(told)),
            Self::Plain => ("", Vec::new()),
        };
        let lines: String = told.into_iter().chain([line]).flat_map(|line| [line, "\n".to_owned()]).collect();
        write(&format!("{begin}{lines}"))
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
