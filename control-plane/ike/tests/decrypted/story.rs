//! A story of two endpoints, told by octets: which of their states is reached, and what arrives then. The fuzz target `decrypted` tells them, too.
//!
//! Cryptography is taken out, so that a fuzzer reaches what stands behind it: the Encrypted payload is not encrypted and its ICV always fits, and
//! every key exchange agrees on the same secret.

#[path = "../pair/mod.rs"]
mod pair;

use std::net::SocketAddr;
use std::time::Duration;

use ike::Endpoint;
use ike::io::{Command, Datagram, Dataplane, Input, RequestId, Target};
use ike::provider::{CryptoError, IvKind, KeyExchange, PrivateKey, Provider, SkKey, SkSuite};
use ike_wire::{Encrypted, ExchangeType, Flags, Header, PayloadType, Version};
use ipsec_types::{ChildSaId, EncryptionAlgorithm, IntegrityAlgorithm, KeyExchangeMethod, Secret};
use pair::Side::{A, B};
use pair::{Pair, Side, config};

/// Steps of a story at most: each may take a while of virtual time.
const MOST_STEPS: usize = 24;

/// Plays the story that `octets` tell. Nothing in it may panic, keep the endpoints from coming to rest, or lead to more than a few SAs.
pub(crate) fn play(octets: &[u8]) {
    let mut story = Story { pair: transparent(), octets, requests: 0 };
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
    requests: u64,
}

impl Story<'_> {
    /// The next step; `None` at the end of the story.
    fn step(&mut self) -> Option<()> {
        let [what, detail] = self.take()?;
        let side = if detail & 0x80 == 0 { A } else { B };
        let child = ChildSaId(1 << 32 | u64::from(detail & 7));
        match what % 12 {
            0 => self.pair.acquire(side, u64::from(detail)),
            1 => self.initiate(side),
            2 => self.terminate(side, if detail & 1 == 0 { Target::Connection("lab".into()) } else { Target::Child("net".into()) }),
            3 => drop(self.pair.step()),
            4 => self.pair.run(Duration::from_millis(100 << (detail & 15))),
            5 => self.pair.input(side, Input::Dataplane(Dataplane::SoftExpire(child))),
            6 => self.pair.input(side, Input::Dataplane(Dataplane::HardExpire(child))),
            7 => self.pair.deaf = [None, Some(A), Some(B), None][usize::from(detail & 3)],
            8 => {
                let payload = self.body(detail);
                self.arrive(side, payload);
            }
            _ => self.protected(side, detail)?,
        }
        Some(())
    }

    /// A message of the other side, protected as it should be.
    fn protected(&mut self, side: Side, detail: u8) -> Option<()> {
        let [exchange, first, identifier] = self.take()?;
        let body = self.body(detail);
        // The SPIs of what was last said; what they mean to the receiver is its business.
        let last = self.pair.sent.iter().rev().find_map(|sent| Header::peek(&sent.datagram.payload).ok())?;
        let from_initiator = self.pair.sent.first().is_some_and(|sent| sent.from != side);
        let header = Header {
            initiator_spi: last.initiator_spi,
            responder_spi: last.responder_spi,
            version: Version::V2,
            exchange: ExchangeType(34 + exchange % 5),
            flags: Flags { initiator: from_initiator ^ (detail & 0x20 != 0), response: detail & 0x40 != 0, version: false },
            message_id: u32::from(identifier & 0x1f),
        };
        let text_len = (body.len() + 1).next_multiple_of(SkSuite::block_len(&Transparent));
        let mut message = Encrypted::frame(&header, PayloadType(first), text_len).ok()?;
        message.extend_from_slice(&body);
        let padding = text_len - body.len() - 1;
        message.resize(message.len() + padding, 0);
        message.push(u8::try_from(padding).ok()?);
        self.arrive(side, message);
        Some(())
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

    fn initiate(&mut self, side: Side) {
        self.requests += 1;
        let request = RequestId(1000 + self.requests);
        self.pair.input(side, Input::Command(Command::Initiate { request, child: "net".into() }));
    }

    fn terminate(&mut self, side: Side, target: Target) {
        self.requests += 1;
        let request = RequestId(1000 + self.requests);
        self.pair.input(side, Input::Command(Command::Terminate { request, target }));
    }
}

/// Two endpoints without cryptography.
fn transparent() -> Pair {
    static SUITES: &[&dyn SkSuite] = &[&Transparent];
    static KEY_EXCHANGES: &[&dyn KeyExchange] = &[&Agreed];
    let mut pair = Pair::default(1);
    for side in [A, B] {
        let provider = Provider { suites: SUITES, key_exchanges: KEY_EXCHANGES, ..ike_crypto::provider() };
        pair.gateway(side).endpoint = Endpoint::new(provider);
        pair.provider = provider;
        pair.attach(side, [2; 16], 1);
        pair.input(side, Input::Command(Command::Configure(Box::new(config(side)))));
    }
    pair
}

/// The Encrypted payload in the clear.
#[derive(Debug)]
struct Transparent;

impl SkSuite for Transparent {
    fn encryption(&self) -> EncryptionAlgorithm {
        EncryptionAlgorithm::AesGcm128
    }

    fn integrity(&self) -> Option<IntegrityAlgorithm> {
        None
    }

    fn iv_len(&self) -> usize {
        0
    }

    fn iv_kind(&self) -> IvKind {
        IvKind::Unique
    }

    fn icv_len(&self) -> usize {
        0
    }

    fn block_len(&self) -> usize {
        1
    }

    fn key(&self, _encryption: &[u8], _integrity: &[u8]) -> Result<Box<dyn SkKey>, CryptoError> {
        Ok(Box::new(Self))
    }
}

impl SkKey for Transparent {
    fn seal(&self, _aad: &[u8], _iv: &[u8], _text: &mut [u8], _icv: &mut [u8]) -> Result<(), CryptoError> {
        Ok(())
    }

    fn open(&self, _aad: &[u8], _iv: &[u8], _text: &mut [u8], _icv: &[u8]) -> Result<(), CryptoError> {
        Ok(())
    }
}

/// Everybody agrees on the same secret.
#[derive(Debug)]
struct Agreed;

impl KeyExchange for Agreed {
    fn method(&self) -> KeyExchangeMethod {
        KeyExchangeMethod::X25519
    }

    fn public_len(&self) -> usize {
        32
    }

    fn generate(&self) -> Result<(Box<dyn PrivateKey>, Vec<u8>), CryptoError> {
        Ok((Box::new(Self), vec![9; 32]))
    }
}

impl PrivateKey for Agreed {
    fn agree(self: Box<Self>, peer_public: &[u8]) -> Result<Secret, CryptoError> {
        if peer_public.len() == 32 { Ok(Secret::new(vec![7; 32])) } else { Err(CryptoError::PublicValue) }
    }
}
