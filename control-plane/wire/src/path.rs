//! Where in a message a codec is, for its error texts.

use std::fmt;

use crate::schema::FieldSchema;

/// Longest part of a map key that an error repeats.
const MAX_KEY_CHARS: usize = 64;

#[derive(Clone, Debug)]
enum Step {
    Field(&'static FieldSchema),
    Index(usize),
    Key(String),
}

/// A path such as `accept.operations[0].launch.task_infos[1].limits["cpus"]`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Path(Vec<Step>);

impl Path {
    pub(crate) fn push_field(&mut self, field: &'static FieldSchema) {
        self.0.push(Step::Field(field));
    }

    pub(crate) fn push_index(&mut self, index: usize) {
        self.0.push(Step::Index(index));
    }

    pub(crate) fn push_key(&mut self, key: &str) {
        self.0.push(Step::Key(shortened(key, MAX_KEY_CHARS)));
    }

    pub(crate) fn pop(&mut self) {
        self.0.pop();
    }

    /// The path of a field of the message this path leads to.
    pub(crate) fn child(&self, field: &'static FieldSchema) -> String {
        let mut path = self.clone();
        path.push_field(field);
        path.to_string()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(field) if depth == 0 => f.write_str(field.name)?,
                Step::Field(field) => write!(f, ".{}", field.name)?,
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}

/// At most `limit` characters of `text`, with an ellipsis when something was left out.
pub(crate) fn shortened(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
