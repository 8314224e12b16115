//! Lines on their way to stdout: as they are, with whose they are before them, or as JSON.

use regex::Regex;
use serde_json::{Map, Value};

use crate::output::{self, Format, Tone, paint, tint};

use super::feed::Line;
use super::find::label;

/// Written at once when so much waits.
const BUFFER_BYTES: usize = 64 << 10;

/// Whose stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) task: String,
    pub(super) file: String,
}

/// The way to stdout.
#[derive(Debug)]
pub(super) struct Show {
    format: Format,
    colour: bool,
    labels: bool,
    times: bool,
    grep: Option<Regex>,
    waiting: String,
}

impl Show {
    pub(super) fn new(format: Format, labels: bool, times: bool, grep: Option<Regex>) -> Self {
        let colour = output::colour();
        Self { format, colour, labels, times, grep, waiting: String::new() }
    }

    /// Shows a line, if it is one of those that are wanted.
    pub(super) fn line(&mut self, origin: &Origin, line: &Line) -> std::io::Result<()> {
        if self.grep.as_ref().is_some_and(|grep| !grep.is_match(&line.text)) {
            return Ok(());
        }
        let text = self.render(origin, line);
        self.waiting.push_str(&text);
        self.waiting.push('\n');
        if self.waiting.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> std::io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        output::print(&std::mem::take(&mut self.waiting))
    }

    fn render(&self, origin: &Origin, line: &Line) -> String {
        if self.format.is_json() {
            let mut object = Map::new();
            if let Some(time) = line.time {
                object.insert("time".into(), time.to_string().into());
            }
            object.insert("task".into(), origin.task.as_str().into());
            object.insert("file".into(), origin.file.as_str().into());
            object.insert("line".into(), line.text.as_str().into());
            return Value::Object(object).to_string();
        }
        let mut text = String::new();
        if self.labels {
            let name = label(&origin.task);
            text.push_str(&tint(name, name, self.colour));
            text.push_str(&match origin.file.as_str() {
                "stderr" => paint(" ! ", Tone::Bad, self.colour),
                _ => " | ".to_owned(),
            });
        }
        if self.times {
            let time = line.time.map_or_else(|| "-".to_owned(), |time| time.to_string());
            text.push_str(&format!("{time:<24} "));
        }
        text.push_str(&line.text);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Instant;

    fn shown(format: Format, labels: bool, times: bool, file: &str) -> String {
        let show =
            Show { format, colour: false, labels, times, grep: None, waiting: String::new() };
        let task = "web.instance-11112222-3333-11ea-8000-0242ac110002._app.1".to_owned();
        let line = Line { text: "a \"b\"".into(), time: Some(Instant(1_500)) };
        show.render(&Origin { task, file: file.into() }, &line)
    }

    #[test]
    fn a_line_is_shown_as_it_is_with_its_instance_or_as_an_object() {
        assert_eq!(shown(Format::Table, false, false, "stdout"), "a \"b\"");
        assert_eq!(shown(Format::Table, true, false, "stdout"), "11112222 | a \"b\"");
        assert_eq!(
            shown(Format::Table, true, true, "stderr"),
            "11112222 ! 1970-01-01T00:00:01.500Z a \"b\""
        );
        let object: Value =
            serde_json::from_str(&shown(Format::Jsonl, true, false, "stderr")).unwrap();
        assert_eq!(object["line"], "a \"b\"");
        assert_eq!(object["time"], "1970-01-01T00:00:01.500Z");
        assert_eq!(object["file"], "stderr");
    }

    #[test]
    fn only_lines_that_match_are_shown() {
        let grep = Some(Regex::new("^c").unwrap());
        let mut show = Show::new(Format::Table, false, false, grep);
        let origin = Origin { task: "t".into(), file: "stdout".into() };
        for text in ["ab", "cd", "e"] {
            show.line(&origin, &Line { text: text.into(), time: None }).unwrap();
        }
        assert_eq!(show.waiting, "cd\n");
    }
}
