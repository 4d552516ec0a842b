# Sourced by ./run and ./test: Debian packages and builds. Needs bash, apt-get, and root or sudo for what is missing.

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() {
  printf 'citadel: %s\n' "$*" >&2
  exit 1
}

packages_run=(clang-19 lld-19 ccache cmake ninja-build git curl
  libboost1.81-dev libboost-json1.81-dev libpq-dev libssl-dev libfmt-dev libspdlog-dev prometheus-cpp-dev
  libtomlplusplus-dev libcli11-dev zlib1g-dev postgresql-15 postgresql-client-15 pgpool2)
packages_test=(libgtest-dev libgmock-dev libbenchmark-dev libclang-rt-19-dev llvm-19 clang-format-19 python3 nginx-light wrk
  strace faketime openssl prometheus psmisc util-linux golang-go golang-golang-x-mod-dev
  rsyslog rsyslog-gnutls rsyslog-openssl)

# Installs what is missing. A server that comes with a package is not started: Citadel runs its own.
install_packages() {  # install_packages run|test
  local wanted=("${packages_run[@]}") missing=() package
  [ "$1" = test ] && wanted+=("${packages_test[@]}")
  for package in "${wanted[@]}"; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get >/dev/null || die "needs Debian 12 (apt-get was not found). Missing packages: ${missing[*]}"
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "these packages are missing; install them as root: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  say "installing ${#missing[@]} Debian packages: ${missing[*]}"
  local free_kib
  free_kib=$(df --output=avail -k /usr | tail -n 1)
  [ "$free_kib" -ge 3145728 ] || die "/usr has $((free_kib / 1024)) MiB free; the packages need 3 GiB. Make room and start again."
  # A main cluster on 5432, a Pgpool-II on 5433 and an nginx on 80 must not start by themselves.
  local policy=/usr/sbin/policy-rc.d cluster=/etc/postgresql-common/createcluster.conf made_policy=
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    made_policy=yes
  fi
  if [ ! -e "$cluster" ]; then
    "${as_root[@]}" mkdir -p "$(dirname "$cluster")"
    echo 'create_main_cluster = false' | "${as_root[@]}" tee "$cluster" >/dev/null
  fi
  local log status=0
  log=$(mktemp)
  {
    "${as_root[@]}" apt-get update -qq &&
      "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o Dpkg::Options::=--force-confold "${missing[@]}"
  } >"$log" 2>&1 || status=$?
  [ -n "$made_policy" ] && "${as_root[@]}" rm -f "$policy"
  if [ "$status" -ne 0 ]; then
    tail -n 15 "$log" >&2
    die "the packages could not be installed (whole log: $log). Is there a network, and are Debian 12's sources configured? Then start again."
  fi
  rm -f "$log"
  # The packages' own services would take Citadel's ports at the next boot.
  if [ -d /run/systemd/system ]; then
    for package in pgpool2 nginx prometheus rsyslog; do
      case " ${missing[*]} " in *" $package"*) "${as_root[@]}" systemctl disable --now "$package" >/dev/null 2>&1 || true ;; esac
    done
  fi
}

configure_preset() {  # configure_preset PRESET [CMAKE_OPTION...]
  local preset=$1
  shift
  cmake --preset "$preset" "$@" >"/tmp/citadel-cmake.$$" 2>&1 || {
    cat "/tmp/citadel-cmake.$$" >&2
    die "cmake could not configure the preset $preset"
  }
  rm -f "/tmp/citadel-cmake.$$"
}

# Ends the script where no test of the build folders has a name that matches.
require_match() {  # require_match PATTERN BUILD_FOLDER...
  local pattern=$1 folder
  shift
  for folder in "$@"; do
    [ -n "$(ctest --test-dir "$folder" -N -R "$pattern" 2>/dev/null | sed -n '/^ *Test *#/p')" ] && return
  done
  die "no test has a name that matches '$pattern'. These are there: $(
    for folder in "$@"; do ctest --test-dir "$folder" -N; done | sed -n 's/^ *Test *#[0-9]*: //p' | sort -u | paste -sd' ')"
}

build_preset() {  # build_preset PRESET [TARGET...]
  local preset=$1 free_kib
  shift
  free_kib=$(df --output=avail -k . | tail -n 1)
  [ "$free_kib" -ge 2097152 ] || die "$PWD has $((free_kib / 1024)) MiB free; a build needs 2 GiB. Make room and start again."
  say "building $preset"
  # ./run needs no tests, and not their packages.
  local options=(-DCITADEL_TESTS=ON)
  [ "$preset/$*" = release/citadel ] && options=(-DCITADEL_TESTS=OFF)
  configure_preset "$preset" "${options[@]}"
  cmake --build --preset "$preset" ${@:+--target "$@"} >&2 || die "the build of $preset failed: the first error stands above"
}

# Sets TMPDIR to a folder in memory that goes with this script, where memory has room for the tests' servers. They make and
# remove some thousand files each, which costs a disk's file system as much as everything else that they do. A process that
# is killed loses no more on a disk than here; a disk's own faults are injected by the tests.
use_memory_for_test_folders() {
  local memory=/dev/shm free_kib available_kib
  [ -z "${TMPDIR:-}" ] && [ -d "$memory" ] && [ -w "$memory" ] || return 0
  free_kib=$(df --output=avail -k "$memory" | tail -n 1)
  available_kib=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
  [ "$free_kib" -ge 6291456 ] && [ "${available_kib:-0}" -ge 12582912 ] || return 0
  local folder
  folder=$(mktemp -d "$memory/citadel-test.XXXXXX")
  # shellcheck disable=SC2064  # the folder as it is now
  trap "rm -rf '$folder'" EXIT
  chmod 755 "$folder"  # the servers' user passes through it
  # Containers mount it so that nothing in it can be run.
  printf '#!/bin/sh\n' >"$folder/runs"
  chmod 755 "$folder/runs"
  "$folder/runs" 2>/dev/null || return 0
  export TMPDIR=$folder
}
