//! The configuration without a file: two demo backends, so that the first start shows something.

use std::path::Path;

use super::{Backend, Config, defaults};

/// Backends `alpha` and `beta`, both the demo server of this very executable, with the default policies.
pub fn embedded(exe: &Path) -> Config {
    let demo = |name: &str| Backend {
        command: exe.to_string_lossy().into_owned(),
        args: ["demo-server", "--name", name].map(str::to_owned).to_vec(),
        trusted: true,
        ..Backend::default()
    };
    let mut config = Config {
        backends: ["alpha", "beta"].map(|name| (name.to_owned(), demo(name))).into(),
        pipeline: defaults::pipeline(),
        ..Config::default()
    };
    defaults::add_plugins(&mut config);
    config
}
