# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv2 with PSK, site to site"
