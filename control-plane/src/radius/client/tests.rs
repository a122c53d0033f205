//! Servers on loopback, some of which are not there for everybody.

#[path = "../../../crypto/tests/radius/server.rs"]
#[allow(dead_code, reason = "the tests of ike-crypto need more of it")]
mod server;

use std::net::UdpSocket as Socket;
use std::sync::Arc;
use std::thread;

use ike::provider::{EapBetween, EapMethod as _, EapStep};
use ike_crypto::eap::EapIdentity;
use ike_crypto::radius::{Move, Session, Verdict};
use ipsec_types::Identity;

use super::super::EapRadius;
use super::*;

const SECRET: &[u8] = b"a-secret-of-the-two";
/// What nobody waits for, unless something is wrong.
const LONG: Duration = Duration::from_secs(300);
/// EAP Failure.
const FAILURE: [u8; 4] = [4, 1, 0, 4];

fn socket() -> Socket {
    Socket::bind("127.0.0.1:0").unwrap()
}

/// `patient`: the answer is waited for; otherwise the server is given up at once, after two transmissions.
fn at(socket: &Socket, patient: bool) -> Server {
    let (timeout, tries) = if patient { (Duration::from_millis(300), 20) } else { (Duration::from_millis(30), 2) };
    Server {
        name: "one".to_owned(),
        address: socket.local_addr().unwrap(),
        source: None,
        secret: Secret::copy_from(SECRET),
        nas_identifier: None,
        retransmission: Retransmission { timeout, base_percent: 140, tries },
        dead_time: LONG,
        standing: Standing::default(),
    }
}

fn between<'a>(initiator: &'a Identity, responder: &'a Identity) -> EapBetween<'a> {
    EapBetween { initiator, responder, local: "192.0.2.1:500".parse().unwrap(), remote: "192.0.2.2:500".parse().unwrap() }
}

fn request() -> Request {
    let (alice, gateway) = ("alice@lab.test".parse().unwrap(), "gw.lab.test".parse().unwrap());
    match Session::new(EapIdentity::FromIke, &between(&alice, &gateway), "users").hear_peer(None) {
        Move::Ask(request) => request,
        Move::Step(step) => panic!("{step:?}"),
    }
}

/// Access-Reject to a request.
fn refusal(request: &[u8]) -> Vec<u8> {
    server::answer(request, 3, &server::eap(&FAILURE), &Secret::copy_from(SECRET))
}

/// What a server sends upon a request.
type Answers = fn(&[u8]) -> Vec<Vec<u8>>;

/// Answers what comes as `answers` does, and gives back what has come once each of `answers` has been used.
fn serve(socket: Socket, answers: Vec<Answers>) -> thread::JoinHandle<Vec<Vec<u8>>> {
    thread::spawn(move || {
        let mut heard = Vec::new();
        for answer in answers {
            let mut buffer = [0; LONGEST_PACKET];
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            heard.push(buffer[..length].to_vec());
            for datagram in answer(&buffer[..length]) {
                socket.send_to(&datagram, from).unwrap();
            }
        }
        heard
    })
}

#[tokio::test]
async fn what_is_not_answered_is_sent_again_the_same_to_the_octet() {
    let socket = socket();
    let client = Client::with_patience(vec![Server { nas_identifier: Some("branch".to_owned()), ..at(&socket, true) }], LONG);
    let heard = serve(socket, vec![|_| vec![], |_| vec![], |request| vec![refusal(request)]]);
    let (index, answer) = client.ask(&request(), None).await.unwrap();
    assert_eq!((index, answer.verdict, answer.eap), (0, Verdict::Reject, Some(FAILURE.to_vec())));
    let heard = heard.join().unwrap();
    assert!(heard.len() == 3 && heard.iter().all(|packet| *packet == heard[0]));
    assert_eq!(server::values(&heard[0], 32), b"branch");
}

#[tokio::test]
async fn what_is_no_answer_is_discarded_and_the_true_one_taken() {
    let socket = socket();
    let client = Client::with_patience(vec![at(&socket, true)], LONG);
    let heard = serve(
        socket,
        vec![|request| {
            let forged = server::answer(request, 2, &server::eap(&[3, 1, 0, 4]), &Secret::copy_from(b"a guess"));
            let mut other = request.to_vec();
            other[1] = !other[1];
            vec![vec![], vec![2; 5000], forged, refusal(&other), refusal(request)]
        }],
    );
    assert_eq!(client.ask(&request(), None).await.unwrap().1.verdict, Verdict::Reject);
    heard.join().unwrap();
}

#[tokio::test]
async fn the_next_server_is_asked_where_one_is_silent_and_first_from_then_on() {
    let (silent, speaking) = (socket(), socket());
    let client = Client::with_patience(vec![at(&silent, false), at(&speaking, true)], LONG);
    let heard = serve(speaking, vec![|request| vec![refusal(request)]; 3]);
    for _ in 0..2 {
        assert_eq!(client.ask(&request(), None).await.unwrap().0, 1);
    }
    silent.set_nonblocking(true).unwrap();
    let mut asked = 0;
    while silent.recv(&mut [0; LONGEST_PACKET]).is_ok() {
        asked += 1;
    }
    assert_eq!(asked, 2, "transmissions of the first request alone");
    // Within a conversation nobody else is asked.
    let silence = client.ask(&request(), Some(0)).await.unwrap_err();
    assert!(silence.starts_with("one at 127.0.0.1:") && silence.contains("no answer in") && !silence.contains(';'), "{silence}");
    assert_eq!(client.ask(&request(), Some(1)).await.unwrap().0, 1);
    assert_eq!(heard.join().unwrap().len(), 3);
}

/// The system knows that nobody receives there, and neither server nor peer is waited for.
#[tokio::test]
async fn the_next_server_is_asked_at_once_where_a_process_is_gone() {
    let (gone, speaking) = (socket(), socket());
    let client = Client::with_patience(vec![at(&gone, true), at(&speaking, true)], LONG);
    drop(gone);
    let heard = serve(speaking, vec![|request| vec![refusal(request)]]);
    assert_eq!(client.ask(&request(), None).await.unwrap().0, 1);
    heard.join().unwrap();
    assert_eq!(client.order(), [1, 0]);
}

#[tokio::test]
async fn a_server_that_comes_back_takes_its_place_again() {
    let (first, second) = (socket(), socket());
    let client = Client::with_patience(vec![at(&first, false), at(&second, false)], LONG);
    let silences = client.ask(&request(), None).await.unwrap_err();
    assert_eq!(silences.matches("no answer").count(), 2, "{silences}");
    assert_eq!(client.order(), [0, 1], "both are dead, the first for longer");
    client.servers[1].standing.hear();
    assert_eq!(client.order(), [1, 0]);
    client.servers[0].standing.hear();
    assert_eq!(client.order(), [0, 1]);
    // Silent to one peer, and not to others meanwhile.
    let before = Instant::now();
    client.servers[0].standing.hear();
    assert!(!client.servers[0].standing.miss(before, LONG));
    assert_eq!(client.order(), [0, 1]);
}

#[tokio::test]
async fn silence_has_its_reason() {
    let wrong = socket();
    let gone = socket();
    let once = Retransmission { timeout: Duration::from_secs(2), base_percent: 100, tries: 1 };
    let servers = vec![
        Server { retransmission: once, ..at(&wrong, false) },
        at(&gone, false),
        Server { source: Some("192.0.2.99".parse().unwrap()), ..at(&gone, false) },
    ];
    drop(gone);
    let client = Client::with_patience(servers, LONG);
    let by_another_secret: Answers =
        |request| vec![server::answer(request, 2, &server::eap(&[3, 1, 0, 4]), &Secret::copy_from(b"another"))];
    let heard = serve(wrong, vec![by_another_secret]);
    let silences = client.ask(&request(), None).await.unwrap_err();
    let [wrong, gone, elsewhere] = silences.split("; ").collect::<Vec<_>>()[..] else { panic!("{silences}") };
    assert!(wrong.ends_with("a packet that was discarded: its authenticators do not fit the shared secret"), "{wrong}");
    assert!(gone.contains("nobody receives there"), "{gone}");
    assert!(elsewhere.contains("cannot ask it"), "{elsewhere}");
    heard.join().unwrap();
}

/// However many peers ask a silent server, there is a bound on what is open, and each is told in the end.
#[tokio::test]
async fn requests_at_once_are_bounded() {
    let silent = socket();
    let client = Arc::new(Client::with_patience(vec![at(&silent, false)], Duration::from_millis(400)));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..3 * AT_ONCE {
        let client = Arc::clone(&client);
        asking.spawn(async move { client.ask(&request(), None).await.unwrap_err() });
    }
    while client.free.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let silences = asking.join_all().await;
    assert!(silences.len() == 3 * AT_ONCE && silences.iter().all(|why| why.contains("no answer") || why.contains("wait for them already")));
    assert_eq!(client.free.available_permits(), AT_ONCE);
}

#[tokio::test]
async fn a_conversation_waits_for_its_server_and_says_why_it_ends() {
    let socket = socket();
    let client = Arc::new(Client::with_patience(vec![at(&socket, false)], LONG));
    let method = EapRadius::new(client, EapIdentity::FromIke, "users".to_owned());
    let (alice, gateway) = ("alice@lab.test".parse().unwrap(), "gw.lab.test".parse().unwrap());
    let mut conversation = method.begin(&between(&alice, &gateway));
    let EapStep::Failed { last: None, why } = conversation.wait(None).unwrap().await else { panic!() };
    assert!(why.summary.starts_with("no RADIUS server answers: one at 127.0.0.1:"), "{why:?}");
    assert!(why.remedy.contains("[radius.NAME]"));
}
