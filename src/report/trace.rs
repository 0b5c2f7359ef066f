//! A recorded block in the trace event format, which `chrome://tracing` and Perfetto load.
//!
//! One thread a worker; every execution, commit and sleep is a complete event (`X`), every abort an instant (`i`). Times are in
//! microseconds, to the nanosecond.

use super::json::{micros, string};
use super::picture::BlockPicture;
use crate::executor::{Activity, Event, Outcome, Reason};
use crate::kv::Key;
use crate::multiversion::Version;

impl<K: Key> BlockPicture<'_, K> {
    /// The block as one JSON document in the Chrome trace event format, for a file that `chrome://tracing` or Perfetto opens.
    pub fn trace(&self) -> String {
        let mut out = String::from("{\"displayTimeUnit\":\"ns\",\"otherData\":{\"title\":");
        string(&mut out, &self.title);
        for (what, figure) in self.figures() {
            out.push(',');
            string(&mut out, what);
            out.push(':');
            string(&mut out, &figure);
        }
        out.push_str("},\"traceEvents\":[\n");
        out.push_str(r#"{"ph":"M","pid":1,"name":"process_name","args":{"name":"#);
        string(&mut out, &self.title);
        out.push_str("}}");
        for (worker, events) in (1_u64..).zip(&self.timeline.workers) {
            out.push_str(&format!(
                ",\n{{\"ph\":\"M\",\"pid\":1,\"tid\":{worker},\"name\":\"thread_name\",\"args\":{{\"name\":\"worker {worker}\"}}}}"
            ));
            events.iter().for_each(|event| self.traced(&mut out, worker, event));
        }
        out.push_str("\n]}\n");
        out
    }

    fn traced(&self, out: &mut String, worker: u64, event: &Event<K>) {
        let (category, name, args) = match &event.activity {
            Activity::Execution { version, at_frontier, outcome } => {
                let (how, on) = match outcome {
                    Outcome::Executed => ("executed", None),
                    Outcome::Blocked { on } => ("blocked", Some(on)),
                    Outcome::Lost => ("lost", None),
                    Outcome::Refused => ("refused", None),
                    Outcome::Failed => ("failed", None),
                    Outcome::Stopped => ("stopped", None),
                };
                let on = on.map_or(String::new(), |on| format!(",\"on\":{on}"));
                let args = format!("{},\"at_frontier\":{at_frontier},\"outcome\":\"{how}\"{on}", of(*version));
                (format!("execution,{how}"), format!("tx {}", version.tx), args)
            }
            Activity::Abort { version, reason } => {
                let (why, key) = match reason {
                    Reason::Read(key) => ("read", Some(key)),
                    Reason::Range(key) => ("range", Some(key)),
                    Reason::Refused(key) => ("refused", Some(key)),
                    Reason::Failed => ("failed", None),
                };
                let mut args = format!("{},\"reason\":\"{why}\"", of(*version));
                if let Some(key) = key {
                    args.push_str(",\"key\":");
                    string(&mut args, self.name(key));
                }
                ("abort".into(), format!("abort {}", version.tx), args)
            }
            Activity::Commit { tx, incarnation } => {
                let args = match incarnation {
                    Some(incarnation) => of(Version { tx: *tx, incarnation: *incarnation }),
                    None => format!("\"tx\":{tx}"),
                };
                ("commit".into(), format!("commit {tx}"), args)
            }
            Activity::Parked => ("parked".into(), "parked".into(), String::new()),
        };
        let shape = match event.activity {
            Activity::Abort { .. } => "\"ph\":\"i\",\"s\":\"t\"".to_owned(),
            _ => format!("\"ph\":\"X\",\"dur\":{}", micros(event.ended.saturating_sub(event.began))),
        };
        out.push_str(&format!(
            ",\n{{{shape},\"pid\":1,\"tid\":{worker},\"ts\":{},\"cat\":\"{category}\",\"name\":\"{name}\",\"args\":{{{args}}}}}",
            micros(event.began),
        ));
    }
}

fn of(version: Version) -> String {
    format!("\"tx\":{},\"incarnation\":{}", version.tx, version.incarnation)
}
