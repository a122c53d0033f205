//! What the server counts.

/// Makes the counters, their names and their meanings from one table.
macro_rules! counters {
    ($($field:ident $meaning:literal)*) => {
        /// The counters.
        #[derive(Debug, Clone, Copy, Default)]
        pub(super) struct Counters {
            $(#[doc = $meaning] pub(super) $field: u64,)*
        }

        impl Counters {
            /// Name, value and meaning of each.
            pub(super) fn each(&self) -> impl Iterator<Item = (&'static str, u64, &'static str)> {
                [$((stringify!($field), self.$field, $meaning)),*].into_iter()
            }
        }
    };
}

counters! {
    ike_received "IKE datagrams given to the control plane."
    ike_sent "IKE datagrams of the control plane given to a worker."
    ike_malformed "Punted as IKE, but malformed or with a wrong UDP checksum: dropped."
    ike_without_controller "IKE datagrams dropped because no control plane listens."
    ike_overflow "IKE datagrams dropped because the control plane does not keep up."
    ike_refused "IKE datagrams of the control plane that could not be sent: foreign source address, too long, malformed."
    own_overflow "Packets of the gateway itself dropped because a worker does not keep up."
    arp_replies "ARP requests answered (RFC 826)."
    arp_requests "ARP requests sent."
    icmp_echo_replies "ICMP echo requests answered (RFC 792)."
    slow_path_ignored "ARP and ICMP packets that need no answer."
    neighbor_table_full "Next hops that could not be resolved because the table is full."
    events_lost "Events dropped because nobody fetched them in time."
    silent_installs "Installs that failed because a worker was silent."
}
