//! Certificates made by rcgen: who is believed, and each way in which a certificate is bad, refused with its own reason.

use std::sync::LazyLock;
use std::time::Duration;

use ike::provider::{Certificate as Shown, SigningKey};
use ipsec_types::{KeyKind, SignatureEncoding, SignatureScheme};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, NameConstraints, SanType, date_time_ymd,
};

use super::*;
use crate::{PrivateKeyFile, bare_scheme, schemes};

pub(crate) fn clock() -> SystemTime {
    // The middle of 2026.
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_782_000_000)
}

fn p256() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

/// An authority, with the parameters that `change` makes other than usual.
pub(crate) fn authority(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issuer<'static, KeyPair> {
    Issuer::new(authority_params(name, change), p256())
}

pub(crate) fn authority_params(name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    change(&mut params);
    params
}

/// A gateway's certificate of gw.example with its key.
pub(crate) fn gateway(issuer: &Issuer<'_, KeyPair>, change: impl FnOnce(&mut CertificateParams)) -> (Vec<u8>, PrivateKeyFile) {
    gateway_with(&p256(), issuer, change)
}

fn gateway_with(key: &KeyPair, issuer: &Issuer<'_, KeyPair>, change: impl FnOnce(&mut CertificateParams)) -> (Vec<u8>, PrivateKeyFile) {
    let mut params = CertificateParams::new(["gw.example".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "a gateway");
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
    change(&mut params);
    let certificate = params.signed_by(key, issuer).unwrap();
    (certificate.der().to_vec(), PrivateKeyFile::from_pem(key.serialize_pem().as_bytes()).unwrap())
}

pub(crate) struct Root {
    pub(crate) issuer: Issuer<'static, KeyPair>,
    pub(crate) der: Vec<u8>,
}

pub(crate) static ROOT: LazyLock<Root> = LazyLock::new(|| {
    let (params, key) = (authority_params("root", |_| {}), p256());
    let der = params.self_signed(&key).unwrap().der().to_vec();
    Root { issuer: Issuer::new(params, key), der }
});

fn trust() -> Trust {
    let mut trust = Trust::new(clock, SignatureScheme::ALL.to_vec());
    trust.trust_authority(ROOT.der.clone()).unwrap();
    trust
}

/// What the owner of a key shows as `identity`.
pub(crate) fn proof(identity: &str, key: &PrivateKeyFile, certificates: &[&[u8]]) -> PeerProof {
    let scheme = schemes(key.kind())[0];
    let message = b"InitiatorSignedOctets".to_vec();
    let encoding = SignatureEncoding::Der;
    let signature = key.sign(scheme, encoding, &message).unwrap();
    let shown = |der: &&[u8]| Shown { encoding: CertificateEncoding::X509_SIGNATURE, data: der.to_vec() };
    let certificates = certificates.iter().map(shown).collect();
    PeerProof { identity: identity.parse().unwrap(), certificates, scheme, encoding, message, signature }
}

/// Why a certificate that is bad in one way is refused.
fn refused(change: impl FnOnce(&mut CertificateParams)) -> String {
    let (certificate, key) = gateway(&ROOT.issuer, change);
    trust().verify(&proof("gw.example", &key, &[&certificate])).unwrap_err().summary
}

#[test]
fn a_certificate_of_a_trusted_authority_is_believed_for_each_of_its_names() {
    let (certificate, key) = gateway(&ROOT.issuer, |params| {
        params.subject_alt_names.push(SanType::IpAddress("192.0.2.7".parse().unwrap()));
        params.subject_alt_names.push(SanType::IpAddress("2001:db8::7".parse().unwrap()));
        params.subject_alt_names.push(SanType::Rfc822Name("admin@example.org".try_into().unwrap()));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 17])];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    });
    for name in ["gw.example", "GW.example", "192.0.2.7", "2001:db8::7", "admin@example.org", "CN=a gateway"] {
        assert_eq!(trust().verify(&proof(name, &key, &[&certificate])), Ok(()), "{name}");
    }
}

#[test]
fn a_certificate_in_between_may_come_with_it_in_any_order() {
    let (params, middle_key) = (authority_params("middle", |_| {}), p256());
    let middle = params.signed_by(&middle_key, &ROOT.issuer).unwrap().der().to_vec();
    let (certificate, key) = gateway(&Issuer::new(params, middle_key), |_| {});
    assert_eq!(trust().verify(&proof("gw.example", &key, &[&certificate, &middle])), Ok(()));
    assert_eq!(trust().verify(&proof("gw.example", &key, &[&certificate, &ROOT.der, &middle])), Ok(()));
    let alone = trust().verify(&proof("gw.example", &key, &[&certificate])).unwrap_err();
    assert!(alone.summary.contains("no authority that is trusted here"), "{alone:?}");
}

/// IKEv1 has no order of certificates.
#[test]
fn in_ikev1_the_own_certificate_may_come_last() {
    let (params, middle_key) = (authority_params("middle", |_| {}), p256());
    let middle = params.signed_by(&middle_key, &ROOT.issuer).unwrap().der().to_vec();
    let (certificate, key) = gateway(&Issuer::new(params, middle_key), |_| {});
    for shown in [[&certificate[..], &middle, &ROOT.der], [&ROOT.der, &middle, &certificate], [&middle, &certificate, &ROOT.der]] {
        let mut proof = proof("gw.example", &key, &shown);
        (proof.scheme, proof.encoding, proof.message) = (SignatureScheme::EcdsaBare, SignatureEncoding::Fixed, vec![7; 32]);
        proof.signature = key.sign(proof.scheme, proof.encoding, &proof.message).unwrap();
        assert_eq!(trust().verify(&proof), Ok(()));
    }
    // IKEv2 has: "The first certificate MUST contain the public key used to verify the AUTH field" (RFC 7296 section 3.6).
    assert!(trust().verify(&proof("gw.example", &key, &[&middle, &certificate])).is_err());
}

/// "Up to four X.509 certificates" (RFC 7296 section 3.6): the gateway's own and three in between.
#[test]
fn four_certificates_make_a_path() {
    let mut between: Vec<Vec<u8>> = vec![];
    let mut issuer = None;
    for name in ["first", "second", "third"] {
        let (params, key) = (authority_params(name, |_| {}), p256());
        between.push(params.signed_by(&key, issuer.as_ref().unwrap_or(&ROOT.issuer)).unwrap().der().to_vec());
        issuer = Some(Issuer::new(params, key));
    }
    let (certificate, key) = gateway(&issuer.unwrap(), |_| {});
    let [first, second, third] = &between[..] else { panic!() };
    assert_eq!(trust().verify(&proof("gw.example", &key, &[&certificate, third, second, first])), Ok(()));
    assert!(trust().verify(&proof("gw.example", &key, &[&certificate, third, first])).is_err(), "one is missing");
}

#[test]
fn each_kind_of_key_is_checked_in_each_scheme_and_encoding() {
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let keys = [
        (rsa, KeyKind::Rsa),
        (p256(), KeyKind::EcdsaP256),
        (KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap(), KeyKind::EcdsaP384),
        (KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap(), KeyKind::EcdsaP521),
        (KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap(), KeyKind::Ed25519),
    ];
    for (pair, kind) in keys {
        let (certificate, key) = gateway_with(&pair, &ROOT.issuer, |_| {});
        assert_eq!(key.kind(), kind);
        for &scheme in schemes(kind) {
            for encoding in [SignatureEncoding::Der, SignatureEncoding::Fixed] {
                let mut proof = proof("gw.example", &key, &[&certificate]);
                (proof.scheme, proof.encoding) = (scheme, encoding);
                proof.signature = key.sign(scheme, encoding, &proof.message).unwrap();
                assert_eq!(trust().verify(&proof), Ok(()), "{scheme} {encoding:?}");
                proof.signature[20] ^= 1;
                assert!(trust().verify(&proof).is_err(), "{scheme} {encoding:?}");
            }
        }
        // As IKEv1 signs: what is signed is a hash of the method's length.
        if let Some(scheme) = bare_scheme(kind) {
            let mut proof = proof("gw.example", &key, &[&certificate]);
            (proof.scheme, proof.encoding) = (scheme, SignatureEncoding::Fixed);
            proof.message = vec![
                7;
                match kind {
                    KeyKind::EcdsaP384 => 48,
                    KeyKind::EcdsaP521 => 64,
                    _ => 32,
                }
            ];
            proof.signature = key.sign(scheme, proof.encoding, &proof.message).unwrap();
            assert_eq!(trust().verify(&proof), Ok(()), "{scheme} {kind}");
            proof.signature[20] ^= 1;
            assert!(trust().verify(&proof).unwrap_err().summary.contains("signature"), "{scheme} {kind}");
        }
        assert_eq!(
            key.public_key(),
            Certificate::from_der(&certificate).unwrap().tbs_certificate().subject_public_key_info().to_der().unwrap()
        );
    }
}

fn unknown_critical_extension(params: &mut CertificateParams) {
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
    extension.set_criticality(true);
    params.custom_extensions = vec![extension];
}

#[test]
fn each_bad_certificate_is_refused_for_its_own_reason() {
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2026, 2, 1);
    assert!(refused(expired).contains("it has expired"));
    let early = |params: &mut CertificateParams| params.not_before = date_time_ymd(2026, 12, 1);
    assert!(refused(early).contains("it is not valid yet"));
    let for_code = |params: &mut CertificateParams| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    assert!(refused(for_code).contains("extended key usage"));
    let encipherment = |params: &mut CertificateParams| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    assert!(refused(encipherment).contains("key usage has neither"));
    let an_authority = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    assert!(refused(an_authority).contains("it is one of an authority"));
    assert!(refused(unknown_critical_extension).contains("critical extension"));
    let another = |params: &mut CertificateParams| params.subject_alt_names = vec![SanType::DnsName("other.example".try_into().unwrap())];
    let (certificate, key) = gateway(&ROOT.issuer, another);
    let detail = trust().verify(&proof("gw.example", &key, &[&certificate])).unwrap_err();
    assert!(detail.summary.contains("not one of gw.example") && detail.theirs.contains("other.example"), "{detail:?}");
}

#[test]
fn a_path_over_somebody_who_is_no_authority_is_refused() {
    let (params, middle_key) = (authority_params("no authority", |params| params.is_ca = IsCa::ExplicitNoCa), p256());
    let middle = params.signed_by(&middle_key, &ROOT.issuer).unwrap().der().to_vec();
    let (certificate, key) = gateway(&Issuer::new(params, middle_key), |_| {});
    let detail = trust().verify(&proof("gw.example", &key, &[&certificate, &middle])).unwrap_err();
    assert!(detail.summary.contains("CA:false"), "{detail:?}");
    assert_eq!(trust().trust_authority(middle), Err(AuthorityError::NoAuthority));
    assert_eq!(trust().trust_authority(vec![1, 2, 3]), Err(AuthorityError::Malformed));
}

#[test]
fn name_constraints_and_path_lengths_of_authorities_hold() {
    let elsewhere = |params: &mut CertificateParams| {
        params.name_constraints =
            Some(NameConstraints { permitted_subtrees: vec![GeneralSubtree::DnsName("other.example".into())], excluded_subtrees: vec![] });
    };
    let (params, middle_key) = (authority_params("constrained", elsewhere), p256());
    let middle = params.signed_by(&middle_key, &ROOT.issuer).unwrap().der().to_vec();
    let (certificate, key) = gateway(&Issuer::new(params, middle_key), |_| {});
    let detail = trust().verify(&proof("gw.example", &key, &[&certificate, &middle])).unwrap_err();
    assert!(detail.summary.contains("name constraints"), "{detail:?}");

    let short = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let (params, top_key) = (authority_params("short", short), p256());
    let top = params.signed_by(&top_key, &ROOT.issuer).unwrap().der().to_vec();
    let top_issuer = Issuer::new(params, top_key);
    let (params, middle_key) = (authority_params("below", |_| {}), p256());
    let middle = params.signed_by(&middle_key, &top_issuer).unwrap().der().to_vec();
    let (certificate, key) = gateway(&Issuer::new(params, middle_key), |_| {});
    let detail = trust().verify(&proof("gw.example", &key, &[&certificate, &middle, &top])).unwrap_err();
    assert!(detail.summary.contains("more authorities on the path"), "{detail:?}");
}

#[test]
fn an_authority_of_the_same_name_with_another_key_is_nobody() {
    let (certificate, key) = gateway(&authority("root", |_| {}), |_| {});
    let detail = trust().verify(&proof("gw.example", &key, &[&certificate])).unwrap_err();
    assert!(detail.summary.contains("not that of the authority") || detail.summary.contains("no authority that is trusted"), "{detail:?}");
}

#[test]
fn the_key_must_be_the_certificates() {
    let (certificate, _) = gateway(&ROOT.issuer, |_| {});
    let (_, other) = gateway(&ROOT.issuer, |_| {});
    let detail = trust().verify(&proof("gw.example", &other, &[&certificate])).unwrap_err();
    assert!(detail.summary.contains("the signature of gw.example is not right"), "{detail:?}");
    // Of the right key, but called another algorithm.
    let (certificate, key) = gateway(&ROOT.issuer, |_| {});
    let mut proof = proof("gw.example", &key, &[&certificate]);
    proof.scheme = SignatureScheme::RsaSha256;
    assert!(trust().verify(&proof).unwrap_err().summary.contains("not accepted"));
    proof.scheme = SignatureScheme::RsaSha1;
    assert!(trust().verify(&proof).unwrap_err().summary.contains("not accepted"));
}

#[test]
fn what_is_no_certificate_is_refused() {
    let (_, key) = gateway(&ROOT.issuer, |_| {});
    assert!(trust().verify(&proof("gw.example", &key, &[])).unwrap_err().summary.contains("shows no certificate"));
    assert!(trust().verify(&proof("gw.example", &key, &[&[0x30, 3, 1, 1, 0]])).unwrap_err().summary.contains("not valid"));
    let mut by_url = proof("gw.example", &key, &[b"http://192.0.2.1/"]);
    by_url.certificates[0].encoding = CertificateEncoding::X509_HASH_AND_URL;
    assert!(trust().verify(&by_url).unwrap_err().summary.contains("fetched by URL"));
}

#[test]
fn a_certificate_or_key_that_is_configured_needs_no_authority_and_no_sending() {
    let (certificate, key) = gateway(&authority("nobody knows", |_| {}), |_| {});
    let mut trust = Trust::new(clock, SignatureScheme::ALL.to_vec());
    trust.trust_certificate(certificate.clone());
    assert_eq!(trust.verify(&proof("gw.example", &key, &[&certificate])), Ok(()));
    assert_eq!(trust.verify(&proof("gw.example", &key, &[])), Ok(()));
    assert!(trust.verify(&proof("other.example", &key, &[&certificate])).is_err());

    let mut trust = Trust::new(clock, SignatureScheme::ALL.to_vec());
    trust.trust_key(key.public_key().to_vec());
    let mut raw = proof("gw.example", &key, &[key.public_key()]);
    raw.certificates[0].encoding = CertificateEncoding::RAW_PUBLIC_KEY;
    assert_eq!(trust.verify(&raw), Ok(()));
    assert_eq!(trust.verify(&proof("gw.example", &key, &[])), Ok(()));
    let (_, other) = gateway(&ROOT.issuer, |_| {});
    let mut unknown = proof("gw.example", &other, &[other.public_key()]);
    unknown.certificates[0].encoding = CertificateEncoding::RAW_PUBLIC_KEY;
    assert!(trust.verify(&unknown).unwrap_err().summary.contains("is not known"));
}

#[test]
fn authorities_are_asked_for_by_the_hash_of_their_key() {
    let key = Certificate::from_der(&ROOT.der).unwrap().tbs_certificate().subject_public_key_info().to_der().unwrap();
    assert_eq!(trust().authorities(), [crate::sha1::sha1(&[&key])]);
}

mod corpus;
