//! Scans against the library: what the one refuses the other refuses.

use super::*;
use proptest::prelude::*;

fn scanned(text: &str) -> Result<&str, Malformed> {
    let mut scan = Scan::new(text);
    let value = scan.value()?;
    scan.end()?;
    Ok(value)
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

#[test]
fn values_are_what_the_library_takes_for_values() {
    for text in [
        "0",
        "-0",
        "01",
        "1.",
        ".5",
        "1.0e",
        "1e+5",
        "1E-05",
        "-",
        "--1",
        "+1",
        "1 2",
        "tru",
        "true",
        "nullx",
        "\"",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\u1234\"",
        "\"\\ud800\"",
        "\"a\nb\"",
        "\"a\u{7f}b\"",
        "[",
        "[]",
        "[,]",
        "[1,]",
        "[1 2]",
        "[1}",
        "{",
        "{}",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1]",
        "{a:1}",
        "",
        " ",
        "\u{feff}1",
        "\u{c}1",
        "\t[\r\n1 , {\"a\" : [ ] } ]\n",
    ] {
        assert_eq!(scanned(text).is_ok(), is_json(text), "{text:?}: {:?}", scanned(text));
    }
}

#[test]
fn depth_has_a_limit_that_counts_both_kinds() {
    let nested = |levels: usize| {
        format!(
            "{}{}",
            "[{\"a\":".repeat(levels / 2) + "[",
            "]".to_owned() + &"}]".repeat(levels / 2)
        )
    };
    assert!(scanned(&nested(MAX_DEPTH - 1)).is_ok());
    assert_eq!(scanned(&nested(MAX_DEPTH)).unwrap_err().flaw, Flaw::Deep);
    let strings = format!("\"{}\"", "[".repeat(1000));
    assert!(scanned(&strings).is_ok());
}

#[test]
fn flaws_say_where_they_are() {
    let flaw = |text: &str| scanned(text).unwrap_err().to_string();
    assert_eq!(flaw("{\"a\" 1}"), "expected a colon at byte 5");
    assert_eq!(flaw("[1 2]"), "expected a comma or the end at byte 3");
    assert_eq!(flaw("[1, x]"), "expected a value at byte 4");
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused_as_the_library_does(text in "[\\[\\]{}\",:0.e\\-a\\\\u \n]{0,24}") {
        prop_assert_eq!(scanned(&text).is_ok(), is_json(&text), "{:?}", scanned(&text));
    }

    #[test]
    fn a_changed_byte_is_noticed_as_the_library_notices(at in 0_usize..60, byte in 0_u8..128) {
        let mut bytes = br#" {"a\\b":[1.5e3,"x\u00e9\"y",null,{}],"c":{"d":-0,"e":false}} "#.to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        let text = String::from_utf8(bytes).unwrap();
        prop_assert_eq!(scanned(&text).is_ok(), is_json(&text), "{:?}: {:?}", text, scanned(&text));
    }
}
