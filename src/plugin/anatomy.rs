//! What a plugin file is and wants, for people who look at it: told whether or not the router would take it.

use wasmparser::Parser;

use super::capability::Capability;
use super::componentise::component_of;
use super::error::Problem;
use super::inspect::{self, inspect};
use super::wasi::has_stub;
use crate::config::{Grants, sha256_of};
use crate::policy::Hook;

/// A plugin file, taken apart.
#[derive(Debug)]
pub struct Anatomy {
    /// Whether it is a core module, which the router makes a component of.
    pub is_module: bool,
    /// The file's length in bytes.
    pub size: usize,
    /// SHA-256 of the file, in hexadecimal digits.
    pub digest: String,
    /// The latest version of the contract that its imports and exports name.
    pub contract: Option<String>,
    /// Whether this router knows that version.
    pub is_known: bool,
    /// The hooks it exports.
    pub hooks: Vec<Hook>,
    /// What it imports beside the call, each of which must be granted.
    pub capabilities: Vec<Capability>,
    /// Whether it imports WASI, so far as there are stubs for that.
    pub wants_wasi: bool,
    /// Imports that are none of the contract's.
    pub foreign: Vec<String>,
    /// Exports that no hook is.
    pub strangers: Vec<String>,
    /// Why the router refuses it, whatever it is granted, so far as its outside tells.
    pub refusal: Option<Problem>,
}

impl Anatomy {
    /// Of a file with these bytes; an error where it is no component at all, or a broken one.
    pub fn of(bytes: &[u8]) -> Result<Self, Problem> {
        let component = component_of(bytes)?;
        let (imports, exports) = inspect::names(&component)?;
        let capability = |name: &String| {
            let wanted = inspect::interface(name)?;
            Capability::ALL.into_iter().find(|c| c.as_str() == wanted)
        };
        let hook = |name: &String| {
            let offered = inspect::interface(name)?;
            Hook::ALL.into_iter().find(|hook| hook.as_str() == offered)
        };
        let capabilities: Vec<Capability> = imports.iter().filter_map(capability).collect();
        let is_foreign = |name: &&String| capability(name).is_none() && inspect::interface(name) != Some("types");
        let wants_wasi = imports.iter().any(|import| has_stub(import));
        let (contract, is_known) = inspect::contract(imports.iter().chain(&exports));
        Ok(Self {
            is_module: Parser::is_core_wasm(bytes),
            size: bytes.len(),
            digest: sha256_of(bytes),
            contract,
            is_known,
            hooks: exports.iter().filter_map(hook).collect(),
            foreign: imports.iter().filter(is_foreign).cloned().collect(),
            strangers: exports.iter().filter(|name| hook(name).is_none()).cloned().collect(),
            refusal: inspect(&component, &all_of(&capabilities, wants_wasi)).err(),
            wants_wasi,
            capabilities,
        })
    }

    /// Grants for all that it asks for; requests may go nowhere, and the secrets are empty.
    pub fn grants(&self) -> Grants {
        all_of(&self.capabilities, self.wants_wasi)
    }
}

fn all_of(capabilities: &[Capability], wasi: bool) -> Grants {
    let mut grants = Grants {
        wasi,
        ..Grants::default()
    };
    for capability in capabilities {
        capability.grant(&mut grants);
    }
    grants
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_component_is_taken_apart() {
        let bytes = crate::plugin::embedded("redact").unwrap();
        let anatomy = Anatomy::of(bytes).unwrap();
        assert!(!anatomy.is_module);
        assert_eq!(anatomy.size, bytes.len());
        assert!(anatomy.is_known, "{anatomy:?}");
        let hooks = [Hook::Lifecycle, Hook::TransformRequest, Hook::TransformResponse];
        assert!(hooks.iter().all(|hook| anatomy.hooks.contains(hook)), "{anatomy:?}");
        assert!(anatomy.foreign.is_empty() && anatomy.strangers.is_empty() && anatomy.refusal.is_none());
    }

    #[test]
    fn what_is_no_policy_is_told_with_the_reason() {
        let empty = Anatomy::of(b"\0asm\x0d\0\x01\0").unwrap();
        assert!(matches!(empty.refusal, Some(Problem::NoHook(_))));
        assert_eq!(empty.contract, None);
        assert!(matches!(Anatomy::of(b"#!/bin/sh"), Err(Problem::NotWasm)));
    }
}
