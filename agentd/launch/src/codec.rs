//! Length-prefixed fields, for what the agent tells the shim. Binary safe and small: the shim
//! parses it with memory it gives back.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A field that ended early, was too long, or held what its type cannot.
#[derive(Debug, thiserror::Error)]
#[error("the launch specification is damaged at byte {0} from its end")]
pub struct Damaged(usize);

impl Damaged {
    /// Damaged where this rest begins.
    pub(crate) fn at(rest: &[u8]) -> Self {
        Self(rest.len())
    }
}

/// Appends fields to a buffer.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn number(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.number(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    pub(crate) fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    pub(crate) fn path(&mut self, value: &Path) {
        self.bytes(value.as_os_str().as_bytes());
    }

    pub(crate) fn option<T: ?Sized>(&mut self, value: Option<&T>, put: impl Fn(&mut Self, &T)) {
        self.number(u64::from(value.is_some()));
        if let Some(value) = value {
            put(self, value);
        }
    }

    pub(crate) fn list<T>(&mut self, values: &[T], put: impl Fn(&mut Self, &T)) {
        self.number(values.len() as u64);
        for value in values {
            put(self, value);
        }
    }
}

/// Takes fields off a buffer, in the order they were put.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether nothing is left: an older writer knew no further fields.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn damaged<T>(&self) -> Result<T, Damaged> {
        Err(Damaged(self.0.len()))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Damaged> {
        let Some((head, rest)) = self.0.split_at_checked(length) else { return self.damaged() };
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn number(&mut self) -> Result<u64, Damaged> {
        let head = self.take(8)?;
        head.try_into().map(u64::from_le_bytes).map_err(|_| Damaged(self.0.len()))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let length = self.number()?;
        let length = usize::try_from(length).map_err(|_| Damaged(self.0.len()))?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Result<String, Damaged> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes.to_vec()).map_err(|_| Damaged(self.0.len()))
    }

    pub(crate) fn path(&mut self) -> Result<PathBuf, Damaged> {
        self.bytes().map(|bytes| PathBuf::from(OsString::from_vec(bytes.to_vec())))
    }

    pub(crate) fn option<T>(
        &mut self,
        take: impl Fn(&mut Self) -> Result<T, Damaged>,
    ) -> Result<Option<T>, Damaged> {
        match self.number()? {
            0 => Ok(None),
            1 => take(self).map(Some),
            _ => self.damaged(),
        }
    }

    pub(crate) fn list<T>(
        &mut self,
        take: impl Fn(&mut Self) -> Result<T, Damaged>,
    ) -> Result<Vec<T>, Damaged> {
        let length = self.number()?;
        (0..length).map(|_| take(self)).collect()
    }
}
