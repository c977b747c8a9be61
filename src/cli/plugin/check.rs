//! `pointsman plugin check`: loads a file and proves that it starts, by the router's own code.

use clap::Args;

use super::heard::fit;
use super::{Settings, runtime, source_of};
use crate::cli::{print, run};
use crate::plugin::{Compiler, Host};

/// `pointsman plugin check`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Check {
    /// The plugin's file, or `embedded:NAME`.
    file: String,
    #[command(flatten)]
    settings: Settings,
}

impl Check {
    pub(super) fn run(&self) -> Result<(), String> {
        let subject = self.settings.of(source_of(&self.file))?;
        let host = Host::new(&subject.policies, Compiler::Child(run::program()?)).map_err(|e| e.to_string())?;
        let loaded = runtime()?
            .block_on(host.load(&subject.name, &subject.plugin))
            .map_err(|error| fit(&self.settings.told(&error)))?;
        let hooks: Vec<&str> = loaded.hooks().iter().map(|hook| hook.as_str()).collect();
        let (name, digest) = (&subject.name, loaded.digest());
        print(&format!(
            "plugin {name}: the router takes it; hooks {}; sha256 {digest}",
            hooks.join(", ")
        ));
        Ok(())
    }
}
