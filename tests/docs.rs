//! The documents tell the truth where a program can check it: paths, links, examples, length.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pointsman::config::{Outside, parse};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// Every Markdown file of the repository, without what was built or installed.
fn documents() -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root().to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
                folders.push(path);
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    found
}

/// What stands between `open` and `close`, wherever that is.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    text.split(open)
        .skip(1)
        .filter_map(|rest| rest.split_once(close).map(|(inside, _)| inside))
        .collect()
}

#[test]
fn paths_in_the_documents_exist() {
    let mut seen = 0;
    for document in ["README.md", "ARCHITECTURE.md", "plugins/README.md", "wit/README.md"] {
        let text = text(document);
        let word = |c: char| !(c.is_ascii_alphanumeric() || "_-./".contains(c));
        for path in text.split(word) {
            let path = path.trim_end_matches('.');
            if ["src/", "tests/", "examples/", "plugins/", "wit/"]
                .iter()
                .any(|top| path.starts_with(top))
            {
                // A tutorial's own files, and what a build makes, are not in the repository.
                if path.starts_with("plugins/target") {
                    continue;
                }
                seen += 1;
                assert!(
                    root().join(path).exists(),
                    "{document} names {path}, which is not there"
                );
            }
        }
    }
    assert!(seen > 60, "{seen} paths");
}

#[test]
fn every_module_is_in_the_architecture() {
    let architecture = text("ARCHITECTURE.md");
    let words: BTreeSet<&str> = architecture
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .collect();
    for entry in std::fs::read_dir(root().join("src")).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            words.contains(module) || module == "lib",
            "{module} is not in ARCHITECTURE.md"
        );
    }
    let lines = architecture.lines().count();
    assert!(lines <= 250, "{lines} lines: ARCHITECTURE.md has 250 at most");
}

#[test]
fn links_lead_somewhere() {
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for link in between(&text, "](", ")") {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            if link.contains("://") {
                continue;
            }
            let target = document.parent().unwrap().join(path);
            assert!(path.is_empty() || target.exists(), "{}: {link}", document.display());
            let heading = |line: &str| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            let known = text.lines().any(|l| l.starts_with('#') && heading(l) == anchor);
            assert!(
                anchor.is_empty() || !path.is_empty() || known,
                "{}: {link}",
                document.display()
            );
        }
    }
}

#[test]
fn configurations_in_the_documents_load() {
    let outside = Outside {
        read: &|path| match path.ends_with("plugins.lock") {
            true => Err(std::io::ErrorKind::NotFound.into()),
            false => Ok("{\"mcpServers\":{}}".to_owned()),
        },
        env: &|name| Some(format!("value of {name}")),
    };
    let mut seen = 0;
    for document in ["README.md", "plugins/README.md"] {
        for block in between(&text(document), "```toml\n", "```") {
            let loaded = parse(block, &root().join("pointsman.toml"), &outside);
            let loaded = loaded.unwrap_or_else(|problems| panic!("{document}:\n{problems}\n{block}"));
            assert_eq!(loaded.warnings, [], "{document}:\n{block}");
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen} configurations");
}
