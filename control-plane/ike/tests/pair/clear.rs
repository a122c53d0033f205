//! Endpoints without cryptography, so that messages can be written by hand and a fuzzer reaches what stands behind it: nothing is encrypted,
//! every message has the same ICV, and every key exchange agrees on the same secret.

use ike::provider::{CryptoError, IvKind, KeyExchange, PrivateKey, Provider, SkKey, SkSuite};
use ike_wire::{Encrypted, Fragment, FragmentNumber, Header, Payload, PayloadType, emit_payloads};
use ipsec_types::{EncryptionAlgorithm, IntegrityAlgorithm, KeyExchangeMethod, Secret};

/// The Encrypted payload in the clear, with this ICV, which may be empty.
#[derive(Debug, Clone, Copy)]
pub struct Clear(pub &'static [u8]);

/// Everybody agrees on the same secret.
#[derive(Debug)]
struct Agreed;

/// What an endpoint without cryptography uses; the PRF is a real one.
pub fn provider(suites: &'static [&'static dyn SkSuite]) -> Provider {
    static KEY_EXCHANGES: &[&dyn KeyExchange] = &[&Agreed];
    Provider { suites, key_exchanges: KEY_EXCHANGES, ..ike_crypto::provider() }
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
