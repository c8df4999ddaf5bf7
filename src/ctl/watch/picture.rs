//! The picture on a terminal: rows become lines that fit it, and one picture replaces the one before. Values in, text out.
//!
//! What was told scrolls away above; the bars stay at the end, and below them one line stays free, so that whatever is printed after the program, however it ends, begins at the left.
//! A new picture is written over the old one in one piece, line by line, so that nothing flickers.

use console::{Style, measure_text_width};

use super::story::Row;

/// Lines of the terminal that are left to what was told, and to the prompt.
const FREE_LINES: usize = 4;
/// The narrowest terminals, in columns, that have room for a bar, and for a long one.
const BAR_FROM: usize = 70;
const LONG_BAR_FROM: usize = 100;
/// What a percentage takes: `100 %`.
const PERCENT: usize = 5;

/// A terminal's size, in characters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) width: usize,
    pub(super) height: usize,
}

/// One line, and how many columns it takes: colours take none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) width: usize,
}

/// What stands at the end of the terminal.
#[derive(Debug, Default)]
pub(super) struct Picture {
    /// The width of each line.
    shown: Vec<usize>,
}

impl Picture {
    /// What to write so that `told` and then `lines` replace the picture, on a terminal of this width now. A terminal that has become narrower shows the old lines folded.
    pub(super) fn redraw(&mut self, told: &[String], lines: &[Line], width: usize) -> String {
        let height: usize = self.shown.iter().map(|shown| shown.div_ceil(width.max(1)).max(1)).sum();
        let mut text = if height == 0 { "\r".to_owned() } else { format!("\r\x1b[{height}A") };
        if !told.is_empty() {
            // They may be longer than a line; what they do not cover would stand beside them.
            text.push_str("\x1b[J");
            told.iter().for_each(|line| text.extend([line.as_str(), "\n"]));
        }
        lines.iter().for_each(|line| text.extend([line.text.as_str(), "\x1b[K\n"]));
        text.push_str("\x1b[J");
        self.shown = lines.iter().map(|line| line.width).collect();
        text
    }
}

/// The lines of the rows: as many as the terminal has room for, and none as wide as it is, so that none is folded.
pub(super) fn lines(rows: Vec<Row>, size: Size, colored: bool) -> Vec<Line> {
    let rows = fit(rows, size.height.saturating_sub(FREE_LINES));
    let columns = Columns::of(&rows, size.width.saturating_sub(1));
    rows.iter().map(|row| columns.line(row, colored)).collect()
}

/// How wide each part of a line is.
struct Columns {
    name: usize,
    bar: usize,
    text: usize,
}

impl Columns {
    fn of(rows: &[Row], width: usize) -> Self {
        let longest = rows.iter().map(|row| measure_text_width(&indented(row))).max().unwrap_or(0);
        let name = longest.min((width / 3).max(10)).min(width);
        let bar = match width {
            LONG_BAR_FROM.. => 24,
            BAR_FROM.. => 12,
            _ => 0,
        };
        let before = name + 1 + if bar > 0 { bar + 1 } else { 0 } + PERCENT + 2;
        Self { name, bar, text: width.saturating_sub(before) }
    }

    fn line(&self, row: &Row, colored: bool) -> Line {
        if row.name.is_empty() {
            let text = cut(&format!("  {}", row.text), self.name + 1 + self.text);
            return Line { width: measure_text_width(&text), text };
        }
        let name = cut(&indented(row), self.name);
        let name = format!("{name}{}", " ".repeat(self.name.saturating_sub(measure_text_width(&name))));
        let (done, open) = bar(row.percent, self.bar);
        let percent = row.percent.map_or_else(|| " ".repeat(PERCENT), |percent| format!("{percent:>3} %"));
        let space = if self.bar > 0 { " " } else { "" };
        let text = cut(&row.text, self.text);
        let plain = format!("{name} {done}{open}{space}{percent}  {text}");
        let width = measure_text_width(plain.trim_end());
        let color = if row.is_host { Style::new().green() } else { Style::new().cyan() };
        let done = color.force_styling(colored).apply_to(done);
        Line { text: format!("{name} {done}{open}{space}{percent}  {text}").trim_end().to_owned(), width }
    }
}

fn indented(row: &Row) -> String {
    format!("{}{}", if row.is_host { "" } else { "  " }, row.name)
}

/// The part of a bar that is done, and the rest. Where nothing is known both are blank.
fn bar(percent: Option<u32>, width: usize) -> (String, String) {
    let Some(percent) = percent else { return (String::new(), " ".repeat(width)) };
    let done = (width.saturating_mul(usize::try_from(percent).unwrap_or(100)) / 100).min(width);
    ("█".repeat(done), "·".repeat(width - done))
}

/// At most so many columns of a text; what is cut off is replaced by `…`.
fn cut(text: &str, width: usize) -> String {
    // What has no width would keep the blanks before it.
    if width == 0 {
        return String::new();
    }
    if measure_text_width(text) <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let fits = |c: &char| {
        let wide = measure_text_width(c.encode_utf8(&mut [0; 4]));
        let fits = wide <= left;
        left = left.saturating_sub(wide);
        fits
    };
    let kept: String = text.chars().take_while(fits).collect();
    format!("{}…", kept.trim_end())
}

/// Only so many rows: servers at rest go first, then other servers, then hosts at rest, then other hosts. The last row says how many are missing.
fn fit(rows: Vec<Row>, most: usize) -> Vec<Row> {
    let over = rows.len().saturating_sub(most.max(1));
    if over == 0 {
        return rows;
    }
    // One more, for the row that says how many are missing.
    let mut left_out = over + 1;
    let (mut hosts, mut servers) = (0, 0);
    let mut kept = rows;
    for (hosts_too, busy_too) in [(false, false), (false, true), (true, false), (true, true)] {
        kept.retain(|row| {
            let goes = left_out > 0 && row.is_host == hosts_too && row.is_busy == busy_too;
            left_out -= usize::from(goes);
            let missing = if row.is_host { &mut hosts } else { &mut servers };
            *missing += usize::from(goes);
            !goes
        });
    }
    let missing = [(hosts, "host"), (servers, "server")].into_iter().filter(|(count, _)| *count > 0);
    let missing: Vec<String> = missing.map(|(count, what)| format!("{count} more {what}{}", if count == 1 { "" } else { "s" })).collect();
    kept.push(Row { name: String::new(), is_host: false, percent: None, text: format!("and {}", missing.join(" and ")), is_busy: false });
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn host(name: &str) -> Row {
        Row { name: name.to_owned(), is_host: true, percent: Some(50), text: "Draining: 2 of 4 servers gone, 1 moving, 1 waiting".to_owned(), is_busy: true }
    }

    fn server(name: &str, percent: Option<u32>, is_busy: bool) -> Row {
        Row { name: name.to_owned(), is_host: false, percent, text: "moved to compute-2 in 8.4 s, 1.0 s of them queued in Nova".to_owned(), is_busy }
    }

    fn shown(rows: Vec<Row>, width: usize, height: usize) -> Vec<String> {
        lines(rows, Size { width, height }, false).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_wide_terminal_shows_bars_and_the_columns_stand_below_each_other() {
        let rows = vec![host("compute-17.rack-4.example.org"), server("6a1fb5a0", Some(100), false), server("7b2fc6b1", None, true)];
        assert_eq!(
            shown(rows, 120, 40),
            [
                "compute-17.rack-4.example.org ████████████············  50 %  Draining: 2 of 4 servers gone, 1 moving, 1 waiting",
                "  6a1fb5a0                    ████████████████████████ 100 %  moved to compute-2 in 8.4 s, 1.0 s of them queued in Nova",
                "  7b2fc6b1                                                    moved to compute-2 in 8.4 s, 1.0 s of them queued in Nova",
            ]
        );
    }

    #[test]
    fn a_narrow_terminal_shows_less_and_folds_nothing() {
        let rows = || vec![host("compute-17.rack-4.example.org"), server("6a1fb5a0", Some(100), false)];
        assert_eq!(
            shown(rows(), 80, 24),
            [
                "compute-17.rack-4.example… ██████······  50 %  Draining: 2 of 4 servers gone,…",
                "  6a1fb5a0                 ████████████ 100 %  moved to compute-2 in 8.4 s, 1.…"
            ]
        );
        assert_eq!(shown(rows(), 40, 10), ["compute-17.r…  50 %  Draining: 2 of 4…", "  6a1fb5a0    100 %  moved to compute-…"]);
    }

    #[test]
    fn busy_servers_are_shown_first_and_the_last_line_says_how_many_are_missing() {
        let mut rows = vec![host("a")];
        rows.extend((0..200).map(|number| server(&format!("{number:08}"), None, number == 150)));
        let lines = shown(rows, 80, 10);
        assert_eq!(lines.len(), 6);
        assert!(lines[0].starts_with("a ") && lines.iter().any(|line| line.starts_with("  00000150")), "{lines:?}");
        assert_eq!(lines[5], "  and 196 more servers");
    }

    #[test]
    fn more_hosts_than_lines_fill_no_more_than_the_terminal() {
        let mut rows: Vec<Row> = (0..30).map(|number| Row { is_busy: number == 29, ..host(&format!("h{number}")) }).collect();
        rows.push(server("6a1fb5a0", None, true));
        let lines = shown(rows, 80, 8);
        assert_eq!(lines.len(), 4);
        assert!(lines[2].starts_with("h29"), "the one at work stays: {lines:?}");
        assert_eq!(lines[3], "  and 27 more hosts and 1 more server");
    }

    #[test]
    fn a_picture_is_written_over_the_one_before_and_leaves_a_free_line_below() {
        let line = |text: &str| Line { text: text.to_owned(), width: text.len() };
        let mut picture = Picture::default();
        assert_eq!(picture.redraw(&[], &[line("one"), line("two")], 80), "\rone\x1b[K\ntwo\x1b[K\n\x1b[J");
        assert_eq!(picture.redraw(&["news".to_owned()], &[line("one")], 80), "\r\x1b[2A\x1b[Jnews\none\x1b[K\n\x1b[J");
        assert_eq!(picture.redraw(&[], &[], 2), "\r\x1b[2A\x1b[J", "a line of 3 columns fills 2 lines of 2");
    }

    #[test]
    fn colours_take_no_room() {
        let [plain, colored] = [false, true].map(|colored| lines(vec![host("a")], Size { width: 80, height: 24 }, colored).remove(0));
        assert_eq!(plain.width, colored.width);
        assert!(!plain.text.contains('\u{1b}') && colored.text.contains('\u{1b}'));
    }

    proptest! {
        #[test]
        fn no_line_is_as_wide_as_the_terminal(name in "\\PC{0,60}", text in "\\PC{0,200}", percent in proptest::option::of(0..=100_u32), width in 1..200_usize, is_host: bool) {
            let row = Row { name, is_host, percent, text, is_busy: true };
            for line in lines(vec![row], Size { width, height: 24 }, false) {
                prop_assert!(measure_text_width(&line.text) < width.max(18), "{line:?}");
                prop_assert_eq!(measure_text_width(&line.text), line.width);
            }
        }
    }
}
