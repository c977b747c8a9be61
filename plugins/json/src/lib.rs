//! The little JSON that guests need: a tree that keeps the text of what it does not look into. A tenth of the
//! size of serde_json in a component.

/// A parsed value.
#[derive(Debug, PartialEq)]
pub enum Value<'a> {
    /// A number, `true`, `false` or `null`, as its text.
    Plain(&'a str),
    /// A string, unescaped.
    Text(String),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object; members in their order.
    Object(Vec<(String, Value<'a>)>),
}

impl<'a> Value<'a> {
    /// The value of a member of an object.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        match self {
            Value::Object(members) => members.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number that is a plain unsigned integer.
    pub fn number(&self) -> Option<u64> {
        match self {
            Value::Plain(text) => text.parse().ok(),
            _ => None,
        }
    }
}

/// Deeper nesting than this is refused; the host refuses it as well.
const MAX_DEPTH: usize = 160;

/// Parses one JSON text.
pub fn parse(text: &str) -> Result<Value<'_>, String> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.space();
    if reader.at < text.len() {
        return Err(reader.unexpected());
    }
    Ok(value)
}

/// `text` as a JSON string, quotes included.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                out.push_str("\\u00");
                for digit in [c as u32 >> 4, c as u32 & 15] {
                    out.push(char::from_digit(digit, 16).unwrap_or('0'));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    fn unexpected(&self) -> String {
        let mut message = String::from("not JSON at byte ");
        message.push_str(&self.at.to_string());
        message
    }

    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let there = self.peek() == byte;
        self.at += usize::from(there);
        there
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, String> {
        if depth > MAX_DEPTH {
            return Err(String::from("nested too deep"));
        }
        self.space();
        match self.peek() {
            b'"' => Ok(Value::Text(self.string()?)),
            b'[' => {
                self.at += 1;
                let mut items = Vec::new();
                if self.take(b']') {
                    return Ok(Value::Array(items));
                }
                loop {
                    items.push(self.value(depth + 1)?);
                    if self.take(b']') {
                        return Ok(Value::Array(items));
                    }
                    self.expect(b',')?;
                }
            }
            b'{' => {
                self.at += 1;
                let mut members = Vec::new();
                if self.take(b'}') {
                    return Ok(Value::Object(members));
                }
                loop {
                    self.space();
                    let key = self.string()?;
                    self.expect(b':')?;
                    members.push((key, self.value(depth + 1)?));
                    if self.take(b'}') {
                        return Ok(Value::Object(members));
                    }
                    self.expect(b',')?;
                }
            }
            _ => self.plain(),
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.take(byte) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    /// A number or a word. Numbers are only looked at roughly: their text is never changed.
    fn plain(&mut self) -> Result<Value<'a>, String> {
        let start = self.at;
        while matches!(self.peek(), b'a'..=b'z' | b'0'..=b'9' | b'E' | b'.' | b'+' | b'-') {
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        let number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        if number || matches!(text, "true" | "false" | "null") {
            return Ok(Value::Plain(text));
        }
        self.at = start;
        Err(self.unexpected())
    }

    fn string(&mut self) -> Result<String, String> {
        if self.peek() != b'"' {
            return Err(self.unexpected());
        }
        self.at += 1;
        let mut out = String::new();
        loop {
            let start = self.at;
            while !matches!(self.peek(), b'"' | b'\\' | 0..b' ') {
                self.at += 1;
            }
            out.push_str(&self.text[start..self.at]);
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Ok(out);
                }
                b'\\' => {
                    self.at += 1;
                    let escape = self.escape()?;
                    out.push(escape);
                }
                _ => return Err(self.unexpected()),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let byte = self.peek();
        let plain = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(plain)
    }

    /// Four hexadecimal digits, or two times four for a surrogate pair. Half a pair reads as U+FFFD.
    fn unicode(&mut self) -> Result<char, String> {
        let first = self.hex()?;
        if (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with("\\u") {
            let back = self.at;
            self.at += 2;
            let second = self.hex()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or('\u{fffd}'));
            }
            self.at = back;
        }
        Ok(char::from_u32(first).unwrap_or('\u{fffd}'))
    }

    fn hex(&mut self) -> Result<u32, String> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = char::from(self.peek()).to_digit(16).ok_or_else(|| self.unexpected())?;
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_json_allows() {
        let value = parse(r#" {"a":[1, -2.5e3,true,null,{}],"b\u00e9\ud83d\ude00":"x\n\"\/" ,"c":[]} "#).unwrap();
        assert_eq!(value.get("bé😀").unwrap().text(), Some("x\n\"/"));
        let Value::Array(items) = value.get("a").unwrap() else {
            panic!()
        };
        assert_eq!(items[1], Value::Plain("-2.5e3"));
        assert_eq!(items[0].number(), Some(1));
        assert_eq!(parse(r#""\ud800x""#).unwrap().text(), Some("\u{fffd}x"));
    }

    #[test]
    fn refuses_what_it_does_not() {
        for bad in [
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "{\"a\":1,}",
            "tru",
            "\"\\x\"",
            "\"",
            "1 2",
            "'a'",
            "\"\n\"",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(&"[".repeat(500)).is_err());
    }

    #[test]
    fn quoting_is_undone_by_parsing() {
        for text in ["", "a\"b\\c\n\r\t\u{1}\u{1f}é😀/"] {
            assert_eq!(parse(&quote(text)).unwrap().text(), Some(text));
        }
    }
}
