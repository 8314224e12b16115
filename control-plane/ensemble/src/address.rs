//! `etcd://…` and `zk://…`: where the servers are and who asks.

use std::fmt;
use std::path::PathBuf;

use crate::error::EnsembleError;

/// Which service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// etcd's v3 API.
    Etcd,
    /// ZooKeeper.
    ZooKeeper,
}

/// Files for TLS, PEM each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Who signs the servers' certificates; without it none is believed.
    pub ca: Option<PathBuf>,
    /// The client's certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// The files for TLS that an operator named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of who signs the servers' (`store_ca_file`).
    pub ca: Option<PathBuf>,
    /// The certificate that the servers are shown (`store_cert_file`).
    pub certificate: Option<PathBuf>,
    /// Its key (`store_key_file`).
    pub key: Option<PathBuf>,
}

impl TlsFiles {
    /// Those that end some day, by the names of their settings.
    #[must_use]
    pub fn certificates(&self) -> Vec<(&'static str, PathBuf)> {
        let named = [("store_ca_file", &self.ca), ("store_cert_file", &self.certificate)];
        named.into_iter().filter_map(|(name, path)| Some((name, path.clone()?))).collect()
    }
}

/// Servers, credentials and where among their data ours is.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Which service.
    pub kind: Kind,
    /// `host:port` each, at least one.
    pub servers: Vec<String>,
    /// User and password.
    pub login: Option<(String, String)>,
    /// Below which path our data is: begins with `/`, ends without.
    pub path: String,
    /// TLS, when the scheme is `etcds`.
    pub tls: Option<Tls>,
}

/// Why a text is no address of an ensemble.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no address of a store: {why}; expected etcd://HOST:PORT[,HOST:PORT…][/PREFIX], \
     etcds://… or zk://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…]/PATH"
)]
pub struct AddressError {
    /// The text, without its password.
    pub text: String,
    /// What is wrong.
    pub why: String,
}

/// Paths that name nothing else are below this one.
const DEFAULT_PATH: &str = "/tepui";
/// What addresses of stores begin with, in place of `http://`.
const SCHEMES: [&str; 3] = ["etcd://", "etcds://", "zk://"];
/// What the name of a file begins with in which an address stands, for the password's sake.
const FILE: &str = "file://";

impl Address {
    /// Whether a text is meant as the address of a store, or of a file in which one stands.
    pub fn is_one(text: &str) -> bool {
        SCHEMES.iter().chain([&FILE]).any(|scheme| text.starts_with(scheme))
    }

    /// Reads an address, from the file that `text` names if it begins with `file://`, and gives it
    /// the files for TLS. The files themselves are read when somebody connects.
    ///
    /// # Errors
    /// When it is none, the file cannot be read, or the files for TLS do not belong together.
    pub fn read(text: &str, files: &TlsFiles) -> Result<Self, EnsembleError> {
        let wrong = |why: String| Err(EnsembleError::Address(why));
        let mut address = match text.strip_prefix(FILE) {
            Some(path) => match std::fs::read_to_string(path) {
                Ok(text) => Self::parse(text.trim()),
                Err(error) => {
                    return wrong(format!("cannot read the store's address from {path}: {error}"));
                }
            },
            None => Self::parse(text),
        }
        .map_err(|error| EnsembleError::Address(error.to_string()))?;
        let identity = match (&files.certificate, &files.key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            _ => return wrong("store_cert_file and store_key_file belong together".to_owned()),
        };
        let shown = address.to_string();
        match &mut address.tls {
            Some(_) if files.ca.is_none() => {
                return wrong(format!(
                    "store_ca_file is needed for {shown}: without the certificates of who signs the \
                     servers' none of these is believed"
                ));
            }
            Some(tls) => *tls = Tls { ca: files.ca.clone(), identity },
            None if files.ca.is_some() || identity.is_some() => {
                return wrong(format!(
                    "store_ca_file and store_cert_file are for etcds://, and the store is {shown}"
                ));
            }
            None => {}
        }
        Ok(address)
    }

    /// Reads an address; what it names is not looked up.
    ///
    /// # Errors
    /// When the text is none; the error says what is expected, and leaves the password out.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let refuse = |why: String| AddressError { text: without_password(text), why };
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(refuse("it has no scheme".into()));
        };
        let (kind, tls) = match scheme {
            "etcd" => (Kind::Etcd, None),
            "etcds" => (Kind::Etcd, Some(Tls::default())),
            "zk" => (Kind::ZooKeeper, None),
            other => return Err(refuse(format!("{other:?} is not a known scheme"))),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, DEFAULT_PATH),
        };
        // What comes before the / may be a part of a password: it is told nobody.
        if path.contains('@') {
            return Err(refuse("neither a password with a / nor a path with an @ is taken".into()));
        }
        // A password may hold an @, a host may not.
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => {
                let Some((user, password)) = login.split_once(':') else {
                    return Err(refuse("the user has no password".into()));
                };
                if user.is_empty() {
                    return Err(refuse("the user has no name".into()));
                }
                (Some((user.to_owned(), password.to_owned())), hosts)
            }
            None => (None, authority),
        };
        let mut servers = Vec::new();
        for host in hosts.split(',') {
            check_server(host).map_err(&refuse)?;
            servers.push(host.to_owned());
        }
        let path = path.trim_end_matches('/');
        if path.contains("//") || path.split('/').any(|part| part == "." || part == "..") {
            return Err(refuse(format!("the path {path:?} has empty parts or dots")));
        }
        if path.chars().any(char::is_control) {
            return Err(refuse("the path has control characters".into()));
        }
        if let Some(odd) = path.chars().find(|c| c.is_whitespace() || ",?#".contains(*c)) {
            return Err(refuse(format!(
                "the path {path:?} has a {odd:?}: the path stands once, after all servers"
            )));
        }
        Ok(Self { kind, servers, login, path: path.to_owned(), tls })
    }

    /// The servers, for people.
    pub(crate) fn servers(&self) -> String {
        let name = match self.kind {
            Kind::Etcd => "etcd",
            Kind::ZooKeeper => "ZooKeeper",
        };
        format!("{name} at {}", self.servers.join(", "))
    }
}

/// The address without its password, so that it may stand in logs and pages.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.kind, &self.tls) {
            (Kind::Etcd, None) => "etcd",
            (Kind::Etcd, Some(_)) => "etcds",
            (Kind::ZooKeeper, _) => "zk",
        };
        write!(f, "{scheme}://")?;
        if let Some((user, _)) = &self.login {
            write!(f, "{user}:…@")?;
        }
        write!(f, "{}{}", self.servers.join(","), self.path)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

fn check_server(server: &str) -> Result<(), String> {
    let Some((host, port)) = server.rsplit_once(':') else {
        return Err(format!("{server:?} has no port"));
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let plain = !host.is_empty()
        && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    let inside = host.trim_start_matches('[').trim_end_matches(']');
    let literal = bracketed && inside.parse::<std::net::Ipv6Addr>().is_ok();
    if !plain && !literal {
        return Err(format!("{host:?} is no host"));
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(()),
        _ => Err(format!("{port:?} is no port")),
    }
}

/// Hides what may be a password, whatever is in it.
fn without_password(text: &str) -> String {
    let begin = text.find("://").map_or(0, |at| at + 3);
    match (text[begin..].find(':'), text[begin..].rfind('@')) {
        (Some(colon), Some(at)) if colon < at => {
            format!("{}:…{}", &text[..begin + colon], &text[begin + at..])
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_that_mesos_takes_is_taken() {
        let address = Address::parse("zk://ada:s@cret@a:2181,b:2181,[::1]:2181/mesos/").unwrap();
        assert_eq!(address.kind, Kind::ZooKeeper);
        assert_eq!(address.servers, ["a:2181", "b:2181", "[::1]:2181"]);
        assert_eq!(address.login, Some(("ada".into(), "s@cret".into())));
        assert_eq!(address.path, "/mesos");
    }

    #[test]
    fn a_path_is_left_out_where_there_is_no_other_user() {
        assert_eq!(Address::parse("etcd://a:2379").unwrap().path, "/tepui");
        assert_eq!(Address::parse("zk://a:2181/").unwrap().path, "");
        assert!(Address::parse("etcds://a:2379").unwrap().tls.is_some());
    }

    #[test]
    fn a_password_is_never_shown() {
        let address = Address::parse("zk://ada:secret@a:2181/mesos").unwrap();
        assert_eq!(address.to_string(), "zk://ada:…@a:2181/mesos");
        assert_eq!(format!("{address:?}"), "zk://ada:…@a:2181/mesos");
        let error = Address::parse("zk://ada:secret@a/mesos").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(error.to_string().contains("\"a\" has no port"), "{error}");
        for text in
            ["zk://ada:77s/77t@a:2181/mesos", "etcd://ada:77/r@t@a:2379", "zk://a:1@77/@a:1/"]
        {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(!error.contains("77") && error.contains("password with a /"), "{error}");
        }
    }

    #[test]
    fn a_password_may_stand_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store");
        std::fs::write(&file, "etcds://ada:secret@a:2379\n").unwrap();
        let text = format!("file://{}", file.display());
        assert!(Address::is_one(&text) && Address::is_one("zk://a:1/x") && !Address::is_one("a:1"));
        let ca = TlsFiles { ca: Some("/ca.pem".into()), ..TlsFiles::default() };
        let address = Address::read(&text, &ca).unwrap();
        assert_eq!(address.login, Some(("ada".into(), "secret".into())));
        assert_eq!(address.tls.unwrap().ca, ca.ca);
        let error = Address::read("file:///nowhere/store", &ca).unwrap_err().to_string();
        assert!(error.contains("/nowhere/store"), "{error}");
    }

    #[test]
    fn files_for_tls_need_each_other_and_a_store_that_speaks_it() {
        let certificate = TlsFiles { certificate: Some("/c.pem".into()), ..TlsFiles::default() };
        let error = Address::read("etcds://a:1", &certificate).unwrap_err().to_string();
        assert!(error.contains("belong together"), "{error}");
        let ca = TlsFiles { ca: Some("/ca.pem".into()), ..TlsFiles::default() };
        let error = Address::read("etcds://u:secret@a:1", &TlsFiles::default());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("store_ca_file is needed") && !error.contains("secret"), "{error}");
        let error = Address::read("zk://u:secret@a:1/x", &ca).unwrap_err().to_string();
        assert!(error.contains("for etcds://") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (text, why) in [
            ("a:2181", "no scheme"),
            ("http://a:1", "\"http\" is not a known scheme"),
            ("zk://", "no port"),
            ("zk://a:0/", "\"0\" is no port"),
            ("zk://a:70000/", "is no port"),
            ("zk://a b:1/", "is no host"),
            ("zk://a:1,/", "has no port"),
            ("zk://ada@a:1/", "has no password"),
            ("zk://:x@a:1/", "has no name"),
            ("zk://a:1/x//y", "empty parts"),
            ("etcd://a:1/../x", "dots"),
            ("zk://a:1/x,b:1/x", "has a ','"),
            ("zk://a:1/x y", "has a ' '"),
            ("etcd://a:1/x?y=1", "has a '?'"),
        ] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
