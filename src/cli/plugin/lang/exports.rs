//! What a JavaScript module exports, by a look at its text: good enough for a word to its author, and for nothing more.

/// The names that stand behind `export`; `None` where the text does not say all of them.
pub(super) fn exports(text: &str) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    for (at, word) in text.match_indices("export") {
        let rest = &text[at + word.len()..];
        let is_part = |c: Option<char>| c.is_some_and(is_of_name);
        if is_part(text[..at].chars().next_back()) || is_part(rest.chars().next()) {
            continue;
        }
        let rest = rest.trim_start();
        if let Some(list) = rest.strip_prefix('{') {
            let list = list.split('}').next().unwrap_or_default();
            // Of `here as there` the last word.
            let last = |one: &'_ str| one.split_whitespace().next_back().map(str::len);
            names.extend(list.split(',').filter_map(|one| {
                let one = one.trim_end();
                let name = &one[one.len() - last(one)?..];
                Some(name.trim_matches(['"', '\'']))
            }));
            continue;
        }
        let mut words = rest.split(|c| !is_of_name(c)).filter(|word| !word.is_empty());
        match words.next() {
            Some("const" | "let" | "var") => {
                let bound = rest.trim_start_matches(is_of_name).trim_start();
                // A pattern, whose names are its own matter.
                if bound.starts_with(['{', '[']) {
                    return None;
                }
                names.extend(words.next());
            }
            Some("async") => names.extend(words.nth(1)),
            Some("function" | "class") => names.extend(words.next()),
            // All that another module has.
            _ if rest.starts_with('*') => return None,
            _ => {}
        }
    }
    Some(names)
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_ways_to_export() {
        let text = "import { a } from './a.js';
            export const route = { route() {} };
            export let select=1; export function settle() {}
            export async function observe() {}
            export class transformList {}
            export { a, b as transformRequest, c as 'lifecycle' };
            export default 3; const exported = 1; re.export1();";
        assert_eq!(
            exports(text).unwrap(),
            [
                "route",
                "select",
                "settle",
                "observe",
                "transformList",
                "a",
                "transformRequest",
                "lifecycle"
            ]
        );
        assert_eq!(exports("").unwrap(), [""; 0]);
        assert_eq!(exports("export {};").unwrap(), [""; 0]);
    }

    #[test]
    fn what_cannot_be_seen_is_not_guessed() {
        for text in [
            "export * from './a.js'",
            "export const { route } = all;",
            "export let [a] = b",
        ] {
            assert_eq!(exports(text), None, "{text}");
        }
    }
}
