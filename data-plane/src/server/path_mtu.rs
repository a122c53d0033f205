//! What the paths to peers let pass, learnt from ICMP errors (RFC 4301 section 8.2).
//!
//! An ICMP error from the unprotected side is not authenticated: whoever is on the path can send one, and RFC 4301 section 6.1.1 leaves it to policy
//! whether it is believed (`icmp.path_mtu`). It is believed as far as it does little harm:
//!
//! - It must quote an ESP or AH packet of ours: addresses, ports and SPI those of an outbound SA in use, the sequence number one of its last [`RECENT`], and
//!   longer than the MTU it speaks of. Who does not see our packets has to guess 32 bits of SPI and the sequence number.
//! - It never raises an MTU, and lowers none below what every path carries ([`IPV4_MIN`], [`IPV6_MIN`]).
//! - It is forgotten after [`AGE_MS`], when longer packets try the path again (RFC 1191 section 6.3, RFC 8201 section 4).
//!
//! Errors that come out of an SA are authentic, and are about packets of hosts, to whom they are forwarded like any other packet (section 6.2).

use std::collections::HashMap;
use std::net::IpAddr;

use esp::Tunnel;

use crate::command::{Command, WorkerId};
use crate::server::core::Core;
use crate::server::sad::Entry;
use crate::slow_path::Sent;
use crate::table::SaSlot;

/// How long an MTU is believed.
pub(super) const AGE_MS: u64 = 600_000;
/// The smallest that is believed of IPv4: what every host takes in one piece (RFC 791), and more than the 68 octets that an attacker would ask for.
pub(super) const IPV4_MIN: u16 = 576;
/// The smallest that is believed of IPv6 (RFC 8201 section 4).
pub(super) const IPV6_MIN: u16 = 1280;
/// Sequence numbers back from the last that count as recent: a second of a fast link.
const RECENT: u32 = 1 << 20;
/// Errors are looked at this far apart: each costs a search through the SAs.
const INTERVAL_MS: u64 = 10;

/// What is known, by our address and the peer's: so it is bounded by the SAs there have been of late.
#[derive(Debug, Default)]
pub(super) struct PathMtus {
    paths: HashMap<(IpAddr, IpAddr), Known>,
    next_look_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    mtu: u16,
    until_ms: u64,
}

impl PathMtus {
    /// What is known of the path that a tunnel takes.
    pub(super) fn of(&self, tunnel: &Tunnel) -> Option<u16> {
        self.paths.get(&path(tunnel)).map(|known| known.mtu)
    }
}

const fn path(tunnel: &Tunnel) -> (IpAddr, IpAddr) {
    (tunnel.ends.source(), tunnel.ends.destination())
}

impl Core {
    /// A router says that a packet of ours did not fit.
    pub(super) fn on_path_mtu(&mut self, sent: &Sent, mtu: u16) {
        if !self.learn_path_mtu || self.now_ms < self.path_mtus.next_look_ms {
            self.counters.path_mtu_ignored += 1;
            return;
        }
        self.path_mtus.next_look_ms = self.now_ms.saturating_add(INTERVAL_MS);
        let least = if sent.destination.is_ipv4() { IPV4_MIN } else { IPV6_MIN };
        let plausible = mtu > 0 && sent.len > mtu.into() && self.sad.entries().any(|entry| entry.has_sent(sent));
        let mtu = mtu.max(least);
        let path = (sent.source, sent.destination);
        if !plausible || self.path_mtus.paths.get(&path).is_some_and(|known| known.mtu <= mtu) {
            self.counters.path_mtu_ignored += 1;
            return;
        }
        self.counters.path_mtu_learnt += 1;
        tracing::info!(local = %path.0, remote = %path.1, mtu, "path MTU learnt");
        self.path_mtus.paths.insert(path, Known { mtu, until_ms: self.now_ms.saturating_add(AGE_MS) });
        self.tell_path_mtu(path, Some(mtu));
    }

    /// Forgets what is too old.
    pub(super) fn expire_path_mtus(&mut self) {
        let now_ms = self.now_ms;
        let expired: Vec<_> = self.path_mtus.paths.extract_if(|_, known| known.until_ms <= now_ms).map(|(path, _)| path).collect();
        for path in expired {
            tracing::debug!(local = %path.0, remote = %path.1, "path MTU forgotten");
            self.tell_path_mtu(path, None);
        }
    }

    /// What is known of the path of an SA that is new, or leads elsewhere: the workers know nothing of it yet.
    pub(super) fn tell_path_mtu_of(&mut self, slot: SaSlot, tunnel: &Tunnel) {
        if let Some(mtu) = self.path_mtus.of(tunnel) {
            let _told = self.workers.broadcast(WorkerId(0), |_| Command::PathMtu { slot, mtu: Some(mtu) });
        }
    }

    fn tell_path_mtu(&mut self, to: (IpAddr, IpAddr), mtu: Option<u16>) {
        let slots: Vec<_> = self.sad.entries().filter(|entry| path(&entry.tunnel) == to).map(|entry| entry.sa.slot).collect();
        for slot in slots {
            let _told = self.workers.broadcast(WorkerId(0), |_| Command::PathMtu { slot, mtu });
        }
    }
}

impl Entry {
    /// Whether this SA has sent a packet of late that looks so.
    fn has_sent(&self, sent: &Sent) -> bool {
        let outbound = &self.sa.outbound;
        let leads_there = path(&self.tunnel) == (sent.source, sent.destination) && self.tunnel.udp == sent.udp;
        leads_there && outbound.spi().value() == sent.spi && is_recent(outbound.last_taken(), sent.sequence)
    }
}

/// Whether the number of which these are the low 32 bits was given out among the last [`RECENT`] ones.
#[expect(clippy::cast_possible_truncation, reason = "the high half of an extended number is not sent (RFC 4303 section 2.2.1)")]
fn is_recent(last: u64, sequence: u32) -> bool {
    let age = (last as u32).wrapping_sub(sequence);
    age < RECENT && u64::from(age) < last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_recent_if_it_was_given_out_not_long_ago() {
        assert!(is_recent(1, 1) && !is_recent(1, 2) && !is_recent(1, 0) && !is_recent(0, 0));
        let last = 5_u64 << 32;
        assert!(is_recent(last, 0) && is_recent(last, u32::MAX) && !is_recent(last, 1));
        assert!(is_recent(last, 0_u32.wrapping_sub(RECENT - 1)) && !is_recent(last, 0_u32.wrapping_sub(RECENT)));
    }
}
