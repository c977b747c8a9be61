//! What is written after `oci://`: a registry, a name in it, and which of the things of that name is meant.

use crate::config::sha256_digest;

/// Characters of a name at most, as registries have it.
const MOST_NAME: usize = 255;

/// Characters of a tag at most.
const MOST_TAG: usize = 128;

/// A reference to a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// The registry as it is written, with its port.
    pub(super) registry: String,
    /// The name there.
    pub(super) name: String,
    /// Which of them.
    pub(super) which: Which,
}

/// One of the manifests of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// The one that has this tag now.
    Tag(String),
    /// The one with this SHA-256.
    Digest(String),
}

impl Reference {
    /// Reads `REGISTRY/NAME:TAG` or `REGISTRY/NAME@sha256:DIGEST`; with both the digest alone counts. The error says what
    /// is wrong.
    pub(super) fn of(text: &str) -> Result<Self, &'static str> {
        let (registry, rest) = text.split_once('/').ok_or("there is no registry")?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (rest, None),
        };
        let (name, tag) = rest.split_once(':').unwrap_or((rest, "latest"));
        if registry.is_empty()
            || !registry
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-.:[]".contains(c))
        {
            return Err("its registry is no HOST or HOST:PORT");
        }
        if name.len() > MOST_NAME || !name.split('/').all(is_part) {
            return Err("its name is not of small letters, digits, and -._ between them");
        }
        if !is_tag(tag) {
            return Err("its tag is not of letters, digits and -._");
        }
        let which = match digest {
            Some(digest) => {
                Which::Digest(sha256_digest(digest).ok_or("its digest is no sha256: with 64 hexadecimal digits")?)
            }
            None => Which::Tag(tag.to_owned()),
        };
        Ok(Self {
            registry: registry.to_owned(),
            name: name.to_owned(),
            which,
        })
    }

    /// Where its registry answers: that of Docker is called otherwise than it is reached.
    pub(super) fn host(&self) -> &str {
        match self.registry.as_str() {
            "docker.io" => "registry-1.docker.io",
            registry => registry,
        }
    }

    /// Under which name `docker login` keeps the credentials.
    pub(super) fn login(&self) -> &str {
        match self.registry.as_str() {
            "docker.io" => "https://index.docker.io/v1/",
            registry => registry,
        }
    }
}

impl Which {
    /// How it is written in a URL.
    pub(super) fn word(&self) -> String {
        match self {
            Self::Tag(tag) => tag.clone(),
            Self::Digest(sha256) => format!("sha256:{sha256}"),
        }
    }
}

fn is_part(part: &str) -> bool {
    let is_letter = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    bytes.first().is_some_and(is_letter)
        && bytes.last().is_some_and(is_letter)
        && bytes.iter().all(|b| is_letter(b) || b"-._".contains(b))
}

fn is_tag(tag: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= MOST_TAG
        && tag.bytes().next().is_some_and(is_letter)
        && tag.bytes().all(|b| is_letter(b) || b"-.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read() {
        let digest = "AB".repeat(32);
        for (text, registry, name, which) in [
            ("ghcr.io/acme/guard:1.2", "ghcr.io", "acme/guard", "1.2"),
            ("localhost:5000/guard", "localhost:5000", "guard", "latest"),
            ("[::1]:5000/a/b_c--d.e:v_1", "[::1]:5000", "a/b_c--d.e", "v_1"),
            (
                &format!("ghcr.io/acme/guard:1@sha256:{digest}"),
                "ghcr.io",
                "acme/guard",
                &format!("sha256:{}", "ab".repeat(32)),
            ),
        ] {
            let reference = Reference::of(text).unwrap();
            let read = (
                reference.registry.as_str(),
                reference.name.as_str(),
                reference.which.word(),
            );
            assert_eq!(read, (registry, name, which.to_owned()), "{text}");
            assert_eq!(reference.host(), registry);
        }
        let docker = Reference::of("docker.io/acme/guard").unwrap();
        assert_eq!(docker.host(), "registry-1.docker.io");
    }

    #[test]
    fn what_leads_elsewhere_is_no_reference() {
        let long = format!("ghcr.io/{}:1", "a".repeat(256));
        for text in [
            "",
            "guard",
            "/guard:1",
            "ghcr.io/",
            "ann@ghcr.io/guard",
            "ghcr.io/../guard",
            "ghcr.io/acme/./guard",
            "ghcr.io/acme//guard",
            "ghcr.io/Guard:1",
            "ghcr.io/guard:1/2",
            "ghcr.io/guard:",
            "ghcr.io/guard:..",
            "ghcr.io/guard?x=1",
            "ghcr.io/guard#x",
            "ghcr.io/guard@sha256:00",
            "ghcr.io/guard@sha512:00",
            &long,
        ] {
            assert!(Reference::of(text).is_err(), "{text}");
        }
    }
}
