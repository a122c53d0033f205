//! The fence around DPDK: safe types for EAL, pools, mbufs, ports and queues.
