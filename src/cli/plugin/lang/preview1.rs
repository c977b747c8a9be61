//! WASI for those who cannot do without: a module that answers preview 1 from inside the component, so that nothing of it
//! is left to import.
//!
//! The adapter that others use asks the host for the time. Go's collector asks for it too, also while the host is handing
//! over an argument, when nobody may be asked: a component with that adapter traps after some thousand calls. Here the clock
//! is a counter and randomness a sequence, both in globals; what is printed goes to the router's log. Files there are none.

use std::collections::BTreeMap;

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, EntityType, ExportKind, ExportSection, Function, FunctionSection, GlobalSection,
    GlobalType, ImportSection, InstructionSink, MemArg, MemoryType, Module, TypeSection, ValType,
};
use wasmparser::{FuncType, Parser, Payload, TypeRef};
use wit_bindgen_core::wit_parser::Resolve;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use crate::plugin::CONTRACT;

/// Under this name programs import it.
const PREVIEW1: &str = "wasi_snapshot_preview1";

/// Error numbers of preview 1.
const BAD_FILE: i32 = 8;
const NOT_THERE: i32 = 52;

/// Indices in the module that is made here: the one import, and the globals.
const LOG: u32 = 0;
const TIME: u32 = 0;
const SEED: u32 = 1;

/// The component of a core module that says which one it is to become, with nothing of WASI imported.
pub(super) fn component(module: &[u8]) -> Result<Vec<u8>, String> {
    let wanted = imports(module).map_err(|error| format!("what the compiler made is no module: {error}"))?;
    let adapter = if wanted.is_empty() {
        None
    } else {
        Some(adapter(&wanted)?)
    };
    let encoded = ComponentEncoder::default()
        .module(module)
        .and_then(|mut encoder| match &adapter {
            Some(adapter) => encoder.adapter(PREVIEW1, adapter)?.encode(),
            None => encoder.encode(),
        });
    encoded.map_err(|error| format!("no component could be made of it: {error:#}"))
}

/// What a module imports of preview 1, each once: Go imports some of it from several of its packages.
fn imports(module: &[u8]) -> wasmparser::Result<BTreeMap<String, FuncType>> {
    let (mut types, mut found) = (Vec::new(), BTreeMap::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::TypeSection(section) => {
                for group in section.into_iter_err_on_gc_types() {
                    types.push(group?);
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let TypeRef::Func(index) = import.ty else { continue };
                    if import.module == PREVIEW1
                        && let Some(signature) = types.get(index as usize)
                    {
                        found.insert(import.name.to_owned(), signature.clone());
                    }
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// A module that exports these functions.
fn adapter(wanted: &BTreeMap<String, FuncType>) -> Result<Vec<u8>, String> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32; 4], []);
    let mut imports = ImportSection::new();
    imports.import(
        &format!("pointsman:policy/log@{CONTRACT}"),
        "log",
        EntityType::Function(0),
    );
    let memory = MemoryType {
        minimum: 0,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    };
    imports.import("env", "memory", EntityType::Memory(memory));
    let mut globals = GlobalSection::new();
    let number = GlobalType {
        val_type: ValType::I64,
        mutable: true,
        shared: false,
    };
    // Not zero, which programs take for a broken clock.
    globals.global(number, &ConstExpr::i64_const(1_000_000));
    globals.global(number, &ConstExpr::i64_const(0x2545_F491_4F6C_DD1D));
    let (mut functions, mut exports, mut code) = (FunctionSection::new(), ExportSection::new(), CodeSection::new());
    for ((name, signature), index) in wanted.iter().zip(1..) {
        types.ty().function(core(signature.params()), core(signature.results()));
        functions.function(index);
        exports.export(name, ExportKind::Func, index);
        code.function(&body(name, signature));
    }
    let mut module = Module::new();
    module
        .section(&types)
        .section(&imports)
        .section(&functions)
        .section(&globals)
        .section(&exports)
        .section(&code);
    let mut module = module.finish();
    speaks(&mut module).map_err(|error| format!("no adapter could be made: {error}"))?;
    Ok(module)
}

/// Notes in the adapter that its import is the log of the contract.
fn speaks(module: &mut Vec<u8>) -> Result<(), String> {
    let told = |error| format!("{error:#}");
    let mut resolve = Resolve::default();
    let types = include_str!("../../../../wit/types.wit");
    let package = resolve.push_str("types.wit", &format!("{types}\nworld voice {{ import log; }}"));
    let package = package.map_err(told)?;
    let world = resolve.select_world(&[package], Some("voice")).map_err(told)?;
    embed_component_metadata(module, &resolve, world, StringEncoding::UTF8).map_err(told)
}

/// All of preview 1 is made of these two.
fn core(types: &[wasmparser::ValType]) -> Vec<ValType> {
    let number = |t: &wasmparser::ValType| {
        if *t == wasmparser::ValType::I64 {
            ValType::I64
        } else {
            ValType::I32
        }
    };
    types.iter().map(number).collect()
}

const WORD: MemArg = at(0, 2);
const LONG: MemArg = at(0, 3);
const BYTE: MemArg = at(0, 0);

const fn at(offset: u64, align: u32) -> MemArg {
    MemArg {
        offset,
        align,
        memory_index: 0,
    }
}

/// What one function does. Its own variables come after its arguments.
fn body(name: &str, signature: &FuncType) -> Function {
    let mut function = Function::new([(4, ValType::I32)]);
    let mut code = function.instructions();
    match name {
        "args_get" | "environ_get" | "sched_yield" => code.i32_const(0),
        "args_sizes_get" | "environ_sizes_get" => {
            code.local_get(0).i32_const(0).i32_store(WORD);
            code.local_get(1).i32_const(0).i32_store(WORD).i32_const(0)
        }
        "clock_time_get" => {
            code.global_get(TIME).i64_const(1_000).i64_add().global_set(TIME);
            code.local_get(2).global_get(TIME).i64_store(LONG).i32_const(0)
        }
        "random_get" => random(&mut code),
        "fd_write" => write(&mut code),
        "poll_oneoff" => poll(&mut code),
        "proc_exit" => code.unreachable(),
        _ if signature.results().is_empty() => code.unreachable(),
        _ if name.starts_with("fd_") => code.i32_const(BAD_FILE),
        _ => code.i32_const(NOT_THERE),
    };
    code.end();
    function
}

/// `random_get(at, length)`.
fn random<'a, 'b>(code: &'a mut InstructionSink<'b>) -> &'a mut InstructionSink<'b> {
    code.block(BlockType::Empty).loop_(BlockType::Empty);
    code.local_get(1).i32_eqz().br_if(1);
    code.global_get(SEED).i64_const(6_364_136_223_846_793_005).i64_mul();
    code.i64_const(1_442_695_040_888_963_407).i64_add().global_set(SEED);
    // The upper bits of such a sequence are the better ones.
    code.local_get(0)
        .global_get(SEED)
        .i64_const(56)
        .i64_shr_u()
        .i32_wrap_i64()
        .i32_store8(BYTE);
    code.local_get(0).i32_const(1).i32_add().local_set(0);
    code.local_get(1).i32_const(1).i32_sub().local_set(1);
    code.br(0).end().end().i32_const(0)
}

/// `fd_write(file, parts, count, written)`: what goes to the two outputs is said in the log, a line for each part. Parts
/// that are not ASCII are left out, since one that is no text would be a fault of the policy.
fn write<'a, 'b>(code: &'a mut InstructionSink<'b>) -> &'a mut InstructionSink<'b> {
    let (part, length, position, sum) = (4, 5, 6, 7);
    code.local_get(0).i32_const(1).i32_sub().i32_const(1).i32_gt_u();
    code.if_(BlockType::Empty).i32_const(BAD_FILE).return_().end();
    code.block(BlockType::Empty).loop_(BlockType::Empty);
    code.local_get(2).i32_eqz().br_if(1);
    code.local_get(1).i32_load(WORD).local_set(part);
    code.local_get(1).i32_load(at(4, 2)).local_tee(length);
    code.local_get(sum).i32_add().local_set(sum);
    code.block(BlockType::Empty);
    // Ends of lines, and other things without a word in them.
    code.local_get(length).i32_const(2).i32_lt_u().br_if(0);
    code.i32_const(0).local_set(position);
    code.loop_(BlockType::Empty);
    code.local_get(part).local_get(position).i32_add().i32_load8_s(BYTE);
    code.i32_const(0).i32_lt_s().br_if(1);
    code.local_get(position).i32_const(1).i32_add().local_tee(position);
    code.local_get(length).i32_lt_u().br_if(0).end();
    // An empty level counts as `info`, and needs no place in memory. The end of the last line is not said.
    code.i32_const(0).i32_const(0).local_get(part).local_get(length);
    code.local_get(part).local_get(length).i32_add().i32_const(1).i32_sub();
    code.i32_load8_u(BYTE).i32_const(10).i32_eq().i32_sub();
    code.call(LOG).end();
    code.local_get(1).i32_const(8).i32_add().local_set(1);
    code.local_get(2).i32_const(1).i32_sub().local_set(2);
    code.br(0).end().end();
    code.local_get(3).local_get(sum).i32_store(WORD).i32_const(0)
}

/// `poll_oneoff(subscriptions, events, count, happened)`: whoever waits for a time is told at once that it has come; for
/// files nobody can wait.
fn poll<'a, 'b>(code: &'a mut InstructionSink<'b>) -> &'a mut InstructionSink<'b> {
    code.local_get(0).i32_load8_u(at(8, 0));
    code.if_(BlockType::Empty).i32_const(NOT_THERE).return_().end();
    code.global_get(TIME)
        .local_get(0)
        .i64_load(at(24, 3))
        .i64_add()
        .global_set(TIME);
    code.local_get(1).local_get(0).i64_load(LONG).i64_store(LONG);
    // No error, and the kind of event that a time is.
    code.local_get(1).i32_const(0).i32_store(at(8, 2));
    code.local_get(3).i32_const(1).i32_store(WORD).i32_const(0)
}
