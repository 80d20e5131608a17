#!/usr/bin/env bash
# Installs the peers that `compare.py` runs beside PlugSend: Postfix with OpenDKIM (Debian packages) and Haraka (npm).
# Needs root on Debian. Starts nothing: the benchmark runs each of them with a configuration of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

guard=/usr/sbin/policy-rc.d
if [ ! -e "$guard" ]; then # tells Debian's packages to start no service
    printf '#!/bin/sh\nexit 101\n' >"$guard"
    chmod 755 "$guard"
    trap 'rm -f "$guard"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends postfix opendkim sasl2-bin libsasl2-modules nodejs openssl
command -v npm >/dev/null || apt-get install -y -qq --no-install-recommends npm

npm install --silent --no-audit --no-fund --prefix var/benchmarks/haraka Haraka@3.3.4
