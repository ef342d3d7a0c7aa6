//! Moments and spans of time for people.

use std::time::Duration;

/// A moment, in seconds since 1970, in UTC (RFC 3339).
pub(crate) fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March here, so that the day that not every year has is the last one; eras have 400 years.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// A span, in its two largest units.
pub(crate) fn ago(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_that_not_every_year_has_are_told() {
        let told = [0, 951_782_400, 951_868_799, 951_868_800, 1_767_225_599, 4_107_542_400].map(rfc3339);
        let expected = [
            "1970-01-01T00:00:00Z",
            "2000-02-29T00:00:00Z",
            "2000-02-29T23:59:59Z",
            "2000-03-01T00:00:00Z",
            "2025-12-31T23:59:59Z",
            "2100-03-01T00:00:00Z",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn spans_have_two_units() {
        assert_eq!(
            [5, 65, 7265, 180_000].map(|span| ago(Duration::from_secs(span))),
            ["5s", "1m 05s", "2h 01m", "2d 02h"]
        );
    }
}
