//! Which of an image's builds runs on this host.

use std::fmt;

use serde::Deserialize;

/// Operating system, architecture and its variant, in Go's names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Platform {
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// `amd64`, `arm64`, …
    #[serde(default)]
    pub architecture: String,
    /// `v8` of arm64, `v7` of arm, `v2` of amd64, …
    #[serde(default)]
    pub variant: Option<String>,
}

impl Platform {
    /// This host's.
    #[must_use]
    pub fn of_host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", Some(amd64_level())),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "x86" => ("386", None),
            "powerpc64" => ("ppc64le", None),
            "loongarch64" => ("loong64", None),
            same => (same, None),
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }

    /// How well a build suits this host: less is better, `None` is not at all.
    pub(crate) fn rank(&self, build: &Self) -> Option<u32> {
        if build.os != self.os || build.architecture != self.architecture {
            return None;
        }
        let base = if self.architecture == "arm" { 7 } else { 1 };
        let base = if self.architecture == "arm64" { 8 } else { base };
        let level = |variant: &Option<String>| match variant.as_deref() {
            None | Some("") => Some(base),
            Some(variant) => variant.strip_prefix('v')?.parse().ok(),
        };
        let (mine, its): (u32, u32) = (level(&self.variant)?, level(&build.variant)?);
        mine.checked_sub(its)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match self.variant.as_deref() {
            None | Some("") => Ok(()),
            Some(variant) => write!(f, "/{variant}"),
        }
    }
}

/// The level of the x86-64 psABI that the processor has.
#[cfg(target_arch = "x86_64")]
fn amd64_level() -> &'static str {
    let v2 = is_x86_feature_detected!("sse4.2")
        && is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("popcnt")
        && is_x86_feature_detected!("cmpxchg16b");
    let v3 = v2
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("movbe");
    match (v2, v3) {
        (_, true) => "v3",
        (true, false) => "v2",
        (false, false) => "v1",
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn amd64_level() -> &'static str {
    "v1"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        let mut parts = text.split('/').map(str::to_owned);
        Platform {
            os: parts.next().unwrap(),
            architecture: parts.next().unwrap(),
            variant: parts.next(),
        }
    }

    #[test]
    fn a_host_takes_the_highest_variant_that_it_has() {
        for (host, build, rank) in [
            ("linux/arm/v7", "linux/arm/v7", Some(0)),
            ("linux/arm/v7", "linux/arm/v6", Some(1)),
            ("linux/arm/v6", "linux/arm/v7", None),
            ("linux/arm64/v8", "linux/arm64", Some(0)),
            ("linux/amd64/v3", "linux/amd64", Some(2)),
            ("linux/amd64/v1", "linux/amd64/v2", None),
            ("linux/amd64/v1", "windows/amd64", None),
            ("linux/amd64/v1", "unknown/unknown", None),
            ("linux/amd64/v1", "linux/amd64/strange", None),
        ] {
            assert_eq!(platform(host).rank(&platform(build)), rank, "{build} on {host}");
        }
    }
}
