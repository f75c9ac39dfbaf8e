//! Times of .NET, which know whether they are of UTC or local, and the forms in which they are read here.

/// How far the local time of the machine is ahead of UTC: whoever takes one for the other is hours off.
pub(crate) const ZONE_MILLISECONDS: i64 = 9 * 3_600_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Utc,
    Local,
    Unspecified,
}

/// A `DateTime`. As there, two are compared by what the clock on the wall shows, whatever their kinds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time {
    /// Since 1970, by the clock that its kind says.
    pub(crate) milliseconds: i64,
    pub(crate) kind: Kind,
}

impl Time {
    pub(crate) fn utc(milliseconds: i64) -> Self {
        Self { milliseconds, kind: Kind::Utc }
    }

    pub(crate) fn to_utc(self) -> Self {
        match self.kind {
            Kind::Utc => self,
            // What says nothing about itself is taken for local.
            Kind::Local | Kind::Unspecified => Self::utc(self.milliseconds - ZONE_MILLISECONDS),
        }
    }

    pub(crate) fn to_local(self) -> Self {
        let utc = self.to_utc().milliseconds;
        Self { milliseconds: utc + ZONE_MILLISECONDS, kind: Kind::Local }
    }

    pub(crate) fn plus(self, milliseconds: i64) -> Self {
        Self { milliseconds: self.milliseconds + milliseconds, ..self }
    }

    fn fields(self) -> [i64; 6] {
        let (days, rest) = (self.milliseconds.div_euclid(86_400_000), self.milliseconds.rem_euclid(86_400_000) / 1000);
        let (year, month, day) = date(days);
        [year, month, day, rest / 3600, rest / 60 % 60, rest % 60]
    }

    /// As `"$time"` shows it.
    pub(crate) fn invariant(self) -> String {
        let [year, month, day, hour, minute, second] = self.fields();
        format!("{month:02}/{day:02}/{year:04} {hour:02}:{minute:02}:{second:02}")
    }

    /// `yyyy-MM-ddTHH:mm:ss`, or with a blank in the place of the T.
    pub(crate) fn sortable(self, separator: char) -> String {
        let [year, month, day, hour, minute, second] = self.fields();
        format!("{year:04}-{month:02}-{day:02}{separator}{hour:02}:{minute:02}:{second:02}")
    }

    /// Reads `2026-11-22T02:00:00.123Z` and its like; none where .NET would refuse it. Of other forms that .NET reads it
    /// is not known here what it makes of them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let whole = |text: &str| text.parse::<i64>().ok();
        let parsed = (|| {
            let (date, rest) = (text.get(..10)?, text.get(11..)?);
            let mut date = date.split('-').map(whole);
            let (year, month, day) = (date.next()??, date.next()??, date.next()??);
            let clock = rest.get(..8)?;
            let mut clock = clock.split(':').map(whole);
            let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
            let mut rest = rest.get(8..)?;
            let mut fraction = 0;
            if let Some(digits) = rest.strip_prefix('.') {
                let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
                fraction = whole(&format!("{:0<3}", digits.get(..end)?)[..3])?;
                rest = &digits[end..];
            }
            let is_possible = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
            let milliseconds = (days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second) * 1000 + fraction;
            let time = match rest {
                "" => Self { milliseconds, kind: Kind::Unspecified },
                "Z" => Self::utc(milliseconds),
                zone => {
                    let (hours, minutes) = zone.split_once(':')?;
                    let sign = if hours.starts_with('-') { -1 } else { 1 };
                    let ahead = sign * (whole(&hours[1..])? * 60 + whole(minutes)?) * 60_000;
                    Self::utc(milliseconds - ahead)
                }
            };
            is_possible.then_some(time)
        })();
        assert!(
            parsed.is_some() || !text.chars().any(|c| c.is_ascii_digit()),
            "nobody knows here what .NET makes of the time {text:?}"
        );
        parsed
    }
}

/// The days from 1970 to a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let years = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * years + years / 4 - years / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + years + i64::from(month <= 2), month, day)
}

#[test]
fn times_are_read_and_shown() {
    let time = Time::parse("2026-11-22T02:00:00.5Z").unwrap();
    assert_eq!((time.milliseconds, time.sortable('T').as_str()), (1_795_312_800_500, "2026-11-22T02:00:00"));
    assert_eq!(time.to_local().sortable(' '), "2026-11-22 11:00:00");
    assert_eq!(Time::parse("2026-11-22T04:00:00+02:00").unwrap().milliseconds, 1_795_312_800_000);
    assert!(Time::parse("soon").is_none());
}
