//! The public interface: bursts of many packets and keys.

#![expect(clippy::unwrap_used, reason = "tests")]

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use chacha20poly1305::ChaCha20Poly1305;
use esp_crypto::{
    Aad, AeadKey, CipherKey, ICV_LEN, JobError, KeyError, MAX_BURST, MAX_DATA_LEN, MacKey, OpenJob, SealJob, open_burst, seal_burst,
};

struct Packet {
    key: usize,
    nonce: [u8; 12],
    aad: Aad,
    plaintext: Vec<u8>,
    data: Vec<u8>,
    icv: [u8; ICV_LEN],
}

/// The last is one of ChaCha20-Poly1305.
const RAW_KEYS: [&[u8]; 4] = [&[1; 16], &[2; 32], &[3; 16], &[4; 32]];

/// `count` packets of growing size that take turns in keys and in ESN.
fn packets(count: usize) -> Vec<Packet> {
    (0..count)
        .map(|i| {
            let n = u8::try_from(i).unwrap();
            let aad = if i % 3 == 0 { Aad::extended(0x1000, u64::from(n) << 30) } else { Aad::new(0x1000, n.into()) };
            let plaintext = vec![n; i * 47];
            Packet { key: i % 4, nonce: [n; 12], aad, data: plaintext.clone(), plaintext, icv: [0; ICV_LEN] }
        })
        .collect()
}

fn keys() -> Vec<AeadKey> {
    let [gcm @ .., chacha] = RAW_KEYS;
    let mut keys: Vec<_> = gcm.iter().map(|key| AeadKey::aes_gcm(key).unwrap()).collect();
    keys.push(AeadKey::chacha20_poly1305(chacha).unwrap());
    keys
}

fn seal_all(keys: &[AeadKey], packets: &mut [Packet]) {
    let mut jobs = Vec::new();
    for p in packets {
        jobs.push(SealJob::new(&keys[p.key], p.nonce, p.aad, &mut p.data, &mut p.icv).unwrap());
    }
    seal_burst(&mut jobs);
}

fn open_all(keys: &[AeadKey], packets: &mut [Packet]) -> u64 {
    let mut jobs = Vec::new();
    for p in packets {
        jobs.push(OpenJob::new(&keys[p.key], p.nonce, p.aad, &mut p.data, &p.icv).unwrap());
    }
    open_burst(&mut jobs).bits()
}

#[test]
fn bursts_of_every_size_agree_with_other_crates() {
    let keys = keys();
    for count in 0..=MAX_BURST {
        let mut packets = packets(count);
        seal_all(&keys, &mut packets);
        for p in &packets {
            let payload = Payload { msg: &p.plaintext, aad: p.aad.octets() };
            let expected = match p.key {
                0 | 2 => Aes128Gcm::new_from_slice(RAW_KEYS[p.key]).unwrap().encrypt(&p.nonce.into(), payload),
                3 => ChaCha20Poly1305::new_from_slice(RAW_KEYS[p.key]).unwrap().encrypt(&p.nonce.into(), payload),
                _ => Aes256Gcm::new_from_slice(RAW_KEYS[p.key]).unwrap().encrypt(&p.nonce.into(), payload),
            };
            assert_eq!([&p.data[..], &p.icv[..]].concat(), expected.unwrap());
        }
        assert_eq!(u128::from(open_all(&keys, &mut packets)), (1_u128 << count) - 1);
        assert!(packets.iter().all(|p| p.data == p.plaintext));
    }
}

#[test]
fn each_packet_fails_alone() {
    let keys = keys();
    for bad in 0..MAX_BURST {
        let mut packets = packets(MAX_BURST);
        seal_all(&keys, &mut packets);
        packets[bad].icv[15] ^= 1;
        assert_eq!(open_all(&keys, &mut packets), !(1_u64 << bad));
        assert!(packets.iter().enumerate().all(|(i, p)| i == bad || p.data == p.plaintext));
    }
}

#[test]
fn what_exceeds_a_burst_counts_as_failed() {
    let keys = keys();
    let mut packets = packets(MAX_BURST + 1);
    seal_all(&keys, &mut packets);
    assert_ne!(packets[MAX_BURST].data, packets[MAX_BURST].plaintext, "sealing takes any number");
    assert_eq!(open_all(&keys, &mut packets), u64::MAX);
    assert_ne!(packets[MAX_BURST].data, packets[MAX_BURST].plaintext);
}

#[test]
fn additional_data_are_those_of_rfc_4106() {
    assert_eq!(Aad::new(0x0102_0304, 0x0506_0708).octets(), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(Aad::extended(0x0102_0304, 0x0506_0708_090a_0b0c).octets(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
}

#[test]
fn data_end_at_the_length_of_an_ip_packet() {
    let key = AeadKey::aes_gcm(&[0; 16]).unwrap();
    let mut data = vec![0; MAX_DATA_LEN + 1];
    assert!(OpenJob::new(&key, [0; 12], Aad::new(1, 1), &mut data[1..], &[0; 16]).is_ok());
    assert_eq!(OpenJob::new(&key, [0; 12], Aad::new(1, 1), &mut data, &[0; 16]).err(), Some(JobError::DataTooLong));
    assert_eq!(SealJob::new(&key, [0; 12], Aad::new(1, 1), &mut data, &mut [0; 16]).err(), Some(JobError::DataTooLong));
}

#[test]
fn an_icv_has_the_length_of_its_key() {
    let sha512 = AeadKey::encrypt_then_mac(CipherKey::Null, MacKey::HmacSha512(&[1; 64])).unwrap();
    for (key, right) in [(AeadKey::aes_gcm(&[0; 16]).unwrap(), 16), (sha512, 32)] {
        for len in 0..40 {
            let expected = (len != right).then_some(JobError::IcvLength);
            assert_eq!(OpenJob::new(&key, [0; 12], Aad::new(1, 1), &mut [0; 20], &vec![0; len]).err(), expected);
            assert_eq!(SealJob::new(&key, [0; 12], Aad::new(1, 1), &mut [0; 20], &mut vec![0; len]).err(), expected);
        }
    }
}

#[test]
fn keys_are_checked_and_never_printed() {
    assert_eq!(AeadKey::aes_gcm(&[0; 20]).err(), Some(KeyError::Aes(20)));
    assert_eq!(AeadKey::chacha20_poly1305(&[0; 36]).err(), Some(KeyError::ChaCha20(36)));
    assert_eq!(format!("{:?}", AeadKey::chacha20_poly1305(&[0xab; 32]).unwrap()), "AeadKey(ChaCha20-Poly1305)");
    let key = AeadKey::aes_gcm(&[0xab; 24]).unwrap();
    assert_eq!(format!("{key:?}"), "AeadKey(AES-192-GCM)");
    let cbc = AeadKey::encrypt_then_mac(CipherKey::AesCbc(&[0xab; 32]), MacKey::HmacSha1(&[0xab; 20])).unwrap();
    assert_eq!(format!("{cbc:?}"), "AeadKey(AES-256-CBC with HMAC-SHA1-96)");
    let short = AeadKey::encrypt_then_mac(CipherKey::AesCtr(&[1; 15]), MacKey::HmacSha1(&[1; 20]));
    assert_eq!(short.err(), Some(KeyError::Aes(15)));
    let mut secret = [0xcd; 4];
    let job = OpenJob::new(&key, [0; 12], Aad::new(1, 1), &mut secret, &[0; 16]).unwrap();
    assert!(!format!("{job:?}").contains("205"));
}
