//! What is a secret: keys whose values are hidden, and prefixes that words of secrets begin with.

use json::Value;

/// The configuration of the plugin.
pub struct Rules {
    /// In lower case.
    keys: Vec<String>,
    prefixes: Vec<String>,
    replacement: String,
}

impl Rules {
    /// Hides nothing.
    pub const fn none() -> Self {
        Self {
            keys: Vec::new(),
            prefixes: Vec::new(),
            replacement: String::new(),
        }
    }

    /// Reads `{"keys": [...], "prefixes": [...], "replacement": "..."}`.
    pub fn read(config: &str) -> Result<Self, String> {
        let Value::Object(members) = json::parse(config)? else {
            return Err("the config must be an object".into());
        };
        let mut rules = Self::none();
        rules.replacement.push_str("[redacted]");
        for (key, value) in &members {
            match (key.as_str(), value) {
                ("keys", value) => rules.keys = words(key, value)?.iter().map(|k| k.to_lowercase()).collect(),
                ("prefixes", value) => rules.prefixes = words(key, value)?,
                ("replacement", Value::Text(text)) => text.clone_into(&mut rules.replacement),
                ("replacement", _) => return Err("`replacement` must be a string".into()),
                _ => {
                    return Err([
                        "unknown key `",
                        key,
                        "`; there are `keys`, `prefixes` and `replacement`",
                    ]
                    .concat());
                }
            }
        }
        if rules.keys.is_empty() && rules.prefixes.is_empty() {
            return Err("neither `keys` nor `prefixes` says what to hide".into());
        }
        Ok(rules)
    }

    /// What stands in place of a secret.
    pub fn replacement(&self) -> &str {
        &self.replacement
    }

    /// True where the value of the member `key` is hidden.
    pub fn hides(&self, key: &str) -> bool {
        !self.keys.is_empty() && self.keys.contains(&key.to_lowercase())
    }

    /// `text` with its secret words replaced; `None` where there are none.
    pub fn masked(&self, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut done = 0;
        let mut inside = false;
        for (at, c) in text.char_indices() {
            let begins = !inside && at >= done;
            inside = c.is_alphanumeric() || c == '_';
            if begins && self.prefixes.iter().any(|p| text[at..].starts_with(p.as_str())) {
                out.push_str(&text[done..at]);
                out.push_str(&self.replacement);
                done = text[at..].find(ends_a_word).map_or(text.len(), |length| at + length);
            }
        }
        if done == 0 {
            return None;
        }
        out.push_str(&text[done..]);
        Some(out)
    }
}

/// Where a secret ends: tokens hold dots, slashes and the like, but none of these.
fn ends_a_word(c: char) -> bool {
    c.is_whitespace() || "\"'`,;<>()[]{}&".contains(c)
}

fn words(key: &str, value: &Value) -> Result<Vec<String>, String> {
    let wrong = || ["`", key, "` must be a list of words"].concat();
    let Value::Array(items) = value else {
        return Err(wrong());
    };
    items
        .iter()
        .map(|item| {
            item.text()
                .filter(|t| !t.is_empty())
                .map(str::to_owned)
                .ok_or_else(wrong)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules::read(r#"{"keys":["Password"],"prefixes":["sk-","ghp_"],"replacement":"*"}"#).unwrap()
    }

    #[test]
    fn words_with_a_prefix_are_masked_wherever_they_begin() {
        for (text, masked) in [
            ("sk-abc", "*"),
            ("use sk-a.b/c=, then (ghp_1)", "use *, then (*)"),
            ("key=sk-1&x=2", "key=*&x=2"),
            ("sk-1 sk-2", "* *"),
            ("é sk-é é", "é * é"),
        ] {
            assert_eq!(rules().masked(text).as_deref(), Some(masked), "{text}");
        }
        for clean in ["", "task-1", "SK-abc", "s k-", "my_ghp_1"] {
            assert_eq!(rules().masked(clean), None, "{clean}");
        }
    }

    #[test]
    fn keys_match_in_any_case_and_whole() {
        assert!(rules().hides("PASSWORD"));
        assert!(!rules().hides("passwords"));
    }

    #[test]
    fn a_wrong_configuration_is_named() {
        for (config, word) in [
            ("{}", "neither"),
            (r#"{"key":[]}"#, "`key`"),
            (r#"{"keys":"x"}"#, "`keys`"),
            (r#"{"keys":["x"],"replacement":1}"#, "`replacement`"),
            (r#"{"prefixes":[""]}"#, "`prefixes`"),
        ] {
            assert!(Rules::read(config).err().unwrap().contains(word), "{config}");
        }
    }
}
