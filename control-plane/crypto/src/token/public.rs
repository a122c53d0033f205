//! The public half of a key in a token, as SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).

use cryptoki::object::{Attribute, AttributeType, CertificateType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use der::asn1::{Any, BitString, Null, ObjectIdentifier, OctetStringRef, UintRef};
use der::{Decode, Encode};
use ipsec_types::KeyKind;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use super::TokenError;
use crate::x509;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublicKey {
    pub(super) kind: KeyKind,
    /// SubjectPublicKeyInfo, DER.
    pub(super) info: Vec<u8>,
}

impl PublicKey {
    /// A private key of RSA has its public half; others have a public key beside them, or a certificate.
    pub(super) fn of(session: &Session, private: ObjectHandle) -> Result<Self, TokenError> {
        use AttributeType as T;
        let wanted = [T::Id, T::Modulus, T::PublicExponent, T::EcParams, T::EcPoint];
        let private = session.get_attributes(private, &wanted)?;
        if let Some(info) = rsa(&private) {
            return Self::read(info);
        }
        let id =
            private.iter().find(|attribute| matches!(attribute, Attribute::Id(id) if !id.is_empty())).ok_or(TokenError::NoPublicKey)?;
        if let Some(public) = session.find_objects(&[Attribute::Class(ObjectClass::PUBLIC_KEY), id.clone()])?.first() {
            let public = session.get_attributes(*public, &wanted)?;
            return Self::read(rsa(&public).or_else(|| elliptic(&public)).ok_or(TokenError::Unsupported)?);
        }
        let certificate = [Attribute::Class(ObjectClass::CERTIFICATE), Attribute::CertificateType(CertificateType::X_509), id.clone()];
        let certificate = *session.find_objects(&certificate)?.first().ok_or(TokenError::NoPublicKey)?;
        match session.get_attributes(certificate, &[T::Value])?.as_slice() {
            [Attribute::Value(der)] => Self::read(x509::public_key(der).ok_or(TokenError::NoPublicKey)?),
            _ => Err(TokenError::NoPublicKey),
        }
    }

    fn read(info: Vec<u8>) -> Result<Self, TokenError> {
        let kind = kind(&info).ok_or(TokenError::Unsupported)?;
        Ok(Self { kind, info })
    }
}

fn kind(info: &[u8]) -> Option<KeyKind> {
    let SubjectPublicKeyInfoOwned { algorithm, subject_public_key } = SubjectPublicKeyInfoOwned::from_der(info).ok()?;
    match algorithm.oid {
        RSA => {
            let numbers = Vec::<UintRef<'_>>::from_der(subject_public_key.as_bytes()?).ok()?;
            (2048..=8192).contains(&(8 * numbers.first()?.as_bytes().len())).then_some(KeyKind::Rsa)
        }
        EC => match algorithm.parameters?.decode_as().ok()? {
            P256 => Some(KeyKind::EcdsaP256),
            P384 => Some(KeyKind::EcdsaP384),
            P521 => Some(KeyKind::EcdsaP521),
            _ => None,
        },
        ED25519 => Some(KeyKind::Ed25519),
        _ => None,
    }
}

/// RFC 3279 section 2.3.1.
fn rsa(key: &[Attribute]) -> Option<Vec<u8>> {
    let modulus = key.iter().find_map(|attribute| if let Attribute::Modulus(value) = attribute { Some(value) } else { None })?;
    let exponent = key.iter().find_map(|attribute| if let Attribute::PublicExponent(value) = attribute { Some(value) } else { None })?;
    let numbers = vec![UintRef::new(modulus).ok()?, UintRef::new(exponent).ok()?].to_der().ok()?;
    info(AlgorithmIdentifierOwned { oid: RSA, parameters: Any::encode_from(&Null).ok() }, &numbers)
}

/// RFC 5480 section 2, and RFC 8410 section 4.
fn elliptic(key: &[Attribute]) -> Option<Vec<u8>> {
    let curve = key.iter().find_map(|attribute| if let Attribute::EcParams(value) = attribute { Some(value) } else { None })?;
    let point = key.iter().find_map(|attribute| if let Attribute::EcPoint(value) = attribute { Some(value) } else { None })?;
    // In an OCTET STRING (PKCS #11 version 2.40, current mechanisms, section 2.3.3); some tokens leave that out.
    let point = <&OctetStringRef>::from_der(point).map_or(point.as_slice(), OctetStringRef::as_bytes);
    // Edwards curves have a name or an identifier (PKCS #11 version 3.0, current mechanisms, section 2.3.10).
    let of_edwards = curve == b"\x13\x0cedwards25519" || ObjectIdentifier::from_der(curve) == Ok(ED25519);
    let algorithm = if of_edwards {
        AlgorithmIdentifierOwned { oid: ED25519, parameters: None }
    } else {
        AlgorithmIdentifierOwned { oid: EC, parameters: Some(Any::from_der(curve).ok()?) }
    };
    info(algorithm, point)
}

fn info(algorithm: AlgorithmIdentifierOwned, key: &[u8]) -> Option<Vec<u8>> {
    SubjectPublicKeyInfoOwned { algorithm, subject_public_key: BitString::from_bytes(key).ok()? }.to_der().ok()
}
