//! Text from strangers, made fit for a terminal and a log.

/// The text as one line that does nothing but read: what would move a cursor, ring a bell, end the line or turn the text
/// around is escaped. Only tabs stay.
pub fn printable(text: &str) -> String {
    printable_within(text, usize::MAX).0
}

/// The same of the beginning that fits into so many bytes, but for the last escape; and whether that is not all of it.
pub fn printable_within(text: &str, most: usize) -> (String, bool) {
    let mut line = String::with_capacity(text.len().min(most));
    for char in text.chars() {
        if line.len() + char.len_utf8() > most {
            return (line, true);
        }
        match char {
            '\t' => line.push(char),
            _ if turns(char) => line.extend(char.escape_unicode()),
            _ if char.is_control() => line.extend(char.escape_default()),
            _ => line.push(char),
        }
    }
    (line, false)
}

/// What ends lines or says in which direction they are read, and is no control character to Unicode.
fn turns(char: char) -> bool {
    matches!(
        char,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped_and_all_else_stays() {
        for (text, shown) in [
            ("Grüße,\t世界 \u{1f600}", "Grüße,\t世界 \u{1f600}"),
            ("\x1b[31mred\x07", "\\u{1b}[31mred\\u{7}"),
            ("a\r\nb\0\x7f", "a\\r\\nb\\u{0}\\u{7f}"),
            ("\u{85}\u{9b}2J", "\\u{85}\\u{9b}2J"),
            ("a\u{2028}b\u{2029}", "a\\u{2028}b\\u{2029}"),
            (
                "\u{202a}\u{202e}\u{2066}\u{2069}",
                "\\u{202a}\\u{202e}\\u{2066}\\u{2069}",
            ),
            ("\u{61c}\u{200e}\u{200f}", "\\u{61c}\\u{200e}\\u{200f}"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn a_limit_is_one_after_escaping_too() {
        assert_eq!(printable_within("four", 4), ("four".to_owned(), false));
        assert_eq!(printable_within("fifth", 4), ("fift".to_owned(), true));
        assert_eq!(printable_within("aüb", 2), ("a".to_owned(), true));
        assert_eq!(printable_within("\x07\x07", 4), ("\\u{7}".to_owned(), true));
    }
}
