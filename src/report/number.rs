//! Figures as text: thousands apart, durations in milliseconds.

use std::time::Duration;

/// `number` with a comma between thousands.
///
/// ```
/// assert_eq!(cachekv::report::grouped(1_234_567), "1,234,567");
/// ```
pub fn grouped(number: u64) -> String {
    separated(&number.to_string())
}

/// The places of the smallest number.
const MOST_DECIMALS: usize = 1074;

/// `number` with a comma between thousands and `decimals` places, at most as many as a number can have; a dash for what is
/// no number.
///
/// ```
/// assert_eq!(cachekv::report::grouped_decimal(-1234.56, 1), "-1,234.6");
/// assert_eq!(cachekv::report::grouped_decimal(f64::NAN, 1), "-");
/// ```
pub fn grouped_decimal(number: f64, decimals: usize) -> String {
    if !number.is_finite() {
        return "-".into();
    }
    let decimals = decimals.min(MOST_DECIMALS); // formatting panics beyond a limit of its own
    let text = format!("{:.decimals$}", number.abs());
    // The sign goes by what is left after rounding: -0.04 is 0.0.
    let negative = number < 0.0 && text.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(whole, part)| (whole, Some(part)));
    let mut out = String::from(if negative { "-" } else { "" });
    out.push_str(&separated(whole));
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// `duration` in milliseconds, with one place.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(cachekv::report::milliseconds(Duration::from_micros(1_234_567)), "1,234.6");
/// ```
pub fn milliseconds(duration: Duration) -> String {
    grouped_decimal(duration.as_secs_f64() * 1e3, 1)
}

fn separated(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        for (number, text) in [(0, "0"), (7, "7"), (999, "999"), (1000, "1,000"), (100_000, "100,000")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn decimals_round_and_carry() {
        assert_eq!(grouped_decimal(999.96, 1), "1,000.0");
        assert_eq!(grouped_decimal(0.0, 2), "0.00");
        assert_eq!(grouped_decimal(1.5, usize::MAX), format!("1.5{}", "0".repeat(1073)), "and does not panic");
        assert_eq!(grouped_decimal(-0.04, 1), "0.0");
        assert_eq!(grouped_decimal(1999.5, 0), "2,000");
        assert_eq!(grouped_decimal(f64::INFINITY, 2), "-");
    }

    #[test]
    fn durations_are_milliseconds() {
        assert_eq!(milliseconds(Duration::ZERO), "0.0");
        assert_eq!(milliseconds(Duration::from_secs(3600)), "3,600,000.0");
    }
}
