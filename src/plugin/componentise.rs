//! A core module with an embedded component type, as toolchains leave it before the last step, made the component it means.

use std::borrow::Cow;

use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

use super::error::Problem;

/// What the custom sections that hold a component type are called, with more behind it.
const TYPE_SECTION: &str = "component-type";

/// The component that a file means: itself, or what its core module is to become.
///
/// Nothing is validated here: the compiler does that. A hostile module may bring the encoder to its knees, by a recursion
/// without end for one, so the router has this done in a process of its own (`Workshop::made_component`).
pub(super) fn component_of(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Problem> {
    if !is_to_become_one(bytes)? {
        return Ok(Cow::Borrowed(bytes));
    }
    encode(bytes).map(Cow::Owned).map_err(Problem::NotComponentised)
}

/// The component that a core module is to become; what is one already stays as it is.
pub fn componentise(module: &[u8]) -> Result<Vec<u8>, Problem> {
    component_of(module).map(Cow::into_owned)
}

/// Whether these bytes are a core module that says which component it is to become. One that does not is an error.
pub(super) fn is_to_become_one(bytes: &[u8]) -> Result<bool, Problem> {
    if !Parser::is_core_wasm(bytes) {
        return Ok(false);
    }
    if has_component_type(bytes)? {
        Ok(true)
    } else {
        Err(Problem::CoreModule)
    }
}

/// The step itself.
pub(super) fn encode(module: &[u8]) -> Result<Vec<u8>, String> {
    let component = ComponentEncoder::default()
        .module(module)
        .and_then(|encoder| encoder.validate(false).encode());
    component.map_err(|error| format!("{error:#}"))
}

/// Whether a core module says which component it is to become.
fn has_component_type(module: &[u8]) -> Result<bool, Problem> {
    let mut found = false;
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(|error| super::inspect::broken(&error))?;
        found |= matches!(payload, Payload::CustomSection(section) if section.name().starts_with(TYPE_SECTION));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_core_module_stays_as_it_is() {
        for bytes in [&b"hello"[..], b"", b"\0asm\x0d\0\x01\0"] {
            assert!(matches!(component_of(bytes), Ok(Cow::Borrowed(same)) if same == bytes));
        }
    }

    #[test]
    fn a_module_must_say_what_it_is_to_become() {
        assert!(matches!(component_of(b"\0asm\x01\0\0\0"), Err(Problem::CoreModule)));
        // One that says so, in a section that holds nonsense.
        let mut module = b"\0asm\x01\0\0\0\0\x10\x0ecomponent-type".to_vec();
        module.push(7);
        assert!(matches!(component_of(&module), Err(Problem::NotComponentised(_))));
        // Cut in the middle of a section.
        assert!(matches!(
            component_of(b"\0asm\x01\0\0\0\0\x10"),
            Err(Problem::Truncated(_))
        ));
    }
}
