//! Whatever a file holds, loading ends with a configuration or with problems that have places.

use std::path::Path;

use proptest::prelude::*;

use super::super::{parse, parse_mcp_servers};
use super::with_files;

const REFERENCE: &str = include_str!("../../../examples/reference.toml");
const CLIENTS: &str = include_str!("../../../examples/claude_desktop_config.json");

/// `text` with pieces cut out and others put in.
fn damaged(text: &'static str) -> impl Strategy<Value = String> {
    let bit = prop::sample::select(vec![
        "", "\"", "[", "]", "{", "}", "\n", "é", "\\", "${", "= ", ",", "//", "/*", "'", "-1", "\u{feff}",
    ]);
    prop::collection::vec((0..text.len(), 0usize..20, bit), 1..5).prop_map(move |edits| {
        let mut out = text.to_owned();
        for (at, length, bit) in edits {
            let start = out.floor_char_boundary(at);
            let end = out.floor_char_boundary(start + length);
            out.replace_range(start..end, bit);
        }
        out
    })
}

proptest! {
    #[test]
    fn toml_never_panics(text in prop_oneof![damaged(REFERENCE), ".{0,40}".prop_map(String::from)]) {
        if let Err(problems) = with_files(&[], |outside| parse(&text, Path::new("/p.toml"), outside)) {
            let lines = text.split('\n').count();
            prop_assert!(!problems.0.is_empty());
            prop_assert!(problems.0.iter().all(|p| (1..=lines).contains(&p.line) && p.column > 0), "{problems}");
        }
    }

    #[test]
    fn json_never_panics(text in prop_oneof![damaged(CLIENTS), ".{0,40}".prop_map(String::from)]) {
        if let Err(problems) = with_files(&[], |outside| parse_mcp_servers(&text, Path::new("/p.json"), outside)) {
            let lines = text.split('\n').count();
            prop_assert!(!problems.0.is_empty());
            prop_assert!(problems.0.iter().all(|p| (1..=lines).contains(&p.line) && p.column > 0), "{problems}");
        }
    }
}
