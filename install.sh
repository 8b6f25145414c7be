#!/usr/bin/env bash
# Tries, tests, installs and updates labnode; `./install.sh --help` says how.
#
# It finds a Python and hands over to labnode/install/, where the rest is. Everything is in functions
# and the last line calls main: half a download does nothing.

[ -n "${BASH_VERSION:-}" ] || { echo "install.sh needs bash; start it as ./install.sh" >&2; exit 2; }

set -euo pipefail

readonly OLDEST_PYTHON=3.11
readonly APT=(env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get -qq
    -o DPkg::Lock::Timeout=120 -o Acquire::Retries=2 -o Acquire::http::Timeout=30)

usage() {
    printf '%s\n' "Usage: ./install.sh demo [--no-browser] [--port N] [--seconds N]
       ./install.sh docs [--build | --port N]
       ./install.sh test [PYTEST-ARGUMENT... | --system [PYTEST-ARGUMENT...]
                          | --real [PYTEST-ARGUMENT...] | --arm ROOT [PART] | --tools | --audit]
       sudo ./install.sh --board boards/NAME.yaml [OPTION...]
       sudo ./install.sh upgrade | rollback [OPTION...]
       sudo ./install.sh uninstall [--name NAME] [--purge]
       ./install.sh status
       sudo ./install.sh flash IMAGE-OR-DEVICE --board boards/NAME.yaml [OPTION...]

  demo       start the demo board without hardware and open the student's page
  docs       build the documents into site/ and serve them at http://127.0.0.1:8000
  test       check the code and run every test; --system: install for real, in Debian roots;
             --real: with a LabDiscoveryEngine of PyPI and its Redis;
             --arm: in an emulated Debian of another processor;
             --tools: no test, only install the Debian packages that they use;
             --audit: ask the internet for known weaknesses of the libraries of a release
  install    make a board a service of this machine; again: add a lab, or change this one
  upgrade    go over to the labnode in this directory; back again when it does not work
  rollback   go back to the labnode before the last upgrade
  uninstall  remove labnode (or one lab); settings and history stay without --purge
  status     what is installed, and how it is
  flash      put a lab on an SD card (or image) with Raspberry Pi OS: it installs itself

demo, docs and test make .venv beside this script and change nothing else, except that root gets
missing Debian packages installed (python3-venv, chromium, mtools, nginx-light, openssh-server,
shellcheck, avrdude, openocd).

The options of a command: ./install.sh install --help. With --dry-run the commands from install to
uninstall, and flash, only say what they would do."
}

main() {
    case ${1:-} in
        -h | --help | help) usage; return ;;
        demo | docs | test | install | upgrade | rollback | uninstall | status | flash) ;;
        --*) set -- install "$@" ;;
        '') misused "say what to do: demo, docs, test, install, upgrade, rollback, uninstall, status or flash" ;;
        *) misused "there is no command '$1'" ;;
    esac
    find_labnode
    case $1:${2:-} in
        demo:-h | demo:--help | docs:-h | docs:--help | test:-h | test:--help) usage; return ;;
        demo:* | docs:* | test:*)
            [[ $(uname -s) == Linux ]] || fail "labnode runs on Linux only; this is $(uname -s)"
            choose_python_with_venv
            ;;
        *) choose_python "$@" ;;
    esac
    umask 022
    # A Python set up for something else (ROS does it in .bashrc) must not leak in.
    unset PYTHONHOME
    export PYTHONPATH=$modules LABNODE_PYTHON=$python
    exec "$python" -P -B -m labnode.install "$@" # Ctrl-C goes to it, and its exit code to the caller
}

# Sets `modules`, the directory in which the package labnode is: the clone, or beside the copy of
# this script in a release.
find_labnode() {
    local script=${BASH_SOURCE[0]:-} root
    [[ -f $script ]] || fail "install.sh works from a clone: git clone the project, then start" \
        "./install.sh in its directory"
    script=$(readlink -f -- "$script")
    root=${script%/*}
    for modules in "$root" "$root"/../../lib/python3*/site-packages; do
        [[ ! -f $modules/labnode/install/__main__.py ]] || break
    done
    [[ -f $modules/labnode/install/__main__.py && ($modules != "$root" || -f $root/pyproject.toml) ]] ||
        fail "$root is not a clone of labnode (pyproject.toml and labnode/ belong beside install.sh)"
}

# --- Python ---

# Sets `python`: new enough to run labnode.install.
choose_python() { # COMMAND OPTION...
    local version newest=''
    if ! have python3 && is_root && [[ " $* " != *' --dry-run '* ]]; then
        apt_install python3 python3-venv || true
    fi
    for python in python3.13 python3.12 python3.11 python3; do
        # Started, not only looked up: pyenv has a file for every version it has ever seen.
        version=$(python_version "$python") || continue
        ! is_new_enough "$version" || return 0
        newest=${newest:-$version}
    done
    fail_without_python "$newest"
}

# Sets `python`: new enough, and able to make a venv.
choose_python_with_venv() {
    local candidate version found='' newest=''
    python=''
    if is_root && ! have python3; then
        apt_install python3 python3-venv || true
    fi
    for candidate in python3.13 python3.12 python3.11 python3; do
        version=$(python_version "$candidate") || continue
        if ! is_new_enough "$version"; then
            newest=${newest:-$version}
        elif can_make_venvs "$candidate"; then
            python=$candidate
            return
        else
            found=${found:-$candidate}
        fi
    done
    [[ -n $found ]] || fail_without_python "$newest"
    version=$(python_version "$found")
    if is_root && apt_install "python$version-venv" && can_make_venvs "$found"; then
        python=$found
        return
    fi
    fail "$found cannot make virtual environments; install the missing package, then start again:" \
        "sudo apt-get install python$version-venv"
}

fail_without_python() { # NEWEST: the version that is there, or nothing
    local there="none was found" advice="sudo apt-get install python3 python3-venv"
    if [[ -n $1 ]]; then
        there="this machine has $1"
        advice="Debian 12, Raspberry Pi OS 12 and Ubuntu 24.04 have it; on Ubuntu 22.04:"
        advice+=" sudo apt-get install python3.11 python3.11-venv"
    fi
    fail "labnode needs Python $OLDEST_PYTHON or newer, and $there ($advice)"
}

python_version() { # PYTHON: "3.11", or a failure when it does not start
    "$1" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

is_new_enough() { # VERSION
    [[ $1 =~ ^3\.([0-9]+)$ ]] && ((BASH_REMATCH[1] >= ${OLDEST_PYTHON#3.}))
}

can_make_venvs() { # PYTHON; Debian splits ensurepip from Python, so `venv` alone says nothing
    "$1" -I -c 'import ensurepip, venv' 2>/dev/null
}

apt_install() { # PACKAGE...; false, with the reason shown, when it did not work
    local log
    have apt-get || return 1
    say "installing $* with apt-get; this can take a few minutes"
    log=$(mktemp "${TMPDIR:-/tmp}/labnode-install.XXXXXX") || fail "cannot write into ${TMPDIR:-/tmp}"
    "${APT[@]}" update >/dev/null 2>&1 </dev/null || true # old lists are often good enough
    if "${APT[@]}" install --yes --no-install-recommends "$@" >"$log" 2>&1 </dev/null; then
        rm -f -- "$log"
        return 0
    fi
    tail -n 15 -- "$log" | sed 's/^/    /' >&2
    say "everything it said is in $log"
    return 1
}

# --- small things ---

have() { command -v "$1" >/dev/null; }

is_root() { [[ $(id -u) == 0 ]]; }

# What we say goes to stderr: stdout belongs to labnode and to the tests.
say() { printf 'install.sh: %s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

misused() {
    say "$*"
    usage >&2
    exit 2
}

main "$@"
