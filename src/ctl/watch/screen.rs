//! Where the story is told: a terminal with bars, or plain lines.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::story::{Row, fit};

const BAR: &str = "  {prefix:16!} {bar:24.cyan} {percent:>3} %  {wide_msg}";
const HOST_BAR: &str = "{prefix:18!} {bar:24.green} {percent:>3} %  {wide_msg}";
const NO_BAR: &str = "  {prefix:16!} {wide_msg}";
/// Lines of the terminal that stay free for what was told.
const FREE_LINES: usize = 4;

/// Where lines and bars go.
pub(super) enum Screen {
    /// A terminal: lines above, bars below.
    Terminal { all: MultiProgress, bars: Vec<(ProgressBar, Row)>, styles: Box<Styles> },
    /// Anything else: lines alone.
    Plain,
}

/// How bars look.
pub(super) struct Styles {
    host: ProgressStyle,
    server: ProgressStyle,
    unknown: ProgressStyle,
}

impl Screen {
    /// Standard output, whatever it is.
    pub(super) fn of_stdout() -> anyhow::Result<Self> {
        if !io::stdout().is_terminal() {
            return Ok(Self::Plain);
        }
        let style = |template: &str| ProgressStyle::with_template(template).map(|style| style.progress_chars("█▌·"));
        let styles = Box::new(Styles { host: style(HOST_BAR)?, server: style(BAR)?, unknown: style(NO_BAR)? });
        Ok(Self::Terminal { all: MultiProgress::with_draw_target(ProgressDrawTarget::stdout_with_hz(10)), bars: Vec::new(), styles })
    }

    /// Whether bars are shown.
    pub(super) fn has_bars(&self) -> bool {
        matches!(self, Self::Terminal { .. })
    }

    /// Tells lines, which stay.
    pub(super) fn tell(&self, lines: &[String]) -> io::Result<()> {
        match self {
            Self::Terminal { all, .. } => lines.iter().try_for_each(|line| all.println(line)),
            Self::Plain => {
                let mut out = io::stdout().lock();
                lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
                out.flush()
            }
        }
    }

    /// Shows the bars anew.
    pub(super) fn show(&mut self, rows: Vec<Row>) {
        let Self::Terminal { all, bars, styles } = self else { return };
        let height = console_height();
        let rows = fit(rows, height.saturating_sub(FREE_LINES));
        while bars.len() > rows.len() {
            if let Some((bar, _)) = bars.pop() {
                bar.finish_and_clear();
                all.remove(&bar);
            }
        }
        for (index, row) in rows.into_iter().enumerate() {
            if let Some((bar, shown)) = bars.get_mut(index) {
                if *shown != row {
                    draw(bar, &row, styles);
                    *shown = row;
                }
            } else {
                let bar = all.add(ProgressBar::new(100));
                draw(&bar, &row, styles);
                bars.push((bar, row));
            }
        }
    }

    /// Leaves the last state of the bars standing.
    pub(super) fn leave(&self) {
        if let Self::Terminal { bars, .. } = self {
            bars.iter().for_each(|(bar, _)| bar.abandon());
        }
    }
}

fn draw(bar: &ProgressBar, row: &Row, styles: &Styles) {
    let style = match (row.is_host, row.percent) {
        (true, Some(_)) => &styles.host,
        (false, Some(_)) => &styles.server,
        (_, None) => &styles.unknown,
    };
    bar.set_style(style.clone());
    bar.set_prefix(row.name.clone());
    bar.set_message(row.text.clone());
    bar.set_position(u64::from(row.percent.unwrap_or(0)));
    bar.tick();
}

fn console_height() -> usize {
    usize::from(indicatif::TermLike::height(&console::Term::stdout()))
}

/// How often the bars are drawn anew when nothing happens: they show for how long a copy has been running.
pub(super) const REDRAW: Duration = Duration::from_secs(1);
