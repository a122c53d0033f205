//! Two control planes negotiate over fake data planes: the whole daemon with nothing replaced but packets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fake;
mod pair;

use std::time::Duration;

use culvert_proto::control::v1::terminate_request::Target;
use culvert_proto::control::v1::{
    InitiateRequest, ListSasRequest, StatsRequest, TerminateRequest, TraceRecord, TraceRequest, VersionRequest, WatchRequest, trace_record,
};
use fake::FakeDataPlane;
use pair::{Pair, Setup, flow, wait};
use tokio_stream::StreamExt;
use tonic::Code;
use tonic_types::StatusExt as _;

/// The titles of a trace's messages.
fn titles(records: &[TraceRecord]) -> Vec<String> {
    let message = |record: &TraceRecord| match &record.record {
        Some(trace_record::Record::Message(message)) => Some(format!("{} {}", if message.outbound { "->" } else { "<-" }, message.title)),
        _ => None,
    };
    records.iter().filter_map(message).collect()
}

async fn trace(pair: &Pair) -> Vec<TraceRecord> {
    let stream = pair.a.operator().await.trace(TraceRequest::default()).await.unwrap().into_inner();
    stream.map(Result::unwrap).collect().await
}

async fn initiate(pair: &Pair, child: &str) -> Result<u64, tonic::Status> {
    let request = InitiateRequest { child: child.into(), timeout_ms: 0 };
    pair.a.operator().await.initiate(request).await.map(|answer| answer.into_inner().child_sa)
}

#[tokio::test]
async fn a_packet_brings_a_tunnel_up_with_mirrored_sas() {
    let pair = Pair::start(Setup::default()).await;
    pair.a.state().acquire(1, "net", flow("10.1.0.5", "10.2.0.5"));
    wait("both have an SA", || !pair.a.state().sas.is_empty() && !pair.b.state().sas.is_empty()).await;

    assert_eq!(pair.crossed.lock().unwrap().len(), 4, "IKE_SA_INIT and IKE_AUTH are four messages");
    let (here, there) = (pair.a.state(), pair.b.state());
    let (a, b) = (here.sas.values().next().unwrap(), there.sas.values().next().unwrap());
    assert_eq!((a.inbound_spi, a.outbound_spi), (b.outbound_spi, b.inbound_spi));
    assert_eq!((&a.inbound_keys, &a.outbound_keys), (&b.outbound_keys, &b.inbound_keys));
    assert_ne!(a.inbound_keys, a.outbound_keys);
    assert_eq!((&a.local_selectors, &a.remote_selectors), (&b.remote_selectors, &b.local_selectors));
    assert_eq!((a.local, a.remote), (b.remote, b.local));
    assert_eq!((a.encryption, a.sequence_numbers, a.replay_window), (b.encryption, b.sequence_numbers, 1024));
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

    let terminate = TerminateRequest { target: Some(Target::Connection("peer".into())), timeout_ms: 0 };
    assert_eq!(operator.terminate(terminate).await.unwrap().into_inner().terminated, 1);
    wait("both have no SA", || pair.a.state().sas.is_empty() && pair.b.state().sas.is_empty()).await;
    assert_eq!(pair.a.state().retired, [child]);
    assert!(pair.a.ike_sas().await.is_empty());
    let mut kinds = Vec::new();
    while kinds.last().is_none_or(|kind| kind != "ike-sa-deleted") {
        let event = events.next().await.unwrap().unwrap();
        assert_eq!(event.connection, "peer", "{event:?}");
        kinds.push(event.kind);
    }
    assert!(kinds.starts_with(&["ike-sa-established".into(), "child-sa-installed".into()]), "{kinds:?}");
}

#[tokio::test]
async fn a_trace_holds_the_messages_and_no_secret() {
    let pair = Pair::start(Setup::default()).await;
    initiate(&pair, "net").await.unwrap();
    let records = trace(&pair).await;
    let titles = titles(&records);
    let begins = ["-> IKE_SA_INIT request", "<- IKE_SA_INIT response", "-> IKE_AUTH request", "<- IKE_AUTH response"];
    assert!(titles.len() == 4 && titles.iter().zip(begins).all(|(title, begin)| title.starts_with(begin)), "{titles:?}");

    let text = format!("{records:?}").to_lowercase();
    let state = pair.a.state();
    let sa = state.sas.values().next().unwrap();
    for secret in [sa.inbound_keys.encryption.expose(), sa.outbound_keys.encryption.expose(), b"key"] {
        let hex: String = secret.iter().map(|octet| format!("{octet:02x}")).collect();
        assert!(!text.contains(&hex) && !text.contains(&format!("{secret:?}")), "{text}");
    }
}

#[tokio::test]
async fn a_follower_of_the_trace_gets_the_past_and_what_comes() {
    let pair = Pair::start(Setup::default()).await;
    initiate(&pair, "net").await.unwrap();
    let mut operator = pair.a.operator().await;
    let mut records = operator.trace(TraceRequest { follow: true, ..TraceRequest::default() }).await.unwrap().into_inner();
    let terminate = TerminateRequest { target: Some(Target::Child("net".into())), timeout_ms: 0 };
    operator.terminate(terminate).await.unwrap();
    let mut seen = Vec::new();
    while titles(&seen).len() < 6 {
        seen.push(records.next().await.unwrap().unwrap());
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
    let terminate = async |target| {
        let request = TerminateRequest { target: Some(target), timeout_ms: 0 };
        pair.a.operator().await.terminate(request).await.map(|answer| answer.into_inner().terminated)
    };
    let said = async |target| terminate(target).await.map_err(|status| (status.code(), status.message().to_owned()));
    let unknown = |text: &str| Err((Code::NotFound, text.to_owned()));
    assert_eq!(said(Target::Connection("pear".into())).await, unknown("no connection is called 'pear'; there are: peer"));
    assert_eq!(said(Target::Child("nut".into())).await, unknown("no child is called 'nut'; there are: peer/net"));
    assert_eq!(said(Target::Child("pear/net".into())).await, unknown("no child is called 'pear/net'; there are: peer/net"));
    assert_eq!(said(Target::Child("peer/net".into())).await, Ok(0), "it stands in the configuration, and has no SA");
    initiate(&pair, "net").await.unwrap();
    assert_eq!(said(Target::Child("peer/net".into())).await, Ok(1));
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
    let terminate = TerminateRequest { target: Some(Target::ChildSaId(child)), timeout_ms: 0 };
    assert_eq!(pair.a.operator().await.terminate(terminate).await.unwrap().into_inner().terminated, 1);
}

#[tokio::test]
async fn a_shutdown_takes_leave_of_the_peer() {
    let mut pair = Pair::start(Setup { start_action: "start", ..Setup::default() }).await;
    wait("both have an SA", || !pair.a.state().sas.is_empty() && !pair.b.state().sas.is_empty()).await;
    let took = pair.a.shut_down().await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    wait("the peer knows", || pair.b.state().sas.is_empty()).await;
    assert!(pair.b.ike_sas().await.is_empty());
    assert!(pair.a.state().sas.is_empty(), "a gateway that has said good-bye protects nothing");
    assert!(!pair.a.control_socket().exists());
}
