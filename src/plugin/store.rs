//! Components that were pulled, by content: what they are is in the name, and is looked at again at every reading.

use std::io;
use std::path::{Path, PathBuf};

use crate::aside;
use crate::config::sha256_of;

/// The folder of pulled components.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The configured folder, or the user's own.
    pub fn at(configured: Option<&Path>) -> Self {
        let folder = configured.map_or_else(default_folder, Path::to_owned);
        Self { folder }
    }

    /// Where the component with this SHA-256 stands, there or not.
    pub fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("sha256-{digest}.wasm"))
    }

    /// The component with this SHA-256, if it is there as it was put there.
    pub fn get(&self, digest: &str) -> Option<Vec<u8>> {
        let bytes = std::fs::read(self.path(digest)).ok()?;
        (sha256_of(&bytes) == digest).then_some(bytes)
    }

    /// Keeps the component with this SHA-256. In one step, for others may do the same; and for all whom the user's files
    /// are open to, for the router may be another user. It is no secret, and nobody takes it for what it is not.
    pub fn put(&self, digest: &str, bytes: &[u8]) -> Result<(), (PathBuf, io::Error)> {
        let path = self.path(digest);
        let put = std::fs::create_dir_all(&self.folder).and_then(|()| aside::put_open(&path, bytes));
        put.map_err(|error| (path, error))
    }
}

/// The user's folder for what is not made again by itself.
fn default_folder() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        variable("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        variable("XDG_DATA_HOME").or_else(|| Some(variable("HOME")?.join(".local/share")))
    };
    // Without a home every component is looked at by its digest, wherever it lies.
    base.unwrap_or_else(std::env::temp_dir).join("pointsman").join("pulled")
}
