//! `docs/policy-interface.md` is what `wit/` says. `POINTSMAN_WRITE=1 cargo test --test interface` writes it anew.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use std::fmt::Write as _;
use std::path::Path;

const HEAD: &str = "# The policy interface

Every interface of the contract with its functions, from the text of `wit/`, which is what is compiled. What holds for all
hooks, which chain ends when, limits and the rules by which the contract changes are in [wit/README.md](../wit/README.md);
the settings with their defaults in [examples/reference.toml](../examples/reference.toml).

What a policy *exports* are hooks; what it *imports* is `types` and the capabilities that it uses. `(0.1.1)` and the like
says since when something is there.
";

/// A file of `wit/`, as a part of the page.
fn render(text: &str, out: &mut String) {
    let (mut doc, mut since) = (Vec::<&str>::new(), None::<&str>);
    let mut block = None::<String>;
    let mut depth = 0_usize;
    for line in text.lines() {
        let trimmed = line.trim();
        if let Some(open) = &mut block {
            // A record or a variant stands as it is written.
            let _ = writeln!(open, "{}", line.strip_prefix("  ").unwrap_or(line));
            if trimmed == "}" {
                let _ = writeln!(out, "```wit\n{}```\n", block.take().unwrap());
            }
            continue;
        }
        if let Some(words) = trimmed.strip_prefix("///") {
            doc.push(words.trim());
            continue;
        }
        if let Some(rest) = trimmed.strip_prefix("@since(version = ") {
            since = rest.strip_suffix(')');
            continue;
        }
        let of = |word: &str| trimmed.strip_prefix(word).and_then(|rest| rest.strip_suffix(" {"));
        let when = since.map(|version| format!(" ({version})")).unwrap_or_default();
        if let Some(name) = of("interface ") {
            let _ = writeln!(out, "\n## `{name}`{when}\n\n{}\n", doc.join("\n"));
            depth = 1;
        } else if let Some(name) = of("resource ") {
            let _ = writeln!(out, "### `{name}`{when}\n\n{}\n", doc.join("\n"));
            depth = 2;
        } else if let Some(name) = of("record ").or_else(|| of("variant ")) {
            let _ = writeln!(out, "### `{name}`{when}\n\n{}\n", doc.join("\n"));
            block = Some(format!("{trimmed}\n"));
        } else if trimmed.contains(": func(") {
            let _ = writeln!(
                out,
                "- `{}`{when}  \n  {}",
                trimmed.trim_end_matches(';'),
                doc.join("\n  ").replace("\n  \n", "\n\n")
            );
        } else if trimmed == "}" && depth > 0 {
            depth -= 1;
            out.push('\n');
        }
        if !trimmed.is_empty() {
            doc.clear();
            since = None;
        }
    }
}

#[test]
fn the_page_of_the_interface_is_what_the_contract_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut page = HEAD.to_owned();
    for (title, file) in [
        ("Hooks", "hooks.wit"),
        ("What policies see and answer", "types.wit"),
        ("Capabilities", "capabilities.wit"),
    ] {
        let _ = write!(page, "\n# {title}\n");
        render(
            &std::fs::read_to_string(root.join("wit").join(file)).unwrap(),
            &mut page,
        );
    }
    // One empty line is enough anywhere.
    while page.contains("\n\n\n") {
        page = page.replace("\n\n\n", "\n\n");
    }
    let page = page.trim_end().to_owned() + "\n";
    let at = root.join("docs/policy-interface.md");
    if std::env::var_os("POINTSMAN_WRITE").is_some() {
        std::fs::write(&at, &page).unwrap();
    }
    let written = std::fs::read_to_string(&at).unwrap_or_default();
    assert_eq!(
        written, page,
        "docs/policy-interface.md is not what wit/ says: run POINTSMAN_WRITE=1 cargo test --test interface"
    );
}
