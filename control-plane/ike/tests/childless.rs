//! IKE SAs that come up without a Child SA (RFC 6023).
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::net::SocketAddr;
use std::time::Duration;

use ike::config::{Childless, Config};
use ike::error::Failure;
use ike::io::{Datagram, Input};
use ike_wire::{Auth, AuthMethod, ExchangeType, Flags, Header, Identification, NotifyType, Payload, Version};
use pair::Side::{A, B};
use pair::clear::{self, Clear};
use pair::{Network, Pair, Side, config};

const SECOND: Duration = Duration::from_secs(1);

fn configured(side: Side, childless: Childless) -> Config {
    let mut config = config(side);
    config.connections[0].childless = childless;
    config
}

fn pair(a: Childless, b: Childless) -> Pair {
    Pair::new(1, configured(A, a), configured(B, b))
}

fn begun(a: Childless, b: Childless) -> Pair {
    let mut pair = pair(a, b);
    pair.acquire(A, 1);
    pair.run(SECOND);
    pair
}

/// ```text
/// HDR, SK {IDi, [IDr,] AUTH}  -->
///                             <--  HDR, SK {IDr, AUTH}
/// HDR, SK {SA, Ni, TSi, TSr}  -->
///                             <--  HDR, SK {SA, Nr, TSi, TSr}
/// ```
#[test]
fn the_child_sa_comes_in_an_exchange_of_its_own() {
    for (a, b) in [(Childless::Prefer, Childless::Allow), (Childless::Force, Childless::Force), (Childless::Force, Childless::Prefer)] {
        let mut pair = begun(a, b);
        let shown = pair.shown(B);
        assert!(shown[1].starts_with("IKE_SA_INIT response 0: ") && shown[1].contains("N(CHDLESS_SUP)"), "{shown:?}");
        assert_eq!(
            shown[2..],
            [
                "IKE_AUTH request 1: IDi IDr N(INIT_CONTACT) AUTH",
                "IKE_AUTH response 1: IDr AUTH N(INIT_CONTACT)",
                "CREATE_CHILD_SA request 2: SA No TSi TSr",
                "CREATE_CHILD_SA response 2: SA No TSi TSr",
            ]
        );
        assert_eq!(pair.assert_mirrored(), 1);
        assert_eq!((pair.failures(A), pair.failures(B)), (vec![], vec![]));
        assert_eq!(pair.gateway(A).data_plane.refused, [], "the packet that began it goes through");
    }
}

/// "The initiator MUST NOT send the modified IKE_AUTH request if the notification was not present."
#[test]
fn a_peer_that_has_not_announced_it_gets_an_ordinary_request() {
    for (a, b) in [(Childless::Prefer, Childless::Never), (Childless::Allow, Childless::Allow), (Childless::Never, Childless::Allow)] {
        let mut pair = begun(a, b);
        assert_eq!(pair.shown(B)[2], "IKE_AUTH request 1: IDi IDr N(INIT_CONTACT) AUTH SA TSi TSr", "{a:?} {b:?}");
        assert_eq!(pair.shown(B)[1].contains("N(CHDLESS_SUP)"), b != Childless::Never);
        assert_eq!(pair.assert_mirrored(), 1);
    }
}

#[test]
fn who_must_have_it_says_what_is_missing() {
    let mut pair = begun(Childless::Force, Childless::Never);
    pair.run(10 * SECOND);
    let [Failure::Incompatible(NotifyType::CHILDLESS_IKEV2_SUPPORTED, detail)] = &pair.failures(A)[..] else {
        panic!("{:?}", pair.failures(A))
    };
    assert!(detail.ours.contains("childless = \"force\"") && detail.remedy.contains("childless = \"prefer\""), "{detail}");
    assert_eq!(pair.established(A), 0);
}

/// The IKE SA stays, and the initiator finds the other way by itself.
#[test]
fn a_child_sa_in_ike_auth_is_refused_alone_where_it_is_not_wanted() {
    let mut pair = begun(Childless::Allow, Childless::Force);
    assert_eq!(pair.shown(B)[3], "IKE_AUTH response 1: IDr AUTH N(INIT_CONTACT) N(NO_ADD_SAS)");
    assert_eq!((pair.established(A), pair.established(B), pair.installed(B)), (1, 1, 0));
    pair.initiate(A);
    pair.run(SECOND);
    assert_eq!(pair.assert_mirrored(), 1);
}

/// An IKE SA whose Child SA is refused is not set up again and again.
#[test]
fn a_child_sa_that_is_refused_leaves_the_ike_sa() {
    let mut b = configured(B, Childless::Allow);
    b.connections[0].children[0].local_selectors = vec!["10.99.0.0/16".parse().unwrap()];
    let mut pair = Pair::new(1, configured(A, Childless::Force), b);
    pair.acquire(A, 1);
    pair.run(30 * SECOND);
    assert_eq!((pair.established(A), pair.established(B), pair.installed(A)), (1, 1, 0));
    assert_eq!(pair.shown(B).iter().filter(|line| line.starts_with("IKE_AUTH request")).count(), 1);
    assert!(
        pair.failures(A).iter().all(|failure| matches!(failure, Failure::Refused(NotifyType::TS_UNACCEPTABLE, _))),
        "{:?}",
        pair.failures(A)
    );
}

/// "It SHOULD reply with an INVALID_SYNTAX Notify payload".
#[test]
fn who_does_not_allow_it_answers_as_who_cannot() {
    const SUITE: Clear = Clear(b"ICV!");
    let mut pair =
        Pair::with(clear::provider(&[&SUITE]), Network::GOOD, 7, configured(A, Childless::Never), configured(B, Childless::Never));
    pair.acquire(A, 1);
    pair.run(Duration::from_millis(15));
    pair.deaf = Some(B);
    let last = Header::peek(&pair.sent.last().unwrap().datagram.payload).unwrap();
    let flags = Flags { initiator: true, ..Flags::default() };
    let header = Header { flags, exchange: ExchangeType::IKE_AUTH, version: Version::V2, message_id: 1, ..last };
    let payloads = [
        Payload::IdInitiator(Identification::from(&"a.lab.test".parse().unwrap())),
        Payload::Auth(Auth { method: AuthMethod::SHARED_KEY, data: vec![7; 32] }),
    ];
    let (local, remote) = (SocketAddr::new(B.address(), 4500), SocketAddr::new(A.address(), 4500));
    pair.input(B, Input::Datagram(Datagram { local, remote, payload: SUITE.seal(&header, &payloads) }));
    assert_eq!(pair.shown(B).last().unwrap(), "IKE_AUTH response 1: N(INVAL_SYN)");
    assert_eq!(pair.ike_sas(B).len(), 0);
}
