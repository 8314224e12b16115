//! What is to be fetched, and what its names mean.

use std::path::{Component, Path, PathBuf};

use crate::FetchError;

/// One URI of a command (`spec/mesos-wire.tsv`, mesos.v1.CommandInfo.URI).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Where it is.
    pub uri: String,
    /// Makes the file executable; it is then never extracted.
    pub executable: bool,
    /// Unpacks the file when its name ends like an archive's.
    pub extract: bool,
    /// Keeps a copy for later fetches by the same user.
    pub cache: bool,
    /// Name in the sandbox, possibly with folders; `None` is the last part of the URI's path.
    pub output_file: Option<String>,
}

/// Where the bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Web(reqwest::Url),
    File(PathBuf),
}

/// Kinds of archives, told by the end of the name as Mesos does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Archive {
    Tar,
    TarGzip,
    TarBzip2,
    TarXz,
    TarZstd,
    Gzip,
    Zip,
}

const ENDINGS: &[(&str, Archive)] = &[
    (".tar.gz", Archive::TarGzip),
    (".tgz", Archive::TarGzip),
    (".tar.bz2", Archive::TarBzip2),
    (".tbz2", Archive::TarBzip2),
    (".tar.xz", Archive::TarXz),
    (".txz", Archive::TarXz),
    (".tar.zst", Archive::TarZstd),
    (".tzst", Archive::TarZstd),
    (".tar", Archive::Tar),
    (".gz", Archive::Gzip),
    (".zip", Archive::Zip),
];

impl Artifact {
    pub(crate) fn malformed(&self, reason: impl Into<String>) -> FetchError {
        FetchError::Malformed { uri: self.uri.clone(), reason: reason.into() }
    }

    pub(crate) fn origin(&self) -> Result<Origin, FetchError> {
        let uri = self.uri.trim();
        if uri.starts_with('/') {
            return self.local(uri);
        }
        let Some((scheme, rest)) = uri.split_once("://") else {
            return Err(self.malformed("a relative path has no meaning to an agent"));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => reqwest::Url::parse(uri)
                .map(Origin::Web)
                .map_err(|error| self.malformed(error.to_string())),
            "file" => self.local(rest.strip_prefix("localhost").unwrap_or(rest)),
            other => Err(self
                .malformed(format!("scheme '{other}' is not supported; http, https and file are"))),
        }
    }

    fn local(&self, path: &str) -> Result<Origin, FetchError> {
        if !path.starts_with('/') {
            return Err(self.malformed("a file URI needs an absolute path"));
        }
        if path.contains('\0') {
            return Err(self.malformed("the path contains a NUL byte"));
        }
        Ok(Origin::File(PathBuf::from(path)))
    }

    /// Path of the file in the sandbox, relative and without surprises.
    pub(crate) fn destination(&self, origin: &Origin) -> Result<PathBuf, FetchError> {
        let Some(chosen) = &self.output_file else { return self.basename(origin) };
        let path = Path::new(chosen);
        let plain =
            path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        let path: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
        if !plain || path.as_os_str().is_empty() || chosen.contains('\0') || chosen.ends_with('/') {
            return Err(self.malformed(format!(
                "output_file '{chosen}' is not a relative path inside the sandbox"
            )));
        }
        Ok(path)
    }

    fn basename(&self, origin: &Origin) -> Result<PathBuf, FetchError> {
        let path = match origin {
            Origin::Web(url) => url.path().to_owned(),
            Origin::File(path) => path.to_string_lossy().into_owned(),
        };
        let name = path.rsplit('/').next().unwrap_or_default();
        let name = match origin {
            Origin::Web(_) => percent_decode(name),
            Origin::File(_) => name.to_owned(),
        };
        let bad = name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']);
        if bad {
            return Err(self.malformed("it has no file name; set output_file"));
        }
        Ok(PathBuf::from(name))
    }

    /// The kind of archive to unpack, if any.
    pub(crate) fn archive(&self, destination: &Path) -> Option<Archive> {
        if self.executable || !self.extract {
            return None;
        }
        let name = destination.to_string_lossy();
        ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, archive)| *archive)
    }
}

/// Undoes `%xx`; what is not valid stays as it is.
fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let decoded = (byte == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(decoded.unwrap_or(byte));
        at += if decoded.is_some() { 3 } else { 1 };
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(uri: &str, output_file: Option<&str>) -> Artifact {
        Artifact {
            uri: uri.to_owned(),
            executable: false,
            extract: true,
            cache: false,
            output_file: output_file.map(str::to_owned),
        }
    }

    fn name(uri: &str, output_file: Option<&str>) -> Result<String, String> {
        let artifact = artifact(uri, output_file);
        let origin = artifact.origin().map_err(|e| e.to_string())?;
        let path = artifact.destination(&origin).map_err(|e| e.to_string())?;
        Ok(path.display().to_string())
    }

    #[test]
    fn files_are_named_after_the_path_and_not_the_query() {
        assert_eq!(name("http://h/a/b.tgz?sig=x/y#z", None), Ok("b.tgz".to_owned()));
        assert_eq!(name("http://h/a%20b", None), Ok("a b".to_owned()));
        assert_eq!(name("file:///opt/x.tar", None), Ok("x.tar".to_owned()));
        assert_eq!(name("file://localhost/opt/x.tar", None), Ok("x.tar".to_owned()));
        assert_eq!(name("/opt/x.tar", None), Ok("x.tar".to_owned()));
        assert_eq!(name("http://h/a", Some("./sub/dir/name")), Ok("sub/dir/name".to_owned()));
    }

    #[test]
    fn names_that_leave_the_sandbox_or_are_none_are_refused_with_the_uri() {
        for (uri, output) in [
            ("http://h/", None),
            ("http://h/%2e%2e", None),
            ("http://h/a%2fb", None),
            ("/opt/", None),
            ("http://h/a", Some("../a")),
            ("http://h/a", Some("/a")),
            ("http://h/a", Some("a/../../b")),
            ("http://h/a", Some("")),
            ("http://h/a", Some(".")),
            ("http://h/a", Some("a\0")),
            ("relative/path", None),
            ("ftp://h/a", None),
            ("hdfs://h/a", None),
            ("file://other/a", None),
            ("http://", None),
        ] {
            let refused = name(uri, output).expect_err(uri);
            assert!(refused.contains(&format!("'{uri}'")), "{refused}");
        }
    }

    #[test]
    fn archives_are_told_by_their_names_unless_executable() {
        let mut a = artifact("http://h/a", None);
        for (name, kind) in ENDINGS {
            assert_eq!(a.archive(Path::new(&format!("x{name}"))), Some(*kind));
        }
        assert_eq!(a.archive(Path::new("x.jar")), None);
        a.executable = true;
        assert_eq!(a.archive(Path::new("x.tar")), None);
    }
}
