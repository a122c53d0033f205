# shellcheck shell=bash disable=SC2034,SC2154
# What is different from pull is who speaks first.
# shellcheck source=scripts/interop/strongswan/ikev1-modecfg-pull/scenario.sh
. "$here/strongswan/ikev1-modecfg-pull/scenario.sh"
DESC="IKEv1: an address by Mode Config, given unasked (push), after XAuth (draft-dukes-ike-mode-cfg-02)"
CONNECTION+='
	pull = false'
