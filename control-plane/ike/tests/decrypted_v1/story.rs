//! A story of two endpoints that speak IKEv1, told by octets: which of their states is reached, and what arrives then. The fuzz target `decrypted_v1`
//! tells them, too.
//!
//! Cryptography is taken out: see `pair/clear.rs`. Nothing is encrypted and every hash is the same, so that a message is authentic by beginning with that.

#[path = "../pair/mod.rs"]
pub(crate) mod pair;

use std::net::SocketAddr;
use std::time::Duration;

use ike::config::{Config, StartAction, Version};
use ike::io::{Command, Datagram, Dataplane, Input};
use ike_wire::v1::{ExchangeType, Flags, Header, Message, PayloadType};
use ipsec_types::ChildSaId;
use pair::Side::{A, B};
use pair::clear::{self, BLOCK, HASH};
use pair::users::{ask_for_user, give_address};
use pair::{Network, Pair, Side, config, esp, lab, net, second_child};

/// Steps of a story at most: each may take a while of virtual time.
const MOST_STEPS: usize = 24;

/// Stands in bodies for the cookies of what was last said.
pub(crate) const COOKIES: [u8; 16] = *b"COOKIESOFPHASE-1";

/// What comes first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Main,
    Aggressive,
    /// Main mode, then A's user and its address.
    User,
}

/// Plays the story that `octets` tell each way, and at last in main mode, as it is given back.
pub(crate) fn play(octets: &[u8]) -> Pair {
    drop(play_in(Way::Aggressive, octets));
    drop(play_in(Way::User, octets));
    play_in(Way::Main, octets)
}

/// Nothing in it may panic, keep the endpoints from coming to rest, or lead to more than a few SAs.
fn play_in(way: Way, octets: &[u8]) -> Pair {
    let [a, b] = [A, B].map(|side| {
        let mut config = v1_config(side);
        let connection = &mut config.connections[0];
        connection.aggressive = way == Way::Aggressive;
        if way == Way::User {
            ask_for_user(connection, side);
            // Told by the same octets, some stories ask for the address and some wait for it.
            give_address(connection, side, octets.len().is_multiple_of(2));
        }
        config
    });
    let pair = Pair::with(clear::provider_v1(), Network::GOOD, 1, a, b);
    let mut story = Story { pair, octets };
    for _ in 0..MOST_STEPS {
        if story.step().is_none() {
            break;
        }
    }
    // Longer than anything is repeated.
    story.pair.run(Duration::from_secs(200));
    for side in [A, B] {
        assert!(story.pair.ike_sas(side).len() <= 2 * MOST_STEPS && story.pair.installed(side) <= 4 * MOST_STEPS);
    }
    story.pair
}

/// One child without perfect forward secrecy, one with; a peer that is silent is asked whether it lives.
fn v1_config(side: Side) -> Config {
    let mut config = config(side);
    let connection = &mut config.connections[0];
    connection.version = Version::V1;
    connection.proposals = vec!["aes128-sha256-modp2048".parse().unwrap()];
    connection.dpd_delay = Some(Duration::from_secs(60));
    connection.children[0].proposals = vec![esp("aes128-sha256"), esp("aes128gmac-modp2048")];
    let mut more = second_child(side, "more");
    more.start_action = StartAction::Trap;
    more.proposals = vec![esp("aes256gcm16-modp2048"), esp("aes128-sha1")];
    connection.children.push(more);
    config
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
        match what % 14 {
            0 => self.pair.acquire(side, u64::from(detail)),
            1 => drop(self.pair.initiate_child(side, if detail & 1 == 0 { "net" } else { "more" })),
            2 => drop(self.pair.terminate(side, if detail & 1 == 0 { lab() } else { net() })),
            3 => drop(self.pair.step()),
            4 => self.pair.run(Duration::from_millis(100 << (detail % 12))),
            5 => self.pair.input(side, Input::Dataplane(Dataplane::SoftExpire(child))),
            6 => self.pair.input(side, Input::Dataplane(Dataplane::HardExpire(child))),
            7 if detail & 0x40 != 0 => self.reconfigure(),
            7 => self.pair.deaf = [None, Some(A), Some(B), None][usize::from(detail & 3)],
            8 => drop(self.pair.rekey(side, if detail & 1 == 0 { lab() } else { net() })),
            9 => {
                let payload = self.body(detail);
                self.arrive(side, payload);
            }
            10 => self.again(side, detail)?,
            11 => self.fragment(side, detail)?,
            _ => self.protected(side, detail)?,
        }
        Some(())
    }

    /// From now on phase 1 is in aggressive mode.
    fn reconfigure(&mut self) {
        for side in [A, B] {
            let mut config = v1_config(side);
            config.connections[0].aggressive = true;
            self.pair.input(side, Input::Command(Command::Configure(Box::new(config))));
        }
    }

    /// A message of the other side, with the hash that makes it authentic, or nearly so.
    fn protected(&mut self, side: Side, detail: u8) -> Option<()> {
        let [exchange, first, identifier] = self.take()?;
        let header = self.header(detail, exchange, identifier)?;
        let mut body = Vec::new();
        if detail & 0x20 == 0 {
            // The HASH payload of the right length, and what follows it.
            body.extend([first, 0, 0, 4 + u8::try_from(HASH.len()).ok()?]);
            body.extend(HASH);
        }
        let payload = if body.is_empty() { PayloadType(first) } else { PayloadType::HASH };
        body.extend(self.body(detail));
        let cookies = [header.initiator_cookie, header.responder_cookie].map(u64::to_be_bytes).concat();
        while let Some(at) = body.windows(COOKIES.len()).position(|part| part == COOKIES) {
            body.get_mut(at..at + COOKIES.len())?.copy_from_slice(&cookies);
        }
        if detail & 0x10 == 0 {
            body.resize(body.len().next_multiple_of(BLOCK), 0);
        }
        let message = Message { header, first: payload, body: &body }.emit().ok()?;
        self.arrive(side, message);
        Some(())
    }

    /// One of the messages that were sent, to whomever, with a few octets changed.
    fn again(&mut self, side: Side, detail: u8) -> Option<()> {
        let [back, identifier] = self.take()?;
        let sent = self.pair.sent.iter().rev().nth(usize::from(back & 0x1f))?;
        let mut payload = sent.datagram.payload.clone();
        let cookies = self.cookies();
        match detail >> 4 & 3 {
            0 => {}
            // As if the peer had chosen the cookie of this side for its own.
            1 => payload.get_mut(..8)?.copy_from_slice(&cookies[1]),
            2 => payload.get_mut(8..16)?.copy_from_slice(&cookies[0]),
            _ => payload.get_mut(8..16)?.fill(0),
        }
        if detail & 0x40 != 0 {
            let id = self.message_id(identifier)?.to_be_bytes();
            payload.get_mut(20..24)?.copy_from_slice(&id);
        }
        for _ in 0..detail & 7 {
            let [at, octet] = self.take()?;
            let at = if detail & 8 == 0 { usize::from(at) } else { usize::from(at) * 2 };
            if let Some(place) = payload.get_mut(at) {
                *place = octet;
            }
        }
        self.arrive(side, payload);
        Some(())
    }

    /// A fragment of one of them, or of what was none.
    fn fragment(&mut self, side: Side, detail: u8) -> Option<()> {
        let [back, number] = self.take()?;
        let whole = &self.pair.sent.iter().rev().nth(usize::from(back & 0x1f))?.datagram.payload;
        let parts = whole.chunks(64 << (detail & 3));
        let last = (usize::from(number) == parts.len()) ^ (detail & 0x40 != 0);
        let data = parts.clone().nth(usize::from(number.saturating_sub(1)))?;
        // The generic header, the id, the number, whether it is the last.
        let length = u16::try_from(8 + data.len()).ok()?.to_be_bytes();
        let mut body = vec![0, 0, length[0], length[1], 0, detail >> 4 & 1, number, last.into()];
        body.extend(data);
        let [initiator_cookie, responder_cookie] = self.cookies().map(u64::from_be_bytes);
        let header = Header::new(initiator_cookie, responder_cookie, ExchangeType::MAIN_MODE, Flags::default(), 0);
        let message = Message { header, first: PayloadType::FRAGMENT, body: &body }.emit().ok()?;
        self.arrive(side, message);
        Some(())
    }

    /// Those of the last message that has both.
    fn cookies(&self) -> [[u8; 8]; 2] {
        let headers = self.pair.sent.iter().rev().filter_map(|sent| Message::parse(&sent.datagram.payload).ok());
        let both = headers.map(|message| message.header).find(|header| header.responder_cookie != 0);
        both.map_or([0, 0], |header| [header.initiator_cookie, header.responder_cookie]).map(u64::to_be_bytes)
    }

    fn header(&self, detail: u8, exchange: u8, identifier: u8) -> Option<Header> {
        // The cookies of what was last said.
        let last = self.pair.sent.iter().rev().find_map(|sent| Message::parse(&sent.datagram.payload).ok())?.header;
        let exchange = match exchange % 8 {
            0 => ExchangeType::MAIN_MODE,
            1 => ExchangeType::AGGRESSIVE_MODE,
            2 => ExchangeType::TRANSACTION,
            3 | 4 => ExchangeType::INFORMATIONAL,
            5 | 6 => ExchangeType::QUICK_MODE,
            _ => ExchangeType(exchange),
        };
        let flags = Flags { encryption: detail & 0x40 == 0, commit: identifier & 0x40 != 0, ..Flags::default() };
        let message_id = self.message_id(identifier)?;
        Some(Header::new(last.initiator_cookie, last.responder_cookie, exchange, flags, message_id))
    }

    /// One that was used before, the latest first, or a small number.
    fn message_id(&self, identifier: u8) -> Option<u32> {
        if identifier & 0x80 == 0 {
            return Some(u32::from(identifier & 0x3f));
        }
        let sent = self.pair.sent.iter().rev().nth(usize::from(identifier & 0x1f))?;
        Some(Message::parse(&sent.datagram.payload).ok()?.header.message_id)
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
        let [local, remote] = [side, side.other()].map(|side| SocketAddr::new(side.address(), 500));
        self.pair.input(side, Input::Datagram(Datagram { local, remote, payload }));
    }
}
