//! Every file in `examples/` loads, and `examples/reference.toml` tells the truth about the defaults.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::path::{Path, PathBuf};

use pointsman::config::{
    Backend, Config, Endpoint, Loaded, Outside, Place, Plugin, Problems, Remote, Secrets, Source, parse,
    parse_mcp_servers, show,
};

/// The examples name variables that are not set here.
fn outside() -> Outside<'static> {
    Outside {
        read: &|path| std::fs::read_to_string(path),
        env: &|name| {
            Some(if name == "HOME" {
                "/home/me".to_owned()
            } else {
                format!("value of {name}")
            })
        },
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

fn load(path: &Path) -> Result<Loaded, Problems> {
    let text = std::fs::read_to_string(path).unwrap();
    match path.extension().and_then(|e| e.to_str()) {
        Some("json") => parse_mcp_servers(&text, path, &outside()),
        _ => parse(&text, path, &outside()),
    }
}

#[test]
fn every_example_loads_and_shows_and_loads_again() {
    let mut seen = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if !matches!(path.extension().and_then(|e| e.to_str()), Some("toml" | "json")) {
            continue;
        }
        let loaded = load(&path).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(loaded.warnings, [], "{}", path.display());
        assert!(!loaded.config.backends.is_empty(), "{}", path.display());
        let shown = show(&loaded.config, Secrets::Shown);
        let again = parse(&shown, Path::new("/elsewhere/shown.toml"), &outside());
        let again = again.unwrap_or_else(|problems| panic!("{}:\n{problems}\n{shown}", path.display()));
        assert_eq!(again.config, loaded.config, "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 8, "{seen} examples");
}

#[test]
fn the_reference_shows_the_defaults() {
    let loaded = load(&folder().join("reference.toml")).unwrap_or_else(|problems| panic!("{problems}"));
    let embedded = |name: &str| Plugin {
        source: Source::Embedded(name.to_owned()),
        ..Plugin::default()
    };
    let example = Backend {
        command: "example-mcp-server".to_owned(),
        ..Backend::default()
    };
    let over_http = |place| Backend {
        remote: Some(Remote::from(place)),
        ..Backend::default()
    };
    let elsewhere = over_http(Place::Urls(vec!["https://tools.example/mcp".to_owned()]));
    let socket = over_http(Place::Socket {
        socket: PathBuf::from("/run/tools/mcp.sock"),
        path: "/mcp".to_owned(),
    });
    let empty = parse("", Path::new("/empty.toml"), &outside()).unwrap().config;
    let expected = Config {
        backends: [("example", example), ("elsewhere", elsewhere), ("socket", socket)]
            .map(|(name, backend)| (name.to_owned(), backend))
            .into(),
        endpoints: [("default".to_owned(), Endpoint::default())].into(),
        plugins: ["default-names", "default-route", "least-busy"]
            .map(|name| (name.to_owned(), embedded(name)))
            .into(),
        pipeline: empty.pipeline,
        ..Config::default()
    };
    assert_eq!(loaded.config, expected);
    assert_eq!(loaded.config.plugins, empty.plugins);
}

#[test]
fn the_reference_holds_every_key() {
    let path = folder().join("reference.toml");
    // The keys without a default stand behind `#`, with no space between.
    let text = std::fs::read_to_string(&path).unwrap();
    let with_all = text.lines().map(uncommented).collect::<Vec<_>>().join("\n");
    let loaded = parse(&with_all, &path, &outside()).unwrap_or_else(|problems| panic!("{problems}"));
    // What is shown holds every setting that is set: its keys have to stand in the reference, table by table.
    let mut config = loaded.config;
    let path = Some(PathBuf::from("/x"));
    config.router.admin_socket = path.clone();
    config.policies.cache = path.clone();
    config
        .backends
        .values_mut()
        .for_each(|backend| backend.cwd = path.clone());
    let shown = show(&config, Secrets::Shown);
    let documented = keys(&with_all);
    for key in keys(&shown) {
        // One example of each kind documents them all.
        let key = key
            .replace("plugins.least-busy", "plugins.default-route")
            .replace("plugins.default-names", "plugins.default-route");
        let key = match key.strip_prefix("backends.socket.") {
            Some(rest) if documented.contains(&format!("backends.elsewhere.{rest}")) => continue,
            _ => key,
        };
        let key = match key
            .replace("backends.elsewhere", "backends.example")
            .replace("backends.socket", "backends.example")
        {
            shared if documented.contains(&shared) => continue,
            _ => key,
        };
        assert!(documented.contains(&key), "`{key}` is not in examples/reference.toml");
    }
}

fn uncommented(line: &str) -> &str {
    match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest,
        _ => line,
    }
}

/// `table.key` of every setting of a TOML text that has one on each line.
fn keys(text: &str) -> Vec<String> {
    let mut table = "";
    let mut keys = Vec::new();
    for line in text.lines() {
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_end_matches(']');
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            keys.push(format!("{table}.{key}"));
        }
    }
    keys
}
