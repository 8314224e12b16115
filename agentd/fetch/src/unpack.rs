//! Unpacking an archive into a sandbox.

mod tarball;
mod zipped;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::artifact::Archive;
use crate::meter::{Meter, Metered};
use crate::sandbox::{LinkError, Sandbox, copy};
use crate::{Hostile, UnpackError};

/// Memory an xz stream may ask for; `xz -9` needs 65 MiB.
const XZ_MEMORY_BYTES: u64 = 128 << 20;
/// Largest window of a zstd stream, as a power of two; what the `zstd` tool accepts by itself.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Unpacks the open archive. Blocks.
pub(crate) fn unpack(
    archive: Archive,
    file: File,
    name: &Path,
    sandbox: &Sandbox,
    meter: &Meter,
) -> Result<(), UnpackError> {
    let start = |source| meter.explain("", source);
    if file.metadata().map_err(start)?.len() == 0 {
        return Err(start(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is empty")));
    }
    let file = BufReader::with_capacity(64 * 1024, file);
    match archive {
        Archive::Tar => untar(file, sandbox, meter),
        Archive::TarGzip => untar(flate2::bufread::MultiGzDecoder::new(file), sandbox, meter),
        Archive::TarBzip2 => untar(bzip2::bufread::MultiBzDecoder::new(file), sandbox, meter),
        Archive::TarXz => untar(xz(file).map_err(start)?, sandbox, meter),
        Archive::TarZstd => untar(zstd(file).map_err(start)?, sandbox, meter),
        Archive::Gzip => gunzip(file, name, sandbox, meter),
        Archive::Zip => zipped::unpack(file, sandbox, meter),
    }
}

fn untar(plain: impl Read, sandbox: &Sandbox, meter: &Meter) -> Result<(), UnpackError> {
    tarball::unpack(Metered::new(plain, meter.clone()), sandbox, meter)
}

fn xz(file: BufReader<File>) -> io::Result<impl Read> {
    let flags = xz2::stream::CONCATENATED;
    let stream = xz2::stream::Stream::new_stream_decoder(XZ_MEMORY_BYTES, flags)?;
    Ok(xz2::bufread::XzDecoder::new_stream(file, stream))
}

fn zstd(file: BufReader<File>) -> io::Result<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(file)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

/// A single compressed file: its name without the ending.
fn gunzip(
    file: BufReader<File>,
    name: &Path,
    sandbox: &Sandbox,
    meter: &Meter,
) -> Result<(), UnpackError> {
    let plain = name.with_extension("");
    let mut from = Metered::new(flate2::bufread::MultiGzDecoder::new(file), meter.clone());
    let mut to = sandbox.create(&plain, 0o644).map_err(|e| meter.explain("", e))?;
    copy(&mut from, &mut to).map_err(|e| meter.explain("", e))?;
    Ok(())
}

/// An entry that is being unpacked, for errors.
struct Context<'a> {
    entry: &'a str,
    meter: &'a Meter,
}

impl Context<'_> {
    fn hostile(&self, what: Hostile) -> UnpackError {
        UnpackError::Hostile { entry: self.entry.to_owned(), what }
    }

    fn io(&self, source: io::Error) -> UnpackError {
        self.meter.explain(self.entry, source)
    }

    fn link(&self, error: LinkError) -> UnpackError {
        match error {
            LinkError::Hostile(what) => self.hostile(what),
            LinkError::Io(source) => self.io(source),
        }
    }

    fn file(
        &self,
        sandbox: &Sandbox,
        path: &Path,
        mode: u32,
        from: &mut impl Read,
    ) -> Result<(), UnpackError> {
        if path.as_os_str().is_empty() {
            return Err(self.hostile(Hostile::BadPath));
        }
        let mut to = sandbox.create(path, mode).map_err(|e| self.io(e))?;
        copy(from, &mut to).map_err(|e| self.io(e))?;
        Ok(())
    }

    fn folder(&self, sandbox: &Sandbox, path: &Path, mode: u32) -> Result<(), UnpackError> {
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        sandbox.folder(path, mode).map_err(|e| self.io(e))
    }

    fn symlink(&self, sandbox: &Sandbox, path: &Path, target: PathBuf) -> Result<(), UnpackError> {
        if path.as_os_str().is_empty() {
            return Err(self.hostile(Hostile::BadPath));
        }
        sandbox.symlink(path, &target).map_err(|e| self.link(e))
    }
}
