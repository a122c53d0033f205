//! A story of two endpoints, told by octets: which of their states is reached, and what arrives then. The fuzz target `decrypted` tells them, too.
//!
//! Cryptography is taken out: see `pair/clear.rs`. The ICV is empty and therefore always fits.

#[path = "../pair/mod.rs"]
mod pair;

use std::net::SocketAddr;
use std::time::Duration;

use ike::io::{Datagram, Dataplane, Input};
use ike_wire::{Encrypted, ExchangeType, Flags, Fragment, FragmentNumber, Header, PayloadType, Version};
use ipsec_types::ChildSaId;
use pair::Side::{A, B};
use pair::clear::{self, Clear};
use pair::{Network, Pair, Side, config, lab, net};

/// Steps of a story at most: each may take a while of virtual time.
const MOST_STEPS: usize = 24;

/// Plays the story that `octets` tell. Nothing in it may panic, keep the endpoints from coming to rest, or lead to more than a few SAs.
pub(crate) fn play(octets: &[u8]) {
    let pair = Pair::with(clear::provider(&[&Clear(b"")]), Network::GOOD, 1, config(A), config(B));
    let mut story = Story { pair, octets };
    for _ in 0..MOST_STEPS {
        if story.step().is_none() {
            break;
        }
    }
    story.pair.run(Duration::from_secs(600));
    for side in [A, B] {
        assert!(story.pair.ike_sas(side).len() <= 2 * MOST_STEPS && story.pair.installed(side) <= 4 * MOST_STEPS);
    }
}

struct Story<'a> {
    pair: Pair,
    octets: &'a [u8],
}

impl Story<'_> {
    /// The next step; `None` at the end of the story.
    fn step(&mut self) -> Option<()> {
        let [what, detail] = self.take()?;
        let side = if detail & 0x80 == 0 { A } else { B };
        let child = ChildSaId(1 << 32 | u64::from(detail & 7));
        match what % 12 {
            0 => self.pair.acquire(side, u64::from(detail)),
            1 => drop(self.pair.initiate(side)),
            2 => drop(self.pair.terminate(side, if detail & 1 == 0 { lab() } else { net() })),
            3 => drop(self.pair.step()),
            4 => self.pair.run(Duration::from_millis(100 << (detail & 15))),
            5 => self.pair.input(side, Input::Dataplane(Dataplane::SoftExpire(child))),
            6 => self.pair.input(side, Input::Dataplane(Dataplane::HardExpire(child))),
            7 => self.pair.deaf = [None, Some(A), Some(B), None][usize::from(detail & 3)],
            8 => {
                let payload = self.body(detail);
                self.arrive(side, payload);
            }
            11 => self.fragment(side, detail)?,
            _ => self.protected(side, detail)?,
        }
        Some(())
    }

    /// A message of the other side, protected as it should be.
    fn protected(&mut self, side: Side, detail: u8) -> Option<()> {
        let [exchange, first, identifier] = self.take()?;
        let header = self.header(side, detail, exchange, identifier)?;
        let body = self.body(detail);
        let mut message = Encrypted::frame(&header, PayloadType(first), body.len() + 1).ok()?;
        message.extend_from_slice(&body);
        // Pad Length.
        message.push(0);
        self.arrive(side, message);
        Some(())
    }

    /// A fragment of one.
    fn fragment(&mut self, side: Side, detail: u8) -> Option<()> {
        let [exchange, first, identifier, number, total] = self.take()?;
        let header = self.header(side, detail, exchange, identifier)?;
        let number = FragmentNumber::new(number.into(), total.into())?;
        let body = self.body(detail);
        let mut message = Fragment::frame(&header, PayloadType(first), number, body.len() + 1).ok()?;
        message.extend_from_slice(&body);
        // Pad Length.
        message.push(0);
        self.arrive(side, message);
        Some(())
    }

    fn header(&self, side: Side, detail: u8, exchange: u8, identifier: u8) -> Option<Header> {
        // The SPIs of what was last said; what they mean to the receiver is its business.
        let last = self.pair.sent.iter().rev().find_map(|sent| Header::peek(&sent.datagram.payload).ok())?;
        let from_initiator = self.pair.sent.first().is_some_and(|sent| sent.from != side);
        Some(Header {
            initiator_spi: last.initiator_spi,
            responder_spi: last.responder_spi,
            version: Version::V2,
            exchange: ExchangeType(34 + exchange % 5),
            flags: Flags { initiator: from_initiator ^ (detail & 0x20 != 0), response: detail & 0x40 != 0, version: false },
            message_id: u32::from(identifier & 0x1f),
        })
    }

    /// Between 0 and 255 octets of the story.
    fn body(&mut self, detail: u8) -> Vec<u8> {
        let len = self.take().map_or(0, |[len]| usize::from(len)).min(self.octets.len());
        let (body, rest) = self.octets.split_at(len);
        self.octets = rest;
        // Some of what is in it is worth repeating.
        body.repeat(1 + usize::from(detail & 1))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.octets.split_first_chunk()?;
        self.octets = rest;
        Some(*taken)
    }

    fn arrive(&mut self, side: Side, payload: Vec<u8>) {
        let port = if self.pair.sent.len() > 2 { 4500 } else { 500 };
        let [local, remote] = [side, side.other()].map(|side| SocketAddr::new(side.address(), port));
        self.pair.input(side, Input::Datagram(Datagram { local, remote, payload }));
    }
}
