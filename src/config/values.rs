//! Durations, sizes and words as they stand in a configuration, both ways.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{
    Algorithm, ClientAuth, EraChoice, Errors, Names, OnFault, OnLoadFailure, OwnTools, Scope, ServerRequests,
    StateKind, Transport,
};

/// Units of time, longest first, in nanoseconds.
const TIMES: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Units of size, largest first.
const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads `"30s"`, `"500ms"`, `"1h30m"`. An error is the hint for the operator.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let usual = || r#"write it like "30s", "500ms", "2m" or "1h""#.to_owned();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!(r#"a unit is missing: did you mean "{text}s"?"#));
    }
    let mut rest = text.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(usual());
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, tail) = tail.split_at(letters);
        let number: u64 = number.parse().map_err(|_| usual())?;
        let (_, nanos) = TIMES.iter().find(|(name, _)| *name == unit).ok_or_else(usual)?;
        total = number
            .checked_mul(*nanos)
            .and_then(|n| n.checked_add(total))
            .ok_or_else(usual)?;
        rest = tail.trim_start();
    }
    Ok(Duration::from_nanos(total))
}

/// A duration in the longest unit that is exact.
pub(super) fn show_duration(value: Duration) -> String {
    let nanos = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
    if nanos == 0 {
        return "0s".to_owned();
    }
    // Days are read but not written: "24h" is what people say.
    let unit = TIMES[1..].iter().find(|(_, unit)| nanos.is_multiple_of(*unit));
    unit.map_or_else(
        || format!("{nanos}ns"),
        |(name, unit)| format!("{}{name}", nanos / unit),
    )
}

/// Reads `"4MiB"`, `"64KiB"`, `"1GiB"`. An error is the hint for the operator.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let usual = || r#"write it like "64KiB", "4MiB" or "1GiB", or as a whole number of bytes"#.to_owned();
    let value: u64 = number.parse().map_err(|_| usual())?;
    if let Some((_, bytes)) = SIZES.iter().find(|(name, _)| *name == unit) {
        return value.checked_mul(*bytes).ok_or_else(usual);
    }
    let meant = match unit.to_ascii_lowercase().as_str() {
        "" => "B",
        "k" | "kb" | "kib" => "KiB",
        "m" | "mb" | "mib" => "MiB",
        "g" | "gb" | "gib" => "GiB",
        _ => return Err(usual()),
    };
    Err(format!(r#"did you mean "{number}{meant}"?"#))
}

/// A size in the largest unit that is exact.
pub(super) fn show_size(value: usize) -> String {
    let bytes = value as u64;
    match SIZES[..3]
        .iter()
        .find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit))
    {
        Some((name, unit)) => format!("\"{}{name}\"", bytes / unit),
        None => bytes.to_string(),
    }
}

/// Reads an address with its port. Names are not looked up: what an operator reads here must be what is listened on.
/// An error is the hint for the operator.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = match text.rsplit_once(':') {
        Some(parts) => parts,
        None if text.parse::<u16>().is_ok() => ("", text),
        None => (text, ""),
    };
    let ip = |text: &str| text.trim_matches(['[', ']']).parse::<IpAddr>();
    let ip = ip(text).or_else(|_| ip(host)).unwrap_or(Ipv4Addr::LOCALHOST.into());
    let example = SocketAddr::new(ip, port.parse().unwrap_or(7400));
    Err(format!("it is an IP address with a port, like \"{example}\""))
}

/// A setting with a few words to choose from.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// Every word with its meaning.
    const ALL: &'static [(&'static str, Self)];

    /// The word of a value.
    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, v)| *v == self).map_or("", |(w, _)| w)
    }
}

impl Word for EraChoice {
    const ALL: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("legacy", Self::Legacy), ("modern", Self::Modern)];
}

impl Word for Transport {
    const ALL: &'static [(&'static str, Self)] = &[("auto", Self::Auto), ("http", Self::Http), ("sse", Self::Sse)];
}

impl Word for Algorithm {
    const ALL: &'static [(&'static str, Self)] = &[
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("EdDSA", Self::EdDsa),
    ];
}

impl Word for ClientAuth {
    const ALL: &'static [(&'static str, Self)] = &[("basic", Self::Basic), ("post", Self::Post)];
}

impl Word for StateKind {
    const ALL: &'static [(&'static str, Self)] = &[("none", Self::None), ("volatile", Self::Volatile)];
}

impl Word for ServerRequests {
    const ALL: &'static [(&'static str, Self)] = &[("off", Self::Off), ("serialize", Self::Serialize)];
}

impl Word for Scope {
    const ALL: &'static [(&'static str, Self)] = &[("shared", Self::Shared), ("session", Self::Session)];
}

impl Word for Names {
    const ALL: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("prefixed", Self::Prefixed),
        ("plain", Self::Plain),
    ];
}

impl Names {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        let word = Self::ALL.iter().find(|(_, names)| *names == self);
        word.map_or("auto", |(word, _)| word)
    }
}

impl Word for Errors {
    const ALL: &'static [(&'static str, Self)] = &[("json-rpc", Self::JsonRpc), ("result", Self::Result)];
}

impl Word for OwnTools {
    const ALL: &'static [(&'static str, Self)] = &[("off", Self::Off), ("read", Self::Read), ("manage", Self::Manage)];
}

impl Word for OnLoadFailure {
    const ALL: &'static [(&'static str, Self)] = &[
        ("refuse-start", Self::RefuseStart),
        ("closed", Self::Closed),
        ("open", Self::Open),
    ];
}

impl Word for Option<OnFault> {
    const ALL: &'static [(&'static str, Self)] = &[
        ("by-hook", None),
        ("open", Some(OnFault::Open)),
        ("closed", Some(OnFault::Closed)),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, millis) in [
            ("30s", 30_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("0s", 0),
            (" 1 s ", 0),
        ] {
            let expected = (millis > 0 || text == "0s").then(|| Duration::from_millis(millis));
            assert_eq!(duration(text).ok(), expected, "{text}");
        }
        for (text, hint) in [
            ("30", r#"a unit is missing: did you mean "30s"?"#),
            ("1.5s", r#"write it like "30s", "500ms", "2m" or "1h""#),
            ("s", r#"write it like "30s", "500ms", "2m" or "1h""#),
            ("", r#"write it like "30s", "500ms", "2m" or "1h""#),
            ("99999999999999d", r#"write it like "30s", "500ms", "2m" or "1h""#),
        ] {
            assert_eq!(duration(text), Err(hint.to_owned()), "{text}");
        }
    }

    #[test]
    fn an_address_that_is_none_is_told_with_one_that_is() {
        for (text, example) in [
            ("7600", "127.0.0.1:7600"),
            ("localhost:7601", "127.0.0.1:7601"),
            (":7602", "127.0.0.1:7602"),
            ("0.0.0.0", "0.0.0.0:7400"),
            ("::", "[::]:7400"),
            ("[::1]", "[::1]:7400"),
            ("[::1]:x", "[::1]:7400"),
            ("99999", "127.0.0.1:7400"),
            ("", "127.0.0.1:7400"),
        ] {
            assert!(address(text).unwrap_err().contains(example), "{text}");
        }
        assert_eq!(
            address("[::1]:80"),
            Ok(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 80)))
        );
    }

    #[test]
    fn sizes_are_binary() {
        for (text, bytes) in [
            ("4MiB", 4 << 20),
            ("64 KiB", 64 << 10),
            ("1GiB", 1 << 30),
            ("100B", 100),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        assert_eq!(size("4MB"), Err(r#"did you mean "4MiB"?"#.to_owned()));
        assert_eq!(size("12k"), Err(r#"did you mean "12KiB"?"#.to_owned()));
        assert!(size("lots").is_err());
        assert!(size("99999999999999GiB").is_err());
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(nanos in 0..u64::MAX / 2, shift in 0u32..40, bytes in 0usize..1 << 40) {
            let value = Duration::from_nanos(nanos >> shift);
            prop_assert_eq!(duration(&show_duration(value)), Ok(value));
            let shown = show_size(bytes);
            let read = shown.parse().or_else(|_| size(shown.trim_matches('"')));
            prop_assert_eq!(read, Ok(bytes as u64));
        }
    }
}
