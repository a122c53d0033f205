//! Others that do not do their part: an OCSP responder that takes a connection and says nothing, a watcher that never reads. Nobody else waits for them.

use std::io::Read as _;
use std::net::TcpListener;

use culvert_proto::control::v1::control_client::ControlClient;
use culvert_proto::control::v1::target::Sas;
use culvert_proto::control::v1::{RekeyRequest, Target, TraceRequest, WatchRequest, trace_record};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_stream::StreamExt;
use tonic::transport::{Endpoint, Uri};

use crate::initiate;
use crate::pair::{Extra, PATIENCE, Pair, Setup, Side, soon, wait};

/// Beside the connection with a shared key, one in which the first gateway shows a certificate that the second asks an OCSP responder about.
fn certified(responder: u16) -> Setup {
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(params, ca_key);
    let [a_key, b_key] = [(); 2].map(|()| KeyPair::generate().unwrap());
    let mut params = CertificateParams::new(["a.certified.example".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "A");
    let certificate = params.signed_by(&a_key, &issuer).unwrap().pem();
    let connection = |here: u8, there: u8, auth: &str| {
        format!(
            "[connections.certified]\nlocal_addrs = [\"192.0.2.{here}\"]\nremote_addrs = [\"192.0.2.{there}\"]\n\
             proposals = [\"aes128gcm16-prfsha256-x25519\"]\n{auth}[connections.certified.children.far]\n\
             local_ts = [\"10.{here}.9.0/24\"]\nremote_ts = [\"10.{there}.9.0/24\"]\nesp_proposals = [\"aes128gcm16\"]\n"
        )
    };
    let a = Extra {
        configuration: connection(
            1,
            2,
            "local = { auth = \"pubkey\", id = \"a.certified.example\", certs = [\"a.crt\"], key = \"a.key\" }\n\
             remote = { auth = \"pubkey\", id = \"b.certified.example\", pubkeys = [\"b.pub\"] }\n",
        ),
        secrets: String::new(),
        files: vec![("a.crt", certificate), ("a.key", a_key.serialize_pem()), ("b.pub", b_key.public_key_pem())],
    };
    let b = Extra {
        configuration: connection(
            2,
            1,
            "local = { auth = \"pubkey\", id = \"b.certified.example\", key = \"b.key\" }\n\
             remote = { auth = \"pubkey\", id = \"a.certified.example\", revocation = \"strict\" }\n",
        ) + &format!("[authorities.ours]\ncacert = \"ca.crt\"\nocsp_uris = [\"http://127.0.0.1:{responder}/\"]\n"),
        secrets: String::new(),
        files: vec![("ca.crt", ca), ("b.key", b_key.serialize_pem())],
    };
    Setup { more: [a, b], ..Setup::default() }
}

#[tokio::test]
async fn a_stuck_ocsp_responder_delays_nobody_but_the_peer_it_is_asked_about() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let pair = Pair::start(certified(listener.local_addr().unwrap().port())).await;
    let mut events = pair.b.operator().await.watch(WatchRequest {}).await.unwrap().into_inner();
    // It takes the connection and the question, and never says anything.
    let asked = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let length = stream.read(&mut [0; 4096]).unwrap();
        (listener, stream, length)
    });
    let hung = initiate(&pair, "certified/far");
    let others = async {
        let (listener, stream, length) = soon("the responder is asked", asked).await.unwrap();
        assert!(length > 20);
        initiate(&pair, "peer/net").await.unwrap();
        (listener, stream)
    };
    let (hung, held) = tokio::join!(hung, others);
    assert!(hung.unwrap_err().message().contains("AUTHENTICATION_FAILED"));
    // The one with the shared key was there before the other was given up.
    let mut seen = Vec::new();
    let failure = loop {
        let event = soon("the certificate is refused", events.next()).await.unwrap().unwrap();
        if event.kind == "negotiation-failed" {
            break event;
        }
        seen.push((event.connection, event.kind));
    };
    assert!(seen.contains(&("peer".to_owned(), "child-sa-installed".to_owned())), "{seen:?}");
    assert_eq!(failure.connection, "certified");
    assert!(format!("{failure:?}").contains("revo"), "{failure:?}");
    drop(held);
}

/// An operator whose streams take next to nothing before they are read.
async fn slow_operator(side: &Side) -> ControlClient<tonic::transport::Channel> {
    let endpoint = Endpoint::from_shared(format!("unix:{}", side.control_socket().display())).unwrap();
    let endpoint = endpoint.origin(Uri::from_static("http://localhost")).initial_stream_window_size(1024);
    ControlClient::new(endpoint.connect().await.unwrap())
}

/// So many Child SAs one after the other; each is some records of the trace, and two events.
const REKEYED: usize = 400;

#[tokio::test]
async fn watchers_that_never_read_delay_nobody_and_lose_what_is_too_much() {
    let pair = Pair::start(Setup::default()).await;
    let mut slow = slow_operator(&pair.b).await;
    let follow = TraceRequest { follow: true, ..TraceRequest::default() };
    // Neither is read while the gateways work.
    let _events = slow.watch(WatchRequest {}).await.unwrap().into_inner();
    let mut records = slow.trace(follow).await.unwrap().into_inner();
    initiate(&pair, "peer/net").await.unwrap();
    let mut operator = pair.a.operator().await;
    for _ in 0..REKEYED {
        let target = Some(Target { sas: Some(Sas::Child("peer/net".into())) });
        let request = RekeyRequest { target, timeout_ms: PATIENCE.as_millis().try_into().unwrap(), reauthenticate: false };
        soon("the Child SA is replaced", operator.rekey(request)).await.unwrap();
    }
    wait("the other gateway has gone along", || pair.b.state().sas.len() == 1).await;
    // What the one that is read now has missed is told: it was kept nowhere.
    let mut read = 0;
    let lost = loop {
        let record = soon("the loss is told", records.next()).await.unwrap().unwrap();
        read += 1;
        match record.record {
            Some(trace_record::Record::Step(step)) if step.title == "lost" => break step.lines.join(" "),
            _ => {}
        }
    };
    assert!(lost.contains("lost, as they were read too slowly"), "{lost}");
    let missed: usize = lost.split(' ').next().unwrap().parse().unwrap();
    assert!(missed > 0 && read < REKEYED * 4, "{read} read, {lost}");
}
