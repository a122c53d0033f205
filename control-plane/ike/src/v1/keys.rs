//! Keys: SKEYID and what grows from it (RFC 2409 sections 5 and 5.5), and what messages are encrypted with (appendix B).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use ike_wire::v1::Protocol;
use ipsec_types::{EncryptionAlgorithm, IkeSpi, IntegrityAlgorithm, Protection, SaKeys, Secret, Spi};
use zeroize::Zeroizing;

use crate::io::{IkeV1Key, Output};
use crate::provider::{CipherKey, CryptoError, Hash, Prf};
use crate::v1::proposal::Suite;
use crate::v2::keys::{ChildKeys, KeyLog, Role};

/// Everything phase 1 derives from its key exchange.
pub(crate) struct Keys {
    prf: &'static dyn Prf,
    proof_prf: &'static dyn Prf,
    hash: &'static dyn Hash,
    skeyid: Secret,
    /// From which the keys of Child SAs grow.
    skeyid_d: Secret,
    /// Authenticates the messages of phase 2.
    skeyid_a: Secret,
    cipher: Box<dyn CipherKey>,
    block_len: usize,
}

/// What both sides have said in phase 1.
#[derive(Clone, Copy)]
pub(crate) struct Said<'a> {
    /// CKY-I and CKY-R.
    pub(crate) cookies: [IkeSpi; 2],
    /// g^xi and g^xr.
    pub(crate) publics: [&'a [u8]; 2],
    /// Ni_b and Nr_b.
    pub(crate) nonces: [&'a [u8]; 2],
}

/// Where the chain of blocks of an exchange has come to (appendix B): the IV of its next message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Iv(Vec<u8>);

/// A message as it was opened.
pub(crate) struct Opened {
    /// Payloads and padding.
    pub(crate) text: Zeroizing<Vec<u8>>,
    /// The IV of the message after it, if it is what it should be.
    pub(crate) next: Iv,
}

/// SKEYID with pre-shared keys: prf(pre-shared-key, Ni_b | Nr_b).
pub(crate) fn skeyid_by_psk(suite: &Suite, psk: &Secret, nonces: [&[u8]; 2]) -> Secret {
    suite.prf.compute(psk.expose(), &nonces)
}

/// SKEYID with signatures: prf(Ni_b | Nr_b, g^xy).
pub(crate) fn skeyid_by_signatures(suite: &Suite, shared: &Secret, nonces: [&[u8]; 2]) -> Secret {
    suite.prf.compute(&nonces.concat(), &[shared.expose()])
}

impl Keys {
    /// SKEYID_d = prf(SKEYID, g^xy | CKY-I | CKY-R | 0), SKEYID_a = prf(SKEYID, SKEYID_d | g^xy | CKY-I | CKY-R | 1),
    /// SKEYID_e = prf(SKEYID, SKEYID_a | g^xy | CKY-I | CKY-R | 2).
    pub(crate) fn derive(suite: &Suite, said: &Said<'_>, shared: &Secret, skeyid: Secret, log: KeyLog<'_>) -> Result<Self, CryptoError> {
        let prf = suite.prf;
        let [cky_i, cky_r] = said.cookies.map(|cookie| cookie.value().to_be_bytes());
        let grow = |before: &[u8], number: u8| prf.compute(skeyid.expose(), &[before, shared.expose(), &cky_i, &cky_r, &[number]]);
        let skeyid_d = grow(&[], 0);
        let skeyid_a = grow(skeyid_d.expose(), 1);
        let skeyid_e = grow(skeyid_a.expose(), 2);
        let key = cipher_key(prf, &skeyid_e, suite.encryption.key_len())?;
        let cipher = suite.cipher.key(key.expose())?;
        if let Some(outputs) = log {
            outputs.push_back(Output::IkeV1Key(Box::new(IkeV1Key { initiator_cookie: said.cookies[0], key })));
        }
        Ok(Self {
            prf,
            proof_prf: suite.proof_prf,
            hash: suite.hash,
            skeyid,
            skeyid_d,
            skeyid_a,
            cipher,
            block_len: suite.cipher.block_len(),
        })
    }

    /// Names and lengths of the keys, for traces: never their values.
    pub(crate) fn names(suite: &Suite) -> Vec<String> {
        let len = suite.prf.algorithm().output_len();
        alloc::vec![
            if suite.authentication.is_by_shared_key() {
                "SKEYID = prf(pre-shared-key, Ni_b | Nr_b)".into()
            } else {
                "SKEYID = prf(Ni_b | Nr_b, g^xy)".into()
            },
            alloc::format!("SKEYID, SKEYID_d, SKEYID_a, SKEYID_e: {len} octets each, {}", suite.prf.algorithm()),
            alloc::format!("encryption key: {} octets of SKEYID_e, {}", suite.encryption.key_len(), suite.encryption),
        ]
    }

    /// HASH_I = prf(SKEYID, g^xi | g^xr | CKY-I | CKY-R | SAi_b | IDii_b), HASH_R = prf(SKEYID, g^xr | g^xi | CKY-R | CKY-I | SAi_b | IDir_b).
    pub(crate) fn hash_of(&self, role: Role, said: &Said<'_>, sai_b: &[u8], id_b: &[u8]) -> Secret {
        let ([cky_i, cky_r], [g_xi, g_xr]) = (said.cookies.map(|cookie| cookie.value().to_be_bytes()), said.publics);
        match role {
            Role::Initiator => self.proof_prf.compute(self.skeyid.expose(), &[g_xi, g_xr, &cky_i, &cky_r, sai_b, id_b]),
            Role::Responder => self.proof_prf.compute(self.skeyid.expose(), &[g_xr, g_xi, &cky_r, &cky_i, sai_b, id_b]),
        }
    }

    /// prf(SKEYID_a, M-ID | rest): HASH(1) of quick mode and the hash of an Informational exchange; `rest` is the message behind the hash.
    pub(crate) fn hash_1(&self, message_id: u32, rest: &[u8]) -> Secret {
        self.prf.compute(self.skeyid_a.expose(), &[&message_id.to_be_bytes(), rest])
    }

    /// HASH(2) = prf(SKEYID_a, M-ID | Ni_b | rest).
    pub(crate) fn hash_2(&self, message_id: u32, initiator_nonce: &[u8], rest: &[u8]) -> Secret {
        self.prf.compute(self.skeyid_a.expose(), &[&message_id.to_be_bytes(), initiator_nonce, rest])
    }

    /// HASH(3) = prf(SKEYID_a, 0 | M-ID | Ni_b | Nr_b).
    pub(crate) fn hash_3(&self, message_id: u32, nonces: [&[u8]; 2]) -> Secret {
        self.prf.compute(self.skeyid_a.expose(), &[&[0], &message_id.to_be_bytes(), nonces[0], nonces[1]])
    }

    /// The IV of the first encrypted message of phase 1: hash(g^xi | g^xr).
    pub(crate) fn first_iv(&self, publics: [&[u8]; 2]) -> Iv {
        self.iv(&publics)
    }

    /// The IV of the first message of a phase 2 exchange: hash(last block of phase 1 | M-ID).
    pub(crate) fn phase_2_iv(&self, last: &Iv, message_id: u32) -> Iv {
        self.iv(&[&last.0, &message_id.to_be_bytes()])
    }

    fn iv(&self, parts: &[&[u8]]) -> Iv {
        let mut octets = self.hash.compute(parts);
        octets.truncate(self.block_len);
        Iv(octets)
    }

    /// Encrypts payloads, which zeros fill up to whole blocks, and moves the chain on.
    pub(crate) fn encrypt(&self, iv: &mut Iv, payloads: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut text = payloads.to_vec();
        text.resize(payloads.len().next_multiple_of(self.block_len.max(1)), 0);
        self.cipher.encrypt(&iv.0, &mut text)?;
        *iv = self.last_block(&text)?;
        Ok(text)
    }

    /// Decrypts a message.
    pub(crate) fn decrypt(&self, iv: &Iv, body: &[u8]) -> Result<Opened, CryptoError> {
        let next = self.last_block(body)?;
        let mut text = Zeroizing::new(body.to_vec());
        self.cipher.decrypt(&iv.0, &mut text)?;
        Ok(Opened { text, next })
    }

    fn last_block(&self, ciphertext: &[u8]) -> Result<Iv, CryptoError> {
        let at = ciphertext.len().checked_sub(self.block_len).ok_or(CryptoError::Length)?;
        ciphertext.get(at..).map(|block| Iv(block.to_vec())).ok_or(CryptoError::Length)
    }

    /// KEYMAT = prf(SKEYID_d, [g(qm)^xy |] protocol | SPI | Ni_b | Nr_b), and where that is not enough K1 | K2 | ... with
    /// K2 = prf(SKEYID_d, K1 | [g(qm)^xy |] protocol | SPI | Ni_b | Nr_b). Each direction has the SPI of its receiver. The encryption key comes before
    /// the integrity key (RFC 2407 section 4.4.1).
    pub(crate) fn child(
        &self,
        protection: Protection,
        shared: Option<&Secret>,
        spis: [Spi; 2],
        nonces: [&[u8]; 2],
    ) -> Result<ChildKeys, CryptoError> {
        let protocol = match protection {
            Protection::Esp { .. } => Protocol::ESP,
            Protection::Ah { .. } => Protocol::AH,
        };
        let e = protection.encryption().map_or(0, EncryptionAlgorithm::keymat_len);
        let a = protection.integrity().map_or(0, IntegrityAlgorithm::key_len);
        let direction = |spi: Spi| -> Result<SaKeys, CryptoError> {
            let (shared, spi) = (shared.map_or(&[][..], Secret::expose), spi.value().to_be_bytes());
            let keymat = self.expand(&[shared, &[protocol.0], &spi, nonces[0], nonces[1]], e + a)?;
            let part = |from: usize, to: usize| keymat.expose().get(from..to).map(Secret::copy_from).ok_or(CryptoError::Length);
            let integrity = protection.integrity().map(|_| part(e, e + a)).transpose()?;
            Ok(SaKeys { encryption: part(0, e)?, integrity })
        };
        let [initiator, responder] = spis;
        Ok(ChildKeys { initiator_to_responder: direction(responder)?, responder_to_initiator: direction(initiator)? })
    }

    fn expand(&self, seed: &[&[u8]], len: usize) -> Result<Secret, CryptoError> {
        let first = self.prf.compute(self.skeyid_d.expose(), seed);
        repeat(first, len, |before| {
            let parts: Vec<&[u8]> = core::iter::once(before).chain(seed.iter().copied()).collect();
            self.prf.compute(self.skeyid_d.expose(), &parts)
        })
    }
}

/// "the key is derived from SKEYID_e": its beginning, or where it is too short that of K1 | K2 | ..., K1 = prf(SKEYID_e, 0), K2 = prf(SKEYID_e, K1)
/// (appendix B).
fn cipher_key(prf: &dyn Prf, skeyid_e: &Secret, len: usize) -> Result<Secret, CryptoError> {
    if let Some(key) = skeyid_e.expose().get(..len) {
        return Ok(Secret::copy_from(key));
    }
    repeat(prf.compute(skeyid_e.expose(), &[&[0]]), len, |before| prf.compute(skeyid_e.expose(), &[before]))
}

/// `len` octets of first | next(first) | next(next(first)) | ...
fn repeat(first: Secret, len: usize, next: impl Fn(&[u8]) -> Secret) -> Result<Secret, CryptoError> {
    let mut output = Vec::with_capacity(len.next_multiple_of(first.len().max(1)));
    output.extend_from_slice(first.expose());
    let mut block = first;
    while output.len() < len {
        block = next(block.expose());
        if block.is_empty() {
            return Err(CryptoError::Length);
        }
        output.extend_from_slice(block.expose());
    }
    let all = Secret::new(output);
    all.expose().get(..len).map(Secret::copy_from).ok_or(CryptoError::Length)
}

#[cfg(test)]
mod tests {
    use ipsec_types::{KeyExchangeMethod, PrfAlgorithm};
    use serde_json::Value;

    use super::*;
    use crate::provider::{Cipher, HashFunction};
    use crate::v1::authentication::Authentication;

    /// `derive_ikev1.py`: RFC 2409 in Python, no code of ours.
    const VECTORS: &str = include_str!("../../tests/vectors/ikev1-keys.json");

    // The real primitives. `ike-crypto` was built against this crate as a library, whose traits are others than those of its unit tests.
    #[derive(Debug)]
    struct RealPrf(PrfAlgorithm);

    #[derive(Debug)]
    struct RealHash(HashFunction);

    #[derive(Debug)]
    struct RealCipher(EncryptionAlgorithm);

    impl Prf for RealPrf {
        fn algorithm(&self) -> PrfAlgorithm {
            self.0
        }

        fn compute(&self, key: &[u8], parts: &[&[u8]]) -> Secret {
            ike_crypto::provider().prf(self.0).expect("it is there").compute(key, parts)
        }
    }

    impl Hash for RealHash {
        fn function(&self) -> HashFunction {
            self.0
        }

        fn compute(&self, parts: &[&[u8]]) -> Vec<u8> {
            let name = std::format!("{:?}", self.0);
            let found = ike_crypto::provider().hashes.iter().find(|hash| std::format!("{:?}", hash.function()) == name);
            found.expect("it is there").compute(parts)
        }
    }

    impl Cipher for RealCipher {
        fn encryption(&self) -> EncryptionAlgorithm {
            self.0
        }

        fn block_len(&self) -> usize {
            ike_crypto::provider().cipher(self.0).expect("it is there").block_len()
        }

        fn key(&self, key: &[u8]) -> Result<Box<dyn CipherKey>, CryptoError> {
            Ok(Box::new(RealKey(self.0, key.to_vec())))
        }
    }

    struct RealKey(EncryptionAlgorithm, Vec<u8>);

    impl CipherKey for RealKey {
        fn encrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CryptoError> {
            let key = ike_crypto::provider().cipher(self.0).expect("it is there").key(&self.1).map_err(|_| CryptoError::KeyLength)?;
            key.encrypt(iv, text).map_err(|_| CryptoError::Length)
        }

        fn decrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CryptoError> {
            let key = ike_crypto::provider().cipher(self.0).expect("it is there").key(&self.1).map_err(|_| CryptoError::KeyLength)?;
            key.decrypt(iv, text).map_err(|_| CryptoError::Length)
        }
    }

    static ALGORITHMS: [(&str, RealPrf, RealHash, IntegrityAlgorithm); 5] = [
        ("md5", RealPrf(PrfAlgorithm::HmacMd5), RealHash(HashFunction::Md5), IntegrityAlgorithm::HmacMd5),
        ("sha1", RealPrf(PrfAlgorithm::HmacSha1), RealHash(HashFunction::Sha1), IntegrityAlgorithm::HmacSha1),
        ("sha256", RealPrf(PrfAlgorithm::HmacSha256), RealHash(HashFunction::Sha256), IntegrityAlgorithm::HmacSha256),
        ("sha384", RealPrf(PrfAlgorithm::HmacSha384), RealHash(HashFunction::Sha384), IntegrityAlgorithm::HmacSha384),
        ("sha512", RealPrf(PrfAlgorithm::HmacSha512), RealHash(HashFunction::Sha512), IntegrityAlgorithm::HmacSha512),
    ];
    static CIPHERS: [RealCipher; 4] = [
        RealCipher(EncryptionAlgorithm::AesCbc128),
        RealCipher(EncryptionAlgorithm::AesCbc192),
        RealCipher(EncryptionAlgorithm::AesCbc256),
        RealCipher(EncryptionAlgorithm::TripleDes),
    ];

    fn octets(value: &Value) -> Vec<u8> {
        let hex = value.as_str().unwrap();
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn cookie(value: &Value) -> IkeSpi {
        IkeSpi::new(u64::from_be_bytes(octets(value).try_into().unwrap())).unwrap()
    }

    fn spi(value: &Value) -> Spi {
        Spi::new(u32::from_be_bytes(octets(value).try_into().unwrap())).unwrap()
    }

    fn suite(case: &Value) -> Suite {
        let (_, prf, hash, integrity) = ALGORITHMS.iter().find(|algorithms| case["hash"] == algorithms.0).unwrap();
        let encryption = EncryptionAlgorithm::from_keyword(case["cipher"].as_str().unwrap()).unwrap();
        let cipher = CIPHERS.iter().find(|cipher| cipher.0 == encryption).unwrap();
        let authentication = match case["method"].as_str().unwrap() {
            "psk" => Authentication::Psk,
            "signature" => Authentication::RsaSignature,
            "ecdsa-256" => Authentication::Ecdsa256,
            "ecdsa-384" => Authentication::Ecdsa384,
            "ecdsa-521" => Authentication::Ecdsa521,
            other => panic!("{other}"),
        };
        let own = |prf| &ALGORITHMS.iter().find(|algorithms| algorithms.1.0 == prf).unwrap().1;
        let proof_prf = authentication.own_prf().map_or(prf, own);
        Suite { encryption, integrity: *integrity, method: KeyExchangeMethod::Modp2048, authentication, prf, proof_prf, hash, cipher }
    }

    /// Each case with its keys, and the key of its cipher.
    fn for_each_case(test: impl Fn(&str, &Value, &Keys, &Said<'_>, &Secret)) {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        assert!(cases.len() >= 8);
        for case in cases {
            let suite = suite(case);
            let field = |name: &str| octets(&case[name]);
            let (g_xi, g_xr, ni, nr) = (field("g_xi"), field("g_xr"), field("ni"), field("nr"));
            let said = Said { cookies: [cookie(&case["cky_i"]), cookie(&case["cky_r"])], publics: [&g_xi, &g_xr], nonces: [&ni, &nr] };
            let shared = Secret::new(field("g_xy"));
            let skeyid = match case["method"].as_str().unwrap() {
                "psk" => skeyid_by_psk(&suite, &Secret::new(field("psk")), said.nonces),
                _ => skeyid_by_signatures(&suite, &shared, said.nonces),
            };
            assert_eq!(skeyid.expose(), field("skeyid"), "{case}");
            let mut outputs = alloc::collections::VecDeque::new();
            let keys = Keys::derive(&suite, &said, &shared, skeyid, Some(&mut outputs)).unwrap();
            let Some(Output::IkeV1Key(logged)) = outputs.pop_front() else { panic!("the key is logged") };
            assert_eq!(logged.initiator_cookie, said.cookies[0]);
            test(case["name"].as_str().unwrap(), case, &keys, &said, &logged.key);
        }
    }

    #[test]
    fn the_keys_of_phase_1() {
        for_each_case(|name, case, keys, said, key| {
            let field = |name: &str| octets(&case[name]);
            assert_eq!(keys.skeyid_d.expose(), field("skeyid_d"), "{name}");
            assert_eq!(keys.skeyid_a.expose(), field("skeyid_a"), "{name}");
            assert_eq!(key.expose(), field("key"), "{name}");
            let sai_b = field("sai_b");
            assert_eq!(keys.hash_of(Role::Initiator, said, &sai_b, &field("idii_b")).expose(), field("hash_i"), "{name}");
            assert_eq!(keys.hash_of(Role::Responder, said, &sai_b, &field("idir_b")).expose(), field("hash_r"), "{name}");
        });
    }

    #[test]
    fn the_hashes_of_phase_2() {
        for_each_case(|name, case, keys, _, _| {
            let field = |name: &str| octets(&case[name]);
            let m_id = u32::try_from(case["m_id"].as_u64().unwrap()).unwrap();
            let (rest, ni, nr) = (field("rest"), field("qm_ni"), field("qm_nr"));
            assert_eq!(keys.hash_1(m_id, &rest).expose(), octets(&case["hashes"][0]), "{name}");
            assert_eq!(keys.hash_2(m_id, &ni, &rest).expose(), octets(&case["hashes"][1]), "{name}");
            assert_eq!(keys.hash_3(m_id, [&ni, &nr]).expose(), octets(&case["hashes"][2]), "{name}");
        });
    }

    #[test]
    fn the_chain_of_blocks() {
        for_each_case(|name, case, keys, said, _| {
            let field = |name: &str| octets(&case[name]);
            assert_eq!(keys.first_iv(said.publics).0, field("iv"), "{name}");
            let m_id = u32::try_from(case["m_id"].as_u64().unwrap()).unwrap();
            let mut iv = keys.phase_2_iv(&Iv(field("last")), m_id);
            assert_eq!(iv.0, field("phase_2_iv"), "{name}");
            // "Subsequent messages MUST use the last CBC encryption block from the previous message".
            let first = iv.clone();
            let one = keys.encrypt(&mut iv, b"one message").unwrap();
            assert_eq!(iv.0, one[one.len() - keys.block_len..], "{name}");
            let second = iv.clone();
            let two = keys.encrypt(&mut iv, &[7; 16]).unwrap();
            assert_eq!(two.len(), 16, "whole blocks need no padding: {name}");
            let opened = keys.decrypt(&first, &one).unwrap();
            assert_eq!((&opened.text[..11], &opened.next), (&b"one message"[..], &second), "{name}");
            assert!(opened.text[11..].iter().all(|padding| *padding == 0));
            assert_eq!(*keys.decrypt(&second, &two).unwrap().text, [7; 16], "{name}");
            assert!(keys.decrypt(&first, &one[1..]).is_err() && keys.decrypt(&first, &[]).is_err(), "{name}");
        });
    }

    #[test]
    fn the_keys_of_child_sas() {
        for_each_case(|name, case, keys, _, _| {
            let (ni, nr) = (octets(&case["qm_ni"]), octets(&case["qm_nr"]));
            for child in case["children"].as_array().unwrap() {
                let encryption = EncryptionAlgorithm::from_keyword(child["encryption"].as_str().unwrap()).unwrap();
                let integrity = child["integrity"].as_str().map(|keyword| IntegrityAlgorithm::from_keyword(keyword).unwrap());
                let shared = Some(Secret::new(octets(&child["g_xy"]))).filter(|shared| !shared.is_empty());
                let spis = [spi(&child["spi_i"]), spi(&child["spi_r"])];
                let derived = keys.child(Protection::Esp { encryption, integrity }, shared.as_ref(), spis, [&ni, &nr]).unwrap();
                for (direction, keys) in
                    [("to_responder", derived.initiator_to_responder), ("to_initiator", derived.responder_to_initiator)]
                {
                    assert_eq!(keys.encryption.expose(), octets(&child[direction]["encryption"]), "{name}, {child}");
                    let expected = Some(octets(&child[direction]["integrity"])).filter(|key| !key.is_empty());
                    assert_eq!(keys.integrity.map(|key| key.expose().to_vec()), expected, "{name}, {child}");
                }
            }
        });
    }
}
