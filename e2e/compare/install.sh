#!/bin/sh
# Installs what we are compared with, where it is missing, and starts no service.
set -eu
missing=
command -v nginx >/dev/null || missing="$missing nginx-light"
command -v squid >/dev/null || missing="$missing squid"
[ -n "$missing" ] || exit 0
apt-get update -qq
DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $missing
