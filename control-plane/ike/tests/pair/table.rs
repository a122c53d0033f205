//! A state machine as a table: every state, every message, what is sent and what is left afterwards.

use std::fmt::Write as _;

use super::{Pair, Side};

/// What the side under test is in the middle of.
pub type State = (&'static str, Side, fn() -> Pair);

/// The table of every kind of message in every manner in every state. `arrive` lets one arrive at a side, and says what that has sent.
pub fn table<K: Copy>(
    states: &[State],
    kinds: &[(&str, K)],
    manners: &[&str],
    arrive: impl Fn(&mut Pair, Side, K, &str) -> Vec<String>,
) -> String {
    let mut table = String::from("# state: SAs\n#   manner: messages -> what is sent; SAs afterwards, where they change\n");
    for (name, side, build) in states {
        let before = picture(&mut build(), *side);
        write!(table, "\n{name}: {before}\n").unwrap();
        for manner in manners {
            // Messages with the same outcome share a line, in the order of the first.
            let mut outcomes: Vec<(String, Vec<&str>)> = Vec::new();
            for (kind_name, kind) in kinds {
                let mut pair = build();
                let sent = arrive(&mut pair, *side, *kind, manner);
                let after = picture(&mut pair, *side);
                let change = if after == before { String::new() } else { format!("; {after}") };
                let answer = if sent.is_empty() { "nothing".to_owned() } else { sent.join(", ") };
                let outcome = format!("{answer}{change}");
                match outcomes.iter_mut().find(|(found, _)| *found == outcome) {
                    Some((_, kinds)) => kinds.push(kind_name),
                    None => outcomes.push((outcome, vec![kind_name])),
                }
            }
            for (outcome, named) in outcomes {
                let named = if named.len() == kinds.len() { "anything".to_owned() } else { named.join(" | ") };
                writeln!(table, "  {manner}: {named} -> {outcome}").unwrap();
            }
        }
    }
    table
}

/// The SAs of a side.
fn picture(pair: &mut Pair, side: Side) -> String {
    let mut sas = Vec::new();
    for sa in pair.ike_sas(side) {
        let children: Vec<String> = sa.children.iter().map(|child| format!("{:?}", child.state)).collect();
        sas.push(format!("{:?}[{}]", sa.state, children.join(" ")));
    }
    let text = if sas.is_empty() { "none".to_owned() } else { sas.join(" ") };
    format!("{text}, {} installed", pair.installed(side))
}

/// Holds a table against the one that is kept in a file, which is written anew where `UPDATE_SNAPSHOTS` is set.
pub fn is_kept(snapshot: &str, table: &str) {
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(snapshot, table).unwrap();
    }
    let kept = std::fs::read_to_string(snapshot).unwrap();
    for (line, (now, kept)) in table.lines().zip(kept.lines()).enumerate() {
        assert_eq!(now, kept, "{snapshot} line {}", line + 1);
    }
    assert_eq!(table.lines().count(), kept.lines().count());
}
