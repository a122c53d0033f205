//! IKE_AUTH (RFC 7296 sections 1.2 and 2.15).
//!
//! A shared key is at hand; making and checking signatures are jobs, so that between a message and its answer there may be two of them. By then
//! others may have taken the SPIs that were there when the request came: the responder waits for more.
//!
//! ```text
//! initiator                                          responder
//! ---------                                          ---------
//! (signs)
//! AwaitAuthResponse  HDR, SK {IDi, [CERT,] [CERTREQ,] [IDr,] AUTH, SAi2, TSi, TSr}  -->
//!                                                    (verifies) (signs)
//!                                                    Installing
//!                 <--   HDR, SK {IDr, [CERT,] AUTH, SAr2, TSi, TSr}
//! (verifies)
//! Established                                        Established
//! ```

pub(crate) mod eap;
pub(crate) mod initiator;
mod proof;
pub(crate) mod responder;
pub(crate) mod rounds;
mod verification;

use alloc::boxed::Box;
use alloc::vec::Vec;

use ike_wire::{CertificateEncoding, CertificateRequest, Identification, Notify, NotifyType, Payload};
use ipsec_types::Identity;

use crate::config::{Childless, RemoteAuth, Unique};
use crate::context::Context;
use crate::diagnosis;
use crate::error::Fault;
use crate::io::{JobId, JobResult};
use crate::peers::{self, Superseded};
use crate::v2::find::{self, notification};
use crate::v2::init::WantedChild;
use crate::v2::keys::Role;
use crate::v2::{Core, Protected, Sk, State};

pub(crate) use self::eap::Conversing;
pub(crate) use self::initiator::AwaitResponse;
pub(crate) use self::responder::{AwaitRequest, Installing};
pub(crate) use self::rounds::Rounds;
pub(crate) use self::verification::PeerAuthenticated;

/// What was said in IKE_SA_INIT, as AUTH covers it.
pub(crate) struct Transcript {
    pub(crate) request: Vec<u8>,
    pub(crate) response: Vec<u8>,
    pub(crate) initiator_nonce: Vec<u8>,
    pub(crate) responder_nonce: Vec<u8>,
}

impl Transcript {
    /// What the AUTH of `role` covers: its own message, then the other side's nonce (section 2.15).
    fn of(&self, role: Role) -> (&[u8], &[u8]) {
        match role {
            Role::Initiator => (&self.request, &self.responder_nonce),
            Role::Responder => (&self.response, &self.initiator_nonce),
        }
    }
}

/// Waits for a signature to be made or checked, or for an SPI.
pub(crate) struct Authenticating {
    pub(crate) sk: Sk,
    transcript: Transcript,
    /// Of a responder the first request, after the first round.
    first: Option<Protected>,
    /// None while it waits for an SPI.
    job: Option<JobId>,
    step: Step,
}

/// What comes after the job.
enum Step {
    /// An initiator's signature: the request.
    Request { child: WantedChild, pending: proof::Pending },
    /// A responder has signed, and said this.
    Response { child: WantedChild, message: Protected, pending: verification::Pending },
    /// An initiator has signed, and said this.
    Initiator { message: Protected, pending: verification::Pending },
    /// A responder's signature, for an initiator that asks for EAP: the first EAP packet, then the response.
    Opening { message: Protected, pending: proof::Pending },
    /// A responder's signature: the Child SA or another round, then the response.
    Answer { message: Protected, pending: proof::Pending },
    /// A responder needs an SPI for its Child SA; the proof of who it is is made.
    Child { message: Protected, authenticated: PeerAuthenticated, proof: Vec<Payload> },
}

impl Authenticating {
    /// Whose IKE SA it is.
    pub(crate) const fn role(&self) -> Role {
        match self.step {
            Step::Request { .. } | Step::Response { .. } => Role::Initiator,
            Step::Initiator { .. } | Step::Opening { .. } | Step::Answer { .. } | Step::Child { .. } => Role::Responder,
        }
    }

    /// Whether it waits for an SPI.
    pub(crate) const fn needs_spi(&self) -> bool {
        matches!(self.step, Step::Child { .. })
    }

    /// The Child SA that an initiator wants.
    pub(crate) const fn wanted(&self) -> Option<&WantedChild> {
        match &self.step {
            Step::Request { child, .. } | Step::Response { child, .. } => Some(child),
            Step::Initiator { .. } | Step::Opening { .. } | Step::Answer { .. } | Step::Child { .. } => None,
        }
    }

    /// The same.
    pub(crate) const fn wanted_mut(&mut self) -> Option<&mut WantedChild> {
        match &mut self.step {
            Step::Request { child, .. } | Step::Response { child, .. } => Some(child),
            Step::Initiator { .. } | Step::Opening { .. } | Step::Answer { .. } | Step::Child { .. } => None,
        }
    }
}

/// The signature is made or checked.
pub(crate) fn on_job(state: Authenticating, core: &mut Core, cx: &mut Context<'_>, job: JobId, result: JobResult) -> State {
    if state.job != Some(job) {
        return State::Authenticating(Box::new(state));
    }
    let Authenticating { sk, transcript, first, job, step } = state;
    match (step, result) {
        (Step::Request { child, pending }, JobResult::Signed(result)) => {
            initiator::on_signed(AwaitResponse { sk, child, transcript, asks_for_eap: false }, core, cx, pending, result)
        }
        (Step::Response { child, message, pending }, JobResult::Verified(result)) => {
            let asks_for_eap = find::eap(&message.payloads).is_some();
            let state = AwaitResponse { sk, child, transcript, asks_for_eap };
            let result = pending.done(core, result).map_err(Into::into);
            initiator::on_verified(state, core, cx, &message, result)
        }
        (Step::Initiator { message, pending }, JobResult::Verified(result)) => {
            let result = pending.done(core, result);
            responder::on_verified(AwaitRequest { sk, transcript, first }, core, cx, message, result)
        }
        (Step::Opening { message, pending }, JobResult::Signed(result)) => {
            eap::responder::on_signed(AwaitRequest { sk, transcript, first }, core, cx, message, (pending, result))
        }
        (Step::Answer { message, pending }, JobResult::Signed(result)) => {
            responder::on_signed(AwaitRequest { sk, transcript, first }, core, cx, message, (pending, result))
        }
        (step, _) => State::Authenticating(Box::new(Authenticating { sk, transcript, first, job, step })),
    }
}

/// Perhaps there is an SPI now.
pub(crate) fn go_on(state: Authenticating, core: &mut Core, cx: &mut Context<'_>) -> State {
    match state {
        Authenticating { sk, transcript, step: Step::Child { message, authenticated, proof }, .. } => {
            responder::choose_child(AwaitRequest { sk, transcript, first: None }, core, cx, message, authenticated, proof)
        }
        state => State::Authenticating(Box::new(state)),
    }
}

/// Section 2.4: we have no other IKE SA with this peer, and it may forget those it believes in.
fn initial_contact(core: &Core, cx: &Context<'_>, remote: Option<&Identity>) -> Option<Payload> {
    let first = core.connection.unique != Unique::Never && !cx.shared.peers.knows(core, remote);
    first.then(|| Payload::Notify(Notify::new(NotifyType::INITIAL_CONTACT, Vec::new())))
}

/// What becomes of earlier IKE SAs between the same identities, now that the peer is authenticated: whether some make way. A
/// responder may refuse.
fn supersede(core: &Core, cx: &mut Context<'_>, authenticated: &PeerAuthenticated, payloads: &[Payload]) -> Result<bool, Fault> {
    if core.connection.unique == Unique::Never {
        return Ok(false);
    }
    let earlier = cx.shared.peers.before(core, authenticated.identity());
    if earlier.is_empty() {
        return Ok(false);
    }
    let forgotten = notification(payloads, |kind| kind == NotifyType::INITIAL_CONTACT).is_some();
    if core.connection.unique == Unique::Keep && !forgotten && core.role == Role::Responder {
        return Err(Fault::Authentication(diagnosis::not_unique(&core.connection, authenticated.identity())));
    }
    let (replaced, why) = peers::make_way(core.connection.unique, forgotten);
    let sa = (core.id, core.connection.name.as_str());
    let (title, lines, event) = peers::not_alone(sa, authenticated.identity(), &earlier, replaced, why);
    core.step(cx, title, lines);
    cx.shared.event(event);
    if replaced {
        let ending = if forgotten { Superseded::Forgotten } else { Superseded::Unwanted };
        cx.shared.peers.superseded.extend(earlier.into_iter().map(ending));
    }
    Ok(replaced)
}

/// Which certificates the peer may show: `CERTREQ` with the hashes of the keys that are trusted (section 3.7).
pub(crate) fn certificate_request<'a>(ways: impl Iterator<Item = &'a RemoteAuth>) -> Option<Payload> {
    let mut authorities: Vec<[u8; 20]> = Vec::new();
    for way in ways {
        if let RemoteAuth::PublicKey(verifier) = way {
            authorities.extend(verifier.authorities());
        }
    }
    authorities.sort_unstable();
    authorities.dedup();
    let request = CertificateRequest { encoding: CertificateEncoding::X509_SIGNATURE, authority: authorities.concat() };
    (!authorities.is_empty()).then_some(Payload::CertReq(request))
}

/// Whether an initiator leaves the Child SA to CREATE_CHILD_SA (RFC 6023): "The initiator MUST NOT send the modified IKE_AUTH request if the
/// notification was not present."
pub(crate) fn begins_childless(core: &Core) -> bool {
    let wanted = matches!(core.connection.childless, Childless::Prefer | Childless::Force);
    core.extensions.childless && wanted
}

/// Who we are, in the round under way.
fn own_id(core: &Core) -> Identification {
    Identification::from(core.own_round().0)
}
