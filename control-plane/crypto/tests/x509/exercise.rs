//! What authorities may have signed, and what anybody may show: certificates, lists of revocations, answers of OCSP. Used by the fuzz target `x509` and by
//! the test that replays its corpus.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use ike::provider::{Certificate, CertificateEncoding, Judgement, PeerProof, PeerVerifier, SigningKey};
use ike_crypto::{Crl, PrivateKeyFile, RevocationPolicy, Trust};
use ipsec_types::{Identity, SignatureEncoding, SignatureScheme};

const AUTHORITY: &[u8] = include_bytes!("authority.der");
const LEAF: &[u8] = include_bytes!("leaf.der");
const MESSAGE: &[u8] = b"InitiatorSignedOctets";

static AUTHORITY_KEY: LazyLock<PrivateKeyFile> = LazyLock::new(|| key(include_bytes!("authority.pem")));
static LEAF_KEY: LazyLock<PrivateKeyFile> = LazyLock::new(|| key(include_bytes!("leaf.pem")));

fn key(pem: &[u8]) -> PrivateKeyFile {
    PrivateKeyFile::from_pem(pem).expect("a private key")
}

/// The first octet says what the others are.
pub(crate) fn exercise(octets: &[u8]) {
    let Some((kind, octets)) = octets.split_first() else { return };
    match kind {
        // A certificate that somebody has signed, or nobody: what is read of it before and after it is believed.
        0 => {
            read(octets);
            let _verdicts = [judge(&[octets], None), judge(&[LEAF, octets], None)];
        }
        // One that an authority has signed, for the peer, and in between.
        1 => {
            let certificate = signed(octets);
            read(&certificate);
            let _verdicts = [judge(&[&certificate], None), judge(&[LEAF, &certificate], None), judge(&[&certificate, LEAF], None)];
        }
        // A list of revocations that it has signed, as it is fetched and in a file.
        2 => {
            let list = signed(octets);
            let _read = Crl::from_file(&list);
            let _verdict = judge(&[LEAF], Some(&list));
        }
        // An answer of OCSP that it has signed.
        3 => {
            let basic = sequence(4, &signed(octets));
            let bytes = sequence(0x30, &[&[6, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1], &basic[..]].concat());
            let answer = sequence(0x30, &[&[10, 1, 0], &sequence(0xa0, &bytes)[..]].concat());
            let _verdict = judge(&[LEAF], Some(&answer));
        }
        // Whatever a server may say.
        _ => {
            let _read = Crl::from_file(octets);
            let _key = ike_crypto::raw_public_key(octets);
            let _verdict = judge(&[LEAF], Some(octets));
        }
    }
}

fn read(der: &[u8]) {
    for certificate in ike_crypto::certificates(der).unwrap_or_default() {
        let _key = ike_crypto::public_key(&certificate);
        // What identifies the peer is in its certificate.
        if let Some(subject) = ike_crypto::subject(&certificate) {
            assert!(ike_crypto::certifies(&certificate, &subject).is_ok(), "{subject}");
        }
        let mut trust = Trust::new(now, Vec::new());
        let _trusted = trust.trust_authority(certificate);
    }
}

fn now() -> SystemTime {
    // 2026-06-21.
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_782_000_000)
}

/// What is said of the owner of the leaf's key who shows these, after every inquiry had the same answer.
fn judge(certificates: &[&[u8]], answer: Option<&[u8]>) -> Result<(), ()> {
    let mut trust = Trust::new(now, vec![SignatureScheme::Ed25519]);
    trust.trust_authority(AUTHORITY.to_vec()).expect("an authority");
    if answer.is_some() {
        trust.check_revocation(RevocationPolicy::Strict, Arc::default());
    }
    let shown = |der: &&[u8]| Certificate { encoding: CertificateEncoding::X509_SIGNATURE, data: der.to_vec() };
    let proof = PeerProof {
        identity: Identity::Fqdn("gw.example".to_owned()),
        certificates: certificates.iter().map(shown).collect(),
        scheme: SignatureScheme::Ed25519,
        encoding: SignatureEncoding::Der,
        message: MESSAGE.to_vec(),
        signature: sign(&LEAF_KEY, MESSAGE),
    };
    // Each place that may be asked about each certificate.
    for _ in 0..4 {
        let Judgement::Open(open) = trust.judge(&proof) else { break };
        assert!(open.len() <= certificates.len());
        open.iter().for_each(|inquiry| trust.learn(inquiry, answer));
    }
    let Judgement::Said(verdict) = trust.judge(&proof) else { panic!("somebody is asked for ever") };
    assert_eq!(verdict, trust.verify(&proof));
    verdict.map_err(|detail| assert!(!detail.summary.is_empty()))
}

fn sign(key: &PrivateKeyFile, message: &[u8]) -> Vec<u8> {
    key.sign(SignatureScheme::Ed25519, SignatureEncoding::Der, message).expect("a signature")
}

/// `SEQUENCE { toBeSigned, signatureAlgorithm, signature }` by the authority.
fn signed(content: &[u8]) -> Vec<u8> {
    const ED25519: &[u8] = &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70];
    let signature = [&[0], &sign(&AUTHORITY_KEY, content)[..]].concat();
    sequence(0x30, &[content, ED25519, &sequence(3, &signature)].concat())
}

/// A DER value, of at most 65535 octets.
fn sequence(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let [high, low] = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
    let header = match len {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&header[..], content].concat()
}
