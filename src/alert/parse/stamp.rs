//! Stamps as sensors write them: with or without zone, with or without year.
//!
//! A stamp without a zone is read in the source's zone. One without a year gets the newest year that does not put it more than a day ahead of now, so that a file of last December is
//! of last December in January, and a clock that is a little ahead stays in this year. 29 February belongs to the newest leap year.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Sensors with an unset clock write 1900 or 1970; none of ours wrote before this.
const EARLIEST_SECOND: i64 = 946_684_800; // 2000-01-01T00:00:00Z
/// How far ahead of now a stamp without a year may lie.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);
/// Leap years are at most 8 years apart.
const YEARS_BACK: i16 = 8;

/// What a stamp does not say itself.
#[derive(Clone, Debug)]
pub struct Stamps {
    /// The zone of stamps that name none.
    pub zone: TimeZone,
    /// The time to choose the year by, of stamps that name none.
    pub now: Timestamp,
}

impl Stamps {
    /// Stamps are in UTC, and it is `now`.
    #[must_use]
    pub fn utc(now: Timestamp) -> Self {
        Self { zone: TimeZone::UTC, now }
    }
}

/// A stamp as it stands in a record. Impossible ones (month 13) have a shape too, but no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    year: Option<i16>,
    month: i8,
    day: i8,
    time: Option<Time>,
}

/// How a format writes its date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `11/22/2026-`: Suricata.
    MonthDayYear,
    /// `11/22-`, or with its option -y `26/11/22-`: Snort.
    MonthDay,
}

impl Written {
    /// Reads a stamp such as `11/22/2026-10:21:43.000001` from the beginning of `text`, and gives what follows it.
    pub(super) fn read(text: &[u8], shape: Shape) -> Option<(Self, &[u8])> {
        let (first, rest) = two_digits(text)?;
        let (second, rest) = two_digits(rest.strip_prefix(b"/")?)?;
        let third = rest.strip_prefix(b"/");
        let (year, month, day, rest) = match (shape, third) {
            (Shape::MonthDayYear, Some(rest)) => {
                let (century, rest) = two_digits(rest)?;
                let (year, rest) = two_digits(rest)?;
                (Some(i16::from(century) * 100 + i16::from(year)), first, second, rest)
            }
            (Shape::MonthDay, None) => (None, first, second, rest),
            (Shape::MonthDay, Some(rest)) => {
                let (day, rest) = two_digits(rest)?;
                (Some(2000 + i16::from(first)), second, day, rest)
            }
            (Shape::MonthDayYear, None) => return None,
        };
        let (time, rest) = clock_time(rest.strip_prefix(b"-")?)?;
        Some((Self { year, month, day, time }, rest))
    }

    /// Whether `text` begins with a stamp of this shape.
    pub(super) fn begins(text: &[u8], shape: Shape) -> bool {
        Self::read(text, shape).is_some()
    }

    /// The moment that it means; `None` when it is impossible.
    pub(super) fn resolve(self, stamps: &Stamps) -> Option<Timestamp> {
        let moment = |year: i16| {
            let civil = DateTime::from_parts(Date::new(year, self.month, self.day).ok()?, self.time?);
            Some(stamps.zone.to_ambiguous_zoned(civil).compatible().ok()?.timestamp())
        };
        let moment = match self.year {
            Some(year) => moment(year),
            None => {
                let latest = stamps.now.checked_add(AHEAD).ok()?;
                let newest = stamps.zone.to_datetime(latest).year();
                (newest - YEARS_BACK..=newest).rev().filter_map(moment).find(|moment| *moment <= latest)
            }
        };
        moment.and_then(plausible)
    }

    /// The fraction of its second, in microseconds.
    pub(super) fn microseconds(self) -> Option<i32> {
        self.time.map(|time| time.subsec_nanosecond() / 1000)
    }
}

/// Reads `2026-11-22T11:10:07.246230+0000`, any zone. An impossible stamp is none.
pub(super) fn with_zone(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().and_then(plausible)
}

/// A Unix second with a fraction.
pub(super) fn unix(second: i64, microseconds: i32) -> Option<Timestamp> {
    Timestamp::new(second, microseconds.checked_mul(1000)?).ok().and_then(plausible)
}

/// The moment, cut to microseconds, unless no sensor's clock can have shown it.
fn plausible(time: Timestamp) -> Option<Timestamp> {
    let time = Timestamp::from_microsecond(time.as_microsecond()).ok()?;
    (time.as_second() >= EARLIEST_SECOND).then_some(time)
}

/// `HH:MM:SS.ffffff`, the fraction with 1 to 9 digits or missing. The time is `None` when the digits are none of a clock.
fn clock_time(text: &[u8]) -> Option<(Option<Time>, &[u8])> {
    let (hour, rest) = two_digits(text)?;
    let (minute, rest) = two_digits(rest.strip_prefix(b":")?)?;
    let (second, rest) = two_digits(rest.strip_prefix(b":")?)?;
    let (nanoseconds, rest) = match rest.strip_prefix(b".") {
        Some(rest) => fraction(rest)?,
        None => (0, rest),
    };
    Some((Time::new(hour, minute, second, nanoseconds).ok(), rest))
}

fn fraction(text: &[u8]) -> Option<(i32, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at_checked(digits).filter(|_| (1..=9).contains(&digits))?;
    let number: i32 = std::str::from_utf8(number).ok()?.parse().ok()?;
    let missing = u32::try_from(9 - digits).ok()?;
    Some((number * 10_i32.pow(missing), rest))
}

fn two_digits(text: &[u8]) -> Option<(i8, &[u8])> {
    let (pair, rest) = text.split_first_chunk::<2>()?;
    let [tens, units] = pair.map(|digit| digit.wrapping_sub(b'0'));
    (tens < 10 && units < 10).then(|| i8::try_from(tens * 10 + units).ok()).flatten().map(|number| (number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, shape: Shape, now: &str, zone: &str) -> Option<String> {
        let (written, rest) = Written::read(text.as_bytes(), shape)?;
        assert_eq!(rest, b"", "{text}");
        let zone = TimeZone::get(zone).unwrap();
        written.resolve(&Stamps { zone, now: now.parse().unwrap() }).map(|time| time.to_string())
    }

    const NOON: &str = "2026-11-22T12:00:00Z";

    #[test]
    fn a_stamp_without_year_is_of_the_newest_year_that_is_not_more_than_a_day_ahead() {
        for (text, now, expected) in [
            ("11/22-10:33:00.123456", NOON, "2026-11-22T10:33:00.123456Z"),
            ("11/23-11:59:59.0", NOON, "2026-11-23T11:59:59Z"),
            ("11/23-12:00:01.0", NOON, "2025-11-23T12:00:01Z"),
            ("12/31-23:59:59.999999", NOON, "2025-12-31T23:59:59.999999Z"),
            ("01/01-00:00:10.0", "2026-12-31T23:59:50Z", "2027-01-01T00:00:10Z"),
            ("12/31-23:59:59.0", "2027-01-01T00:00:01Z", "2026-12-31T23:59:59Z"),
            ("02/29-01:00:00.0", NOON, "2024-02-29T01:00:00Z"),
            ("02/29-01:00:00.0", "2103-01-01T00:00:00Z", "2096-02-29T01:00:00Z"),
        ] {
            assert_eq!(read(text, Shape::MonthDay, now, "UTC").as_deref(), Some(expected), "{text} at {now}");
        }
    }

    #[test]
    fn a_stamp_with_year_needs_no_now() {
        assert_eq!(read("26/11/22-10:33:02.000005", Shape::MonthDay, NOON, "UTC").as_deref(), Some("2026-11-22T10:33:02.000005Z"));
        assert_eq!(read("11/22/2019-10:33:02.5", Shape::MonthDayYear, NOON, "UTC").as_deref(), Some("2019-11-22T10:33:02.5Z"));
    }

    #[test]
    fn a_stamp_without_zone_is_in_the_zone_of_its_source() {
        assert_eq!(read("11/22-17:58:26.390712", Shape::MonthDay, "2026-11-22T12:30:00Z", "Asia/Kolkata").as_deref(), Some("2026-11-22T12:28:26.390712Z"));
        // Where it is tomorrow already, a stamp of tomorrow is no stamp of last year.
        assert_eq!(read("01/01-08:00:00.0", Shape::MonthDay, "2026-12-31T22:00:00Z", "Asia/Tokyo").as_deref(), Some("2026-12-31T23:00:00Z"));
        // In the hour that a zone has twice, the first; in the one that it skips, as if it had not.
        assert_eq!(read("10/25/2026-02:30:00", Shape::MonthDayYear, NOON, "Europe/Berlin").as_deref(), Some("2026-10-25T00:30:00Z"));
        assert_eq!(read("03/29/2026-02:30:00", Shape::MonthDayYear, NOON, "Europe/Berlin").as_deref(), Some("2026-03-29T01:30:00Z"));
    }

    #[test]
    fn impossible_stamps_have_a_shape_and_no_time() {
        for text in [
            "13/01/2026-00:00:00.0",
            "02/30/2026-00:00:00.0",
            "11/22/2026-25:00:00.0",
            "11/22/1900-00:00:14.199185",
            "01/01/1970-00:00:00.0",
            "00/00/0000-00:00:00",
        ] {
            assert_eq!(read(text, Shape::MonthDayYear, NOON, "UTC"), None, "{text}");
            assert!(Written::begins(text.as_bytes(), Shape::MonthDayYear), "{text}");
        }
        for text in ["", "1/1/2026-00:00:00.0", "11/22/2026 10:00:00.0", "11/22/2026-10:00:00.", "11/22-10:00:00.0"] {
            assert!(!Written::begins(text.as_bytes(), Shape::MonthDayYear), "{text}");
        }
    }
}
