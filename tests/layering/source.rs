//! Reads Rust text just far enough: paths written out in full, calls of a method, test code left out.

use proc_macro2::{Delimiter, LexError, Spacing, Span, TokenStream, TokenTree};

/// An identifier, `::`, or one other character.
#[derive(Clone)]
pub struct Token {
    pub line: usize,
    pub text: String,
}

impl Token {
    fn new(span: Span, text: impl Into<String>) -> Token {
        Token {
            line: span.start().line,
            text: text.into(),
        }
    }

    fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// A path as written out, `use` groups expanded: `use a::{b, c::d}` gives `a::b` and `a::c::d`.
pub struct Written {
    pub line: usize,
    pub path: Vec<String>,
}

/// The code of a file without its tests, and the modules it declares for tests only.
pub struct Code {
    pub tokens: Vec<Token>,
    pub test_modules: Vec<String>,
}

impl Code {
    pub fn of(text: &str) -> Result<Code, LexError> {
        let mut tokens = Vec::new();
        flatten(text.parse()?, &mut tokens);
        let mut code = Code {
            tokens: Vec::new(),
            test_modules: Vec::new(),
        };
        let mut at = 0;
        while at < tokens.len() {
            match test_item(&tokens, at) {
                Some(end) => {
                    if let [.., keyword, name, semicolon] = &tokens[at..end]
                        && keyword.text == "mod"
                        && semicolon.text == ";"
                    {
                        code.test_modules.push(name.text.clone());
                    }
                    at = end;
                }
                None => {
                    code.tokens.push(tokens[at].clone());
                    at += 1;
                }
            }
        }
        Ok(code)
    }

    /// Every path in the code.
    pub fn paths(&self) -> Vec<Written> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            if self.tokens[at].is_name() {
                at = self.path_from(at, Vec::new(), &mut found);
            } else {
                at += 1;
            }
        }
        found
    }

    /// Reads the path that starts at `at` behind `prefix`; gives the place after it.
    fn path_from(&self, mut at: usize, prefix: Vec<String>, found: &mut Vec<Written>) -> usize {
        let line = self.tokens[at].line;
        let mut path = prefix;
        loop {
            path.push(self.tokens[at].text.clone());
            at += 1;
            if self.text(at) != "::" {
                break;
            }
            if self.text(at + 1) == "{" {
                return self.group_from(at + 2, &path, found);
            }
            if !self.tokens.get(at + 1).is_some_and(|t| t.is_name() || t.text == "*") {
                break; // `::<` of a generic call
            }
            at += 1;
        }
        found.push(Written { line, path });
        at
    }

    fn group_from(&self, mut at: usize, prefix: &[String], found: &mut Vec<Written>) -> usize {
        while at < self.tokens.len() && self.text(at) != "}" {
            if self.tokens[at].is_name() || self.text(at) == "*" {
                at = self.path_from(at, prefix.to_vec(), found);
            } else {
                at += 1;
            }
        }
        at + 1
    }

    /// Lines on which the method `name` is called.
    pub fn calls_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.tokens
            .windows(3)
            .filter(move |w| w[0].text == "." && w[1].text == name && w[2].text == "(")
            .map(|w| w[1].line)
    }

    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |t| &t.text)
    }
}

/// If an item for tests only starts at `at`, the place after it.
fn test_item(tokens: &[Token], at: usize) -> Option<usize> {
    let text = |i: usize| tokens.get(i).map_or("", |t| t.text.as_str());
    if text(at) != "#" {
        return None;
    }
    let whole_file = text(at + 1) == "!";
    let open = if whole_file { at + 2 } else { at + 1 };
    let close = closing(tokens, open)?;
    let inside: Vec<&str> = tokens[open + 1..close].iter().map(|t| t.text.as_str()).collect();
    let for_tests = inside.first() == Some(&"cfg") && inside.contains(&"test") && !inside.contains(&"not");
    match (for_tests, whole_file) {
        (false, _) => None,
        (true, true) => Some(tokens.len()),
        (true, false) => Some(item_end(tokens, close + 1)),
    }
}

/// The place after the item at `at`: its `;` or the end of its braces, whichever comes first.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            ";" => return at + 1,
            "{" => return closing(tokens, at).map_or(tokens.len(), |close| close + 1),
            "(" | "[" => at = closing(tokens, at).unwrap_or(tokens.len()),
            _ => {}
        }
        at += 1;
    }
    tokens.len()
}

/// The bracket that closes the one at `open`.
fn closing(tokens: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" if depth <= 1 => return Some(at),
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Flat tokens: brackets and `::` are one each, a literal is `"`.
fn flatten(stream: TokenStream, found: &mut Vec<Token>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        match tree {
            TokenTree::Ident(name) => found.push(Token::new(name.span(), name.to_string())),
            TokenTree::Literal(literal) => found.push(Token::new(literal.span(), "\"")),
            TokenTree::Punct(mark) => {
                let colon = |t: &TokenTree| matches!(t, TokenTree::Punct(p) if p.as_char() == ':');
                let double =
                    mark.as_char() == ':' && mark.spacing() == Spacing::Joint && trees.next_if(colon).is_some();
                let text = if double { "::".to_owned() } else { mark.to_string() };
                found.push(Token::new(mark.span(), text));
            }
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ('(', ')'),
                    Delimiter::Bracket => ('[', ']'),
                    Delimiter::Brace | Delimiter::None => ('{', '}'),
                };
                found.push(Token::new(group.span_open(), open));
                flatten(group.stream(), found);
                found.push(Token::new(group.span_close(), close));
            }
        }
    }
}
