//! Rekeying the IKE SA, and what happens when both sides do at once (RFC 7296 sections 1.3.2, 2.8.2, 2.18, 2.25.2).
//!
//! ```text
//! HDR, SK {SA, Ni, KEi}  -->
//!                    <--  HDR, SK {SA, Nr, KEr}
//! HDR, SK {D}  -->                                  of the old IKE SA, by the initiator of the one that stays
//!                    <--  HDR, SK {}
//! ```
//!
//! The new IKE SA inherits the Child SAs, untouched, and everything that was still to be done under the old one.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use ike_wire::rules::Form;
use ike_wire::{ExchangeType, Header, KeyExchange, Nonce, NotifyType, Payload, Proposal, Sa};
use ipsec_types::{IkeSpi, Instant, KeyExchangeMethod, PolicyId, Secret};

use crate::child::Child;
use crate::context::Context;
use crate::diagnosis::{self, Asked};
use crate::error::{Failure, Fault};
use crate::io::{Event, IkeSaId, Job, JobId, JobResult, Output, RequestId};
use crate::negotiate::{self, Chosen, IkeSuite};
use crate::provider::{CryptoError, PrivateKey};
use crate::v2::create_child::responder;
use crate::v2::established::Answering;
use crate::v2::find::{self, notification};
use crate::v2::init;
use crate::v2::keys::{Exchanged, IkeKeys, Role};
use crate::v2::{Active, Core, Established, IkeSa, Protected, Sk, State, Task, crash};

/// An exchange of ours.
pub(crate) struct Rekeying {
    /// Operators who wait for it.
    pub(crate) requests: Vec<RequestId>,
    /// The IKE SA that the peer has made in place of the same one.
    pub(crate) theirs: Option<Heir>,
    spi: IkeSpi,
    nonce: Vec<u8>,
    method: KeyExchangeMethod,
    /// INVALID_KE_PAYLOAD seen so far.
    detours: u8,
    stage: Stage,
}

enum Stage {
    /// A key pair is being made.
    Generating(JobId),
    /// The request is out.
    Requested(Option<Box<dyn PrivateKey>>),
    /// The shared secret is being computed.
    Agreeing(JobId, Accepted),
    /// The peer's own rekeying is still being answered.
    Agreed(Secret, Accepted),
}

/// What the peer has answered.
struct Accepted {
    suite: IkeSuite,
    spi: IkeSpi,
    nonce: Vec<u8>,
    /// The peer's token (RFC 6290).
    token: Option<Secret>,
}

/// A new IKE SA.
pub(crate) struct Heir {
    id: IkeSaId,
    /// The lower of the two nonces it was made with.
    lowest: Vec<u8>,
}

/// A request of the peer whose key exchange is being computed.
pub(crate) struct Agreeing {
    pub(crate) job: JobId,
    header: Header,
    chosen: Chosen<IkeSuite>,
    peer_spi: IkeSpi,
    nonces: [Vec<u8>; 2],
}

/// What one IKE SA leaves to the next.
pub(crate) struct Estate {
    children: Vec<Child>,
    tasks: VecDeque<Task>,
    later: Vec<(Instant, Task)>,
    wanted: Vec<PolicyId>,
    terminating: Vec<RequestId>,
}

/// For the endpoint, which alone knows all IKE SAs.
pub(crate) enum Succession {
    /// There is a new one.
    Born(Box<IkeSa>),
    /// One takes over what another had.
    Inherits { heir: IkeSaId, estate: Estate },
    /// One is not needed, as `heir` stays: the peer, which made it, will delete it.
    Redundant { id: IkeSaId, heir: IkeSaId },
}

/// INVALID_KE_PAYLOAD that are followed before we give up.
const MOST_DETOURS: u8 = 3;
/// The peer has to delete what it has replaced, or made in vain. It may have missed our answer and not know; then we do.
const PATIENCE: Duration = Duration::from_secs(30);

/// Begins: the key pair comes first.
pub(crate) fn begin(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, request: Option<RequestId>) {
    let provider = cx.shared.provider;
    let requests: Vec<RequestId> = request.into_iter().collect();
    let offered = negotiate::offer_ike(&core.connection.proposals, None, &provider);
    let mut methods = negotiate::methods(&offered);
    let preferred = methods.clone().find(|method| *method == state.sk.suite.method);
    let Some(method) = preferred.or_else(|| methods.next()) else {
        let failure = Failure::Local("no configured IKE proposal can be offered: the algorithms are not available".into());
        return requests.into_iter().for_each(|request| cx.shared.ike_rekeyed(request, Err(failure.clone())));
    };
    let (spi, nonce) = (cx.ike_spi(), init::nonce(cx));
    prepare(state, core, cx, Rekeying { requests, theirs: None, spi, nonce, method, detours: 0, stage: Stage::Requested(None) });
}

fn prepare(state: &mut Established, core: &Core, cx: &mut Context<'_>, rekeying: Rekeying) {
    let job = cx.shared.job(core.id, Job::Generate { method: rekeying.method });
    wait(state, Rekeying { stage: Stage::Generating(job), ..rekeying });
}

fn wait(state: &mut Established, rekeying: Rekeying) {
    state.active = Some(Active::RekeyIkeSa(Box::new(rekeying)));
}

/// A job of ours is done.
pub(crate) fn on_job(
    state: &mut Established,
    core: &mut Core,
    cx: &mut Context<'_>,
    rekeying: Rekeying,
    id: JobId,
    result: JobResult,
) -> Result<(), Failure> {
    match (rekeying.stage, result) {
        (Stage::Generating(job), JobResult::Generated(result)) if job == id => {
            let rekeying = Rekeying { stage: Stage::Requested(None), ..rekeying };
            match result {
                Ok((private, public)) => send_request(state, core, cx, rekeying, private, public)?,
                Err(error) => failed(state, core, cx, rekeying, error.into()),
            }
        }
        (Stage::Agreeing(job, accepted), JobResult::Agreed(result)) if job == id => {
            let rekeying = Rekeying { stage: Stage::Requested(None), ..rekeying };
            match result {
                Ok(shared) if matches!(state.answering, Some(Answering::RekeyIkeSa(_))) => {
                    wait(state, Rekeying { stage: Stage::Agreed(shared, accepted), ..rekeying });
                }
                Ok(shared) => settle(state, core, cx, rekeying, accepted, &shared),
                Err(error) => {
                    failed(state, core, cx, rekeying, error.clone().into());
                    core.give_up_over(&error);
                }
            }
        }
        (stage, _) => wait(state, Rekeying { stage, ..rekeying }),
    }
    Ok(())
}

/// `HDR, SK {SA, Ni, KEi}  -->`
fn send_request(
    state: &mut Established,
    core: &mut Core,
    cx: &mut Context<'_>,
    rekeying: Rekeying,
    private: Box<dyn PrivateKey>,
    public: Vec<u8>,
) -> Result<(), Failure> {
    let mut payloads = alloc::vec![Payload::Sa(negotiate::offer_ike(&core.connection.proposals, Some(rekeying.spi), &cx.shared.provider))];
    payloads.extend(Nonce::new(rekeying.nonce.clone()).map(Payload::Nonce));
    payloads.push(Payload::KeyExchange(KeyExchange::new(rekeying.method, public)));
    core.request(cx, &state.sk, ExchangeType::CREATE_CHILD_SA, &payloads)?;
    wait(state, Rekeying { stage: Stage::Requested(Some(private)), ..rekeying });
    Ok(())
}

/// `<--  HDR, SK {SA, Nr, KEr}`, another method, or a refusal.
pub(crate) fn on_response(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, rekeying: Rekeying, message: &Protected) {
    let Stage::Requested(private) = rekeying.stage else { return };
    let rekeying = Rekeying { stage: Stage::Requested(None), ..rekeying };
    let payloads = &message.payloads;
    if message.form == Form::OtherGroup {
        return on_other_group(state, core, cx, rekeying, payloads);
    }
    match read_answer(core, cx, &rekeying, payloads, private) {
        Ok((accepted, agree)) => {
            let job = cx.shared.job(core.id, agree);
            wait(state, Rekeying { stage: Stage::Agreeing(job, accepted), ..rekeying });
        }
        Err(failure) => failed(state, core, cx, rekeying, failure),
    }
}

fn read_answer(
    core: &Core,
    cx: &Context<'_>,
    rekeying: &Rekeying,
    payloads: &[Payload],
    private: Option<Box<dyn PrivateKey>>,
) -> Result<(Accepted, Job), Failure> {
    let misbehaved = |text: &str| Failure::PeerMisbehaved(text.to_string());
    let Some((sa, ke, nonce)) = find::offer(payloads) else {
        let refusal = notification(payloads, NotifyType::is_error).map(|notify| notify.kind);
        return Err(refusal.map_or_else(
            || misbehaved("an answer without SA, KE or nonce"),
            |kind| diagnosis::refused(&core.connection, kind, Asked::IkeSa),
        ));
    };
    let suite = negotiate::accept_ike(&core.connection.proposals, sa, &cx.shared.provider)
        .filter(|suite| suite.method == rekeying.method && ke.method() == Some(suite.method))
        .ok_or_else(|| Failure::PeerMisbehaved(diagnosis::not_offered(&core.connection.proposals, sa)))?;
    let spi = sa.proposals.first().and_then(Proposal::ike_spi).ok_or_else(|| misbehaved("an answer without SPI"))?;
    let private = private.ok_or_else(|| misbehaved("an answer that was not asked for"))?;
    let agree = Job::Agree { private, peer_public: ke.data.clone() };
    Ok((Accepted { suite, spi, nonce: nonce.octets().to_vec(), token: crash::peer_token(payloads) }, agree))
}

/// Section 1.3: the responder names the method it wants; it must be one we offer.
fn on_other_group(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, rekeying: Rekeying, payloads: &[Payload]) {
    let offered = negotiate::offer_ike(&core.connection.proposals, None, &cx.shared.provider);
    let usable = |method: &KeyExchangeMethod| {
        rekeying.detours < MOST_DETOURS && *method != rekeying.method && negotiate::methods(&offered).any(|offered| offered == *method)
    };
    match find::other_method(payloads).filter(usable) {
        Some(method) => {
            let (nonce, detours) = (init::nonce(cx), rekeying.detours + 1);
            prepare(state, core, cx, Rekeying { method, nonce, detours, ..rekeying });
        }
        None => {
            let failure = diagnosis::refused(&core.connection, NotifyType::INVALID_KE_PAYLOAD, Asked::IkeSa);
            failed(state, core, cx, rekeying, failure);
        }
    }
}

/// Both sides have done what they wanted: "the new IKE SA containing the lowest nonce SHOULD be deleted by the node that created it, and
/// the other surviving new IKE SA MUST inherit all the Child SAs" (section 2.8.2).
fn settle(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, rekeying: Rekeying, accepted: Accepted, shared: &Secret) {
    let Accepted { suite, spi, nonce, token } = accepted;
    let said = Exchanged { initiator_nonce: &rekeying.nonce, responder_nonce: &nonce, initiator_spi: rekeying.spi, responder_spi: spi };
    let keys = match state.sk.keys.rekey(&suite, &said, shared, cx.shared.key_log()) {
        Ok(keys) => keys,
        Err(error) => return failed(state, core, cx, rekeying, error.into()),
    };
    core.hurdles.passed();
    let lowest = rekeying.nonce.min(nonce);
    let mut ours = bear(state, core, cx, Role::Initiator, (rekeying.spi, spi), Sk { suite, keys });
    let id = ours.core.id;
    // Its SPIs are others, and the peer has said its token for them already (RFC 6290 section 4.3).
    ours.core.peer_token = token;
    ours.core.tasks.extend(cx.shared.config.crash_secret.is_some().then_some(Task::SendToken));
    let theirs = rekeying.theirs.as_ref();
    if let Some(winner) = theirs.filter(|theirs| lowest < theirs.lowest).map(|theirs| theirs.id) {
        mark_redundant(&mut ours, winner);
        ours.core.tasks.push_back(Task::DeleteIkeSa);
        cx.shared.successions.push_back(Succession::Born(Box::new(ours)));
        return hand_over(state, core, cx, winner, rekeying.requests);
    }
    cx.shared.successions.push_back(Succession::Born(Box::new(ours)));
    if let Some(loser) = theirs {
        cx.shared.successions.push_back(Succession::Redundant { id: loser.id, heir: id });
    }
    hand_over(state, core, cx, id, rekeying.requests);
    core.tasks.push_front(Task::DeleteIkeSa);
}

/// A new IKE SA between the same peers.
fn bear(state: &Established, core: &Core, cx: &mut Context<'_>, role: Role, spis: (IkeSpi, IkeSpi), sk: Sk) -> IkeSa {
    let id = cx.shared.next_ike_sa();
    let mut heir = Core::new(id, role, core.connection.clone(), spis.0, (core.local, core.remote), cx.now);
    heir.responder_spi = Some(spis.1);
    heir.first_role = core.first_role;
    heir.nat = core.nat;
    heir.assigned = core.assigned.clone();
    heir.extensions = core.extensions;
    heir.ppk = core.ppk.clone();
    heir.mobility = core.mobility.clone();
    heir.gets_through = core.gets_through;
    heir.step(cx, &format!("derive keys: {}", sk.suite.describe()), IkeKeys::names(&sk.suite));
    let established = Established::heir(&mut heir, cx, sk, state.authenticated.clone());
    IkeSa { core: heir, state: State::Established(established) }
}

fn mark_redundant(sa: &mut IkeSa, heir: IkeSaId) {
    if let State::Established(established) = &mut sa.state {
        established.heir = Some(heir);
    }
}

/// Everything goes to the heir; what is left waits for the Delete.
fn hand_over(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, heir: IkeSaId, requests: Vec<RequestId>) {
    state.heir = Some(heir);
    cx.shared.count("ike_sas_rekeyed");
    cx.shared.event(Event::IkeSaRekeyed { old: core.id, new: heir });
    let mut requests = requests;
    let mut of_ike_sa = |task: &Task| match task {
        Task::RekeyIkeSa { request } => {
            requests.extend(*request);
            true
        }
        Task::ExpireIkeSa | Task::Probe | Task::SendToken => true,
        _ => false,
    };
    let tasks = core::mem::take(&mut core.tasks).into_iter().filter(|task| !of_ike_sa(task)).collect();
    let later = core::mem::take(&mut core.later).into_iter().filter(|(_, task)| !of_ike_sa(task)).collect();
    let estate = Estate {
        children: core::mem::take(&mut state.children),
        tasks,
        later,
        wanted: core::mem::take(&mut core.wanted),
        terminating: core::mem::take(&mut core.terminating),
    };
    cx.shared.successions.push_back(Succession::Inherits { heir, estate });
    for request in requests {
        cx.shared.ike_rekeyed(request, Ok(heir));
    }
    core.later.push((cx.now + PATIENCE, Task::DeleteIkeSa));
}

/// Our request was refused, or came to nothing.
fn failed(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, rekeying: Rekeying, failure: Failure) {
    let Rekeying { requests, theirs, .. } = rekeying;
    if let Some(theirs) = theirs {
        return hand_over(state, core, cx, theirs.id, requests);
    }
    let crossed = matches!(state.answering, Some(Answering::RekeyIkeSa(_)));
    if crossed || failure.is_refusal(NotifyType::TEMPORARY_FAILURE) {
        let requests = requests.iter().map(|request| Some(*request)).chain(requests.is_empty().then_some(None));
        return requests.for_each(|request| state.ask_later(core, cx, Task::RekeyIkeSa { request }));
    }
    cx.fail(Some(&core.connection.name), core.remote, failure.clone());
    if failure.is_refusal(NotifyType::NO_ADDITIONAL_SAS) {
        state.make_way(core, cx);
    } else if requests.is_empty() {
        // It is due by its lifetime.
        core.try_later(cx, Task::RekeyIkeSa { request: None });
    }
    for request in requests {
        cx.shared.ike_rekeyed(request, Err(failure.clone()));
    }
}

/// The IKE SA ends while we rekey it.
pub(crate) fn abandon(cx: &mut Context<'_>, rekeying: Rekeying) {
    for request in rekeying.requests {
        cx.shared.ike_rekeyed(request, Err(Failure::Local("the IKE SA was deleted".into())));
    }
}

/// The IKE SA has ended at the peer. If that has made another in its place, it did not notice that we wanted to as well: we "forget about"
/// our own request (sections 2.8.2 and 2.25.2), and the other inherits.
pub(crate) fn on_end_by_peer(state: &mut Established, core: &mut Core, cx: &mut Context<'_>) {
    match state.active.take() {
        Some(Active::RekeyIkeSa(rekeying)) if rekeying.theirs.is_some() => {
            let Rekeying { requests, theirs, .. } = *rekeying;
            if let Some(theirs) = theirs {
                hand_over(state, core, cx, theirs.id, requests);
            }
        }
        other => state.active = other,
    }
}

/// The peer wants a new IKE SA in place of this one.
pub(crate) fn on_request(mut state: Established, core: &mut Core, cx: &mut Context<'_>, message: &Protected) -> State {
    core.window.accepted();
    match consider(&state, core, cx, message) {
        Ok(agreeing) => {
            state.answering = Some(Answering::RekeyIkeSa(Box::new(agreeing)));
            State::Established(state)
        }
        Err(fault) => responder::refuse(state, core, cx, &message.header, fault),
    }
}

fn consider(state: &Established, core: &Core, cx: &mut Context<'_>, message: &Protected) -> Result<Agreeing, Fault> {
    let temporary = |text: &str| Err(Fault::Temporary(text.into()));
    if state.heir.is_some() || core.is_ending() {
        return temporary("the IKE SA is being replaced or deleted");
    }
    if matches!(&state.active, Some(Active::RekeyIkeSa(rekeying)) if rekeying.theirs.is_some()) {
        return temporary("the IKE SA has been rekeyed already");
    }
    if state.makes_way {
        return temporary("another IKE SA is being set up in place of this one");
    }
    // Section 2.25.1.
    if matches!(state.active, Some(Active::CreateChild(_) | Active::DeleteChild { .. } | Active::DeleteSpi(_))) || state.is_installing_any()
    {
        return temporary("a Child SA is being created, rekeyed or deleted");
    }
    let (sa, ke, nonce) = find::offer(&message.payloads).ok_or_else(|| Fault::Syntax("SA, KE or nonce is missing".into()))?;
    let provider = cx.shared.provider;
    let chosen = negotiate::choose_ike(&core.connection.proposals, sa, ke.method(), &provider)
        .ok_or_else(|| Fault::Proposals(diagnosis::proposals(&core.connection.proposals, sa, diagnosis::IKE_TYPES)))?;
    let method = chosen.suite.method;
    if ke.method() != Some(method) {
        return Err(Fault::Method(method));
    }
    let offered = sa.proposals.iter().find(|proposal| proposal.number == chosen.answer.number);
    let peer_spi = offered.and_then(Proposal::ike_spi).ok_or_else(|| Fault::Syntax("the proposal has no legal SPI".into()))?;
    let nonces = [nonce.octets().to_vec(), init::nonce(cx)];
    let job = cx.shared.job(core.id, Job::GenerateAndAgree { method, peer_public: ke.data.clone() });
    Ok(Agreeing { job, header: message.header, chosen, peer_spi, nonces })
}

/// The key exchange of the peer's request is computed: `<--  HDR, SK {SA, Nr, KEr}`
pub(crate) fn on_agreed(
    mut state: Established,
    core: &mut Core,
    cx: &mut Context<'_>,
    agreeing: Agreeing,
    result: Result<(Vec<u8>, Secret), CryptoError>,
) -> State {
    let Agreeing { header, chosen, peer_spi, nonces: [initiator_nonce, responder_nonce], .. } = agreeing;
    let spi = cx.ike_spi();
    let derived = result.and_then(|(public, shared)| {
        let said =
            Exchanged { initiator_nonce: &initiator_nonce, responder_nonce: &responder_nonce, initiator_spi: peer_spi, responder_spi: spi };
        Ok((public, state.sk.keys.rekey(&chosen.suite, &said, &shared, cx.shared.key_log())?))
    });
    let (public, keys) = match derived {
        Ok(derived) => derived,
        Err(error) => {
            resume(&mut state, core, cx);
            return responder::refuse(state, core, cx, &header, error.into());
        }
    };
    let answer = Proposal { spi: spi.value().to_be_bytes().to_vec(), ..chosen.answer };
    let mut payloads = alloc::vec![Payload::Sa(Sa { proposals: alloc::vec![answer] })];
    payloads.extend(Nonce::new(responder_nonce.clone()).map(Payload::Nonce));
    payloads.push(Payload::KeyExchange(KeyExchange::new(chosen.suite.method, public)));
    payloads.extend(crash::token(cx.shared, (peer_spi, spi)));
    if let Err(failure) = core.respond(cx, &state.sk, &header, &payloads) {
        return State::Established(state).close(core, cx, Some(failure));
    }
    let theirs = bear(&state, core, cx, Role::Responder, (peer_spi, spi), Sk { suite: chosen.suite, keys });
    let id = theirs.core.id;
    cx.shared.successions.push_back(Succession::Born(Box::new(theirs)));
    match &mut state.active {
        Some(Active::RekeyIkeSa(rekeying)) => rekeying.theirs = Some(Heir { id, lowest: initiator_nonce.min(responder_nonce) }),
        _ => hand_over(&mut state, core, cx, id, Vec::new()),
    }
    resume(&mut state, core, cx);
    State::Established(state)
}

/// The peer's rekeying is answered: ours, which waited for that, goes on.
fn resume(state: &mut Established, core: &mut Core, cx: &mut Context<'_>) {
    let waits = |active: &mut Active| matches!(active, Active::RekeyIkeSa(rekeying) if matches!(rekeying.stage, Stage::Agreed(..)));
    let Some(Active::RekeyIkeSa(rekeying)) = state.active.take_if(waits) else { return };
    let rekeying = *rekeying;
    if let Stage::Agreed(shared, accepted) = rekeying.stage {
        settle(state, core, cx, Rekeying { stage: Stage::Requested(None), ..rekeying }, accepted, &shared);
    }
}

impl Estate {
    /// Of these Child SAs.
    pub(crate) fn children(&self) -> impl Iterator<Item = &Child> {
        self.children.iter()
    }

    /// There is nobody to inherit it.
    pub(crate) fn disband(self, core: &mut Core, cx: &mut Context<'_>) {
        for child in self.children.into_iter().filter(Child::is_live) {
            cx.shared.forget_child(&child);
            cx.shared.output(Output::Retire { child: child.id, linger: Duration::ZERO });
        }
        core.tasks.extend(self.tasks);
        core.later.extend(self.later);
        core.wanted.extend(self.wanted);
        core.release(cx, &Failure::Local("the IKE SA was deleted".into()));
        for request in self.terminating {
            cx.shared.terminated(request);
        }
    }
}

impl IkeSa {
    /// Takes over what another IKE SA had.
    pub(crate) fn inherit(&mut self, cx: &mut Context<'_>, estate: Estate) {
        let State::Established(established) = &mut self.state else {
            return estate.disband(&mut self.core, cx);
        };
        established.children.extend(estate.children);
        self.core.tasks.extend(estate.tasks);
        self.core.later.extend(estate.later);
        self.core.wanted.extend(estate.wanted);
        self.core.terminating.extend(estate.terminating);
        self.go_on(cx);
    }

    /// It was made in vain: if the peer does not delete it, we do.
    pub(crate) fn made_in_vain(&mut self, cx: &mut Context<'_>, heir: IkeSaId) {
        mark_redundant(self, heir);
        self.core.later.push((cx.now + PATIENCE, Task::DeleteIkeSa));
    }
}
