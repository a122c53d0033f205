//! Revocation: lists made by rcgen, answers of OCSP made by python3-cryptography (`vectors/make.py`), and who is asked when.

use std::sync::LazyLock;

use ike::provider::{Judgement, PeerProof, PeerVerifier};
use ipsec_types::SignatureScheme;
use rcgen::{
    CertificateParams, CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint, Issuer, KeyIdMethod, KeyPair,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use serde_json::Value;

use super::*;
use crate::x509::Trust;
use crate::x509::tests::{ROOT, authority, clock, gateway, proof};

const AT: &str = "http://pki.example/ca.crl";

/// A list of the root that revokes number 666.
fn list(change: impl FnOnce(&mut CertificateRevocationListParams)) -> Vec<u8> {
    list_by(&ROOT.issuer, change)
}

fn list_by(issuer: &Issuer<'_, KeyPair>, change: impl FnOnce(&mut CertificateRevocationListParams)) -> Vec<u8> {
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(666_u64),
        revocation_time: date_time_ymd(2026, 5, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let mut params = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 6, 1),
        next_update: date_time_ymd(2026, 7, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    change(&mut params);
    params.signed_by(issuer).unwrap().der().to_vec()
}

fn revoked(params: &mut CertificateParams) {
    params.serial_number = Some(SerialNumber::from(666_u64));
}

fn with_address(params: &mut CertificateParams) {
    params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![AT.to_owned()] }];
}

fn trust(policy: Policy, known: Revocations) -> Trust {
    let mut trust = Trust::new(clock, SignatureScheme::ALL.to_vec());
    trust.trust_authority(ROOT.der.clone()).unwrap();
    trust.check_revocation(policy, Arc::new(known));
    trust
}

fn knowing(der: &[u8]) -> Revocations {
    let mut known = Revocations::default();
    known.add_list(Crl::from_der(der).unwrap());
    known
}

/// Who has to be asked about a proof.
fn open(trust: &Trust, proof: &PeerProof) -> Vec<Inquiry> {
    match trust.judge(proof) {
        Judgement::Open(inquiries) => inquiries,
        Judgement::Said(_) => Vec::new(),
    }
}

/// What is said of a certificate, after everybody who can be asked has said `answer`.
fn judged(trust: &Trust, change: impl FnOnce(&mut CertificateParams), answer: Option<&[u8]>) -> Result<(), String> {
    let (certificate, key) = gateway(&ROOT.issuer, change);
    let proof = proof("gw.example", &key, &[&certificate]);
    for inquiry in open(trust, &proof) {
        trust.learn(&inquiry, answer);
    }
    trust.verify(&proof).map_err(|detail| detail.summary)
}

const REVOKED: &str = "has been revoked";
const NOT_KNOWN: &str = "is not known whether";

#[test]
fn a_revoked_certificate_is_refused_whatever_the_policy_and_wherever_the_list_is_from() {
    for policy in [Policy::Relaxed, Policy::IfUri, Policy::Strict] {
        let from_file = trust(policy, knowing(&list(|_| {})));
        assert!(judged(&from_file, revoked, None).unwrap_err().contains(REVOKED));
        assert_eq!(judged(&from_file, |_| {}, None), Ok(()));
        let fetched = trust(policy, Revocations::default());
        let both = |params: &mut CertificateParams| {
            revoked(params);
            with_address(params);
        };
        assert!(judged(&fetched, both, Some(&list(|_| {}))).unwrap_err().contains(REVOKED));
        assert_eq!(judged(&fetched, with_address, Some(&list(|_| {}))), Ok(()));
    }
    assert_eq!(judged(&trust(Policy::Off, knowing(&list(|_| {}))), revoked, None), Ok(()));
}

#[test]
fn what_is_not_known_is_for_the_policy_to_judge() {
    let known = |policy, change: fn(&mut CertificateParams), answer| judged(&trust(policy, Revocations::default()), change, answer);
    for answer in [None, Some(&b"no list"[..])] {
        assert_eq!(known(Policy::Relaxed, with_address, answer), Ok(()));
        assert!(known(Policy::IfUri, with_address, answer).unwrap_err().contains(NOT_KNOWN));
        assert!(known(Policy::Strict, with_address, answer).unwrap_err().contains(NOT_KNOWN));
        assert_eq!(known(Policy::IfUri, |_| {}, answer), Ok(()), "there is nobody to ask");
        assert!(known(Policy::Strict, |_| {}, answer).unwrap_err().contains(NOT_KNOWN));
    }
}

#[test]
fn a_list_counts_in_its_time_by_its_issuer_and_for_what_it_is_about() {
    let strict = |der: &[u8]| judged(&trust(Policy::Strict, knowing(der)), with_address, None);
    assert_eq!(strict(&list(|_| {})), Ok(()));
    let bad: [Vec<u8>; 4] = [
        list(|params| (params.this_update, params.next_update) = (date_time_ymd(2026, 5, 1), date_time_ymd(2026, 6, 2))),
        list(|params| (params.this_update, params.next_update) = (date_time_ymd(2026, 7, 1), date_time_ymd(2026, 8, 1))),
        // Another key of the same name.
        list_by(&authority("root", |_| {}), |_| {}),
        list_by(&authority("another", |_| {}), |_| {}),
    ];
    for der in bad {
        assert!(strict(&der).unwrap_err().contains(NOT_KNOWN));
    }
    let of = |uri: &str, scope| {
        let distribution_point = CrlDistributionPoint { uris: vec![uri.to_owned()] };
        let point = Some(CrlIssuingDistributionPoint { distribution_point, scope });
        strict(&list(|params| params.issuing_distribution_point = point))
    };
    assert_eq!(of(AT, None), Ok(()));
    assert_eq!(of(AT, Some(rcgen::CrlScope::UserCertsOnly)), Ok(()));
    assert!(of(AT, Some(rcgen::CrlScope::CaCertsOnly)).unwrap_err().contains(NOT_KNOWN));
    assert!(of("http://pki.example/other.crl", None).unwrap_err().contains(NOT_KNOWN));
}

#[test]
fn certificates_in_between_are_looked_up_as_well() {
    let (params, middle_key) = (crate::x509::tests::authority_params("middle", revoked), KeyPair::generate().unwrap());
    let middle = params.signed_by(&middle_key, &ROOT.issuer).unwrap().der().to_vec();
    let (certificate, key) = gateway(&Issuer::new(params, middle_key), |_| {});
    let shown = proof("gw.example", &key, &[&certificate, &middle]);
    let refused = trust(Policy::Relaxed, knowing(&list(|_| {}))).verify(&shown).unwrap_err();
    assert!(refused.summary.contains(REVOKED) && refused.theirs.contains("middle"), "{refused:?}");
}

/// CVE class: an address out of a certificate that anybody may have made.
#[test]
fn nobody_is_asked_before_the_path_holds_and_the_key_has_signed() {
    let relaxed = trust(Policy::Relaxed, Revocations::default());
    let (certificate, key) = gateway(&ROOT.issuer, with_address);
    let good = proof("gw.example", &key, &[&certificate]);
    assert_eq!(open(&relaxed, &good), [Inquiry { url: AT.to_owned(), question: None }]);
    let (strange, its_key) = gateway(&authority("nobody knows", |_| {}), with_address);
    assert_eq!(open(&relaxed, &proof("gw.example", &its_key, &[&strange])), []);
    let (expired, its_key) = gateway(&ROOT.issuer, |params| {
        with_address(params);
        params.not_after = date_time_ymd(2026, 2, 1);
    });
    assert_eq!(open(&relaxed, &proof("gw.example", &its_key, &[&expired])), []);
    assert_eq!(open(&relaxed, &proof("other.example", &key, &[&certificate])), []);
    let (_, another) = gateway(&ROOT.issuer, |_| {});
    assert_eq!(open(&relaxed, &proof("gw.example", &another, &[&certificate])), []);
    assert_eq!(open(&trust(Policy::Off, Revocations::default()), &good), []);
    // Addresses of other kinds are not followed, and of many only the first.
    let of = |uris: &[&str]| {
        let (certificate, key) = gateway(&ROOT.issuer, |params| {
            params.crl_distribution_points = vec![CrlDistributionPoint { uris: uris.iter().map(|uri| (*uri).to_owned()).collect() }];
        });
        let (proof, trust) = (proof("gw.example", &key, &[&certificate]), trust(Policy::Relaxed, Revocations::default()));
        let mut asked = Vec::new();
        while let [inquiry] = open(&trust, &proof).as_slice() {
            trust.learn(inquiry, None);
            asked.push(inquiry.url.clone());
        }
        asked
    };
    assert_eq!(of(&["ldap://a/", "file:///etc/shadow", "https://a/"]), [""; 0]);
    assert_eq!(of(&["http://a/", "http://b/", "http://c/"]), ["http://a/", "http://b/"]);
}

#[test]
fn an_answer_is_kept_as_long_as_it_holds_and_one_of_no_use_for_a_minute() {
    let known = Revocations::default();
    let (certificate, _) = gateway(&ROOT.issuer, with_address);
    let der = CertificateDer::from(certificate);
    let entity = webpki::EndEntityCert::try_from(&der).unwrap();
    let links = [Link::new(&entity, crate::x509::revocation::Issuer::new(&ROOT.der).unwrap()).unwrap()];
    let now = clock().duration_since(std::time::UNIX_EPOCH).unwrap();
    let [inquiry] = known.open(&links, now).try_into().unwrap();
    known.learn(&inquiry, Some(b"no list"), now);
    assert_eq!(known.open(&links, now + RETRY - Duration::from_nanos(1)), []);
    assert_eq!(known.open(&links, now + RETRY), std::slice::from_ref(&inquiry));
    let next_update = Duration::from_secs(1_782_864_000);
    known.learn(&inquiry, Some(&list(|_| {})), now);
    assert_eq!(known.open(&links, next_update - Duration::from_nanos(1)), []);
    assert_eq!(known.open(&links, next_update), [inquiry]);
}

#[test]
fn what_is_kept_is_bounded() {
    let known = Revocations::default();
    for number in 0..MOST_ANSWERS + 10 {
        let inquiry = Inquiry { url: format!("http://{number}/"), question: Some(vec![1]) };
        known.learn(&inquiry, Some(&[0; 65536]), Duration::from_secs(number as u64));
    }
    let kept = known.kept();
    let sum: usize = kept.answers.iter().map(|(inquiry, entry)| entry.len(inquiry)).sum();
    assert!(kept.octets == sum && sum <= MOST_OCTETS && sum > MOST_OCTETS - 70_000, "{sum}");
    assert!(kept.answers.contains_key(&Inquiry { url: format!("http://{}/", MOST_ANSWERS + 9), question: Some(vec![1]) }));
}

static VECTORS: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(include_str!("vectors/vectors.json")).unwrap());

fn octets(value: &Value) -> Vec<u8> {
    let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", value.as_str().unwrap());
    use rustls_pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().as_ref().to_vec()
}

fn now_of_vectors() -> std::time::SystemTime {
    std::time::UNIX_EPOCH + Duration::from_secs(VECTORS["now"].as_u64().unwrap())
}

#[test]
fn answers_of_ocsp_count_if_they_are_fresh_and_by_the_issuer_or_whom_it_lets_answer() {
    let certificate = octets(&VECTORS["certificate"]);
    let key = crate::PrivateKeyFile::from_pem(VECTORS["key"].as_str().unwrap().as_bytes()).unwrap();
    let shown = proof("gw.example", &key, &[&certificate]);
    let answers = VECTORS["answers"].as_object().unwrap();
    assert_eq!(answers.len(), 14);
    for (name, answer) in answers {
        let mut trust = Trust::new(now_of_vectors, SignatureScheme::ALL.to_vec());
        trust.trust_authority(octets(&VECTORS["authority"])).unwrap();
        trust.check_revocation(Policy::Strict, Arc::default());
        let [inquiry] = open(&trust, &shown).try_into().unwrap();
        assert_eq!(inquiry.url, VECTORS["at"].as_str().unwrap());
        assert_eq!(inquiry.question, Some(octets(&VECTORS["request"])), "python asks the same");
        let mut answer = octets(answer);
        trust.learn(&inquiry, Some(&answer));
        assert_eq!(open(&trust, &shown), [], "{name}");
        let verdict = trust.verify(&shown).map_err(|detail| detail.summary);
        match name.split(&[' ', ','][..]).next() {
            Some("good") => assert_eq!(verdict, Ok(()), "{name}"),
            Some("revoked") => assert!(verdict.unwrap_err().contains(REVOKED), "{name}"),
            _ => assert!(verdict.unwrap_err().contains(NOT_KNOWN), "{name}"),
        }
        // Nothing of it may be changed.
        for at in (0..answer.len()).step_by(7) {
            answer[at] ^= 1;
            trust.learn(&inquiry, Some(&answer));
            let verdict = trust.verify(&shown);
            assert!(verdict.is_err() || name.starts_with("good"), "{name} {at}");
            answer[at] ^= 1;
        }
    }
}
