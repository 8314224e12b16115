//! Certificates for TLS on loopback.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use tempfile::TempDir;

use crate::Tls;

/// An authority, what it signed for a server and a client, and an authority that signed nothing.
#[derive(Clone, Debug)]
pub(super) struct Certificates {
    folder: Arc<TempDir>,
}

const CA: &str = "ca.pem";
const OTHER_CA: &str = "other-ca.pem";
const SERVER: (&str, &str) = ("server.pem", "server.key");
const CLIENT: (&str, &str) = ("client.pem", "client.key");

impl Certificates {
    pub(super) fn make(folder: TempDir) -> Self {
        write(folder.path()).expect("certificates can be made");
        Self { folder: Arc::new(folder) }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn of_client(&self) -> Tls {
        let identity = Some((self.file(CLIENT.0), self.file(CLIENT.1)));
        Tls { ca: Some(self.file(CA)), identity }
    }

    pub(super) fn of_another(&self) -> Tls {
        Tls { ca: Some(self.file(OTHER_CA)), ..self.of_client() }
    }

    pub(super) fn flags_of_etcd(&self) -> Vec<OsString> {
        let flags =
            [("--cert-file", SERVER.0), ("--key-file", SERVER.1), ("--trusted-ca-file", CA)];
        let flags =
            flags.into_iter().flat_map(|(flag, file)| [flag.into(), self.file(file).into()]);
        flags.chain(["--client-cert-auth".into()]).collect()
    }
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn write(folder: &Path) -> Outcome<()> {
    let issuer = authority()?;
    std::fs::write(folder.join(CA), issuer.pem())?;
    std::fs::write(folder.join(OTHER_CA), authority()?.pem())?;
    // The server's gateway is a client of itself.
    let both = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    for ((certificate, key), names, uses) in [
        (SERVER, vec!["localhost".to_owned(), "127.0.0.1".to_owned()], both),
        (CLIENT, vec!["tepui".to_owned()], vec![ExtendedKeyUsagePurpose::ClientAuth]),
    ] {
        let pair = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.extended_key_usages = uses;
        std::fs::write(folder.join(certificate), params.signed_by(&pair, &issuer)?.pem())?;
        std::fs::write(folder.join(key), pair.serialize_pem())?;
    }
    Ok(())
}

fn authority() -> Outcome<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}
