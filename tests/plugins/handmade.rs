//! Components out of core modules written by hand, for what no compiler would make of a guest in Rust.

use std::path::Path;

use pointsman::config::Plugin;
use serde_json::json;
use tempfile::TempDir;
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::support::file;

/// Lets go of what `route` was lent, as it must at its end.
pub const LET_GO: &str = "(call $drop-call (local.get 0)) (call $drop-candidates (local.get 1))";

/// A plugin whose `route` runs `body` and then has no opinion; `fields` are further fields of its module. The file
/// lies in the folder.
pub fn routes(fields: &str, body: &str) -> (TempDir, Plugin) {
    // Zeros at 1024 are `ok` in every result; what the host hands over lies from 2048 on.
    let text = format!(
        r#"(module
          (import "pointsman:policy/types@0.1.1" "[resource-drop]call" (func $drop-call (param i32)))
          (import "pointsman:policy/types@0.1.1" "[resource-drop]candidates" (func $drop-candidates (param i32)))
          (memory (export "memory") 1)
          {fields}
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 2048))
          (func (export "pointsman:policy/lifecycle@0.1.1#init") (param i32 i32) (result i32) (i32.const 1024))
          (func (export "pointsman:policy/lifecycle@0.1.1#shutdown"))
          (func (export "pointsman:policy/route@0.1.1#route") (param i32 i32) (result i32)
            {body}
            (i32.const 1024)))"#
    );
    let mut module = wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}"));
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("wit");
    let (package, _) = resolve.push_dir(wit).unwrap();
    let world = resolve.select_world(&[package], Some("route-plugin")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("handmade.wasm");
    std::fs::write(&path, module).unwrap();
    (folder, file(path, json!({})))
}
