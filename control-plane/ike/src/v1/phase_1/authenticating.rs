//! Each side shows who it is: who does it first, what comes after, and how it ends where one is not believed.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use ike_wire::v1::{ExchangeType, Header, Message, Notify, NotifyType, Payload, Protocol, parse_padded};

use super::proof::{self, Proof};
use super::verification::{self, Doubt, Met, Verification};
use super::{Keyed, Mode, spi_of};
use crate::context::Context;
use crate::diagnosis;
use crate::error::Failure;
use crate::io::{Datagram, JobId, JobResult};
use crate::v1::keys::Iv;
use crate::v1::{Core, State, admission, aggressive, informational, main_mode, trace_incoming};
use crate::v2::keys::Role;

/// Waits for a signature to be made or checked.
pub(crate) struct Authenticating {
    pub(crate) job: JobId,
    pub(crate) keyed: Keyed,
    step: Step,
}

/// What the job is for.
enum Step {
    /// Ours is being made. The peer has shown who it is before, or does it next.
    Signing { pending: proof::Pending, peer: Option<Met> },
    /// The peer's is being checked.
    Verifying(verification::Pending),
}

/// We show who we are: at once, or when the signature is made.
pub(crate) fn prove(keyed: Keyed, core: &mut Core, cx: &mut Context<'_>, peer: Option<Met>) -> State {
    match proof::begin(&keyed, core, cx) {
        Ok(Proof::Made(proof)) => on_proof(keyed, core, cx, peer, proof),
        Ok(Proof::Signing(job, pending)) => {
            State::Authenticating(Box::new(Authenticating { job, keyed, step: Step::Signing { pending, peer } }))
        }
        Err(failure) => State::Failing.close(core, cx, Some(failure)),
    }
}

/// ID, certificates, and HASH or SIG are there.
fn on_proof(mut keyed: Keyed, core: &mut Core, cx: &mut Context<'_>, peer: Option<Met>, proof: Vec<Payload>) -> State {
    let sent = match core.mode {
        Mode::Main => main_mode::send_proof(&mut keyed, core, cx, proof),
        Mode::Aggressive => aggressive::send_proof(&mut keyed, core, cx, proof),
    };
    match (sent, peer) {
        (Ok(()), Some(met)) => establish(keyed, core, cx, met),
        (Ok(()), None) => State::AwaitId(Box::new(keyed)),
        (Err(failure), _) => State::Failing.close(core, cx, Some(failure)),
    }
}

/// Opens an encrypted message of phase 1: its payloads, and the IV behind it.
pub(crate) fn open(keyed: &Keyed, message: &Message<'_>) -> Option<(Vec<Payload>, Iv)> {
    let opened = keyed.keys.decrypt(&keyed.iv, message.body).ok()?;
    let (payloads, _) = parse_padded(message.first, &opened.text).ok()?;
    Some((payloads, opened.next))
}

/// A message that cannot be read, as that of a peer with another key.
pub(crate) fn on_noise(keyed: Box<Keyed>, core: &mut Core, cx: &mut Context<'_>) -> State {
    cx.shared.count("messages_unauthentic");
    let peer = keyed.peer(core);
    core.refused.get_or_insert_with(|| Failure::Unauthenticated(diagnosis::wrong_key(&core.connection, &peer)));
    State::AwaitId(keyed)
}

/// The peer shows who it is, in a message that could be read; `next` is the IV behind it.
pub(crate) fn on_peer(
    mut keyed: Keyed,
    core: &mut Core,
    cx: &mut Context<'_>,
    datagram: &Datagram,
    (header, payloads): (&Header, &[Payload]),
    next: Iv,
) -> State {
    let verification = verification::begin(&keyed, core, cx, datagram, payloads);
    if !matches!(verification, Err(Doubt::Noise(_))) {
        // From here on the peer itself speaks.
        keyed.iv = next;
        core.phase_1.received(&datagram.payload);
        trace_incoming(cx, core, datagram, header, payloads);
    }
    match verification {
        Ok(Verification::Done(met)) => on_verified(keyed, core, cx, met),
        Ok(Verification::Checking(job, pending)) => {
            State::Authenticating(Box::new(Authenticating { job, keyed, step: Step::Verifying(pending) }))
        }
        // What a wrong key opens is noise: nobody can tell who sent it, so that the right message may still come.
        Err(Doubt::Noise(failure)) if (core.mode, core.role) != (Mode::Aggressive, Role::Initiator) => {
            cx.shared.count("messages_unauthentic");
            core.refused = Some(failure);
            State::AwaitId(Box::new(keyed))
        }
        // But the half of the key exchange that this message had cannot be taken back.
        Err(Doubt::Noise(failure)) => {
            cx.shared.count("messages_unauthentic");
            refuse_in_the_clear(core, cx);
            State::Failing.close(core, cx, Some(failure))
        }
        Err(Doubt::Refused(failure, kind)) => {
            informational::end(core, cx, (&keyed.keys, &keyed.iv), Some(kind));
            State::Failing.close(core, cx, Some(failure))
        }
    }
}

/// The signature is made or checked.
pub(crate) fn on_job(state: Authenticating, core: &mut Core, cx: &mut Context<'_>, result: JobResult) -> State {
    let Authenticating { job, keyed, step } = state;
    match (step, result) {
        (Step::Signing { pending, peer }, JobResult::Signed(result)) => match pending.done(core, result) {
            Ok(proof) => on_proof(keyed, core, cx, peer, proof),
            Err(failure) => {
                informational::end(core, cx, (&keyed.keys, &keyed.iv), Some(NotifyType::AUTHENTICATION_FAILED));
                State::Failing.close(core, cx, Some(failure))
            }
        },
        (Step::Verifying(pending), JobResult::Verified(result)) => match pending.done(result) {
            Ok(met) => on_verified(keyed, core, cx, met),
            Err(failure) => {
                informational::end(core, cx, (&keyed.keys, &keyed.iv), Some(NotifyType::AUTHENTICATION_FAILED));
                State::Failing.close(core, cx, Some(failure))
            }
        },
        (step, _) => State::Authenticating(Box::new(Authenticating { job, keyed, step })),
    }
}

/// The peer is who it says: what is left is our own proof, unless that came first.
fn on_verified(keyed: Keyed, core: &mut Core, cx: &mut Context<'_>, met: Met) -> State {
    core.last_inbound = cx.now;
    core.refused = None;
    (core.local, core.remote) = met.ends;
    // Where a user follows, it is the user who is there or not.
    let is_all = keyed.suite.authentication.user() != Some(core.role.other());
    if is_all && cx.shared.v1.is_taken(cx.now, core, met.shown.identity(), met.initial_contact) {
        let failure = Failure::Unauthenticated(diagnosis::not_unique(&core.connection, met.shown.identity()));
        informational::end(core, cx, (&keyed.keys, &keyed.iv), Some(NotifyType::AUTHENTICATION_FAILED));
        return State::Failing.close(core, cx, Some(failure));
    }
    core.nat = met.nat.unwrap_or(core.nat);
    if core.shows_first() { establish(keyed, core, cx, met) } else { prove(keyed, core, cx, Some(met)) }
}

/// The responder of aggressive mode has to read the last message before it can read anything else: peers that do it in several threads lose what comes
/// right behind.
const HEAD_START: Duration = Duration::from_millis(100);

fn establish(keyed: Keyed, core: &mut Core, cx: &mut Context<'_>, met: Met) -> State {
    if (core.mode, core.role) == (Mode::Aggressive, Role::Initiator) {
        let tasks = core::mem::take(&mut core.tasks);
        core.later.extend(tasks.into_iter().map(|task| (cx.now + HEAD_START, task)));
    }
    let Keyed { suite, keys, iv, .. } = keyed;
    let Met { shown, initial_contact, .. } = met;
    admission::begin(core, cx, (suite, keys, iv), shown, initial_contact)
}

/// Tells a peer that phase 1 ends here where there are no keys in common.
fn refuse_in_the_clear(core: &mut Core, cx: &mut Context<'_>) {
    let spi = core.cookies().map(spi_of).unwrap_or_default();
    let notify = Payload::Notify(Notify::new(Protocol::ISAKMP, spi, NotifyType::AUTHENTICATION_FAILED, Vec::new()));
    let message_id = core.next_message_id();
    let header = core.header(ExchangeType::INFORMATIONAL, message_id, false);
    let _sent = core.send(cx, &header, &[notify]);
}
