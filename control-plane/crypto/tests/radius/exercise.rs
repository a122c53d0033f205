//! Whatever a RADIUS server or somebody in its place may send, and whatever the peer says through it. Used by the fuzz target `radius` and by the test that
//! replays its corpus.

use ike::provider::{EapBetween, EapStep};
use ike_crypto::eap::EapIdentity;
use ike_crypto::radius::{Move, Request, Session};
use ipsec_types::{Identity, Secret};

use crate::server;

/// The first octet says what the others are.
pub(crate) fn exercise(octets: &[u8]) {
    let Some((kind, octets)) = octets.split_first() else { return };
    let secret = Secret::copy_from(b"xyzzy5461");
    let (mut session, request) = begun();
    let sealed = request.seal(7, [9; 16], &secret);
    match kind {
        // Anybody's datagram.
        0 => assert!(sealed.open(octets, &secret).is_err(), "nobody has signed this"),
        // What a server has signed, whatever it says; twice, for what the first leaves behind.
        1..=3 => {
            let code = [2, 3, 11][usize::from(*kind) - 1];
            let datagram = server::answer(sealed.octets(), code, octets.get(..4058).unwrap_or(octets), &secret);
            if let Ok(answer) = sealed.open(&datagram, &secret)
                && let EapStep::Say(_) = session.hear_server(answer)
            {
                let _next = session.hear_peer(Some(octets));
            }
        }
        // Keys behind the hiding, so that what is hidden is reached.
        4 => {
            let (send, receive) = octets.split_at(octets.len() / 2);
            let keys = [(16, send), (17, receive)].map(|(kind, key)| {
                let key = key.get(..200).unwrap_or(key);
                server::key(sealed.octets(), kind, key, &secret)
            });
            let attributes = [keys.concat(), server::eap(&[3, 1, 0, 4])].concat();
            let datagram = server::answer(sealed.octets(), server::ACCEPT, &attributes, &secret);
            match sealed.open(&datagram, &secret) {
                Ok(answer) => assert!(answer.msk.is_some_and(|msk| msk.len() >= 64)),
                Err(_) => assert!(send.len() < 16 || receive.len() < 16),
            }
        }
        // The peer, at its first word and at the next.
        _ => {
            let _next = session.hear_peer(Some(octets));
            let mut unasked = open_to(EapIdentity::Any);
            let _request = unasked.hear_peer(None);
            if let Move::Ask(request) = unasked.hear_peer(Some(octets)) {
                assert!(request.seal(1, [0; 16], &secret).octets().len() <= 4096);
            }
        }
    }
}

/// A conversation, and its first request.
pub(crate) fn begun() -> (Session, Request) {
    let mut session = open_to(EapIdentity::FromIke);
    let Move::Ask(request) = session.hear_peer(None) else { panic!("the identity is known") };
    (session, request)
}

pub(crate) fn open_to(identity: EapIdentity) -> Session {
    let (initiator, responder): (Identity, Identity) = ("alice@lab.test".parse().expect("a name"), "gw.lab.test".parse().expect("a name"));
    let (local, remote) = ("192.0.2.1:4500".parse().expect("an address"), "198.51.100.7:1024".parse().expect("an address"));
    Session::new(identity, &EapBetween { initiator: &initiator, responder: &responder, local, remote }, "users")
}
