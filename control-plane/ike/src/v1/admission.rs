//! Between phase 1 and phase 2: a user shows who it is ([`xauth`]), and addresses are given ([`mode_config`]). Until both are over there is no quick mode.
//!
//! ```text
//! who asks for a user          AskUser -> TellUser -> [GiveAddresses] -> Established
//! whose user is asked for      BeUser -> [AskAddresses | AwaitAddresses] -> Established
//! without XAuth                [AskAddresses | AwaitAddresses | GiveAddresses] -> Established
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use ike_wire::ConfigurationType;
use ike_wire::v1::{Attributes, ExchangeType, Message, NotifyType, Payload, Protocol};
use ipsec_types::Instant;

use crate::child::Authenticated;
use crate::context::Context;
use crate::diagnosis;
use crate::error::Failure;
use crate::io::{Datagram, Event};
use crate::v1::established::Established;
use crate::v1::keys::{Iv, Keys};
use crate::v1::phase_1::{PeerAuthenticated, Shown, spi_of};
use crate::v1::proposal::Suite;
use crate::v1::transaction::{Heard, Transactions};
use crate::v1::{Core, State, informational, mode_config, quick, trace_incoming, xauth};

/// Phase 1 is over, and phase 2 may not begin.
pub(crate) struct Admission {
    pub(crate) suite: Suite,
    pub(crate) keys: Keys,
    /// The last block of phase 1.
    pub(crate) last: Iv,
    pub(crate) transactions: Transactions,
    /// Message IDs of the peer's that must not come again.
    pub(crate) seen: Vec<u32>,
    /// The peer has forgotten what was before.
    pub(crate) initial_contact: bool,
    until: Instant,
    step: Step,
}

/// What is awaited. Whoever has to show a user is authenticated by that alone: there is no [`PeerAuthenticated`] before.
enum Step {
    /// The peer's user.
    AskUser(Shown),
    /// That it has heard that its user is believed.
    TellUser(PeerAuthenticated),
    /// That it has heard that it is not.
    Refuse(Failure),
    /// That the peer asks for our user, so many times until now, and says that it is believed.
    BeUser(PeerAuthenticated, u32),
    /// The addresses that we have asked for.
    AskAddresses(PeerAuthenticated),
    /// That the peer gives us addresses by itself.
    AwaitAddresses(PeerAuthenticated),
    /// That it takes those we give it.
    GiveAddresses(PeerAuthenticated),
    /// Nothing: between two of them.
    Moving,
}

/// It is over after this time, or there is no IKE SA: users may have to look for their passwords.
const LIFE: Duration = Duration::from_secs(60);
/// Questions for one user.
const MOST_QUESTIONS: u32 = 3;
/// Message IDs of a peer.
const MOST_SEEN: usize = 64;

/// Phase 1 is over.
pub(crate) fn begin(
    core: &mut Core,
    cx: &mut Context<'_>,
    (suite, keys, last): (Suite, Keys, Iv),
    shown: Shown,
    initial_contact: bool,
) -> State {
    let asks = PeerAuthenticated::by_phase_1(shown, suite.authentication, core.role);
    let transactions = Transactions::default();
    let (until, step) = (cx.now + LIFE, Step::Moving);
    let state = Box::new(Admission { suite, keys, last, transactions, seen: Vec::new(), initial_contact, until, step });
    let state = match asks {
        Err(shown) => state.ask_user(core, cx, shown),
        Ok(authenticated) if state.suite.authentication.user() == Some(core.role) => {
            core.step(cx, "wait until the peer asks for a user (XAuth)", Vec::new());
            state.awaits(Step::BeUser(authenticated, 0))
        }
        Ok(authenticated) => state.configure(core, cx, authenticated),
    };
    // What has come before phase 1 was over here.
    match (state, core.early.take()) {
        (State::Admission(state), Some(early)) => match Message::parse(&early.payload) {
            Ok(message) => on_message(state, core, cx, &early, &message),
            Err(_) => State::Admission(state),
        },
        (state, _) => state,
    }
}

impl Admission {
    fn awaits(mut self: Box<Self>, step: Step) -> State {
        self.step = step;
        State::Admission(self)
    }

    fn say(
        &mut self,
        core: &mut Core,
        cx: &mut Context<'_>,
        kind: ConfigurationType,
        attributes: Vec<ike_wire::v1::TransactionAttribute>,
    ) -> Result<(), Failure> {
        self.transactions.begin(core, cx, (&self.keys, &self.last), kind, attributes)
    }

    fn ask_user(mut self: Box<Self>, core: &mut Core, cx: &mut Context<'_>, shown: Shown) -> State {
        cx.shared.event(Event::UserAsked { connection: core.connection.name.clone(), remote: core.remote });
        match self.say(core, cx, ConfigurationType::REQUEST, xauth::question()) {
            Ok(()) => self.awaits(Step::AskUser(shown)),
            Err(failure) => State::Failing.close(core, cx, Some(failure)),
        }
    }

    /// The user is believed, or there is none: addresses come next.
    fn configure(mut self: Box<Self>, core: &mut Core, cx: &mut Context<'_>, authenticated: PeerAuthenticated) -> State {
        if mode_config::is_wanted(core) {
            if !core.connection.pull {
                return self.awaits(Step::AwaitAddresses(authenticated));
            }
            let request = mode_config::request(core, cx);
            return match self.say(core, cx, ConfigurationType::REQUEST, request) {
                Ok(()) => self.awaits(Step::AskAddresses(authenticated)),
                Err(failure) => State::Failing.close(core, cx, Some(failure)),
            };
        }
        if mode_config::pushes(core) {
            let given = mode_config::push(core, cx, authenticated.identity());
            return match given.and_then(|given| self.say(core, cx, ConfigurationType::SET, given)) {
                Ok(()) => self.awaits(Step::GiveAddresses(authenticated)),
                Err(failure) => {
                    // Children for others than peers with addresses may be left.
                    cx.fail(Some(&core.connection.name), core.remote, failure);
                    self.admit(core, cx, authenticated)
                }
            };
        }
        self.admit(core, cx, authenticated)
    }

    fn admit(mut self: Box<Self>, core: &mut Core, cx: &mut Context<'_>, authenticated: PeerAuthenticated) -> State {
        self.transactions.end();
        State::Established(Box::new(Established::new(core, cx, *self, authenticated)))
    }

    /// Tells the peer that the IKE SA is not to be.
    pub(crate) fn gone(&self, core: &mut Core, cx: &mut Context<'_>, why: Option<NotifyType>) {
        informational::end(core, cx, (&self.keys, &self.last), why);
    }

    fn fail(self: Box<Self>, core: &mut Core, cx: &mut Context<'_>, failure: Failure) -> State {
        self.gone(core, cx, Some(NotifyType::AUTHENTICATION_FAILED));
        State::Failing.close(core, cx, Some(failure))
    }

    /// When the clock is next needed.
    pub(crate) fn deadline(&self) -> Instant {
        self.transactions.deadline().map_or(self.until, |at| at.min(self.until))
    }

    /// The clock stood still for `pause`.
    pub(crate) fn shift(&mut self, pause: Duration) {
        self.until = self.until + pause;
        self.transactions.shift(pause);
    }
}

/// A message before phase 2.
pub(crate) fn on_message(
    mut state: Box<Admission>,
    core: &mut Core,
    cx: &mut Context<'_>,
    datagram: &Datagram,
    message: &Message<'_>,
) -> State {
    let message_id = message.header.message_id;
    let known = state.transactions.has(message_id);
    let is_sound = message_id != 0 && message.header.flags.encryption && message.header.responder() == core.responder_cookie;
    let is_used = !known && (core.has_used(message_id) || state.seen.contains(&message_id));
    if !is_sound || is_used || (!known && state.seen.len() >= MOST_SEEN) {
        cx.shared.count("messages_ignored");
        return State::Admission(state);
    }
    match message.header.exchange {
        ExchangeType::TRANSACTION => {
            let heard = state.transactions.receive(core, cx, (&state.keys, &state.last), datagram, message);
            match heard {
                Some(Heard::Answer(answer)) => on_answer(state, core, cx, &answer),
                Some(Heard::Asked(message_id, asked)) => {
                    if !state.seen.contains(&message_id) {
                        state.seen.push(message_id);
                    }
                    on_asked(state, core, cx, message_id, &asked)
                }
                None => State::Admission(state),
            }
        }
        ExchangeType::INFORMATIONAL => on_informational(state, core, cx, datagram, message),
        // A quick mode has to wait: the peer will ask again.
        _ => {
            cx.shared.count("messages_ignored");
            State::Admission(state)
        }
    }
}

/// The peer has answered.
fn on_answer(mut state: Box<Admission>, core: &mut Core, cx: &mut Context<'_>, answer: &Attributes) -> State {
    match core::mem::replace(&mut state.step, Step::Moving) {
        Step::AskUser(shown) => {
            let user = xauth::check(core, answer).map(|user| PeerAuthenticated::by_user(shown, user)).and_then(|authenticated| {
                let taken = cx.shared.v1.is_taken(cx.now, core, authenticated.identity(), state.initial_contact);
                if taken { Err(diagnosis::not_unique(&core.connection, authenticated.identity())) } else { Ok(authenticated) }
            });
            let (believed, step) = match user {
                Ok(authenticated) => {
                    core.step(cx, "the user is believed", alloc::vec![alloc::format!("{}", authenticated.identity())]);
                    (true, Step::TellUser(authenticated))
                }
                Err(why) => (false, Step::Refuse(Failure::Unauthenticated(why))),
            };
            let sent = state.transactions.go_on(core, cx, &state.keys, ConfigurationType::SET, xauth::verdict(believed));
            match sent {
                Ok(()) => state.awaits(step),
                Err(failure) => state.fail(core, cx, failure),
            }
        }
        Step::TellUser(authenticated) => {
            state.transactions.end();
            state.configure(core, cx, authenticated)
        }
        Step::Refuse(failure) => state.fail(core, cx, failure),
        Step::AskAddresses(authenticated) => {
            mode_config::take(core, cx, answer);
            state.admit(core, cx, authenticated)
        }
        Step::GiveAddresses(authenticated) => state.admit(core, cx, authenticated),
        step @ (Step::BeUser(..) | Step::AwaitAddresses(_) | Step::Moving) => state.awaits(step),
    }
}

/// The peer asks for something, or gives it.
fn on_asked(mut state: Box<Admission>, core: &mut Core, cx: &mut Context<'_>, message_id: u32, asked: &Attributes) -> State {
    let step = core::mem::replace(&mut state.step, Step::Moving);
    let sets = asked.kind == ConfigurationType::SET;
    let (attributes, next) = match step {
        Step::BeUser(authenticated, asked_before) if sets && xauth::is_meant(asked) => match xauth::status(asked) {
            Some(true) => (xauth::verdict(true), Next::Configure(authenticated)),
            Some(false) => {
                let why = diagnosis::refused_user(&core.connection, xauth::message(asked));
                (xauth::verdict(false), Next::Fail(Failure::Unauthenticated(why)))
            }
            None => (Vec::new(), Next::Await(Step::BeUser(authenticated, asked_before))),
        },
        Step::BeUser(authenticated, asked_before) if xauth::is_meant(asked) => {
            let answer = match xauth::own_user(&core.connection) {
                Some(user) if asked_before < MOST_QUESTIONS => xauth::answer(user, asked),
                _ => Err((xauth::verdict(false), diagnosis::refused_user(&core.connection, xauth::message(asked)))),
            };
            match answer {
                Ok(answer) => (answer, Next::Await(Step::BeUser(authenticated, asked_before + 1))),
                Err((answer, why)) => (answer, Next::Fail(Failure::Unauthenticated(why))),
            }
        }
        // Whichever of the two ways the peer is configured for.
        Step::AskAddresses(authenticated) | Step::AwaitAddresses(authenticated) if sets && !xauth::is_meant(asked) => {
            mode_config::take(core, cx, asked);
            (
                asked.attributes.iter().map(|given| ike_wire::v1::TransactionAttribute::empty(given.kind)).collect(),
                Next::Admit(authenticated),
            )
        }
        // Or its word that it has heard of its user's luck is lost, and it goes on.
        Step::TellUser(authenticated) | Step::GiveAddresses(authenticated) if !sets => {
            match mode_config::answer(core, cx, authenticated.identity(), asked) {
                Ok(given) => (given, Next::Admit(authenticated)),
                Err(failure) => {
                    cx.fail(Some(&core.connection.name), core.remote, failure);
                    (Vec::new(), Next::Admit(authenticated))
                }
            }
        }
        step => (Vec::new(), Next::Await(step)),
    };
    if let Err(failure) = state.transactions.answer(core, cx, &state.keys, (message_id, asked), attributes) {
        return state.fail(core, cx, failure);
    }
    match next {
        Next::Await(step) => state.awaits(step),
        Next::Configure(authenticated) => state.configure(core, cx, authenticated),
        Next::Admit(authenticated) => state.admit(core, cx, authenticated),
        Next::Fail(failure) => state.fail(core, cx, failure),
    }
}

/// What an answer leads to.
enum Next {
    Await(Step),
    Configure(PeerAuthenticated),
    Admit(PeerAuthenticated),
    Fail(Failure),
}

/// The peer says that it is over, or something else that can wait.
fn on_informational(mut state: Box<Admission>, core: &mut Core, cx: &mut Context<'_>, datagram: &Datagram, message: &Message<'_>) -> State {
    let message_id = message.header.message_id;
    let iv = state.keys.phase_2_iv(&state.last, message_id);
    let Some((payloads, _)) = quick::open(&state.keys, &iv, message, |rest| state.keys.hash_1(message_id, rest)) else {
        cx.shared.count("messages_unauthentic");
        return State::Admission(state);
    };
    state.seen.push(message_id);
    trace_incoming(cx, core, datagram, &message.header, &payloads);
    core.last_inbound = cx.now;
    let ours = core.cookies().map(spi_of);
    let deletes = payloads.iter().any(|payload| match payload {
        Payload::Delete(delete) => delete.protocol == Protocol::ISAKMP && delete.spis.iter().any(|spi| Some(spi) == ours.as_ref()),
        _ => false,
    });
    let error = informational::error_in(&payloads);
    match core::mem::replace(&mut state.step, Step::Moving) {
        // It has closed before it has heard why, or its word for that is lost.
        Step::Refuse(failure) if deletes || error.is_some() => State::Failing.close(core, cx, Some(failure)),
        _ if deletes || error.is_some() => {
            let failure = informational::refused(core, error.unwrap_or(NotifyType::AUTHENTICATION_FAILED));
            State::Failing.close(core, cx, Some(failure))
        }
        step => state.awaits(step),
    }
}

/// The clock.
pub(crate) fn on_timeout(mut state: Box<Admission>, core: &mut Core, cx: &mut Context<'_>) -> State {
    let silent = state.transactions.on_timeout(core, cx).err();
    if silent.is_none() && state.until > cx.now {
        return State::Admission(state);
    }
    let failure = match core::mem::replace(&mut state.step, Step::Moving) {
        Step::Refuse(failure) => failure,
        Step::BeUser(..) => Failure::TimedOut(diagnosis::not_asked(&core.connection, "for the user of this gateway (XAuth)")),
        Step::AwaitAddresses(_) => Failure::TimedOut(diagnosis::not_asked(&core.connection, "to take addresses (pull = no)")),
        _ => silent.unwrap_or_else(|| Failure::TimedOut(diagnosis::not_asked(&core.connection, "anything more after phase 1"))),
    };
    state.gone(core, cx, None);
    State::Failing.close(core, cx, Some(failure))
}
