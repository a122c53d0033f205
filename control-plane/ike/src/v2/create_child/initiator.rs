//! CREATE_CHILD_SA for a new or rekeyed Child SA, as its initiator.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ike_wire::rules::Form;
use ike_wire::{ExchangeType, KeyExchange as KePayload, Nonce, NotifyType, Payload, Sa};
use ipsec_types::{ChildSaId, KeyExchangeMethod, Secret};

use super::{Accepted, Seed, accept, check, ends, give_back, parts, refusal};
use crate::child::{ChildPhase, Replaces};
use crate::context::Context;
use crate::diagnosis::{self, Asked};
use crate::error::Failure;
use crate::io::{Job, JobId, JobResult};
use crate::negotiate::{self, KeyExchange};
use crate::provider::PrivateKey;
use crate::v2::init::{self, WantedChild};
use crate::v2::rekey_child::{self, Rekey};
use crate::v2::{Active, Core, Established, Protected, Task, find};

/// An exchange of ours, from the first thought of it until the Child SA is in the data plane.
pub(crate) struct Creating {
    pub(crate) wanted: WantedChild,
    pub(crate) rekey: Option<Rekey>,
    nonce: Vec<u8>,
    /// That of KEi.
    method: Option<KeyExchangeMethod>,
    /// INVALID_KE_PAYLOAD seen so far.
    detours: u8,
    /// SPIs that the peer has deleted and we do not know: of its answer, perhaps, which is late.
    deleted: Vec<u32>,
    stage: Stage,
}

enum Stage {
    /// A key pair is being made.
    Generating(JobId),
    /// The request is out.
    Requested(Option<Box<dyn PrivateKey>>),
    /// The shared secret is being computed.
    Agreeing { job: JobId, accepted: Accepted, responder_nonce: Vec<u8> },
    /// The data plane has not answered yet.
    Installing(Born),
    /// What comes of the peer's rekeying of the same SA is not known yet.
    Installed(Born),
}

/// Our new Child SA.
pub(crate) struct Born {
    pub(crate) child: ChildSaId,
    /// The lower of the two nonces it was made with.
    pub(crate) lowest: Vec<u8>,
}

/// Deleted SPIs that are remembered: a peer whose answer is late has little to delete.
const MOST_DELETED: usize = 16;
/// INVALID_KE_PAYLOAD that are followed before we give up.
const MOST_DETOURS: u8 = 3;

impl Creating {
    /// Whether our Child SA is installed, and only the outcome of the peer's rekeying is missing.
    pub(crate) const fn is_installed(&self) -> bool {
        matches!(self.stage, Stage::Installed(_))
    }

    /// The peer has deleted an SA that is not known here.
    pub(crate) fn note_deleted(&mut self, spi: u32) {
        if self.deleted.len() < MOST_DELETED {
            self.deleted.push(spi);
        }
    }

    /// Whether an inbound SPI is taken that no SA of ours has.
    pub(crate) const fn holds_spi(&self) -> bool {
        matches!(self.stage, Stage::Generating(_) | Stage::Requested(_) | Stage::Agreeing { .. })
    }

    /// The rekeying and its new Child SA, where that is installed.
    pub(crate) fn into_installed(self) -> Option<(Rekey, Born)> {
        match (self.rekey, self.stage) {
            (Some(rekey), Stage::Installed(born)) => Some((rekey, born)),
            _ => None,
        }
    }
}

/// Begins: where a key exchange is offered, the key pair comes first.
pub(crate) fn begin(
    state: &mut Established,
    core: &mut Core,
    cx: &mut Context<'_>,
    wanted: WantedChild,
    rekey: Option<Rekey>,
) -> Result<(), Failure> {
    let offered = offer(core, cx, &wanted);
    let method = negotiate::methods(&offered).next();
    let creating =
        Creating { wanted, rekey, nonce: init::nonce(cx), method, detours: 0, deleted: Vec::new(), stage: Stage::Requested(None) };
    if offered.proposals.is_empty() {
        let failure = Failure::Local("no configured proposal can be offered: the algorithms are not available".into());
        failed(state, core, cx, creating, failure, false);
        return Ok(());
    }
    prepare(state, core, cx, creating)
}

/// What we offer for the Child SA: without any proposal where the algorithms are not available.
fn offer(core: &Core, cx: &Context<'_>, wanted: &WantedChild) -> Sa {
    let available = cx.shared.provider.methods();
    let proposals = core.connection.child(wanted.index).map(|configured| &configured.proposals[..]).unwrap_or_default();
    negotiate::offer_child(proposals, wanted.spi.spi, KeyExchange::Own { sent: None, available: &available })
}

fn prepare(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, creating: Creating) -> Result<(), Failure> {
    let Some(method) = creating.method else { return send_request(state, core, cx, creating, None) };
    let job = cx.shared.job(core.id, Job::Generate { method });
    wait(state, Creating { stage: Stage::Generating(job), ..creating });
    Ok(())
}

fn wait(state: &mut Established, creating: Creating) {
    state.active = Some(Active::CreateChild(Box::new(creating)));
}

/// `HDR, SK {[N(REKEY_SA),] [N(USE_TRANSPORT_MODE),] SA, Ni, [KEi,] TSi, TSr}  -->`
fn send_request(
    state: &mut Established,
    core: &mut Core,
    cx: &mut Context<'_>,
    creating: Creating,
    key: Option<(Box<dyn PrivateKey>, Vec<u8>)>,
) -> Result<(), Failure> {
    let mut payloads = Vec::new();
    if let Some(rekey) = &creating.rekey {
        let Some(old) = state.child(rekey.old).filter(|child| child.is_replaceable()) else {
            // The peer has deleted or replaced it in the meantime.
            cx.shared.return_spi(creating.wanted.spi);
            rekey_child::overtaken(state, cx, creating.rekey);
            return Ok(());
        };
        payloads.push(Payload::Notify(ike_wire::Notify::about(old.protocol(), old.inbound, NotifyType::REKEY_SA)));
    }
    let Some(configured) = core.connection.child(creating.wanted.index) else {
        failed(state, core, cx, creating, Failure::Local("no such child".into()), false);
        return Ok(());
    };
    let (local, remote) = match ends::offer(core, configured) {
        Ok(selectors) => selectors,
        Err(failure) => {
            failed(state, core, cx, creating, failure, false);
            return Ok(());
        }
    };
    payloads.extend(ends::mode_notification(configured));
    payloads.push(Payload::Sa(offer(core, cx, &creating.wanted)));
    payloads.extend(Nonce::new(creating.nonce.clone()).map(Payload::Nonce));
    let (private, public) = key.unzip();
    payloads.extend(creating.method.zip(public).map(|(method, public)| Payload::KeyExchange(KePayload::new(method, public))));
    payloads.push(Payload::TsInitiator(local.into_iter().collect()));
    payloads.push(Payload::TsResponder(remote.into_iter().collect()));
    core.request(cx, &state.sk, ExchangeType::CREATE_CHILD_SA, &payloads)?;
    wait(state, Creating { stage: Stage::Requested(private), ..creating });
    Ok(())
}

/// A job is done.
pub(crate) fn on_job(
    state: &mut Established,
    core: &mut Core,
    cx: &mut Context<'_>,
    creating: Creating,
    id: JobId,
    result: JobResult,
) -> Result<(), Failure> {
    match (creating.stage, result) {
        (Stage::Generating(job), JobResult::Generated(result)) if job == id => {
            let creating = Creating { stage: Stage::Requested(None), ..creating };
            match result {
                Ok(key) => return send_request(state, core, cx, creating, Some(key)),
                Err(error) => failed(state, core, cx, creating, error.into(), false),
            }
        }
        (Stage::Agreeing { job, accepted, responder_nonce }, JobResult::Agreed(result)) if job == id => {
            let creating = Creating { stage: Stage::Requested(None), ..creating };
            match result {
                Ok(shared) => install(state, core, cx, creating, accepted, &responder_nonce, Some(&shared)),
                Err(error) => {
                    failed(state, core, cx, creating, error.clone().into(), true);
                    core.give_up_over(&error);
                }
            }
        }
        (stage, _) => wait(state, Creating { stage, ..creating }),
    }
    Ok(())
}

/// `<--  HDR, SK {[N(USE_TRANSPORT_MODE),] SA, Nr, [KEr,] TSi, TSr}`, another method, or a refusal.
pub(crate) fn on_response(
    state: &mut Established,
    core: &mut Core,
    cx: &mut Context<'_>,
    creating: Creating,
    message: &Protected,
) -> Result<(), Failure> {
    let Stage::Requested(private) = creating.stage else { return Ok(()) };
    let creating = Creating { stage: Stage::Requested(None), ..creating };
    if message.form == Form::OtherGroup {
        return on_other_group(state, core, cx, creating, message);
    }
    let payloads = &message.payloads;
    let read = match refusal(core, &creating.wanted, payloads) {
        Some(refusal) => Err(refusal),
        None => read_answer(core, cx, &creating, payloads, private),
    };
    match read {
        Ok((accepted, responder_nonce, None)) => install(state, core, cx, creating, accepted, &responder_nonce, None),
        Ok((accepted, responder_nonce, Some(agree))) => {
            let job = cx.shared.job(core.id, agree);
            wait(state, Creating { stage: Stage::Agreeing { job, accepted, responder_nonce }, ..creating });
        }
        Err(failure) => failed(state, core, cx, creating, failure, parts(payloads).is_some()),
    }
    Ok(())
}

/// The answer, its nonce, and what is to be computed.
fn read_answer(
    core: &Core,
    cx: &Context<'_>,
    creating: &Creating,
    payloads: &[Payload],
    private: Option<Box<dyn PrivateKey>>,
) -> Result<(Accepted, Vec<u8>, Option<Job>), Failure> {
    let available = cx.shared.provider.methods();
    let key_exchange = KeyExchange::Own { sent: creating.method, available: &available };
    let accepted = check(core, cx, &creating.wanted, payloads, key_exchange)?;
    let nonce = find::nonce(payloads).ok_or_else(|| Failure::PeerMisbehaved("an answer without nonce".into()))?.octets().to_vec();
    let Some(method) = accepted.suite.method else { return Ok((accepted, nonce, None)) };
    let ke = find::key_exchange(payloads).filter(|ke| creating.method == Some(method) && ke.method() == Some(method));
    let (ke, private) = ke.zip(private).ok_or_else(|| Failure::PeerMisbehaved("an answer with another key exchange than ours".into()))?;
    Ok((accepted, nonce, Some(Job::Agree { private, peer_public: ke.data.clone() })))
}

/// Section 1.3: the responder names the method it wants; it must be one we offer.
fn on_other_group(
    state: &mut Established,
    core: &mut Core,
    cx: &mut Context<'_>,
    creating: Creating,
    message: &Protected,
) -> Result<(), Failure> {
    let offered = offer(core, cx, &creating.wanted);
    let usable = |method: &KeyExchangeMethod| {
        creating.detours < MOST_DETOURS
            && creating.method != Some(*method)
            && negotiate::methods(&offered).any(|offered| offered == *method)
    };
    match find::other_method(&message.payloads).filter(usable) {
        Some(method) => {
            // It is another exchange, with a nonce of its own: "Nonce values MUST NOT be reused" (section 3.9).
            let (nonce, detours) = (init::nonce(cx), creating.detours + 1);
            prepare(state, core, cx, Creating { method: Some(method), nonce, detours, ..creating })
        }
        None => {
            let asked = core.connection.child(creating.wanted.index).map_or(Asked::Nothing, Asked::Child);
            let failure = diagnosis::refused(&core.connection, NotifyType::INVALID_KE_PAYLOAD, asked);
            failed(state, core, cx, creating, failure, false);
            Ok(())
        }
    }
}

fn install(
    state: &mut Established,
    core: &mut Core,
    cx: &mut Context<'_>,
    creating: Creating,
    accepted: Accepted,
    responder_nonce: &[u8],
    shared: Option<&Secret>,
) {
    if creating.deleted.contains(&accepted.outbound.value()) {
        let failure = Failure::Local("the peer has deleted the Child SA already".into());
        return failed(state, core, cx, creating, failure, false);
    }
    let seed = Seed { nonces: [&creating.nonce, responder_nonce], shared };
    let rekey = creating.rekey.as_ref();
    let (child, contested) = (rekey.map(|rekey| rekey.old), rekey.is_some_and(|rekey| rekey.theirs.is_some()));
    let lost = child.and_then(|old| state.child(old)).is_some_and(|child| child.phase == ChildPhase::Lost);
    let replaces = Replaces { child, lost, contested };
    match accept(core, cx, (&state.sk, &state.authenticated), &creating.wanted, accepted, seed, replaces) {
        Ok(child) => {
            let lowest = creating.nonce.as_slice().min(responder_nonce).to_vec();
            let born = Born { child: child.id, lowest };
            state.children.push(child);
            wait(state, Creating { stage: Stage::Installing(born), ..creating });
        }
        Err(failure) => failed(state, core, cx, creating, failure, true),
    }
}

/// The data plane has answered an Install, perhaps ours.
pub(crate) fn on_installed(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, id: ChildSaId, installed: bool) {
    let ours = |active: &mut Active| matches!(active, Active::CreateChild(creating) if matches!(&creating.stage, Stage::Installing(born) if born.child == id));
    let Some(Active::CreateChild(creating)) = state.active.take_if(ours) else { return };
    let creating = *creating;
    let (Stage::Installing(born), Some(rekey)) = (creating.stage, creating.rekey) else {
        core.hurdles.passed();
        return;
    };
    if !installed {
        let failure = Failure::Local("the data plane refused the new Child SA".into());
        return rekey_child::failed(state, core, cx, rekey, failure);
    }
    core.hurdles.passed();
    if rekey.is_undecided() {
        let creating = Creating { stage: Stage::Installed(born), rekey: Some(rekey), ..creating };
        return wait(state, creating);
    }
    rekey_child::settle(state, core, cx, rekey, &born);
}

/// There will be no Child SA. `answered`: the peer has one.
fn failed(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, creating: Creating, failure: Failure, answered: bool) {
    give_back(core, cx, &creating.wanted, answered);
    if let Some(rekey) = creating.rekey {
        return rekey_child::failed(state, core, cx, rekey, failure);
    }
    let index = creating.wanted.index;
    if failure.is_refusal(NotifyType::TEMPORARY_FAILURE) {
        return state.ask_later(core, cx, Task::CreateChild(index));
    }
    cx.fail(Some(&core.connection.name), core.remote, failure.clone());
    match failure {
        Failure::Refused(NotifyType::NO_PROPOSAL_CHOSEN | NotifyType::NO_ADDITIONAL_SAS, _) => {
            state.cannot_create(core, cx, index, &failure);
        }
        failure => core.wanted_child_failed(cx, index, &failure),
    }
}
