//! The one loop that owns the protocol core: whatever happens becomes an input, and its outputs are carried out in order.

use std::collections::{HashMap, VecDeque};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::time::Duration;

use culvert_proto::control::v1::{Counter, WatchEvent};
use ike::Endpoint;
use ike::config::Config;
use ike::error::Failure;
use ike::io::{Answer, Command, Dataplane, Event, IkeSaStatus, Input, Output, PoolStatus, RequestId, Target, WantStatus};
use ike_crypto::SystemRandom;
use ipsec_types::{Instant, PolicyId};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant as Clock, sleep_until};

use crate::config::{self, Diagnostic, Loaded};
use crate::key_log::KeyLog;
use crate::northbound::Names;
use crate::offload::Offload;
use crate::southbound::{Attachment, Client, Report, Session, Settled};
use crate::telemetry::{Followed, Journal, LastFailure, happening, meaning};

/// What an operator wants, with the way back.
#[derive(Debug)]
pub(crate) enum Request {
    /// The SAs, and whom to ask for their counters.
    Sas(oneshot::Sender<(Vec<IkeSaStatus>, Option<Client>)>),
    /// What is being negotiated, or has failed.
    Wants(oneshot::Sender<Vec<WantStatus>>),
    /// Pools of addresses, and who has which.
    Pools(oneshot::Sender<Vec<PoolStatus>>),
    /// Why there is no Child SA of this policy.
    Missing(PolicyId, oneshot::Sender<Missing>),
    /// Counters of this process, and whom to ask for the other's.
    Counters(oneshot::Sender<(Vec<Counter>, Option<Client>)>),
    /// Version of the attached data plane.
    DataPlaneVersion(oneshot::Sender<Option<String>>),
    /// Sets a Child SA up.
    Initiate(String, oneshot::Sender<Result<Answer, Failure>>),
    /// Replaces SAs by new ones.
    Rekey(Target, oneshot::Sender<Result<Answer, Failure>>),
    /// Replaces IKE SAs by others whose peers show anew who they are.
    Reauthenticate(Target, oneshot::Sender<Result<Answer, Failure>>),
    /// Deletes SAs.
    Terminate(Target, oneshot::Sender<Result<Answer, Failure>>),
    /// Events from now on.
    Watch(oneshot::Sender<broadcast::Receiver<WatchEvent>>),
    /// Reads the configuration again: what has changed is set up anew, what has not stays. A file with faults changes nothing.
    Reload(Reply),
    /// Recent messages, and those from now on.
    Trace(oneshot::Sender<Followed>),
}

/// Whoever wants the configuration read again.
type Reply = oneshot::Sender<Result<Reloaded, Vec<Diagnostic>>>;

/// What the configuration holds that is now in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reloaded {
    pub(crate) connections: usize,
    pub(crate) children: usize,
    pub(crate) policies: usize,
}

/// What IKE knows of a Child SA that is not there.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    /// Whose it would be; `None` where the policy protects nothing.
    pub(crate) connection: Option<String>,
    /// What this gateway does about it.
    pub(crate) want: Option<WantStatus>,
    /// What failed last with its peer, whoever began it.
    pub(crate) last_failure: Option<LastFailure>,
}

/// How long the peers' answers to the last Deletes are awaited.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long to wait before SPIs are asked for again where there were none.
const LEASE_PAUSE: Duration = Duration::from_secs(1);

/// Further jobs whose results are taken in one turn: those that are quick are computed in it.
const JOBS: usize = 3;

/// The loop and all it owns.
#[derive(Debug)]
pub(crate) struct Driver {
    endpoint: Endpoint,
    random: SystemRandom,
    start: Clock,
    /// The configuration's file.
    file: PathBuf,
    /// The configuration that is being read anew, on a thread: a token that it names may be slow.
    reading: JoinSet<Result<Loaded, Vec<Diagnostic>>>,
    /// Who wants that, in the order of asking; each gets a reading of its own.
    readers: VecDeque<Reply>,
    names: watch::Sender<Names>,
    offload: Offload,
    key_log: Option<KeyLog>,
    attached: Option<Attached>,
    journal: Journal,
    waiting: HashMap<RequestId, oneshot::Sender<Result<Answer, Failure>>>,
    requests: u64,
    /// When to ask again for SPIs that were refused.
    lease_again: Option<Clock>,
}

/// The data plane of the moment.
#[derive(Debug)]
struct Attached {
    session: Session,
    version: String,
}

impl Driver {
    pub(crate) fn new(config: Config, file: PathBuf, names: watch::Sender<Names>, key_log: Option<KeyLog>) -> Self {
        let provider = ike_crypto::provider();
        let mut driver = Self {
            endpoint: Endpoint::new(provider),
            random: SystemRandom,
            start: Clock::now(),
            file,
            reading: JoinSet::new(),
            readers: VecDeque::new(),
            names,
            offload: Offload::new(provider),
            key_log,
            attached: None,
            journal: Journal::new(),
            waiting: HashMap::new(),
            requests: 0,
            lease_again: None,
        };
        driver.handle(Input::Command(Command::Configure(Box::new(config))));
        driver
    }

    /// Runs until `shutdown` is sent, or nobody is left who could; then the SAs are deleted.
    pub(crate) async fn run(
        mut self,
        mut reports: mpsc::Receiver<Report>,
        mut requests: mpsc::Receiver<Request>,
        mut shutdown: oneshot::Receiver<()>,
    ) {
        let mut end = None;
        while end.is_none_or(|end| Clock::now() < end && self.has_sas()) {
            let (timer, lease_again) = (self.timer(), self.lease_again);
            tokio::select! {
                Some(report) = reports.recv() => {
                    self.on_report(report);
                    while let Ok(report) = reports.try_recv() {
                        self.on_report(report);
                    }
                }
                Some(request) = requests.recv() => self.on_request(request),
                _ = &mut shutdown, if end.is_none() => {
                    end = Some(Clock::now() + FAREWELL);
                    self.handle(Input::Command(Command::Shutdown));
                }
                done = self.offload.finished() => {
                    self.handle(done);
                    // The others get their turn between.
                    for done in std::iter::from_fn(|| self.offload.finished_by_now()).take(JOBS).collect::<Vec<_>>() {
                        self.handle(done);
                    }
                }
                Some(read) = self.reading.join_next() => self.on_read(read.unwrap_or_else(|error| resume_unwind(error.into_panic()))),
                () = until(timer) => self.handle(Input::Timeout),
                () = until(lease_again) => {
                    self.lease_again = None;
                    // An empty lease lets the core ask again.
                    self.handle(Input::SpisLeased(Vec::new()));
                }
                () = until(end) => {}
            }
            // Whatever came together goes out together: each message to the data plane costs both sides.
            if let Some(attached) = &mut self.attached {
                attached.session.flush();
            }
        }
    }

    /// Hands the core an input and carries its outputs out.
    fn handle(&mut self, input: Input) {
        self.endpoint.handle(self.now(), input, &mut self.random);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            self.carry_out(output);
        }
    }

    fn carry_out(&mut self, output: Output) {
        if let Some(key_log) = &mut self.key_log {
            match &output {
                Output::IkeKeys(keys) => key_log.ike_sa(keys),
                Output::IkeV1Key(key) => key_log.ike_v1_sa(key),
                Output::Install(sa) => key_log.child_sa(sa),
                _ => {}
            }
        }
        match (output, &mut self.attached) {
            (Output::Job { id, job }, _) => self.offload.start(id, job),
            (Output::Event(event), _) => self.on_event(event),
            (Output::Trace(trace), _) => self.journal.trace(*trace),
            (other, Some(attached)) => attached.session.program(other),
            // Without a data plane nothing can be sent or programmed; the core repeats what matters after the next Attach.
            (other, None) => tracing::debug!("no data plane for {other:?}"),
        }
    }

    fn on_report(&mut self, report: Report) {
        match report {
            Report::Attached(attachment) => self.on_attached(*attachment),
            Report::Detached(why) => self.on_detached(why),
            Report::Outcomes(outcomes) => {
                for outcome in outcomes {
                    match self.attached.as_mut().map(|attached| attached.session.settle(outcome)) {
                        Some(Settled::Input(input)) => self.handle(input),
                        Some(Settled::NoLease) => self.lease_again = Some(Clock::now() + LEASE_PAUSE),
                        Some(Settled::Nothing) | None => {}
                    }
                }
            }
            Report::Datagrams(datagrams) => datagrams.into_iter().for_each(|datagram| self.handle(Input::Datagram(datagram))),
            Report::Event(event) => self.handle(Input::Dataplane(event)),
        }
    }

    fn on_attached(&mut self, attachment: Attachment) {
        let Attachment { session, boot, epoch, child_sas, local_addresses, version } = attachment;
        let addresses = local_addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        self.journal.announce(happening("data-plane-attached", "", "", format!("version {version}, epoch {epoch}, addresses {addresses}")));
        self.attached = Some(Attached { session, version });
        self.handle(Input::Dataplane(Dataplane::Attached { boot, epoch, child_sas, local_addresses }));
    }

    fn on_detached(&mut self, why: String) {
        self.journal.announce(happening("data-plane-detached", "", "", why));
        // What it did not answer, the core settles after the next Attach by what is installed then.
        self.attached = None;
        self.lease_again = None;
        self.handle(Input::Dataplane(Dataplane::Detached));
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Answer { request, result } => {
                // The one who asked may have given up.
                if let Some(reply) = self.waiting.remove(&request) {
                    let _ = reply.send(result);
                }
            }
            event => {
                let now = self.now();
                self.journal.event(&event, |id| self.endpoint.ike_sa(id, now));
            }
        }
    }

    /// A reply that nobody waits for any more is dropped.
    fn on_request(&mut self, request: Request) {
        let client = || self.attached.as_ref().map(|attached| attached.session.client());
        match request {
            Request::Sas(reply) => drop(reply.send((self.endpoint.ike_sas(self.now()), client()))),
            Request::Wants(reply) => drop(reply.send(self.endpoint.wants(self.now()))),
            Request::Pools(reply) => drop(reply.send(self.endpoint.pools())),
            Request::Missing(policy, reply) => drop(reply.send(self.missing(policy))),
            Request::Counters(reply) => drop(reply.send((self.counters(), client()))),
            Request::DataPlaneVersion(reply) => drop(reply.send(self.attached.as_ref().map(|attached| attached.version.clone()))),
            Request::Watch(reply) => drop(reply.send(self.journal.watch())),
            Request::Trace(reply) => drop(reply.send(self.journal.follow())),
            Request::Reload(reply) => {
                self.readers.push_back(reply);
                self.read();
            }
            Request::Initiate(child, reply) => {
                let request = self.expect_answer(reply);
                self.handle(Input::Command(Command::Initiate { request, child }));
            }
            Request::Rekey(target, reply) => {
                let request = self.expect_answer(reply);
                self.handle(Input::Command(Command::Rekey { request, target }));
            }
            Request::Reauthenticate(target, reply) => {
                let request = self.expect_answer(reply);
                self.handle(Input::Command(Command::Reauthenticate { request, target }));
            }
            Request::Terminate(target, reply) => {
                let request = self.expect_answer(reply);
                self.handle(Input::Command(Command::Terminate { request, target }));
            }
        }
    }

    /// Reads the configuration, if somebody wants that and it is not being read already.
    fn read(&mut self) {
        if self.reading.is_empty() && !self.readers.is_empty() {
            let file = self.file.clone();
            self.reading.spawn_blocking(move || config::load(&file));
        }
    }

    fn on_read(&mut self, loaded: Result<Loaded, Vec<Diagnostic>>) {
        let result = self.put_in_force(loaded);
        if let Some(reply) = self.readers.pop_front() {
            let _ = reply.send(result);
        }
        self.read();
    }

    fn put_in_force(&mut self, loaded: Result<Loaded, Vec<Diagnostic>>) -> Result<Reloaded, Vec<Diagnostic>> {
        let file = self.file.display();
        let loaded = loaded.inspect_err(|faults| {
            tracing::error!("{file} has faults, and what was in force stays so");
            faults.iter().for_each(|fault| tracing::error!("{fault}"));
        })?;
        loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let key_log = loaded.key_log.as_deref().map(KeyLog::open).transpose().map_err(|fault| {
            tracing::error!("{fault}; what was in force stays so");
            vec![*fault]
        })?;
        self.key_log = key_log;
        let connections = &loaded.ike.connections;
        let children = connections.iter().map(|connection| connection.children.len()).sum();
        let reloaded = Reloaded { connections: connections.len(), children, policies: loaded.ike.policies.len() };
        tracing::info!("{file} is in force: {} connections, {children} children, {} policies", reloaded.connections, reloaded.policies);
        let names = Names::of(&loaded.ike);
        self.journal.forget_failures_but_of(|connection| names.connection(connection).is_ok());
        self.names.send_replace(names);
        self.handle(Input::Command(Command::Configure(Box::new(loaded.ike))));
        Ok(reloaded)
    }

    fn missing(&self, policy: PolicyId) -> Missing {
        let connection = self.endpoint.connection_of(policy).map(ToOwned::to_owned);
        let want = self.endpoint.wants(self.now()).into_iter().find(|want| want.policy == policy);
        let last_failure = connection.as_deref().and_then(|connection| self.journal.last_failure(connection)).cloned();
        Missing { connection, want, last_failure }
    }

    fn expect_answer(&mut self, reply: oneshot::Sender<Result<Answer, Failure>>) -> RequestId {
        self.waiting.retain(|_, reply| !reply.is_closed());
        let request = self.next_request();
        self.waiting.insert(request, reply);
        request
    }

    fn next_request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    fn has_sas(&self) -> bool {
        self.attached.is_some() && !self.endpoint.ike_sas(self.now()).is_empty()
    }

    fn counters(&self) -> Vec<Counter> {
        let dropped = self.attached.as_ref().map_or(0, |attached| attached.session.dropped());
        let all = self.endpoint.stats().into_iter().chain([("messages_dropped", dropped)]);
        all.map(|(name, value)| Counter { name: name.to_owned(), value, meaning: meaning(name).to_owned() }).collect()
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// When the core wants to be called, on the runtime's clock.
    fn timer(&self) -> Option<Clock> {
        let at = self.endpoint.next_timeout()?;
        self.start.checked_add(at.since(Instant::ZERO))
    }
}

/// Sleeps until `time`; for ever without one.
async fn until(time: Option<Clock>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use ike::io::Datagram;

    use super::*;

    /// A request of IKE's version 3, which is answered without more ado (RFC 7296 section 2.5).
    fn request_from(port: u16) -> Report {
        let mut payload = vec![0; 28];
        (payload[0], payload[17], payload[18], payload[19], payload[27]) = (1, 0x30, 34, 8, 28);
        let (local, remote) = ("192.0.2.1:500".parse().unwrap(), SocketAddr::from(([192, 0, 2, 9], port)));
        Report::Datagrams(vec![Datagram { local, remote, payload }])
    }

    #[tokio::test]
    async fn answers_to_what_has_come_together_go_out_together() {
        let (operations, _programmed) = mpsc::unbounded_channel();
        let (datagrams, mut sent) = mpsc::channel(8);
        let client = Client::new(tonic::transport::Endpoint::from_static("http://localhost").connect_lazy());
        let session = Session::new(1, operations, datagrams, client);
        let local_addresses = vec!["192.0.2.1".parse().unwrap()];
        let attachment = Attachment { session, boot: [1; 16], epoch: 1, child_sas: Vec::new(), local_addresses, version: String::new() };
        let (reports, reported) = mpsc::channel(8);
        reports.send(Report::Attached(Box::new(attachment))).await.unwrap();
        for port in [500, 501, 502] {
            reports.send(request_from(port)).await.unwrap();
        }
        let ((_end, ended), (_requests, asked)) = (oneshot::channel(), mpsc::channel(1));
        let driver = Driver::new(Config::default(), PathBuf::new(), watch::channel(Names::of(&Config::default())).0, None);
        let message = tokio::select! {
            () = driver.run(reported, asked, ended) => None,
            message = sent.recv() => message,
        };
        assert_eq!(message.unwrap().datagrams.len(), 3);
    }
}
