//! How messages are exchanged with a peer: repetitions, fragments, and extensions of IKEv2 that a connection may use.

use std::time::Duration;

use ike::config::{Childless, Fragmentation, Retransmission};

use super::section::Section;

/// `retransmit_timeout`, `retransmit_base` and `retransmit_tries`.
pub(super) fn retransmission(section: &mut Section<'_>) -> Retransmission {
    let defaults = Retransmission::default();
    let timeout = section.duration("retransmit_timeout");
    if let Some(timeout) = timeout.as_ref().filter(|timeout| timeout.value < MIN_RETRANSMIT_TIMEOUT) {
        section.fault_at(timeout, "this would flood the peer", "write at least \"100ms\"");
    }
    Retransmission {
        timeout: timeout.map_or(defaults.timeout, |found| found.value),
        base_percent: section.hundredths("retransmit_base", 100..=1000).map_or(defaults.base_percent, |found| found.value),
        tries: section.integer("retransmit_tries", 0..=100).map_or(defaults.tries, |found| found.value),
    }
}

const MIN_RETRANSMIT_TIMEOUT: Duration = Duration::from_millis(100);

/// `fragmentation` and `fragment_size`, which strongSwan has for the whole daemon.
pub(super) fn fragmentation(section: &mut Section<'_>) -> Fragmentation {
    /// With less, algorithms with long checksums leave little room for payloads.
    const LEAST: u32 = 256;
    // strongSwan's "force" differs from "yes" in IKEv1 alone.
    const WORDS: &[(&str, Wish)] = &[("yes", Wish::Yes), ("accept", Wish::Accept), ("no", Wish::No), ("force", Wish::Yes)];

    let Fragmentation::Yes { datagram: default } = Fragmentation::default() else { return Fragmentation::default() };
    let wish = section.choice("fragmentation", WORDS).map_or(Wish::Yes, |found| found.value);
    let size = section.integer("fragment_size", LEAST..=u16::MAX.into());
    if let Some(size) = size.as_ref().filter(|_| !matches!(wish, Wish::Yes)) {
        section.fault_at(size, "no fragments are sent, as fragmentation says", "leave it out, or write fragmentation = \"yes\"");
    }
    match wish {
        Wish::No => Fragmentation::No,
        Wish::Accept => Fragmentation::Accept,
        Wish::Yes => Fragmentation::Yes { datagram: size.and_then(|found| u16::try_from(found.value).ok()).unwrap_or(default) },
    }
}

/// `childless`.
pub(super) fn childless(section: &mut Section<'_>) -> Childless {
    const WORDS: &[(&str, Childless)] =
        &[("allow", Childless::Allow), ("prefer", Childless::Prefer), ("force", Childless::Force), ("never", Childless::Never)];
    section.choice("childless", WORDS).map_or_else(Childless::default, |found| found.value)
}

#[derive(Debug, Clone, Copy)]
enum Wish {
    No,
    Accept,
    Yes,
}
