//! The plain part of JSON strings: where the next quote, backslash or control character is.

/// How many bytes go by before a quote, a backslash or a control character. Most strings are short, some are very
/// long; looked at byte by byte they would be the most expensive part of a message.
pub(super) fn plain(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(eight) = bytes[at..].first_chunk::<8>() {
        let stops = stops(u64::from_le_bytes(*eight));
        if stops != 0 {
            return at + stops.trailing_zeros() as usize / 8;
        }
        at += 8;
        if at == LONG {
            // Without a branch in it, many bytes are compared at once.
            let stops = |block: &[u8; LONG]| block.iter().fold(false, |some, byte| some | is_stop(*byte));
            while bytes[at..].first_chunk().is_some_and(|block| !stops(block)) {
                at += LONG;
            }
        }
    }
    let rest = &bytes[at..];
    at + rest.iter().position(|byte| is_stop(*byte)).unwrap_or(rest.len())
}

/// From so many bytes on a string is long.
const LONG: usize = 32;

fn is_stop(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < b' ')
}

/// The highest bit of every byte that ends the plain part of a string. Above the lowest such byte others may be
/// marked too: a subtraction borrows from them.
fn stops(eight: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let zeros = |x: u64| x.wrapping_sub(ONES) & !x;
    let quotes = zeros(eight ^ (ONES * b'"' as u64));
    let slashes = zeros(eight ^ (ONES * b'\\' as u64));
    let controls = eight.wrapping_sub(ONES * b' ' as u64) & !eight;
    (quotes | slashes | controls) & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_string_ends_where_it_ends(length in 0_usize..200, at in 0_usize..200, byte in any::<u8>()) {
            let mut bytes = vec![b'a'; length];
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            let expected = bytes.iter().position(|b| is_stop(*b)).unwrap_or(length);
            prop_assert_eq!(plain(&bytes), expected);
        }
    }
}
