//! What a component file is, before anything is compiled: its form, its imports, its exports.

use wasmparser::{ComponentExternalKind, Encoding, Parser, Payload};

use super::error::Problem;
use crate::policy::Hook;

/// The package of the contract; its interfaces match within the track `0.1`.
const PACKAGE: &str = "pointsman:policy";
const TRACK: &str = "0.1.";

/// The interfaces that components may import.
const OFFERED: [&str; 2] = ["types", "log"];

/// What a component says about itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Surface {
    /// The interfaces it imports, by full name.
    pub(super) imports: Vec<String>,
    /// Exports that no hook is.
    pub(super) strangers: Vec<String>,
    /// Names of its hooks.
    pub(super) hooks: Vec<Hook>,
}

/// Reads the outermost level of a component and refuses what can not be a policy.
pub(super) fn inspect(bytes: &[u8]) -> Result<Surface, Problem> {
    let (imports, exports) = names(bytes)?;
    let foreign: Vec<String> = imports
        .iter()
        .filter(|name| !interface(name).is_some_and(|i| OFFERED.contains(&i)))
        .cloned()
        .collect();
    if !foreign.is_empty() {
        return Err(Problem::Imports(foreign));
    }
    let mut surface = Surface {
        imports,
        ..Surface::default()
    };
    for name in exports {
        match interface(&name).and_then(|i| Hook::ALL.into_iter().find(|h| h.as_str() == i)) {
            Some(hook) => surface.hooks.push(hook),
            None => surface.strangers.push(name),
        }
    }
    if !surface.hooks.iter().any(|h| *h != Hook::Lifecycle) {
        return Err(Problem::NoHook(surface.strangers));
    }
    Ok(surface)
}

/// The interface of the contract that a name means: `pointsman:policy/route@0.1.7` is `route`.
fn interface(name: &str) -> Option<&str> {
    let (interface, version) = name.strip_prefix(PACKAGE)?.strip_prefix('/')?.split_once('@')?;
    version.starts_with(TRACK).then_some(interface)
}

/// The names of all imports and exports.
fn names(bytes: &[u8]) -> Result<(Vec<String>, Vec<String>), Problem> {
    if !bytes.starts_with(b"\0asm") {
        return Err(Problem::NotWasm);
    }
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|e| broken(&e))? {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } if depth == 0 => return Err(Problem::CoreModule),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import.map_err(|e| broken(&e))?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export.map_err(|e| broken(&e))?;
                    // What stands here besides instances, such as types, is no interface.
                    if matches!(
                        export.kind,
                        ComponentExternalKind::Instance | ComponentExternalKind::Func
                    ) {
                        exports.push(export.name.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

fn broken(error: &wasmparser::BinaryReaderError) -> Problem {
    // The parser knows how many bytes it misses, but keeps that to itself.
    if error.message().contains("unexpected end") {
        Problem::Truncated(error.offset())
    } else {
        Problem::Invalid(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_contract_of_this_track_is_known() {
        assert_eq!(interface("pointsman:policy/route@0.1.0"), Some("route"));
        assert_eq!(interface("pointsman:policy/route@0.1.9"), Some("route"));
        for other in [
            "pointsman:policy/route@0.2.0",
            "pointsman:policy/route",
            "pointsman:policyx/route@0.1.0",
            "wasi:cli/environment@0.2.6",
            "init",
        ] {
            assert_eq!(interface(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_no_component_is_named() {
        assert!(matches!(inspect(b"hello"), Err(Problem::NotWasm)));
        assert!(matches!(inspect(b""), Err(Problem::NotWasm)));
        assert!(matches!(inspect(b"\0asm\x01\0\0\0"), Err(Problem::CoreModule)));
        assert!(matches!(inspect(b"\0asm\x0d\0\x01"), Err(Problem::Truncated(_))));
        assert!(matches!(inspect(b"\0asm\x0d\0\x01\0"), Err(Problem::NoHook(_))));
        assert!(matches!(inspect(b"\0asm\x63\0\x01\0"), Err(Problem::Invalid(_))));
    }
}
