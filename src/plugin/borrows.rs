//! Makes a component of QuickJS's toolchain let go of what a hook was lent before the hook returns.
//!
//! The component model wants borrowed handles dropped by the time a function returns. componentize-qjs 0.4.5 drops them in
//! the function's post-return, which is too late: wasmtime answers "borrow handles still remain at the end of the call". So
//! the module that adapts hooks to the interpreter (wit-dylib made it) is rewritten: each hook is wrapped in a function that
//! asks it and then drops its handles, and the interpreter's own drop of them, through a table, meets one that does nothing.
//!
//! Right as long as all that plugins get is lent to them: a resource that one owned would never be dropped.

use std::collections::BTreeMap;

use wasm_encoder::reencode::{self, Reencode, utils};
use wasm_encoder::{CodeSection, ElementSection, ExportSection, Function, FunctionSection, Module};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};
use wit_component::DecodedWasm;
use wit_parser::{Handle, Resolve, Type, TypeDefKind, WorldItem};

/// What every module of wit-dylib imports, and nothing else: how the interpreter hears that a call is over.
const MARK: (&str, &str) = ("env", "wit_dylib_export_finish");

/// For the name of a core export, the imports that drop its parameters.
type Lent = BTreeMap<String, Vec<(String, String)>>;

/// The component, changed as told above where it has a module of wit-dylib; else as it is. The error says what was not
/// understood.
pub fn drop_borrows_early(component: &[u8]) -> Result<Vec<u8>, String> {
    let decoded = wit_component::decode(component).map_err(|error| format!("{error:#}"))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err("this is a package of interfaces, and no component".to_owned());
    };
    let exports = resolve.worlds[world].exports.values();
    let mut lent = Lent::new();
    for item in exports {
        let WorldItem::Interface { id, .. } = item else {
            continue;
        };
        let Some(interface) = resolve.id_of(*id) else { continue };
        for (name, function) in &resolve.interfaces[*id].functions {
            let drops: Option<Vec<_>> = function.params.iter().map(|p| drop_of(&resolve, p.ty)).collect();
            if let Some(drops) = drops.filter(|drops| !drops.is_empty()) {
                lent.insert(format!("{interface}#{name}"), drops);
            }
        }
    }
    in_component(component, &lent)
}

/// The import that drops a parameter, if it is a borrowed handle.
fn drop_of(resolve: &Resolve, ty: Type) -> Option<(String, String)> {
    let Type::Id(id) = ty else { return None };
    let TypeDefKind::Handle(Handle::Borrow(mut id)) = resolve.types[id].kind else {
        return None;
    };
    // The hook's interface has it by `use` of another's.
    while let TypeDefKind::Type(Type::Id(of)) = resolve.types[id].kind {
        id = of;
    }
    let resource = &resolve.types[id];
    let wit_parser::TypeOwner::Interface(owner) = resource.owner else {
        return None;
    };
    Some((
        resolve.id_of(owner)?,
        format!("[resource-drop]{}", resource.name.as_ref()?),
    ))
}

/// A component with its modules rewritten, and those of the components in it. All else keeps its bytes.
fn in_component(bytes: &[u8], lent: &Lent) -> Result<Vec<u8>, String> {
    const HEADER: usize = 8;
    const MODULE: u8 = 1;
    const COMPONENT: u8 = 4;
    let mut made = bytes.get(..HEADER).ok_or("it is cut short")?.to_vec();
    let mut rest = &bytes[HEADER..];
    while let Some((&id, after)) = rest.split_first() {
        let mut reader = wasmparser::BinaryReader::new(after, 0);
        let size = reader.read_var_u32().map_err(|error| error.to_string())? as usize;
        let start = reader.original_position();
        let body = after.get(start..start + size).ok_or("it is cut short")?;
        let changed = match id {
            MODULE => in_module(body, lent)?,
            COMPONENT => Some(in_component(body, lent)?),
            _ => None,
        };
        let body_now = changed.as_deref().unwrap_or(body);
        made.push(id);
        wasm_encoder::Encode::encode(&body_now.len(), &mut made);
        made.extend_from_slice(body_now);
        rest = &after[start + size..];
    }
    Ok(made)
}

/// The module rewritten, if it is one of wit-dylib with such hooks.
fn in_module(bytes: &[u8], lent: &Lent) -> Result<Option<Vec<u8>>, String> {
    let facts = Facts::of(bytes).map_err(|error| error.to_string())?;
    let Some(mut rewrite) = facts.plan(lent) else {
        return Ok(None);
    };
    let mut module = Module::new();
    rewrite
        .parse_core_module(&mut module, Parser::new(0), bytes)
        .map_err(|error| error.to_string())?;
    Ok(Some(module.finish()))
}

/// What of a module has to be known before it is rewritten.
#[derive(Default)]
struct Facts {
    /// For each function, its type; imported ones come first.
    types: Vec<u32>,
    /// Imported functions by module and name.
    imports: BTreeMap<(String, String), u32>,
    /// Exported functions by name.
    exports: BTreeMap<String, u32>,
}

impl Facts {
    fn of(module: &[u8]) -> wasmparser::Result<Self> {
        let mut facts = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        if let TypeRef::Func(ty) = import.ty {
                            let key = (import.module.to_owned(), import.name.to_owned());
                            facts.imports.insert(key, facts.types.len() as u32);
                            facts.types.push(ty);
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        facts.types.push(ty?);
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        if export.kind == ExternalKind::Func {
                            facts.exports.insert(export.name.to_owned(), export.index);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(facts)
    }

    /// What to change; nothing in a module that is not of wit-dylib, or that has no post-return to be too late in.
    fn plan(&self, lent: &Lent) -> Option<Rewrite> {
        self.imports.get(&(MARK.0.to_owned(), MARK.1.to_owned()))?;
        let mut rewrite = Rewrite::default();
        let mut next = self.types.len() as u32;
        for (name, drops) in lent {
            let (Some(&hook), true) = (
                self.exports.get(name),
                self.exports.contains_key(&format!("cabi_post_{name}")),
            ) else {
                continue;
            };
            let drops: Vec<u32> = drops.iter().filter_map(|key| self.imports.get(key).copied()).collect();
            rewrite.wrappers.push(Wrapper {
                hook,
                drops,
                ty: self.types[hook as usize],
            });
            rewrite.in_exports.insert(hook, next);
            next += 1;
        }
        let some_drop = *rewrite.wrappers.first()?.drops.first()?;
        rewrite.idle_type = self.types[some_drop as usize];
        let drops = self
            .imports
            .iter()
            .filter(|((_, name), _)| name.starts_with("[resource-drop]"));
        rewrite.in_tables = drops.map(|(_, &index)| (index, next)).collect();
        Some(rewrite)
    }
}

/// A hook, asked and then made to drop what it was lent.
struct Wrapper {
    hook: u32,
    /// For each parameter, the function that drops it.
    drops: Vec<u32>,
    ty: u32,
}

/// The changes to one module. New functions stand behind those that are there: the wrappers, then one that does nothing.
#[derive(Default)]
struct Rewrite {
    wrappers: Vec<Wrapper>,
    /// The type of the function that does nothing.
    idle_type: u32,
    /// What stands in place of a function where it is exported, and where it is in a table.
    in_exports: BTreeMap<u32, u32>,
    in_tables: BTreeMap<u32, u32>,
    /// Which of the two holds where the reencoder is.
    place: Place,
}

#[derive(Clone, Copy, Default)]
enum Place {
    #[default]
    Elsewhere,
    Exports,
    Tables,
}

type Outcome = Result<(), reencode::Error<std::convert::Infallible>>;

impl Reencode for Rewrite {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32, reencode::Error<Self::Error>> {
        let instead = match self.place {
            Place::Elsewhere => None,
            Place::Exports => self.in_exports.get(&index),
            Place::Tables => self.in_tables.get(&index),
        };
        Ok(instead.copied().unwrap_or(index))
    }

    fn parse_export_section(&mut self, to: &mut ExportSection, from: wasmparser::ExportSectionReader<'_>) -> Outcome {
        self.place = Place::Exports;
        let done = utils::parse_export_section(self, to, from);
        self.place = Place::Elsewhere;
        done
    }

    fn parse_element_section(
        &mut self,
        to: &mut ElementSection,
        from: wasmparser::ElementSectionReader<'_>,
    ) -> Outcome {
        self.place = Place::Tables;
        let done = utils::parse_element_section(self, to, from);
        self.place = Place::Elsewhere;
        done
    }

    fn parse_function_section(
        &mut self,
        to: &mut FunctionSection,
        from: wasmparser::FunctionSectionReader<'_>,
    ) -> Outcome {
        utils::parse_function_section(self, to, from)?;
        for wrapper in &self.wrappers {
            to.function(wrapper.ty);
        }
        to.function(self.idle_type);
        Ok(())
    }

    fn parse_code_section(&mut self, to: &mut CodeSection, from: wasmparser::CodeSectionReader<'_>) -> Outcome {
        utils::parse_code_section(self, to, from)?;
        for wrapper in &self.wrappers {
            let mut body = Function::new([]);
            let mut code = body.instructions();
            let params = 0..wrapper.drops.len() as u32;
            for param in params.clone() {
                code.local_get(param);
            }
            // Its result, where it has one, stays on the stack.
            code.call(wrapper.hook);
            for (param, drop) in params.zip(&wrapper.drops) {
                code.local_get(param).call(*drop);
            }
            code.end();
            to.function(&body);
        }
        let mut idle = Function::new([]);
        idle.instructions().end();
        to.function(&idle);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{
        ConstExpr, ElementSection, Elements, EntityType, ExportKind, ImportSection, RefType, TableSection, TableType,
        TypeSection, ValType,
    };
    use wasmtime::{Engine, Linker, Store};

    use super::*;

    const TYPES: &str = "pointsman:policy/types@0.1.1";
    const HOOK: &str = "pointsman:policy/route@0.1.1#route";

    /// A module as wit-dylib makes them, in small: a hook that answers its second parameter, and a post-return that drops
    /// the handle 7 through the table.
    fn module(mark: &str) -> Vec<u8> {
        let (i32, mut module) = (ValType::I32, Module::new());
        let mut types = TypeSection::new();
        types.ty().function([i32], []);
        types.ty().function([i32, i32], [i32]);
        let mut imports = ImportSection::new();
        imports.import("env", mark, EntityType::Function(0));
        imports.import(TYPES, "[resource-drop]call", EntityType::Function(0));
        let mut functions = FunctionSection::new();
        functions.function(1).function(0);
        let mut tables = TableSection::new();
        tables.table(TableType {
            element_type: RefType::FUNCREF,
            table64: false,
            minimum: 1,
            maximum: None,
            shared: false,
        });
        let mut exports = ExportSection::new();
        exports.export(HOOK, ExportKind::Func, 2);
        exports.export(&format!("cabi_post_{HOOK}"), ExportKind::Func, 3);
        let mut elements = ElementSection::new();
        elements.active(None, &ConstExpr::i32_const(0), Elements::Functions([1][..].into()));
        let mut code = CodeSection::new();
        let mut hook = Function::new([]);
        hook.instructions().local_get(1).end();
        let mut after = Function::new([]);
        after.instructions().i32_const(7).i32_const(0).call_indirect(0, 0).end();
        code.function(&hook).function(&after);
        module
            .section(&types)
            .section(&imports)
            .section(&functions)
            .section(&tables);
        module.section(&exports).section(&elements).section(&code);
        module.finish()
    }

    fn lent() -> Lent {
        let drop = (TYPES.to_owned(), "[resource-drop]call".to_owned());
        Lent::from([(HOOK.to_owned(), vec![drop.clone(), drop])])
    }

    /// What is dropped by the hook, called with the handles 5 and 6, and then by its post-return.
    fn dropped(module: &[u8]) -> (i32, Vec<i32>, Vec<i32>) {
        let engine = Engine::default();
        let mut linker = Linker::new(&engine);
        linker.func_wrap("env", MARK.1, |_: i32| {}).unwrap();
        linker
            .func_wrap(
                TYPES,
                "[resource-drop]call",
                |mut caller: wasmtime::Caller<'_, Vec<i32>>, handle: i32| {
                    caller.data_mut().push(handle);
                },
            )
            .unwrap();
        let mut store = Store::new(&engine, Vec::new());
        let module = wasmtime::Module::new(&engine, module).unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let hook = instance.get_typed_func::<(i32, i32), i32>(&mut store, HOOK).unwrap();
        let answer = hook.call(&mut store, (5, 6)).unwrap();
        let first = std::mem::take(store.data_mut());
        let after = instance
            .get_typed_func::<i32, ()>(&mut store, &format!("cabi_post_{HOOK}"))
            .unwrap();
        after.call(&mut store, 0).unwrap();
        (answer, first, std::mem::take(store.data_mut()))
    }

    #[test]
    fn what_was_lent_is_dropped_before_the_hook_returns_and_not_again_after() {
        let module = module(MARK.1);
        assert_eq!(dropped(&module), (6, vec![], vec![7]));
        let changed = in_module(&module, &lent()).unwrap().unwrap();
        assert_eq!(dropped(&changed), (6, vec![5, 6], vec![]));
    }

    #[test]
    fn modules_of_other_toolchains_and_hooks_without_handles_are_left_alone() {
        assert_eq!(in_module(&module("another_import"), &lent()), Ok(None));
        assert_eq!(in_module(&module(MARK.1), &Lent::new()), Ok(None));
        let component = crate::plugin::embedded("default-route").unwrap();
        assert_eq!(drop_borrows_early(component).unwrap(), component);
    }

    #[test]
    fn what_is_no_component_is_said() {
        assert!(drop_borrows_early(b"hello").is_err());
        let component = crate::plugin::embedded("default-route").unwrap();
        assert!(drop_borrows_early(&component[..component.len() - 9]).is_err());
    }
}
