//! A peer that has lost its state: Quick Crash Detection (RFC 6290), and the hints that nobody protects (RFC 7296 sections 1.5 and 2.21.4).
//!
//! ```text
//! HDR, SK {IDi, AUTH, N(QCD_TOKEN), ...}  -->
//!                                         <--  HDR, SK {IDr, AUTH, N(QCD_TOKEN), ...}
//!                                              (forgets everything)
//! HDR, SK {...}                           -->
//!                                         <--  HDR, N(INVALID_IKE_SPI), N(QCD_TOKEN)
//! (deletes the IKE SA)
//! ```

use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::time::Duration;

use ike_wire::{ExchangeType, Notify, NotifyType, Payload, Protocol};
use ipsec_types::{IkeSpi, Secret};

use crate::child::{Child, ChildPhase};
use crate::context::{Context, Shared};
use crate::diagnosis;
use crate::v2::init::says;
use crate::v2::{Core, Established, IkeSa, Incoming, State, Task};

/// Octets of a token (RFC 6290 section 5).
const LENGTHS: RangeInclusive<usize> = 16..=128;
/// "the token taker MUST support at least four QCD_TOKEN notifications in a single packet" (section 4.5).
const MOST_TOKENS: usize = 4;
/// Hints are forged easily: a peer is asked for a sign of life no more often.
const BETWEEN_SUSPICIONS: Duration = Duration::from_secs(10);

/// Our token for an IKE SA: the same after a restart, and only after a restart said to anybody. `prf(secret, SPIi | SPIr)`, where the RFC
/// has a hash with the secret in front. `None` where the configuration has no secret.
pub(crate) fn token(shared: &Shared, (initiator, responder): (IkeSpi, IkeSpi)) -> Option<Payload> {
    let secret = shared.config.crash_secret.as_ref()?;
    let spis = [initiator, responder].map(|spi| spi.value().to_be_bytes());
    let data = shared.provider.prfs.first()?.compute(secret.expose(), &[&spis[0], &spis[1]]).expose().to_vec();
    Some(Payload::Notify(Notify { protocol: Protocol::IKE, ..Notify::new(NotifyType::QUICK_CRASH_DETECTION, data) }))
}

/// The one for this IKE SA.
pub(crate) fn own_token(core: &Core, cx: &Context<'_>) -> Option<Payload> {
    token(cx.shared, (core.initiator_spi, core.responder_spi?))
}

/// The peer's, in a protected message.
pub(crate) fn peer_token(payloads: &[Payload]) -> Option<Secret> {
    tokens(payloads).next().map(Secret::copy_from)
}

fn tokens(payloads: &[Payload]) -> impl Iterator<Item = &[u8]> {
    let data = payloads.iter().filter_map(|payload| match payload {
        Payload::Notify(notify) if notify.kind == NotifyType::QUICK_CRASH_DETECTION => Some(notify.data.as_slice()),
        _ => None,
    });
    data.filter(|data| LENGTHS.contains(&data.len())).take(MOST_TOKENS)
}

/// What somebody says without protection about an IKE SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rumour {
    /// The peer has forgotten it: only the peer can know the token.
    Proven,
    /// The peer may have forgotten it.
    Hint,
}

/// Whether a message is one.
pub(crate) fn rumour(core: &Core, incoming: &Incoming) -> Option<Rumour> {
    let (header, payloads) = (incoming.header(), &incoming.message.payloads);
    let unprotected = payloads.iter().all(|payload| matches!(payload, Payload::Notify(_)));
    if !header.flags.response || header.exchange == ExchangeType::IKE_SA_INIT || !unprotected {
        return None;
    }
    // Through Secret for its comparison in constant time.
    let known = |token: &Secret| tokens(payloads).any(|said| Secret::copy_from(said) == *token);
    if core.peer_token.as_ref().is_some_and(known) {
        return Some(Rumour::Proven);
    }
    says(payloads, NotifyType::INVALID_IKE_SPI).then_some(Rumour::Hint)
}

impl IkeSa {
    /// What a rumour leads to.
    pub(crate) fn hears(&mut self, cx: &mut Context<'_>, rumour: Rumour) {
        match rumour {
            // "it MUST silently delete the IKE SA associated with the IKE_SPI fields and all dependent child SAs" (RFC 6290 section 3).
            Rumour::Proven => {
                cx.shared.count("peers_restarted");
                self.core.step(cx, "the peer has lost its state", alloc::vec!["it shows the token of this IKE SA (RFC 6290)".into()]);
                let failure = diagnosis::restarted(self.core.local, self.core.remote);
                self.close(cx, Some(failure));
            }
            Rumour::Hint => self.suspect(cx),
        }
    }

    /// The peer may be gone: a hint is no reason to believe it, but one to ask (RFC 7296 section 2.4).
    pub(crate) fn suspect(&mut self, cx: &mut Context<'_>) {
        let recently = self.core.suspected.is_some_and(|at| cx.now.since(at) < BETWEEN_SUSPICIONS);
        let asks = self.core.window.is_busy() || self.core.tasks.contains(&Task::Probe);
        if recently || asks || !matches!(self.state, State::Established(_)) {
            return;
        }
        self.core.suspected = Some(cx.now);
        self.core.tasks.push_back(Task::Probe);
        self.go_on(cx);
    }
}

/// How old an SA is before it is replaced because of INVALID_SPI: what was under way when it came may have met the one before.
const DOUBTED_FROM: Duration = Duration::from_secs(10);

/// The peer itself says that packets of ours met no SA (RFC 7296 section 1.5). The SA is replaced: a peer that has it after all loses nothing by
/// that, and one that has not answers CHILD_SA_NOT_FOUND, upon which another is made from scratch (section 2.25).
pub(crate) fn on_missing_sa(state: &Established, core: &mut Core, cx: &mut Context<'_>, payloads: &[Payload]) {
    let named = |child: &Child| {
        payloads.iter().any(|payload| match payload {
            Payload::Notify(notify) => notify.kind == NotifyType::INVALID_SPI && notify.data == child.outbound.value().to_be_bytes(),
            _ => false,
        })
    };
    let doubted = |child: &&Child| child.phase == ChildPhase::Installed && cx.now.since(child.since) >= DOUBTED_FROM && named(child);
    let doubted: Vec<&Child> = state.children.iter().filter(doubted).collect();
    for child in doubted {
        let task = Task::RekeyChild { child: child.id, request: None };
        if state.heir.is_none() && !state.makes_way && !core.tasks.contains(&task) {
            cx.shared.count("child_sas_missed");
            core.step(cx, "the peer has no SA for our packets", alloc::vec![alloc::format!("SPI {}, of {}", child.outbound, child.name)]);
            core.tasks.push_back(task);
        }
    }
}

/// What the notification of a packet without an SA says (RFC 7296 section 1.5): the SPI, in a message that nobody protects or answers.
pub(crate) fn invalid_spi(incoming: &Incoming) -> Option<u32> {
    let header = incoming.header();
    let [Payload::Notify(notify)] = &incoming.message.payloads[..] else { return None };
    let fits = header.exchange == ExchangeType::INFORMATIONAL && !header.flags.response && notify.kind == NotifyType::INVALID_SPI;
    let octets: [u8; 4] = notify.data.as_slice().try_into().ok().filter(|_| fits)?;
    Some(u32::from_be_bytes(octets))
}

/// `HDR, N(INVALID_SPI)`
pub(crate) fn invalid_spi_notification(spi: u32) -> Vec<Payload> {
    alloc::vec![Payload::Notify(Notify::new(NotifyType::INVALID_SPI, spi.to_be_bytes().to_vec()))]
}
