//! IKE SAs of version 1: which of them an input is for, a new one, and what concerns several.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ike_wire::NotifyType as Reason;
use ike_wire::v1::{Chain, ExchangeType, Flags, Header, Message, Notify, NotifyType, Payload, PayloadType, Protocol, emit_payloads};
use ipsec_types::ChildSaId;

use super::*;
use crate::child::Child as ChildSa;
use crate::error::{Detail, Failure};
use crate::io::{Event, RequestId};
use crate::v1::common::{Core, Task};
use crate::v1::known::News;
use crate::v1::phase_1::{self, Mode};
use crate::v1::{self, Estate, IkeSa as IkeSaV1};
use crate::v2::keys::Role;
use crate::v2::nat::IKE_PORT;

/// What an initiator's first message is known by: its responder's cookie is zero.
pub(super) type FirstKey = (SocketAddr, u64);

impl Endpoint {
    /// A message of version 1.
    pub(super) fn on_v1_datagram(&mut self, now: Instant, random: &mut dyn Random, datagram: &Datagram) {
        let Ok(message) = Message::parse(&datagram.payload) else { return self.shared.count("messages_malformed") };
        let header = message.header;
        // No flag says whose cookie is whose. Both must be an IKE SA's, as anybody may have chosen one of ours for his own.
        let named = [header.initiator(), header.responder()].into_iter().flatten().filter_map(|cookie| self.shared.by_spi.get(&cookie));
        let owner = named.copied().find(|id| self.v1.get(id).is_some_and(|sa| sa.core.owns(&header)));
        let is_first = header.responder_cookie == 0 && header.message_id == 0 && header.initiator().is_some();
        let first = || self.v1_by_first.get(&(datagram.remote, header.initiator_cookie)).copied().filter(|_| is_first);
        match owner.or_else(first) {
            Some(id) if message.first == PayloadType::FRAGMENT => {
                self.with_v1(now, random, id, |sa, cx| sa.on_fragment(cx, datagram, &message));
            }
            Some(id) => self.with_v1(now, random, id, |sa, cx| sa.on_datagram(cx, datagram, &message)),
            None if is_first => self.on_first_v1_message(now, random, datagram, &message),
            None => self.shared.count("messages_without_ike_sa"),
        }
    }

    /// `HDR, SA, ...  -->` of a new peer, in main or aggressive mode.
    fn on_first_v1_message(&mut self, now: Instant, random: &mut dyn Random, datagram: &Datagram, message: &Message<'_>) {
        let (address, begins) = (datagram.remote.ip(), Mode::of(message.header.exchange).is_some());
        let Some((payloads, initiator_cookie)) = v1::parse(message).zip(message.header.initiator()).filter(|_| begins) else {
            return self.shared.count("messages_ignored");
        };
        if self.closing || self.shared.attachment.is_none() || self.half_open >= inbound::MOST_HALF_OPEN {
            return self.shared.count("messages_ignored");
        }
        let config = Arc::clone(&self.shared.config);
        let [unproven, _] = self.half_open_of.get(&address).copied().unwrap_or_default();
        if unproven >= config.block_threshold {
            return self.shared.count("initiators_blocked");
        }
        let candidates: Vec<ConnectionRef> = ConnectionRef::between_with_v1(&config, datagram.local.ip(), address).collect();
        let mut cx = Context { now, random, shared: &mut self.shared };
        let name = candidates.first().map(|connection| connection.name.clone());
        v1::show(&mut cx, name.as_deref(), datagram, &message.header, &payloads);
        if candidates.is_empty() {
            // Nobody here speaks this version with that address: no answer, as before there was one.
            cx.shared.count("messages_ignored");
            if let Some(connection) = ConnectionRef::between(&config, datagram.local.ip(), address).next() {
                cx.fail(Some(&connection.name), datagram.remote, not_spoken(&connection));
            }
            return;
        }
        match phase_1::admit(&cx, &candidates, message, &payloads) {
            Ok((connection, first)) => {
                let id = cx.shared.next_ike_sa();
                let cookie = cx.ike_spi();
                let mut core = Core::new(id, Role::Responder, connection, initiator_cookie, (datagram.local, datagram.remote), &mut cx);
                core.responder_cookie = Some(cookie);
                let state = phase_1::respond(&mut core, &mut cx, first, datagram);
                let sa = IkeSaV1 { core, state };
                if sa.is_closed() {
                    return;
                }
                self.shared.by_spi.insert(cookie, id);
                self.v1_by_first.insert((datagram.remote, message.header.initiator_cookie), id);
                self.half_open += 1;
                self.count_unproven(address, true);
                self.put_v1(sa);
            }
            Err(failure) => {
                if let Failure::Incompatible(Reason::NO_PROPOSAL_CHOSEN, _) = &failure {
                    refuse(&mut cx, datagram, &message.header);
                }
                cx.fail(name.as_deref(), datagram.remote, failure);
            }
        }
    }

    /// Sets a Child SA up with a new IKE SA of version 1, or, without one, an IKE SA that takes the place of another.
    pub(super) fn begin_v1(
        &mut self,
        now: Instant,
        random: &mut dyn Random,
        connection: ConnectionRef,
        child: Option<(usize, PolicyId)>,
        addresses: (SocketAddr, SocketAddr),
        predecessor: Option<(IkeSaId, Option<RequestId>)>,
    ) {
        if let Some((_, policy)) = child {
            self.shared.wants.begun(policy);
        }
        self.shared.calls(addresses.1.ip());
        let id = self.shared.next_ike_sa();
        let mut cx = Context { now, random, shared: &mut self.shared };
        let cookie = cx.ike_spi();
        let mut core = Core::new(id, Role::Initiator, connection, cookie, addresses, &mut cx);
        core.predecessor = predecessor;
        if let Some((index, policy)) = child {
            core.wanted.push(policy);
            core.tasks.push_back(Task::CreateChild(index));
        }
        match phase_1::start(&mut core, &mut cx, child.map_or(0, |(index, _)| index)) {
            Ok(state) => {
                self.shared.by_spi.insert(cookie, id);
                self.put_v1(IkeSaV1 { core, state });
            }
            Err(failure) => {
                cx.fail(Some(&core.connection.name), core.remote, failure.clone());
                if let Some((old, _)) = core.predecessor {
                    cx.shared.v1.news.push_back(News::NoSuccessor(old));
                }
                core.release(&mut cx, &failure);
                self.spread(now, random);
            }
        }
    }

    /// One of version 1 that a Child SA can be created under.
    pub(super) fn usable_v1(&self, connection: &ConnectionRef) -> Option<IkeSaId> {
        self.v1.values().find(|sa| sa.takes_tasks() && sa.core.connection.is(connection)).map(|sa| sa.core.id)
    }

    /// Lets one IKE SA take a step; forgets it where that was the last.
    pub(super) fn with_v1(
        &mut self,
        now: Instant,
        random: &mut dyn Random,
        id: IkeSaId,
        step: impl FnOnce(IkeSaV1, &mut Context<'_>) -> IkeSaV1,
    ) {
        let Some(sa) = self.v1.remove(&id) else { return };
        if let Some(at) = sa.deadline() {
            self.deadlines.remove(&(at, id));
        }
        let (was_half_open, address) = (sa.is_half_open(), sa.core.remote.ip());
        let mut cx = Context { now, random, shared: &mut self.shared };
        let sa = step(sa, &mut cx);
        if was_half_open && !sa.is_half_open() {
            self.half_open = self.half_open.saturating_sub(1);
            self.count_unproven(address, false);
        }
        if sa.is_closed() {
            if let Some(cookie) = sa.core.own_cookie() {
                self.shared.by_spi.remove(&cookie);
            }
            self.v1_by_first.remove(&(sa.core.first_remote, sa.core.initiator_cookie.value()));
            self.shared.jobs.retain(|_, owner| *owner != id);
        } else {
            self.put_v1(sa);
        }
        self.spread(now, random);
    }

    fn put_v1(&mut self, sa: IkeSaV1) {
        let id = sa.core.id;
        self.deadlines.extend(sa.deadline().map(|at| (at, id)));
        self.v1.insert(id, sa);
    }

    /// Half-open ones count as those of version 2 without a cookie do.
    fn count_unproven(&mut self, address: IpAddr, there: bool) {
        let counts = self.half_open_of.entry(address).or_default();
        let [without, _] = counts;
        *without = if there { *without + 1 } else { without.saturating_sub(1) };
        if *counts == [0, 0] {
            self.half_open_of.remove(&address);
        }
    }

    /// Carries out what concerns several of them.
    fn spread(&mut self, now: Instant, random: &mut dyn Random) {
        while let Some(news) = self.shared.v1.news.pop_front() {
            match news {
                News::Forgotten(ids) => {
                    for id in ids {
                        self.with_v1(now, random, id, IkeSaV1::forsake);
                    }
                }
                News::Succeeded { old, new, request } => {
                    self.hand_over(now, random, old, new, IkeSaV1::superseded);
                    self.shared.event(Event::IkeSaRekeyed { old, new });
                    if let Some(request) = request {
                        self.shared.ike_rekeyed(request, Ok(new));
                    }
                }
                News::Overtaken { by, ids } => {
                    for id in ids {
                        self.hand_over(now, random, id, by, IkeSaV1::overtaken);
                    }
                }
                News::Yields { loser, winner } => self.hand_over(now, random, loser, winner, IkeSaV1::superseded),
                News::Bequest { heir, estate } => self.bequeath(now, random, heir, *estate),
                News::Deleted { under, delete } => {
                    let siblings: Vec<IkeSaId> = self.shared.v1.siblings(under).collect();
                    for id in siblings {
                        self.with_v1(now, random, id, |sa, cx| sa.on_deleted(cx, &delete));
                    }
                }
                News::Task { ike_sa, task } => self.queue_v1(now, random, ike_sa, task),
                News::Unwanted(ids) => {
                    for id in ids {
                        self.with_v1(now, random, id, IkeSaV1::unwanted);
                    }
                }
                News::NoSuccessor(id) => self.with_v1(now, random, id, IkeSaV1::stays),
                News::Replace { ike_sa, request } => self.replace_v1(now, random, ike_sa, request),
            }
        }
    }

    /// Lets one IKE SA take over what another leaves in a step.
    fn hand_over(
        &mut self,
        now: Instant,
        random: &mut dyn Random,
        from: IkeSaId,
        to: IkeSaId,
        step: impl FnOnce(IkeSaV1, &mut Context<'_>) -> (IkeSaV1, Estate),
    ) {
        let mut estate = Estate::default();
        self.with_v1(now, random, from, |sa, cx| {
            let (sa, left) = step(sa, cx);
            estate = left;
            sa
        });
        self.bequeath(now, random, to, estate);
    }

    fn bequeath(&mut self, now: Instant, random: &mut dyn Random, heir: IkeSaId, estate: Estate) {
        self.shared.children.extend(estate.children.iter().map(|child| (child.id, heir)));
        self.with_v1(now, random, heir, |sa, cx| sa.inherit(cx, estate));
    }

    fn replace_v1(&mut self, now: Instant, random: &mut dyn Random, id: IkeSaId, request: Option<RequestId>) {
        let Some(sa) = self.v1.get(&id) else { return };
        let (connection, local, remote) = (sa.core.connection.clone(), sa.core.local.ip(), sa.core.remote.ip());
        let addresses = (SocketAddr::new(local, IKE_PORT), SocketAddr::new(remote, IKE_PORT));
        self.begin_v1(now, random, connection, None, addresses, Some((id, request)));
    }

    /// The Child SAs of all of them, with their IKE SAs.
    pub(super) fn v1_children(&self) -> impl Iterator<Item = (IkeSaId, &ChildSa)> {
        self.v1.values().flat_map(|sa| sa.live_children().map(|child| (sa.core.id, child)))
    }

    /// Those that an operator names, as with version 2.
    pub(super) fn named_v1(&self, target: &crate::io::Target) -> (Vec<IkeSaId>, Vec<(IkeSaId, ChildSaId)>) {
        use crate::io::Target;
        let ike_sas = self.v1.values().filter(|sa| match target {
            Target::Connection(name) => sa.core.connection.name == *name,
            Target::IkeSa(id) => sa.core.id == *id,
            Target::Child { .. } | Target::ChildSa(_) => false,
        });
        let children =
            self.v1.values().flat_map(|sa| sa.children().iter().map(move |child| (sa, child))).filter(|(sa, child)| match target {
                Target::Child { connection, name } => {
                    child.name == *name && connection.as_ref().is_none_or(|of| sa.core.connection.name == *of)
                }
                Target::ChildSa(id) => child.id == *id,
                Target::Connection(_) | Target::IkeSa(_) => false,
            });
        (ike_sas.map(|sa| sa.core.id).collect(), children.map(|(sa, child)| (sa.core.id, child.id)).collect())
    }

    /// Lets one do something when its turn has come.
    pub(super) fn queue_v1(&mut self, now: Instant, random: &mut dyn Random, id: IkeSaId, task: Task) {
        self.with_v1(now, random, id, |sa, cx| sa.queue(cx, task));
    }
}

/// A peer with a version of IKE that its connection does not speak.
fn not_spoken(connection: &ConnectionRef) -> Failure {
    let detail = Detail {
        summary: "the peer speaks IKEv1, and this connection does not".into(),
        ours: alloc::format!("connection {}: version = 2", connection.name),
        theirs: "a first message of IKEv1".into(),
        would_match: "IKEv2 at the peer".into(),
        remedy: "let the peer speak IKEv2, or, where it cannot, write version = \"any\" here".into(),
    };
    Failure::Incompatible(Reason::NO_PROPOSAL_CHOSEN, detail.bounded())
}

/// `<--  HDR, N(NO-PROPOSAL-CHOSEN)`: it leaves nothing behind (RFC 2408 section 5.4).
fn refuse(cx: &mut Context<'_>, datagram: &Datagram, to: &Header) {
    let notify = Payload::Notify(Notify::new(Protocol::ISAKMP, Vec::new(), NotifyType::NO_PROPOSAL_CHOSEN, Vec::new()));
    let cookie = cx.ike_spi().value();
    let message_id = cx.octets(4).iter().fold(0_u32, |id, octet| id << 8 | u32::from(*octet)) | 1;
    let header = Header::new(to.initiator_cookie, cookie, ExchangeType::INFORMATIONAL, Flags::default(), message_id);
    let payloads = [notify];
    let Ok(Chain { first, octets }) = emit_payloads(&payloads) else { return };
    let Ok(sent) = (Message { header, first, body: &octets }).emit() else { return };
    let addresses = (datagram.local, datagram.remote);
    v1::show_sent(cx, addresses, &header, &payloads, sent.len());
    cx.shared.transmit(datagram.local, datagram.remote, sent);
}
