//! Packets from the protected side or out of an SA that are dropped and whose senders are told why: the server gets the beginning of each, and answers with
//! ICMP.
//!
//! A worker neither builds nor sends the answer. It looks whether one is due, takes a token, and copies.

use ipsec_types::Flow;
use packet::ip::Ip;
use packet::ipv4::PROTOCOL_ICMP;
use packet::ipv6::PROTOCOL_ICMPV6;

use super::cut::IPV6_MIN_MTU;
use super::outbound::{Outgoing, Source};
use super::{Context, egress, explain};
use crate::command::{Origin, PuntClass, Refusal};
use crate::stats::Tally;
use crate::table::sad::Sas;
use crate::verdict::Verdict;

/// Octets of a packet that an answer quotes at most: with the headers in front of them they fill the smallest MTU of IPv6 (RFC 4443 section 2.4 c).
const QUOTED: usize = 1280 - 40 - 8;

/// How many ICMP errors a worker asks for: a token bucket (RFC 4443 section 2.4 f, RFC 1812 section 4.3.2.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpErrorLimits {
    /// Errors each second in the long run; zero: none at all.
    pub per_second: u32,
}

impl Default for IcmpErrorLimits {
    fn default() -> Self {
        Self { per_second: 100 }
    }
}

/// A token is worth so much: a bucket is filled in steps of a millisecond.
const TOKEN: u64 = 1000;

/// The bucket. It holds what a second brings.
#[derive(Debug)]
pub(super) struct Refusals {
    per_second: u64,
    level: u64,
    filled_ms: u64,
}

impl Refusals {
    pub(super) fn new(limits: IcmpErrorLimits) -> Self {
        let per_second = u64::from(limits.per_second);
        Self { per_second, level: per_second * TOKEN, filled_ms: 0 }
    }

    /// Has the sender of a packet told that it was dropped, where the reason is one that it can do something about. The packet is as it came.
    #[cold]
    pub(super) fn report(&mut self, cx: Context<'_>, sas: Sas<'_>, packet: &Outgoing, bytes: &[u8], verdict: Verdict) {
        self.punt(cx, packet, bytes, verdict, || {
            refusal(cx, sas, packet, verdict).map(|refusal| Origin::Refused { sender: packet.flow.source, refusal })
        });
    }

    /// The same for a packet that came out of an SA, and does not go on to its receiver behind a protected port.
    #[cold]
    pub(super) fn report_inside(&mut self, cx: Context<'_>, packet: &Outgoing, bytes: &[u8], verdict: Verdict) {
        let Flow { source: sender, destination: receiver, .. } = packet.flow;
        self.punt(cx, packet, bytes, verdict, || {
            let refusal = match verdict {
                Verdict::TtlExceeded => Refusal::HopLimitExceeded,
                _ => too_big(egress::route(cx, receiver).ok()?.mtu),
            };
            Some(Origin::RefusedInside { sender, receiver, refusal })
        });
    }

    fn punt(&mut self, cx: Context<'_>, packet: &Outgoing, bytes: &[u8], verdict: Verdict, origin: impl FnOnce() -> Option<Origin>) {
        let told = matches!(verdict, Verdict::TtlExceeded | Verdict::FragmentationNeeded) && packet.source == Source::Forwarded;
        if !told || !Ip::parse(bytes).is_ok_and(|ip| may_be_answered(&ip)) {
            return;
        }
        // Before the tables are asked once more: a flood does not pay for that.
        let origin = if self.take(cx.now_ms) { origin() } else { None };
        let quoted = bytes.get(..packet.len.min(QUOTED)).unwrap_or(bytes);
        if !origin.is_some_and(|origin| cx.end.punt(PuntClass::Refused, origin, quoted)) {
            cx.stats().add(Tally::IcmpErrorsLimited, 1);
        }
    }

    fn take(&mut self, now_ms: u64) -> bool {
        let fill = now_ms.saturating_sub(self.filled_ms).saturating_mul(self.per_second);
        self.level = self.level.saturating_add(fill).min(self.per_second * TOKEN);
        self.filled_ms = now_ms;
        let taken = self.level.checked_sub(TOKEN);
        self.level = taken.unwrap_or(self.level);
        taken.is_some()
    }
}

/// What its sender is told of a packet that ended in this verdict.
fn refusal(cx: Context<'_>, sas: Sas<'_>, packet: &Outgoing, verdict: Verdict) -> Option<Refusal> {
    match verdict {
        Verdict::TtlExceeded => Some(Refusal::HopLimitExceeded),
        Verdict::FragmentationNeeded => {
            let entry = cx.snapshot.spd.as_deref()?.outbound(&packet.flow, packet.dscp)?;
            let mtu = explain::way(cx, sas, entry, packet).1?.mtu;
            // Shorter ones of IPv6 cross all the same (RFC 2473 section 7.1).
            let mtu = if packet.flow.source.is_ipv6() { mtu.max(IPV6_MIN_MTU) } else { mtu };
            Some(too_big(mtu))
        }
        _ => None,
    }
}

fn too_big(mtu: usize) -> Refusal {
    Refusal::TooBig { mtu: u16::try_from(mtu).unwrap_or(u16::MAX) }
}

/// Whether an ICMP error may be sent about a packet: not about another error or a redirect, nor about an IPv4 fragment but the first (RFC 1122 section
/// 3.2.2, RFC 4443 section 2.4 e). Of later IPv6 fragments of ICMPv6 nobody knows what they are. That sender and receiver are single hosts was seen
/// when the packet came.
fn may_be_answered(ip: &Ip<'_>) -> bool {
    let (later, first) = match ip {
        Ip::V4(ip) => (ip.fragment_offset() != 0, ip.payload().first()),
        Ip::V6(ip) => (ip.fragment().is_some_and(|fragment| fragment.offset != 0), ip.upper().first()),
    };
    match (ip, ip.protocol()) {
        (Ip::V4(_), PROTOCOL_ICMP) => !later && first.is_some_and(|kind| !matches!(kind, 3 | 4 | 5 | 11 | 12)),
        (Ip::V4(_), _) => !later,
        (Ip::V6(_), PROTOCOL_ICMPV6) => !later && first.is_some_and(|kind| *kind >= 128 && *kind != 137),
        (Ip::V6(_), _) => true,
    }
}
