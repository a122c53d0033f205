//! Proposals: which algorithms a side offers or accepts (RFC 7296 sections 2.7 and 3.3), in the syntax of swanctl.conf.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::{EncryptionAlgorithm, IntegrityAlgorithm, KeyExchangeMethod, PrfAlgorithm, SequenceNumbers};

/// Why text is no proposal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposalError {
    /// A keyword no table knows.
    #[error("unknown algorithm '{0}'")]
    UnknownKeyword(String),
    /// A keyword that belongs to the other kind of proposal.
    #[error("'{0}' has no place in this kind of proposal")]
    Misplaced(String),
    /// A cipher in a proposal for AH (RFC 4302 section 1).
    #[error("AH encrypts nothing, and '{0}' has no place in its proposals: leave it out, or write esp_proposals")]
    EncryptionInAh(&'static str),
    /// A proposal for AH without integrity.
    #[error("AH needs an integrity algorithm, such as sha256")]
    NoIntegrityForAh,
    /// An algorithm for ESP alone in an IKE proposal.
    #[error("'{0}' protects ESP alone, and has no place in a proposal for IKE")]
    EspOnly(&'static str),
    /// No encryption algorithm.
    #[error("no encryption algorithm, such as aes128gcm16")]
    NoEncryption,
    /// AEAD and other ciphers in one proposal (RFC 7296 section 3.3).
    #[error("AEAD and other ciphers stand in one proposal: write two proposals")]
    MixedAead,
    /// An AEAD cipher with a separate integrity algorithm.
    #[error("an AEAD cipher takes no separate integrity algorithm")]
    IntegrityWithAead,
    /// A cipher without integrity.
    #[error("a cipher that is no AEAD needs an integrity algorithm, such as sha256")]
    NoIntegrity,
    /// An IKE proposal without PRF.
    #[error("no PRF: an AEAD cipher needs one, such as prfsha256")]
    NoPrf,
    /// An IKE proposal without key exchange.
    #[error("no key exchange method, such as x25519")]
    NoKeyExchange,
}

/// What may protect an IKE SA; each list in order of preference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IkeProposal {
    encryption: Vec<EncryptionAlgorithm>,
    integrity: Vec<IntegrityAlgorithm>,
    prf: Vec<PrfAlgorithm>,
    key_exchange: Vec<KeyExchangeMethod>,
}

impl IkeProposal {
    /// Encryption algorithms: all AEAD, or none.
    pub fn encryption(&self) -> &[EncryptionAlgorithm] {
        &self.encryption
    }

    /// Integrity algorithms; empty exactly with AEAD.
    pub fn integrity(&self) -> &[IntegrityAlgorithm] {
        &self.integrity
    }

    /// Pseudorandom functions.
    pub fn prf(&self) -> &[PrfAlgorithm] {
        &self.prf
    }

    /// Key exchange methods.
    pub fn key_exchange(&self) -> &[KeyExchangeMethod] {
        &self.key_exchange
    }
}

/// What may protect a Child SA by ESP; each list in order of preference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EspProposal {
    encryption: Vec<EncryptionAlgorithm>,
    integrity: Vec<IntegrityAlgorithm>,
    key_exchange: Vec<KeyExchangeMethod>,
    sequence_numbers: Vec<SequenceNumbers>,
}

impl EspProposal {
    /// Encryption algorithms: all AEAD, or none.
    pub fn encryption(&self) -> &[EncryptionAlgorithm] {
        &self.encryption
    }

    /// Integrity algorithms; empty exactly with AEAD.
    pub fn integrity(&self) -> &[IntegrityAlgorithm] {
        &self.integrity
    }

    /// Key exchange methods for perfect forward secrecy; empty for none.
    pub fn key_exchange(&self) -> &[KeyExchangeMethod] {
        &self.key_exchange
    }

    /// Extended or standard sequence numbers; never empty.
    pub fn sequence_numbers(&self) -> &[SequenceNumbers] {
        &self.sequence_numbers
    }
}

/// What may protect a Child SA by AH; each list in order of preference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AhProposal {
    integrity: Vec<IntegrityAlgorithm>,
    key_exchange: Vec<KeyExchangeMethod>,
    sequence_numbers: Vec<SequenceNumbers>,
}

impl AhProposal {
    /// Integrity algorithms; never empty.
    pub fn integrity(&self) -> &[IntegrityAlgorithm] {
        &self.integrity
    }

    /// Key exchange methods for perfect forward secrecy; empty for none.
    pub fn key_exchange(&self) -> &[KeyExchangeMethod] {
        &self.key_exchange
    }

    /// Extended or standard sequence numbers; never empty.
    pub fn sequence_numbers(&self) -> &[SequenceNumbers] {
        &self.sequence_numbers
    }
}

/// What may protect a Child SA, by either protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildProposal {
    /// By ESP.
    Esp(EspProposal),
    /// By AH.
    Ah(AhProposal),
}

impl ChildProposal {
    /// Encryption algorithms; empty exactly with AH.
    pub fn encryption(&self) -> &[EncryptionAlgorithm] {
        match self {
            Self::Esp(esp) => esp.encryption(),
            Self::Ah(_) => &[],
        }
    }

    /// Integrity algorithms; empty exactly with AEAD.
    pub fn integrity(&self) -> &[IntegrityAlgorithm] {
        match self {
            Self::Esp(esp) => esp.integrity(),
            Self::Ah(ah) => ah.integrity(),
        }
    }

    /// Key exchange methods for perfect forward secrecy; empty for none.
    pub fn key_exchange(&self) -> &[KeyExchangeMethod] {
        match self {
            Self::Esp(esp) => esp.key_exchange(),
            Self::Ah(ah) => ah.key_exchange(),
        }
    }

    /// Extended or standard sequence numbers; never empty.
    pub fn sequence_numbers(&self) -> &[SequenceNumbers] {
        match self {
            Self::Esp(esp) => esp.sequence_numbers(),
            Self::Ah(ah) => ah.sequence_numbers(),
        }
    }
}

impl From<EspProposal> for ChildProposal {
    fn from(esp: EspProposal) -> Self {
        Self::Esp(esp)
    }
}

impl From<AhProposal> for ChildProposal {
    fn from(ah: AhProposal) -> Self {
        Self::Ah(ah)
    }
}

/// The lists before they are checked.
#[derive(Default)]
struct Keywords {
    encryption: Vec<EncryptionAlgorithm>,
    integrity: Vec<IntegrityAlgorithm>,
    prf: Vec<PrfAlgorithm>,
    key_exchange: Vec<KeyExchangeMethod>,
    sequence_numbers: Vec<SequenceNumbers>,
}

impl Keywords {
    fn parse(text: &str) -> Result<Self, ProposalError> {
        let mut lists = Self::default();
        for keyword in text.split('-').map(str::trim) {
            if let Some(a) = EncryptionAlgorithm::from_keyword(keyword) {
                lists.encryption.push(a);
            } else if let Some(a) = IntegrityAlgorithm::from_keyword(keyword) {
                lists.integrity.push(a);
            } else if let Some(a) = PrfAlgorithm::from_keyword(keyword) {
                lists.prf.push(a);
            } else if let Some(a) = KeyExchangeMethod::from_keyword(keyword) {
                lists.key_exchange.push(a);
            } else if let Some(a) = SequenceNumbers::from_keyword(keyword) {
                lists.sequence_numbers.push(a);
            } else {
                return Err(ProposalError::UnknownKeyword(keyword.to_string()));
            }
        }
        Ok(lists)
    }

    /// The same, if ciphers and integrity algorithms go together.
    fn with_cipher(self) -> Result<Self, ProposalError> {
        let aead = self.encryption.iter().filter(|a| a.is_aead()).count();
        match (aead, self.encryption.len()) {
            (_, 0) => Err(ProposalError::NoEncryption),
            (n, all) if n == all && !self.integrity.is_empty() => Err(ProposalError::IntegrityWithAead),
            (n, all) if n == all => Ok(self),
            (0, _) if self.integrity.is_empty() => Err(ProposalError::NoIntegrity),
            (0, _) => Ok(self),
            _ => Err(ProposalError::MixedAead),
        }
    }

    /// The same without a PRF, and with sequence numbers.
    fn for_child(mut self) -> Result<Self, ProposalError> {
        if let Some(misplaced) = self.prf.first() {
            return Err(ProposalError::Misplaced(misplaced.keyword().to_string()));
        }
        if self.sequence_numbers.is_empty() {
            self.sequence_numbers.push(SequenceNumbers::Standard);
        }
        Ok(self)
    }
}

/// Algorithms joined by `-`, as in `aes128gcm16-prfsha256-x25519`. Without a PRF, that of the integrity algorithm is meant.
impl FromStr for IkeProposal {
    type Err = ProposalError;

    fn from_str(text: &str) -> Result<Self, ProposalError> {
        let Keywords { encryption, integrity, mut prf, key_exchange, sequence_numbers } = Keywords::parse(text)?.with_cipher()?;
        if let Some(misplaced) = sequence_numbers.first() {
            return Err(ProposalError::Misplaced(misplaced.keyword().to_string()));
        }
        if let Some(esp_only) = encryption.iter().find(|a| !a.is_for_ike()) {
            return Err(ProposalError::EspOnly(esp_only.keyword()));
        }
        if prf.is_empty() {
            prf = integrity.iter().map(|a| a.prf()).collect();
        }
        if prf.is_empty() {
            return Err(ProposalError::NoPrf);
        }
        if key_exchange.is_empty() {
            return Err(ProposalError::NoKeyExchange);
        }
        Ok(Self { encryption, integrity, prf, key_exchange })
    }
}

/// Algorithms joined by `-`, as in `aes128gcm16-x25519-esn`. Without `esn` or `noesn`, standard sequence numbers are meant.
impl FromStr for EspProposal {
    type Err = ProposalError;

    fn from_str(text: &str) -> Result<Self, ProposalError> {
        let Keywords { encryption, integrity, key_exchange, sequence_numbers, .. } = Keywords::parse(text)?.with_cipher()?.for_child()?;
        Ok(Self { encryption, integrity, key_exchange, sequence_numbers })
    }
}

/// Algorithms joined by `-`, as in `sha256-x25519-esn`. Without `esn` or `noesn`, standard sequence numbers are meant.
impl FromStr for AhProposal {
    type Err = ProposalError;

    fn from_str(text: &str) -> Result<Self, ProposalError> {
        let Keywords { encryption, integrity, key_exchange, sequence_numbers, .. } = Keywords::parse(text)?.for_child()?;
        match encryption.first() {
            Some(cipher) => Err(ProposalError::EncryptionInAh(cipher.keyword())),
            None if integrity.is_empty() => Err(ProposalError::NoIntegrityForAh),
            None => Ok(Self { integrity, key_exchange, sequence_numbers }),
        }
    }
}

impl fmt::Display for IkeProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.encryption.iter().map(|a| a.keyword()).chain(self.integrity.iter().map(|a| a.keyword()));
        write_joined(f, names.chain(self.prf.iter().map(|a| a.keyword())).chain(self.key_exchange.iter().map(|a| a.keyword())))
    }
}

impl fmt::Display for ChildProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Esp(esp) => esp.fmt(f),
            Self::Ah(ah) => ah.fmt(f),
        }
    }
}

impl fmt::Display for AhProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.integrity.iter().map(|a| a.keyword()).chain(self.key_exchange.iter().map(|a| a.keyword()));
        write_joined(f, names.chain(self.sequence_numbers.iter().map(|a| a.keyword())))
    }
}

impl fmt::Display for EspProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.encryption.iter().map(|a| a.keyword()).chain(self.integrity.iter().map(|a| a.keyword()));
        write_joined(f, names.chain(self.key_exchange.iter().map(|a| a.keyword())).chain(self.sequence_numbers.iter().map(|a| a.keyword())))
    }
}

fn write_joined<'a>(f: &mut fmt::Formatter<'_>, keywords: impl Iterator<Item = &'a str>) -> fmt::Result {
    for (i, keyword) in keywords.enumerate() {
        if i > 0 {
            f.write_str("-")?;
        }
        f.write_str(keyword)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back_is_identity() {
        for text in ["aes128gcm16-prfsha256-x25519-ecp256", "aes256-aes128-sha256-prfsha256-x25519"] {
            assert_eq!(text.parse::<IkeProposal>().unwrap().to_string(), text);
        }
        assert_eq!("aes128gcm16".parse::<EspProposal>().unwrap().to_string(), "aes128gcm16-noesn");
        assert_eq!("aes256gcm16-x25519-esn".parse::<EspProposal>().unwrap().to_string(), "aes256gcm16-x25519-esn");
        assert_eq!("sha256".parse::<AhProposal>().unwrap().to_string(), "sha256-noesn");
        assert_eq!("sha384-sha256-ecp256-esn".parse::<AhProposal>().unwrap().to_string(), "sha384-sha256-ecp256-esn");
    }

    #[test]
    fn a_missing_prf_follows_from_integrity() {
        assert_eq!("aes128-sha384-ecp256".parse::<IkeProposal>().unwrap().prf(), [PrfAlgorithm::HmacSha384]);
        assert_eq!("3des-sha1-aesxcbc-modp1024".parse::<IkeProposal>().unwrap().prf(), [PrfAlgorithm::HmacSha1, PrfAlgorithm::AesXcbc]);
    }

    #[test]
    fn each_fault_has_its_own_error() {
        let ike = |text: &str| text.parse::<IkeProposal>().unwrap_err();
        assert_eq!(ike("aes128gcm16-x25519"), ProposalError::NoPrf);
        assert_eq!(ike("aes128gcm16-prfsha256"), ProposalError::NoKeyExchange);
        assert_eq!(ike("aes128-x25519"), ProposalError::NoIntegrity);
        assert_eq!(ike("aes128gcm16-sha256-x25519"), ProposalError::IntegrityWithAead);
        assert_eq!(ike("aes128gcm16-aes128-sha256-x25519"), ProposalError::MixedAead);
        assert_eq!(ike("prfsha256-x25519"), ProposalError::NoEncryption);
        assert_eq!(ike("null-sha256-x25519"), ProposalError::EspOnly("null"));
        assert_eq!(ike("aes128-null-sha256-x25519"), ProposalError::EspOnly("null"));
        for esp_only in ["aes128gcm8", "aes192gcm12", "aes128ccm8", "aes256ccm12", "aes256gmac"] {
            assert_eq!(ike(&alloc::format!("{esp_only}-prfsha256-x25519")), ProposalError::EspOnly(esp_only));
        }
        assert_eq!(ike("rot13"), ProposalError::UnknownKeyword("rot13".into()));
        assert_eq!(ike("aes128gcm16-prfsha256-x25519-esn"), ProposalError::Misplaced("esn".into()));
        assert_eq!("aes128gcm16-prfsha256".parse::<EspProposal>().unwrap_err(), ProposalError::Misplaced("prfsha256".into()));
        let ah = |text: &str| text.parse::<AhProposal>().unwrap_err();
        assert_eq!(ah("esn"), ProposalError::NoIntegrityForAh);
        assert_eq!(ah("aes128-sha256"), ProposalError::EncryptionInAh("aes128"));
        assert_eq!(ah("sha256-prfsha256"), ProposalError::Misplaced("prfsha256".into()));
    }
}
