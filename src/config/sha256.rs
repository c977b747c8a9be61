//! SHA-256 sums of components: how they are written, in configurations, in `plugins.lock` and by registries.

use sha2::{Digest, Sha256};

/// The sum of these bytes, in lower-case hexadecimal digits.
pub fn sha256_of(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A sum that somebody wrote, as [`sha256_of`] has it: 64 hexadecimal digits.
pub fn sha256_text(text: &str) -> Option<String> {
    let is_sum = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_sum.then(|| text.to_ascii_lowercase())
}

/// The sum in a digest as registries write it, `sha256:` before the digits. Other digests are not known.
pub fn sha256_digest(digest: &str) -> Option<String> {
    digest.strip_prefix("sha256:").and_then(sha256_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_written_in_one_way() {
        let sum = sha256_of(b"");
        assert!(sum.starts_with("e3b0c44298fc1c14"), "{sum}");
        assert_eq!(sha256_text(&sum.to_uppercase()), Some(sum.clone()));
        assert_eq!(sha256_digest(&format!("sha256:{sum}")), Some(sum.clone()));
        for other in [
            "",
            "00",
            &sum[1..],
            &format!("{sum}0"),
            &"g".repeat(64),
            &"é".repeat(32),
        ] {
            assert_eq!(sha256_text(other), None, "{other}");
        }
        assert_eq!(sha256_digest(&sum), None);
        assert_eq!(sha256_digest(&format!("sha512:{sum}")), None);
    }
}
