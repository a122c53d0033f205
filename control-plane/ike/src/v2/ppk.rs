//! Post-quantum preshared keys (RFC 8784): a secret beside the key exchange is stirred into SK_d, SK_pi and SK_pr, so that who breaks the key
//! exchange some day has no Child SA's keys.
//!
//! ```text
//! initiator                                          responder
//! ---------                                          ---------
//! HDR, SAi1, KEi, Ni, N(USE_PPK)  -->
//!                              <--  HDR, SAr1, KEr, Nr, N(USE_PPK)
//! HDR, SK {IDi, AUTH, SAi2, TSi, TSr, N(PPK_IDENTITY, PPK_ID) [, N(NO_PPK_AUTH)]}  -->
//!                              <--  HDR, SK {IDr, AUTH, SAr2, TSi, TSr [, N(PPK_IDENTITY)]}
//! ```
//!
//! With EAP the notifications stand beside the AUTH that comes after it; what AUTH is there before knows no PPK. NO_PPK_AUTH is what AUTH would
//! be without a PPK: an initiator that can do without one lets the responder do without it, too. Of several rounds (RFC 4739) the initiator's
//! first AUTH and the answer to it decide; in the rounds after that SK_pi and SK_pr are what they have become.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ike_wire::{Auth, Notify, NotifyType, Payload, PpkIdType, ppk_id};

use crate::context::Context;
use crate::diagnosis;
use crate::error::{Failure, Fault};
use crate::io::{Event, PpkStatus};
use crate::policy::ConnectionRef;
use crate::v2::find::notification;
use crate::v2::init::{saying, says};
use crate::v2::{Core, Sk};

/// What an IKE SA has of this.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mixing {
    /// Both sides have said USE_PPK, and the initiator's first AUTH has yet to decide.
    open: bool,
    /// A responder owes the initiator PPK_IDENTITY.
    confirm: bool,
    /// An initiator's authentication data without the PPK.
    without: Option<Vec<u8>>,
    status: PpkStatus,
}

impl Mixing {
    /// How it stands, for operators.
    pub(crate) const fn status(&self) -> &PpkStatus {
        &self.status
    }

    /// The name of the PPK in the keys.
    pub(crate) fn used(&self) -> Option<&str> {
        if let PpkStatus::Used(id) = &self.status { Some(id) } else { None }
    }
}

/// An initiator's USE_PPK: "whether or not the use of the PPK is mandatory".
///
/// # Errors
/// Where one is demanded and none is named.
pub(crate) fn check(connection: &ConnectionRef) -> Result<(), Failure> {
    if is_required(connection) && connection.own_ppk().is_none() {
        return Err(Failure::Local(format!("connection {} demands a PPK, and ppk_id names none to begin with", connection.name)));
    }
    Ok(())
}

/// The same as a payload.
pub(crate) fn offer(connection: &ConnectionRef) -> Option<Payload> {
    connection.own_ppk().map(|_| saying(NotifyType::USE_PPK))
}

/// An initiator has the answer to it.
///
/// # Errors
/// The responder knows no PPKs, and without one there shall be no IKE SA.
pub(crate) fn answered(core: &mut Core, payloads: &[Payload]) -> Result<(), Failure> {
    core.ppk.open = says(payloads, NotifyType::USE_PPK) && core.connection.own_ppk().is_some();
    if is_required(&core.connection) && !core.ppk.open {
        return Err(Failure::Incompatible(NotifyType::USE_PPK, diagnosis::peer_without_ppk(&core.connection)));
    }
    Ok(())
}

/// A responder has read the request.
pub(crate) fn offered(core: &mut Core, payloads: &[Payload]) {
    core.ppk.open = says(payloads, NotifyType::USE_PPK);
}

/// A responder's USE_PPK, where one of the connections that the initiator may turn out to have knows a PPK.
pub(crate) fn accept(core: &mut Core, candidates: &[ConnectionRef]) -> Option<Payload> {
    core.ppk.open &= candidates.iter().any(|connection| connection.ppk.is_some());
    core.ppk.open.then(|| saying(NotifyType::USE_PPK))
}

/// An initiator is about to make AUTH: the PPK is stirred in, if AUTH without it is not to be made before.
///
/// # Errors
/// The PPK has gone from the configuration meanwhile.
pub(crate) fn before_proof(core: &Core, cx: &mut Context<'_>, sk: &mut Sk) -> Result<(), Failure> {
    if !core.ppk.open || sk.keys.is_stirred() || !(is_required(&core.connection) || core.ppk.without.is_some()) {
        return Ok(());
    }
    let connection = core.connection.clone();
    let gone = || Failure::Local(format!("the PPK of connection {} is gone from the configuration", connection.name));
    let (id, ppk) = connection.own_ppk().ok_or_else(gone)?;
    sk.keys.stir(ppk)?;
    step(core, cx, id);
    Ok(())
}

/// An initiator has made AUTH: whether it is that without the PPK, so that another one has to be made with it.
pub(crate) fn keep(core: &mut Core, sk: &Sk, proof: &[Payload]) -> bool {
    let Some(auth) = crate::v2::find::auth(proof).filter(|_| core.ppk.open && !sk.keys.is_stirred()) else { return false };
    core.ppk.without = Some(auth.data.clone());
    true
}

/// `N(PPK_IDENTITY, PPK_ID) [, N(NO_PPK_AUTH)]`, where the keys have a PPK.
pub(crate) fn claim(core: &mut Core, sk: &Sk) -> Vec<Payload> {
    let Some((id, _)) = core.connection.own_ppk().filter(|_| sk.keys.is_stirred()) else { return Vec::new() };
    let identity = Notify::new(NotifyType::PPK_IDENTITY, ppk_id(PpkIdType::FIXED, id.as_bytes()));
    let without = core.ppk.without.take().map(|data| Notify::new(NotifyType::NO_PPK_AUTH, data));
    core::iter::once(identity).chain(without).map(Payload::Notify).collect()
}

/// An initiator has the last response: whether the responder has used the PPK.
///
/// # Errors
/// It has not, and without one there shall be no IKE SA.
pub(crate) fn conclude(core: &mut Core, cx: &mut Context<'_>, sk: &mut Sk, payloads: &[Payload]) -> Result<(), Failure> {
    if !sk.keys.is_stirred() {
        return Ok(());
    }
    core.ppk.open = false;
    let id = core.connection.own_ppk().map(|(id, _)| id.to_string()).unwrap_or_default();
    // "the content of the received PPK_IDENTITY (if any) MUST be ignored"
    if says(payloads, NotifyType::PPK_IDENTITY) {
        sk.keys.settle();
        core.ppk.status = PpkStatus::Used(id);
        return Ok(());
    }
    if is_required(&core.connection) {
        return Err(Failure::Unauthenticated(diagnosis::ppk_not_used(&core.connection, &id)));
    }
    sk.keys.unstir();
    without(core, cx, format!("the peer does not know the PPK '{id}'"));
    Ok(())
}

/// The responder knows which connection the initiator has.
///
/// # Errors
/// It demands a PPK, and USE_PPK was not said.
pub(crate) fn admit(core: &Core) -> Result<(), Fault> {
    if is_required(&core.connection) && !core.ppk.open {
        return Err(Fault::Authentication(diagnosis::peer_without_ppk(&core.connection)));
    }
    Ok(())
}

/// The responder has an AUTH of the initiator's: with which PPK, if any, it has to be checked (table 1 of section 3); gives back what to check.
///
/// # Errors
/// The PPK is not known here, and one of the sides does not do without.
pub(crate) fn choose(core: &mut Core, cx: &mut Context<'_>, sk: &mut Sk, payloads: &[Payload], auth: &Auth) -> Result<Auth, Fault> {
    if !core::mem::take(&mut core.ppk.open) {
        return Ok(auth.clone());
    }
    let named = notification(payloads, |kind| kind == NotifyType::PPK_IDENTITY);
    let named = named.ok_or_else(|| Fault::Authentication(diagnosis::no_ppk_identity(&core.connection)))?;
    let shown = ike_wire::describe::ppk_identity(&named.data);
    let connection = core.connection.clone();
    if let Some((id, ppk)) = connection.ppk_of_peer(&named.data) {
        sk.keys.stir(ppk).map_err(|error| Fault::Authentication(diagnosis::cannot_prove(&error.into())))?;
        sk.keys.settle();
        step(core, cx, id);
        core.ppk.status = PpkStatus::Used(id.to_string());
        core.ppk.confirm = true;
        return Ok(auth.clone());
    }
    let fallback = notification(payloads, |kind| kind == NotifyType::NO_PPK_AUTH).filter(|_| !is_required(&connection));
    let Some(fallback) = fallback else {
        return Err(Fault::Authentication(diagnosis::unknown_ppk(&connection, &shown)));
    };
    without(core, cx, format!("the peer's PPK, {shown}, is none of this connection"));
    // "the authentication method is still indicated in the AUTH payload"
    Ok(Auth { method: auth.method, data: fallback.data.clone() })
}

/// A responder's "PPK_IDENTITY notification with no data to indicate that the PPK is used in the exchange".
pub(crate) fn confirmation(core: &mut Core) -> Option<Payload> {
    core::mem::take(&mut core.ppk.confirm).then(|| saying(NotifyType::PPK_IDENTITY))
}

/// The IKE SA is there: "if a PPK was configured but was not used for a particular IKE SA, then implementations SHOULD audit this event"
/// (section 6).
pub(crate) fn audit(core: &mut Core, cx: &mut Context<'_>) {
    if core.connection.ppk.is_none() {
        return;
    }
    if core.ppk.status == PpkStatus::NotWanted {
        core.ppk.status = PpkStatus::Missing("the peer has not said that it uses one".into());
    }
    if let PpkStatus::Missing(why) = &core.ppk.status {
        cx.shared.event(Event::PpkMissing { ike_sa: core.id, connection: core.connection.name.clone(), why: why.clone() });
    }
}

fn without(core: &mut Core, cx: &mut Context<'_>, why: String) {
    core.step(cx, "no PPK", alloc::vec![why.clone(), "AUTH is that of NO_PPK_AUTH".to_string()]);
    core.ppk.status = PpkStatus::Missing(why);
}

fn step(core: &Core, cx: &mut Context<'_>, id: &str) {
    let lines = ["SK_d", "SK_pi", "SK_pr"].map(|key| format!("{key} = prf+ (PPK, {key}')"));
    core.step(cx, &format!("stir in PPK '{id}'"), lines.to_vec());
}

fn is_required(connection: &ConnectionRef) -> bool {
    connection.ppk.as_ref().is_some_and(|ppk| ppk.required)
}
