//! The Transaction exchange (draft-dukes-ike-mode-cfg-02 section 3.3), in which Mode Config and XAuth speak: a question or an order, and its answer.
//!
//! ```text
//! HDR*, HASH, ATTR  -->
//!                <--  HDR*, HASH, ATTR
//! ```
//!
//! HASH = prf(SKEYID_a, M-ID | ATTR). Each has a Message ID, and with it a chain of blocks, of its own; XAuth says all of its messages in one.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use ike_wire::ConfigurationType;
use ike_wire::v1::{Attributes, ExchangeType, Message, Payload, TransactionAttribute};
use ipsec_types::Instant;

use crate::context::Context;
use crate::error::Failure;
use crate::io::Datagram;
use crate::v1::exchange::{Due, Exchange};
use crate::v1::keys::{Iv, Keys};
use crate::v1::{Core, quick, trace_incoming};

/// The transactions under an IKE SA.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    /// The one that was begun here and is not over.
    own: Option<Transaction>,
    /// The last of the peer's, each of which it may go on with, or repeat.
    theirs: VecDeque<Transaction>,
}

/// One of them.
#[derive(Debug)]
struct Transaction {
    message_id: u32,
    iv: Iv,
    exchange: Exchange,
}

/// What the peer says.
pub(crate) enum Heard {
    /// The answer to ours, which is over unless we go on with it.
    Answer(Attributes),
    /// Something to be answered, in the transaction of this Message ID.
    Asked(u32, Attributes),
}

/// Transactions of a peer at a time.
const MOST: usize = 4;

impl Transaction {
    fn new(message_id: u32, keys: &Keys, last: &Iv) -> Self {
        Self { message_id, iv: keys.phase_2_iv(last, message_id), exchange: Exchange::default() }
    }

    /// Sends a message of it; gives back its octets.
    fn say(&mut self, core: &mut Core, cx: &mut Context<'_>, keys: &Keys, attributes: Attributes) -> Result<Vec<u8>, Failure> {
        let message_id = self.message_id;
        let header = core.header(ExchangeType::TRANSACTION, message_id, true);
        let hash = |rest: &[u8]| keys.hash_1(message_id, rest).expose().to_vec();
        core.send_encrypted(cx, keys, &mut self.iv, &header, alloc::vec![Payload::Attributes(attributes)], Some(&hash))
    }

    /// Opens the peer's next message of it.
    fn open(
        &mut self,
        core: &mut Core,
        cx: &mut Context<'_>,
        keys: &Keys,
        datagram: &Datagram,
        message: &Message<'_>,
    ) -> Option<Attributes> {
        let opened = quick::open(keys, &self.iv, message, |rest| keys.hash_1(self.message_id, rest));
        let Some((mut payloads, next)) = opened else {
            cx.shared.count("messages_unauthentic");
            return None;
        };
        trace_incoming(cx, core, datagram, &message.header, &payloads);
        core.last_inbound = cx.now;
        self.exchange.received(&datagram.payload);
        self.iv = next;
        let position = payloads.iter().position(|payload| matches!(payload, Payload::Attributes(_)))?;
        match payloads.swap_remove(position) {
            Payload::Attributes(attributes) => Some(attributes),
            _ => None,
        }
    }
}

impl Transactions {
    /// Begins one.
    pub(crate) fn begin(
        &mut self,
        core: &mut Core,
        cx: &mut Context<'_>,
        (keys, last): (&Keys, &Iv),
        kind: ConfigurationType,
        attributes: Vec<TransactionAttribute>,
    ) -> Result<(), Failure> {
        self.own = Some(Transaction::new(core.next_message_id(), keys, last));
        self.go_on(core, cx, keys, kind, attributes)
    }

    /// Says something more in ours, whose answer has come.
    pub(crate) fn go_on(
        &mut self,
        core: &mut Core,
        cx: &mut Context<'_>,
        keys: &Keys,
        kind: ConfigurationType,
        attributes: Vec<TransactionAttribute>,
    ) -> Result<(), Failure> {
        let Some(own) = &mut self.own else { return Err(Failure::Local("no transaction is under way".into())) };
        let identifier = cx.octets(2).iter().fold(0_u16, |number, octet| number << 8 | u16::from(*octet));
        let sent = own.say(core, cx, keys, Attributes { kind, identifier, attributes })?;
        own.exchange.asked(cx.now, &core.connection.retransmission, sent);
        Ok(())
    }

    /// Ours is over.
    pub(crate) fn end(&mut self) {
        self.own = None;
    }

    /// Answers the peer's.
    pub(crate) fn answer(
        &mut self,
        core: &mut Core,
        cx: &mut Context<'_>,
        keys: &Keys,
        (message_id, asked): (u32, &Attributes),
        attributes: Vec<TransactionAttribute>,
    ) -> Result<(), Failure> {
        let Some(theirs) = self.theirs.iter_mut().find(|transaction| transaction.message_id == message_id) else { return Ok(()) };
        let kind = if asked.kind == ConfigurationType::SET { ConfigurationType::ACK } else { ConfigurationType::REPLY };
        let sent = theirs.say(core, cx, keys, Attributes { kind, identifier: asked.identifier, attributes })?;
        theirs.exchange.answered(sent);
        Ok(())
    }

    /// Whether a message may belong to one of them.
    pub(crate) fn has(&self, message_id: u32) -> bool {
        self.own.iter().chain(&self.theirs).any(|transaction| transaction.message_id == message_id)
    }

    /// A message of one of them, or of a new one of the peer's: whoever calls has looked whether its Message ID is used up. What has come before is
    /// answered as before.
    pub(crate) fn receive(
        &mut self,
        core: &mut Core,
        cx: &mut Context<'_>,
        (keys, last): (&Keys, &Iv),
        datagram: &Datagram,
        message: &Message<'_>,
    ) -> Option<Heard> {
        let message_id = message.header.message_id;
        if let Some(own) = self.own.as_mut().filter(|own| own.message_id == message_id) {
            if own.exchange.is_last(&datagram.payload) {
                cx.shared.count("messages_ignored");
                return None;
            }
            let answer = own.open(core, cx, keys, datagram, message)?;
            return matches!(answer.kind, ConfigurationType::REPLY | ConfigurationType::ACK).then_some(Heard::Answer(answer));
        }
        let known = self.theirs.iter_mut().find(|transaction| transaction.message_id == message_id);
        let asked = match known {
            Some(theirs) => {
                if let Some(again) = theirs.exchange.repeated(&datagram.payload).map(<[u8]>::to_vec) {
                    cx.shared.count("responses_retransmitted");
                    core.repeat(cx, again);
                    return None;
                }
                theirs.open(core, cx, keys, datagram, message)?
            }
            None => {
                let mut theirs = Transaction::new(message_id, keys, last);
                let asked = theirs.open(core, cx, keys, datagram, message)?;
                if self.theirs.len() >= MOST {
                    self.theirs.pop_front();
                }
                self.theirs.push_back(theirs);
                asked
            }
        };
        matches!(asked.kind, ConfigurationType::REQUEST | ConfigurationType::SET).then_some(Heard::Asked(message_id, asked))
    }

    /// When the clock is next needed.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.own.as_ref().and_then(|own| own.exchange.deadline())
    }

    /// Repeats what has no answer.
    ///
    /// # Errors
    /// That the peer does not answer.
    pub(crate) fn on_timeout(&mut self, core: &mut Core, cx: &mut Context<'_>) -> Result<(), Failure> {
        let timing = core.connection.retransmission;
        let Some(own) = &mut self.own else { return Ok(()) };
        match own.exchange.due(cx.now, &timing) {
            Due::Nothing => {}
            Due::Repeat(datagram) => {
                cx.shared.count("requests_retransmitted");
                core.repeat(cx, datagram);
            }
            Due::GiveUp => return Err(core.timed_out(cx, "Transaction", &own.exchange)),
        }
        Ok(())
    }

    /// The clock stood still for `pause`.
    pub(crate) fn shift(&mut self, pause: core::time::Duration) {
        if let Some(own) = &mut self.own {
            own.exchange.shift(pause);
        }
    }
}
