//! Enforces the floors of ARCHITECTURE.md: who may name whom, and a few habits that no compiler checks.
#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod rules;
mod samples;
mod source;

use std::fs;
use std::path::Path;

use rules::SourceFile;

#[test]
fn src_keeps_to_the_floors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("src"), root, &mut files);
    assert!(!files.is_empty(), "no source files found");
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let broken = rules::check(&files);
    let list: Vec<String> = broken.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "{} broken:\n{}\n", list.len(), list.join("\n"));
}

fn collect(folder: &Path, root: &Path, files: &mut Vec<SourceFile>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the entry can be read").path();
        if path.is_dir() {
            collect(&path, root, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).expect("the file is text");
            let inside = path.strip_prefix(root).expect("the walk stays inside");
            files.push(SourceFile {
                path: inside.to_string_lossy().replace('\\', "/"),
                text,
            });
        }
    }
}
