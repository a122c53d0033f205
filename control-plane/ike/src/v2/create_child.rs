//! Child SAs: offers and answers, and the CREATE_CHILD_SA exchange (RFC 7296 sections 1.3.1, 1.3.3, 2.9, 2.17).
//!
//! ```text
//! initiator                                          responder
//! ---------                                          ---------
//! Generating, with a key exchange
//! Requested   HDR, SK {[N(REKEY_SA),] SA, Ni, [KEi,] TSi, TSr}  -->
//!                                                    Agreeing, with a key exchange
//!                                                    Installing
//!                 <--   HDR, SK {SA, Nr, [KEr,] TSi, TSr}
//! Agreeing, with a key exchange
//! Installing
//! ```

pub(crate) mod initiator;
pub(crate) mod responder;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ike_wire::{NotifyType, Payload, Proposal, Sa, TrafficSelectors};
use ipsec_types::{ChildSaId, Secret, Spi};

use crate::child::{self, Agreed, Child, ChildPhase};
use crate::config;
use crate::context::Context;
use crate::diagnosis::{self, Asked};
use crate::error::{Failure, Fault};
use crate::io::Event;
use crate::negotiate::{self, Chosen, EspSuite, KeyExchange, SelectorsNarrowed};
use crate::v2::auth::PeerAuthenticated;
use crate::v2::find::{self, notification};
use crate::v2::init::WantedChild;
use crate::v2::keys::Role;
use crate::v2::{Core, Established, Sk, Task};

/// What KEYMAT grows from (section 2.17).
#[derive(Clone, Copy)]
pub(crate) struct Seed<'a> {
    /// Ni and Nr of the exchange.
    pub(crate) nonces: [&'a [u8]; 2],
    /// The shared secret of a key exchange of its own.
    pub(crate) shared: Option<&'a Secret>,
}

/// A responder's Child SA, on its way into the data plane.
pub(crate) struct Answer {
    pub(crate) child: Child,
    /// SA, TSi, TSr.
    pub(crate) payloads: Vec<Payload>,
}

/// What a responder has chosen from an offer.
pub(crate) struct Choice {
    index: usize,
    chosen: Chosen<EspSuite>,
    selectors: SelectorsNarrowed,
    outbound: Spi,
}

/// What an initiator has read in an answer that it accepts.
pub(crate) struct Accepted {
    suite: EspSuite,
    selectors: SelectorsNarrowed,
    outbound: Spi,
}

struct Parts<'a> {
    sa: &'a Sa,
    initiator: &'a TrafficSelectors,
    responder: &'a TrafficSelectors,
}

fn parts(payloads: &[Payload]) -> Option<Parts<'_>> {
    let (initiator, responder) = (find::ts_initiator(payloads)?, find::ts_responder(payloads)?);
    Some(Parts { sa: find::sa(payloads)?, initiator, responder })
}

/// The responder's choice: the first child whose selectors and proposals meet the offer, or, for a rekeying, the one of `only`.
pub(crate) fn choose(
    children: &[config::Child],
    payloads: &[Payload],
    only: Option<usize>,
    key_exchange: KeyExchange<'_>,
) -> Result<Choice, Fault> {
    let parts = parts(payloads).ok_or_else(|| Fault::Syntax("SA, TSi or TSr is missing".into()))?;
    let (index, chosen, selectors) = pick(children, &parts, only, key_exchange)?;
    let offered = parts.sa.proposals.iter().find(|proposal| proposal.number == chosen.answer.number);
    let outbound = offered.and_then(Proposal::child_spi).ok_or_else(|| Fault::Syntax("the proposal has no legal SPI".into()))?;
    Ok(Choice { index, chosen, selectors, outbound })
}

fn pick(
    children: &[config::Child],
    parts: &Parts<'_>,
    only: Option<usize>,
    key_exchange: KeyExchange<'_>,
) -> Result<(usize, Chosen<EspSuite>, SelectorsNarrowed), Fault> {
    let mut fault = None;
    for (index, child) in children.iter().enumerate().filter(|(index, _)| only.is_none_or(|only| only == *index)) {
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

/// The responder's part: derives the keys and hands the Child SA to the data plane.
pub(crate) fn answer(
    core: &Core,
    cx: &mut Context<'_>,
    sk: &Sk,
    authenticated: &PeerAuthenticated,
    choice: Choice,
    seed: Seed<'_>,
    replaces: Option<ChildSaId>,
) -> Result<Answer, Fault> {
    let Choice { index, chosen, selectors, outbound } = choice;
    let local = |text: String| Fault::NoMoreSas(text);
    let keys = sk.keys.child(chosen.suite.encryption, chosen.suite.integrity, seed.shared, seed.nonces)?;
    let leased = cx.shared.take_spi().ok_or_else(|| local("no SPI is free".into()))?;
    let inbound = leased.spi;
    let answer = Proposal { spi: inbound.value().to_be_bytes().to_vec(), ..chosen.answer };
    let payloads = alloc::vec![
        Payload::Sa(Sa { proposals: alloc::vec![answer] }),
        Payload::TsInitiator(selectors.remote().iter().copied().collect()),
        Payload::TsResponder(selectors.local().iter().copied().collect()),
    ];
    let (suite, role, contested) = (chosen.suite, Role::Responder, false);
    match child::install(
        cx,
        core,
        authenticated,
        Agreed { child: index, inbound, outbound, suite, selectors, keys, role, replaces, contested },
    ) {
        Ok(child) => Ok(Answer { child, payloads }),
        Err(failure) => {
            cx.shared.return_spi(leased);
            Err(local(failure.to_string()))
        }
    }
}

/// The initiator's check of an answer against what was offered.
fn check(
    core: &Core,
    cx: &Context<'_>,
    wanted: &WantedChild,
    payloads: &[Payload],
    key_exchange: KeyExchange<'_>,
) -> Result<Accepted, Failure> {
    let misbehaved = |text: &str| Failure::PeerMisbehaved(text.to_string());
    if !cx.shared.holds(wanted.spi) {
        return Err(Failure::Local("the data plane was attached anew during the negotiation".into()));
    }
    let parts = parts(payloads).ok_or_else(|| misbehaved("an answer without SA, TSi or TSr"))?;
    let configured = core.connection.child(wanted.index).ok_or_else(|| Failure::Local("no such child".into()))?;
    let suite = negotiate::accept_esp(&configured.proposals, parts.sa, wanted.spi.spi, key_exchange)
        .ok_or_else(|| Failure::PeerMisbehaved(diagnosis::not_offered(&configured.proposals, parts.sa)))?;
    let outbound = parts.sa.proposals.first().and_then(Proposal::child_spi).ok_or_else(|| misbehaved("an answer without SPI"))?;
    let (ours, theirs) = ((&configured.local_selectors[..], &configured.remote_selectors[..]), (parts.initiator, parts.responder));
    let selectors =
        negotiate::narrowed_by_peer(ours, theirs).ok_or_else(|| Failure::PeerMisbehaved(diagnosis::wider(configured, theirs)))?;
    Ok(Accepted { suite, selectors, outbound })
}

/// What an accepted answer replaces.
#[derive(Clone, Copy)]
struct Replaces {
    child: Option<ChildSaId>,
    contested: bool,
}

/// The initiator's part: derives the keys and hands the Child SA to the data plane.
fn accept(
    core: &Core,
    cx: &mut Context<'_>,
    (sk, authenticated): (&Sk, &PeerAuthenticated),
    wanted: &WantedChild,
    accepted: Accepted,
    seed: Seed<'_>,
    replaces: Replaces,
) -> Result<Child, Failure> {
    if !cx.shared.holds(wanted.spi) {
        return Err(Failure::Local("the data plane was attached anew during the negotiation".into()));
    }
    let Accepted { suite, selectors, outbound } = accepted;
    let keys = sk.keys.child(suite.encryption, suite.integrity, seed.shared, seed.nonces)?;
    let (inbound, role) = (wanted.spi.spi, Role::Initiator);
    let (replaces, contested) = (replaces.child, replaces.contested);
    child::install(
        cx,
        core,
        authenticated,
        Agreed { child: wanted.index, inbound, outbound, suite, selectors, keys, role, replaces, contested },
    )
}

/// The refusal in an answer without a Child SA.
fn refusal(core: &Core, wanted: &WantedChild, payloads: &[Payload]) -> Option<Failure> {
    let kind = notification(payloads, NotifyType::is_error).filter(|_| parts(payloads).is_none())?.kind;
    let asked = core.connection.child(wanted.index).map_or(Asked::Nothing, Asked::Child);
    Some(diagnosis::refused(&core.connection, kind, asked))
}

impl Established {
    /// The peer has answered the Child SA of IKE_AUTH. Who waits for it is still to be told of a failure.
    pub(crate) fn take_answer(
        &mut self,
        core: &mut Core,
        cx: &mut Context<'_>,
        wanted: &WantedChild,
        payloads: &[Payload],
        nonces: [&[u8]; 2],
    ) -> Result<(), Failure> {
        let seed = Seed { nonces, shared: None };
        let result = match refusal(core, wanted, payloads) {
            Some(refusal) => Err(refusal),
            None => check(core, cx, wanted, payloads, KeyExchange::Ignored).and_then(|accepted| {
                accept(core, cx, (&self.sk, &self.authenticated), wanted, accepted, seed, Replaces { child: None, contested: false })
            }),
        };
        match result {
            Ok(child) => {
                self.children.push(child);
                Ok(())
            }
            Err(failure) => {
                give_back(core, cx, wanted, parts(payloads).is_some());
                cx.fail(Some(&core.connection.name), core.remote, failure.clone());
                Err(failure)
            }
        }
    }

    /// CREATE_CHILD_SA has failed for good. An IKE SA without any Child SA makes way for a new one: its IKE_AUTH asks for no key exchange
    /// of the Child SA's own and may succeed where this cannot.
    pub(crate) fn cannot_create(&mut self, core: &mut Core, cx: &mut Context<'_>, index: usize, failure: &Failure) {
        if self.children.iter().any(Child::is_live) {
            core.wanted_child_failed(cx, index, failure);
        } else {
            self.make_way(core, cx);
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

/// An SPI that no SA was installed with. `answered`: the peer has installed its half, and is told to remove it by the SPI that it knows.
fn give_back(core: &mut Core, cx: &mut Context<'_>, wanted: &WantedChild, answered: bool) {
    if answered {
        core.tasks.push_back(Task::DeleteSpi { spi: wanted.spi.spi, unused: Some(wanted.spi) });
    } else {
        cx.shared.return_spi(wanted.spi);
    }
}

/// The data plane has answered an Install.
pub(crate) fn on_installed(
    mut state: Established,
    core: &mut Core,
    cx: &mut Context<'_>,
    id: ChildSaId,
    result: Result<(), String>,
) -> crate::v2::State {
    let Some(position) = state.children.iter().position(|child| child.id == id) else { return crate::v2::State::Established(state) };
    let installed = result.is_ok();
    match result {
        Ok(()) => state.installed(core, cx, position),
        Err(text) => {
            let child = state.children.remove(position);
            let answering = state.answering.as_ref().is_some_and(|answering| answering.installs(id));
            state.install_failed(core, cx, &child, text, answering);
        }
    }
    initiator::on_installed(&mut state, core, cx, id, installed);
    responder::on_installed(state, core, cx, id, installed)
}

impl Established {
    fn installed(&mut self, core: &mut Core, cx: &mut Context<'_>, position: usize) {
        let Some(child) = self.children.get_mut(position) else { return };
        // One that was lost is wanted, too, by the policy.
        let wanted = child.role == Role::Initiator && core.wanted.contains(&child.policy);
        if matches!(child.phase, ChildPhase::Installing { .. }) {
            child.phase = ChildPhase::Installed;
        }
        child::in_use(cx, child, child.role);
        let (id, policy, ike_sa) = (child.id, child.policy, core.id);
        cx.shared.count("child_sas_installed");
        match child.predecessor {
            Some(old) => cx.shared.event(Event::ChildSaRekeyed { ike_sa, old, new: id }),
            None => cx.shared.event(Event::ChildSaInstalled { ike_sa, child: id }),
        }
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
