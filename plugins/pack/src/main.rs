//! Turns a core module built with wit-bindgen into a component: `pack IN.wasm OUT.wasm`.

use std::error::Error;
use std::process::ExitCode;

use wit_component::ComponentEncoder;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [input, output] = args.as_slice() else {
        eprintln!("usage: pack IN.wasm OUT.wasm");
        return ExitCode::from(2);
    };
    match pack(input, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("pack: {input}: {e}");
            ExitCode::FAILURE
        }
    }
}

fn pack(input: &str, output: &str) -> Result<(), Box<dyn Error>> {
    let module = std::fs::read(input)?;
    let component = ComponentEncoder::default()
        .module(&module)
        .map_err(|e| format!("{e:#}"))?
        .validate(true)
        .encode()
        .map_err(|e| format!("{e:#}"))?;
    std::fs::write(output, component)?;
    Ok(())
}
