//! What a registry says of a reference, as far as it matters here: which layer is the component.

use serde::Deserialize;

use super::{FetchError, clean};

/// What is asked for. Indexes are, too: a registry would choose one of an index by a platform of its own taste.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, \
                                   application/vnd.docker.distribution.manifest.v2+json, \
                                   application/vnd.oci.image.index.v1+json, \
                                   application/vnd.docker.distribution.manifest.list.v2+json";

/// How layers with a component are called: by the CNCF's wasm working group, and by tools before it.
const COMPONENTS: [&str; 2] = ["application/wasm", "application/vnd.wasm.content.layer.v1+wasm"];

/// A manifest, or an index of several.
#[derive(Deserialize)]
pub(super) struct Manifest {
    #[serde(default)]
    layers: Vec<Descriptor>,
    manifests: Option<Vec<Descriptor>>,
}

/// Something that a registry has, by content.
#[derive(Deserialize)]
pub(super) struct Descriptor {
    #[serde(default, rename = "mediaType")]
    media_type: String,
    /// The digest as it is written there.
    pub(super) digest: String,
}

impl Manifest {
    /// The one layer that is a component.
    pub(super) fn component(&self, from: &str) -> Result<&Descriptor, FetchError> {
        let list = |of: &[Descriptor], word: fn(&Descriptor) -> &str| {
            clean(&of.iter().map(word).collect::<Vec<_>>().join(", "))
        };
        if let Some(manifests) = &self.manifests {
            let digests = list(manifests, |manifest| &manifest.digest);
            return Err(FetchError::Index(from.to_owned(), digests));
        }
        let is_component = |layer: &&Descriptor| COMPONENTS.contains(&layer.media_type.as_str());
        let components: Vec<&Descriptor> = self.layers.iter().filter(is_component).collect();
        match components.as_slice() {
            [layer] => Ok(layer),
            several => Err(FetchError::Layers {
                reference: from.to_owned(),
                found: several.len(),
                layers: list(&self.layers, |layer| &layer.media_type),
            }),
        }
    }
}
