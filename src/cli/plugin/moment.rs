//! What time it is in a fixture: an RFC 3339 time, as text or as TOML writes it, or milliseconds since 1970.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use toml::value::{Date, Datetime, Offset, Time};

/// The last millisecond of the year 9999, the last one that RFC 3339 can write.
const LAST: u64 = 253_402_300_799_999;

/// A time since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub(super) Duration);

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a time such as \"2026-01-31T09:00:00Z\", or milliseconds since 1970"
)]
enum Written {
    Milliseconds(u64),
    Text(String),
    Toml(Datetime),
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let known = match Written::deserialize(deserializer)? {
            Written::Milliseconds(ms) => (ms <= LAST)
                .then(|| Self(Duration::from_millis(ms)))
                .ok_or_else(|| format!("{ms} ms since 1970 is after the year 9999")),
            Written::Text(text) => match text.parse() {
                Ok(time) => Self::of(&time),
                Err(error) => Err(format!("{text:?} is no RFC 3339 time: {error}")),
            },
            Written::Toml(time) => Self::of(&time),
        };
        known.map_err(de::Error::custom)
    }
}

impl Moment {
    fn of(written: &Datetime) -> Result<Self, String> {
        let (Some(date), Some(time), Some(offset)) = (written.date, written.time, written.offset) else {
            return Err(format!(
                "{written} says no time that is the same everywhere: write date, time and offset, as \
                 2026-01-31T09:00:00Z"
            ));
        };
        let offset = match offset {
            Offset::Z => 0,
            Offset::Custom { minutes } => i64::from(minutes),
        };
        let seconds = days(date) * 86_400 + seconds(time) - offset * 60;
        let seconds = u64::try_from(seconds).map_err(|_| format!("{written} is before 1970"))?;
        Ok(Self(Duration::new(seconds, time.nanosecond.unwrap_or_default())))
    }
}

/// Days from 1970 to a day of the Gregorian calendar.
fn days(Date { year, month, day }: Date) -> i64 {
    let (month, day) = (i64::from(month), i64::from(day));
    // Years that begin in March have the day that is not always there at their end.
    let year = i64::from(year) - i64::from(month <= 2);
    let in_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + in_year - 719_468
}

fn seconds(time: Time) -> i64 {
    i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(time.second.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        now: Moment,
    }

    fn ms(text: &str) -> Result<u128, String> {
        let file: Result<File, _> = toml::from_str(&format!("now = {text}"));
        file.map(|file| file.now.0.as_millis())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_way_to_write_a_time_is_understood() {
        for (text, since) in [
            ("0", 0),
            ("1700000000123", 1_700_000_000_123),
            ("\"1970-01-01T00:00:00Z\"", 0),
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00.5Z", 951_825_600_500),
            ("\"2000-03-01T00:30:00+01:00\"", 951_867_000_000),
            ("2026-11-21 01:19:00-05:30", 1_795_243_740_000),
            ("9999-12-31T23:59:59.999Z", u128::from(LAST)),
        ] {
            assert_eq!(ms(text), Ok(since), "{text}");
        }
        let json: File = serde_json::from_str("{\"now\": \"1970-01-02T00:00:00Z\"}").unwrap();
        assert_eq!(json.now.0, Duration::from_hours(24));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for (text, words) in [
            ("true", "expected a time such as \"2026-01-31T09:00:00Z\""),
            ("-1", "expected a time such as"),
            ("253402300800000", "after the year 9999"),
            ("\"noon\"", "\"noon\" is no RFC 3339 time"),
            ("2026-01-31", "2026-01-31 says no time that is the same everywhere"),
            ("2026-01-31T09:00:00", "write date, time and offset"),
            ("1969-12-31T23:59:59Z", "is before 1970"),
            ("\"2026-02-30T09:00:00Z\"", "is no RFC 3339 time"),
        ] {
            let error = ms(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
