//! JavaScript and TypeScript, with the packages that `make tools` brings.

use std::os::unix::fs::symlink;
use std::path::Path;

use super::{decides, done, example, here, new_project, plugin};

/// Instead of `npm install`, which needs the network.
fn packages(folder: &Path) {
    let installed = here().join("tests/clients/node_modules");
    assert!(
        installed.join(".bin/componentize-qjs").exists(),
        "componentize-qjs is missing: run `make tools`"
    );
    symlink(installed, folder.join("node_modules")).unwrap();
}

#[tokio::test]
async fn a_new_project_in_javascript_decides_calls() {
    let home = tempfile::tempdir().unwrap();
    let component = new_project(home.path(), "js", packages);
    // What editors show is true.
    let folder = home.path().join("no-drop");
    let checked = std::process::Command::new(folder.join("node_modules/.bin/tsc"))
        .args(["--project", "jsconfig.json"])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    decides(&component).await;
}

#[tokio::test]
async fn a_new_project_in_typescript_decides_calls() {
    let home = tempfile::tempdir().unwrap();
    let component = new_project(home.path(), "ts", packages);
    decides(&component).await;
}

#[test]
fn the_examples_pass_their_fixtures() {
    example("examples-js/budget", packages, 10);
    example("examples-ts/mask", packages, 5);
}

#[test]
fn what_is_wrong_is_said() {
    let home = tempfile::tempdir().unwrap();
    done(home.path(), &["new", "--lang", "ts", "mine"]);
    let folder = home.path().join("mine");
    let (good, _, error) = plugin(&folder, &["build"]);
    assert!(
        !good && error.contains("tsc is not there: run `npm install`"),
        "{error}"
    );
    packages(&folder);
    let source = "export const route = { route: (call: number) => call.nothing() };\n";
    std::fs::write(folder.join("src/policy.ts"), source).unwrap();
    let (good, _, error) = plugin(&folder, &["build"]);
    assert!(
        !good && error.contains("src/policy.ts(1,") && error.contains("'nothing' does not exist"),
        "{error}"
    );
    let source = "import { now } from 'pointsman:policy/clock@0.1.1';\nexport const other = now;\n";
    let world = std::fs::read_to_string(folder.join("wit/policy.wit")).unwrap();
    let both = world.replacen(
        "world policy {",
        "world policy {\n  import pointsman:policy/clock@0.1.1;",
        1,
    );
    std::fs::write(folder.join("src/policy.ts"), source).unwrap();
    std::fs::write(folder.join("wit/policy.wit"), both).unwrap();
    done(&folder, &["build"]);
    std::fs::write(folder.join("wit/policy.wit"), world).unwrap();
    std::fs::write(folder.join("src/policy.js"), source).unwrap();
    let (good, _, error) = plugin(&folder, &["build", "--lang", "js"]);
    assert!(
        !good && error.contains("add `import pointsman:policy/clock@0.1.1;` to its world"),
        "{error}"
    );
    std::fs::remove_file(folder.join("src/policy.js")).unwrap();
    std::fs::write(folder.join("src/policy.ts"), "export const other = {};\n").unwrap();
    let (good, text, error) = plugin(&folder, &["build"]);
    assert!(good, "{text}{error}");
    assert!(
        error.contains("warning: src/policy.ts seems to lack `export const route = …`"),
        "{error}"
    );
    let (good, text, _) = plugin(&folder, &["test", "mine.wasm", "fixtures"]);
    assert!(!good && text.contains("trap"), "{text}");
}

#[test]
fn a_debug_build_says_why_it_traps() {
    let home = tempfile::tempdir().unwrap();
    done(home.path(), &["new", "--lang", "js", "mine"]);
    let folder = home.path().join("mine");
    packages(&folder);
    let source = "import { log } from 'pointsman:policy/log@0.1.1';
        export const route = { route(call) { log('info', `asked about ${call.name()}`); return { tag: 'nxt' }; } };\n";
    std::fs::write(folder.join("src/policy.js"), source).unwrap();
    let world = std::fs::read_to_string(folder.join("wit/policy.wit")).unwrap();
    let world = world.replacen("// import pointsman:policy/log", "import pointsman:policy/log", 1);
    std::fs::write(folder.join("wit/policy.wit"), world).unwrap();
    done(&folder, &["build", "--debug", "--out", "debug.wasm"]);
    let fixture = folder.join("fixtures/route.toml");
    let text = std::fs::read_to_string(&fixture).unwrap();
    std::fs::write(
        &fixture,
        text.replacen("[plugin]", "[plugin]\ngrants = { wasi = true }", 1),
    )
    .unwrap();
    let (good, text, error) = plugin(&folder, &["test", "debug.wasm", "fixtures"]);
    assert!(!good && text.contains("got {\"fault\":\"trap: "), "{text}{error}");
    assert!(text.contains("says  info: asked about drop_table"), "{text}");
    assert!(text.contains("unknown variant tag: nxt"), "{text}");
    // Others need none.
    done(home.path(), &["new", "--lang", "rust", "other"]);
    let (good, _, error) = plugin(&home.path().join("other"), &["build", "--debug"]);
    assert!(
        !good && error.contains("--debug is for JavaScript and TypeScript"),
        "{error}"
    );
}
