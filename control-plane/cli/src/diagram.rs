//! Sequence diagrams in a terminal: this gateway on the left, its peer on the right, time downwards.

use std::fmt::Write as _;

use culvert_proto::control::v1::TraceRecord;
use culvert_proto::control::v1::trace_record::{Field, Message, Payload, Record, Step};

use crate::output::{clock, wrap};

/// Columns between the two lifelines.
const SPAN: usize = 78;
/// Columns before the left lifeline, which the time fills.
const MARGIN: usize = 13;

/// This gateway's address and the peer's.
pub(crate) type Peers = (String, String);

/// Ports change with NAT traversal, so addresses alone count.
pub(crate) fn peers(message: &Message) -> Peers {
    let host = |endpoint: &str| endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host).trim_matches(['[', ']']).to_owned();
    (host(&message.local), host(&message.remote))
}

/// Draws records one after the other; heads each pair of peers once.
#[derive(Debug)]
pub(crate) struct Diagram {
    fields: bool,
    peers: Option<Peers>,
    /// Steps before the first message: they wait until it has named the peers.
    early: String,
}

impl Diagram {
    /// `fields`: show every field of every payload.
    pub(crate) const fn new(fields: bool) -> Self {
        Self { fields, peers: None, early: String::new() }
    }

    /// The lines for one record.
    pub(crate) fn draw(&mut self, record: &TraceRecord) -> String {
        let mut out = String::new();
        match &record.record {
            Some(Record::Message(message)) => {
                self.head(message, &mut out);
                self.message(record.time_ms, message, &mut out);
            }
            Some(Record::Step(step)) if self.peers.is_none() => step_box(step, &mut self.early),
            Some(Record::Step(step)) => step_box(step, &mut out),
            None => {}
        }
        out
    }

    /// The end of the lifelines.
    pub(crate) fn finish(self) -> String {
        if self.peers.is_none() { format!("{}no IKE messages yet\n", self.early) } else { String::new() }
    }

    /// Names the two sides when the peer is another one than before.
    fn head(&mut self, message: &Message, out: &mut String) {
        let peers = peers(message);
        if self.peers.as_ref() != Some(&peers) {
            let (left, right) = (format!("{} (this gateway)", peers.0), format!("{} (peer)", peers.1));
            let width = (MARGIN + 1 + SPAN + 1).saturating_sub(left.chars().count());
            let _ = write!(out, "\n{left}{right:>width$}\n{}", lifeline(""));
            out.push_str(&std::mem::take(&mut self.early));
            self.peers = Some(peers);
        }
    }

    fn message(&self, time_ms: u64, message: &Message, out: &mut String) {
        let again = if message.retransmission { " (again)" } else { "" };
        let label = format!(" {}{again}, {} octets ", message.title, message.octets);
        let dashes = SPAN.saturating_sub(label.chars().count() + 1);
        let (lead, tail) = (4.min(dashes), dashes.saturating_sub(4));
        let arrow = if message.outbound {
            format!("{}{label}{}>", "─".repeat(lead), "─".repeat(tail))
        } else {
            format!("<{}{label}{}", "─".repeat(tail), "─".repeat(lead))
        };
        let _ = writeln!(out, "{:<MARGIN$}│{arrow}│", clock(time_ms));
        // What is sent again was shown the first time.
        let payloads = if message.retransmission { &[] } else { message.payloads.as_slice() };
        for line in payload_lines(payloads) {
            out.push_str(&lifeline(&line));
        }
        if self.fields && !message.retransmission {
            out.push_str(&lifeline("  HDR"));
            draw_fields(&message.header, 2, out);
            for payload in payloads {
                out.push_str(&lifeline(&format!("  {}", payload.name)));
                draw_fields(&payload.fields, 2, out);
            }
        }
        out.push_str(&lifeline(""));
    }
}

fn lifeline(text: &str) -> String {
    format!("{:MARGIN$}│{}│\n", "", fit(text, SPAN))
}

/// `text` at exactly `width` columns.
fn fit(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return format!("{text}{}", " ".repeat(width - length));
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Names of payloads, those inside SK in braces, wrapped between the lifelines.
fn payload_lines(payloads: &[Payload]) -> Vec<String> {
    let clear = payloads.iter().filter(|payload| !payload.encrypted && !is_seal(payload)).map(|payload| payload.name.clone());
    let encrypted: Vec<_> = payloads.iter().filter(|payload| payload.encrypted).map(|payload| payload.name.as_str()).collect();
    // An empty one is a message of its own: the keep-alive.
    let seal = payloads.iter().find(|payload| is_seal(payload)).map(|payload| payload.name.as_str());
    let sealed = seal.or_else(|| (!encrypted.is_empty()).then_some("SK")).map(|seal| match encrypted.as_slice() {
        // Of fragments the last one shows what is in all of them.
        [] if seal != "SK" => format!("{seal} {{…}}"),
        encrypted => format!("{seal} {{{}}}", encrypted.join(" ")),
    });
    let mut lines = vec![];
    let mut line = String::from("    ");
    for word in clear.chain(sealed).flat_map(|name| name.split(' ').map(str::to_owned).collect::<Vec<_>>()) {
        if line.chars().count() + word.chars().count() + 1 > SPAN && !line.trim().is_empty() {
            lines.push(std::mem::replace(&mut line, String::from("      ")));
        }
        let _ = write!(line, "{word} ");
    }
    if !line.trim().is_empty() {
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// Whether it is the Encrypted payload around the others, or the fragment of one.
pub(crate) fn is_seal(payload: &Payload) -> bool {
    payload.name == "SK" || payload.name.starts_with("SKF(")
}

fn draw_fields(fields: &[Field], depth: usize, out: &mut String) {
    for field in fields {
        let separator = if field.value.is_empty() { "" } else { ": " };
        out.push_str(&lifeline(&format!("{}{}{separator}{}", "  ".repeat(depth), field.name, field.value)));
        draw_fields(&field.fields, depth + 1, out);
    }
}

/// A step of this gateway alone: a box on its lifeline.
fn step_box(step: &Step, out: &mut String) {
    let inner = SPAN - 14;
    let indent = MARGIN - 3;
    let title = fit(&step.title, inner - 2).trim_end().to_owned();
    let rule = "─".repeat(inner.saturating_sub(title.chars().count() + 2));
    let gap = MARGIN + 1 + SPAN - indent - inner - 2;
    let _ = writeln!(out, "{:indent$}┌ {title} {rule}┐{:gap$}│", "", "");
    for line in &step.lines {
        for (number, part) in wrap(line, inner - 4).iter().enumerate() {
            let part = if number == 0 { part.clone() } else { format!("  {part}") };
            let _ = writeln!(out, "{:indent$}│ {} │{:gap$}│", "", fit(&part, inner - 2), "");
        }
    }
    let _ = writeln!(out, "{:indent$}└{}┘{:gap$}│", "", "─".repeat(inner), "");
    out.push_str(&lifeline(""));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(name: &str, encrypted: bool) -> Payload {
        let fields = vec![Field { name: "length".into(), value: "8".into(), fields: vec![] }];
        Payload { name: name.into(), encrypted, fields }
    }

    fn message(outbound: bool, payloads: Vec<Payload>) -> TraceRecord {
        let message = Message {
            outbound,
            local: "192.0.2.1:500".into(),
            remote: "192.0.2.2:500".into(),
            title: "IKE_AUTH request 1".into(),
            payloads,
            octets: 248,
            retransmission: false,
            header: vec![],
        };
        TraceRecord { record: Some(Record::Message(message)), ..TraceRecord::default() }
    }

    #[test]
    fn every_line_is_as_wide_as_the_next() {
        let mut diagram = Diagram::new(true);
        let payloads = vec![payload("IDi", true), payload("AUTH", true), payload(&"N(LONG)".repeat(20), true)];
        let mut text = diagram.draw(&message(true, payloads.clone()));
        text.push_str(&diagram.draw(&message(false, payloads)));
        let step = Step { title: "derive keys".into(), lines: vec!["SK_d ".repeat(40)] };
        text.push_str(&diagram.draw(&TraceRecord { record: Some(Record::Step(step)), ..TraceRecord::default() }));
        let widths: Vec<_> = text.lines().skip(2).map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|&width| width == MARGIN + 1 + SPAN + 1), "{widths:?}\n{text}");
    }

    #[test]
    fn arrows_point_at_the_receiver_and_peers_are_named_once() {
        let mut diagram = Diagram::new(false);
        let first = diagram.draw(&message(true, vec![payload("SA", false)]));
        let second = diagram.draw(&message(false, vec![payload("IDr", true)]));
        assert!(first.contains("192.0.2.1 (this gateway)") && first.contains("─>│"), "{first}");
        assert!(!second.contains("this gateway") && second.contains("│<─") && second.contains("SK {IDr}"), "{second}");
    }
}
