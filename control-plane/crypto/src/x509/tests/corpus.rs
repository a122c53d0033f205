//! Keys that rcgen does not make, by OpenSSL: those that are too weak, and those whose signatures are forged. And every bad chain side by side.

use std::collections::BTreeSet;

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, BigNumContext};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sha::sha256;
use openssl::sign::Signer;
use openssl::x509::extension::{BasicConstraints as Constraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509NameBuilder};
use x509_cert::der::{Header, Reader, SliceReader};

use super::*;

fn rsa(bits: u32, exponent: u32) -> PKey<Private> {
    let exponent = BigNum::from_u32(exponent).unwrap();
    PKey::from_rsa(Rsa::generate_with_e(bits, &exponent).unwrap()).unwrap()
}

/// A certificate of gw.example, or of an authority, for a key of OpenSSL; `issuer` and its key have signed it, or the key itself.
fn certificate(key: &PKey<Private>, ca: bool, issuer: Option<(&X509, &PKey<Private>)>) -> X509 {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", if ca { "made by OpenSSL" } else { "a gateway" }).unwrap();
    let name = name.build();
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(77).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(issuer.map_or(&name, |(issuer, _)| issuer.subject_name())).unwrap();
    builder.set_not_before(&Asn1Time::from_str("20260101000000Z").unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_str("20270101000000Z").unwrap()).unwrap();
    builder.set_pubkey(key).unwrap();
    if ca {
        builder.append_extension(Constraints::new().critical().ca().build().unwrap()).unwrap();
    } else {
        let names = SubjectAlternativeName::new().dns("gw.example").build(&builder.x509v3_context(None, None)).unwrap();
        builder.append_extension(names).unwrap();
    }
    builder.sign(issuer.map_or(key, |(_, key)| key), MessageDigest::sha256()).unwrap();
    builder.build()
}

/// The root that rcgen has made, for OpenSSL.
fn root() -> (X509, PKey<Private>) {
    let key = PKey::private_key_from_pem(ROOT.issuer.key().serialize_pem().as_bytes()).unwrap();
    (X509::from_der(&ROOT.der).unwrap(), key)
}

fn shown_by(signature: Vec<u8>, scheme: SignatureScheme, certificates: &[Vec<u8>]) -> PeerProof {
    let shown = |der: &Vec<u8>| Shown { encoding: CertificateEncoding::X509_SIGNATURE, data: der.clone() };
    PeerProof {
        identity: "gw.example".parse().unwrap(),
        certificates: certificates.iter().map(shown).collect(),
        scheme,
        encoding: SignatureEncoding::Der,
        message: MESSAGE.to_vec(),
        signature,
    }
}

const MESSAGE: &[u8] = b"InitiatorSignedOctets";

fn signed(key: &PKey<Private>) -> Vec<u8> {
    Signer::new(MessageDigest::sha256(), key).unwrap().sign_oneshot_to_vec(MESSAGE).unwrap()
}

/// DigestInfo of SHA-256 (RFC 8017 section 9.2).
fn digest_info(message: &[u8]) -> Vec<u8> {
    const SHA256: [u8; 19] = [0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20];
    [&SHA256[..], &sha256(message)].concat()
}

/// What Bleichenbacher showed at Crypto 2006: without the private key, a number whose cube begins as a padded digest does, with little padding and
/// garbage at the end. A verifier that does not count the octets of the padding believes it.
fn forged(message: &[u8]) -> Vec<u8> {
    let begin = [&[0, 1][..], &[0xff; 8], &[0], &digest_info(message)].concat();
    let mut least = begin.clone();
    least.resize(256, 0);
    let (least, mut context) = (BigNum::from_slice(&least).unwrap(), BigNumContext::new().unwrap());
    let mut cube = |root: &BigNum| {
        let (mut square, mut cube) = (BigNum::new().unwrap(), BigNum::new().unwrap());
        square.sqr(root, &mut context).unwrap();
        cube.checked_mul(&square, root, &mut context).unwrap();
        cube
    };
    // The least root whose cube is not below.
    let mut root = BigNum::new().unwrap();
    for bit in (0..683).rev() {
        root.set_bit(bit).unwrap();
        if cube(&root) >= least {
            root.clear_bit(bit).unwrap();
        }
    }
    root.add_word(1).unwrap();
    assert!(cube(&root).to_vec_padded(256).unwrap().starts_with(&begin), "it would be believed by who does not look closely");
    root.to_vec_padded(256).unwrap()
}

/// The octets that are signed of a certificate.
fn to_be_signed(der: &[u8]) -> &[u8] {
    let mut reader = SliceReader::new(der).unwrap();
    Header::decode(&mut reader).unwrap();
    reader.tlv_bytes().unwrap()
}

fn why(trust: &Trust, proof: &PeerProof) -> String {
    trust.verify(proof).unwrap_err().summary
}

#[test]
fn a_key_that_is_too_weak_is_refused_wherever_it_stands() {
    let (root, root_key) = root();
    let weak = rsa(1024, 65537);
    let leaf = certificate(&weak, false, Some((&root, &root_key))).to_der().unwrap();
    let refusal = why(&trust(), &shown_by(signed(&weak), SignatureScheme::RsaSha256, &[leaf]));
    assert!(refusal.contains("RSA of 1024 bits"), "{refusal}");

    let (middle, key) = (certificate(&weak, true, Some((&root, &root_key))), rsa(2048, 65537));
    let leaf = certificate(&key, false, Some((&middle, &weak))).to_der().unwrap();
    let refusal = why(&trust(), &shown_by(signed(&key), SignatureScheme::RsaSha256, &[leaf, middle.to_der().unwrap()]));
    assert!(refusal.contains("RSA of 1024 bits"), "{refusal}");

    assert_eq!(trust().trust_authority(certificate(&weak, true, None).to_der().unwrap()), Err(AuthorityError::WeakKey(1024)));
}

#[test]
fn a_signature_of_exponent_3_is_believed_if_it_is_one_and_not_if_it_is_forged() {
    let (ca_key, key) = (rsa(2048, 3), rsa(2048, 3));
    let ca = certificate(&ca_key, true, None);
    let mut trust = Trust::new(clock, SignatureScheme::ALL.to_vec());
    trust.trust_authority(ca.to_der().unwrap()).unwrap();
    let leaf = certificate(&key, false, Some((&ca, &ca_key))).to_der().unwrap();
    assert_eq!(trust.verify(&shown_by(signed(&key), SignatureScheme::RsaSha256, std::slice::from_ref(&leaf))), Ok(()));

    // AUTH is forged.
    let refusal = why(&trust, &shown_by(forged(MESSAGE), SignatureScheme::RsaSha256, std::slice::from_ref(&leaf)));
    assert!(refusal.contains("the signature of gw.example is not right"), "{refusal}");
    // The certificate is: nobody but its holder had a hand in it.
    let mut false_leaf = certificate(&rsa(2048, 65537), false, Some((&ca, &key))).to_der().unwrap();
    let forgery = forged(to_be_signed(&false_leaf));
    let at = false_leaf.len() - forgery.len();
    false_leaf[at..].copy_from_slice(&forgery);
    let refusal = why(&trust, &shown_by(signed(&key), SignatureScheme::RsaSha256, &[false_leaf]));
    assert!(refusal.contains("its signature is not that of the authority"), "{refusal}");
}

#[test]
fn a_certificate_that_is_configured_is_believed_only_in_its_time() {
    type Change = fn(&mut CertificateParams);
    let cases: [(Change, &str); 2] = [
        (|params| params.not_after = date_time_ymd(2026, 2, 1), "has expired"),
        (|params| params.not_before = date_time_ymd(2026, 12, 1), "is not valid yet"),
    ];
    for (change, reason) in cases {
        let (certificate, key) = gateway(&authority("nobody knows", |_| {}), change);
        let mut trust = Trust::new(clock, SignatureScheme::ALL.to_vec());
        trust.trust_certificate(certificate.clone());
        for shown in [&[&certificate[..]][..], &[]] {
            let detail = trust.verify(&proof("gw.example", &key, shown)).unwrap_err();
            assert!(detail.summary.contains(reason) && detail.remedy.contains("remote.certs"), "{detail:?}");
        }
    }
}

/// What is refused for one reason is not told for another.
#[test]
fn no_two_bad_chains_have_the_same_reason() {
    let mut reasons: Vec<String> = vec![
        refused(|params| params.not_after = date_time_ymd(2026, 2, 1)),
        refused(|params| params.not_before = date_time_ymd(2026, 12, 1)),
        refused(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]),
        refused(|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]),
        refused(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        refused(unknown_critical_extension),
        refused(|params| params.subject_alt_names = vec![SanType::DnsName("other.example".try_into().unwrap())]),
    ];
    let over = |change: fn(&mut CertificateParams)| {
        let (params, key) = (authority_params("in between", change), p256());
        let middle = params.signed_by(&key, &ROOT.issuer).unwrap().der().to_vec();
        let (certificate, key) = gateway(&Issuer::new(params, key), |_| {});
        why(&trust(), &proof("gw.example", &key, &[&certificate, &middle]))
    };
    reasons.push(over(|params| params.is_ca = IsCa::ExplicitNoCa));
    reasons.push(over(|params| {
        let elsewhere = vec![GeneralSubtree::DnsName("other.example".into())];
        params.name_constraints = Some(NameConstraints { permitted_subtrees: elsewhere, excluded_subtrees: vec![] });
    }));
    let (root, root_key) = root();
    let (weak, key) = (rsa(1024, 65537), rsa(2048, 3));
    let of = |key: &PKey<Private>| vec![certificate(key, false, Some((&root, &root_key))).to_der().unwrap()];
    reasons.push(why(&trust(), &shown_by(signed(&weak), SignatureScheme::RsaSha256, &of(&weak))));
    reasons.push(why(&trust(), &shown_by(forged(MESSAGE), SignatureScheme::RsaSha256, &of(&key))));
    let distinct: BTreeSet<&String> = reasons.iter().collect();
    assert_eq!(distinct.len(), reasons.len(), "{reasons:#?}");
}
