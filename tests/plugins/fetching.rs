//! `pointsman plugin pull` against registries and web servers that are good, odd, or after the user's password.

use pointsman::config::sha256_of;
use serde_json::json;

use super::server::*;

#[test]
fn what_is_no_component_is_not_kept() {
    let (server, home) = (Server::start(), Home::new());
    let component = embedded_bytes("default-route");
    server.put("/guard.wasm", WASM, component);
    server.put("/page.wasm", "text/html", b"<html>please log in</html>");
    server.moved("/elsewhere.wasm", &server.url("/guard.wasm"));
    server.moved("/open.wasm", "http://192.0.2.1/guard.wasm");
    home.good(&["pull", &server.url("/elsewhere.wasm")], "[plugins.NAME]");
    let pin = format!("sha256 = \"{}\"", sha256_of(component));
    home.good(&["pull", &server.url("/guard.wasm")], &pin);
    assert_eq!(std::fs::read(home.stored(component)).unwrap(), component);

    home.write(
        "small.toml",
        "[policies]\nmax-component = \"2KiB\"\n[backends.demo]\ncommand = \"x\"\n",
    );
    let (one, _) = server.publish("acme/one", "1", &[(WASM, component)]);
    let (two, _) = server.publish("acme/two", "1", &[(WASM, component), (WASM, b"x")]);
    let (none, _) = server.publish("acme/none", "1", &[("application/vnd.oci.image.layer.v1.tar", b"x")]);
    let (wrong, _) = server.publish("acme/wrong", "1", &[(WASM, component)]);
    let blob = format!("/v2/acme/wrong/blobs/sha256:{}", sha256_of(component));
    server.put(&blob, WASM, embedded_bytes("redact"));
    let small = ["--config", "small.toml"];
    for (reference, more, expected) in [
        (server.url("/page.wasm"), &[][..], "this is not a WebAssembly file"),
        (server.url("/gone.wasm"), &[], "404"),
        (server.url("/guard.wasm"), &small, "larger than 2048 bytes"),
        (one, &small, "larger than 2048 bytes"),
        (two, &[], "holds 2 components and not one"),
        (none, &[], "its layers are: application/vnd.oci.image.layer.v1.tar"),
        (wrong, &[], "the SHA-256 of its component is"),
        (
            format!("oci://{}/acme/gone:1", server.address()),
            &[],
            "404 Not Found: there is no such thing",
        ),
        (
            "http://example.com/guard.wasm".to_owned(),
            &[],
            "goes over the network in the open",
        ),
        (
            server.url("/open.wasm"),
            &[],
            "a redirect goes over the network in the open",
        ),
        ("guard.wasm".to_owned(), &[], "is no reference: write oci://"),
        ("oci://UPPER CASE".to_owned(), &[], "is no reference to a registry"),
    ] {
        let words = [&["pull", &reference], more].concat();
        home.bad(&words, expected);
    }
    assert_eq!(names_in(&home.path("data/pointsman/pulled")).len(), 1);
}

#[test]
fn a_manifest_is_the_one_that_was_asked_for() {
    let (server, home) = (Server::start(), Home::new());
    let component = embedded_bytes("default-route");
    let (_, digest) = server.publish("acme/guard", "1", &[(WASM, component)]);
    let by_digest = format!("oci://{}/acme/guard@{digest}", server.address());
    let text = home.good(&["pull", &by_digest], &format!("from = \"{by_digest}\""));
    assert!(text.contains(&sha256_of(component)), "{text}");

    // Another one under the same digest.
    let (_, other) = server.publish("acme/other", "1", &[(WASM, embedded_bytes("redact"))]);
    let manifest = format!("/v2/acme/guard/manifests/{digest}");
    server.moved(&manifest, &format!("/v2/acme/other/manifests/{other}"));
    home.bad(&["pull", &by_digest], "the SHA-256 of its manifest is");
    // One that never ends.
    server.put(&manifest, MANIFEST, &vec![b' '; (4 << 20) + 1]);
    home.bad(&["pull", &by_digest], "says more than 4194304 bytes");
    // One for each platform.
    let index = json!({ "schemaVersion": 2, "manifests": [{ "digest": other, "size": 1, "platform": {} }] });
    server.put("/v2/acme/guard/manifests/2", MANIFEST, index.to_string().as_bytes());
    let words = format!("is an index of several manifests: name one of them, as NAME@DIGEST: {other}");
    home.bad(&["pull", &format!("oci://{}/acme/guard:2", server.address())], &words);
    server.put("/v2/acme/guard/manifests/3", MANIFEST, b"<html>");
    home.bad(
        &["pull", &format!("oci://{}/acme/guard:3", server.address())],
        "its manifest: ",
    );
}

#[test]
fn a_registry_leads_nobody_into_the_open() {
    let (server, home) = (Server::start(), Home::new());
    let component = embedded_bytes("default-route");
    let (tag, _) = server.publish("acme/guard", "1", &[(WASM, component)]);
    let blob = format!("/v2/acme/guard/blobs/sha256:{}", sha256_of(component));
    for path in [&blob, "/v2/acme/guard/manifests/1"] {
        server.moved(path, "http://192.0.2.1/there");
        home.bad(&["pull", &tag], "a redirect goes over the network in the open");
    }
    server.asks(Asks::TokenOf("http://192.0.2.1/token".to_owned()));
    // A helper that is not there is no reason to ask nobody.
    home.write("config.json", "{\"credsStore\": \"nowhere\"}");
    home.bad(
        &["pull", &tag],
        "sends for its tokens to http://192.0.2.1/token, over the network in the open",
    );
}

#[test]
fn a_password_is_for_its_registry_alone() {
    let (server, home) = (Server::start(), Home::new());
    let component = embedded_bytes("default-route");
    let (tag, _) = server.publish("acme/guard", "1", &[(WASM, component)]);
    home.log_in(server.address());
    // The component lies elsewhere, as those of most registries do.
    let elsewhere = Server::asking(Asks::Nothing);
    elsewhere.put("/blob", WASM, component);
    let blob = format!("/v2/acme/guard/blobs/sha256:{}", sha256_of(component));
    server.moved(&blob, &elsewhere.url("/blob"));
    home.good(&["pull", &tag], "[plugins.NAME]");
    let asked = server.asked();
    let token = "/token?service=test&scope=repository%3Aacme%2Fguard%3Apull";
    let expected = [
        ("/v2/acme/guard/manifests/1", ""),
        (token, "Basic YW5uOnNlY3JldA=="),
        ("/v2/acme/guard/manifests/1", "Bearer the-token"),
        (&blob, "Bearer the-token"),
    ];
    assert_eq!(asked, expected.map(|(path, said)| (path.to_owned(), said.to_owned())));
    assert_eq!(elsewhere.asked(), [("/blob".to_owned(), String::new())]);

    // Whoever it is sent on to may ask, and is told nothing.
    let curious = Server::asking(Asks::Password);
    server.moved(&blob, &curious.url("/v2/blob"));
    home.bad(&["pull", &tag], "127.0.0.1 answered with 401");
    server.asks(Asks::Nothing);
    home.bad(&["pull", &tag], "127.0.0.1 answered with 401");
    server.moved("/v2/acme/guard/manifests/1", &curious.url("/v2/manifest"));
    home.bad(&["pull", &tag], "127.0.0.1 answered with 401");
    let said = curious.asked().into_iter().map(|(_, said)| said).collect::<String>();
    assert_eq!(said, "");
}

#[test]
fn whoever_is_elsewhere_is_told_nothing_however_often_it_sends_on() {
    let (server, home) = (Server::start(), Home::new());
    let component = embedded_bytes("default-route");
    let (tag, _) = server.publish("acme/guard", "1", &[(WASM, component)]);
    home.log_in(server.address());
    let elsewhere = Server::asking(Asks::Nothing);
    elsewhere.moved("/a", "b?signed=yes");
    elsewhere.put("/b?signed=yes", WASM, component);
    let blob = format!("/v2/acme/guard/blobs/sha256:{}", sha256_of(component));
    server.moved(&blob, &elsewhere.url("/a"));
    home.good(&["pull", &tag], "[plugins.NAME]");
    let nothing = |paths: &[&str]| paths.iter().map(|p| (p.to_string(), String::new())).collect::<Vec<_>>();
    assert_eq!(elsewhere.asked(), nothing(&["/a", "/b?signed=yes"]));

    // Whoever sends back does not choose what is asked in the user's name.
    server.put("/blob", WASM, component);
    elsewhere.moved("/b?signed=yes", &server.url("/blob"));
    home.good(&["pull", &tag], "[plugins.NAME]");
    assert_eq!(server.asked().pop(), Some(("/blob".to_owned(), String::new())));

    // The server of the tokens has the password, and those behind it not.
    let (tokens, behind) = (Server::asking(Asks::Nothing), Server::asking(Asks::Nothing));
    server.asks(Asks::TokenOf(tokens.url("/sign")));
    let question = "/sign?scope=repository%3Aacme%2Fguard%3Apull";
    tokens.moved(question, "/sign-here");
    tokens.moved("/sign-here", &behind.url("/a"));
    behind.moved("/a", &behind.url("/token"));
    home.good(&["pull", &tag], "[plugins.NAME]");
    let password = |path: &str| (path.to_owned(), "Basic YW5uOnNlY3JldA==".to_owned());
    assert_eq!(tokens.asked(), [password(question), password("/sign-here")]);
    assert_eq!(behind.asked(), nothing(&["/a", "/token"]));
}

#[test]
fn redirects_end() {
    let (server, home) = (Server::start(), Home::new());
    server.moved("/round", "/round");
    home.bad(&["pull", &server.url("/round")], "too many redirects");
    assert_eq!(server.asked().len(), 11);
    for nowhere in ["http://[", "ftp://127.0.0.1/x", "/\u{ff}"] {
        server.moved("/there", nowhere);
        home.bad(&["pull", &server.url("/there")], "");
    }
    home.bad(&["pull", &server.url("/none")], "404");
}

#[test]
fn servers_of_this_machine_are_asked_without_a_proxy() {
    let (server, home) = (Server::start(), Home::new());
    let component = embedded_bytes("default-route");
    let (tag, _) = server.publish("acme/guard", "1", &[(WASM, component)]);
    server.put("/guard.wasm", WASM, component);
    home.log_in(server.address());
    let proxy = Server::asking(Asks::Nothing);
    home.behind(&proxy);
    home.good(&["pull", &tag, &server.url("/guard.wasm")], "[plugins.NAME]");
    assert_eq!(proxy.asked(), []);
    // All others are asked through it.
    home.bad(&["pull", "https://192.0.2.1/guard.wasm"], "");
    assert_eq!(proxy.asked(), [("192.0.2.1:443".to_owned(), String::new())]);
}

#[test]
fn an_identity_token_is_in_nobodys_way_who_needs_none() {
    let (server, home) = (Server::start(), Home::new());
    let (tag, _) = server.publish("acme/guard", "1", &[(WASM, embedded_bytes("default-route"))]);
    let login = json!({ "auths": { server.address(): { "identitytoken": "x" } } });
    home.write("config.json", login.to_string());
    home.good(&["pull", &tag], "[plugins.NAME]");
    let tokens = Server::asking(Asks::Nobody);
    server.asks(Asks::TokenOf(tokens.url("/token")));
    home.bad(&["pull", &tag], "there is an identity token, which is not supported");
    server.asks(Asks::Password);
    home.bad(&["pull", &tag], "there is an identity token, which is not supported");
}

#[test]
fn whoever_is_refused_is_told_of_the_login() {
    let (server, home) = (Server::start(), Home::new());
    let (tag, _) = server.publish("acme/guard", "1", &[(WASM, embedded_bytes("default-route"))]);
    home.log_in(server.address());
    let hint = format!("`docker login {}`", server.address());
    server.asks(Asks::Nobody);
    let text = home.bad(&["pull", &tag], &hint);
    assert!(text.contains("127.0.0.1 answered with 401"), "{text}");
    let tokens = Server::asking(Asks::Nobody);
    server.asks(Asks::TokenOf(tokens.url("/token")));
    let text = home.bad(&["pull", &tag], &hint);
    assert!(text.contains("127.0.0.1 answered with 403"), "{text}");
    // That of somebody else would not help.
    server.asks(Asks::Nothing);
    server.moved("/v2/acme/guard/manifests/1", &tokens.url("/v2/x"));
    let text = home.bad(&["pull", &tag], "127.0.0.1 answered with 401");
    assert!(!text.contains("docker login"), "{text}");
}

#[test]
#[cfg(unix)]
fn what_was_pulled_is_for_everybody_who_may_read_the_users_files() {
    use std::os::unix::fs::PermissionsExt;
    let (server, home) = (Server::start(), Home::new());
    let component = embedded_bytes("default-route");
    server.put("/guard.wasm", WASM, component);
    home.good(&["pull", &server.url("/guard.wasm")], "[plugins.NAME]");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode();
    home.write("file", "");
    std::fs::create_dir(home.path("folder")).unwrap();
    let stored = home.stored(component);
    assert_eq!(mode(&stored), mode(&home.path("file")));
    assert_eq!(mode(stored.parent().unwrap()), mode(&home.path("folder")));
    // One that an earlier version kept to itself is mended.
    std::fs::write(&stored, "").unwrap();
    std::fs::set_permissions(&stored, std::fs::Permissions::from_mode(0o600)).unwrap();
    home.good(&["pull", &server.url("/guard.wasm")], "[plugins.NAME]");
    assert_eq!(mode(&stored), mode(&home.path("file")));
}

#[test]
fn a_registry_without_tokens_is_told_the_password() {
    let (server, home) = (Server::asking(Asks::Password), Home::new());
    let component = embedded_bytes("default-route");
    let (tag, _) = server.publish("acme/guard", "1", &[(WASM, component)]);
    let words = format!("it wants to know who asks: `docker login {}`", server.address());
    home.bad(&["pull", &tag], &words);
    home.log_in(server.address());
    home.good(&["pull", &tag], "[plugins.NAME]");
}
