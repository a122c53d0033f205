//! Two control planes negotiate over fake data planes: the whole daemon with nothing replaced but packets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fake;
mod pair;
mod radius;
mod stuck;

use std::collections::HashSet;

use culvert_proto::control::v1::target::Sas;
use culvert_proto::control::v1::{
    ExplainRequest, ExplainResponse, InitiateRequest, ListSasRequest, ReloadRequest, StatsRequest, Target, TerminateRequest, TraceRecord,
    TraceRequest, VersionRequest, WatchRequest, trace_record,
};
use fake::FakeDataPlane;
use ipsec_types::Secret;
use pair::{PATIENCE, Pair, Setup, Side, flow, soon, wait};
use tokio_stream::StreamExt;
use tonic::Code;
use tonic_types::StatusExt as _;

/// The titles of a trace's messages; not of those that a slow machine had sent again.
fn titles(records: &[TraceRecord]) -> Vec<String> {
    let message = |record: &TraceRecord| match &record.record {
        Some(trace_record::Record::Message(message)) if !message.retransmission => {
            Some(format!("{} {}", if message.outbound { "->" } else { "<-" }, message.title))
        }
        _ => None,
    };
    records.iter().filter_map(message).collect()
}

async fn trace(side: &Side) -> Vec<TraceRecord> {
    let stream = side.operator().await.trace(TraceRequest::default()).await.unwrap().into_inner();
    stream.map(Result::unwrap).collect().await
}

async fn initiate(pair: &Pair, child: &str) -> Result<u64, tonic::Status> {
    let request = InitiateRequest { child: child.into(), timeout_ms: PATIENCE.as_millis().try_into().unwrap() };
    pair.a.operator().await.initiate(request).await.map(|answer| answer.into_inner().child_sa)
}

async fn terminate(side: &Side, sas: Sas) -> Result<u32, tonic::Status> {
    let request = TerminateRequest { target: Some(Target { sas: Some(sas) }), timeout_ms: PATIENCE.as_millis().try_into().unwrap() };
    side.operator().await.terminate(request).await.map(|answer| answer.into_inner().terminated)
}

#[tokio::test]
async fn a_packet_brings_a_tunnel_up_with_mirrored_sas() {
    let pair = Pair::start(Setup::default()).await;
    pair.a.state().acquire(1, "net", flow("10.1.0.5", "10.2.0.5"));
    wait("both have an SA", || !pair.a.state().sas.is_empty() && !pair.b.state().sas.is_empty()).await;

    // What is sent again is the same to the octet.
    let crossed: HashSet<_> = pair.crossed.lock().unwrap().iter().map(|datagram| datagram.payload.clone()).collect();
    assert_eq!(crossed.len(), 4, "IKE_SA_INIT and IKE_AUTH are four messages");
    let (here, there) = (pair.a.state(), pair.b.state());
    let (a, b) = (here.sas.values().next().unwrap(), there.sas.values().next().unwrap());
    assert_eq!((a.inbound_spi, a.outbound_spi), (b.outbound_spi, b.inbound_spi));
    assert_eq!((&a.inbound_keys, &a.outbound_keys), (&b.outbound_keys, &b.inbound_keys));
    assert_ne!(a.inbound_keys, a.outbound_keys);
    assert_eq!((&a.local_selectors, &a.remote_selectors), (&b.remote_selectors, &b.local_selectors));
    assert_eq!((a.local, a.remote), (b.remote, b.local));
    assert_eq!((a.protection, a.sequence_numbers, a.replay_window), (b.protection, b.sequence_numbers, 1024));
    assert_eq!(here.policies.iter().flatten().find(|policy| policy.id == a.policy).unwrap().name, "net");
    assert!(here.refused_acquires.is_empty());
}

#[tokio::test]
async fn operators_see_the_sas_of_both_planes_and_delete_them() {
    let pair = Pair::start(Setup::default()).await;
    let mut operator = pair.a.operator().await;
    let mut events = operator.watch(WatchRequest {}).await.unwrap().into_inner();
    let child = initiate(&pair, "peer/net").await.unwrap();

    let sas = pair.a.ike_sas().await;
    let [ike_sa] = sas.as_slice() else { panic!("{sas:?}") };
    assert_eq!((ike_sa.connection.as_str(), ike_sa.state.as_str(), ike_sa.initiator), ("peer", "established", true));
    assert_eq!((ike_sa.local_identity.as_str(), ike_sa.remote_identity.as_str()), ("gw-1.example", "gw-2.example"));
    let [child_sa] = ike_sa.child_sas.as_slice() else { panic!("{sas:?}") };
    assert_eq!((child_sa.id, child_sa.name.as_str(), child_sa.state.as_str()), (child, "net", "installed"));
    assert_eq!((child_sa.inbound_packets, child_sa.outbound_octets), (1, 4), "counters are the data plane's");
    let stats = operator.stats(StatsRequest {}).await.unwrap().into_inner();
    assert!(stats.data_plane_attached && stats.data_plane[0].value == 5);
    let counter = |name: &str| stats.control_plane.iter().find(|counter| counter.name == name).unwrap();
    assert_eq!(counter("ike_sas_established").value, 1);
    assert!(stats.control_plane.iter().all(|counter| !counter.meaning.is_empty()), "{:?}", stats.control_plane);
    assert_eq!(operator.version(VersionRequest {}).await.unwrap().into_inner().data_plane, "fake");

    assert_eq!(terminate(&pair.a, Sas::Connection("peer".into())).await.unwrap(), 1);
    wait("both have no SA", || pair.a.state().sas.is_empty() && pair.b.state().sas.is_empty()).await;
    assert_eq!(pair.a.state().retired, [child]);
    assert!(pair.a.ike_sas().await.is_empty());
    let mut kinds = Vec::new();
    while kinds.last().is_none_or(|kind| kind != "ike-sa-deleted") {
        let event = soon("the deletion is told", events.next()).await.unwrap().unwrap();
        assert_eq!(event.connection, "peer", "{event:?}");
        kinds.push(event.kind);
    }
    assert!(kinds.starts_with(&["ike-sa-established".into(), "child-sa-installed".into()]), "{kinds:?}");
}

#[tokio::test]
async fn a_trace_holds_the_messages() {
    let pair = Pair::start(Setup::default()).await;
    initiate(&pair, "net").await.unwrap();
    let titles = titles(&trace(&pair.a).await);
    let begins = ["-> IKE_SA_INIT request", "<- IKE_SA_INIT response", "-> IKE_AUTH request", "<- IKE_AUTH response"];
    assert!(titles.len() == 4 && titles.iter().zip(begins).all(|(title, begin)| title.starts_with(begin)), "{titles:?}");
}

/// The ways in which octets find their way into text: as text, in hexadecimal, in Rust's lists, in Base64. What is cut off counts too.
fn notations(secret: &[u8]) -> Vec<String> {
    let begin = &secret[..secret.len().min(12)];
    let hex = |separator: &str| begin.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(separator);
    let lists = [format!("{begin:?}"), format!("{begin:02x?}"), format!("{begin:x?}")].map(|list| list.trim_matches(['[', ']']).to_owned());
    let text = str::from_utf8(begin).map(|text| text.to_lowercase()).ok();
    // Twelve octets are sixteen digits, whatever follows.
    [hex(""), hex(" "), hex(":"), base64(begin).to_lowercase()].into_iter().chain(lists).chain(text).collect()
}

fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |three: &[u8]| {
        let bits = three.iter().fold(0_u32, |bits, octet| bits << 8 | u32::from(*octet));
        [18, 12, 6, 0].map(|shift| char::from(DIGITS[(bits >> shift & 63) as usize]))
    };
    octets.chunks_exact(3).flat_map(digits).collect()
}

/// Two daemons as processes, which log as much as they can.
#[tokio::test]
async fn no_log_event_or_trace_holds_a_secret() {
    const SHARED: &str = "correct-horse-battery-staple";
    const UNKNOWN: &str = "another-secret-altogether";
    const FAULTY: &str = "0xno-hexadecimal-digits-at-all";
    let binary = Some(env!("CARGO_BIN_EXE_culvert-control"));
    let mut pair = Pair::start(Setup { binary, a_secret: SHARED, b_secret: SHARED, ..Setup::default() }).await;
    let mut events = Vec::new();
    for side in [&pair.a, &pair.b] {
        events.push(side.operator().await.watch(WatchRequest {}).await.unwrap().into_inner());
    }
    initiate(&pair, "net").await.unwrap();
    let mut secrets: Vec<Vec<u8>> = [SHARED, UNKNOWN, FAULTY].map(|secret| secret.as_bytes().to_vec()).into();
    for state in [pair.a.state(), pair.b.state()] {
        let keys = state.sas.values().flat_map(|sa| [&sa.inbound_keys.encryption, &sa.outbound_keys.encryption]);
        secrets.extend(keys.map(Secret::expose).map(<[u8]>::to_vec));
    }
    assert_eq!(secrets.len(), 3 + 4);
    terminate(&pair.a, Sas::Connection("peer".into())).await.unwrap();

    let mut operator = pair.a.operator().await;
    pair.a.set_secret(FAULTY);
    let faults = operator.reload(ReloadRequest {}).await.unwrap_err();
    pair.a.set_secret(UNKNOWN);
    operator.reload(ReloadRequest {}).await.unwrap();
    let refused = initiate(&pair, "net").await.unwrap_err();
    assert!(refused.message().contains("AUTHENTICATION_FAILED"), "{refused:?}");

    let mut said = format!("{faults:?} {refused:?}");
    for events in &mut events {
        while !said.ends_with("negotiation-failed") {
            let event = soon("the refusal is told", events.next()).await.unwrap().unwrap();
            said.push_str(&format!("{event:?} {}", event.kind));
        }
        said.push('.');
    }
    for side in [&mut pair.a, &mut pair.b] {
        said.push_str(&format!("{:?}", trace(side).await));
        side.shut_down().await;
        let log = side.log();
        assert!(log.contains("TRACE") && log.contains("negotiation-failed"), "the log is not as verbose as it can be: {log}");
        said.push_str(&log);
    }
    let said = said.to_lowercase();
    for notation in secrets.iter().flat_map(|secret| notations(secret)) {
        let at = said.find(&notation);
        assert!(at.is_none(), "{notation} in {:?}", at.and_then(|at| said.get(at.saturating_sub(200)..at + 100)));
    }
}

#[tokio::test]
async fn a_follower_of_the_trace_gets_the_past_and_what_comes() {
    let pair = Pair::start(Setup::default()).await;
    initiate(&pair, "net").await.unwrap();
    let mut operator = pair.a.operator().await;
    let mut records = operator.trace(TraceRequest { follow: true, ..TraceRequest::default() }).await.unwrap().into_inner();
    terminate(&pair.a, Sas::Child("net".into())).await.unwrap();
    let mut seen = Vec::new();
    while titles(&seen).len() < 6 {
        seen.push(soon("the message is followed", records.next()).await.unwrap().unwrap());
    }
    let titles = titles(&seen);
    assert!(titles[0].starts_with("-> IKE_SA_INIT request") && titles[4].starts_with("-> INFORMATIONAL request"), "{titles:?}");
}

#[tokio::test]
async fn operators_are_told_why_nothing_came_of_it() {
    let setup = Setup { b_proposals: "aes256gcm16-prfsha384-ecp256", ..Setup::default() };
    let pair = Pair::start(setup).await;
    let unknown = initiate(&pair, "nothing").await.unwrap_err();
    assert!(unknown.code() == Code::FailedPrecondition && unknown.message().contains("nothing"), "{unknown:?}");
    let refused = initiate(&pair, "net").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("NO_PROPOSAL_CHOSEN"), "{refused:?}");
    let info = refused.get_details_error_info().unwrap();
    assert_eq!((&*info.reason, &*info.domain), ("NO_PROPOSAL_CHOSEN", "culvert.control"));
    assert!(info.metadata["ours"].contains("aes128gcm16") && info.metadata["remedy"].contains("at the peer"), "{info:?}");
    assert!(pair.a.state().installs.is_empty() && pair.b.state().installs.is_empty());
}

/// What would become of the packet that the other side would like to answer.
async fn explain(side: &Side, source: &str, destination: &str) -> ExplainResponse {
    let request = ExplainRequest { source: source.into(), destination: destination.into(), protocol: 1, ..ExplainRequest::default() };
    side.operator().await.explain(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_responder_explains_a_missing_sa_by_what_it_has_refused() {
    let mut pair = Pair::start(Setup { b_proposals: "aes256gcm16-prfsha384-ecp256", ..Setup::default() }).await;
    assert_eq!(explain(&pair.b, "10.2.0.5", "10.1.0.5").await.last_failure, None);
    initiate(&pair, "net").await.unwrap_err();
    let answer = explain(&pair.b, "10.2.0.5", "10.1.0.5").await;
    assert_eq!((answer.connection.as_str(), &answer.want), ("peer", &None), "it has called nobody");
    let last = answer.last_failure.unwrap();
    let failure = last.failure.unwrap();
    assert_eq!((last.remote.as_str(), failure.reason.as_str()), ("192.0.2.1:500", "NO_PROPOSAL_CHOSEN"));
    assert!(failure.theirs.contains("aes128gcm16") && failure.would_match.contains("they differ in ENCR"), "{failure:?}");
    // The initiator tells it once.
    let answer = explain(&pair.a, "10.1.0.5", "10.2.0.5").await;
    assert!(answer.want.unwrap().last_failure.is_some() && answer.last_failure.is_none());
    // What is no connection any more has not failed either.
    let file = pair.b.configuration();
    let renamed = std::fs::read_to_string(&file).unwrap().replace("connections.peer", "connections.other");
    std::fs::write(&file, renamed).unwrap();
    pair.b.operator().await.reload(ReloadRequest {}).await.unwrap();
    assert_eq!(explain(&pair.b, "10.2.0.5", "10.1.0.5").await.last_failure, None);
    pair.b.shut_down().await;
}

#[tokio::test]
async fn operators_are_told_that_the_data_plane_is_silent_not_that_the_daemon_is_gone() {
    let pair = Pair::start(Setup::default()).await;
    pair.a.state().silent = true;
    let mut operator = pair.a.operator().await;
    let sas = operator.list_sas(ListSasRequest {}).await.unwrap_err();
    let stats = operator.stats(StatsRequest {}).await.unwrap_err();
    for status in [sas, stats] {
        assert_eq!((status.code(), status.message()), (Code::DeadlineExceeded, "the data plane does not answer"));
    }
}

#[tokio::test]
async fn a_name_to_terminate_is_one_of_the_configuration() {
    let pair = Pair::start(Setup::default()).await;
    let said = async |sas| terminate(&pair.a, sas).await.map_err(|status| (status.code(), status.message().to_owned()));
    let unknown = |text: &str| Err((Code::NotFound, text.to_owned()));
    assert_eq!(said(Sas::Connection("pear".into())).await, unknown("no connection is called 'pear'; there are: peer"));
    assert_eq!(said(Sas::Child("nut".into())).await, unknown("no child is called 'nut'; there are: peer/net"));
    assert_eq!(said(Sas::Child("pear/net".into())).await, unknown("no child is called 'pear/net'; there are: peer/net"));
    assert_eq!(said(Sas::Child("peer/net".into())).await, Ok(0), "it stands in the configuration, and has no SA");
    initiate(&pair, "net").await.unwrap();
    assert_eq!(said(Sas::Child("peer/net".into())).await, Ok(1));
    wait("both have no SA", || pair.a.state().sas.is_empty() && pair.b.state().sas.is_empty()).await;
}

#[tokio::test]
async fn a_wrong_key_installs_nothing_and_refuses_the_packet() {
    let pair = Pair::start(Setup { b_secret: "0x6b6570", ..Setup::default() }).await;
    pair.a.state().acquire(9, "net", flow("10.1.0.5", "10.2.0.5"));
    wait("the packet is refused", || pair.a.state().refused_acquires == [9]).await;
    assert!(pair.a.state().installs.is_empty() && pair.b.state().installs.is_empty());
}

#[tokio::test]
async fn a_full_data_plane_fails_the_negotiation() {
    let pair = Pair::start(Setup::default()).await;
    pair.b.state().exhausted = true;
    let refused = initiate(&pair, "net").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    wait("nothing is left", || pair.a.state().sas.is_empty() && pair.b.state().sas.is_empty()).await;
}

#[tokio::test]
async fn a_restarted_data_plane_gets_its_policies_and_fresh_keys() {
    let mut pair = Pair::start(Setup::default()).await;
    initiate(&pair, "net").await.unwrap();
    let old = pair.a.child_sa().await.unwrap();

    pair.a.data_plane = None;
    pair.a.state().reboot();
    pair.a.data_plane = Some(FakeDataPlane::start(&pair.a.data_socket(), &pair.a.state));
    wait("the policies are back", || pair.a.state().policies.is_some()).await;
    wait("the old SA is given up", || pair.b.state().retired.len() == 1).await;
    pair.a.state().acquire(2, "net", flow("10.1.0.5", "10.2.0.5"));
    wait("there is a new SA", || pair.a.state().sas.len() == 1 && pair.b.state().sas.len() == 1).await;

    let new = pair.a.child_sa().await.unwrap();
    assert_ne!((new.id, new.inbound_spi, new.outbound_spi), (old.id, old.inbound_spi, old.outbound_spi));
    assert_eq!(pair.a.state().installs, [old.id, new.id], "keys are never installed twice");
}

#[tokio::test]
async fn a_lost_connection_leaves_the_sas_as_they_are() {
    let mut pair = Pair::start(Setup::default()).await;
    let child = initiate(&pair, "net").await.unwrap();
    let epoch = pair.a.state().epoch;

    // The process that listens is another one, but what it knows and its boot are the same: only the connection broke.
    pair.a.data_plane = None;
    pair.a.data_plane = Some(FakeDataPlane::start(&pair.a.data_socket(), &pair.a.state));
    wait("it is attached again", || pair.a.state().claims.len() == 2).await;
    {
        let state = pair.a.state();
        assert!(state.epoch > epoch);
        assert_eq!((state.claims[1].as_slice(), state.installs.as_slice()), (&[child][..], &[child][..]));
        assert!(state.sas.contains_key(&child));
        assert_eq!(state.repeated, [0_u64; 0], "identifiers are not reused within a boot");
    }
    assert_eq!(terminate(&pair.a, Sas::ChildSaId(child)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_shutdown_takes_leave_of_the_peer() {
    let mut pair = Pair::start(Setup { start_action: "start", ..Setup::default() }).await;
    wait("both have an SA", || !pair.a.state().sas.is_empty() && !pair.b.state().sas.is_empty()).await;
    pair.a.shut_down().await;
    wait("the peer knows", || pair.b.state().sas.is_empty()).await;
    assert!(pair.b.ike_sas().await.is_empty());
    assert!(pair.a.state().sas.is_empty(), "a gateway that has said good-bye protects nothing");
    assert!(!pair.a.control_socket().exists());
}
