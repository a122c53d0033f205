//! What operators see: the log, events for watchers, and the recent IKE messages.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use culvert_proto::control::v1 as control;
use culvert_proto::control::v1::{TraceRecord, WatchEvent, trace_record};
use ike::error::{Detail, Failure};
use ike::io::{Event, IkeSaId, IkeSaStatus, KeptTrace, PpkStatus, Record, Trace, TracedField, TracedPayload, VirtualAddresses};
use ipsec_types::ChildSaId;
use tokio::sync::broadcast;
use tokio::time::Instant as Clock;
use tracing_subscriber::EnvFilter;

use crate::throttle::Throttle;

/// Sends the log to standard error. `level` is one of tracing's, or a filter such as `info,culvert_control=debug`.
///
/// # Errors
/// Where `level` is no filter.
pub fn init(level: &str) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::try_new(level)?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
    Ok(())
}

/// Lines kept for a trace that is asked for later.
const KEPT: usize = 1024;
/// Records a slow reader may lag behind before it loses some.
const LAG: usize = 1024;
/// Messages before there is an IKE SA that are kept, for each connection in each second: anybody can send them, in anybody's name.
const MOST_CLEAR: u32 = 20;
/// Failed negotiations that are logged, for each connection in each second.
const MOST_FAILURES: u32 = 10;
/// EAP packets that are logged, for each connection in each second: whoever may begin can have any number of them.
const MOST_ROUNDS: u32 = 50;
/// Characters of a failure's line that are shown: some quote what the peer has sent.
const LONGEST_FAILURE: usize = 500;

/// The recent past, and those who follow it.
#[derive(Debug)]
pub(crate) struct Journal {
    recent: VecDeque<Arc<Line>>,
    traces: broadcast::Sender<Arc<Line>>,
    events: broadcast::Sender<WatchEvent>,
    clear: Throttle,
    failures: Throttle,
    rounds: Throttle,
    /// By connection.
    last_failures: HashMap<String, LastFailure>,
}

/// A line of the trace. Its reader makes it readable, and not the loop that keeps it.
#[derive(Debug)]
pub(crate) struct Line {
    at_ms: u64,
    trace: KeptTrace,
}

/// The kept lines, and those from now on.
pub(crate) type Followed = (Vec<Arc<Line>>, broadcast::Receiver<Arc<Line>>);

impl Line {
    /// Whether it is of a connection, any if it has no name, and of an IKE SA, any if the SPI is 0.
    pub(crate) fn is_of(&self, connection: &str, spi: u64) -> bool {
        let KeptTrace { connection: of, initiator_spi, responder_spi, .. } = &self.trace;
        let has_spi = || [initiator_spi, responder_spi].into_iter().flatten().any(|of| of.value() == spi);
        (connection.is_empty() || of.as_deref() == Some(connection)) && (spi == 0 || has_spi())
    }

    /// As it goes to readers.
    pub(crate) fn record(&self) -> TraceRecord {
        trace_record(self.at_ms, self.trace.describe())
    }
}

/// What failed last with a peer, whoever began it.
#[derive(Debug, Clone)]
pub(crate) struct LastFailure {
    pub(crate) at: Clock,
    pub(crate) remote: SocketAddr,
    pub(crate) failure: Failure,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self {
            recent: VecDeque::with_capacity(KEPT),
            traces: broadcast::channel(LAG).0,
            events: broadcast::channel(LAG).0,
            clear: Throttle::new(MOST_CLEAR),
            failures: Throttle::new(MOST_FAILURES),
            rounds: Throttle::new(MOST_ROUNDS),
            last_failures: HashMap::new(),
        }
    }

    /// The last failure with the peer of a connection.
    pub(crate) fn last_failure(&self, connection: &str) -> Option<&LastFailure> {
        self.last_failures.get(connection)
    }

    /// Keeps the failures of connections that are still there.
    pub(crate) fn forget_failures_but_of(&mut self, is_there: impl Fn(&str) -> bool) {
        self.last_failures.retain(|connection, _| is_there(connection));
    }

    /// Events from now on.
    pub(crate) fn watch(&self) -> broadcast::Receiver<WatchEvent> {
        self.events.subscribe()
    }

    /// What is kept, and what comes.
    pub(crate) fn follow(&self) -> Followed {
        (self.recent.iter().cloned().collect(), self.traces.subscribe())
    }

    /// Keeps and passes on a line; of messages before there is an IKE SA only some.
    pub(crate) fn trace(&mut self, trace: KeptTrace) {
        if trace.responder_spi.is_none() && trace.is_message() {
            match self.clear.pass(trace.connection.as_deref().unwrap_or_default(), Clock::now()) {
                Some(0) => {}
                Some(held) => {
                    let lines = vec![format!("{held} messages without an IKE SA: too many a second")];
                    let record = Record::Step { title: "left out".to_owned(), lines };
                    self.keep(Trace { connection: None, initiator_spi: None, responder_spi: None, record }.into());
                }
                None => return,
            }
        }
        self.keep(trace);
    }

    fn keep(&mut self, trace: KeptTrace) {
        if self.recent.len() == KEPT {
            self.recent.pop_front();
        }
        let line = Arc::new(Line { at_ms: now_ms(), trace });
        if self.traces.receiver_count() > 0 {
            // The reader may have gone by now.
            let _ = self.traces.send(Arc::clone(&line));
        }
        self.recent.push_back(line);
    }

    /// Logs and passes on an event. `status` tells how an IKE SA stands now.
    pub(crate) fn event(&mut self, event: &Event, status: impl FnOnce(IkeSaId) -> Option<IkeSaStatus>) {
        let warns = matches!(event, Event::NegotiationFailed { .. } | Event::PpkMissing { .. });
        if !warns && self.events.receiver_count() == 0 && !tracing::enabled!(tracing::Level::INFO) {
            // Nobody is told: there is nothing to be put into words.
            return;
        }
        if let Event::NegotiationFailed { connection, remote, failure } = event {
            if let Some(connection) = connection {
                let last = LastFailure { at: Clock::now(), remote: *remote, failure: failure.clone() };
                self.last_failures.insert(connection.clone(), last);
            }
            match self.failures.pass(connection.as_deref().unwrap_or_default(), Clock::now()) {
                Some(0) => {}
                Some(held) => tracing::warn!("negotiation-failed: {held} more, too many a second to be shown"),
                None => return,
            }
        }
        if let Event::EapRound { connection, .. } | Event::UserAsked { connection, .. } = event
            && self.rounds.pass(connection, Clock::now()).is_none()
        {
            return;
        }
        if let Some(event) = watch_event(event, status) {
            self.announce(event);
        }
    }

    /// Logs and passes on what is no event of the core.
    pub(crate) fn announce(&self, event: WatchEvent) {
        match event.kind.as_str() {
            "negotiation-failed" | "data-plane-detached" | "ppk-missing" => {
                tracing::warn!("{}: {}{}", event.kind, event.text, details(&event));
            }
            _ => tracing::info!("{}: {}{}", event.kind, event.text, details(&event)),
        }
        let _ = self.events.send(event);
    }
}

/// What a counter of the core counts.
pub(crate) fn meaning(counter: &str) -> &'static str {
    match counter {
        "acquires" => "packets for which the data plane asked for an SA",
        "child_sas_missed" => "Child SAs replaced because peers said that they have none for our packets (RFC 7296 section 1.5)",
        "child_sas_installed" => "pairs of ESP SAs installed",
        "cookies_sent" => "initiators asked for a cookie (RFC 7296 section 2.6)",
        "ike_sas_established" => "IKE SAs whose peers are authenticated",
        "ike_sas_half_open" => "IKE SAs whose peers are not authenticated yet, and those refused in the last 30 s, now",
        "ike_sas_moved" => "IKE SAs that went to other addresses, with their Child SAs (RFC 4555)",
        "ike_sas_rekeyed" => "IKE SAs that others have taken the place of",
        "initiators_blocked" => "IKE_SA_INIT requests not answered, as their address has too many half-open IKE SAs",
        "invalid_ike_spi_sent" => "IKE messages for no IKE SA whose senders were told so (RFC 7296 section 2.21.4)",
        "invalid_spi_sent" => "ESP packets for no SA whose senders were told so (RFC 7296 section 1.5)",
        "messages_dropped" => "IKE messages not sent, as the data plane took them too slowly",
        "messages_fragmented" => "IKE messages sent in fragments (RFC 7383)",
        "messages_ignored" => "IKE messages without a use: duplicates, late, or for no SA (RFC 7296 section 2.1)",
        "messages_malformed" => "IKE messages that cannot be read",
        "messages_reassembled" => "IKE messages received in fragments, all of which came (RFC 7383)",
        "messages_received" => "IKE messages received",
        "messages_unprotected" => "IKE messages without protection that say an IKE SA is lost (RFC 7296 section 2.21.4)",
        "messages_without_ike_sa" => "IKE messages for an IKE SA that is not there",
        "messages_sent" => "IKE messages sent",
        "peers_restarted" => "peers that have shown that they lost their state (RFC 6290)",
        "messages_unauthentic" => "IKE messages whose integrity check failed",
        "negotiations_failed" => "exchanges that ended without an SA",
        "probes_sent" => "idle peers asked for a sign of life (RFC 7296 section 2.4)",
        "redirects_followed" => "times that peers sent this gateway to another one (RFC 5685)",
        "requests_refused_for_now" => "requests refused because another exchange stood in the way (RFC 7296 section 2.25)",
        "reauthentications" => "IKE SAs that made way for others so that the peer shows anew who it is (RFC 7296 section 2.8.3)",
        "requests_retransmitted" => "requests sent again",
        "responses_retransmitted" => "responses sent again, as their request came again",
        "spis_free" => "inbound SPIs leased from the data plane and not yet used, now",
        "soft_expires" => "SAs that reached a soft limit",
        _ => "",
    }
}

/// An event as it goes to watchers, happening now.
pub(crate) fn happening(kind: &str, connection: &str, child: &str, text: String) -> WatchEvent {
    let (kind, connection, child) = (kind.to_owned(), connection.to_owned(), child.to_owned());
    WatchEvent { time_ms: now_ms(), kind, connection, child, text, failure: None }
}

/// A failure as operators see it.
pub(crate) fn explain(failure: &Failure) -> control::Failure {
    let detail = failure.detail().cloned().unwrap_or_default();
    let Detail { ours, theirs, would_match, remedy, .. } = detail;
    control::Failure { reason: failure.reason(), summary: shortened(&failure.headline()), ours, theirs, would_match, remedy }
}

/// What stands behind the text of an event in the log, in the same line.
fn details(event: &WatchEvent) -> String {
    let Some(failure) = &event.failure else { return String::new() };
    let all = [("ours", &failure.ours), ("theirs", &failure.theirs), ("would match", &failure.would_match), ("remedy", &failure.remedy)];
    all.iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| format!("; {name}: {text}")).collect()
}

/// A step as it goes to followers of the trace, happening now.
pub(crate) fn step(title: &str, lines: Vec<String>) -> TraceRecord {
    let step = trace_record::Step { title: title.to_owned(), lines };
    TraceRecord { time_ms: now_ms(), record: Some(trace_record::Record::Step(step)), ..TraceRecord::default() }
}

/// `None` for answers, which go to whoever asked.
fn watch_event(event: &Event, status: impl FnOnce(IkeSaId) -> Option<IkeSaStatus>) -> Option<WatchEvent> {
    Some(match event {
        Event::Answer { .. } => return None,
        Event::IkeSaEstablished(id) => {
            let sa = status(*id);
            let connection = sa.as_ref().map_or("", |sa| &sa.connection);
            let text = sa.as_ref().map_or_else(|| format!("IKE SA {}", id.0), established);
            happening("ike-sa-established", connection, "", text)
        }
        Event::IkeSaClosed { id, connection, failure } => {
            let why = failure.as_ref().map_or_else(String::new, |failure| format!(": {}", shortened(&failure.headline())));
            let text = format!("IKE SA {} of {connection}{why}", id.0);
            WatchEvent { failure: failure.as_ref().map(explain), ..happening("ike-sa-deleted", connection, "", text) }
        }
        Event::Redirected { connection, from, to } => {
            happening("redirected", connection, "", format!("{connection}: {from} sends this gateway to {to}"))
        }
        Event::EapRound { connection, remote, round, packet } => {
            happening("eap-round", connection, "", format!("{connection} with {remote}: EAP packet {round}, {packet}"))
        }
        Event::UserAsked { connection, remote } => {
            happening("authenticating", connection, "", format!("{connection}: {remote} is asked for its user (XAuth)"))
        }
        Event::IkeSaNotAlone { ike_sa, connection, remote, others, count, replaced, why } => {
            let more = if *count > others.len() { " and others" } else { "" };
            let named = others.iter().map(|IkeSaId(id)| id.to_string()).collect::<Vec<_>>().join(", ");
            let what = if *replaced { "takes the place of" } else { "stands beside" };
            let text = format!("IKE SA {} {connection} of {remote} {what} IKE SA {named}{more}: {why}", ike_sa.0);
            happening("ike-sa-not-alone", connection, "", text)
        }
        Event::PpkMissing { ike_sa, connection, why } => {
            happening("ppk-missing", connection, "", format!("IKE SA {} {connection} comes up without its PPK: {why}", ike_sa.0))
        }
        Event::IkeSaRekeyed { old, new } => {
            let sa = status(*new);
            let (connection, proposal) = sa.as_ref().map_or(("", ""), |sa| (&sa.connection, &sa.proposal));
            happening("ike-sa-rekeyed", connection, "", format!("IKE SA {} {connection} in place of {}, {proposal}", new.0, old.0))
        }
        Event::AddressesAssigned { ike_sa, addresses } => {
            let connection = status(*ike_sa).map_or_else(String::new, |sa| sa.connection);
            let VirtualAddresses { local, remote, dns, networks } = addresses;
            let parts = [("ours", list(local)), ("the peer's", list(remote)), ("name servers", list(dns)), ("networks", list(networks))];
            let parts: Vec<_> =
                parts.iter().filter(|(_, items)| !items.is_empty()).map(|(what, items)| format!("{what} {items}")).collect();
            happening("addresses-assigned", &connection, "", format!("IKE SA {} {connection}: {}", ike_sa.0, parts.join(", ")))
        }
        Event::AddressesChanged { ike_sa, before, after, child_sas } => {
            let connection = status(*ike_sa).map_or_else(String::new, |sa| sa.connection);
            let [before, after] = [before, after].map(|given| list(&[&given.local[..], &given.remote].concat()));
            let after = if after.is_empty() { "no address yet" } else { &after };
            let (id, gone) = (ike_sa.0, list(child_sas));
            let text = format!("IKE SA {id} {connection}: {after} in place of {before}; Child SA {gone} makes way, which is for that");
            happening("addresses-changed", &connection, "", text)
        }
        Event::ChildSaInstalled { ike_sa, child } => {
            let sa = status(*ike_sa);
            let sa = sa.as_ref();
            let status = sa.and_then(|sa| sa.children.iter().find(|status| status.id == *child));
            let (connection, name) = (sa.map_or("", |sa| &sa.connection), status.map_or("", |status| &status.name));
            let text = status.map_or_else(
                || format!("Child SA {child}"),
                |status| {
                    let (local, remote) = (list(&status.local_selectors), list(&status.remote_selectors));
                    let (inbound, outbound) = (status.inbound_spi, status.outbound_spi);
                    format!(
                        "Child SA {child} {connection}/{name}: {local} === {remote}, SPIs {inbound} in, {outbound} out, {}",
                        status.proposal
                    )
                },
            );
            happening("child-sa-installed", connection, name, text)
        }
        Event::ChildSaRekeyed { ike_sa, old, new } => {
            let sa = status(*ike_sa);
            let sa = sa.as_ref();
            let status = sa.and_then(|sa| sa.children.iter().find(|status| status.id == *new));
            let (connection, name) = (sa.map_or("", |sa| &sa.connection), status.map_or("", |status| &status.name));
            let spis = status.map_or_else(String::new, |status| {
                format!(", SPIs {} in, {} out, {}", status.inbound_spi, status.outbound_spi, status.proposal)
            });
            happening("child-sa-rekeyed", connection, name, format!("Child SA {new} {connection}/{name} in place of {old}{spis}"))
        }
        Event::ChildSaClosed { ike_sa, child, name } => {
            let connection = status(*ike_sa).map_or_else(String::new, |sa| sa.connection);
            happening("child-sa-deleted", &connection, name, format!("Child SA {} {name}", ChildSaId(child.0)))
        }
        Event::NegotiationFailed { connection, remote, failure } => {
            let connection = connection.as_deref().unwrap_or("");
            let with = if connection.is_empty() { String::new() } else { format!("{connection} ") };
            let text = format!("{with}with {remote}: {}", shortened(&failure.headline()));
            WatchEvent { failure: Some(explain(failure)), ..happening("negotiation-failed", connection, "", text) }
        }
        Event::Acquire { connection, child, flow } => happening("acquire", connection, child, format!("{connection}/{child} for {flow}")),
    })
}

/// At most [`LONGEST_FAILURE`] characters.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_FAILURE) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn established(sa: &IkeSaStatus) -> String {
    let identity = |id: Option<&ipsec_types::Identity>| id.map_or_else(|| "?".to_owned(), ToString::to_string);
    let (local, remote) = (identity(sa.local_identity.as_ref()), identity(sa.remote_identity.as_ref()));
    let ppk = if let PpkStatus::Used(id) = &sa.ppk { format!(", PPK '{id}'") } else { String::new() };
    format!("IKE SA {} {}: {}[{local}] ... {}[{remote}], {}{ppk}", sa.id.0, sa.connection, sa.local, sa.remote, sa.proposal)
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn trace_record(time_ms: u64, trace: Trace) -> TraceRecord {
    let record = match trace.record {
        Record::Message { outbound, local, remote, title, header, payloads, octets, retransmission } => {
            trace_record::Record::Message(trace_record::Message {
                outbound,
                local: local.to_string(),
                remote: remote.to_string(),
                title,
                header: header.into_iter().map(field).collect(),
                payloads: payloads.into_iter().map(payload).collect(),
                octets: u32::try_from(octets).unwrap_or(u32::MAX),
                retransmission,
            })
        }
        Record::Step { title, lines } => trace_record::Record::Step(trace_record::Step { title, lines }),
    };
    TraceRecord {
        time_ms,
        record: Some(record),
        connection: trace.connection.unwrap_or_default(),
        initiator_spi: trace.initiator_spi.map_or(0, ipsec_types::IkeSpi::value),
        responder_spi: trace.responder_spi.map_or(0, ipsec_types::IkeSpi::value),
    }
}

fn payload(payload: TracedPayload) -> trace_record::Payload {
    trace_record::Payload { name: payload.name, encrypted: payload.encrypted, fields: payload.fields.into_iter().map(field).collect() }
}

fn field(traced: TracedField) -> trace_record::Field {
    trace_record::Field { name: traced.name.to_owned(), value: traced.value, fields: traced.fields.into_iter().map(field).collect() }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(number: usize) -> KeptTrace {
        let record = Record::Step { title: number.to_string(), lines: Vec::new() };
        Trace { connection: None, initiator_spi: None, responder_spi: None, record }.into()
    }

    fn title(line: &Line) -> String {
        let Some(trace_record::Record::Step(step)) = line.record().record else { panic!() };
        step.title
    }

    #[test]
    fn the_oldest_record_makes_room_for_the_newest() {
        let mut journal = Journal::new();
        (0..=KEPT).for_each(|number| journal.trace(numbered(number)));
        let (recent, _) = journal.follow();
        assert_eq!((recent.len(), title(&recent[0]), title(&recent[KEPT - 1])), (KEPT, "1".to_owned(), KEPT.to_string()));
    }

    #[test]
    fn strangers_neither_fill_the_journal_nor_the_log() {
        let mut journal = Journal::new();
        let mut events = journal.watch();
        let address = "192.0.2.9:500".parse().unwrap();
        let (title, header, payloads) = ("IKE_SA_INIT request 0".to_owned(), Vec::new(), Vec::new());
        let record =
            Record::Message { outbound: false, local: address, remote: address, title, header, payloads, octets: 1, retransmission: false };
        let message =
            |responder_spi| KeptTrace::from(Trace { connection: None, initiator_spi: None, responder_spi, record: record.clone() });
        let failure = Failure::Malformed("ü".repeat(70_000));
        let failed = Event::NegotiationFailed { connection: None, remote: address, failure };
        for _ in 0..KEPT {
            journal.trace(message(None));
            journal.event(&failed, |_| None);
        }
        // A slow machine may need a few seconds for this.
        assert!(journal.follow().0.len() < KEPT / 2, "{}", journal.follow().0.len());
        assert!(events.len() < KEPT / 2 && events.try_recv().unwrap().text.len() < 2 * LONGEST_FAILURE + 100);
        (0..KEPT).for_each(|_| journal.trace(message(ipsec_types::IkeSpi::new(1))));
        assert!(journal.follow().0.iter().all(|line| line.is_of("", 1)), "what belongs to an IKE SA is kept");
    }

    #[test]
    fn a_follower_gets_what_came_after_and_nothing_twice() {
        let mut journal = Journal::new();
        journal.trace(numbered(0));
        let (recent, mut later) = journal.follow();
        journal.trace(numbered(1));
        assert_eq!((recent.len(), title(&later.try_recv().unwrap())), (1, "1".to_owned()));
        assert!(later.try_recv().is_err());
    }
}
