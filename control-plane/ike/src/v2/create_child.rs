//! Child SAs: offers, answers, and the CREATE_CHILD_SA exchange (RFC 7296 sections 1.3.1, 2.9, 2.17).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ike_wire::rules::Form;
use ike_wire::{ExchangeType, Header, Nonce, Notify, NotifyType, Payload, Proposal, Sa, TrafficSelectors};
use ipsec_types::{ChildSaId, Secret};

use crate::child::{self, Agreed, Child, ChildPhase};
use crate::config;
use crate::context::{Context, LeasedSpi};
use crate::diagnosis::{self, Asked};
use crate::error::{Failure, Fault, Phase, Reaction};
use crate::io::Event;
use crate::negotiate::{self, Chosen, EspSuite, KeyExchange, SelectorsNarrowed};
use crate::v2::auth::PeerAuthenticated;
use crate::v2::init::{self, WantedChild, notification};
use crate::v2::keys::Role;
use crate::v2::{Active, Core, Established, Protected, Sk, State, Task, informational};

/// A message that offers or answers a Child SA.
pub(crate) struct Offer<'a> {
    pub(crate) payloads: &'a [Payload],
    /// Ni and Nr of the exchange that KEYMAT grows from.
    pub(crate) nonces: [&'a [u8]; 2],
    /// The shared secret of a key exchange of its own.
    pub(crate) shared: Option<&'a Secret>,
    pub(crate) key_exchange: KeyExchange,
}

/// A responder's Child SA, on its way into the data plane.
pub(crate) struct Answer {
    pub(crate) child: Child,
    /// SA, TSi, TSr.
    pub(crate) payloads: Vec<Payload>,
}

/// An initiator's request under way.
pub(crate) struct Requested {
    pub(crate) wanted: WantedChild,
    nonce: Vec<u8>,
}

/// A responder's answer that waits for the data plane.
pub(crate) struct Answering {
    child: ChildSaId,
    header: Header,
    payloads: Vec<Payload>,
}

struct Parts<'a> {
    sa: &'a Sa,
    initiator: &'a TrafficSelectors,
    responder: &'a TrafficSelectors,
}

fn parts(payloads: &[Payload]) -> Option<Parts<'_>> {
    let sa = payloads.iter().find_map(|payload| if let Payload::Sa(sa) = payload { Some(sa) } else { None })?;
    let initiator = payloads.iter().find_map(|payload| if let Payload::TsInitiator(ts) = payload { Some(ts) } else { None })?;
    let responder = payloads.iter().find_map(|payload| if let Payload::TsResponder(ts) = payload { Some(ts) } else { None })?;
    Some(Parts { sa, initiator, responder })
}

/// The responder's part: picks the child, narrows, and hands the Child SA to the data plane.
pub(crate) fn answer(
    core: &Core,
    cx: &mut Context<'_>,
    sk: &Sk,
    authenticated: &PeerAuthenticated,
    offer: &Offer<'_>,
) -> Result<Answer, Fault> {
    let parts = parts(offer.payloads).ok_or_else(|| Fault::Syntax("SA, TSi or TSr is missing".into()))?;
    let (index, chosen, selectors) = pick(&core.connection.children, &parts, offer.key_exchange)?;
    let offered = parts.sa.proposals.iter().find(|proposal| proposal.number == chosen.answer.number);
    let outbound = offered.and_then(Proposal::child_spi).ok_or_else(|| Fault::Syntax("the proposal has no legal SPI".into()))?;
    let local = |text: String| Fault::NoMoreSas(text);
    let keys = sk.keys.child(chosen.suite.encryption, chosen.suite.integrity, offer.shared, offer.nonces);
    let keys = keys.map_err(|error| local(error.to_string()))?;
    let leased = cx.shared.take_spi().ok_or_else(|| local("no SPI is free".into()))?;
    let inbound = leased.spi;
    let answer = Proposal { spi: inbound.value().to_be_bytes().to_vec(), ..chosen.answer };
    let payloads = alloc::vec![
        Payload::Sa(Sa { proposals: alloc::vec![answer] }),
        Payload::TsInitiator(selectors.remote().iter().copied().collect()),
        Payload::TsResponder(selectors.local().iter().copied().collect()),
    ];
    let agreed = Agreed { child: index, inbound, outbound, suite: chosen.suite, selectors, keys, role: Role::Responder };
    match child::install(cx, core, authenticated, agreed) {
        Ok(child) => Ok(Answer { child, payloads }),
        Err(failure) => {
            cx.shared.return_spi(leased);
            Err(local(failure.to_string()))
        }
    }
}

/// The first child whose selectors and proposals meet the offer.
fn pick(
    children: &[config::Child],
    parts: &Parts<'_>,
    key_exchange: KeyExchange,
) -> Result<(usize, Chosen<EspSuite>, SelectorsNarrowed), Fault> {
    let mut fault = None;
    for (index, child) in children.iter().enumerate() {
        // The initiator's side is remote here.
        let (ours, theirs) = ((&child.local_selectors[..], &child.remote_selectors[..]), (parts.responder, parts.initiator));
        let Some(selectors) = negotiate::narrow(ours, theirs) else { continue };
        match negotiate::choose_esp(&child.proposals, parts.sa, key_exchange) {
            Some(chosen) => return Ok((index, chosen, selectors)),
            // Selectors that meet say that this child was meant: its proposals are the better reason.
            None => fault = Some(Fault::Proposals(diagnosis::proposals(&child.proposals, parts.sa, key_exchange.compared()))),
        }
    }
    Err(fault.unwrap_or_else(|| Fault::Selectors(diagnosis::selectors(children, (parts.responder, parts.initiator)))))
}

/// The initiator's part: checks the answer against what was offered, and hands the Child SA to the data plane.
fn accept(
    core: &Core,
    cx: &mut Context<'_>,
    sk: &Sk,
    authenticated: &PeerAuthenticated,
    wanted: &WantedChild,
    offer: &Offer<'_>,
) -> Result<Child, Failure> {
    let misbehaved = |text: &str| Failure::PeerMisbehaved(text.to_string());
    if !cx.shared.holds(wanted.spi) {
        return Err(Failure::Local("the data plane was attached anew during the negotiation".into()));
    }
    let parts = parts(offer.payloads).ok_or_else(|| misbehaved("an answer without SA, TSi or TSr"))?;
    let configured = core.connection.child(wanted.index).ok_or_else(|| Failure::Local("no such child".into()))?;
    let suite = negotiate::accept_esp(&configured.proposals, parts.sa, wanted.spi.spi, offer.key_exchange)
        .ok_or_else(|| Failure::PeerMisbehaved(diagnosis::not_offered(&configured.proposals, parts.sa)))?;
    let outbound = parts.sa.proposals.first().and_then(Proposal::child_spi).ok_or_else(|| misbehaved("an answer without SPI"))?;
    let (ours, theirs) = ((&configured.local_selectors[..], &configured.remote_selectors[..]), (parts.initiator, parts.responder));
    let selectors =
        negotiate::narrowed_by_peer(ours, theirs).ok_or_else(|| Failure::PeerMisbehaved(diagnosis::wider(configured, theirs)))?;
    let keys = sk.keys.child(suite.encryption, suite.integrity, offer.shared, offer.nonces);
    let keys = keys.map_err(|error| Failure::Local(error.to_string()))?;
    let agreed = Agreed { child: wanted.index, inbound: wanted.spi.spi, outbound, suite, selectors, keys, role: Role::Initiator };
    child::install(cx, core, authenticated, agreed)
}

impl Established {
    /// The peer has answered a Child SA that was asked for, in IKE_AUTH or CREATE_CHILD_SA. Who waits for it is still to be told of a
    /// failure.
    pub(crate) fn take_answer(
        &mut self,
        core: &mut Core,
        cx: &mut Context<'_>,
        wanted: &WantedChild,
        offer: &Offer<'_>,
    ) -> Result<(), Failure> {
        let refusal = notification(offer.payloads, NotifyType::is_error).map(|notify| notify.kind);
        let has_answer = parts(offer.payloads).is_some();
        let result = match refusal {
            Some(kind) if !has_answer => {
                let asked = core.connection.child(wanted.index).map_or(Asked::Nothing, Asked::Child);
                Err(diagnosis::refused(&core.connection, kind, asked))
            }
            _ => accept(core, cx, &self.sk, &self.authenticated, wanted, offer),
        };
        match result {
            Ok(child) => {
                self.children.push(child);
                Ok(())
            }
            Err(failure) => {
                if has_answer {
                    // The peer has installed its half; it is told to remove it by the SPI that it knows.
                    core.tasks.push_back(Task::DeleteSpi { spi: wanted.spi.spi, unused: Some(wanted.spi) });
                } else {
                    cx.shared.return_spi(wanted.spi);
                }
                cx.fail(Some(&core.connection.name), core.remote, failure.clone());
                Err(failure)
            }
        }
    }

    /// CREATE_CHILD_SA has failed for good. An IKE SA without any Child SA makes way for a new one: its IKE_AUTH asks for no key exchange
    /// of the Child SA's own and may succeed where this cannot.
    pub(crate) fn cannot_create(&self, core: &mut Core, cx: &mut Context<'_>, index: usize, failure: &Failure) {
        if self.children.iter().any(Child::is_live) {
            return core.wanted_child_failed(cx, index, failure);
        }
        core.tasks.retain(|task| !matches!(task, Task::CreateChild(_)));
        core.tasks.push_front(Task::DeleteIkeSa);
        for policy in core::mem::take(&mut core.wanted) {
            cx.shared.wants.again(policy);
        }
    }

    /// A responder's first Child SA, already installed.
    pub(crate) fn adopt(&mut self, core: &mut Core, cx: &mut Context<'_>, mut child: Child) {
        child.phase = ChildPhase::Installed;
        child::in_use(cx, &child, Role::Responder);
        cx.shared.count("child_sas_installed");
        cx.shared.event(Event::ChildSaInstalled { ike_sa: core.id, child: child.id });
        self.children.push(child);
    }
}

/// `HDR, SK {SA, Ni, TSi, TSr}  -->`. Gives back whether the task could begin.
pub(crate) fn send_request(
    state: &mut Established,
    core: &mut Core,
    cx: &mut Context<'_>,
    index: usize,
    spi: LeasedSpi,
) -> Result<(), Failure> {
    let wanted = WantedChild { index, spi };
    let configured = core.connection.child(index).ok_or_else(|| Failure::Local("no such child".into()))?;
    let nonce = init::nonce(cx);
    let offered = negotiate::offer_esp(&configured.proposals, spi.spi, KeyExchange::Refused);
    if offered.proposals.is_empty() {
        return Err(Failure::Local("perfect forward secrecy is not available for further Child SAs".into()));
    }
    let mut payloads = alloc::vec![Payload::Sa(offered)];
    payloads.extend(Nonce::new(nonce.clone()).map(Payload::Nonce));
    payloads.push(Payload::TsInitiator(configured.local_selectors.iter().copied().collect()));
    payloads.push(Payload::TsResponder(configured.remote_selectors.iter().copied().collect()));
    core.request(cx, &state.sk, ExchangeType::CREATE_CHILD_SA, &payloads)?;
    state.active = Some(Active::CreateChild(Requested { wanted, nonce }));
    Ok(())
}

/// `<--  HDR, SK {SA, Nr, TSi, TSr}`, or a refusal.
pub(crate) fn on_response(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, requested: &Requested, message: &Protected) {
    let nonce = message.payloads.iter().find_map(|payload| if let Payload::Nonce(nonce) = payload { Some(nonce.octets()) } else { None });
    let nonces = [&requested.nonce[..], nonce.unwrap_or_default()];
    let offer = Offer { payloads: &message.payloads, nonces, shared: None, key_exchange: KeyExchange::Refused };
    let index = requested.wanted.index;
    match state.take_answer(core, cx, &requested.wanted, &offer) {
        Err(failure @ Failure::Refused(NotifyType::NO_PROPOSAL_CHOSEN | NotifyType::NO_ADDITIONAL_SAS, _)) => {
            state.cannot_create(core, cx, index, &failure);
        }
        Err(failure) => core.wanted_child_failed(cx, index, &failure),
        Ok(()) => {}
    }
}

/// The responder's side. Rekeying, of either kind, is refused: the peer may set up a new SA instead (section 1.3).
pub(crate) fn on_request(mut state: Established, core: &mut Core, cx: &mut Context<'_>, message: &Protected) -> State {
    if !cx.shared.can_install() {
        cx.shared.lease_spis();
        cx.shared.count("messages_ignored");
        return State::Established(state);
    }
    core.window.accepted();
    let result = answer_request(&mut state, core, cx, message);
    let fault = match result {
        Ok(answering) => {
            state.answering = Some(answering);
            return State::Established(state);
        }
        Err(fault) => fault,
    };
    let failure = Failure::from(fault.clone());
    let (notify, close) = match fault.reaction(Phase::Established) {
        Reaction::Notify(notify) => (notify, false),
        Reaction::NotifyAndClose(notify) => (notify, true),
        Reaction::Silence => return State::Established(state),
    };
    cx.fail(Some(&core.connection.name), core.remote, failure.clone());
    match core.respond(cx, &state.sk, &message.header, &[Payload::Notify(notify)]) {
        Ok(()) if close => informational::gone(State::Established(state), core, cx, Some(failure)),
        Ok(()) => State::Established(state),
        Err(failure) => State::Established(state).close(core, cx, Some(failure)),
    }
}

fn answer_request(state: &mut Established, core: &Core, cx: &mut Context<'_>, message: &Protected) -> Result<Answering, Fault> {
    if message.form != Form::ChildSa {
        return Err(Fault::NoMoreSas("the peer wants to rekey the IKE SA".into()));
    }
    if let Some(rekeyed) = notification(&message.payloads, |kind| kind == NotifyType::REKEY_SA) {
        let known = rekeyed.child_spi().map(|spi| (spi, state.children.iter().any(|child| child.outbound == spi)));
        return Err(match known {
            Some((spi, false)) => Fault::NoSuchChild(spi),
            _ => Fault::NoMoreSas("the peer wants to rekey a Child SA".into()),
        });
    }
    let nonce = message.payloads.iter().find_map(|payload| if let Payload::Nonce(nonce) = payload { Some(nonce.octets()) } else { None });
    let nonce = nonce.ok_or_else(|| Fault::Syntax("the nonce is missing".into()))?;
    let own = init::nonce(cx);
    let offer = Offer { payloads: &message.payloads, nonces: [nonce, &own], shared: None, key_exchange: KeyExchange::Refused };
    let Answer { child, mut payloads } = answer(core, cx, &state.sk, &state.authenticated, &offer)?;
    payloads.extend(Nonce::new(own.clone()).map(Payload::Nonce));
    let answering = Answering { child: child.id, header: message.header, payloads };
    state.children.push(child);
    Ok(answering)
}

/// The data plane has answered an Install.
pub(crate) fn on_installed(
    mut state: Established,
    core: &mut Core,
    cx: &mut Context<'_>,
    id: ChildSaId,
    result: Result<(), String>,
) -> State {
    let Some(position) = state.children.iter().position(|child| child.id == id) else { return State::Established(state) };
    let answering = state.answering.take_if(|answering| answering.child == id);
    let response = match result {
        Ok(()) => {
            state.installed(core, cx, position);
            answering.map(|answering| (answering.header, answering.payloads))
        }
        Err(text) => {
            let child = state.children.remove(position);
            state.install_failed(core, cx, &child, text, answering.is_some());
            let refusal = alloc::vec![Payload::Notify(Notify::new(NotifyType::NO_ADDITIONAL_SAS, Vec::new()))];
            answering.map(|answering| (answering.header, refusal))
        }
    };
    let sent = response.map(|(header, payloads)| core.respond(cx, &state.sk, &header, &payloads));
    match sent {
        Some(Err(failure)) => State::Established(state).close(core, cx, Some(failure)),
        _ => State::Established(state),
    }
}

impl Established {
    fn installed(&mut self, core: &mut Core, cx: &mut Context<'_>, position: usize) {
        let Some(child) = self.children.get_mut(position) else { return };
        let wanted = matches!(child.phase, ChildPhase::Installing { wanted: true });
        if matches!(child.phase, ChildPhase::Installing { .. }) {
            child.phase = ChildPhase::Installed;
        }
        child::in_use(cx, child, if wanted { Role::Initiator } else { Role::Responder });
        let (id, policy) = (child.id, child.policy);
        cx.shared.count("child_sas_installed");
        cx.shared.event(Event::ChildSaInstalled { ike_sa: core.id, child: id });
        if wanted {
            core.wanted.retain(|wanted| *wanted != policy);
            cx.shared.child_installed(policy, core.id, id);
        }
    }

    fn install_failed(&mut self, core: &mut Core, cx: &mut Context<'_>, child: &Child, text: String, answering: bool) {
        let failure = Failure::Local(format!("the data plane refused the Child SA: {text}"));
        cx.shared.children.remove(&child.id);
        cx.fail(Some(&core.connection.name), core.remote, failure.clone());
        if !answering {
            core.tasks.push_back(Task::DeleteSpi { spi: child.inbound, unused: None });
        }
        if matches!(child.phase, ChildPhase::Installing { wanted: true }) {
            core.child_failed(cx, child.policy, &failure);
        }
    }
}
