use alloc::vec;
use std::string::String;

use ike_wire::{ExchangeType, Flags, Notify, NotifyType, Unknown, Version};

use super::*;

const SECRET: &[u8] = b"correct horse battery staple";

fn kept(payloads: &[Payload]) -> KeptTrace {
    let flags = Flags { initiator: true, ..Flags::default() };
    let exchange = ExchangeType::IKE_AUTH;
    let header = Header { initiator_spi: 1, responder_spi: 2, version: Version::V2, exchange, flags, message_id: 1 };
    let address = "192.0.2.1:500".parse().unwrap();
    KeptTrace::new(&Traced {
        connection: Some("site"),
        outbound: false,
        local: address,
        remote: address,
        header: &header,
        payloads,
        sealed: None,
        datagram: &[0; 40],
        retransmission: false,
    })
}

fn names(trace: &KeptTrace) -> Vec<String> {
    let Record::Message { payloads, .. } = trace.describe().record else { panic!() };
    payloads.into_iter().map(|payload| payload.name).collect()
}

fn notify(kind: NotifyType, data: &[u8]) -> Payload {
    Payload::Notify(Notify::new(kind, data.to_vec()))
}

/// No form in which the octets may be there: neither as they are, nor in hexadecimal.
fn holds(trace: &KeptTrace, octets: &[u8]) -> bool {
    let shown = format!("{trace:?}");
    let decimal = format!("{octets:?}");
    shown.contains(&hex(octets)) || shown.contains(decimal.trim_matches(['[', ']']))
}

#[test]
fn a_message_is_kept_in_octets_and_described_as_it_was() {
    let payloads = [notify(NotifyType::COOKIE, SECRET), Payload::VendorId(vec![7; 3])];
    let trace = kept(&payloads);
    let Kept::Octets(envelope, _) = &trace.kept else { panic!("{trace:?}") };
    assert!(holds(&trace, SECRET), "what is shown is kept");
    assert_eq!(trace.describe().record, envelope.describe(&payloads));
    assert_eq!(names(&trace), ["N(COOKIE)", "V"]);
}

#[test]
fn nothing_that_a_description_hides_is_kept() {
    for payload in
        [Payload::Eap(SECRET.to_vec().into()), notify(NotifyType::TICKET_OPAQUE, SECRET), notify(NotifyType::TICKET_LT_OPAQUE, SECRET)]
    {
        let name = short_name(&payload);
        let trace = kept(&[Payload::VendorId(vec![7; 3]), payload]);
        assert!(!holds(&trace, SECRET), "{trace:?}");
        assert_eq!(names(&trace), ["V", &name], "but it is shown that it was there");
    }
}

#[test]
fn a_long_message_is_kept_as_far_as_it_would_be_shown() {
    let long = |octets| {
        let payload = Payload::Unknown(Unknown { payload_type: PayloadType(200), critical: false, body: vec![9; octets] });
        kept(&[payload])
    };
    assert!(matches!(long(MOST_OCTETS / 2).kept, Kept::Octets(..)));
    let trace = long(60_000);
    assert!(format!("{trace:?}").len() < MOST_TEXT, "{}", format!("{trace:?}").len());
    assert!(format!("{trace:?}").contains("too long to be kept"));
}
