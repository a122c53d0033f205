//! A trace as one page: a sequence diagram whose arrows open the fields of their messages.
//!
//! The page holds everything it needs and works without a network. Diagram and fields are plain `<details>`, so that keyboard and screen
//! reader work without the script, which only opens and closes all of them. What a peer has sent is text wherever it appears; the page's
//! policy forbids every other script than its own, should that ever fail.

use std::collections::HashMap;
use std::fmt::{self, Write as _};

use culvert_proto::control::v1::TraceRecord;
use culvert_proto::control::v1::trace_record::{Field, Message, Payload, Record, Step};

use crate::diagram::{Peers, is_seal, peers};
use crate::output::clock;

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");
/// SHA-256 of the script, for the policy: a browser runs no other.
const SCRIPT_HASH: &str = "5QnB/vxOo385xvfUiHzDdsjL6rOGb3wlxKVLNwiw4AI=";

/// The page that shows `records`.
pub(crate) fn page(records: &[TraceRecord]) -> String {
    let mut out = String::new();
    let messages = records.iter().filter(|record| matches!(record.record, Some(Record::Message(_)))).count();
    let times = records.first().zip(records.last()).map(|(first, last)| (clock(first.time_ms), clock(last.time_ms)));
    let span = times.map_or_else(String::new, |(first, last)| format!(", {first} to {last} UTC"));
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{SCRIPT_HASH}'\">\n\
         <title>IKEv2 trace</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>IKEv2, message by message</h1>\n\
         <p class=\"about\">{messages} messages{span}, as this gateway sent and received them. Each arrow opens its fields.</p>\n\
         <div class=\"tools\"><button id=\"open\" type=\"button\">Open all</button><button id=\"close\" type=\"button\">Close all</button>\n\
         <ul class=\"legend\"><li class=\"init\">IKE_SA_INIT</li><li class=\"auth\">IKE_AUTH</li><li class=\"child\">CREATE_CHILD_SA</li>\
         <li class=\"info\">INFORMATIONAL</li></ul></div></header>\n<main>\n"
    );
    let pairs = by_peers(records);
    if pairs.is_empty() {
        out.push_str("<p class=\"empty\">No IKE messages yet.</p>\n");
    }
    let mut number = 0;
    for (peers, records) in pairs {
        pair(&mut out, &peers, &records, &mut number);
    }
    let _ = write!(out, "</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n");
    out
}

/// Records of each pair of peers, in order. A step belongs to the peers of its IKE SA, or else of its connection; one that belongs to
/// nobody stands with the messages before it.
fn by_peers(records: &[TraceRecord]) -> Vec<(Peers, Vec<&TraceRecord>)> {
    let mut of_sa: HashMap<u64, Peers> = HashMap::new();
    let mut of_connection: HashMap<&str, Peers> = HashMap::new();
    for record in records {
        if let Some(Record::Message(message)) = &record.record {
            of_sa.entry(record.initiator_spi).or_insert_with(|| peers(message));
            of_connection.entry(&record.connection).or_insert_with(|| peers(message));
        }
    }
    let mut pairs: Vec<(Peers, Vec<&TraceRecord>)> = Vec::new();
    let mut last: Option<Peers> = None;
    for record in records {
        let own = match &record.record {
            Some(Record::Message(message)) => Some(peers(message)),
            Some(Record::Step(_)) => {
                of_sa.get(&record.initiator_spi).or_else(|| of_connection.get(record.connection.as_str())).cloned().or_else(|| last.clone())
            }
            None => None,
        };
        let Some(own) = own else { continue };
        match pairs.iter_mut().find(|(peers, _)| *peers == own) {
            Some((_, records)) => records.push(record),
            None => pairs.push((own.clone(), vec![record])),
        }
        last = Some(own);
    }
    pairs
}

fn pair(out: &mut String, (local, remote): &Peers, records: &[&TraceRecord], number: &mut usize) {
    let (local, remote) = (Text(local), Text(remote));
    let _ = write!(
        out,
        "<section class=\"pair\" aria-label=\"{local} and {remote}\">\n<div class=\"heads\"><div class=\"head\"><b>{local}</b>\
         <span>this gateway</span></div><div class=\"head\"><b>{remote}</b><span>peer</span></div></div>\n<ol class=\"flow\">\n"
    );
    let mut phase = "";
    for record in records {
        match &record.record {
            Some(Record::Message(message)) => {
                let (class, exchange) = exchange(&message.title);
                if exchange != phase {
                    let _ = writeln!(out, "<li class=\"phase {class}\"><span>{}</span></li>", Text(exchange));
                    phase = exchange;
                }
                *number += 1;
                arrow(out, record, message, class, *number);
            }
            Some(Record::Step(step)) => step_box(out, step),
            None => {}
        }
    }
    out.push_str("</ol>\n</section>\n");
}

/// The class and the name of the exchange a title begins with.
fn exchange(title: &str) -> (&'static str, &str) {
    let name = title.split(' ').next().unwrap_or_default();
    let class = match name {
        "IKE_SA_INIT" => "init",
        "IKE_AUTH" => "auth",
        "CREATE_CHILD_SA" => "child",
        "INFORMATIONAL" => "info",
        _ => "other",
    };
    (class, name)
}

fn step_box(out: &mut String, step: &Step) {
    let _ = write!(out, "<li class=\"step\"><b>{}</b>", Text(&step.title));
    for line in &step.lines {
        let _ = write!(out, "<p>{}</p>", Text(line));
    }
    out.push_str("</li>\n");
}

fn arrow(out: &mut String, record: &TraceRecord, message: &Message, class: &str, number: usize) {
    let direction = if message.outbound { "out" } else { "in" };
    let (again, said) = if message.retransmission { (" again", " (again)") } else { ("", "") };
    let to = if message.outbound { "to the peer" } else { "from the peer" };
    let _ = write!(
        out,
        "<li class=\"msg {direction} {class}{again}\" id=\"m{number}\"><details><summary aria-label=\"{title} {to}{said}\">\
         <span class=\"top\"><span class=\"title\">{title}{said}</span><span class=\"when\">{time} · {octets} octets</span></span>\
         <span class=\"arrow\"></span><span class=\"names\">",
        title = Text(&message.title),
        time = clock(record.time_ms),
        octets = message.octets,
    );
    names(out, &message.payloads);
    out.push_str("</span></summary>\n<div class=\"fields\">\n");
    let connection = if record.connection.is_empty() { String::new() } else { format!(", connection {}", record.connection) };
    let _ = write!(
        out,
        "<details class=\"part\" open><summary><code>HDR</code><small>IKE header, {} to {}{}</small></summary>",
        Text(sender(message).0),
        Text(sender(message).1),
        Text(&connection)
    );
    definitions(out, &message.header);
    out.push_str("</details>\n");
    for payload in &message.payloads {
        let (inside, sealed) = if payload.encrypted { (" inside", ", encrypted") } else { ("", "") };
        let _ = write!(
            out,
            "<details class=\"part{inside}\" open><summary><code>{}</code><small>{}{sealed}</small></summary>",
            Text(&payload.name),
            meaning(&payload.name)
        );
        definitions(out, &payload.fields);
        out.push_str("</details>\n");
    }
    out.push_str("</div></details></li>\n");
}

/// From whom to whom.
fn sender(message: &Message) -> (&str, &str) {
    if message.outbound { (&message.local, &message.remote) } else { (&message.remote, &message.local) }
}

/// `HDR`, the payloads in the clear, and those inside SK in a frame of their own.
fn names(out: &mut String, payloads: &[Payload]) {
    out.push_str("<code>HDR</code>");
    for payload in payloads.iter().filter(|payload| !payload.encrypted && !is_seal(payload)) {
        let _ = write!(out, "<code>{}</code>", Text(&payload.name));
    }
    if payloads.iter().any(|payload| payload.encrypted || is_seal(payload)) {
        let seal = payloads.iter().find(|payload| is_seal(payload)).map_or("SK", |payload| payload.name.as_str());
        let _ = write!(out, "<span class=\"sealed\"><i>{}</i>", Text(seal));
        for payload in payloads.iter().filter(|payload| payload.encrypted) {
            let _ = write!(out, "<code>{}</code>", Text(&payload.name));
        }
        out.push_str("</span>");
    }
}

fn definitions(out: &mut String, fields: &[Field]) {
    if fields.is_empty() {
        return;
    }
    out.push_str("<dl>");
    for field in fields {
        let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", Text(&field.name), Text(&field.value));
        definitions(out, &field.fields);
    }
    out.push_str("</dl>");
}

/// What the short names of payloads stand for (RFC 7296 section 3.2).
fn meaning(name: &str) -> &'static str {
    match name {
        "SA" => "Security Association",
        "KE" => "Key Exchange",
        "IDi" => "Identification - Initiator",
        "IDr" => "Identification - Responder",
        "CERT" => "Certificate",
        "CERTREQ" => "Certificate Request",
        "AUTH" => "Authentication",
        "No" => "Nonce",
        "D" => "Delete",
        "V" => "Vendor ID",
        "TSi" => "Traffic Selector - Initiator",
        "TSr" => "Traffic Selector - Responder",
        "SK" => "Encrypted and Authenticated",
        "CP" => "Configuration",
        "EAP" => "Extensible Authentication",
        name if name.starts_with("N(") => "Notify",
        name if name.starts_with("SKF(") => "Encrypted and Authenticated Fragment",
        _ => "payload",
    }
}

/// Text of any origin, harmless between tags and inside quoted attributes.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            // No character that a browser would read as markup, or hide.
            c if c.is_control() => f.write_char('\u{fffd}'),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests;
