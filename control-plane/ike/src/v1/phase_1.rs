//! What main mode and aggressive mode have in common (RFC 2409 section 5): what both sides say in the clear, the keys that come of it, and how both
//! show who they are. A shared key is at hand; making and checking signatures are jobs.

pub(crate) mod authenticating;
mod proof;
mod verification;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use ike_wire::v1::{Certificate, ExchangeType, Identification, Message, Notify, NotifyType, Payload, Protocol, Sa};
use ike_wire::{CertificateEncoding, NotifyType as Reason};
use ipsec_types::{Identity, IkeSpi, KeyExchangeMethod, Secret};

use crate::config::{RemoteAuth, Unique};
use crate::context::Context;
use crate::diagnosis;
use crate::error::{Detail, Failure};
use crate::io::Datagram;
use crate::policy::ConnectionRef;
use crate::v1::authentication::Authentication;
use crate::v1::keys::{Iv, Keys, Said, skeyid_by_psk, skeyid_by_signatures};
use crate::v1::nat::{self, Abilities};
use crate::v1::proposal::{self, Suite};
use crate::v1::{Core, State, aggressive, find, main_mode};
use crate::v2::keys::Role;

pub(crate) use self::authenticating::Authenticating;
pub(crate) use self::verification::{PeerAuthenticated, Shown};

/// The exchanges of phase 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Six messages, the identities encrypted.
    Main,
    /// Three messages, the identities in the clear.
    Aggressive,
}

impl Mode {
    /// The one of an exchange type.
    pub(crate) fn of(exchange: ExchangeType) -> Option<Self> {
        match exchange {
            ExchangeType::MAIN_MODE => Some(Self::Main),
            ExchangeType::AGGRESSIVE_MODE => Some(Self::Aggressive),
            _ => None,
        }
    }

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Main => "main mode",
            Self::Aggressive => "aggressive mode",
        }
    }
}

/// What a responder does with an initiator's first message.
pub(crate) enum First {
    /// Main mode.
    Main(Admitted),
    /// Aggressive mode, which says everything at once.
    Aggressive(Admitted, aggressive::Claim),
}

/// `HDR, SA, ...  -->`, in the mode of the connection.
///
/// # Errors
/// Why nothing can be begun.
pub(crate) fn start(core: &mut Core, cx: &mut Context<'_>, child: usize) -> Result<State, Failure> {
    if core.connection.aggressive {
        core.mode = Mode::Aggressive;
        return aggressive::start(core, cx, child);
    }
    main_mode::start(core, cx, child)
}

/// What an initiator's first message comes to.
///
/// # Errors
/// Why it is not answered, or with what.
pub(crate) fn admit(
    cx: &Context<'_>,
    candidates: &[ConnectionRef],
    message: &Message<'_>,
    payloads: &[Payload],
) -> Result<(ConnectionRef, First), Failure> {
    if Mode::of(message.header.exchange) == Some(Mode::Aggressive) {
        let (connection, admitted, claim) = aggressive::admit(cx, candidates, message, payloads)?;
        return Ok((connection, First::Aggressive(admitted, claim)));
    }
    let (connection, admitted) = admit_where(cx, candidates, message, payloads, |_| true)?;
    Ok((connection, First::Main(admitted)))
}

/// Goes on with it.
pub(crate) fn respond(core: &mut Core, cx: &mut Context<'_>, first: First, datagram: &Datagram) -> State {
    match first {
        First::Main(admitted) => main_mode::respond(core, cx, admitted, datagram),
        First::Aggressive(admitted, claim) => {
            core.mode = Mode::Aggressive;
            aggressive::respond(core, cx, admitted, claim, datagram)
        }
    }
}

/// A message of phase 1, for whoever waits for one; what has come before is answered as before.
pub(crate) fn on_message(state: State, core: &mut Core, cx: &mut Context<'_>, datagram: &Datagram, message: &Message<'_>) -> State {
    if let Some(again) = core.phase_1.repeated(&datagram.payload).map(<[u8]>::to_vec) {
        cx.shared.count("responses_retransmitted");
        core.repeat(cx, again);
        state
    } else if core.phase_1.is_last(&datagram.payload) {
        // Its answer is being made.
        cx.shared.count("messages_ignored");
        state
    } else {
        match core.mode {
            Mode::Main => main_mode::on_message(state, core, cx, datagram, message),
            Mode::Aggressive => aggressive::on_message(state, core, cx, datagram, message),
        }
    }
}

/// Octets of our nonces; between 8 and 256 (RFC 2409 section 5).
const NONCE_LEN: usize = 32;

/// What both sides have said in the clear.
pub(crate) struct Transcript {
    /// CKY-I and CKY-R.
    pub(crate) cookies: [IkeSpi; 2],
    /// SAi_b.
    pub(crate) offered: Vec<u8>,
    /// The initiator's and the responder's.
    pub(crate) shares: [Share; 2],
}

/// What one side adds to the keys.
pub(crate) struct Share {
    /// g^xi or g^xr.
    pub(crate) public: Vec<u8>,
    /// Ni_b or Nr_b.
    pub(crate) nonce: Vec<u8>,
}

impl Transcript {
    fn said(&self) -> Said<'_> {
        let [initiator, responder] = &self.shares;
        Said { cookies: self.cookies, publics: [&initiator.public, &responder.public], nonces: [&initiator.nonce, &responder.nonce] }
    }
}

impl Share {
    /// This side's, of a key pair that was made for it.
    pub(crate) fn own(cx: &mut Context<'_>, public: Vec<u8>) -> Self {
        Self { public, nonce: nonce(cx) }
    }

    /// The peer's: KE and nonce of a message.
    pub(crate) fn of(payloads: &[Payload]) -> Option<Self> {
        let nonce = find::nonce(payloads).filter(|nonce| is_nonce(nonce))?;
        Some(Self { public: find::key_exchange(payloads)?.to_vec(), nonce: nonce.to_vec() })
    }

    /// As it is said.
    pub(crate) fn payloads(&self) -> [Payload; 2] {
        [Payload::KeyExchange(self.public.clone()), Payload::Nonce(self.nonce.clone())]
    }
}

/// Phase 1 once there are keys.
pub(crate) struct Keyed {
    pub(crate) suite: Suite,
    pub(crate) keys: Keys,
    /// The IV of the next encrypted message.
    pub(crate) iv: Iv,
    /// Who the peer has said it is, where it has done so before its proof: as the initiator of aggressive mode.
    pub(crate) claimed: Option<Identification>,
    /// What stands before our proof in one message with it, as the responder of aggressive mode.
    pub(crate) opening: Vec<Payload>,
    said: Transcript,
}

impl Keyed {
    /// The keys of what was said and of the secret that both have agreed on. `peer` is whom a shared key is looked up for.
    ///
    /// # Errors
    /// Where there is no such key.
    pub(crate) fn derive(
        core: &Core,
        cx: &mut Context<'_>,
        suite: Suite,
        said: Transcript,
        shared: &Secret,
        peer: &Identity,
    ) -> Result<Self, Failure> {
        let skeyid = if suite.authentication.is_by_shared_key() {
            let psk = core.connection.psk(peer).ok_or_else(|| Failure::Unauthenticated(diagnosis::no_key(&core.connection, peer)))?;
            skeyid_by_psk(&suite, psk, said.said().nonces)
        } else {
            skeyid_by_signatures(&suite, shared, said.said().nonces)
        };
        let keys = Keys::derive(&suite, &said.said(), shared, skeyid, cx.shared.key_log())?;
        let iv = keys.first_iv(said.said().publics);
        core.step(cx, "derive keys", Keys::names(&suite));
        Ok(Self { suite, keys, iv, claimed: None, opening: Vec::new(), said })
    }

    /// Whom a shared key was looked up for.
    fn peer(&self, core: &Core) -> Identity {
        let claimed = self.claimed.as_ref().and_then(|id| id.identity().ok());
        claimed.unwrap_or_else(|| peer_of(&core.connection, core.remote.ip()))
    }

    /// HASH_I or HASH_R, over the identity of the side that it is of.
    pub(crate) fn hash_of(&self, role: Role, id: &Identification) -> Secret {
        self.keys.hash_of(role, &self.said.said(), &self.said.offered, &id.octets())
    }
}

/// A fresh nonce.
pub(crate) fn nonce(cx: &mut Context<'_>) -> Vec<u8> {
    cx.octets(NONCE_LEN)
}

/// Whether a peer's nonce has a length that is allowed.
pub(crate) fn is_nonce(octets: &[u8]) -> bool {
    (8..=256).contains(&octets.len())
}

/// SAi_b of a first message.
pub(crate) fn offered(datagram: &[u8]) -> Vec<u8> {
    Message::parse(datagram).ok().and_then(|message| find::first_body(message.body)).unwrap_or_default().to_vec()
}

/// CERTREQ: whose certificates are believed here (RFC 2408 section 3.10), where the peer is to show one. A responder does not know yet which of the
/// connections between the addresses it is.
pub(crate) fn certificate_requests(core: &Core) -> Vec<Payload> {
    /// With more than so many authorities, none is named: any will do.
    const MOST: usize = 8;
    let mut authorities: Vec<Vec<u8>> = Vec::new();
    if Authentication::of(&core.connection, core.role).and_then(|method| method.signature(core.role.other())).is_none() {
        return Vec::new();
    }
    let siblings = core.connection.siblings_of_v1(core.local.ip(), core.remote.ip()).filter(|_| core.role == Role::Responder);
    for connection in core::iter::once(core.connection.clone()).chain(siblings) {
        if let RemoteAuth::PublicKey(verifier) = &connection.remote_auth {
            authorities.extend(verifier.authority_names());
        }
    }
    authorities.sort_unstable();
    authorities.dedup();
    if authorities.len() > MOST || authorities.is_empty() {
        authorities = alloc::vec![Vec::new()];
    }
    let request = |data| Payload::CertReq(Certificate { encoding: CertificateEncoding::X509_SIGNATURE, data });
    authorities.into_iter().map(request).collect()
}

/// NAT-D: the addresses as they are here, where the peer knows what that is.
pub(crate) fn nat_detection(core: &Core, cx: &mut Context<'_>, suite: &Suite) -> impl Iterator<Item = Payload> + use<> {
    let detected = core.abilities.nat.zip(core.cookies()).map(|(spelling, cookies)| {
        let forged = core.connection.force_encapsulation.then(|| cx.octets(suite.prf.algorithm().output_len()));
        nat::detection(spelling, suite.hash, cookies, (core.local, core.remote), forged)
    });
    detected.into_iter().flatten()
}

/// INITIAL-CONTACT (RFC 2407 section 4.6.3.3), where we know of no IKE SA with the peer: the SPI is the two cookies.
pub(crate) fn initial_contact(core: &Core, cx: &Context<'_>, peer: Option<&Identity>) -> Option<Payload> {
    let cookies = core.cookies()?;
    let announces = !cx.shared.v1.knows(&core.connection, peer) && core.connection.unique != Unique::Never;
    announces.then(|| Payload::Notify(Notify::new(Protocol::ISAKMP, spi_of(cookies), NotifyType::INITIAL_CONTACT, Vec::new())))
}

/// CKY-I | CKY-R, the SPI of an ISAKMP SA.
pub(crate) fn spi_of(cookies: [IkeSpi; 2]) -> Vec<u8> {
    cookies.map(|cookie| cookie.value().to_be_bytes()).concat()
}

/// Whom the shared key is looked up for where the peer has not said who it is.
pub(crate) fn peer_of(connection: &ConnectionRef, address: IpAddr) -> Identity {
    connection.expected_peer().unwrap_or(match address {
        IpAddr::V4(address) => Identity::Ipv4(address),
        IpAddr::V6(address) => Identity::Ipv6(address),
    })
}

/// An offer of a responder's: the first connection between the addresses whose proposals meet it.
pub(crate) struct Admitted {
    pub(crate) suite: Suite,
    pub(crate) answer: Sa,
    pub(crate) offered: Vec<u8>,
    pub(crate) abilities: Abilities,
}

/// What an offer comes to, with the suites that can be meant.
///
/// # Errors
/// Why it is not answered, or with what.
pub(crate) fn admit_where(
    cx: &Context<'_>,
    candidates: &[ConnectionRef],
    message: &Message<'_>,
    payloads: &[Payload],
    is_meant: impl Fn(&Suite) -> bool,
) -> Result<(ConnectionRef, Admitted), Failure> {
    let malformed = || Failure::Malformed("a first message without SA".into());
    let (Some(Payload::Sa(offer)), Some(offered)) = (payloads.first(), find::first_body(message.body)) else { return Err(malformed()) };
    let provider = cx.shared.provider;
    for connection in candidates {
        if let Some((suite, answer)) = proposal::choose(connection, offer, &provider, &is_meant) {
            let admitted = Admitted { suite, answer, offered: offered.to_vec(), abilities: Abilities::of(payloads) };
            return Ok((connection.clone(), admitted));
        }
    }
    Err(Failure::Incompatible(
        Reason::NO_PROPOSAL_CHOSEN,
        proposal::nothing_in_common(candidates.first().map(|connection| &**connection), offer, &provider),
    ))
}

/// The offer of an initiator.
///
/// # Errors
/// Where nothing that is configured can be said, or the key is not there.
pub(crate) fn offer(core: &Core, cx: &mut Context<'_>, child: usize, only: Option<KeyExchangeMethod>) -> Result<Payload, Failure> {
    let connection = &core.connection;
    let method = Authentication::of(connection, Role::Initiator).ok_or_else(|| {
        let auth = (connection.local_auth.keyword(), connection.remote_auth.keyword());
        Failure::Local(format!("IKEv1 has no method of authentication for local.auth = {} with remote.auth = {}", auth.0, auth.1))
    })?;
    // Whom aggressive mode is with, it says itself before its key is needed.
    let expected = match core.mode {
        Mode::Main => connection.expected_peer(),
        Mode::Aggressive => connection.one_peer().cloned(),
    };
    if let Some(peer) = expected.filter(|peer| method.is_by_shared_key() && connection.key(peer).is_none()) {
        return Err(Failure::Unauthenticated(diagnosis::no_key(connection, &peer)));
    }
    let provider = cx.shared.provider;
    let offer = proposal::offer(connection, &provider, only).ok_or_else(|| {
        Failure::Local(
            "no configured IKE proposal can be said in IKEv1, which has no AEAD for IKE: write for example aes128-sha256-modp2048".into(),
        )
    })?;
    let mut lines = diagnosis::begins(connection, child, core.local, core.remote);
    lines.push(format!("IKEv1, {}, {method}", core.mode.name()));
    core.step(cx, &format!("connection {} begins", connection.name), lines);
    Ok(Payload::Sa(offer))
}

/// An initiator that did not go on after our answer.
pub(crate) fn abandoned(core: &Core, life: Duration) -> Failure {
    let mode = core.mode.name();
    let detail = Detail {
        summary: format!("{} has not gone on: {mode} was not over within {} s", core.remote, life.as_secs()),
        ours: format!("{mode} from {} to {}", core.local, core.remote),
        theirs: "a first message, then nothing that could be read".into(),
        would_match: String::new(),
        remedy: "check that our answers reach the peer, and that its messages to UDP port 4500, where there is a NAT, pass every firewall"
            .into(),
    };
    Failure::TimedOut(detail.bounded())
}
