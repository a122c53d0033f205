//! Transforms and their attributes (RFC 7296 sections 3.3.2 and 3.3.5).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Last Substruc |   RESERVED    |        Transform Length       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |Transform Type |   RESERVED    |          Transform ID         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+   each attribute:
//! |A|       Attribute Type        |    AF=0  Attribute Length     |
//! |F|                             |    AF=1  Attribute Value      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                   AF=0  Attribute Value                       |
//! |                   AF=1  Not Transmitted                       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use alloc::vec::Vec;
use core::fmt;

use ipsec_types::{EncryptionAlgorithm, IntegrityAlgorithm, KeyExchangeMethod, PrfAlgorithm, SequenceNumbers};

use crate::number::numbers;
use crate::reader::Reader;
use crate::writer::Writer;
use crate::{EmitError, Fault, ParseError, Part, limits};

numbers! {
    /// Transform Type.
    TransformType(u8) {
        ENCR = 1, "ENCR";
        PRF = 2, "PRF";
        INTEG = 3, "INTEG";
        KE = 4, "KE";
        ESN = 5, "ESN";
        ADDKE1 = 6, "ADDKE1";
        ADDKE2 = 7, "ADDKE2";
        ADDKE3 = 8, "ADDKE3";
        ADDKE4 = 9, "ADDKE4";
        ADDKE5 = 10, "ADDKE5";
        ADDKE6 = 11, "ADDKE6";
        ADDKE7 = 12, "ADDKE7";
    }
}

/// One algorithm, as numbers: a transform nobody here understands is skipped when proposals are weighed, and is no error before
/// (section 3.3.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transform {
    /// What it is an algorithm for.
    pub kind: TransformType,
    /// Transform ID; 0 is NONE for types 3 and 4.
    pub id: u16,
    /// Its attributes.
    pub attributes: Vec<Attribute>,
}

/// Something that modifies a transform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Attribute Type, 15 bits.
    pub kind: u16,
    /// Its value.
    pub value: AttributeValue,
}

/// The value of an attribute, in the form it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeValue {
    /// AF = 1: type and value.
    Short(u16),
    /// AF = 0: type, length and value.
    Long(Vec<u8>),
}

impl Attribute {
    /// Key Length, in bits.
    pub const KEY_LENGTH: u16 = 14;
    pub(crate) const FORMAT: u16 = 0x8000;

    pub(crate) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let (kind, value) = (reader.u16()?, reader.u16()?);
        Ok(if kind & Self::FORMAT == 0 {
            Self { kind, value: AttributeValue::Long(reader.take(value.into())?.to_vec()) }
        } else {
            Self { kind: kind & !Self::FORMAT, value: AttributeValue::Short(value) }
        })
    }

    pub(crate) fn emit(&self, writer: &mut Writer) -> Result<(), EmitError> {
        if self.kind & Self::FORMAT != 0 {
            return Err(EmitError::Oversize(Part::Attribute));
        }
        match &self.value {
            AttributeValue::Short(value) => {
                writer.u16(self.kind | Self::FORMAT);
                writer.u16(*value);
            }
            AttributeValue::Long(octets) => {
                writer.u16(self.kind);
                writer.u16(u16::try_from(octets.len()).map_err(|_| EmitError::Oversize(Part::Attribute))?);
                writer.slice(octets);
            }
        }
        Ok(())
    }
}

impl Transform {
    /// Transform ID of NONE (types 3 and 4).
    pub const NONE: u16 = 0;

    /// A transform with the Key Length attribute, if it takes one.
    pub fn new(kind: TransformType, id: u16, key_length_bits: Option<u16>) -> Self {
        let key_length = |bits| Attribute { kind: Attribute::KEY_LENGTH, value: AttributeValue::Short(bits) };
        Self { kind, id, attributes: key_length_bits.map(key_length).into_iter().collect() }
    }

    /// Type 1, where Culvert knows the algorithm and all attributes.
    pub fn encryption(&self) -> Option<EncryptionAlgorithm> {
        EncryptionAlgorithm::from_id(self.understood(TransformType::ENCR)?, self.key_length_bits())
    }

    /// Type 2, where Culvert knows the algorithm and all attributes.
    pub fn prf(&self) -> Option<PrfAlgorithm> {
        PrfAlgorithm::from_id(self.understood(TransformType::PRF)?, self.key_length_bits())
    }

    /// Type 3, where Culvert knows the algorithm and all attributes; `None` also for NONE.
    pub fn integrity(&self) -> Option<IntegrityAlgorithm> {
        IntegrityAlgorithm::from_id(self.understood(TransformType::INTEG)?, self.key_length_bits())
    }

    /// Type 4, where Culvert knows the method and all attributes; `None` also for NONE.
    pub fn key_exchange(&self) -> Option<KeyExchangeMethod> {
        KeyExchangeMethod::from_id(self.understood(TransformType::KE)?, self.key_length_bits())
    }

    /// Type 5, where Culvert knows the value and all attributes.
    pub fn sequence_numbers(&self) -> Option<SequenceNumbers> {
        SequenceNumbers::from_id(self.understood(TransformType::ESN)?, self.key_length_bits())
    }

    /// The Key Length attribute, where it stands alone.
    pub fn key_length_bits(&self) -> Option<u16> {
        match self.attributes[..] {
            [Attribute { kind: Attribute::KEY_LENGTH, value: AttributeValue::Short(bits) }] => Some(bits),
            _ => None,
        }
    }

    /// The Transform ID where the type is `kind` and every attribute is understood: a transform with any other attribute, or with one
    /// twice, is unacceptable (sections 3.3 and 3.3.6).
    fn understood(&self, kind: TransformType) -> Option<u16> {
        let attributes = self.attributes.is_empty() || self.key_length_bits().is_some();
        (self.kind == kind && attributes).then_some(self.id)
    }

    pub(crate) fn parse(mut body: Reader<'_>) -> Result<Self, ParseError> {
        let kind = TransformType(body.u8()?);
        let _reserved = body.u8()?;
        let id = body.u16()?;
        let mut rest = Reader::new(Part::Attribute, body.rest());
        let mut attributes = Vec::new();
        while !rest.is_empty() {
            if attributes.len() == limits::ATTRIBUTES {
                return Err(body.fault(Fault::TooMany(limits::ATTRIBUTES)));
            }
            attributes.push(Attribute::parse(&mut rest)?);
        }
        Ok(Self { kind, id, attributes })
    }

    pub(crate) fn emit(&self, writer: &mut Writer) -> Result<(), EmitError> {
        writer.u8(self.kind.0);
        writer.u8(0);
        writer.u16(self.id);
        self.attributes.iter().try_for_each(|attribute| attribute.emit(writer))
    }

    /// The registered name of the algorithm without its key length.
    pub const fn name(&self) -> Option<&'static str> {
        match self.kind {
            TransformType::ENCR => encryption_name(self.id),
            TransformType::PRF => prf_name(self.id),
            TransformType::INTEG => integrity_name(self.id),
            TransformType::ESN => sequence_numbers_name(self.id),
            TransformType(4 | 6..=12) => key_exchange_name(self.id),
            TransformType(_) => None,
        }
    }
}

impl From<EncryptionAlgorithm> for Transform {
    fn from(algorithm: EncryptionAlgorithm) -> Self {
        Self::new(TransformType::ENCR, algorithm.id(), algorithm.key_length_bits())
    }
}

impl From<PrfAlgorithm> for Transform {
    fn from(algorithm: PrfAlgorithm) -> Self {
        Self::new(TransformType::PRF, algorithm.id(), algorithm.key_length_bits())
    }
}

impl From<IntegrityAlgorithm> for Transform {
    fn from(algorithm: IntegrityAlgorithm) -> Self {
        Self::new(TransformType::INTEG, algorithm.id(), algorithm.key_length_bits())
    }
}

impl From<KeyExchangeMethod> for Transform {
    fn from(method: KeyExchangeMethod) -> Self {
        Self::new(TransformType::KE, method.id(), method.key_length_bits())
    }
}

impl From<SequenceNumbers> for Transform {
    fn from(numbers: SequenceNumbers) -> Self {
        Self::new(TransformType::ESN, numbers.id(), numbers.key_length_bits())
    }
}

/// The name as in logs: `AES_GCM_16_256`; a number such as `ENCR 99` where there is none.
impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name)?,
            None => write!(f, "{} {}", self.kind, self.id)?,
        }
        if let Some(bits) = self.key_length_bits() {
            return write!(f, "_{bits}");
        }
        if self.attributes.is_empty() { Ok(()) } else { write!(f, " with {} attributes", self.attributes.len()) }
    }
}

const fn encryption_name(id: u16) -> Option<&'static str> {
    Some(match id {
        2 => "DES",
        3 => "3DES",
        11 => "NULL",
        12 => "AES_CBC",
        13 => "AES_CTR",
        14 => "AES_CCM_8",
        15 => "AES_CCM_12",
        16 => "AES_CCM_16",
        18 => "AES_GCM_8",
        19 => "AES_GCM_12",
        20 => "AES_GCM_16",
        21 => "NULL_AUTH_AES_GMAC",
        23 => "CAMELLIA_CBC",
        28 => "CHACHA20_POLY1305",
        29 => "AES_CCM_8_IIV",
        30 => "AES_GCM_16_IIV",
        31 => "CHACHA20_POLY1305_IIV",
        _ => return None,
    })
}

const fn prf_name(id: u16) -> Option<&'static str> {
    Some(match id {
        1 => "PRF_HMAC_MD5",
        2 => "PRF_HMAC_SHA1",
        4 => "PRF_AES128_XCBC",
        5 => "PRF_HMAC_SHA2_256",
        6 => "PRF_HMAC_SHA2_384",
        7 => "PRF_HMAC_SHA2_512",
        8 => "PRF_AES128_CMAC",
        _ => return None,
    })
}

const fn integrity_name(id: u16) -> Option<&'static str> {
    Some(match id {
        0 => "NONE",
        1 => "HMAC_MD5_96",
        2 => "HMAC_SHA1_96",
        5 => "AES_XCBC_96",
        8 => "AES_CMAC_96",
        9 => "AES_128_GMAC",
        10 => "AES_192_GMAC",
        11 => "AES_256_GMAC",
        12 => "HMAC_SHA2_256_128",
        13 => "HMAC_SHA2_384_192",
        14 => "HMAC_SHA2_512_256",
        _ => return None,
    })
}

const fn key_exchange_name(id: u16) -> Option<&'static str> {
    Some(match id {
        0 => "NONE",
        1 => "MODP_768",
        2 => "MODP_1024",
        5 => "MODP_1536",
        14 => "MODP_2048",
        15 => "MODP_3072",
        16 => "MODP_4096",
        17 => "MODP_6144",
        18 => "MODP_8192",
        19 => "ECP_256",
        20 => "ECP_384",
        21 => "ECP_521",
        22 => "MODP_1024_160",
        23 => "MODP_2048_224",
        24 => "MODP_2048_256",
        25 => "ECP_192",
        26 => "ECP_224",
        27 => "ECP_224_BP",
        28 => "ECP_256_BP",
        29 => "ECP_384_BP",
        30 => "ECP_512_BP",
        31 => "CURVE_25519",
        32 => "CURVE_448",
        35 => "ML_KEM_512",
        36 => "ML_KEM_768",
        37 => "ML_KEM_1024",
        _ => return None,
    })
}

const fn sequence_numbers_name(id: u16) -> Option<&'static str> {
    Some(match id {
        0 => "NO_EXT_SEQ",
        1 => "EXT_SEQ",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    #[test]
    fn known_algorithms_come_back() {
        for &algorithm in EncryptionAlgorithm::ALL {
            assert_eq!(Transform::from(algorithm).encryption(), Some(algorithm));
            assert_eq!(Transform::from(algorithm).to_string(), algorithm.to_string());
        }
        for &algorithm in PrfAlgorithm::ALL {
            assert_eq!(Transform::from(algorithm).prf(), Some(algorithm));
            assert_eq!(Transform::from(algorithm).to_string(), algorithm.to_string());
        }
        for &algorithm in IntegrityAlgorithm::ALL {
            assert_eq!(Transform::from(algorithm).integrity(), Some(algorithm));
            assert_eq!(Transform::from(algorithm).to_string(), algorithm.to_string());
        }
        for &method in KeyExchangeMethod::ALL {
            assert_eq!(Transform::from(method).key_exchange(), Some(method));
            assert_eq!(Transform::from(method).to_string(), method.to_string());
        }
        for &numbers in SequenceNumbers::ALL {
            assert_eq!(Transform::from(numbers).sequence_numbers(), Some(numbers));
            assert_eq!(Transform::from(numbers).to_string(), numbers.to_string());
        }
    }

    #[test]
    fn what_is_not_understood_is_no_algorithm() {
        let gcm = Transform::from(EncryptionAlgorithm::AesGcm128);
        assert_eq!(gcm.prf(), None, "another type");
        let odd = Attribute { kind: 99, value: AttributeValue::Short(128) };
        let twice = Transform { attributes: vec![gcm.attributes[0].clone(), gcm.attributes[0].clone()], ..gcm.clone() };
        let more = Transform { attributes: vec![gcm.attributes[0].clone(), odd.clone()], ..gcm.clone() };
        let long = Attribute { kind: Attribute::KEY_LENGTH, value: AttributeValue::Long(vec![0, 128]) };
        let wrong_form = Transform { attributes: vec![long], ..gcm };
        assert_eq!([twice.encryption(), more.encryption(), wrong_form.encryption()], [None; 3]);
        let x25519 = Transform { attributes: vec![odd], ..Transform::from(KeyExchangeMethod::X25519) };
        assert_eq!(x25519.key_exchange(), None, "an attribute that method does not take");
        assert_eq!(Transform::new(TransformType::KE, Transform::NONE, None).key_exchange(), None);
    }

    #[test]
    fn attributes_are_bounded() {
        let parse = |count: usize| {
            let octets = [&[4, 0, 0, 31][..], &[0x80, 14, 0, 128].repeat(count)].concat();
            Transform::parse(Reader::new(Part::Transform, &octets)).map(|transform| transform.attributes.len())
        };
        assert_eq!(parse(limits::ATTRIBUTES), Ok(limits::ATTRIBUTES));
        let fault = Fault::TooMany(limits::ATTRIBUTES);
        assert_eq!(parse(limits::ATTRIBUTES + 1), Err(ParseError::Malformed { part: Part::Transform, fault }));
    }
}
