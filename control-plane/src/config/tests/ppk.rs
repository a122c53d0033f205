//! Post-quantum preshared keys.

use ike::config::PpkPolicy;

use super::*;

const PPK: &str = "[ppk.b]\nid = \"b.ppk\"\nsecret = \"0x0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"\n";

fn with(lines: &str, ppk: &str) -> Result<Loaded, Vec<String>> {
    let dpd = "dpd_delay = \"30s\"";
    load_in(&folder(&GOOD.replacen(dpd, &format!("{dpd}\n{lines}"), 1), &format!("{GOOD_SECRETS}{ppk}")))
}

fn only_fault(lines: &str, ppk: &str) -> String {
    let faults = with(lines, ppk).expect_err("no fault was found");
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.concat()
}

#[test]
fn a_connection_names_its_ppk_and_whether_it_does_without() {
    let policy = |lines: &str| with(lines, PPK).unwrap().ike.connections[0].ppk.clone();
    assert_eq!(policy(""), None);
    assert_eq!(policy("ppk_id = \"b.ppk\""), Some(PpkPolicy { id: Some("b.ppk".into()), required: false }));
    assert_eq!(policy("ppk_id = \"b.ppk\"\nppk_required = true"), Some(PpkPolicy { id: Some("b.ppk".into()), required: true }));
    let loaded = with("ppk_id = \"b.ppk\"", PPK).unwrap();
    assert_eq!((loaded.ike.ppks[0].secret.expose().len(), loaded.warnings.len()), (32, 0));
    let any = GOOD.replacen("start_action = \"trap\"", "", 1).replacen("dpd_delay", "ppk_id = \"%any\"\ndpd_delay", 1);
    let loaded = load_in(&folder(&any, &format!("{GOOD_SECRETS}{PPK}"))).unwrap();
    assert_eq!(loaded.ike.connections[0].ppk, Some(PpkPolicy { id: None, required: false }));
}

#[test]
fn a_ppk_that_is_not_there_or_means_nothing_is_a_fault() {
    let fault = only_fault("ppk_id = \"b.ppk\"", "");
    assert!(fault.contains("connections.site-b.ppk_id: there is no secret of PPK 'b.ppk'"), "{fault}");
    assert!(fault.contains("add [ppk.NAME] with id = \"b.ppk\""), "{fault}");
    assert!(only_fault("ppk_required = true", PPK).contains("connections.site-b.ppk_required: no PPK is named"));
    assert!(only_fault("ppk_id = \"%any\"", PPK).contains("connections.site-b.ppk_id: this gateway begins by itself"));
    assert!(only_fault("", "[ppk.b]\nid = \"b.ppk\"\n").contains("ppk.b.secret: this is missing"));
    assert!(only_fault("", "[ppk.b]\nsecret = \"x\"\n").contains("ppk.b.id: this is missing"));
    assert!(only_fault("", &format!("{PPK}{}", PPK.replace("[ppk.b]", "[ppk.c]"))).contains("ppk.c.id: 'b.ppk' has a secret already"));
    assert!(only_fault("", &PPK.replace("b.ppk", "%any")).contains("ppk.b.id: this is no name of a PPK"));
}

#[test]
fn a_short_ppk_is_warned_of() {
    let warnings = with("ppk_id = \"b.ppk\"", "[ppk.b]\nid = \"b.ppk\"\nsecret = \"hunter2\"\n").unwrap().warnings;
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert!(warning.to_string().contains("connections.site-b.ppk_id: the secret of PPK 'b.ppk' has 7 octets"), "{warning}");
}
