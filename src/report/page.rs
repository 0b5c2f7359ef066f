//! A recorded block as one page that stands by itself: markup, style, script and data in one file, and nothing from elsewhere.

use super::json::{list, string};
use super::picture::BlockPicture;
use crate::executor::{Activity, Event, Outcome, Reason};
use crate::kv::Key;

/// What stands before the style, between style and data, between data and script, and behind the script.
const MARKUP: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// Where in the markup something is to be put.
const SLOT: &str = "@@";

impl<K: Key> BlockPicture<'_, K> {
    /// The block as one HTML page: a timeline of the workers, to be zoomed and moved about in, each event with what it was;
    /// executions against the commits; the most conflicted keys; who waited for whom; the totals.
    ///
    /// It loads nothing, so that it can be opened from a file, sent and kept. Its script notes the number of events drawn as
    /// `data-drawn` at the root of the document.
    pub fn page(&self) -> String {
        let data = self.data();
        let mut filling = [STYLE, data.as_str(), SCRIPT].into_iter();
        let mut page = String::with_capacity(MARKUP.len() + STYLE.len() + data.len() + SCRIPT.len());
        for part in MARKUP.split(SLOT) {
            page.push_str(part);
            page.push_str(filling.next().unwrap_or(""));
        }
        page
    }

    /// What the script draws. Events are lists of numbers, times in nanoseconds; the script says what stands where.
    fn data(&self) -> String {
        let mut out = String::from("{\"title\":");
        string(&mut out, &self.title);
        out.push_str(&format!(",\"wall\":{},\"figures\":", self.stats.wall.as_nanos()));
        list(&mut out, self.figures(), |out, (what, figure)| {
            list(out, [what, &figure], string);
        });
        out.push_str(",\"keys\":");
        list(&mut out, &self.names, |out, name| string(out, name));
        out.push_str(",\"workers\":");
        list(&mut out, &self.timeline.workers, |out, events| {
            list(out, events, |out, event| self.row(out, event));
        });
        out.push('}');
        out
    }

    /// Kind, begin, length, transaction, incarnation, then what is of the kind.
    fn row(&self, out: &mut String, event: &Event<K>) {
        let when = format!("{},{}", event.began.as_nanos(), event.ended.saturating_sub(event.began).as_nanos());
        let row = match &event.activity {
            Activity::Execution { version, at_frontier, outcome } => {
                let (code, on) = match outcome {
                    Outcome::Executed => (0, 0),
                    Outcome::Blocked { on } => (1, *on),
                    Outcome::Lost => (2, 0),
                    Outcome::Refused => (3, 0),
                    Outcome::Failed => (4, 0),
                    Outcome::Stopped => (5, 0),
                };
                let frontier = u8::from(*at_frontier);
                format!("[0,{when},{},{},{frontier},{code},{on}]", version.tx, version.incarnation)
            }
            Activity::Abort { version, reason } => {
                let (code, key) = match reason {
                    Reason::Read(key) => (0, self.place(key)),
                    Reason::Range(key) => (1, self.place(key)),
                    Reason::Refused(key) => (2, self.place(key)),
                    Reason::Failed => (3, 0),
                };
                format!("[1,{when},{},{},{code},{key}]", version.tx, version.incarnation)
            }
            Activity::Commit { tx, incarnation: Some(incarnation) } => format!("[2,{when},{tx},{incarnation}]"),
            Activity::Commit { tx, incarnation: None } => format!("[2,{when},{tx},-1]"),
            Activity::Parked => format!("[3,{when}]"),
        };
        out.push_str(&row);
    }
}
