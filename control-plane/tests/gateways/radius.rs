//! Peers that show to a RADIUS server who they are, while the server does not answer.

use std::net::UdpSocket;

use culvert_proto::control::v1::WatchRequest;
use rcgen::KeyPair;
use tokio_stream::StreamExt;

use crate::initiate;
use crate::pair::{Extra, Pair, Setup, soon};

/// Beside the connection with a shared key, one between the same gateways: the first is a user of the second's RADIUS server.
fn users(server: u16) -> Setup {
    let key = KeyPair::generate().unwrap();
    let child = |here: u8, there: u8| {
        format!(
            "[connections.users.children.road]\nlocal_ts = [\"10.{here}.9.0/24\"]\nremote_ts = [\"10.{there}.9.0/24\"]\nesp_proposals = [\"aes128gcm16\"]\n"
        )
    };
    let connection = |here: u8, there: u8, auth: &str| {
        format!(
            "[connections.users]\nlocal_addrs = [\"192.0.2.{here}\"]\nremote_addrs = [\"192.0.2.{there}\"]\n\
             proposals = [\"aes128gcm16-prfsha256-x25519\"]\n{auth}{}",
            child(here, there)
        )
    };
    let user = "local = { auth = \"eap-mschapv2\", id = \"alice@example\", eap_id = \"alice\" }\n\
                remote = { auth = \"pubkey\", id = \"gw-2.example\", pubkeys = [\"gw.pub\"] }\n";
    let gateway = "local = { auth = \"pubkey\", id = \"gw-2.example\", key = \"gw.key\" }\n\
                   remote = { auth = \"eap-radius\", id = \"alice@example\", eap_id = \"%any\" }\n";
    let servers =
        format!("[radius.stuck]\naddress = \"127.0.0.1\"\nauth_port = {server}\nretransmit_timeout = \"10s\"\nretransmit_tries = 1\n");
    let a = Extra {
        configuration: connection(1, 2, user),
        secrets: "[eap.alice]\nid = \"alice\"\nsecret = \"wonderland\"\n".to_owned(),
        files: vec![("gw.pub", key.public_key_pem())],
    };
    let b = Extra {
        configuration: connection(2, 1, gateway) + &servers,
        secrets: "[radius.stuck]\nsecret = \"0123456789abcdef\"\n".to_owned(),
        files: vec![("gw.key", key.serialize_pem())],
    };
    Setup { more: [a, b], ..Setup::default() }
}

#[tokio::test]
async fn a_stuck_radius_server_delays_nobody_but_its_user_who_is_told_why() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let pair = Pair::start(users(server.local_addr().unwrap().port())).await;
    let mut events = pair.b.operator().await.watch(WatchRequest {}).await.unwrap().into_inner();
    let asked = tokio::task::spawn_blocking(move || {
        let length = server.recv(&mut [0; 4096]).unwrap();
        (server, length)
    });
    let hung = initiate(&pair, "users/road");
    let others = async {
        let (server, length) = soon("the server is asked", asked).await.unwrap();
        assert!(length > 20);
        initiate(&pair, "peer/net").await.unwrap();
        server
    };
    let (hung, server) = tokio::join!(hung, others);
    assert!(hung.unwrap_err().message().contains("AUTHENTICATION_FAILED"));
    // The one with the shared key was there before the other was given up.
    let mut seen = Vec::new();
    let failure = loop {
        let event = soon("the user is refused", events.next()).await.unwrap().unwrap();
        if event.kind == "negotiation-failed" {
            break event;
        }
        seen.push((event.connection, event.kind));
    };
    assert!(seen.contains(&("peer".to_owned(), "child-sa-installed".to_owned())), "{seen:?}");
    assert_eq!(failure.connection, "users");
    let why = format!("{failure:?}");
    assert!(why.contains("no RADIUS server answers: stuck at 127.0.0.1:") && why.contains("no answer in 10 s"), "{why}");
    drop(server);
}
