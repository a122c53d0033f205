//! The daemon as a whole: the process runs on two veth cables in a network namespace, raw sockets are its hosts and its peer, scapy is the other end of
//! its SAs, and the test is its control plane. Nothing here calls the daemon's code.
//!
//! Needs root, iproute2, ethtool and python3-scapy (`scripts/setup` installs them). Tests may run side by side; whatever ends them, namespaces,
//! processes and huge pages are given back.

#![expect(clippy::unwrap_used, reason = "tests")]

mod access_list;
mod acquire;
mod contract;
mod esp;
mod explain;
mod fragments;
mod harness;
mod hostile;
mod icmp_error;
mod ipv6;
mod lifecycle;
mod mixes;
mod modes;
mod neighbors;
mod policy;
mod punt;
mod rekey;
mod retarget;
mod variants;
