//! Until when the certificates are good that an operator has named: as a figure, so that somebody is
//! told before nothing works any more.

use std::path::{Path, PathBuf};

use anyhow::Context;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, Opts};
use tracing::warn;
use x509_parser::pem::Pem;

/// Largest file that is read, and certificates in it: all authorities of a system are some 150.
const MAX_BYTES: u64 = 4 << 20;
const MAX_CERTIFICATES: usize = 1_000;
/// The name by which certificates are told.
const NAME: &str = "tepui_certificate_not_after_seconds";

/// Why a file tells no end of certificates.
#[derive(Debug, thiserror::Error)]
pub enum NoCertificate {
    /// It cannot be read.
    #[error("failed to read certificates from {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It holds something else.
    #[error("{0} has no certificate in PEM")]
    None(PathBuf),
    /// It holds no key.
    #[error("{0} has no private key in PEM")]
    NoKey(PathBuf),
    /// It holds what looks like a certificate and is none.
    #[error("certificate {number} of {path} is none: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which, from 1 on.
        number: usize,
        /// Why.
        why: String,
    },
}

/// Shows on `/metrics` until when the certificates of these files are good: the setting that names
/// each, and the file. What cannot be read is said once, and has no figure until it can be.
///
/// # Errors
/// When the figure cannot be made: it is watched already.
pub fn watch_certificates(files: Vec<(&'static str, PathBuf)>) -> prometheus::Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let help = "When the first certificate of a file ends, in seconds since 1970";
    let gauge = GaugeVec::new(Opts::new(NAME, help), &["setting"])?;
    for (setting, path) in &files {
        if let Err(problem) = not_after(path) {
            let error = &problem as &dyn std::error::Error;
            warn!(setting, error, "nobody will be told when this certificate ends");
        }
    }
    prometheus::register(Box::new(Certificates { files, gauge }))
}

/// Reads the files whenever somebody asks: they are exchanged while the daemon runs.
struct Certificates {
    files: Vec<(&'static str, PathBuf)>,
    gauge: GaugeVec,
}

impl Collector for Certificates {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gauge.reset();
        for (setting, path) in &self.files {
            if let Ok(end) = not_after(path) {
                // Until the year 285 million the figure is exact.
                #[expect(clippy::cast_precision_loss)]
                self.gauge.with_label_values(&[setting]).set(end as f64);
            }
        }
        let families = self.gauge.collect();
        families.into_iter().filter(|family| !family.get_metric().is_empty()).collect()
    }
}

/// Checks that a file holds certificates.
///
/// # Errors
/// When it cannot be read, or holds none or what is none.
fn check_certificates(path: &Path) -> Result<(), NoCertificate> {
    not_after(path).map(drop)
}

/// Checks that the files for TLS are there and hold what they are to: certificates by the settings that
/// name them, and the key of `store_key_file`.
///
/// # Errors
/// The setting whose file is of no use, and why.
pub fn check_store_files(
    certificates: &[(&'static str, PathBuf)],
    key: Option<&Path>,
) -> anyhow::Result<()> {
    for (setting, path) in certificates {
        check_certificates(path).with_context(|| format!("{setting} is of no use"))?;
    }
    key.map_or(Ok(()), |path| check_key(path).context("store_key_file is of no use"))
}

/// Checks that a file holds a private key, by its label: which kinds are taken is the user's business.
///
/// # Errors
/// When it cannot be read, or holds none.
fn check_key(path: &Path) -> Result<(), NoCertificate> {
    let text = read(path)?;
    let mut blocks = Pem::iter_from_buffer(&text).take(MAX_CERTIFICATES).flatten();
    let has_key = blocks.any(|block| block.label.ends_with("PRIVATE KEY"));
    has_key.then_some(()).ok_or_else(|| NoCertificate::NoKey(path.to_owned()))
}

fn read(path: &Path) -> Result<Vec<u8>, NoCertificate> {
    let failed = |source| NoCertificate::Read { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MAX_BYTES {
        return Err(NoCertificate::None(path.to_owned()));
    }
    std::fs::read(path).map_err(failed)
}

/// When the first certificate of a file ends, in seconds since 1970.
fn not_after(path: &Path) -> Result<i64, NoCertificate> {
    let text = read(path)?;
    first_end(&text)
        .map_err(|(number, why)| NoCertificate::Damaged { path: path.to_owned(), number, why })?
        .ok_or_else(|| NoCertificate::None(path.to_owned()))
}

/// When the first of all certificates ends; `None` without any; which one is damaged, and how.
fn first_end(text: &[u8]) -> Result<Option<i64>, (usize, String)> {
    let mut first = None;
    let blocks = Pem::iter_from_buffer(text).take(MAX_CERTIFICATES);
    for (number, block) in (1..).zip(blocks) {
        let block = block.map_err(|error| (number, error.to_string()))?;
        if block.label != "CERTIFICATE" {
            continue;
        }
        let certificate = block.parse_x509().map_err(|error| (number, error.to_string()))?;
        let end = certificate.validity().not_after.timestamp();
        first = Some(first.map_or(end, |first: i64| first.min(end)));
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    // Helpers of a test: what is not there fails it.
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// A certificate that signs itself and is good until the end of a year begins.
    fn until(year: i32) -> String {
        let mut params = CertificateParams::new(vec!["store".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn of_several_certificates_the_one_that_ends_first_counts() {
        let key = KeyPair::generate().unwrap().serialize_pem();
        let text = format!("# ours\n{}{key}{}", until(2040), until(2031));
        // 2031-01-01 and 2040-01-01.
        assert_eq!(first_end(text.as_bytes()), Ok(Some(1_924_992_000)));
        assert_eq!(first_end(until(2040).as_bytes()), Ok(Some(2_208_988_800)));
    }

    #[test]
    fn what_is_no_certificate_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let said = |text: &str| {
            let path = folder.path().join("ca.pem");
            std::fs::write(&path, text).unwrap();
            not_after(&path).unwrap_err().to_string()
        };
        assert!(said("").ends_with("has no certificate in PEM"));
        assert!(said(&KeyPair::generate().unwrap().serialize_pem()).contains("has no certificate"));
        let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(said(damaged).contains("certificate 1 of"), "{}", said(damaged));
        let key = folder.path().join("key.pem");
        std::fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
        assert!(check_key(&key).is_ok() && check_certificates(&key).is_err());
        std::fs::write(&key, until(2040)).unwrap();
        assert!(check_key(&key).unwrap_err().to_string().ends_with("has no private key in PEM"));
        assert!(check_certificates(&key).is_ok());
        assert!(not_after(Path::new("/nowhere")).unwrap_err().to_string().contains("/nowhere"));
    }

    #[test]
    fn the_figure_follows_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, until(2031)).unwrap();
        watch_certificates(vec![("store_ca_file", path.clone())]).unwrap();
        let shown = || {
            let families = prometheus::gather();
            let found = families.iter().find(|family| family.name() == NAME)?;
            Some(found.get_metric()[0].get_gauge().get_value())
        };
        assert_eq!(shown(), Some(1_924_992_000.0));
        std::fs::write(&path, until(2040)).unwrap();
        assert_eq!(shown(), Some(2_208_988_800.0));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(shown(), None);
    }

    proptest! {
        #[test]
        fn no_bytes_end_the_process(text in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = first_end(&text);
            let pem = [b"-----BEGIN CERTIFICATE-----\n", &text[..], b"\n-----END CERTIFICATE-----"];
            let _ = first_end(&pem.concat());
        }
    }
}
