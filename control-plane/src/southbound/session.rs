//! One attachment: what was asked of the data plane, and what is still to be answered.

use std::collections::HashMap;

use culvert_proto::convert::{address_octets, milliseconds};
use culvert_proto::dataplane::v1::operation::Operation as Kind;
use culvert_proto::dataplane::v1::{self, Operation, ProgramRequest, PuntRequest, outcome};
use ike::io::{Input, Output};
use ipsec_types::{ChildSaId, Policy, Spi, UdpEncapsulation};
use prost::Message;
use tokio::sync::mpsc;

use super::{Client, decode};

/// Octets of a message with operations, about. gRPC takes 4 MB; while the data plane reads a message it does nothing else.
const MESSAGE: usize = 128 << 10;

/// Speaks to one data plane in one epoch. Operations and datagrams gather until [`flush`](Self::flush).
#[derive(Debug)]
pub(crate) struct Session {
    epoch: u64,
    /// The low half of the last operation's id.
    last: u32,
    pending: HashMap<u64, Pending>,
    batch: Vec<Operation>,
    outgoing: Vec<v1::Datagram>,
    keep_alives: Vec<v1::Datagram>,
    /// Unbounded, as no operation may be lost: what waits here is bounded by the SAs of the core. `None` once identifiers are used up.
    operations: Option<mpsc::UnboundedSender<ProgramRequest>>,
    datagrams: mpsc::Sender<PuntRequest>,
    client: Client,
    dropped: u64,
}

/// What an outcome will mean.
#[derive(Debug)]
enum Pending {
    Install(ChildSaId),
    Lease,
    Other(&'static str),
}

/// What an outcome meant.
#[derive(Debug)]
pub(crate) enum Settled {
    /// News for the core.
    Input(Input),
    /// There are no SPIs to be had at the moment.
    NoLease,
    /// It needs nobody's attention, or is logged.
    Nothing,
}

impl Session {
    pub(crate) fn new(
        epoch: u64,
        operations: mpsc::UnboundedSender<ProgramRequest>,
        datagrams: mpsc::Sender<PuntRequest>,
        client: Client,
    ) -> Self {
        Self {
            epoch,
            last: 0,
            pending: HashMap::new(),
            batch: Vec::new(),
            outgoing: Vec::new(),
            keep_alives: Vec::new(),
            operations: Some(operations),
            datagrams,
            client,
            dropped: 0,
        }
    }

    /// For queries that need no epoch.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Queues what the core wants of the data plane; what is not for it is left to others.
    pub(crate) fn program(&mut self, output: Output) {
        let (kind, pending) = match output {
            Output::LeaseSpis(count) => (Kind::LeaseSpis(v1::LeaseSpis { count }), Pending::Lease),
            Output::Install(child) => {
                let id = child.id;
                (Kind::Install((*child).into()), Pending::Install(id))
            }
            Output::Activate(child) => (Kind::Activate(v1::Activate { child_sa: child.0 }), Pending::Other("activate")),
            Output::Retarget { child, local, remote } => {
                let encapsulation = UdpEncapsulation { local_port: local.port(), remote_port: remote.port() };
                let retarget = v1::Retarget {
                    child_sa: child.0,
                    local_address: address_octets(local.ip()),
                    remote_address: address_octets(remote.ip()),
                    encapsulation: Some(encapsulation.into()),
                };
                (Kind::Retarget(retarget), Pending::Other("retarget"))
            }
            Output::Retire { child, linger } => {
                (Kind::Retire(v1::Retire { child_sa: child.0, linger_ms: milliseconds(linger) }), Pending::Other("retire"))
            }
            Output::SetPolicies(policies) => {
                let parts = in_parts(policies).into_iter().map(Kind::SetPolicies);
                return parts.for_each(|part| self.queue(part, Pending::Other("set policies")));
            }
            Output::Claim(children) => {
                (Kind::Claim(v1::Claim { child_sas: children.iter().map(|child| child.0).collect() }), Pending::Other("claim"))
            }
            Output::RefuseAcquire { id, retry_after } => {
                let refuse = v1::RefuseAcquire { acquire: id, retry_after_ms: milliseconds(retry_after) };
                (Kind::RefuseAcquire(refuse), Pending::Other("refuse acquire"))
            }
            Output::Transmit(datagram) => return self.outgoing.push(decode::outgoing(datagram)),
            Output::KeepAlive { local, remote } => return self.keep_alives.push(decode::ends(local, remote)),
            Output::Job { .. } | Output::IkeKeys(_) | Output::IkeV1Key(_) | Output::Event(_) | Output::Trace(_) => return,
        };
        self.queue(kind, pending);
    }

    fn queue(&mut self, kind: Kind, pending: Pending) {
        match self.last.checked_add(1) {
            Some(next) => self.last = next,
            // Identifiers never repeat within a boot: end the session, and the next one has a higher epoch.
            None => self.operations = None,
        }
        let id = self.epoch << 32 | u64::from(self.last);
        self.pending.insert(id, pending);
        self.batch.push(Operation { id, operation: Some(kind) });
    }

    /// Sends what has gathered, in as few messages as it fits into. Failures show as the end of the session's streams.
    pub(crate) fn flush(&mut self) {
        let (mut operations, mut size) = (Vec::new(), 0);
        for operation in std::mem::take(&mut self.batch) {
            let more = operation.encoded_len();
            if size + more > MESSAGE {
                self.send(std::mem::take(&mut operations));
                size = 0;
            }
            size += more;
            operations.push(operation);
        }
        self.send(operations);
        if !self.outgoing.is_empty() || !self.keep_alives.is_empty() {
            let (datagrams, keep_alives) = (std::mem::take(&mut self.outgoing), std::mem::take(&mut self.keep_alives));
            let count = datagrams.len() as u64;
            if self.datagrams.try_send(PuntRequest { epoch: self.epoch, datagrams, keep_alives }).is_err() {
                self.dropped += count;
                tracing::debug!("dropped {count} IKE messages: the data plane takes them too slowly");
            }
        }
    }

    fn send(&self, operations: Vec<Operation>) {
        if let Some(queue) = self.operations.as_ref().filter(|_| !operations.is_empty()) {
            let _ = queue.send(ProgramRequest { epoch: self.epoch, operations });
        }
    }

    /// IKE messages that found the queue full.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// What an outcome means to the core.
    pub(crate) fn settle(&mut self, answer: v1::Outcome) -> Settled {
        let Some(pending) = self.pending.remove(&answer.id) else {
            tracing::error!("the data plane answered operation {:x}, which was not asked", answer.id);
            return Settled::Nothing;
        };
        match (pending, answer.outcome) {
            (Pending::Install(child), Some(outcome::Outcome::Done(_))) => Settled::Input(Input::Installed { child, result: Ok(()) }),
            (Pending::Install(child), outcome) => Settled::Input(Input::Installed { child, result: Err(refusal(outcome)) }),
            (Pending::Lease, Some(outcome::Outcome::Spis(lease))) => match lease.spis.iter().map(|&spi| Spi::new(spi)).collect() {
                Ok(spis) => Settled::Input(Input::SpisLeased(spis)),
                Err(error) => {
                    tracing::error!("the data plane leased what is no SPI: {error}");
                    Settled::NoLease
                }
            },
            (Pending::Lease, outcome) => {
                tracing::error!("the data plane leases no SPIs: {}", refusal(outcome));
                Settled::NoLease
            }
            (Pending::Other(_), Some(outcome::Outcome::Done(_))) => Settled::Nothing,
            (Pending::Other(what), outcome) => {
                tracing::warn!("the data plane refused to {what}: {}", refusal(outcome));
                Settled::Nothing
            }
        }
    }
}

/// A set of policies in parts that fit into messages.
fn in_parts(policies: Vec<Policy>) -> Vec<v1::SetPolicies> {
    let mut parts = Vec::new();
    let (mut part, mut size) = (v1::SetPolicies::default(), 0);
    for policy in policies.into_iter().map(v1::Policy::from) {
        let more = policy.encoded_len();
        if size > 0 && size + more > MESSAGE {
            part.more = true;
            parts.push(std::mem::take(&mut part));
            size = 0;
        }
        size += more;
        part.policies.push(policy);
    }
    parts.push(part);
    parts
}

fn refusal(outcome: Option<outcome::Outcome>) -> String {
    match outcome {
        Some(outcome::Outcome::Failure(failure)) => format!("{} ({:?})", failure.detail, failure.reason()),
        Some(outcome::Outcome::Spis(_)) => "it answered with SPIs".to_owned(),
        Some(outcome::Outcome::Done(_)) => "it answered with nothing".to_owned(),
        None => "its answer holds no outcome".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use ipsec_types::{DscpSet, PolicyAction, PolicyId};

    use super::*;

    /// What tonic takes unless told otherwise.
    const LIMIT: usize = 4 << 20;

    fn policies(count: u32) -> Vec<Policy> {
        let policy = |n: u32| Policy {
            id: PolicyId(n),
            name: format!("connection-{n}/child-{n}"),
            priority: n,
            action: PolicyAction::Protect,
            local: vec!["10.0.0.0/8".parse().unwrap()],
            remote: vec!["2001:db8::/32".parse().unwrap()],
            dscp: DscpSet::ALL,
        };
        (1..=count).map(policy).collect()
    }

    /// What the data plane is sent for a set of policies.
    fn sent(policies: Vec<Policy>) -> Vec<ProgramRequest> {
        let (operations, mut sent) = mpsc::unbounded_channel();
        let (datagrams, _) = mpsc::channel(1);
        let channel = tonic::transport::Endpoint::from_static("http://localhost").connect_lazy();
        let mut session = Session::new(1, operations, datagrams, Client::new(channel));
        session.program(Output::SetPolicies(policies));
        session.flush();
        std::iter::from_fn(|| sent.try_recv().ok()).collect()
    }

    #[tokio::test]
    async fn a_set_of_a_hundred_thousand_policies_goes_in_messages_that_the_data_plane_takes() {
        let wanted = policies(100_000);
        let whole = v1::SetPolicies { policies: wanted.iter().cloned().map(Into::into).collect(), more: false };
        assert!(whole.encoded_len() > LIMIT);
        let requests = sent(wanted);
        assert!(requests.iter().all(|request| request.encoded_len() < LIMIT / 16));
        let mut operations = requests.into_iter().flat_map(|request| request.operations).peekable();
        let (mut together, mut last_id) = (Vec::new(), 0);
        while let Some(Operation { id, operation }) = operations.next() {
            let Some(Kind::SetPolicies(part)) = operation else { panic!("{operation:?}") };
            assert_eq!(part.more, operations.peek().is_some(), "the last one alone is the last one");
            assert!(id > last_id && !part.policies.is_empty());
            last_id = id;
            together.extend(part.policies);
        }
        assert_eq!(together, whole.policies);
    }

    #[tokio::test]
    async fn a_set_without_policies_is_sent() {
        let requests = sent(Vec::new());
        let [ProgramRequest { operations, .. }] = requests.as_slice() else { panic!("{requests:?}") };
        assert!(matches!(operations.as_slice(), [Operation { operation: Some(Kind::SetPolicies(set)), .. }] if !set.more));
    }
}
