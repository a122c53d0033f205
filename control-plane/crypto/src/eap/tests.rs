use ike::provider::{EapBetween, EapCode, EapConversation, EapMethod, EapOutcome, EapPacket, EapStep};

use super::*;

pub(super) fn identity(text: &str) -> Identity {
    text.parse().unwrap()
}

/// Where they are matters to none of these methods.
pub(super) fn between<'a>(initiator: &'a Identity, responder: &'a Identity) -> EapBetween<'a> {
    let at = "192.0.2.1:500".parse().unwrap();
    EapBetween { initiator, responder, local: at, remote: at }
}

fn users() -> Arc<Users> {
    let mut users = Users::default();
    users.add("alice".to_owned(), Secret::copy_from(b"wonderland"));
    users.add("bob".to_owned(), Secret::copy_from(b"builder"));
    Arc::new(users)
}

fn client(method: PasswordMethod, user: &str, password: &str) -> Box<dyn EapConversation> {
    let password = Arc::new(Secret::copy_from(password.as_bytes()));
    EapClient::new(method, Some(user.to_owned()), password).begin(&between(&identity("alice@lab.test"), &identity("gw.lab.test")))
}

fn server(method: PasswordMethod, asks: EapIdentity) -> Box<dyn EapConversation> {
    EapServer::new(method, asks, users()).begin(&between(&identity("alice@lab.test"), &identity("gw.lab.test")))
}

/// What came of it on the client's side and on the server's, and what was said.
pub(super) type Ends = ([Result<EapOutcome, String>; 2], Vec<Vec<u8>>);

/// What an operator is told, but for what is configured here and what to do.
fn told(why: Detail) -> String {
    if why.theirs.is_empty() { why.summary } else { format!("{}: {}", why.summary, why.theirs) }
}

/// A step, and where others are to be asked about a certificate, what comes after what is known of it.
fn step(conversation: &mut Box<dyn EapConversation>, packet: Option<&[u8]>) -> EapStep {
    match conversation.step(packet) {
        EapStep::Verify { verifier, proof } => conversation.verified(verifier.verify(&proof)),
        step => step,
    }
}

pub(super) fn talk(mut client: Box<dyn EapConversation>, mut server: Box<dyn EapConversation>) -> Ends {
    let mut said = Vec::new();
    let mut to_server: Option<Vec<u8>> = None;
    loop {
        let (packet, servers) = match step(&mut server, to_server.as_deref()) {
            EapStep::Verify { .. } => panic!("twice"),
            EapStep::Say(packet) => (packet, None),
            EapStep::Succeeded { last, outcome } => (last.unwrap(), Some(Ok(outcome))),
            EapStep::Failed { last, why } => (last.unwrap(), Some(Err(told(*why)))),
        };
        said.push(packet.clone());
        let clients = match step(&mut client, Some(&packet)) {
            EapStep::Verify { .. } => panic!("twice"),
            EapStep::Say(packet) => {
                said.push(packet.clone());
                to_server = Some(packet);
                continue;
            }
            EapStep::Succeeded { outcome, .. } => Ok(outcome),
            EapStep::Failed { why, .. } => Err(told(*why)),
        };
        return ([clients, servers.unwrap_or_else(|| Err("goes on".to_owned()))], said);
    }
}

#[test]
fn every_method_comes_to_success_with_the_right_password_alone() {
    for &method in PasswordMethod::ALL {
        let ([client_end, server_end], _) = talk(client(method, "alice", "wonderland"), server(method, EapIdentity::Any));
        let (client_end, server_end) = (client_end.unwrap(), server_end.unwrap());
        assert_eq!(client_end.msk, server_end.msk);
        assert_eq!(client_end.msk.is_some(), method == PasswordMethod::Mschapv2);
        assert_eq!(server_end.user, Some(identity("keyid:alice")));
        for (user, password) in [("alice", "builder"), ("carol", "wonderland"), ("alice", "")] {
            let (ends, _) = talk(client(method, user, password), server(method, EapIdentity::Any));
            assert!(ends.iter().all(Result::is_err), "{method:?} {user} {password}");
        }
    }
}

#[test]
fn the_user_is_the_one_that_is_asked_for() {
    let method = PasswordMethod::Mschapv2;
    let only = |name: &str| EapIdentity::Exactly(name.to_owned());
    assert!(talk(client(method, "bob", "builder"), server(method, only("alice"))).0[1].is_err());
    assert!(talk(client(method, "alice", "wonderland"), server(method, only("alice"))).0[1].is_ok());
    // Not asked, the user is who IKE says, whatever name is in the method.
    let (ends, said) = talk(client(method, "alice", "wonderland"), server(method, EapIdentity::FromIke));
    assert_eq!(ends[1].as_ref().unwrap_err(), "the MSCHAPv2 response is in another user's name");
    assert_eq!(EapPacket::parse(&said[0]).ok().unwrap().content.unwrap().0, EapType::MSCHAPV2);
}

#[test]
fn a_method_that_was_not_configured_is_declined_once_and_then_refused() {
    let ([_, server_end], said) =
        talk(client(PasswordMethod::Mschapv2, "alice", "wonderland"), server(PasswordMethod::Md5, EapIdentity::Any));
    assert_eq!(server_end.unwrap_err(), "the peer wants another EAP method than MD5-Challenge: MSCHAPv2");
    let nak = EapPacket::parse(&said[said.len() - 2]).ok().unwrap();
    assert!(nak.content == Some((EapType::NAK, &[EapType::MSCHAPV2.0][..])));
    // A server that insists, and one that changes its mind while the method runs.
    let mut peer = client(PasswordMethod::Mschapv2, "alice", "wonderland");
    let offer = EapPacket::emit(EapCode::REQUEST, 1, EapType::GTC, b"Password").unwrap();
    assert!(matches!(peer.step(Some(&offer)), EapStep::Say(_)));
    assert!(matches!(peer.step(Some(&offer)), EapStep::Failed { .. }));
    let mut peer = client(PasswordMethod::Mschapv2, "alice", "wonderland");
    let EapStep::Say(challenge) = server(PasswordMethod::Mschapv2, EapIdentity::FromIke).step(None) else { panic!() };
    assert!(matches!(peer.step(Some(&challenge)), EapStep::Say(_)));
    assert!(matches!(peer.step(Some(&offer)), EapStep::Failed { .. }));
}

#[test]
fn success_before_the_method_is_done_is_refused() {
    let success = EapPacket::verdict(EapCode::SUCCESS, 1);
    for &method in PasswordMethod::ALL {
        let mut peer = client(method, "alice", "wonderland");
        let EapStep::Failed { why, .. } = peer.step(Some(&success)) else { panic!("{method:?}") };
        assert_eq!(why.summary, "EAP Success has come before the method was done");
    }
    // MSCHAPv2: before the server has shown that it knows the password.
    let mut peer = client(PasswordMethod::Mschapv2, "alice", "wonderland");
    let EapStep::Say(challenge) = server(PasswordMethod::Mschapv2, EapIdentity::FromIke).step(None) else { panic!() };
    assert!(matches!(peer.step(Some(&challenge)), EapStep::Say(_)));
    assert!(matches!(peer.step(Some(&success)), EapStep::Failed { .. }));
}

#[test]
fn a_server_that_does_not_know_the_password_is_refused() {
    let mut peer = client(PasswordMethod::Mschapv2, "alice", "wonderland");
    let mut other = Users::default();
    other.add("alice@lab.test".to_owned(), Secret::copy_from(b"another"));
    let mut server = EapServer::new(PasswordMethod::Mschapv2, EapIdentity::FromIke, Arc::new(other))
        .begin(&between(&identity("alice@lab.test"), &identity("gw.lab.test")));
    let EapStep::Say(challenge) = server.step(None) else { panic!() };
    assert!(matches!(peer.step(Some(&challenge)), EapStep::Say(_)));
    let forged = [&b"\x03\x01\x00\x2eS="[..], &[b'A'; 40]].concat();
    let forged = EapPacket::emit(EapCode::REQUEST, 9, EapType::MSCHAPV2, &forged).unwrap();
    let EapStep::Failed { why, .. } = peer.step(Some(&forged)) else { panic!() };
    assert_eq!(why.summary, "the server does not know the password");
}

/// Lengths inside that are not those of the packet.
#[test]
fn every_other_length_in_mschapv2_is_refused() {
    let EapStep::Say(challenge) = server(PasswordMethod::Mschapv2, EapIdentity::FromIke).step(None) else { panic!() };
    let (_, data) = EapPacket::parse(&challenge).ok().unwrap().content.unwrap();
    let refused = |data: &[u8]| {
        let packet = EapPacket::emit(EapCode::REQUEST, 1, EapType::MSCHAPV2, data).unwrap();
        matches!(client(PasswordMethod::Mschapv2, "alice", "x").step(Some(&packet)), EapStep::Failed { .. })
    };
    assert!(!refused(data));
    (0..data.len()).for_each(|len| assert!(refused(&data[..len]), "cut to {len}"));
    for (place, value) in [(2, 0xff), (3, 0), (3, 0xff), (4, 0), (4, 15), (4, 17), (4, 0xff)] {
        let mut wrong = data.to_vec();
        wrong[place] = value;
        assert!(refused(&wrong), "{place} {value}");
    }

    // The Failure Request has the same lengths, and is answered by its OpCode alone.
    let failure = b"\x04\x01\x00\x00E=691 R=0 C=00112233445566778899aabbccddeeff V=3";
    let mut failure = failure.to_vec();
    failure[3] = failure.len().to_le_bytes()[0];
    let told = |data: &[u8]| {
        let mut peer = client(PasswordMethod::Mschapv2, "alice", "x");
        let EapStep::Say(challenge) = server(PasswordMethod::Mschapv2, EapIdentity::FromIke).step(None) else { panic!() };
        assert!(matches!(peer.step(Some(&challenge)), EapStep::Say(_)));
        let packet = EapPacket::emit(EapCode::REQUEST, 2, EapType::MSCHAPV2, data).unwrap();
        match peer.step(Some(&packet)) {
            EapStep::Say(answer) => {
                assert_eq!(EapPacket::parse(&answer).ok().unwrap().content.unwrap().1, [4]);
                // And that is the end: nothing but EAP Failure may come.
                assert!(matches!(peer.step(Some(&EapPacket::verdict(EapCode::SUCCESS, 2))), EapStep::Failed { .. }));
                true
            }
            EapStep::Failed { why, .. } => {
                assert_eq!(why.summary, "an MSCHAPv2 packet whose length is wrong");
                false
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(told(&failure));
    (0..failure.len()).for_each(|len| assert!(!told(&failure[..len]), "cut to {len}"));
    assert!(!told(&[&failure[..], &[0]].concat()));
    for (place, value) in [(2, 1), (2, 0xff), (3, 0), (3, 3), (3, 4), (3, 0xff)] {
        let mut wrong = failure.clone();
        wrong[place] = value;
        assert!(!told(&wrong), "{place} {value}");
    }

    let answer = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut server = EapServer::new(PasswordMethod::Mschapv2, EapIdentity::FromIke, {
            let mut users = Users::default();
            users.add("alice@lab.test".to_owned(), Secret::copy_from(b"wonderland"));
            Arc::new(users)
        })
        .begin(&between(&identity("alice@lab.test"), &identity("gw.lab.test")));
        let EapStep::Say(challenge) = server.step(None) else { panic!() };
        let EapStep::Say(response) = client(PasswordMethod::Mschapv2, "alice@lab.test", "wonderland").step(Some(&challenge)) else {
            panic!()
        };
        let packet = EapPacket::parse(&response).ok().unwrap();
        let mut data = packet.content.unwrap().1.to_vec();
        change(&mut data);
        let changed = EapPacket::emit(EapCode::RESPONSE, packet.identifier, EapType::MSCHAPV2, &data).unwrap();
        match server.step(Some(&changed)) {
            EapStep::Say(packet) => EapPacket::parse(&packet).ok().unwrap().content.unwrap().1[0] == 3,
            _ => false,
        }
    };
    assert!(answer(&|_| {}));
    (0..60).for_each(|len| assert!(!answer(&|data| data.truncate(len)), "cut to {len}"));
    for (place, value) in [(0, 3), (1, 0), (2, 0xff), (3, 0), (4, 0), (4, 48), (4, 50), (4, 0xff)] {
        assert!(!answer(&|data| data[place] = if place == 1 { !data[1] } else { value }), "{place} {value}");
    }
}
