//! Start and end of EAL, each case in a process of its own: EAL can be started once.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::env;
use std::process::Command;

use dpdk::{Eal, Error, PoolConfig};
use packet::Buffer;

const CASE: &str = "DPDK_TEST_CASE";

#[test]
fn start_and_end() {
    match env::var(CASE).as_deref() {
        Err(_) => ["option", "rest", "nul", "exclusive", "end"].into_iter().for_each(run_in_child),
        Ok("option") => {
            let error = Eal::init(vec!["--no-such-option".to_owned()]).unwrap_err();
            assert!(matches!(error, Error::Eal { .. }) && error.to_string().contains("rte_eal_init"), "{error}");
            assert_eq!(Eal::init(Vec::new()).unwrap_err(), Error::AlreadyStarted);
        }
        Ok("rest") => {
            let args = ["--no-huge", "-m", "64", "--no-shconf", "--no-pci", "--no-telemetry", "surplus"];
            assert_eq!(Eal::init(args.map(str::to_owned).to_vec()).unwrap_err(), Error::Argument("surplus".to_owned()));
        }
        Ok("nul") => {
            let error = Eal::init(vec!["--vdev".to_owned(), "net\0null".to_owned()]).unwrap_err();
            assert_eq!(error, Error::Nul("net\0null".to_owned()));
        }
        Ok("exclusive") => {
            let error = Eal::init(["--no-huge", "--in-memory"].map(str::to_owned).to_vec()).unwrap_err();
            assert!(matches!(error, Error::Eal { .. }), "{error}");
        }
        Ok("end") => mbuf_outlives_every_handle(),
        Ok(other) => panic!("no case {other}"),
    }
}

/// The memory of an mbuf that is out stays mapped, though the handles of its pool and of EAL are gone.
fn mbuf_outlives_every_handle() {
    let eal = Eal::init(["--no-huge", "-m", "64", "--no-shconf", "--no-pci", "--no-telemetry"].map(str::to_owned).to_vec()).unwrap();
    let pool = eal.pool(&PoolConfig { name: "end".to_owned(), size: 63, cache: 0, data_room: 256 }).unwrap();
    let mut mbuf = pool.alloc().unwrap();
    drop((eal, pool));
    mbuf.append(128).unwrap().fill(1);
    assert_eq!(mbuf.bytes(), [1; 128]);
    drop(mbuf);
}

fn run_in_child(case: &str) {
    let child = Command::new(env::current_exe().unwrap()).args(["--exact", "start_and_end"]).env(CASE, case).output().unwrap();
    let text = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{case}:\n{text}");
    assert!(text.contains("1 passed"), "{case}:\n{text}");
}
