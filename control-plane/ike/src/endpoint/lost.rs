//! What comes for SAs that are not here, as after a restart: who sent it is told, so that it does not go on for long (RFC 7296 sections 1.5 and
//! 2.21.4, RFC 6290). Such messages are never protected, and bounded in number.

use alloc::vec::Vec;
use core::time::Duration;

use ike_wire::{Flags, Header, NotifyType, Version, rules};

use super::inbound::{answer_statelessly, send_statelessly};
use super::*;
use crate::v2::init::saying;
use crate::v2::nat::IKE_PORT;
use crate::v2::{Incoming, State, crash};

/// Who was told in the last while.
#[derive(Debug, Default)]
pub(super) struct Told {
    since: Option<Instant>,
    whom: BTreeSet<IpAddr>,
}

/// An address is told so often at most, and in that time so many are.
const PAUSE: Duration = Duration::from_secs(1);
const MOST: usize = 32;

impl Told {
    /// Whether an address may be told now, which counts.
    fn admits(&mut self, now: Instant, address: IpAddr) -> bool {
        if self.since.is_none_or(|since| now.since(since) >= PAUSE) {
            *self = Self { since: Some(now), whom: BTreeSet::new() };
        }
        self.whom.len() < MOST && self.whom.insert(address)
    }
}

impl Endpoint {
    /// A message of no IKE SA.
    pub(super) fn on_stray(&mut self, now: Instant, random: &mut dyn Random, incoming: &Incoming) {
        self.shared.count("messages_without_ike_sa");
        if let Some(spi) = crash::invalid_spi(incoming) {
            return self.on_invalid_spi(now, random, incoming.datagram.remote.ip(), spi);
        }
        let header = incoming.header();
        let Some(spis) = header.initiator().zip(header.responder()) else { return };
        // Whoever turns the Initiator flag around asks for the token of an IKE SA that is there: "A token maker MUST NOT send a valid QCD token
        // in an unprotected message for an existing IKE SA" (RFC 6290 section 9.2).
        let known = [spis.0, spis.1].iter().any(|spi| self.shared.by_spi.contains_key(spi));
        let protected = rules::check_protected(&header, &incoming.message.payloads).is_ok();
        let idle = self.closing || self.shared.attachment.is_none();
        if header.flags.response || known || !protected || idle || !self.told.admits(now, incoming.datagram.remote.ip()) {
            return;
        }
        self.shared.count("invalid_ike_spi_sent");
        let mut payloads = alloc::vec![saying(NotifyType::INVALID_IKE_SPI)];
        payloads.extend(crash::token(&self.shared, spis));
        let mut cx = Context { now, random, shared: &mut self.shared };
        answer_statelessly(&mut cx, &header, &incoming.datagram, payloads);
    }

    /// Somebody says that ESP has come to a peer who has no SA for it. Anybody can say so: the peer is asked.
    fn on_invalid_spi(&mut self, now: Instant, random: &mut dyn Random, remote: IpAddr, spi: u32) {
        let sends = |sa: &IkeSa| sa.core.remote.ip() == remote && sa.state.live_children().any(|child| child.outbound.value() == spi);
        let senders: Vec<IkeSaId> = self.sas.values().filter(|sa| sends(sa)).map(|sa| sa.core.id).collect();
        for id in senders {
            self.with(now, random, id, |sa, cx| sa.suspect(cx));
        }
    }

    /// ESP has come for which there is no SA. Under an IKE SA with the sender nothing is said: there SAs end in good order. Without one the
    /// sender learns that it must begin anew.
    pub(super) fn on_spi_miss(&mut self, now: Instant, random: &mut dyn Random, (local, remote): (IpAddr, IpAddr), spi: u32) {
        let connected = self.sas.values().any(|sa| matches!(sa.state, State::Established(_)) && sa.core.remote.ip() == remote);
        let connected = connected || self.v1.values().any(|sa| sa.is_established() && sa.core.remote.ip() == remote);
        if connected || self.closing || self.shared.attachment.is_none() || !self.told_of_spis.admits(now, remote) {
            return;
        }
        self.shared.count("invalid_spi_sent");
        let (local, remote) = (SocketAddr::new(local, IKE_PORT), SocketAddr::new(remote, IKE_PORT));
        let mut cx = Context { now, random, shared: &mut self.shared };
        // "There are no IKE SPI values that would be meaningful": random ones, as zero is no SPI.
        let initiator_spi = cx.ike_spi().value();
        let flags = Flags { initiator: true, ..Flags::default() };
        let exchange = ExchangeType::INFORMATIONAL;
        let header = Header { initiator_spi, responder_spi: 0, version: Version::V2, exchange, flags, message_id: 0 };
        send_statelessly(&mut cx, (local, remote), header, crash::invalid_spi_notification(spi));
    }
}
