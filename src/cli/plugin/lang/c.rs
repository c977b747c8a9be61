//! Policies in C: bindings generated here, compiled by whichever clang for WebAssembly there is.

use std::path::{Path, PathBuf};

use super::bindings::World;
use super::{BUILD, Toolchain, USUAL_CONFIG, WORLD, build_folder, built, compile, found, preview1};
use crate::process::Tool;

/// Where the bindings are.
const BINDINGS: &str = "bindings";

/// Words for every compiler: a library without `main`, small, whose memory does not begin with megabytes of stack.
const FLAGS: [&str; 5] = [
    "-mexec-model=reactor",
    "-Oz",
    "-Wall",
    "-Ibindings",
    "-Wl,-z,stack-size=131072",
];

/// C.
pub(super) struct C;

impl Toolchain for C {
    fn sign(&self) -> &'static str {
        "src/main.c"
    }

    fn source(&self) -> &'static str {
        "src/main.c"
    }

    fn files(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("src/main.c", include_str!("template/c/main.c")),
            (".gitignore", "/.venv\n/bindings\n/build\n*.wasm\n"),
            USUAL_CONFIG,
            WORLD,
        ]
    }

    fn finish(&self, folder: &Path) -> Result<(), String> {
        bindings(folder)
    }

    fn name(&self, folder: &Path) -> Result<String, String> {
        super::folder_name(folder)
    }

    fn build(&self, folder: &Path) -> Result<Vec<u8>, String> {
        bindings(folder)?;
        let compiler = compiler(folder)?;
        let mut sources = c_files(&folder.join("src"))?;
        sources.sort();
        build_folder(folder)?;
        let out = format!("{BUILD}/module.wasm");
        let own = ["bindings/policy.c", "bindings/policy_component_type.o", "-o", &out];
        let tool = Tool::new(&compiler.program, folder).args(compiler.words).args(FLAGS);
        let words = std::env::var("CFLAGS").unwrap_or_default();
        let tool = tool.args(words.split_whitespace()).args(sources).args(own);
        compile(tool, &compiler.program, "the compiler")?;
        preview1::component(&built(&folder.join(out))?)
    }
}

/// Puts what the world has into `bindings/`, under short names: `policy_types_…`, `policy_kv_…`.
fn bindings(folder: &Path) -> Result<(), String> {
    let world = World::of(folder)?;
    let short = |(name, short): (String, String)| (name, format!("policy_{}", short.replace('-', "_")));
    let options = wit_bindgen_c::Opts {
        rename: world.interfaces().into_iter().map(short).collect(),
        rename_world: Some("policy".to_owned()),
        // A hook that forgets to give a handle back would trap.
        autodrop_borrows: wit_bindgen_c::Enabled::Yes,
        ..wit_bindgen_c::Opts::default()
    };
    world.generate(options.build(), &folder.join(BINDINGS))
}

/// A compiler with the words that make it one for WebAssembly.
struct Compiler {
    program: PathBuf,
    words: &'static [&'static str],
}

const CLANG: [&str; 1] = ["--target=wasm32-wasi"];
const ZIG: [&str; 3] = ["cc", "-target", "wasm32-wasi"];

/// The first that is here.
fn compiler(folder: &Path) -> Result<Compiler, String> {
    if let Some(sdk) = std::env::var_os("WASI_SDK_PATH") {
        let program = Path::new(&sdk).join("bin/clang");
        return Ok(Compiler { program, words: &CLANG });
    }
    for name in ["zig", "python-zig"] {
        if let Some(program) = found(folder, name) {
            return Ok(Compiler { program, words: &ZIG });
        }
    }
    if let Some(program) = found(folder, "clang")
        && has_libc(&program, folder)?
    {
        return Ok(Compiler { program, words: &CLANG });
    }
    Err(format!(
        "there is no C compiler for WebAssembly in {}/.venv, on the PATH or at WASI_SDK_PATH: \
         run `pip install ziglang==0.17.0`, or on Debian `apt-get install clang lld wasi-libc libclang-rt-dev-wasm32`",
        folder.display()
    ))
}

/// Whether a clang comes with a C library for WebAssembly; most have none.
fn has_libc(clang: &Path, folder: &Path) -> Result<bool, String> {
    let asked = Tool::new(clang, folder).args(CLANG).args(["-print-file-name=libc.a"]);
    let (good, said) = asked.run().map_err(|error| format!("{}: {error}", clang.display()))?;
    // Without one it says the bare name again.
    Ok(good && Path::new(String::from_utf8_lossy(&said).trim()).is_absolute())
}

/// The C files in a folder, below the project's as they are named there.
fn c_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let names = entries.flatten().map(|entry| Path::new("src").join(entry.file_name()));
    Ok(names
        .filter(|path| path.extension().is_some_and(|end| end == "c"))
        .collect())
}
