//! JSON as text: strings that are safe wherever the text goes, lists, and times in microseconds.

use std::time::Duration;

/// Appends `text` as a JSON string.
///
/// What could end a script in a page, or begin a comment in one, is written as an escape: the text may stand inside of
/// `<script>` as it is.
pub(super) fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '<' | '>' | '&' | '\'' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => escape(out, c),
            c if c < ' ' => escape(out, c),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Appends what `items` write, with a comma between any two, in brackets.
pub(super) fn list<I>(out: &mut String, items: impl IntoIterator<Item = I>, mut write: impl FnMut(&mut String, I)) {
    out.push('[');
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

/// Microseconds, to the nanosecond.
pub(super) fn micros(time: Duration) -> String {
    format!("{}.{:03}", time.as_micros(), time.subsec_nanos() % 1_000)
}

/// Only for characters that are one unit of UTF-16.
fn escape(out: &mut String, c: char) {
    out.push_str(&format!("\\u{:04x}", u32::from(c)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_safe_in_json_and_in_a_script() {
        let mut out = String::new();
        string(&mut out, "a\"b\\c\n\u{0}</script><!--&'\u{2028}\u{85}é😀");
        let due = r#""a\"b\\c\u000a\u0000\u003c/script\u003e\u003c!--\u0026\u0027\u2028\u0085é😀""#;
        assert_eq!(out, due);
    }

    #[test]
    fn lists_have_commas_between() {
        let written = |items: &[u8]| {
            let mut out = String::new();
            list(&mut out, items, |out, item| out.push_str(&item.to_string()));
            out
        };
        assert_eq!([written(&[]), written(&[1]), written(&[1, 2, 3])], ["[]", "[1]", "[1,2,3]"]);
    }

    #[test]
    fn times_keep_their_nanoseconds() {
        assert_eq!(micros(Duration::ZERO), "0.000");
        assert_eq!(micros(Duration::from_nanos(1_002_003_004)), "1002003.004");
    }
}
