//! Tables and JSON on stdout.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

use serde::Serialize;
use serde_json::Value;

/// Form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people: aligned columns, or the lines of logs as they are
    #[default]
    #[value(alias = "text")]
    Table,
    /// The API's own objects
    Json,
    /// The same, one object a line
    Jsonl,
}

impl Format {
    /// Whether programs read it.
    pub(crate) fn is_json(self) -> bool {
        self != Self::Table
    }
}

/// How a cell is coloured on a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Good,
    Busy,
    Bad,
}

impl Tone {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Busy => Some("33"),
            Self::Bad => Some("31"),
        }
    }
}

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), tone: Tone::Plain }
    }
}

/// Rows under a header.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The lines, columns aligned by two blanks.
    pub(crate) fn render(&self, colour: bool) -> String {
        let columns = self.header.len();
        let mut widths: Vec<usize> = self.header.iter().map(|name| name.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let mut text = String::new();
        let header: Vec<Cell> = self.header.iter().map(|name| Cell::from(*name)).collect();
        for row in std::iter::once(&header).chain(&self.rows) {
            let mut line = String::new();
            for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let padding = if index + 1 == columns { 0 } else { width + 2 };
                let blanks = padding.saturating_sub(cell.text.chars().count());
                line.push_str(&paint(&cell.text, cell.tone, colour));
                line.extend(std::iter::repeat_n(' ', blanks));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Colours a text when asked to.
pub(crate) fn paint(text: &str, tone: Tone, colour: bool) -> String {
    match tone.code().filter(|_| colour && !text.is_empty()) {
        Some(code) => format!("\x1b[{code}m{text}\x1b[0m"),
        None => text.to_owned(),
    }
}

/// Colours that tell many things apart.
const TINTS: [u8; 10] = [36, 32, 35, 34, 33, 96, 92, 95, 94, 93];

/// Colours a text so that the same name always has the same colour.
pub(crate) fn tint(text: &str, name: &str, colour: bool) -> String {
    if !colour {
        return text.to_owned();
    }
    let sum = name.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let code = TINTS[sum as usize % TINTS.len()];
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// Whether stdout takes colours: a terminal, and `NO_COLOR` unset or empty.
pub(crate) fn colour() -> bool {
    std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A text that others wrote, as a terminal may have it: colours and tabs stay, and nothing else that a
/// terminal obeys. A task could set the clipboard or draw over what is true.
fn for_terminal(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = colour_at(rest).unwrap_or_else(|| c.len_utf8());
        let (this, after) = rest.split_at(length);
        if length > c.len_utf8() || is_plain(c) {
            shown.push_str(this);
        }
        rest = after;
    }
    Cow::Owned(shown)
}

/// Bytes of the colour that a text begins with (ECMA-48, SGR).
fn colour_at(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\x1b[")?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && !matches!(c, ';' | ':'))?;
    numbers[end..].starts_with('m').then_some("\x1b[".len() + end + 1)
}

/// Writes to stdout; a reader that went away (`| head`) is no failure.
pub(crate) fn print(text: &str) -> std::io::Result<()> {
    let out = std::io::stdout();
    let text = if out.is_terminal() { for_terminal(text) } else { Cow::Borrowed(text) };
    let mut out = out.lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => result,
    }
}

/// Writes a value as JSON: indented, or the elements of a list as a line each.
pub(crate) fn print_json(format: Format, value: &impl Serialize) -> anyhow::Result<()> {
    Ok(print(&json_text(format, value)?)?)
}

fn json_text(format: Format, value: &impl Serialize) -> serde_json::Result<String> {
    let lines = match (format, serde_json::to_value(value)?) {
        (Format::Jsonl, Value::Array(list)) => list,
        (Format::Jsonl, value) => vec![value],
        _ => return Ok(serde_json::to_string_pretty(value)? + "\n"),
    };
    Ok(lines.iter().map(|line| format!("{line}\n")).collect())
}

/// Writes a table.
pub(crate) fn print_table(table: &Table) -> anyhow::Result<()> {
    Ok(print(&table.render(colour()))?)
}

/// A number with at most three digits of fraction and no empty ones: `0.1`, `128`.
pub(crate) fn number(value: f64) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write!(text, "{value:.3}");
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    if text == "-0" { "0".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_task_wrote_colours_a_terminal_and_does_nothing_else_to_it() {
        for (text, shown) in [
            ("a\tä\n", "a\tä\n"),
            ("\x1b[1;31mred\x1b[0m\x1b[m", "\x1b[1;31mred\x1b[0m\x1b[m"),
            ("\x1b]52;c;ZXZpbA==\x07x", "]52;c;ZXZpbA==x"),
            ("true\r\x1b[2Kfalse\x08\x7f", "true[2Kfalse"),
            ("\u{9b}6n\x1b", "6n"),
            ("\x1b[31", "[31"),
            ("\x1b[\x1b[1mx", "[\x1b[1mx"),
        ] {
            assert_eq!(for_terminal(text), shown, "{text:?}");
        }
    }

    #[test]
    fn columns_are_aligned_and_colours_take_no_room() {
        let mut table = Table::new(&["ID", "STATUS", "N"]);
        table.row(["/web".into(), Cell::toned("Running", Tone::Good), "2/2".into()]);
        table.row(["/a".into(), Cell::toned("Waiting", Tone::Bad), "0/1".into()]);
        assert_eq!(
            table.render(false),
            "ID    STATUS   N\n/web  Running  2/2\n/a    Waiting  0/1\n"
        );
        assert_eq!(
            table.render(true),
            "ID    STATUS   N\n/web  \x1b[32mRunning\x1b[0m  2/2\n/a    \x1b[31mWaiting\x1b[0m  0/1\n"
        );
    }

    #[test]
    fn a_list_is_a_line_for_each_of_its_elements() {
        let list = serde_json::json!([{"a": 1}, {"a": 2}]);
        assert_eq!(json_text(Format::Jsonl, &list).unwrap(), "{\"a\":1}\n{\"a\":2}\n");
        assert_eq!(json_text(Format::Jsonl, &list[0]).unwrap(), "{\"a\":1}\n");
        assert_eq!(json_text(Format::Json, &list[0]).unwrap(), "{\n  \"a\": 1\n}\n");
    }

    #[test]
    fn a_name_keeps_its_colour() {
        assert_eq!(tint("x", "a", true), tint("x", "a", true));
        assert_ne!(tint("x", "a", true), tint("x", "b", true));
        assert_eq!(tint("x", "a", false), "x");
    }

    #[test]
    fn numbers_have_no_empty_fraction() {
        let all = [0.1, 128.0, 10000.0, 1.2345, 0.0, -0.0, 100.0];
        assert_eq!(
            all.map(number),
            ["0.1", "128", "10000", "1.234", "0", "0", "100"].map(str::to_owned)
        );
    }
}
