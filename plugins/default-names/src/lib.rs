//! The default names: as they are where an endpoint has one backend, `BACKEND__TOOL` where it has several.

use sha2::{Digest, Sha256};

wit_bindgen::generate!({
    inline: "package pointsman:default-names;
        world names { import pointsman:policy/types@0.1.1; export pointsman:policy/transform-list@0.1.1; }",
    path: "../../wit",
    generate_all,
});

use exports::pointsman::policy::transform_list::Guest;
use pointsman::policy::types::{Listing, Shown};

/// The longest name: what the interfaces of models accept.
const LONGEST: usize = 64;
/// Between backend and tool. No backend has it in its name.
const SEPARATOR: &str = "__";
/// Bytes of the hash at the end of a name that would be longer.
const TAIL: usize = 4;

struct DefaultNames;

impl Guest for DefaultNames {
    fn transform(listing: &Listing) -> Result<Option<Vec<Shown>>, String> {
        // URIs stay what they are.
        if !matches!(listing.kind().as_str(), "tools" | "prompts") {
            return Ok(None);
        }
        let backends = listing.backends();
        let prefixed = match listing.naming().as_str() {
            "prefixed" => true,
            "plain" => false,
            _ => backends.len() > 1,
        };
        if !prefixed {
            return Ok(None);
        }
        let whose = listing.owners().into_iter().zip(listing.names());
        let shown = (0u32..).zip(whose).map(|(position, (owner, name))| {
            let backend = backends.get(owner as usize).map_or("", String::as_str);
            Shown {
                position,
                name: Some(prefixed_name(backend, &name)),
            }
        });
        Ok(Some(shown.collect()))
    }
}

/// `BACKEND__TOOL`; longer ones end in a hash of the whole, so that they stay apart.
fn prefixed_name(backend: &str, tool: &str) -> String {
    let whole = [backend, SEPARATOR, tool].concat();
    if whole.len() <= LONGEST || whole.chars().count() <= LONGEST {
        return whole;
    }
    let mut short: String = whole.chars().take(LONGEST - 1 - 2 * TAIL).collect();
    short.push('_');
    let digit = |n: u8| char::from_digit(n.into(), 16).unwrap_or('0');
    for byte in &Sha256::digest(whole.as_bytes())[..TAIL] {
        short.extend([digit(byte >> 4), digit(byte & 15)]);
    }
    short
}

export!(DefaultNames);
