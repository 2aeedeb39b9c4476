#!/usr/bin/env bash
# Installs what generate.py and served_check.py need, once, into the cache folder. The last line printed is the path of
# a Python that has it. Needs Debian or Ubuntu for python3-torch; a machine that has torch for /usr/bin/python3 needs
# no root.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${FEALTY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fealty}
venv=$cache/reference-venv
python=/usr/bin/python3
again=$here/../../scripts/again

say() { echo "reference: $*" >&2; }

has_system_parts() { "$python" -c 'import torch, ensurepip' 2>/dev/null; }

install_system_parts() {
  if ! command -v apt-get >/dev/null; then
    say "PyTorch for $python is missing and this is not Debian or Ubuntu; install torch for $python and run this again"
    exit 1
  fi
  say "installing python3-torch and python3-venv with apt-get (about 500 MB)"
  "$here/../../scripts/apt-install" python3-torch python3-numpy python3-venv
}

# Debian's torch multiplies with whatever BLAS is there, and the plain one is 25 times slower than OpenBLAS.
has_slow_blas() { dpkg-query -W python3-torch >/dev/null 2>&1 && ! /sbin/ldconfig -p | grep -q libopenblas; }

has_system_parts || install_system_parts
if has_slow_blas; then
  "$here/../../scripts/apt-install" libopenblas0-openmp || say "OpenBLAS could not be installed: torch will be slow"
fi

wanted=$(cat "$here/requirements.txt" "$here/requirements-nodeps.txt" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$venv/installed" 2>/dev/null || true)" != "$wanted" ]; then
  say "preparing $venv"
  mkdir -p "$cache"
  "$python" -m venv --system-site-packages "$venv"
  "$again" "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" -c "$here/constraints.txt" >&2
  "$again" "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$here/requirements-nodeps.txt" -c "$here/constraints.txt" >&2
  "$venv/bin/python" -c 'import torch, transformers, gguf, accelerate'
  echo "$wanted" > "$venv/installed"
fi

echo "$venv/bin/python"
