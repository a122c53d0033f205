//! What the core asks of cryptography: plain slices of trait objects, filled by `ike-crypto` in products and by fakes in tests.

mod eap;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

pub use eap::{EapBetween, EapCode, EapConversation, EapMethod, EapOutcome, EapPacket, EapStep, EapTlsData, EapType, EapWait};
pub use ike_wire::{Certificate, CertificateEncoding};
use ipsec_types::{
    EncryptionAlgorithm, Identity, IntegrityAlgorithm, KeyExchangeMethod, KeyKind, PrfAlgorithm, Secret, SignatureEncoding, SignatureScheme,
};

use crate::error::Detail;

/// Every primitive an endpoint may negotiate. What is not in here is never offered and never accepted.
#[derive(Debug, Clone, Copy)]
pub struct Provider {
    /// Pseudorandom functions.
    pub prfs: &'static [&'static dyn Prf],
    /// Ways to protect the Encrypted payload.
    pub suites: &'static [&'static dyn SkSuite],
    /// Key exchange methods.
    pub key_exchanges: &'static [&'static dyn KeyExchange],
    /// SHA-1 over the parts one after the other: only for the hashes of NAT detection (RFC 7296 section 2.23), which keep no secret.
    pub sha1: fn(&[&[u8]]) -> [u8; 20],
    /// Hash functions, for IKEv1 alone.
    pub hashes: &'static [&'static dyn Hash],
    /// Ciphers without an integrity algorithm, for IKEv1 alone.
    pub ciphers: &'static [&'static dyn Cipher],
}

impl Provider {
    /// The PRF for `algorithm`, if it is there.
    pub fn prf(&self, algorithm: PrfAlgorithm) -> Option<&'static dyn Prf> {
        self.prfs.iter().copied().find(|prf| prf.algorithm() == algorithm)
    }

    /// The suite for the pair, if it is there.
    pub fn suite(&self, encryption: EncryptionAlgorithm, integrity: Option<IntegrityAlgorithm>) -> Option<&'static dyn SkSuite> {
        self.suites.iter().copied().find(|suite| suite.encryption() == encryption && suite.integrity() == integrity)
    }

    /// The hash function `function`, if it is there.
    pub fn hash(&self, function: HashFunction) -> Option<&'static dyn Hash> {
        self.hashes.iter().copied().find(|hash| hash.function() == function)
    }

    /// The cipher for `encryption`, if it is there.
    pub fn cipher(&self, encryption: EncryptionAlgorithm) -> Option<&'static dyn Cipher> {
        self.ciphers.iter().copied().find(|cipher| cipher.encryption() == encryption)
    }

    /// Every key exchange method that is there.
    pub fn methods(&self) -> Vec<KeyExchangeMethod> {
        self.key_exchanges.iter().map(|kx| kx.method()).collect()
    }

    /// The key exchange for `method`, if it is there.
    pub fn key_exchange(&self, method: KeyExchangeMethod) -> Option<&'static dyn KeyExchange> {
        self.key_exchanges.iter().copied().find(|kx| kx.method() == method)
    }
}

/// A source of unpredictable octets: nonces, SPIs, IVs, cookies' secret.
pub trait Random {
    /// Fills `octets`.
    fn fill(&mut self, octets: &mut [u8]);
}

/// A pseudorandom function (RFC 7296 section 2.13).
pub trait Prf: fmt::Debug + Sync {
    /// Which one.
    fn algorithm(&self) -> PrfAlgorithm;
    /// prf(key, parts[0] | parts[1] | ...): [`PrfAlgorithm::output_len`] octets.
    fn compute(&self, key: &[u8], parts: &[&[u8]]) -> Secret;
}

/// The hash functions of IKEv1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashFunction {
    /// MD5 (RFC 1321).
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// A hash function (RFC 2409 section 4).
pub trait Hash: fmt::Debug + Sync {
    /// Which one.
    fn function(&self) -> HashFunction;
    /// hash(parts[0] | parts[1] | ...).
    fn compute(&self, parts: &[&[u8]]) -> Vec<u8>;
}

/// A block cipher in CBC mode by itself, which protects the messages of IKEv1 (RFC 2409 appendix B).
pub trait Cipher: fmt::Debug + Sync {
    /// Which one.
    fn encryption(&self) -> EncryptionAlgorithm;
    /// Octets of a block, and of an IV.
    fn block_len(&self) -> usize;
    /// Prepares a key.
    ///
    /// # Errors
    /// [`CryptoError::KeyLength`] and [`CryptoError::WeakKey`].
    fn key(&self, key: &[u8]) -> Result<Box<dyn CipherKey>, CryptoError>;
}

/// A key of a [`Cipher`]. Zeroed when dropped.
pub trait CipherKey: Send + Sync {
    /// Encrypts whole blocks in place.
    ///
    /// # Errors
    /// [`CryptoError::Length`] where IV or text have a length the cipher does not take.
    fn encrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CryptoError>;
    /// Decrypts whole blocks in place.
    ///
    /// # Errors
    /// [`CryptoError::Length`].
    fn decrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CryptoError>;
}

/// How the IV of an Encrypted payload must be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IvKind {
    /// Never the same twice under one key: a counter (RFC 5282 section 3.1, RFC 5930 section 2).
    Unique,
    /// Unpredictable: random octets (RFC 7296 section 3.14).
    Unpredictable,
}

/// An encryption algorithm with its integrity algorithm, or an AEAD.
pub trait SkSuite: fmt::Debug + Sync {
    /// The cipher.
    fn encryption(&self) -> EncryptionAlgorithm;
    /// The integrity algorithm; `None` with AEAD.
    fn integrity(&self) -> Option<IntegrityAlgorithm>;
    /// Octets of IV in each Encrypted payload.
    fn iv_len(&self) -> usize;
    /// How IVs must be made.
    fn iv_kind(&self) -> IvKind;
    /// Octets of ICV.
    fn icv_len(&self) -> usize;
    /// The plaintext, with its padding, must be a multiple of this.
    fn block_len(&self) -> usize;
    /// Prepares one direction's keys: SK_e (key and salt) and SK_a (empty with AEAD).
    ///
    /// # Errors
    /// [`CryptoError::KeyLength`] and [`CryptoError::WeakKey`].
    fn key(&self, encryption: &[u8], integrity: &[u8]) -> Result<Box<dyn SkKey>, CryptoError>;
}

/// The keys of one direction of an IKE SA. Zeroed when dropped.
pub trait SkKey: Send + Sync {
    /// Encrypts `text` in place and writes the ICV. `aad` is the message from the IKE header to the Encrypted payload's generic header.
    ///
    /// # Errors
    /// [`CryptoError::Length`] where IV, text or ICV have a length the suite does not take.
    fn seal(&self, aad: &[u8], iv: &[u8], text: &mut [u8], icv: &mut [u8]) -> Result<(), CryptoError>;
    /// Checks the ICV in constant time, then decrypts `text` in place. On error `text` is unspecified and must not be read.
    ///
    /// # Errors
    /// [`CryptoError::Unauthentic`] and [`CryptoError::Length`].
    fn open(&self, aad: &[u8], iv: &[u8], text: &mut [u8], icv: &[u8]) -> Result<(), CryptoError>;
}

/// A key exchange method (RFC 7296 section 3.4). Both calls are slow: the driver runs them away from the protocol loop, as jobs.
pub trait KeyExchange: fmt::Debug + Sync {
    /// Which one.
    fn method(&self) -> KeyExchangeMethod;
    /// Octets of the public value on the wire.
    fn public_len(&self) -> usize;
    /// A fresh private key and its public value.
    ///
    /// # Errors
    /// [`CryptoError::Unavailable`] where the platform gives no randomness.
    fn generate(&self) -> Result<(Box<dyn PrivateKey>, Vec<u8>), CryptoError>;
}

/// The private half of one key exchange, used once.
pub trait PrivateKey: Send {
    /// The shared secret g^ir, as it enters SKEYSEED.
    ///
    /// # Errors
    /// [`CryptoError::PublicValue`] where the peer's value is of the wrong length, off the curve, or of low order.
    fn agree(self: Box<Self>, peer_public: &[u8]) -> Result<Secret, CryptoError>;
}

/// A private key that shows who we are. It signs away from the protocol loop, as a job: RSA is slow, and a token slower.
pub trait SigningKey: fmt::Debug + Send + Sync {
    /// What kind of key it is.
    fn kind(&self) -> KeyKind;

    /// Signs `message`, which is not hashed yet.
    ///
    /// # Errors
    /// [`CryptoError::Unavailable`] where the key cannot make such signatures, [`CryptoError::Token`] where it is out of reach.
    fn sign(&self, scheme: SignatureScheme, encoding: SignatureEncoding, message: &[u8]) -> Result<Vec<u8>, CryptoError>;

    /// Whether something else than this machine's processor makes the signature: a token, which may be slow or say nothing for a while.
    fn waits(&self) -> bool {
        false
    }
}

/// Says whether a peer is who it claims to be, by a certificate or a public key that is known: whom a connection trusts, for what, and what has
/// been revoked. It works as a job. Whom it wants to have asked about revocations before, the driver asks; nothing else waits meanwhile.
pub trait PeerVerifier: fmt::Debug + Send + Sync {
    /// SHA-1 hashes of the public keys of the authorities that are trusted, for Certificate Request payloads (RFC 7296 section 3.7).
    fn authorities(&self) -> &[[u8; 20]];

    /// The authorities' names, each a Name in DER, for those of IKEv1 (RFC 2408 section 3.10).
    fn authority_names(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// What [`verify`](Self::verify) says, or who has to be asked before: nobody, unless everything else about the proof is right.
    fn judge(&self, proof: &PeerProof) -> Judgement {
        Judgement::Said(self.verify(proof))
    }

    /// What an inquiry has brought; `None` for nothing.
    fn learn(&self, _inquiry: &Inquiry, _answer: Option<&[u8]>) {}

    /// Checks that the key which made the signature is that of the identity, by what is known now.
    ///
    /// # Errors
    /// Why it is not, for people: both sides, and what to do.
    fn verify(&self, proof: &PeerProof) -> Result<(), Box<Detail>>;
}

/// What a verifier makes of a proof.
#[derive(Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The peer is who it claims to be, or why not.
    Said(Result<(), Box<Detail>>),
    /// Not known before these are asked.
    Open(Vec<Inquiry>),
}

/// Says whether a user that names itself by XAuth (IKEv1) knows its password. Computes, and waits for nobody.
pub trait UserVerifier: fmt::Debug + Send + Sync {
    /// Compares in constant time. Gives back who the user is.
    ///
    /// # Errors
    /// Why it is not believed, for people.
    fn verify(&self, name: &[u8], password: &Secret) -> Result<Identity, Box<Detail>>;
}

/// Something to be fetched by HTTP.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inquiry {
    /// Where.
    pub url: String,
    /// What is posted there, a question of OCSP; without one a list of revocations is got.
    pub question: Option<Vec<u8>>,
}

/// What a peer shows.
#[derive(Debug)]
pub struct PeerProof {
    /// Whom it claims to be.
    pub identity: Identity,
    /// Its certificates in the order they came, its own first if it keeps the rule (RFC 7296 section 3.6).
    pub certificates: Vec<Certificate>,
    /// The algorithm of the signature.
    pub scheme: SignatureScheme,
    /// How it is written.
    pub encoding: SignatureEncoding,
    /// What is signed.
    pub message: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

/// Why a primitive refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// A key of the wrong length.
    #[error("the key has the wrong length for this algorithm")]
    KeyLength,
    /// A key that the algorithm must refuse (3DES: RFC 2451 section 2.3).
    #[error("the key is a weak one of this algorithm")]
    WeakKey,
    /// An IV, text or ICV of the wrong length.
    #[error("the input has a length this algorithm does not take")]
    Length,
    /// The ICV does not fit.
    #[error("the integrity check failed")]
    Unauthentic,
    /// A key exchange value that must not be used.
    #[error("the peer's key exchange value is invalid")]
    PublicValue,
    /// No randomness, or no such algorithm in the library underneath.
    #[error("the cryptographic library could not do this")]
    Unavailable,
    /// A private key in a token does not sign: which, why, and what to do.
    #[error("{0}")]
    Token(String),
}
