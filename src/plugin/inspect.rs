//! What a component file is, before anything is compiled: its form, its imports, its exports.

use wasmparser::{ComponentExternalKind, Encoding, Parser, Payload};

use super::capability::Capability;
use super::error::Problem;
use super::wasi::has_stub;
use crate::config::Grants;
use crate::policy::Hook;
use crate::wire::printable::printable;

/// The package of the contract; its interfaces match within the track `0.1`.
const PACKAGE: &str = "pointsman:policy";
const TRACK: &str = "0.1.";
/// The contract that this router has.
pub const CONTRACT: &str = "0.1.1";

/// What a component says about itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Surface {
    /// The interfaces it imports, by full name.
    pub(super) imports: Vec<String>,
    /// Exports that no hook is.
    pub(super) strangers: Vec<String>,
    /// The latest contract that it names, if that is later than this router's.
    pub(super) later: Option<String>,
    /// Names of its hooks.
    pub(super) hooks: Vec<Hook>,
}

/// Reads the outermost level of a component and refuses what can not be a policy, or wants more than `grants` give.
pub(super) fn inspect(bytes: &[u8], grants: &Grants) -> Result<Surface, Problem> {
    let (imports, exports) = names(bytes)?;
    let (mut foreign, mut newer, mut denied) = (Vec::new(), Vec::new(), Vec::new());
    let mut wasi = Vec::new();
    for name in &imports {
        let known = |wanted: &str| Capability::ALL.into_iter().find(|c| c.as_str() == wanted);
        match interface(name) {
            Some("types") => {}
            Some(wanted) => match known(wanted) {
                Some(capability) if capability.is_granted(grants) => {}
                Some(capability) => denied.push(capability),
                None => newer.push(name.clone()),
            },
            None if has_stub(name) && grants.wasi => {}
            None if has_stub(name) => wasi.push(name.clone()),
            None => foreign.push(name.clone()),
        }
    }
    if !foreign.is_empty() {
        return Err(Problem::Imports(foreign));
    }
    if !wasi.is_empty() {
        return Err(Problem::Wasi(wasi));
    }
    if !newer.is_empty() {
        return Err(Problem::Newer(newer));
    }
    if !denied.is_empty() {
        return Err(Problem::NotGranted(denied));
    }
    let mut surface = Surface {
        later: later(imports.iter().chain(&exports)),
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
pub(super) fn interface(name: &str) -> Option<&str> {
    let (interface, version) = name.strip_prefix(PACKAGE)?.strip_prefix('/')?.split_once('@')?;
    version.starts_with(TRACK).then_some(interface)
}

/// The latest contract among these names, if it is later than this router's.
fn later<'n>(names: impl Iterator<Item = &'n String>) -> Option<String> {
    let latest = names.filter_map(|name| patch_of(name)).max()?;
    (Some(latest) > patch(CONTRACT)).then(|| format!("{TRACK}{latest}"))
}

/// The latest contract among these names, and whether this router knows it. Where none is of this track, any other.
pub(super) fn contract<'n>(names: impl Iterator<Item = &'n String> + Clone) -> (Option<String>, bool) {
    if let Some(latest) = names.clone().filter_map(|name| patch_of(name)).max() {
        return (Some(format!("{TRACK}{latest}")), Some(latest) <= patch(CONTRACT));
    }
    let other = |name: &'n String| Some(name.strip_prefix(PACKAGE)?.split_once('@')?.1.to_owned());
    (names.filter_map(other).max(), false)
}

/// The last number of a version of this track.
fn patch(version: &str) -> Option<u32> {
    version.strip_prefix(TRACK)?.parse().ok()
}

/// That of the version that an interface of the contract was taken from.
fn patch_of(name: &str) -> Option<u32> {
    interface(name).and_then(|_| patch(name.rsplit_once('@')?.1))
}

/// The names of all imports and exports, fit to be told. Those that change by it are none that anybody knows.
pub(super) fn names(bytes: &[u8]) -> Result<(Vec<String>, Vec<String>), Problem> {
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
                    imports.push(printable(import.map_err(|e| broken(&e))?.name.name));
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
                        exports.push(printable(export.name.name));
                    }
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

pub(super) fn broken(error: &wasmparser::BinaryReaderError) -> Problem {
    // The parser knows how many bytes it misses, but keeps that to itself.
    if error.message().contains("unexpected end") {
        Problem::Truncated(error.offset())
    } else {
        Problem::Invalid(printable(&error.to_string()))
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
    fn names_are_fit_to_be_told() {
        // A component that imports the function `f` of type 0, whose name says more than its length.
        let name = b"x\x1b[2J\nok";
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        bytes.extend([7, 5, 1, 0x40, 0, 1, 0]);
        let length = u8::try_from(name.len()).unwrap();
        bytes.extend([10, length + 5, 1, 0, length]);
        bytes.extend(name);
        bytes.extend([1, 0]);
        assert_eq!(names(&bytes).unwrap().0, ["x\\u{1b}[2J\\nok"]);
    }

    #[test]
    fn what_is_no_component_is_named() {
        assert!(matches!(inspect(b"hello", &Grants::default()), Err(Problem::NotWasm)));
        assert!(matches!(inspect(b"", &Grants::default()), Err(Problem::NotWasm)));
        assert!(matches!(
            inspect(b"\0asm\x01\0\0\0", &Grants::default()),
            Err(Problem::CoreModule)
        ));
        assert!(matches!(
            inspect(b"\0asm\x0d\0\x01", &Grants::default()),
            Err(Problem::Truncated(_))
        ));
        assert!(matches!(
            inspect(b"\0asm\x0d\0\x01\0", &Grants::default()),
            Err(Problem::NoHook(_))
        ));
        assert!(matches!(
            inspect(b"\0asm\x63\0\x01\0", &Grants::default()),
            Err(Problem::Invalid(_))
        ));
    }
}
