//! How the process begins and ends.

use std::fs;
use std::process::Command;

use crate::harness::{ChildSa, Gateway, Suite};

#[test]
fn sigterm_ends_it_gracefully() {
    let mut gateway = Gateway::start();
    gateway.set_policies();
    let sa = ChildSa::installed(&mut gateway, Suite::PLAIN);
    sa.expect_sent(&mut gateway, 1, "at work");
    // Streams that are open do not hold it up.
    let mut events = gateway.controller.subscribe();
    let _punt = gateway.controller.open_punt();
    let socket = gateway.folder.path().join("data.sock");
    assert!(socket.exists());
    let status = gateway.process.terminate();
    assert_eq!(status.code(), Some(0), "{status}:\n{}", gateway.process.log());
    assert!(!socket.exists(), "the socket is left behind");
    gateway.controller.expect_end(&mut events);
}

/// Only its user may use the socket, and a second daemon does not take it away.
#[test]
fn the_socket_belongs_to_one_daemon_and_one_user() {
    use std::os::unix::fs::PermissionsExt;

    let mut gateway = Gateway::start();
    let socket = gateway.folder.path().join("data.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let config = gateway.folder.path().join("data.toml");
    let second = Command::new(env!("CARGO_BIN_EXE_culvert-data"))
        .arg("--config")
        .arg(&config)
        .args(["--", "--no-huge", "-m", "64", "--no-shconf", "--no-pci", "--no-telemetry", "--vdev=net_null0"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("another process listens here"), "{said}");
    assert_eq!(gateway.controller.stats().epoch, gateway.controller.epoch());
}

#[test]
fn a_configuration_that_cannot_be_is_refused_by_file_line_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    fs::write(
        &file,
        "socket = '/run/x.sock'\nworkers = [0]\n\n[[port]]\nname = 'net_null0'\nrole = 'unprotected'\naddresses = ['192.0.2.0/24']\n",
    )
    .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_culvert-data")).arg("--config").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("{}:7: port[0].addresses[0]:", file.display())), "{said}");
}
