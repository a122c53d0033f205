//! Several rounds of authentication in IKE_AUTH (RFC 4739): each side shows one thing after the other, each with an identity of its own. "The
//! IKE_AUTH phase is considered successful only if all the individual authentication exchanges complete successfully."
//!
//! ```text
//! initiator                                                        responder
//! ---------                                                        ---------
//!                          <--  IKE_SA_INIT response with N(MULTIPLE_AUTH_SUPPORTED)
//! HDR, SK {IDi, AUTH, SAi2, TSi, TSr, N(MULTIPLE_AUTH_SUPPORTED), N(ANOTHER_AUTH_FOLLOWS)}  -->
//!                          <--  HDR, SK {IDr, AUTH, [N(ANOTHER_AUTH_FOLLOWS)]}
//! HDR, SK {IDi, AUTH}, for EAP HDR, SK {IDi}, with nothing left to show HDR, SK {}  -->
//!                          <--  HDR, SK {[IDr, AUTH,] SAr2, TSi, TSr}
//! ```

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use ike_wire::{Identification, NotifyType, Payload};
use ipsec_types::Identity;

use super::verification::Shown;
use crate::config::{Connection, LocalAuth, RemoteAuth};
use crate::context::Context;
use crate::diagnosis;
use crate::error::Fault;
use crate::v2::Core;
use crate::v2::init::{saying, says};

/// How far both sides are. Without RFC 4739 each has one round.
#[derive(Default)]
pub(crate) struct Rounds {
    /// Rounds of ours, with the one under way.
    begun: usize,
    /// Who the peer has said it is last.
    pub(super) peer: Option<Identification>,
    /// What the peer has shown.
    shown: Vec<Shown>,
}

impl Rounds {
    /// We begin to show the next thing.
    pub(super) fn begin(&mut self) {
        self.begun += 1;
    }

    /// Whether we have begun.
    pub(super) const fn is_first(&self) -> bool {
        self.begun <= 1
    }

    /// What the peer has shown.
    pub(super) fn shown(&self) -> &[Shown] {
        &self.shown
    }

    /// Whether we have something else to show.
    pub(super) fn more_of_ours(&self, connection: &Connection) -> bool {
        self.begun < connection.local_rounds().count()
    }

    /// Whether the peer has.
    pub(super) fn more_of_the_peers(&self, connection: &Connection) -> bool {
        self.shown.len() < connection.remote_rounds().count()
    }
}

impl Core {
    /// Who we say we are in the round under way, and how we show it.
    pub(super) fn own_round(&self) -> (&Identity, &LocalAuth) {
        let connection: &Connection = &self.connection;
        let first = (&connection.local_identity, &connection.local_auth);
        connection.local_rounds().nth(self.rounds.begun.saturating_sub(1)).unwrap_or(first)
    }

    /// Who the peer must be in its next round, and how it must show it; `None` where it has shown everything.
    pub(super) fn peer_round(&self) -> Option<(Option<&Identity>, &RemoteAuth)> {
        let connection: &Connection = &self.connection;
        connection.remote_rounds().nth(self.rounds.shown.len())
    }

    /// The peer has shown one thing, and says whether it has more; `payloads` came with it.
    ///
    /// # Errors
    /// Where that is not what is configured.
    pub(super) fn count_round(&mut self, cx: &mut Context<'_>, shown: Shown, payloads: &[Payload]) -> Result<(), Fault> {
        let of = self.connection.remote_rounds().count();
        if of > 1 {
            let title = format!("the peer is authenticated in round {} of {of}", self.rounds.shown.len() + 1);
            self.step(cx, &title, alloc::vec![shown.identity().to_string()]);
        }
        self.rounds.shown.push(shown);
        let more = says(payloads, NotifyType::ANOTHER_AUTH_FOLLOWS);
        if more == self.rounds.more_of_the_peers(&self.connection) {
            return Ok(());
        }
        Err(Fault::Authentication(diagnosis::other_rounds(&self.connection, self.rounds.shown.len(), more)))
    }

    /// `N(ANOTHER_AUTH_FOLLOWS)`, with AUTH, if we have more to show.
    pub(super) fn another_follows(&self) -> Option<Payload> {
        self.rounds.more_of_ours(&self.connection).then(|| saying(NotifyType::ANOTHER_AUTH_FOLLOWS))
    }
}

/// `N(MULTIPLE_AUTH_SUPPORTED)`, where that is of any use.
pub(crate) fn supported<'a>(mut connections: impl Iterator<Item = &'a Connection>) -> Option<Payload> {
    connections.any(Connection::has_rounds).then(|| saying(NotifyType::MULTIPLE_AUTH_SUPPORTED))
}
