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
    nat_keepalives_sent "NAT keepalives of the control plane given to a worker (RFC 3948 section 2.3)."
    ike_malformed "Punted as IKE, but malformed or with a wrong UDP checksum: dropped."
    ike_without_controller "IKE datagrams dropped because no control plane listens."
    ike_overflow "IKE datagrams dropped because the control plane does not keep up."
    ike_refused "IKE datagrams of the control plane that could not be sent: foreign source address, too long for IP, malformed."
    own_overflow "Packets of the gateway itself dropped because a worker does not keep up."
    arp_replies "ARP requests answered (RFC 826)."
    arp_requests "ARP requests sent."
    neighbor_advertisements "Neighbor Solicitations answered (RFC 4861)."
    neighbor_solicitations "Neighbor Solicitations sent (RFC 4861)."
    router_advertisements "Router Advertisements ignored: routes are configured."
    icmp_echo_replies "ICMP and ICMPv6 echo requests answered (RFC 792, RFC 4443)."
    icmp_too_big "ICMP Fragmentation Needed and ICMPv6 Packet Too Big sent (RFC 1191 section 4, RFC 4443 section 3.2)."
    icmp_time_exceeded "ICMP and ICMPv6 Time Exceeded sent (RFC 792, RFC 4443 section 3.3)."
    path_mtu_learnt "ICMP errors of routers that lowered the MTU of the path to a peer (RFC 4301 section 8.2.2)."
    path_mtu_ignored "Such errors ignored: about no packet that was sent of late, nothing new, too many, or switched off."
    icmp_errors_unroutable "ICMP errors not sent because no protected port leads to the sender, or its address is not that of one other host."
    own_fragmented "Packets of the gateway itself sent in fragments because they exceed the MTU (RFC 791 section 3.2, RFC 8200 section 4.5)."
    icmp_echo_in_the_clear "Echo requests from the unprotected side in the clear where an SPD entry says PROTECT: not answered (RFC 4301 section 5.2)."
    slow_path_ignored "ARP, ICMP and ICMPv6 packets that need no answer."
    neighbor_table_full "Next hops that could not be resolved because the table is full."
    reassembled "Packets put together from fragments to addresses of the gateway (RFC 791 section 3.2)."
    reassembly_esp "Packets put together that hold ESP, given to the worker of their SA (RFC 4303 section 3.4.1)."
    reassembly_esp_overflow "Such packets dropped because a worker does not keep up."
    reassembly_timeout "Packets of which not every fragment came within 15 s."
    reassembly_overlap "Packets given up because fragments overlap (RFC 5722)."
    reassembly_too_long "Packets given up because they exceed 32 KiB or 32 fragments."
    reassembly_evicted "Packets under way that made room for those of others."
    fragments_malformed "Fragments of an impossible length, or without a readable header: dropped."
    fragments_given_up "Fragments dropped because their packet was given up before."
    fragments_duplicate "Exact copies of fragments: dropped."
    fragments_overflow "Fragments dropped because too many packets of others were under way."
    events_lost "Events dropped because nobody fetched them in time."
    silent_installs "Installs that failed because a worker was silent."
}
