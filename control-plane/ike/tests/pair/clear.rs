//! Endpoints without cryptography, so that messages can be written by hand and a fuzzer reaches what stands behind it: nothing is encrypted,
//! every message has the same ICV, and every key exchange agrees on the same secret.

use ike::provider::{Cipher, CipherKey, CryptoError, IvKind, KeyExchange, Prf, PrivateKey, Provider, SkKey, SkSuite};
use ike_wire::{Encrypted, Fragment, FragmentNumber, Header, Payload, PayloadType, emit_payloads, v1};
use ipsec_types::{EncryptionAlgorithm, IntegrityAlgorithm, KeyExchangeMethod, PrfAlgorithm, Secret};

/// The Encrypted payload in the clear, with this ICV, which may be empty.
#[derive(Debug, Clone, Copy)]
pub struct Clear(pub &'static [u8]);

/// Everybody agrees on the same secret.
#[derive(Debug)]
struct Agreed(KeyExchangeMethod);

/// What an endpoint without cryptography uses; the PRF is a real one.
pub fn provider(suites: &'static [&'static dyn SkSuite]) -> Provider {
    static KEY_EXCHANGES: &[&dyn KeyExchange] = &[&Agreed(KeyExchangeMethod::X25519)];
    Provider { suites, key_exchanges: KEY_EXCHANGES, ..ike_crypto::provider() }
}

/// Octets of a block of IKEv1 messages that are not encrypted.
pub const BLOCK: usize = 8;
/// What every hash over a message of IKEv1 is.
pub const HASH: [u8; 32] = [0x48; 32];

/// The same for IKEv1, where everybody's keys are alike, too: `aes128-sha256-modp2048`.
pub fn provider_v1() -> Provider {
    static PRFS: &[&dyn Prf] = &[&Constant];
    static CIPHERS: &[&dyn Cipher] = &[&InBlocks];
    static KEY_EXCHANGES: &[&dyn KeyExchange] = &[&Agreed(KeyExchangeMethod::Modp2048)];
    Provider { prfs: PRFS, ciphers: CIPHERS, key_exchanges: KEY_EXCHANGES, ..ike_crypto::provider() }
}

/// An IKEv1 message that says it is encrypted; `hash` begins it where it has one.
pub fn message_v1(header: &v1::Header, hash: Option<&[u8]>, payloads: &[v1::Payload]) -> Vec<u8> {
    let hash = hash.map(|hash| v1::Payload::Hash(hash.to_vec()));
    let payloads: Vec<v1::Payload> = hash.into_iter().chain(payloads.iter().cloned()).collect();
    let mut chain = v1::emit_payloads(&payloads).unwrap();
    if header.flags.encryption {
        chain.octets.resize(chain.octets.len().next_multiple_of(BLOCK), 0);
    }
    v1::Message { header: *header, first: chain.first, body: &chain.octets }.emit().unwrap()
}

/// A PRF that always says [`HASH`].
#[derive(Debug)]
struct Constant;

impl Prf for Constant {
    fn algorithm(&self) -> PrfAlgorithm {
        PrfAlgorithm::HmacSha256
    }

    fn compute(&self, _key: &[u8], _parts: &[&[u8]]) -> Secret {
        Secret::copy_from(&HASH)
    }
}

/// A cipher that changes nothing, and wants whole blocks all the same.
#[derive(Debug)]
struct InBlocks;

impl Cipher for InBlocks {
    fn encryption(&self) -> EncryptionAlgorithm {
        EncryptionAlgorithm::AesCbc128
    }

    fn block_len(&self) -> usize {
        BLOCK
    }

    fn key(&self, _key: &[u8]) -> Result<Box<dyn CipherKey>, CryptoError> {
        Ok(Box::new(Self))
    }
}

impl CipherKey for InBlocks {
    fn encrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CryptoError> {
        self.decrypt(iv, text)
    }

    fn decrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CryptoError> {
        if iv.len() == BLOCK && text.len().is_multiple_of(BLOCK) { Ok(()) } else { Err(CryptoError::Length) }
    }
}

impl Clear {
    /// A protected message.
    pub fn seal(self, header: &Header, payloads: &[Payload]) -> Vec<u8> {
        let chain = emit_payloads(payloads).unwrap();
        let mut octets = Encrypted::frame(header, chain.first, chain.octets.len() + 1 + self.0.len()).unwrap();
        octets.extend_from_slice(&chain.octets);
        // Pad Length.
        octets.push(0);
        octets.extend_from_slice(self.0);
        octets
    }

    /// A fragment of a protected message whose first payload is `first`.
    pub fn seal_fragment(self, header: &Header, first: PayloadType, (number, total): (u16, u16), chunk: &[u8]) -> Vec<u8> {
        let number = FragmentNumber::new(number, total).unwrap();
        let first = if number.number() == 1 { first } else { PayloadType::NONE };
        let mut octets = Fragment::frame(header, first, number, chunk.len() + 1 + self.0.len()).unwrap();
        octets.extend_from_slice(chunk);
        // Pad Length.
        octets.push(0);
        octets.extend_from_slice(self.0);
        octets
    }
}

impl SkSuite for Clear {
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
        self.0.len()
    }

    fn block_len(&self) -> usize {
        1
    }

    fn key(&self, _encryption: &[u8], _integrity: &[u8]) -> Result<Box<dyn SkKey>, CryptoError> {
        Ok(Box::new(*self))
    }
}

impl SkKey for Clear {
    fn seal(&self, _aad: &[u8], _iv: &[u8], _text: &mut [u8], icv: &mut [u8]) -> Result<(), CryptoError> {
        icv.copy_from_slice(self.0);
        Ok(())
    }

    fn open(&self, _aad: &[u8], _iv: &[u8], _text: &mut [u8], icv: &[u8]) -> Result<(), CryptoError> {
        if icv == self.0 { Ok(()) } else { Err(CryptoError::Unauthentic) }
    }
}

impl KeyExchange for Agreed {
    fn method(&self) -> KeyExchangeMethod {
        self.0
    }

    fn public_len(&self) -> usize {
        32
    }

    fn generate(&self) -> Result<(Box<dyn PrivateKey>, Vec<u8>), CryptoError> {
        Ok((Box::new(Self(self.0)), vec![9; 32]))
    }
}

impl PrivateKey for Agreed {
    fn agree(self: Box<Self>, peer_public: &[u8]) -> Result<Secret, CryptoError> {
        if peer_public.len() == 32 { Ok(Secret::new(vec![7; 32])) } else { Err(CryptoError::PublicValue) }
    }
}
