//! What is left of an IKE SA that is closed: nothing that opens its messages, or recomputes its keys (RFC 7296 section 2.12).
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ike::provider::{CryptoError, IvKind, KeyExchange, PrivateKey, Provider, SkKey, SkSuite};
use ipsec_types::{EncryptionAlgorithm, IntegrityAlgorithm, KeyExchangeMethod, Secret};
use pair::Side::{A, B};
use pair::clear::Clear;
use pair::{Network, Pair, config, lab};

const SECOND: Duration = Duration::from_secs(1);
static KEYS: AtomicUsize = AtomicUsize::new(0);
static PRIVATE_KEYS: AtomicUsize = AtomicUsize::new(0);

/// One of them more, until it is dropped.
#[derive(Debug)]
struct Counted(&'static AtomicUsize);

impl Counted {
    fn new(counter: &'static AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Suite(Clear);

struct Key(Clear, #[expect(dead_code, reason = "it counts")] Counted);

impl SkSuite for Suite {
    fn encryption(&self) -> EncryptionAlgorithm {
        self.0.encryption()
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
        SkSuite::icv_len(&self.0)
    }

    fn block_len(&self) -> usize {
        1
    }

    fn key(&self, _encryption: &[u8], _integrity: &[u8]) -> Result<Box<dyn SkKey>, CryptoError> {
        Ok(Box::new(Key(self.0, Counted::new(&KEYS))))
    }
}

impl SkKey for Key {
    fn seal(&self, aad: &[u8], iv: &[u8], text: &mut [u8], icv: &mut [u8]) -> Result<(), CryptoError> {
        SkKey::seal(&self.0, aad, iv, text, icv)
    }

    fn open(&self, aad: &[u8], iv: &[u8], text: &mut [u8], icv: &[u8]) -> Result<(), CryptoError> {
        SkKey::open(&self.0, aad, iv, text, icv)
    }
}

#[derive(Debug)]
struct Exchange;

struct Private(#[expect(dead_code, reason = "it counts")] Counted);

impl KeyExchange for Exchange {
    fn method(&self) -> KeyExchangeMethod {
        KeyExchangeMethod::X25519
    }

    fn public_len(&self) -> usize {
        32
    }

    fn generate(&self) -> Result<(Box<dyn PrivateKey>, Vec<u8>), CryptoError> {
        Ok((Box::new(Private(Counted::new(&PRIVATE_KEYS))), vec![9; 32]))
    }
}

impl PrivateKey for Private {
    fn agree(self: Box<Self>, _peer_public: &[u8]) -> Result<Secret, CryptoError> {
        Ok(Secret::new(vec![7; 32]))
    }
}

fn counted() -> [usize; 2] {
    [&KEYS, &PRIVATE_KEYS].map(|counter| counter.load(Ordering::Relaxed))
}

#[test]
fn the_keys_of_an_ike_sa_and_what_they_came_from_go_with_it() {
    static SUITES: &[&dyn SkSuite] = &[&Suite(Clear(b"ICV!"))];
    static EXCHANGES: &[&dyn KeyExchange] = &[&Exchange];
    let provider = Provider { suites: SUITES, key_exchanges: EXCHANGES, ..ike_crypto::provider() };
    let mut pair = Pair::with(provider, Network::GOOD, 7, config(A), config(B));
    pair.connect();
    // Both directions at both ends; the private keys were of no use any more when the secret was there.
    assert_eq!(counted(), [4, 0]);
    pair.rekey(A, lab());
    pair.run(SECOND);
    // Whoever has answered the Delete keeps its keys for a while, in case that the answer was lost.
    assert_eq!(counted(), [6, 0]);
    pair.run(60 * SECOND);
    assert_eq!(counted(), [4, 0]);
    pair.terminate(A, lab());
    pair.run(60 * SECOND);
    assert_eq!(counted(), [0, 0]);

    // An attempt that nobody answers.
    pair.deaf = Some(B);
    pair.initiate(A);
    assert_eq!(counted(), [0, 1]);
    pair.run(300 * SECOND);
    assert_eq!(counted(), [0, 0]);
}
