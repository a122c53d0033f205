use super::*;

const HOSTILE: &str = "</dd><script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&\u{1b}[31m";

fn message(outbound: bool, title: &str, payloads: Vec<Payload>) -> TraceRecord {
    let message = Message {
        outbound,
        local: "192.0.2.1:500".into(),
        remote: "[2001:db8::2]:4500".into(),
        title: title.into(),
        payloads,
        octets: 248,
        retransmission: false,
        header: vec![Field { name: "Message ID".into(), value: "0".into(), fields: vec![] }],
    };
    TraceRecord { record: Some(Record::Message(message)), initiator_spi: 7, ..TraceRecord::default() }
}

fn payload(name: &str, encrypted: bool, value: &str) -> Payload {
    let inner = Field { name: "inner".into(), value: value.into(), fields: vec![] };
    Payload { name: name.into(), encrypted, fields: vec![Field { name: "outer".into(), value: value.into(), fields: vec![inner] }] }
}

#[test]
fn what_a_peer_says_is_text_everywhere() {
    let mut record = message(false, HOSTILE, vec![payload(HOSTILE, true, HOSTILE)]);
    record.connection = HOSTILE.into();
    let step = Step { title: HOSTILE.into(), lines: vec![HOSTILE.into()] };
    let step = TraceRecord { record: Some(Record::Step(step)), initiator_spi: 7, ..TraceRecord::default() };
    let page = page(&[record, step]);
    assert_eq!(page.matches("<script>").count(), 1, "the page's own alone");
    assert!(!page.contains("<img") && !page.contains('\u{1b}') && !page.contains("onerror=alert(1)>\""));
    assert!(page.contains("&lt;/dd&gt;&lt;script&gt;document.title=&#39;owned&#39;"));
}

#[test]
fn a_step_stands_with_the_peers_of_its_ike_sa_even_before_their_first_message() {
    let step = |title: &str, spi| {
        let step = Step { title: title.into(), lines: vec![] };
        TraceRecord { record: Some(Record::Step(step)), initiator_spi: spi, ..TraceRecord::default() }
    };
    let records = [step("begins", 7), message(true, "IKE_SA_INIT request 0", vec![]), step("keys", 7), step("lost", 0)];
    let pairs = by_peers(&records);
    assert_eq!(pairs.len(), 1);
    assert_eq!((pairs[0].0.0.as_str(), pairs[0].0.1.as_str(), pairs[0].1.len()), ("192.0.2.1", "2001:db8::2", 4));
}

#[test]
fn the_page_asks_nothing_of_anybody() {
    let page = page(&[message(true, "IKE_SA_INIT request 0", vec![payload("SA", false, "1")])]);
    for outside in ["http:", "https:", "//", "src=", "url(", "@import", "<link"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn without_messages_the_page_says_so() {
    assert!(page(&[]).contains("No IKE messages yet."));
}
