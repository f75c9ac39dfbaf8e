//! The packages: their sizes, and the binaries in them.

use std::path::PathBuf;

use tests::{Emulator, Paths};

const LIMIT_MB: f64 = 4.0;

/// The unpacked packages.
pub(crate) struct Packages {
    pub(crate) collector: Package,
    pub(crate) manager: Package,
    pub(crate) fanout: Package,
    pub(crate) issuer: Package,
    pub(crate) reporter: Package,
    pub(crate) echo: Package,
}

/// One unpacked package.
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) bootstrap: PathBuf,
    zipped_bytes: u64,
    binary_bytes: u64,
}

impl Packages {
    /// All of them, the one that the others are compared with first.
    pub(crate) fn all(&self) -> [&Package; 6] {
        [&self.echo, &self.collector, &self.manager, &self.fanout, &self.issuer, &self.reporter]
    }
}

pub(crate) fn unpack(paths: &Paths, emulator: &Emulator) -> anyhow::Result<Packages> {
    let unpack = |name: &'static str| -> anyhow::Result<Package> {
        let zip = paths.packages.join(name).join("bootstrap.zip");
        let bootstrap = emulator.unpack(paths, &zip)?;
        let (zipped_bytes, binary_bytes) = (std::fs::metadata(&zip)?.len(), std::fs::metadata(&bootstrap)?.len());
        Ok(Package { name, bootstrap, zipped_bytes, binary_bytes })
    };
    Ok(Packages {
        collector: unpack("tags-collector")?,
        manager: unpack("ssm-tag-manager")?,
        fanout: unpack("automation-fanout")?,
        issuer: unpack("activation-issuer")?,
        reporter: unpack("fleet-reporter")?,
        echo: unpack("bare-echo")?,
    })
}

pub(crate) fn print(packages: &Packages) {
    println!("### Packages\n\n| function | zipped | binary | target |\n|---|---|---|---|");
    for package in packages.all() {
        let (zipped, binary) = (megabytes(package.zipped_bytes), megabytes(package.binary_bytes));
        println!("| {} | {zipped:.1} MB | {binary:.1} MB | at most {LIMIT_MB} MB zipped |", package.name);
    }
    println!();
}

#[expect(clippy::cast_precision_loss, reason = "a size for people to read")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1_000_000.0
}
