//! Where the programs are that `make test` installs.

use std::path::{Path, PathBuf};

/// A file that `make test` installs, or one of the repository.
pub fn tool(path: &str) -> PathBuf {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    assert!(
        full.exists(),
        "{path} is missing: run `make test`, which installs Node and Python packages into .tools and \
         tests/clients/node_modules"
    );
    full
}
