//! What either side may say in EAP: whoever has no help of somebody who knows the secret is not believed. Used by the fuzz target `eap` and by
//! the test that replays its corpus.
//!
//! ```text
//! method and side, then packets: their length in one octet, what is done to an honest packet, octets
//! ```

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use ike::config::Credential;
use ike::provider::{Certificate, CertificateEncoding, EapBetween, EapConversation, EapMethod, EapPacket, EapStep};
use ike_crypto::eap::{EapClient, EapIdentity, EapServer, EapTlsClient, EapTlsServer, PasswordMethod, Users};
use ike_crypto::{PrivateKeyFile, Trust};
use ipsec_types::{Identity, Secret, SignatureScheme};

const NAME: &str = "gw.example";

static LEAF_KEY: LazyLock<Arc<PrivateKeyFile>> =
    LazyLock::new(|| Arc::new(PrivateKeyFile::from_pem(include_bytes!("../x509/leaf.pem")).expect("a private key")));

static TRUST: LazyLock<Arc<Trust>> = LazyLock::new(|| {
    // 2026-06-21.
    let clock = || SystemTime::UNIX_EPOCH + Duration::from_secs(1_782_000_000);
    let mut trust = Trust::new(clock, vec![SignatureScheme::Ed25519]);
    trust.trust_authority(include_bytes!("../x509/authority.der").to_vec()).expect("an authority");
    Arc::new(trust)
});

fn credential() -> Credential {
    let leaf = Certificate { encoding: CertificateEncoding::X509_SIGNATURE, data: include_bytes!("../x509/leaf.der").to_vec() };
    Credential { key: LEAF_KEY.clone(), certificates: vec![leaf], schemes: vec![SignatureScheme::Ed25519] }
}

fn secret() -> Secret {
    Secret::copy_from(b"wonderland")
}

/// Both sides of a method; the low two bits say which.
fn sides(method: u8) -> [Box<dyn EapConversation>; 2] {
    let id: Identity = NAME.parse().expect("an identity");
    let at = "192.0.2.1:500".parse().expect("an address");
    let between = EapBetween { initiator: &id, responder: &id, local: at, remote: at };
    let by = |method: PasswordMethod| {
        let mut users = Users::default();
        users.add(NAME.to_owned(), secret());
        let client = EapClient::new(method, None, Arc::new(secret())).begin(&between);
        [client, EapServer::new(method, EapIdentity::Any, Arc::new(users)).begin(&between)]
    };
    match method % 4 {
        0 => {
            let client = EapTlsClient::new(None, credential(), TRUST.clone(), None).begin(&between);
            [client, EapTlsServer::new(EapIdentity::FromIke, credential(), TRUST.clone()).begin(&between)]
        }
        1 => by(PasswordMethod::Mschapv2),
        2 => by(PasswordMethod::Md5),
        _ => by(PasswordMethod::Gtc),
    }
}

/// The first octet says which method, and with 0x80 that it is the server whom an attacker speaks to, as the client.
pub(crate) fn exercise(octets: &[u8]) {
    let Some((&kind, mut script)) = octets.split_first() else { return };
    let [client, server] = sides(kind);
    let is_server = kind & 0x80 != 0;
    let (mut victim, mut helper) = if is_server { (server, client) } else { (client, server) };
    // What the victim has said last, and whether it has heard anything of somebody who knows the secret.
    let mut said = if is_server { say(victim.step(None)) } else { None };
    let mut helped = false;
    for _ in 0..64 {
        let fair = match (is_server, &said) {
            (true, None) => return,
            (_, said) => say(helper.step(said.as_deref())),
        };
        let Some((&[length, what], rest)) = script.split_first_chunk() else { return };
        let (own, rest) = rest.split_at(usize::from(length).min(rest.len()));
        script = rest;
        helped |= what % 4 != 3 && fair.is_some();
        let packet = match (what % 4, fair) {
            (0, Some(fair)) => fair,
            (1, Some(mut fair)) => {
                // From where it says on, the packet has these octets instead.
                let from = usize::from(what >> 2).min(fair.len());
                fair.truncate(from);
                fair.extend_from_slice(own);
                with_length(fair)
            }
            (2, Some(mut fair)) => {
                for pair in own.chunks_exact(2) {
                    let place = usize::from(pair[0]);
                    if let Some(octet) = fair.get_mut(place) {
                        *octet ^= pair[1];
                    }
                }
                fair
            }
            _ => own.to_vec(),
        };
        said = match victim.step(Some(&packet)) {
            EapStep::Succeeded { outcome, .. } => {
                assert!(helped || is_weak(kind), "success after {packet:?}");
                // TLS and MSCHAPv2 make a key, the others none.
                assert_eq!(outcome.msk.map(|msk| msk.len()), if is_weak(kind) { None } else { Some(64) });
                return;
            }
            step => match say(step) {
                Some(said) => Some(said),
                None => return,
            },
        };
    }
}

/// MD5 and GTC: the client is shown nothing by the server, and may have anything answered.
const fn is_weak(kind: u8) -> bool {
    kind % 4 >= 2
}

fn say(step: EapStep) -> Option<Vec<u8>> {
    match step {
        EapStep::Say(packet) => {
            assert!(EapPacket::parse(&packet).is_ok() && packet.len() <= 2048);
            Some(packet)
        }
        EapStep::Succeeded { last, .. } => last,
        EapStep::Failed { why, .. } => {
            assert!(!why.summary.is_empty());
            None
        }
        EapStep::Verify { .. } => panic!("nobody is to be asked"),
    }
}

/// With the length it has.
fn with_length(mut packet: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(packet.len()).unwrap_or(u16::MAX).to_be_bytes();
    if let Some(place) = packet.get_mut(2..4) {
        place.copy_from_slice(&length);
    }
    packet
}
