//! EAP by RADIUS servers (RFC 2865, RFC 3579): the gateway passes EAP packets between a peer and a server, and is told who the peer is.

mod client;

use std::sync::Arc;

use ike::provider::{EapBetween, EapConversation, EapMethod, EapStep, EapWait};
use ike_crypto::eap::EapIdentity;
use ike_crypto::radius::{Move, Session};

pub(crate) use client::{Client, PATIENCE, Server};

/// Lets peers show to a RADIUS server who they are.
#[derive(Debug)]
pub(crate) struct EapRadius {
    client: Arc<Client>,
    identity: EapIdentity,
    /// The connection, which servers are told.
    connection: String,
}

/// As the configuration writes it.
pub(crate) const KEYWORD: &str = "eap-radius";

impl EapRadius {
    pub(crate) const fn new(client: Arc<Client>, identity: EapIdentity, connection: String) -> Self {
        Self { client, identity, connection }
    }
}

impl EapMethod for EapRadius {
    fn keyword(&self) -> &'static str {
        KEYWORD
    }

    /// The server chooses the method, and nobody here knows which.
    fn is_mutual(&self) -> bool {
        false
    }

    fn begin(&self, between: &EapBetween<'_>) -> Box<dyn EapConversation> {
        let session = Session::new(self.identity.clone(), between, &self.connection);
        Box::new(Conversation { session, client: Arc::clone(&self.client), server: None })
    }
}

struct Conversation {
    session: Session,
    client: Arc<Client>,
    /// The one that has answered: it alone knows the conversation (RFC 2865 section 5.24).
    server: Option<usize>,
}

impl Conversation {
    async fn go_on(&mut self, packet: Option<&[u8]>) -> EapStep {
        match self.session.hear_peer(packet) {
            Move::Step(step) => step,
            Move::Ask(request) => match self.client.ask(&request, self.server).await {
                Ok((server, answer)) => {
                    self.server = Some(server);
                    self.session.hear_server(answer)
                }
                Err(silence) => self.session.fail(
                    format!("no RADIUS server answers: {silence}"),
                    "check address, port and shared secret of [radius.NAME], and that the server has this gateway as a client",
                ),
            },
        }
    }
}

impl EapConversation for Conversation {
    /// Only for a driver that does not [`wait`](EapConversation::wait).
    fn step(&mut self, _packet: Option<&[u8]>) -> EapStep {
        self.session.fail("nobody can be asked here".to_owned(), "report this as a fault of Culvert")
    }

    fn wait<'a>(&'a mut self, packet: Option<&'a [u8]>) -> Option<EapWait<'a>> {
        Some(Box::pin(self.go_on(packet)))
    }
}
