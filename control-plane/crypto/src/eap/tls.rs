//! EAP-TLS (RFC 5216): both sides show certificates, and have a key. TLS 1.2 by the crate `rustls`, without resumption, so that every session shows
//! who the other side is; its key exchanges are ephemeral.
//!
//! Certificates are judged by what the connection trusts ([`Trust`]), and the other side's has to carry its identity. Where others have to be asked
//! about revocations, that comes before anything else is said.

mod certificates;
mod fragments;

use std::sync::Arc;

use ike::config::Credential;
use ike::provider::{EapBetween, EapConversation, EapMethod, EapType};
use ipsec_types::{Identity, Secret};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use zeroize::Zeroizing;

use self::certificates::{Judge, OfClients, own};
use self::fragments::{Heard, Incoming, Outgoing, start};
use super::client::Peer;
use super::server::{Asked, Authenticator, EapIdentity};
use super::{ClientMethod, Open, Reply, ServerMethod, Verdict, Why, user_of};
use crate::Trust;

const KEYWORD: &str = "eap-tls";

/// Fatal certificate_unknown (RFC 5246 section 7.2), of whom others say something against. Nothing is encrypted yet, as our Finished has not gone out.
const DISTRUST: [u8; 7] = [21, 3, 3, 0, 2, 2, 46];

/// Shows who we are by a certificate, and wants one of the server.
#[derive(Debug)]
pub struct EapTlsClient {
    user: Option<String>,
    credential: Credential,
    trust: Arc<Trust>,
    server: Option<Identity>,
}

/// Lets peers show who they are by certificates.
#[derive(Debug)]
pub struct EapTlsServer {
    identity: EapIdentity,
    credential: Credential,
    trust: Arc<Trust>,
}

impl EapTlsClient {
    /// `user`: the name by which the server knows us, without one our identity in IKE. `server`: whose the server's certificate has to be, without one
    /// the responder's identity in IKE.
    #[must_use]
    pub const fn new(user: Option<String>, credential: Credential, trust: Arc<Trust>, server: Option<Identity>) -> Self {
        Self { user, credential, trust, server }
    }
}

impl EapTlsServer {
    /// Peers may be whoever `identity` allows and has a certificate that `trust` believes.
    #[must_use]
    pub const fn new(identity: EapIdentity, credential: Credential, trust: Arc<Trust>) -> Self {
        Self { identity, credential, trust }
    }
}

impl EapMethod for EapTlsClient {
    fn keyword(&self) -> &'static str {
        KEYWORD
    }

    /// RFC 5998 section 4 has it in its list.
    fn is_mutual(&self) -> bool {
        true
    }

    fn begin(&self, between: &EapBetween<'_>) -> Box<dyn EapConversation> {
        let user = self.user.clone().unwrap_or_else(|| user_of(between.initiator));
        let judge = Judge::new(self.trust.clone(), self.server.as_ref().unwrap_or(between.responder).clone());
        let method = Client { state: ClientState::Waiting(self.credential.clone()), judge: Arc::new(judge) };
        let remedy = "compare local.certs with what the server trusts, and its certificate with remote.cacerts";
        Box::new(Peer::new(user, EapType::TLS, (KEYWORD, remedy), Box::new(method)))
    }
}

impl EapMethod for EapTlsServer {
    fn keyword(&self) -> &'static str {
        KEYWORD
    }

    fn is_mutual(&self) -> bool {
        true
    }

    fn begin(&self, between: &EapBetween<'_>) -> Box<dyn EapConversation> {
        let (credential, trust) = (self.credential.clone(), self.trust.clone());
        let begin = move |_: &str, known_as: &Identity| -> Box<dyn ServerMethod> {
            let judge = Arc::new(Judge::new(trust.clone(), known_as.clone()));
            Box::new(Server { session: Session::server(&credential, &judge), judge, refusing: None })
        };
        let asked = Asked {
            keyword: KEYWORD,
            remedy: "compare the peer's certificate with remote.cacerts, and local.certs with what the peer trusts",
            kind: EapType::TLS,
            identity: self.identity.clone(),
            name: |name| name.parse().unwrap_or_else(|_| Identity::KeyId(name.as_bytes().to_vec())),
        };
        Box::new(Authenticator::new(asked, between.initiator.clone(), Box::new(begin)))
    }
}

/// TLS in EAP packets.
struct Session {
    tls: Connection,
    incoming: Incoming,
    outgoing: Outgoing,
}

impl Session {
    fn client(credential: &Credential, judge: &Arc<Judge>) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])?
            .dangerous()
            .with_custom_certificate_verifier(judge.clone())
            .with_client_cert_resolver(own(credential));
        config.resumption = rustls::client::Resumption::disabled();
        config.enable_sni = false;
        // Nobody looks at it: whom the certificate has to be of, the judge knows.
        let name = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
        Ok(Self::new(ClientConnection::new(Arc::new(config), name)?.into()))
    }

    fn server(credential: &Credential, judge: &Arc<Judge>) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])?
            .with_client_cert_verifier(Arc::new(OfClients::new(judge.clone())))
            .with_cert_resolver(own(credential));
        Ok(Self::new(ServerConnection::new(Arc::new(config))?.into()))
    }

    fn new(tls: Connection) -> Self {
        Self { tls, incoming: Incoming::default(), outgoing: Outgoing::default() }
    }

    /// Takes Type-Data. While we are speaking, nothing but acknowledgements may come.
    fn take(&mut self, data: &[u8]) -> Result<Heard, String> {
        match self.incoming.take(data)? {
            Heard::Acknowledgement => Ok(Heard::Acknowledgement),
            _ if !self.outgoing.is_done() => Err("the other side speaks before it has heard the whole TLS message".to_owned()),
            heard => Ok(heard),
        }
    }

    fn feed(&mut self, mut message: &[u8]) -> Result<(), rustls::Error> {
        while !message.is_empty() {
            let failed = |error: std::io::Error| rustls::Error::General(error.to_string());
            if self.tls.read_tls(&mut message).map_err(failed)? == 0 {
                return Err(rustls::Error::General("more TLS records than belong here".to_owned()));
            }
            self.tls.process_new_packets()?;
        }
        Ok(())
    }

    /// Whether there is something to say now.
    fn speaks(&mut self) -> bool {
        let mut said = Vec::new();
        // Into memory nothing fails to be written.
        while self.tls.wants_write() && self.tls.write_tls(&mut said).is_ok_and(|octets| octets > 0) {}
        self.outgoing = Outgoing::new(said);
        !self.outgoing.is_done()
    }

    /// The MSK (RFC 5216 section 2.3): 64 octets.
    fn msk(&self) -> Result<Secret, rustls::Error> {
        let msk = Zeroizing::new(vec![0; 64]);
        self.tls.export_keying_material(msk, b"client EAP encryption", None).map(Secret::from)
    }
}

/// The peer's side, in TLS the client's.
struct Client {
    state: ClientState,
    judge: Arc<Judge>,
}

enum ClientState {
    /// For the server to start.
    Waiting(Credential),
    Running(Box<Session>),
    /// Both have shown who they are.
    Done(Secret),
    /// One side does not believe the other, and has said so in an alert: EAP Failure is due.
    Alerted(Why),
    Over,
}

enum Fault {
    Tls(rustls::Error),
    Eap(Why),
}

impl From<String> for Fault {
    fn from(words: String) -> Self {
        Self::Eap(words.into())
    }
}

impl Client {
    fn hear(&self, session: &mut Session, data: &[u8]) -> Result<Reply, Fault> {
        match session.take(data)? {
            Heard::Start => Err(Fault::Eap("the server starts EAP-TLS twice".into())),
            Heard::More => Ok(Reply::Say(Outgoing::default().next().into())),
            Heard::Acknowledgement if session.outgoing.is_done() => Err(Fault::Eap("the server has nothing to say".into())),
            Heard::Acknowledgement => Ok(Reply::Say(session.outgoing.next().into())),
            Heard::Message(message) => {
                session.feed(&message).map_err(Fault::Tls)?;
                match self.judge.open() {
                    Some(open) => Ok(Reply::Verify(open)),
                    None => speak(session).map_err(Fault::Eap),
                }
            }
        }
    }
}

/// A message, or nothing after the server's Finished.
fn speak(session: &mut Session) -> Result<Reply, Why> {
    if !session.speaks() && session.tls.is_handshaking() {
        return Err("the server's TLS message is not complete".into());
    }
    Ok(Reply::Say(session.outgoing.next().into()))
}

impl ClientMethod for Client {
    fn answer(&mut self, _identifier: u8, data: &[u8]) -> Result<Reply, Why> {
        let mut session = match std::mem::replace(&mut self.state, ClientState::Over) {
            ClientState::Waiting(credential) => {
                let mut session = Session::client(&credential, &self.judge).map_err(|error| self.judge.why(&error))?;
                if session.take(data)? != Heard::Start || !session.speaks() {
                    return Err("the server does not start EAP-TLS".into());
                }
                let hello = session.outgoing.next();
                self.state = ClientState::Running(Box::new(session));
                return Ok(Reply::Say(hello.into()));
            }
            ClientState::Running(session) => session,
            ClientState::Alerted(why) => return Err(why),
            ClientState::Done(_) | ClientState::Over => return Err("the server goes on after EAP-TLS is done".into()),
        };
        let reply = match self.hear(&mut session, data) {
            // RFC 5216 section 2.1.3: an alert is acknowledged, or the server hears one, and EAP Failure follows.
            Err(Fault::Tls(error)) => {
                let why = self.judge.why(&error);
                if !session.speaks() && !matches!(error, rustls::Error::AlertReceived(_)) {
                    return Err(why);
                }
                self.state = ClientState::Alerted(why);
                return Ok(Reply::Say(session.outgoing.next().into()));
            }
            Err(Fault::Eap(why)) => return Err(why),
            Ok(reply) => reply,
        };
        let done = matches!(reply, Reply::Say(_)) && !session.tls.is_handshaking() && self.judge.is_satisfied();
        self.state =
            if done { ClientState::Done(session.msk().map_err(|error| self.judge.why(&error))?) } else { ClientState::Running(session) };
        Ok(reply)
    }

    fn verified(&mut self) -> Result<Reply, Why> {
        self.judge.satisfy();
        match &mut self.state {
            ClientState::Running(session) => speak(session),
            _ => Err("nothing was to be verified".into()),
        }
    }

    fn distrusted(&mut self, why: Why) -> Result<Reply, Why> {
        self.state = ClientState::Alerted(why);
        Ok(Reply::Say(Outgoing::new(DISTRUST.to_vec()).next().into()))
    }

    fn refused(&mut self) -> Option<Why> {
        match std::mem::replace(&mut self.state, ClientState::Over) {
            ClientState::Alerted(why) => Some(why),
            _ => None,
        }
    }

    fn finish(&mut self) -> Option<Option<Secret>> {
        match std::mem::replace(&mut self.state, ClientState::Over) {
            ClientState::Done(msk) => Some(Some(msk)),
            _ => None,
        }
    }
}

/// The authenticator's side, in TLS the server's.
struct Server {
    session: Result<Session, rustls::Error>,
    judge: Arc<Judge>,
    /// Once the peer has heard the alert (RFC 5216 section 2.1.3).
    refusing: Option<Why>,
}

impl Server {
    fn go_on(&mut self, data: &[u8]) -> Result<Verdict, Why> {
        let Self { session: Ok(session), judge, refusing } = self else { return Err("TLS cannot begin".into()) };
        let heard = session.take(data)?;
        match heard {
            Heard::Acknowledgement if !session.outgoing.is_done() => Ok(Verdict::Ask(session.outgoing.next())),
            _ if refusing.is_some() => refusing.take().map_or(Ok(Verdict::Ask(Vec::new())), Err),
            Heard::Start => Err("the peer says what only a server says".into()),
            Heard::More => Ok(Verdict::Ask(Outgoing::default().next())),
            Heard::Acknowledgement if session.tls.is_handshaking() || !judge.is_satisfied() => Err("the peer has nothing to say".into()),
            Heard::Acknowledgement => session.msk().map(|msk| Verdict::Accept(Some(msk))).map_err(|error| judge.why(&error)),
            Heard::Message(message) => match session.feed(&message) {
                Ok(()) => judge.open().map_or_else(|| ask(session), |open| Ok(Verdict::Verify(open))),
                Err(error) => {
                    let why = judge.why(&error);
                    if !session.speaks() {
                        return Err(why);
                    }
                    *refusing = Some(why);
                    Ok(Verdict::Ask(session.outgoing.next()))
                }
            },
        }
    }
}

fn ask(session: &mut Session) -> Result<Verdict, Why> {
    if !session.speaks() {
        return Err("the peer's TLS message is not complete".into());
    }
    Ok(Verdict::Ask(session.outgoing.next()))
}

impl ServerMethod for Server {
    fn begin(&mut self) -> Vec<u8> {
        start()
    }

    fn hear(&mut self, _identifier: u8, data: &[u8]) -> Verdict {
        self.go_on(data).unwrap_or_else(Verdict::Refuse)
    }

    fn verified(&mut self) -> Verdict {
        self.judge.satisfy();
        match &mut self.session {
            Ok(session) => ask(session).unwrap_or_else(Verdict::Refuse),
            Err(_) => Verdict::Refuse("nothing was to be verified".into()),
        }
    }

    fn distrusted(&mut self, why: Why) -> Verdict {
        let Ok(session) = &mut self.session else { return Verdict::Refuse(why) };
        self.refusing = Some(why);
        session.outgoing = Outgoing::new(DISTRUST.to_vec());
        Verdict::Ask(session.outgoing.next())
    }
}

#[cfg(test)]
mod tests;
