//! The contract in TypeScript: what editors and `tsc` know of a policy's imports and hooks, from the `wit/` of its project.
//!
//! As the interpreter of componentize-qjs has it: integers of any size are numbers, what is not there is `null`, a result
//! is its value or an exception, a variant is `{ tag, val }`, and names are in camelCase.

use std::fmt::Write as _;

use wit_parser::{
    Docs, Function, FunctionKind, Handle, InterfaceId, Resolve, Type, TypeDefKind, TypeId, TypeOwner, WorldId,
    WorldItem, WorldKey,
};

const HEAD: &str =
    "// Made by `pointsman plugin build` from wit/: what policies import, and the hooks that they export.\n";

/// The declarations of all interfaces of a world, each as a module of its name.
pub(super) fn declarations(resolve: &Resolve, world: WorldId) -> String {
    let mut out = HEAD.to_owned();
    let world = &resolve.worlds[world];
    for (items, is_hook) in [(&world.imports, false), (&world.exports, true)] {
        for (key, item) in items {
            if let (WorldItem::Interface { id, .. }, WorldKey::Interface(_)) = (item, key) {
                interface(resolve, *id, is_hook, &mut out);
            }
        }
    }
    out
}

fn interface(resolve: &Resolve, id: InterfaceId, is_hook: bool, out: &mut String) {
    let interface = &resolve.interfaces[id];
    let (Some(module), Some(name)) = (resolve.id_of(id), &interface.name) else {
        return;
    };
    docs(&interface.docs, "", out);
    let _ = writeln!(out, "declare module '{module}' {{");
    let mut resources = Vec::new();
    for (name, ty) in &interface.types {
        match &resolve.types[*ty].kind {
            TypeDefKind::Resource => resources.push((name, *ty)),
            // What is used of another interface stands there.
            TypeDefKind::Type(Type::Id(of)) if resolve.types[*of].owner != TypeOwner::Interface(id) => {
                let TypeOwner::Interface(owner) = resolve.types[*of].owner else {
                    continue;
                };
                let from = resolve.id_of(owner).unwrap_or_default();
                let _ = writeln!(out, "  import type {{ {} }} from '{from}';", pascal(name));
            }
            _ => definition(resolve, name, *ty, out),
        }
    }
    for (name, ty) in resources {
        docs(&resolve.types[ty].docs, "  ", out);
        let _ = writeln!(out, "  export interface {} {{", pascal(name));
        for function in interface.functions.values() {
            if function.kind == FunctionKind::Method(ty) {
                docs(&function.docs, "    ", out);
                let _ = writeln!(out, "    {};", signature(resolve, function));
            }
        }
        out.push_str("  }\n");
    }
    let free = interface
        .functions
        .values()
        .filter(|f| f.kind == FunctionKind::Freestanding);
    if is_hook {
        let _ = writeln!(out, "  export interface {} {{", pascal(name));
    }
    for function in free {
        docs(&function.docs, if is_hook { "    " } else { "  " }, out);
        let before = if is_hook { "    " } else { "  export function " };
        let _ = writeln!(out, "{before}{};", signature(resolve, function));
    }
    out.push_str(if is_hook { "  }\n}\n\n" } else { "}\n\n" });
}

fn definition(resolve: &Resolve, name: &str, id: TypeId, out: &mut String) {
    let ty = &resolve.types[id];
    docs(&ty.docs, "  ", out);
    let name = pascal(name);
    match &ty.kind {
        TypeDefKind::Record(record) => {
            let _ = writeln!(out, "  export interface {name} {{");
            for field in &record.fields {
                docs(&field.docs, "    ", out);
                let mark = if is_option(resolve, field.ty) { "?" } else { "" };
                let _ = writeln!(out, "    {}{mark}: {};", camel(&field.name), type_of(resolve, field.ty));
            }
            out.push_str("  }\n");
        }
        TypeDefKind::Variant(variant) => {
            let _ = writeln!(out, "  export type {name} =");
            for case in &variant.cases {
                docs(&case.docs, "    ", out);
                let value = case.ty.map(|ty| format!("; val: {}", type_of(resolve, ty)));
                let _ = writeln!(out, "    | {{ tag: '{}'{} }}", case.name, value.unwrap_or_default());
            }
            out.push_str("  ;\n");
        }
        kind => {
            let _ = writeln!(out, "  export type {name} = {};", kind_of(resolve, kind));
        }
    }
}

/// A function or a method, from its name on.
fn signature(resolve: &Resolve, function: &Function) -> String {
    let is_method = matches!(function.kind, FunctionKind::Method(_));
    let name = function.name.rsplit('.').next().unwrap_or(&function.name);
    let params: Vec<_> = function.params.iter().skip(usize::from(is_method)).collect();
    // The interpreter counts arguments: none may be left out, also where `null` would do.
    let param = |p: &&wit_parser::Param| format!("{}: {}", camel(&p.name), type_of(resolve, p.ty));
    let params: Vec<String> = params.iter().map(param).collect();
    let result = function
        .result
        .map_or_else(|| "void".to_owned(), |ty| returned(resolve, ty));
    format!("{}({}): {result}", camel(name), params.join(", "))
}

/// What a function returns: of a result the good half, for the other is an exception.
fn returned(resolve: &Resolve, ty: Type) -> String {
    if let Type::Id(id) = ty
        && let TypeDefKind::Result(result) = &resolve.types[id].kind
    {
        return result.ok.map_or_else(|| "void".to_owned(), |ty| type_of(resolve, ty));
    }
    type_of(resolve, ty)
}

fn is_option(resolve: &Resolve, ty: Type) -> bool {
    matches!(ty, Type::Id(id) if matches!(resolve.types[id].kind, TypeDefKind::Option(_)))
}

fn type_of(resolve: &Resolve, ty: Type) -> String {
    let id = match ty {
        Type::Bool => return "boolean".to_owned(),
        Type::String | Type::Char => return "string".to_owned(),
        Type::ErrorContext => return "unknown".to_owned(),
        Type::Id(id) => id,
        _ => return "number".to_owned(),
    };
    let def = &resolve.types[id];
    match (&def.name, &def.kind) {
        (Some(name), _) => pascal(name),
        (None, kind) => kind_of(resolve, kind),
    }
}

fn kind_of(resolve: &Resolve, kind: &TypeDefKind) -> String {
    let of = |ty: &Type| type_of(resolve, *ty);
    let or_void = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "void".to_owned(), of);
    match kind {
        TypeDefKind::Option(ty) => format!("{} | null", of(ty)),
        TypeDefKind::List(Type::U8) => "Uint8Array".to_owned(),
        TypeDefKind::List(ty) | TypeDefKind::FixedLengthList(ty, _) => format!("Array<{}>", of(ty)),
        TypeDefKind::Tuple(tuple) => format!("[{}]", tuple.types.iter().map(of).collect::<Vec<_>>().join(", ")),
        TypeDefKind::Result(result) => format!(
            "{{ tag: 'ok'; val: {} }} | {{ tag: 'err'; val: {} }}",
            or_void(&result.ok),
            or_void(&result.err)
        ),
        TypeDefKind::Enum(e) => e
            .cases
            .iter()
            .map(|case| format!("'{}'", case.name))
            .collect::<Vec<_>>()
            .join(" | "),
        TypeDefKind::Handle(Handle::Own(id) | Handle::Borrow(id)) => type_of(resolve, Type::Id(*id)),
        TypeDefKind::Type(ty) => of(ty),
        // The contract has none of the others.
        _ => "unknown".to_owned(),
    }
}

fn docs(docs: &Docs, indent: &str, out: &mut String) {
    let Some(text) = &docs.contents else { return };
    let text = text.trim().replace("*/", "* /");
    if !text.contains('\n') {
        let _ = writeln!(out, "{indent}/** {text} */");
        return;
    }
    let _ = writeln!(out, "{indent}/**");
    for line in text.lines() {
        let _ = writeln!(out, "{}", format!("{indent} * {line}").trim_end());
    }
    let _ = writeln!(out, "{indent} */");
}

/// `path-backend` as `pathBackend`.
pub(super) fn camel(name: &str) -> String {
    let mut words = name.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |made, word| made + &capital(word))
}

/// `route-choice` as `RouteChoice`.
fn pascal(name: &str) -> String {
    name.split('-').map(capital).collect()
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_ascii_uppercase().to_string() + letters.as_str()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_the_contract_that_policies_may_use() {
        let mut resolve = Resolve::default();
        let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/wit");
        let (package, _) = resolve.push_dir(wit).unwrap();
        let world = resolve.select_world(&[package], Some("every-hook")).unwrap();
        let said = declarations(&resolve, world);
        let parts = [
            "declare module 'pointsman:policy/log@",
            "  export function log(level: string, message: string): void;",
            "  export function set(key: string, value: Uint8Array, ttlMs: number | null): void;",
            "  export function compareAndSet(key: string, known: Uint8Array | null, value: Uint8Array, ttlMs: number | null): boolean;",
            "    pathBackend(): string | null;",
            "    param(pointer: string): string | null;",
            "    offering(): Array<number>;",
            "    timeoutMs?: number | null;",
            "    | { tag: 'narrow'; val: Array<number> }",
            "    | { tag: 'next' }",
            "  import type { RouteChoice } from 'pointsman:policy/types@",
            "  export interface Route {",
            "    route(call: Call, candidates: Candidates): RouteChoice;",
            "    transform(listing: Listing): Array<Shown> | null;",
            "    init(config: string): void;",
            "     * Asked once for each call",
            "    /** The backend's name; it need not be a candidate. */",
        ];
        for part in parts {
            assert!(said.contains(part), "{part} is not in {said}");
        }
        assert!(!said.contains("unknown"), "{said}");
    }
}
