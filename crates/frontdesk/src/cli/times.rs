//! Moments and spans in words.

use std::time::Duration;

use frontdesk_model::Timestamp;

/// `2 min`, `3 h 5 min`, `12 days`: rounded down to what one wants to know.
pub(super) fn span(of: Duration) -> String {
    let seconds = of.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) if hours < 10 && minutes % 60 != 0 => format!("{hours} h {} min", minutes % 60),
        (0, hours, _) => format!("{hours} h"),
        (1, ..) => "1 day".into(),
        (days, ..) => format!("{days} days"),
    }
}

/// How long ago, or nothing for a moment that never was.
pub(super) fn ago(moment: Option<Timestamp>, now: Timestamp) -> String {
    match moment {
        Some(moment) if moment.plus(Duration::from_secs(1)) > now => "just now".into(),
        Some(moment) => format!("{} ago", span(now.since(moment))),
        None => String::new(),
    }
}

/// To the second, in UTC: `2026-01-05 10:00:00Z`.
pub(super) fn moment(of: Timestamp) -> String {
    let whole = of.to_string();
    match whole.split_once('T') {
        Some((day, time)) => format!("{day} {}Z", time.get(..8).unwrap_or(time)),
        None => whole,
    }
}

/// The machine's time.
pub(super) fn now() -> Timestamp {
    frontdesk_model::Clock::now(&crate::clock::SystemClock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_what_one_wants_to_know() {
        let told = |seconds| span(Duration::from_secs(seconds));
        assert_eq!([told(0), told(59), told(60), told(3599)], ["0 s", "59 s", "1 min", "59 min"]);
        assert_eq!([told(3600), told(7500), told(36_060)], ["1 h", "2 h 5 min", "10 h"]);
        assert_eq!([told(86_400), told(900_000)], ["1 day", "10 days"]);
    }

    #[test]
    fn moments_are_told_from_now() {
        let at = |millis| Some(Timestamp::from_millis(millis));
        let now = Timestamp::from_millis(100_000);
        assert_eq!([ago(at(99_500), now), ago(at(40_000), now), ago(None, now)], ["just now", "1 min ago", ""]);
        assert_eq!(ago(at(200_000), now), "just now", "a clock that was set back");
        assert_eq!(moment(Timestamp::from_millis(1_767_607_200_999)), "2026-01-05 10:00:00Z");
    }
}
