//! What the server thread and the workers say to each other.
//!
//! Key schedules, allocation and freeing happen on the server thread; a worker only moves pointers between bursts. So everything a worker
//! no longer needs travels back as [`Garbage`] and is dropped by the server. Every queue is bounded and none is ever waited for: a worker
//! that finds the garbage queue full leaves its commands where they are, and counts what it could not report.
//!
//! | direction | queue | content |
//! |---|---|---|
//! | server to worker | commands | [`Command`], applied in order between two bursts |
//! | worker to server | notices | [`Notice`]: what the control plane or the neighbour resolver should know |
//! | worker to server | punts, one queue for each [`PuntClass`] | [`Frame`]: packets for the gateway itself |
//! | server to worker | free frames | empty [`Frame`]s, so that a worker never allocates |
//! | worker to server | garbage | [`Garbage`], to be dropped or recycled |

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrayvec::ArrayVec;
use crossbeam_queue::ArrayQueue;
use crossbeam_utils::CachePadded;
use esp::{ReplayWindow, Tunnel};
use ipsec_types::{ChildSaId, Flow, PolicyId};

use crate::pipeline::{BURST, Inquiry};
use crate::stats::WorkerStats;
use crate::table::{PolicySlot, SaSlot, Snapshot};

pub use crate::installed_sa::{InstalledSa, Quota, SaState};

/// Names a worker: 0 to one less than their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u16);

/// Names a port: its place in [`crate::table::Ports`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub u8);

/// Policies that one command names: what a worker does for them is done between two bursts.
pub const SLOTS_IN_COMMAND: usize = 16;

/// What the server tells a worker.
#[derive(Debug)]
pub enum Command {
    /// Replaces policies, routes, neighbours and ports. The first one that has an SPD lets the worker forward.
    Snapshot(Arc<Snapshot>),
    /// The last snapshot has other policies in these slots than the one before.
    PoliciesChanged(ArrayVec<PolicySlot, SLOTS_IN_COMMAND>),
    /// Installs an SA in its slot, which is empty. Every worker gets every SA; the replay window goes to the owner alone, before the others.
    Install {
        /// Both halves of the SA.
        sa: Arc<InstalledSa>,
        /// Where the outbound half leads.
        tunnel: Tunnel,
        /// The replay window, to the worker that owns the SA; `None` to the others.
        window: Option<ReplayWindow>,
    },
    /// The outbound half leads elsewhere from now on. Key and sequence numbers go on: packets under way are the last ones to the former peer.
    Retarget {
        /// The slot of the SA.
        slot: SaSlot,
        /// Where it leads.
        tunnel: Tunnel,
    },
    /// What the path of the outbound half lets pass from now on.
    PathMtu {
        /// The slot of the SA.
        slot: SaSlot,
        /// Octets of a packet to the peer; `None`: as much as the port sends.
        mtu: Option<u16>,
    },
    /// The outbound half carries no more packets. The inbound half stays.
    RetireOutbound(SaSlot),
    /// Empties a slot. The SA comes back as [`Garbage::Sa`].
    Remove(SaSlot),
    /// Drops the packets that wait for an SA of this policy, and those that come within the time without asking again. It is over sooner when
    /// an SA of the policy is installed, or another policy gets the slot.
    RefuseAcquire {
        /// The policy.
        policy: PolicySlot,
        /// How long not to ask again.
        retry_after: Duration,
    },
    /// Sends a packet of the gateway itself: one worker gets it. The frame comes back as [`Garbage::Frame`].
    Transmit {
        /// Where it goes.
        via: Via,
        /// The packet.
        frame: Frame,
    },
    /// Sends a dummy packet of an SA for each of these random numbers (RFC 4303 section 2.6). The owner gets it.
    SendDummies {
        /// The slot of the SA.
        slot: SaSlot,
        /// What their lengths come from.
        random: ArrayVec<u16, BURST>,
    },
    /// Takes in a packet that was put together from fragments, as if it had arrived on this port in one piece. The frame comes back as
    /// [`Garbage::Frame`].
    Receive {
        /// Where the fragments came from.
        port: PortId,
        /// The packet, with its Ethernet header.
        frame: Frame,
    },
    /// Asks what would become of a packet. The answer comes back as [`Garbage::Explained`].
    Explain(Box<Inquiry>),
    /// Ends the worker after this burst.
    Stop,
}

impl Command {
    /// What a worker does for it, in entries of tables that it looks at: each may have to come from memory first.
    pub(crate) const fn work(&self) -> usize {
        match self {
            Self::PoliciesChanged(slots) => slots.len(),
            _ => 1,
        }
    }

    /// Whether what the tables say of a packet may be something else afterwards.
    pub(crate) const fn changes_tables(&self) -> bool {
        match self {
            Self::Snapshot(_)
            | Self::Install { .. }
            | Self::Retarget { .. }
            | Self::PathMtu { .. }
            | Self::RetireOutbound(_)
            | Self::Remove(_) => true,
            Self::RefuseAcquire { .. }
            | Self::Transmit { .. }
            | Self::SendDummies { .. }
            | Self::Receive { .. }
            | Self::Explain(_)
            | Self::PoliciesChanged(_)
            | Self::Stop => false,
        }
    }
}

/// How a packet of the gateway itself leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// As it stands, with Ethernet header, from this port: ARP, Neighbor Discovery, and answers to the sender of a frame.
    Port(PortId),
    /// An IP packet without Ethernet header, in the clear, as the routes say; it waits for its neighbour where need be. IKE and ICMP.
    Route,
    /// An IP packet without Ethernet header, treated as if it came from a protected port: the SPD decides. Answers to packets that came
    /// through a tunnel.
    Policy,
}

/// What a worker tells the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A packet matched a PROTECT policy without an active SA that covers it, and waits. One per policy and worker, until an SA becomes
    /// active, a [`Command::RefuseAcquire`] arrives or the packets have waited too long.
    Acquire {
        /// The policy.
        policy: PolicyId,
        /// Its place in the worker's tables.
        slot: PolicySlot,
        /// The packet that asked.
        flow: Flow,
    },
    /// Packets wait for the MAC address of a neighbour. One per neighbour and worker, until a snapshot knows it or the packets have waited
    /// too long.
    NeighborMiss {
        /// The port it is behind.
        port: PortId,
        /// The address to resolve.
        address: IpAddr,
    },
    /// The first authenticated packet on the inbound half activated the parked outbound half (RFC 7296 section 2.8). It is in force already.
    Activated(ChildSaId),
    /// The highest authenticated sequence number came from another address or port than the outbound half sends to. At most one a second
    /// for each SA.
    PeerMoved {
        /// The SA.
        child_sa: ChildSaId,
        /// Where the packet came from.
        address: IpAddr,
        /// Its UDP source port; `None` for plain ESP.
        port: Option<u16>,
    },
    /// ESP arrived for an SPI that no SA has. At most one in ten milliseconds from a worker.
    SpiMiss {
        /// The SPI, unchecked.
        spi: u32,
        /// Its destination: an address of ours.
        local: IpAddr,
        /// Its source.
        remote: IpAddr,
    },
    /// One half has reached its hard limit or used its last sequence number: the SA may carry no more. Repeats are few, not one per packet.
    Spent(ChildSaId),
}

/// What a worker has no more use for; the server drops it.
#[derive(Debug)]
pub enum Garbage {
    /// A snapshot that was replaced.
    Snapshot(Arc<Snapshot>),
    /// An SA that was removed, or that could not be installed.
    Sa {
        /// The SA; other workers may still hold it.
        sa: Arc<InstalledSa>,
        /// Its replay window, where the worker owned it.
        window: Option<ReplayWindow>,
    },
    /// A frame that was transmitted or received.
    Frame(Frame),
    /// An inquiry with its answer.
    Explained(Box<Inquiry>),
}

/// The classes of packets for the gateway itself. Each has a queue, so that none can starve another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PuntClass {
    /// IKE with a responder SPI: of an exchange that is under way.
    IkeSession,
    /// IKE without a responder SPI: what anybody can send.
    IkeInit,
    /// ARP, ICMP and ICMPv6.
    SlowPath,
    /// Fragments of IKE, ESP and ICMP, to be put together first. Nobody knows what they are fragments of: they starve each other at most.
    Fragment,
    /// The beginnings of packets that were dropped and are answered with an ICMP error.
    Refused,
}

impl PuntClass {
    /// Every class, most important first.
    pub const ALL: [Self; 5] = [Self::IkeSession, Self::IkeInit, Self::SlowPath, Self::Fragment, Self::Refused];
}

/// Where a punted packet came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// From the wire; the frame starts with its Ethernet header.
    Port(PortId),
    /// Out of an SA; the frame starts with the inner IP header. Answer with [`Via::Policy`].
    Tunnel(ChildSaId),
    /// From the protected side, and dropped; the frame holds the beginning of the packet, from its IP header.
    Refused {
        /// Who sent it, as it says.
        sender: IpAddr,
        /// Why it was dropped.
        refusal: Refusal,
    },
    /// Out of an SA, and dropped; the frame holds the beginning of the packet, from its IP header. Answer with [`Via::Policy`].
    RefusedInside {
        /// Who sent it, as it says: the SA's selectors permit that.
        sender: IpAddr,
        /// Whom it was for, behind a protected port.
        receiver: IpAddr,
        /// Why it was dropped.
        refusal: Refusal,
    },
}

/// Why a packet was dropped, as its sender is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It does not fit and may not be fragmented (RFC 4301 section 8.2).
    TooBig {
        /// The longest packet that fits.
        mtu: u16,
    },
    /// Its time to live or hop limit is used up.
    HopLimitExceeded,
}

/// A packet copied out of an mbuf, or to be copied into one. The former are made once and recycled.
#[derive(Clone)]
pub struct Frame {
    origin: Origin,
    len: usize,
    octets: Box<[u8]>,
}

impl Frame {
    /// An empty frame with room for so many octets.
    pub fn empty(capacity: usize) -> Self {
        Self { origin: Origin::Port(PortId(0)), len: 0, octets: vec![0; capacity].into_boxed_slice() }
    }

    /// A packet to be sent or received.
    pub fn outgoing(packet: Vec<u8>) -> Self {
        Self { origin: Origin::Port(PortId(0)), len: packet.len(), octets: packet.into_boxed_slice() }
    }

    /// Takes the packet in; `None`, and nothing changes, where there is too little room.
    pub fn fill(&mut self, origin: Origin, bytes: &[u8]) -> Option<()> {
        self.octets.get_mut(..bytes.len())?.copy_from_slice(bytes);
        self.origin = origin;
        self.len = bytes.len();
        Some(())
    }

    /// The packet.
    pub fn bytes(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }

    /// Where it came from; without meaning in a command.
    pub fn origin(&self) -> Origin {
        self.origin
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame").field("origin", &self.origin).field("len", &self.len).finish_non_exhaustive()
    }
}

/// How many items each queue between the server and one worker holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueSizes {
    /// Commands.
    pub commands: usize,
    /// Notices.
    pub notices: usize,
    /// Punted packets of each class.
    pub punts: usize,
    /// Octets of a punted packet, its Ethernet header included.
    pub frame: usize,
}

impl Default for QueueSizes {
    fn default() -> Self {
        Self { commands: 1024, notices: 1024, punts: 256, frame: 2048 }
    }
}

#[derive(Debug)]
struct Channel {
    id: WorkerId,
    commands: ArrayQueue<Command>,
    notices: ArrayQueue<Notice>,
    punts: [ArrayQueue<Frame>; PuntClass::ALL.len()],
    free: ArrayQueue<Frame>,
    garbage: ArrayQueue<Garbage>,
    applied: CachePadded<AtomicU64>,
    stats: WorkerStats,
}

/// Joins the server with one worker. `policies` is the number of policy slots whose packets are counted.
pub fn channel(id: WorkerId, sizes: QueueSizes, policies: usize) -> (WorkerHandle, WorkerEnd) {
    let frames = sizes.punts * PuntClass::ALL.len();
    let channel = Arc::new(Channel {
        id,
        commands: ArrayQueue::new(sizes.commands),
        notices: ArrayQueue::new(sizes.notices),
        punts: std::array::from_fn(|_| ArrayQueue::new(sizes.punts)),
        free: ArrayQueue::new(frames),
        garbage: ArrayQueue::new(sizes.commands),
        applied: CachePadded::default(),
        stats: WorkerStats::new(policies),
    });
    let handle = WorkerHandle { channel: Arc::clone(&channel), sent: 0 };
    for _ in 0..frames {
        handle.recycle(Frame::empty(sizes.frame));
    }
    (handle, WorkerEnd { channel, applied: 0 })
}

/// The server's end.
#[derive(Debug)]
pub struct WorkerHandle {
    channel: Arc<Channel>,
    sent: u64,
}

/// The place of a command in the order a worker applies them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[must_use = "a command that was sent is not yet applied"]
pub struct Ticket(u64);

impl WorkerHandle {
    /// The worker.
    pub fn id(&self) -> WorkerId {
        self.channel.id
    }

    /// Queues a command.
    ///
    /// # Errors
    /// Gives the command back where the queue is full: the worker is silent, or was sent too many at once.
    pub fn send(&mut self, command: Command) -> Result<Ticket, Command> {
        self.channel.commands.push(command)?;
        self.sent += 1;
        Ok(Ticket(self.sent))
    }

    /// Whether the worker has applied this command and all before it.
    pub fn is_applied(&self, ticket: Ticket) -> bool {
        // Acquire pairs with the worker's release: what the command did is visible to whoever sees it applied.
        self.channel.applied.load(Ordering::Acquire) >= ticket.0
    }

    /// Commands that the worker has not taken yet.
    pub fn queued(&self) -> usize {
        self.channel.commands.len()
    }

    /// The next notice.
    pub fn notice(&self) -> Option<Notice> {
        self.channel.notices.pop()
    }

    /// The next packet of a class. Give it back with [`WorkerHandle::recycle`].
    #[expect(clippy::indexing_slicing, reason = "an array with a place for each")]
    pub fn punted(&self, class: PuntClass) -> Option<Frame> {
        self.channel.punts[class as usize].pop()
    }

    /// Gives an emptied frame back to the worker; what is too many is freed.
    pub fn recycle(&self, frame: Frame) {
        drop(self.channel.free.push(frame));
    }

    /// The next thing to drop.
    pub fn garbage(&self) -> Option<Garbage> {
        self.channel.garbage.pop()
    }

    /// The worker's counters.
    pub fn stats(&self) -> &WorkerStats {
        &self.channel.stats
    }
}

/// The worker's end.
#[derive(Debug)]
pub struct WorkerEnd {
    channel: Arc<Channel>,
    applied: u64,
}

impl WorkerEnd {
    /// The worker.
    pub fn id(&self) -> WorkerId {
        self.channel.id
    }

    /// The next command, as long as there is room to throw away what it replaces.
    #[inline]
    pub(crate) fn command(&mut self) -> Option<Command> {
        if self.channel.commands.is_empty() || self.channel.garbage.is_full() {
            return None;
        }
        self.channel.commands.pop()
    }

    /// The command that was taken last is in force.
    pub(crate) fn applied(&mut self) {
        self.applied += 1;
        self.channel.applied.store(self.applied, Ordering::Release);
    }

    /// Hands something to the server to be dropped. A command makes one piece of garbage at most, and [`WorkerEnd::command`] saw room for it.
    pub(crate) fn discard(&self, garbage: Garbage) {
        drop(self.channel.garbage.push(garbage));
    }

    /// Reports to the server; false where the queue is full.
    #[inline]
    pub(crate) fn notify(&self, notice: Notice) -> bool {
        self.channel.notices.push(notice).is_ok()
    }

    /// Copies a packet to the server; false where there is no free frame, the queue of the class is full, or the packet too long.
    #[expect(clippy::indexing_slicing, reason = "an array with a place for each")]
    pub(crate) fn punt(&self, class: PuntClass, origin: Origin, bytes: &[u8]) -> bool {
        let queue = &self.channel.punts[class as usize];
        if queue.is_full() {
            return false;
        }
        let Some(mut frame) = self.channel.free.pop() else { return false };
        if frame.fill(origin, bytes).is_none() {
            drop(self.channel.free.push(frame));
            return false;
        }
        // The worker is the only producer, so the room seen above is still there.
        queue.push(frame).is_ok()
    }

    /// The worker's counters.
    #[inline]
    pub fn stats(&self) -> &WorkerStats {
        &self.channel.stats
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const CAPACITY: usize = 100;
    const SIZES: QueueSizes = QueueSizes { commands: 1, notices: 1, punts: 1, frame: CAPACITY };

    #[test]
    fn a_frame_is_filled_to_the_last_octet_and_no_further() {
        let mut frame = Frame::empty(CAPACITY);
        assert!(frame.bytes().is_empty());
        frame.fill(Origin::Port(PortId(3)), &[7; CAPACITY]).unwrap();
        assert_eq!(frame.fill(Origin::Port(PortId(4)), &[8; CAPACITY + 1]), None);
        assert_eq!((frame.origin(), frame.bytes()), (Origin::Port(PortId(3)), &[7; CAPACITY][..]));
    }

    #[test]
    fn frames_that_are_not_given_back_run_out_and_are_not_replaced() {
        let (handle, end) = channel(WorkerId(0), QueueSizes { punts: 2, ..SIZES }, 0);
        let punt = |class| end.punt(class, Origin::Port(PortId(0)), b"packet");
        let mut kept = Vec::new();
        for _ in PuntClass::ALL {
            assert!(punt(PuntClass::IkeInit) && punt(PuntClass::IkeInit) && !punt(PuntClass::IkeInit));
            kept.extend(std::iter::from_fn(|| handle.punted(PuntClass::IkeInit)));
        }
        assert!(!punt(PuntClass::SlowPath), "all ten frames are with the server");
        handle.recycle(kept.pop().unwrap());
        assert!(punt(PuntClass::SlowPath) && !punt(PuntClass::SlowPath));
        assert_eq!(handle.punted(PuntClass::SlowPath).unwrap().bytes(), b"packet");
    }

    #[test]
    fn a_frame_too_long_for_the_server_is_refused_and_its_frame_kept() {
        let (_handle, end) = channel(WorkerId(0), SIZES, 0);
        let punt = |len| end.punt(PuntClass::SlowPath, Origin::Port(PortId(0)), &vec![0; len]);
        for _ in 0..10 {
            assert!(!punt(CAPACITY + 1));
        }
        assert!(punt(CAPACITY));
    }

    #[test]
    fn what_a_command_did_is_seen_by_whoever_sees_it_applied() {
        let (mut handle, mut end) = channel(WorkerId(0), QueueSizes { commands: 4, ..SIZES }, 0);
        const COMMANDS: u64 = 20_000;
        let worker = thread::spawn(move || {
            let mut seen = 0;
            while seen < COMMANDS {
                match end.command() {
                    Some(Command::RetireOutbound(_)) => {
                        seen += 1;
                        end.stats().count(crate::verdict::Verdict::Sealed);
                        end.applied();
                    }
                    Some(other) => panic!("{other:?}"),
                    None => thread::yield_now(),
                }
            }
        });
        let mut last = None;
        for _ in 0..COMMANDS {
            let mut command = Command::RetireOutbound(SaSlot::of(1));
            last = Some(loop {
                match handle.send(command) {
                    Ok(ticket) => break ticket,
                    Err(refused) => command = refused,
                }
                thread::yield_now();
            });
            let ticket = last.unwrap();
            if handle.is_applied(ticket) {
                assert!(handle.stats().verdict(crate::verdict::Verdict::Sealed) >= ticket.0);
            }
        }
        worker.join().unwrap();
        assert!(handle.is_applied(last.unwrap()));
    }
}
