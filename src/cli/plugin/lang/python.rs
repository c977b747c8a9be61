//! Policies in Python: componentize-py puts the interpreter and the policy into one component.

use std::path::Path;

use super::bindings::World;
use super::{BUILD, Toolchain, WORLD, build_folder, built, compile, found};
use crate::process::Tool;

/// The program, and the one version that this was tried with.
const PROGRAM: &str = "componentize-py";
const INSTALL: &str = "pip install componentize-py==0.25.1";

/// The module with the policy, in `src/`.
const MODULE: &str = "policy";

/// Python.
pub(super) struct Python;

impl Toolchain for Python {
    fn sign(&self) -> &'static str {
        "pyproject.toml"
    }

    fn source(&self) -> &'static str {
        "src/policy.py"
    }

    fn files(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("src/policy.py", include_str!("template/python/policy.py")),
            ("pyproject.toml", include_str!("template/python/pyproject.toml")),
            ("fixtures/route.toml", include_str!("template/python/fixture.toml")),
            ("pointsman.toml", include_str!("template/python/config.toml")),
            (".gitignore", "/.venv\n/bindings\n/build\n__pycache__\n*.wasm\n"),
            WORLD,
        ]
    }

    fn name(&self, folder: &Path) -> Result<String, String> {
        let path = folder.join("pyproject.toml");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let project: toml::Table = toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let name = project.get("project").and_then(|project| project.get("name")?.as_str());
        name.map(str::to_owned)
            .ok_or_else(|| format!("{}: it has no project.name", path.display()))
    }

    fn build(&self, folder: &Path) -> Result<Vec<u8>, String> {
        let world = World::of(folder)?;
        let Some(program) = found(folder, PROGRAM) else {
            return Err(format!(
                "{PROGRAM} is neither in {}/.venv nor on the PATH: run `{INSTALL}`",
                folder.display()
            ));
        };
        let common = ["-d", "wit", "-w", world.name()];
        let run = |words: &[&str]| compile(Tool::new(&program, folder).args(common).args(words), &program, PROGRAM);
        // Nothing of the build needs them, but editors and type checkers do. What is there it would not write over.
        if folder.join("bindings/wit_world").is_dir() {
            std::fs::remove_dir_all(folder.join("bindings")).map_err(|error| format!("bindings: {error}"))?;
        }
        run(&["bindings", "bindings"])?;
        build_folder(folder)?;
        let out = format!("{BUILD}/component.wasm");
        // Without stubs it would import the whole of WASI, which the router does not have.
        run(&["componentize", "--stub-wasi", "-p", "src", MODULE, "-o", &out])?;
        built(&folder.join(out))
    }
}
