//! `${VAR}`, `${env:VAR}` and `${VAR:-default}` in values, and `~` in paths.

/// What is wrong with a placeholder, and the hint for it.
pub(super) type Fault = (String, Option<String>);

/// Replaces every placeholder of `text`; `$${` stands for a plain `${`. All faults are told, not only the first.
pub(super) fn variables(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Vec<Fault>> {
    let mut out = String::with_capacity(text.len());
    let mut faults = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some((inside, tail)) = after.split_once('}') else {
            faults.push((
                "`${` has no `}`".to_owned(),
                Some("write `$${` for a plain `${`".to_owned()),
            ));
            return Err(faults);
        };
        rest = tail;
        match value(inside, env) {
            Ok(value) => out.push_str(&value),
            Err(fault) => faults.push(fault),
        }
    }
    out.push_str(rest);
    if faults.is_empty() { Ok(out) } else { Err(faults) }
}

const EDITORS: &str = "variables of an editor are not known here: write the value itself, or `${env:NAME}`";

fn no_variable(name: &str) -> String {
    format!("`${{{name}}}` names no environment variable")
}

/// Whether VS Code and its kin replace this themselves: `workspaceFolder`, `workspaceFolder:NAME`, `fileDirname`,
/// `config:NAME`. One that is set as an environment variable all the same goes before this.
fn is_editors(name: &str) -> bool {
    let word = name.split(':').next().unwrap_or_default();
    let of = |stem: &str| {
        let rest = word.strip_prefix(stem);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_uppercase()))
    };
    let whole = [
        "userHome",
        "pathSeparator",
        "cwd",
        "lineNumber",
        "selectedText",
        "execPath",
    ];
    let scoped = name != word && ["config", "command"].contains(&word);
    scoped || whole.contains(&word) || ["workspace", "file", "relativeFile"].into_iter().any(of)
}

/// The value of what stands between the braces.
fn value(inside: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Fault> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let name = name.strip_prefix("env:").unwrap_or(name);
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        let hint = if name.starts_with("input:") {
            "inputs of an editor are not known here: write `${env:NAME}`"
        } else if is_editors(name) {
            EDITORS
        } else {
            "write `${NAME}`, or `$${` for a plain `${`"
        };
        return Err((no_variable(name), Some(hint.to_owned())));
    }
    // As in a shell, `:-` also stands in for a variable that is set but empty.
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) if is_editors(name) => Err((no_variable(name), Some(EDITORS.to_owned()))),
        (None, None) => Err((
            format!("the environment variable `{name}` is not set"),
            Some(format!("set it, or give a default: `${{{name}:-}}`")),
        )),
    }
}

/// `text` so that `variables` gives it back.
pub(super) fn escape(text: &str) -> String {
    text.replace("${", "$${")
}

/// Replaces a leading `~` by the home directory.
pub(super) fn home(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Fault> {
    let tail = match text.strip_prefix('~') {
        Some(tail) if tail.is_empty() || tail.starts_with(['/', '\\']) => tail,
        _ => return Ok(text.to_owned()),
    };
    match env("HOME")
        .or_else(|| env("USERPROFILE"))
        .filter(|home| !home.is_empty())
    {
        Some(home) => Ok(format!("{}{tail}", home.trim_end_matches('/'))),
        None => Err(("`~` has no meaning here: `HOME` is not set".to_owned(), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            "HOME" => Some("/home/me/".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn placeholders_are_replaced_and_faults_all_told() {
        for (text, expected) in [
            ("x${A}y${env:A}", "x1y1"),
            ("${B:-two}${A:-two}${EMPTY:-three}[${EMPTY}]", "two1three[]"),
            ("$${A} $A $$ {A}", "${A} $A $$ {A}"),
        ] {
            assert_eq!(variables(text, &env).as_deref(), Ok(expected), "{text}");
        }
        let faults = variables("${B} ${} ${input:key} ${C", &env).unwrap_err();
        let told: Vec<_> = faults.iter().map(|(message, _)| message.as_str()).collect();
        assert_eq!(
            told,
            [
                "the environment variable `B` is not set",
                "`${}` names no environment variable",
                "`${input:key}` names no environment variable",
                "`${` has no `}`"
            ]
        );
    }

    #[test]
    fn variables_of_an_editor_are_called_so_unless_they_are_set() {
        for text in [
            "${workspaceFolder}",
            "${workspaceFolder:app}",
            "${workspaceFolderBasename}",
            "${file}",
            "${fileDirname}",
            "${userHome}",
            "${pathSeparator}",
            "${config:a.b}",
        ] {
            let (message, hint) = variables(text, &env).unwrap_err().remove(0);
            assert_eq!(message, format!("`{text}` names no environment variable"));
            assert!(hint.unwrap().contains("of an editor are not known here"), "{text}");
        }
        let set = |_: &str| Some("/w".to_owned());
        assert_eq!(variables("${workspaceFolder}", &set).as_deref(), Ok("/w"));
        assert_eq!(variables("${file:-x}", &env).as_deref(), Ok("x"));
        for text in ["${filter}", "${WORKSPACE}", "${workspaces}"] {
            let (message, _) = variables(text, &env).unwrap_err().remove(0);
            assert!(message.ends_with("is not set"), "{message}");
        }
    }

    #[test]
    fn a_tilde_is_the_home_only_in_front() {
        assert_eq!(home("~/x", &env).as_deref(), Ok("/home/me/x"));
        assert_eq!(home("~", &env).as_deref(), Ok("/home/me"));
        assert_eq!(home("~other/x", &env).as_deref(), Ok("~other/x"));
        assert_eq!(home("a/~", &env).as_deref(), Ok("a/~"));
        assert!(home("~/x", &|_| None).is_err());
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back(text in "[$\\{\\}aA]{0,12}") {
            prop_assert_eq!(variables(&escape(&text), &env), Ok(text));
        }
    }
}
