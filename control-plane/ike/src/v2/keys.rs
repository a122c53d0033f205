//! Keys: SKEYSEED and what grows from it (RFC 7296 sections 2.13 to 2.17).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use ike_wire::Identification;
use ipsec_types::{EncryptionAlgorithm, IkeSpi, IntegrityAlgorithm, Protection, SaKeys, Secret};

use crate::io::{IkeSaKeys, Output};
use crate::negotiate::IkeSuite;
use crate::provider::{CryptoError, Prf, SkKey};

/// Everything an IKE SA derives from its key exchange.
pub(crate) struct IkeKeys {
    prf: &'static dyn Prf,
    roots: Roots,
    /// Without the PPK that is in `roots`, as long as it is open whether the peer uses it.
    without_ppk: Option<Roots>,
    /// Protects what the initiator sends.
    pub(crate) initiator: Box<dyn SkKey>,
    /// Protects what the responder sends.
    pub(crate) responder: Box<dyn SkKey>,
}

/// What the PPK of RFC 8784 is stirred into.
struct Roots {
    /// From which the keys of Child SAs grow.
    sk_d: Secret,
    sk_pi: Secret,
    sk_pr: Secret,
}

/// Where keys go that the configuration wants to have logged; usually `None`.
pub(crate) type KeyLog<'a> = Option<&'a mut VecDeque<Output>>;

/// One side of the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Initiator,
    Responder,
}

/// What both sides have said in IKE_SA_INIT, or where an IKE SA is rekeyed.
pub(crate) struct Exchanged<'a> {
    pub(crate) initiator_nonce: &'a [u8],
    pub(crate) responder_nonce: &'a [u8],
    pub(crate) initiator_spi: IkeSpi,
    pub(crate) responder_spi: IkeSpi,
}

/// The keys of a Child SA by direction of travel between the IKE roles.
pub(crate) struct ChildKeys {
    pub(crate) initiator_to_responder: SaKeys,
    pub(crate) responder_to_initiator: SaKeys,
}

impl Role {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

impl IkeKeys {
    /// SKEYSEED = prf(Ni | Nr, g^ir), where some PRFs take the beginnings of the nonces alone;
    /// {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+ (SKEYSEED, Ni | Nr | SPIi | SPIr) (section 2.14).
    pub(crate) fn derive(suite: &IkeSuite, said: &Exchanged<'_>, shared: &Secret, log: KeyLog<'_>) -> Result<Self, CryptoError> {
        let nonces = [said.initiator_nonce, said.responder_nonce];
        let taken = |nonce| suite.prf.algorithm().nonce_len().and_then(|len| <[u8]>::get(nonce, ..len)).unwrap_or(nonce);
        Self::grow(suite, said, &suite.prf.compute(&nonces.map(taken).concat(), &[shared.expose()]), log)
    }

    /// SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr), with the old PRF; all further keys with the new one (section 2.18).
    pub(crate) fn rekey(&self, suite: &IkeSuite, said: &Exchanged<'_>, shared: &Secret, log: KeyLog<'_>) -> Result<Self, CryptoError> {
        let skeyseed = self.prf.compute(self.roots.sk_d.expose(), &[shared.expose(), said.initiator_nonce, said.responder_nonce]);
        Self::grow(suite, said, &skeyseed, log)
    }

    fn grow(suite: &IkeSuite, said: &Exchanged<'_>, skeyseed: &Secret, log: KeyLog<'_>) -> Result<Self, CryptoError> {
        let prf = suite.prf;
        let nonces = [said.initiator_nonce, said.responder_nonce].concat();
        let (spi_i, spi_r) = (said.initiator_spi.value().to_be_bytes(), said.responder_spi.value().to_be_bytes());
        let p = prf.algorithm().output_len();
        let a = suite.integrity.map_or(0, IntegrityAlgorithm::key_len);
        let e = suite.encryption.keymat_len();
        let keymat = prf_plus(prf, skeyseed, &[&nonces, &spi_i, &spi_r], 3 * p + 2 * (a + e))?;
        let mut cut = Cutter(keymat.expose());
        let sk_d = cut.take(p)?;
        let (sk_ai, sk_ar) = (cut.take(a)?, cut.take(a)?);
        let (sk_ei, sk_er) = (cut.take(e)?, cut.take(e)?);
        let (sk_pi, sk_pr) = (cut.take(p)?, cut.take(p)?);
        let initiator = suite.sk.key(sk_ei.expose(), sk_ai.expose())?;
        let responder = suite.sk.key(sk_er.expose(), sk_ar.expose())?;
        if let Some(outputs) = log {
            let (initiator_spi, responder_spi) = (said.initiator_spi, said.responder_spi);
            let (encryption, integrity) = (suite.encryption, suite.integrity);
            let keys = IkeSaKeys { initiator_spi, responder_spi, encryption, integrity, sk_ei, sk_er, sk_ai, sk_ar };
            outputs.push_back(Output::IkeKeys(Box::new(keys)));
        }
        Ok(Self { prf, roots: Roots { sk_d, sk_pi, sk_pr }, without_ppk: None, initiator, responder })
    }

    /// SK_d = prf+ (PPK, SK_d'), and so SK_pi and SK_pr (RFC 8784 section 3), once in the life of an IKE SA.
    pub(crate) fn stir(&mut self, ppk: &Secret) -> Result<(), CryptoError> {
        let p = self.prf.algorithm().output_len();
        let stirred = |key: &Secret| prf_plus(self.prf, ppk, &[key.expose()], p);
        let Roots { sk_d, sk_pi, sk_pr } = &self.roots;
        let roots = Roots { sk_d: stirred(sk_d)?, sk_pi: stirred(sk_pi)?, sk_pr: stirred(sk_pr)? };
        self.without_ppk = Some(core::mem::replace(&mut self.roots, roots));
        Ok(())
    }

    /// Whether a PPK is in the keys, and it is open whether the peer uses it.
    pub(crate) const fn is_stirred(&self) -> bool {
        self.without_ppk.is_some()
    }

    /// The peer uses the PPK.
    pub(crate) fn settle(&mut self) {
        self.without_ppk = None;
    }

    /// The peer does not.
    pub(crate) fn unstir(&mut self) {
        if let Some(roots) = self.without_ppk.take() {
            self.roots = roots;
        }
    }

    /// Names and lengths of the keys, for traces: never their values.
    pub(crate) fn names(suite: &IkeSuite) -> Vec<String> {
        let p = suite.prf.algorithm().output_len();
        let mut lines = alloc::vec![
            alloc::format!("SKEYSEED = prf(Ni | Nr, g^ir): {p} octets"),
            alloc::format!("SK_d, SK_pi, SK_pr: {p} octets each, {}", suite.prf.algorithm()),
            alloc::format!("SK_ei, SK_er: {} octets each, {}", suite.encryption.keymat_len(), suite.encryption),
        ];
        if let Some(integrity) = suite.integrity {
            lines.push(alloc::format!("SK_ai, SK_ar: {} octets each, {integrity}", integrity.key_len()));
        }
        lines
    }

    /// The key of what `role` sends.
    pub(crate) fn sender(&self, role: Role) -> &dyn SkKey {
        match role {
            Role::Initiator => &*self.initiator,
            Role::Responder => &*self.responder,
        }
    }

    /// AUTH of the side `role` with a shared key (section 2.15):
    /// prf( prf(Shared Secret, "Key Pad for IKEv2"), message | nonce of the other side | prf(SK_p, ID payload without its header) ).
    pub(crate) fn shared_key_auth(&self, role: Role, psk: &Secret, message: &[u8], nonce: &[u8], id: &Identification) -> Secret {
        let maced_id = self.maced_id(role, id);
        let padded = self.prf.compute(psk.expose(), &[b"Key Pad for IKEv2"]);
        self.prf.compute(padded.expose(), &[message, nonce, maced_id.expose()])
    }

    /// AUTH of the side `role` after EAP (section 2.16): with the MSK as the shared key, or without one with SK_pi or SK_pr.
    pub(crate) fn eap_auth(&self, role: Role, msk: Option<&Secret>, message: &[u8], nonce: &[u8], id: &Identification) -> Secret {
        self.shared_key_auth(role, msk.unwrap_or_else(|| self.sk_p(role)), message, nonce, id)
    }

    /// What a signature of `role` covers: InitiatorSignedOctets or ResponderSignedOctets (section 2.15).
    pub(crate) fn signed_octets(&self, role: Role, message: &[u8], nonce: &[u8], id: &Identification) -> Vec<u8> {
        [message, nonce, self.maced_id(role, id).expose()].concat()
    }

    /// MACedIDForI or MACedIDForR: prf(SK_p, RestOfIDPayload).
    fn maced_id(&self, role: Role, id: &Identification) -> Secret {
        self.prf.compute(self.sk_p(role).expose(), &[&id.octets()])
    }

    const fn sk_p(&self, role: Role) -> &Secret {
        match role {
            Role::Initiator => &self.roots.sk_pi,
            Role::Responder => &self.roots.sk_pr,
        }
    }

    /// KEYMAT = prf+(SK_d, [g^ir (new) |] Ni | Nr), cut for both directions (section 2.17): first those of what the initiator of the
    /// exchange sends, and in each direction the encryption key before the integrity key. AH has the latter alone.
    pub(crate) fn child(&self, protection: Protection, shared: Option<&Secret>, nonces: [&[u8]; 2]) -> Result<ChildKeys, CryptoError> {
        let e = protection.encryption().map_or(0, EncryptionAlgorithm::keymat_len);
        let a = protection.integrity().map_or(0, IntegrityAlgorithm::key_len);
        let shared = shared.map_or(&[][..], Secret::expose);
        let keymat = prf_plus(self.prf, &self.roots.sk_d, &[shared, nonces[0], nonces[1]], 2 * (e + a))?;
        let mut cut = Cutter(keymat.expose());
        let mut direction = || -> Result<SaKeys, CryptoError> {
            let encryption = cut.take(e)?;
            let integrity = protection.integrity().map(|_| cut.take(a)).transpose()?;
            Ok(SaKeys { encryption, integrity })
        };
        Ok(ChildKeys { initiator_to_responder: direction()?, responder_to_initiator: direction()? })
    }
}

/// prf+ (K,S) = T1 | T2 | T3 | ..., Tn = prf (K, Tn-1 | S | n) (section 2.13).
fn prf_plus(prf: &dyn Prf, key: &Secret, seed: &[&[u8]], len: usize) -> Result<Secret, CryptoError> {
    let block_len = prf.algorithm().output_len();
    let mut output = Vec::with_capacity(len.next_multiple_of(block_len));
    let mut block = Secret::new(Vec::new());
    for counter in 1..=u8::MAX {
        if output.len() >= len {
            break;
        }
        let counter = [counter];
        let parts: Vec<&[u8]> = core::iter::once(block.expose()).chain(seed.iter().copied()).chain([&counter[..]]).collect();
        let next = prf.compute(key.expose(), &parts);
        output.extend_from_slice(next.expose());
        block = next;
    }
    // Cut the surplus of the last block by hand over of the whole: what lies behind `len` is never read, and zeroed with the rest.
    let all = Secret::new(output);
    all.expose().get(..len).map(Secret::copy_from).ok_or(CryptoError::Length)
}

/// Takes keys off the front of keying material.
struct Cutter<'a>(&'a [u8]);

impl Cutter<'_> {
    fn take(&mut self, len: usize) -> Result<Secret, CryptoError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(CryptoError::Length)?;
        self.0 = rest;
        Ok(Secret::copy_from(head))
    }
}

#[cfg(test)]
mod tests {
    use core::cell::RefCell;
    use std::thread_local;

    use ipsec_types::{Identity, KeyExchangeMethod, PrfAlgorithm};
    use serde_json::Value;

    use crate::provider::SkSuite;

    use super::*;

    /// `derive.py`: RFC 7296 in Python, no code of ours.
    const VECTORS: &str = include_str!("../../tests/vectors/ike-keys.json");

    /// The real PRF. `ike-crypto` was built against this crate as a library, whose traits are others than those of its unit tests.
    #[derive(Debug)]
    struct RealPrf(PrfAlgorithm);

    impl Prf for RealPrf {
        fn algorithm(&self) -> PrfAlgorithm {
            self.0
        }

        fn compute(&self, key: &[u8], parts: &[&[u8]]) -> Secret {
            ike_crypto::provider().prf(self.0).expect("it is there").compute(key, parts)
        }
    }

    static PRFS: [RealPrf; 6] = [
        RealPrf(PrfAlgorithm::HmacSha1),
        RealPrf(PrfAlgorithm::HmacSha256),
        RealPrf(PrfAlgorithm::HmacSha384),
        RealPrf(PrfAlgorithm::HmacSha512),
        RealPrf(PrfAlgorithm::AesXcbc),
        RealPrf(PrfAlgorithm::AesCmac),
    ];

    thread_local! {
        static TAKEN: RefCell<Vec<(Vec<u8>, Vec<u8>)>> = const { RefCell::new(Vec::new()) };
    }

    /// Notes the keys it is given.
    #[derive(Debug)]
    struct Notebook;

    struct NoKey;

    impl SkSuite for Notebook {
        fn encryption(&self) -> EncryptionAlgorithm {
            EncryptionAlgorithm::AesGcm128
        }

        fn integrity(&self) -> Option<IntegrityAlgorithm> {
            None
        }

        fn iv_len(&self) -> usize {
            8
        }

        fn iv_kind(&self) -> crate::provider::IvKind {
            crate::provider::IvKind::Unique
        }

        fn icv_len(&self) -> usize {
            16
        }

        fn block_len(&self) -> usize {
            1
        }

        fn key(&self, encryption: &[u8], integrity: &[u8]) -> Result<Box<dyn SkKey>, CryptoError> {
            TAKEN.with_borrow_mut(|taken| taken.push((encryption.to_vec(), integrity.to_vec())));
            Ok(Box::new(NoKey))
        }
    }

    impl SkKey for NoKey {
        fn seal(&self, _: &[u8], _: &[u8], _: &mut [u8], _: &mut [u8]) -> Result<(), CryptoError> {
            Err(CryptoError::Unavailable)
        }

        fn open(&self, _: &[u8], _: &[u8], _: &mut [u8], _: &[u8]) -> Result<(), CryptoError> {
            Err(CryptoError::Unavailable)
        }
    }

    fn octets(value: &Value) -> Vec<u8> {
        let hex = value.as_str().unwrap();
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn spi(value: &Value) -> IkeSpi {
        IkeSpi::new(u64::from_be_bytes(octets(value).try_into().unwrap())).unwrap()
    }

    fn suite(case: &Value) -> IkeSuite {
        let prf = PrfAlgorithm::from_keyword(case["prf"].as_str().unwrap()).unwrap();
        IkeSuite {
            encryption: EncryptionAlgorithm::from_keyword(case["encryption"].as_str().unwrap()).unwrap(),
            integrity: case["integrity"].as_str().map(|keyword| IntegrityAlgorithm::from_keyword(keyword).unwrap()),
            method: KeyExchangeMethod::X25519,
            prf: PRFS.iter().find(|real| real.0 == prf).unwrap(),
            sk: &Notebook,
        }
    }

    fn keys(case: &Value, suite: &IkeSuite) -> IkeKeys {
        let (initiator_nonce, responder_nonce) = (&octets(&case["ni"]), &octets(&case["nr"]));
        let said = Exchanged { initiator_nonce, responder_nonce, initiator_spi: spi(&case["spi_i"]), responder_spi: spi(&case["spi_r"]) };
        TAKEN.with_borrow_mut(Vec::clear);
        IkeKeys::derive(suite, &said, &Secret::new(octets(&case["g_ir"])), None).unwrap()
    }

    fn for_each_case(test: impl Fn(&str, &Value)) {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        assert!(cases.len() >= 13);
        cases.iter().for_each(|case| test(case["name"].as_str().unwrap(), case));
    }

    #[test]
    fn the_keys_of_the_ike_sa() {
        for_each_case(|name, case| {
            let keys = keys(case, &suite(case));
            assert_eq!(keys.roots.sk_d.expose(), octets(&case["sk_d"]), "{name}");
            assert_eq!(keys.roots.sk_pi.expose(), octets(&case["sk_pi"]), "{name}");
            assert_eq!(keys.roots.sk_pr.expose(), octets(&case["sk_pr"]), "{name}");
            let expected = [("sk_ei", "sk_ai"), ("sk_er", "sk_ar")].map(|(e, a)| (octets(&case[e]), octets(&case[a])));
            assert_eq!(TAKEN.with_borrow(Clone::clone), expected, "{name}");
        });
    }

    #[test]
    fn the_keys_of_a_rekeyed_ike_sa() {
        for_each_case(|name, case| {
            let (suite, new) = (suite(case), &case["rekeyed_ike_sa"]);
            let old = keys(case, &suite);
            let (initiator_nonce, responder_nonce) = (&octets(&new["ni"]), &octets(&new["nr"]));
            let said = Exchanged { initiator_nonce, responder_nonce, initiator_spi: spi(&new["spi_i"]), responder_spi: spi(&new["spi_r"]) };
            TAKEN.with_borrow_mut(Vec::clear);
            let rekeyed = old.rekey(&suite, &said, &Secret::new(octets(&new["g_ir_new"])), None).unwrap();
            assert_eq!(rekeyed.roots.sk_d.expose(), octets(&new["sk_d"]), "{name}");
            let expected = [("sk_ei", "sk_ai"), ("sk_er", "sk_ar")].map(|(e, a)| (octets(&new[e]), octets(&new[a])));
            assert_eq!(TAKEN.with_borrow(Clone::clone), expected, "{name}");
        });
    }

    #[test]
    fn a_ppk_is_stirred_in_and_out() {
        for_each_case(|name, case| {
            let (mut keys, with) = (keys(case, &suite(case)), &case["with_ppk"]);
            let roots = |keys: &IkeKeys| [&keys.roots.sk_d, &keys.roots.sk_pi, &keys.roots.sk_pr].map(|key| key.expose().to_vec());
            let (plain, stirred) = (roots(&keys), ["sk_d", "sk_pi", "sk_pr"].map(|key| octets(&with[key])));
            let ppk = Secret::new(octets(&with["ppk"]));
            keys.stir(&ppk).unwrap();
            assert_eq!(roots(&keys), stirred, "{name}");
            assert!(keys.is_stirred());
            keys.unstir();
            assert_eq!(roots(&keys), plain, "{name}");
            keys.stir(&ppk).unwrap();
            keys.settle();
            assert!(!keys.is_stirred());
            // Of Child SAs and of the next IKE SA, which is not stirred again.
            let (child, rekeyed) = (&with["child_sa"], &case["rekeyed_ike_sa"]);
            let encryption = child["encryption"].as_str().map(|keyword| EncryptionAlgorithm::from_keyword(keyword).unwrap());
            let integrity = child["integrity"].as_str().map(|keyword| IntegrityAlgorithm::from_keyword(keyword).unwrap());
            let protection = match encryption {
                Some(encryption) => Protection::Esp { encryption, integrity },
                None => Protection::Ah { integrity: integrity.unwrap() },
            };
            let cut = keys.child(protection, None, [&octets(&case["ni"]), &octets(&case["nr"])]).unwrap();
            let expected = octets(&child["initiator_to_responder"]["encryption_key"]);
            assert_eq!(cut.initiator_to_responder.encryption.expose(), expected, "{name}");
            let said = [octets(&rekeyed["g_ir_new"]), octets(&rekeyed["ni"]), octets(&rekeyed["nr"])].concat();
            assert_eq!(keys.prf.compute(keys.roots.sk_d.expose(), &[&said]).expose(), octets(&with["skeyseed_rekey"]), "{name}");
        });
    }

    #[test]
    fn auth_of_both_sides() {
        for_each_case(|name, case| {
            let keys = keys(case, &suite(case));
            let auth = &case["auth"];
            let psk = Secret::new(octets(&auth["shared_secret"]));
            let sides = [
                (Role::Initiator, "real_message_1", "nr", "rest_of_init_id_payload", "auth_i"),
                (Role::Responder, "real_message_2", "ni", "rest_of_resp_id_payload", "auth_r"),
            ];
            for (role, message, nonce, id, expected) in sides {
                let id = octets(&auth[id]);
                let id = Identification::from(&Identity::from_wire(id[0], &id[4..]).unwrap());
                let computed = keys.shared_key_auth(role, &psk, &octets(&auth[message]), &octets(&case[nonce]), &id);
                assert_eq!(computed.expose(), octets(&auth[expected]), "{name} {role:?}");
            }
        });
    }

    #[test]
    fn the_keys_of_child_sas_with_and_without_a_key_exchange() {
        for_each_case(|name, case| {
            let keys = keys(case, &suite(case));
            for (which, of_nonces) in [
                ("child_sa", case),
                ("child_sa_without_pfs", &case["child_sa_without_pfs"]),
                ("child_sa_with_pfs", &case["child_sa_with_pfs"]),
            ] {
                let child = &case[which];
                let encryption = child["encryption"].as_str().map(|keyword| EncryptionAlgorithm::from_keyword(keyword).unwrap());
                let integrity = child["integrity"].as_str().map(|keyword| IntegrityAlgorithm::from_keyword(keyword).unwrap());
                let protection = match encryption {
                    Some(encryption) => Protection::Esp { encryption, integrity },
                    None => Protection::Ah { integrity: integrity.unwrap() },
                };
                let shared = child.get("g_ir_new").map(|shared| Secret::new(octets(shared)));
                let nonces = [&octets(&of_nonces["ni"])[..], &octets(&of_nonces["nr"])];
                let cut = keys.child(protection, shared.as_ref(), nonces).unwrap();
                for (cut, expected) in
                    [(cut.initiator_to_responder, "initiator_to_responder"), (cut.responder_to_initiator, "responder_to_initiator")]
                {
                    let expected = &child[expected];
                    assert_eq!(cut.encryption.expose(), octets(&expected["encryption_key"]), "{name} {which}");
                    assert_eq!(
                        cut.integrity.as_ref().map_or(&[][..], Secret::expose),
                        octets(&expected["integrity_key"]),
                        "{name} {which}"
                    );
                }
            }
        });
    }
}
