#!/usr/bin/env bash
# Tries labnode without hardware, or tests it, from a clone; `./install.sh --help` says how.
#
# Everything is in functions and the last line calls main: half a download does nothing.

[ -n "${BASH_VERSION:-}" ] || { echo "install.sh needs bash; start it as ./install.sh" >&2; exit 2; }

set -euo pipefail

readonly OLDEST_PYTHON=3.11
readonly SHELL_SCRIPTS=(install.sh .ci/run)
readonly APT=(env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get -qq
    -o DPkg::Lock::Timeout=120 -o Acquire::Retries=2 -o Acquire::http::Timeout=30)

usage() {
    printf '%s\n' \
        'Usage: ./install.sh demo [--no-browser] [--port N] [--seconds N]' \
        '       ./install.sh test [PYTEST-ARGUMENT...]' \
        '' \
        '  demo   start the demo board without hardware and open the student'"'"'s page' \
        '  test   check the code and run every test' \
        '' \
        'Both make .venv beside this script the first time. Nothing else on the machine changes,' \
        'except that root gets missing Debian packages installed (python3-venv, chromium, shellcheck,' \
        'nginx-light, avrdude, openocd).'
}

main() {
    local command=${1:-}
    case $command in
        -h | --help | help) usage; return ;;
        demo | test) shift ;;
        '') misused "say what to do: demo or test" ;;
        *) misused "there is no command '$command'" ;;
    esac
    case ${1:-} in
        -h | --help) usage; return ;;
    esac
    find_clone
    "command_$command" "$@"
}

command_demo() {
    prepare_venv ''
    exec "$venv/bin/labnode" demo "$@" # exec: Ctrl-C goes to labnode, and its exit code to the caller
}

command_test() {
    local failed='' status=0
    prepare_venv test
    install_test_tools
    cd -- "$root"
    export PATH="$venv/bin:$PATH"
    check "ruff check" ruff check .
    check "ruff format" ruff format --check .
    check "mypy" mypy
    if have shellcheck; then
        check "shellcheck" shellcheck "${SHELL_SCRIPTS[@]}"
    else
        say "no shellcheck on this machine: that check is skipped"
    fi
    echo "== pytest"
    python -m pytest "$@" || status=$?
    # Only now, and only in this case: a person who reads "passed" has to learn what failed above.
    if [[ -n $failed ]]; then
        say "failed before the tests: $failed"
        ((status)) || status=1
    fi
    return "$status"
}

check() { # NAME COMMAND...: adds NAME to its caller's `failed` when COMMAND fails
    echo "== $1"
    "${@:2}" || failed+="${failed:+, }$1"
}

# Debian's browser, nginx and shellcheck where they are missing and we may install them.
install_test_tools() {
    if is_root && have apt-get; then
        have shellcheck || apt_install shellcheck || true
        have nginx || install_nginx
        have_browser || apt_install chromium chromium-driver || true
        have_programmers || apt_install avrdude openocd || true
    fi
    have_browser || say "no chromium with chromedriver on this machine: the browser test is skipped" \
        "(Debian: sudo apt-get install chromium chromium-driver)"
    have_programmers || say "no avrdude or no openocd on this machine: their tests are skipped" \
        "(Debian: sudo apt-get install avrdude openocd)"
}

# The tests start nginx themselves: Debian's service would only take this machine's port 80.
install_nginx() {
    apt_install nginx-light || return 0
    ! have systemctl || systemctl disable --now nginx >/dev/null 2>&1 || true
}

have_programmers() { have avrdude && have openocd; }

have_browser() { { have chromium || have chromium-browser; } && have chromedriver; }

# --- where we are ---

# Sets `root` (the clone, without symbolic links), `venv` and `stamp`.
find_clone() {
    local script=${BASH_SOURCE[0]:-}
    [[ $(uname -s) == Linux ]] || fail "labnode runs on Linux only; this is $(uname -s)"
    [[ -f $script ]] || fail "install.sh works from a clone: git clone the project, then start" \
        "./install.sh in its directory"
    script=$(readlink -f -- "$script")
    root=${script%/*}
    [[ -f $root/pyproject.toml && -f $root/labnode/__init__.py ]] ||
        fail "$root is not a clone of labnode (pyproject.toml and labnode/ belong beside install.sh)"
    readonly root venv=$root/.venv
    readonly stamp=$venv/labnode-stamp
    # A Python set up for something else (ROS does it in .bashrc) must not leak into the venv.
    unset PYTHONHOME PYTHONPATH
}

# --- .venv: made once, and again only when it has to be ---

# Afterwards .venv has labnode and its EXTRAS ('' or 'test').
prepare_venv() { # EXTRAS
    local extras=$1 fault started=$SECONDS lock
    # pip ends a Ctrl-C as an error of its own, which would then be explained as one.
    trap 'say "interrupted; start it again to go on"; exit 130' INT
    exec {lock}<"$root"
    take_turn "$lock"
    fault=$(venv_fault)
    if [[ -n $fault ]]; then
        say "making .venv anew: $fault"
        remove_venv
    fi
    if [[ ! -d $venv ]] || ! is_current "$extras"; then
        [[ -d $venv ]] || make_venv
        install_labnode "$extras"
        say "ready after $((SECONDS - started)) s"
    fi
    exec {lock}<&- # labnode must not inherit the lock
    trap - INT
}

# Two install.sh at once would spoil each other's .venv: the second waits.
take_turn() { # LOCK: a descriptor of the clone's directory
    have flock || return 0
    flock -n "$1" 2>/dev/null && return
    say "another install.sh is busy with this clone; waiting for it"
    local status=0
    flock -w 900 "$1" || status=$?
    # 1 is "still taken"; anything else is a file system without locks, where one goes without.
    ((status != 1)) || fail "another install.sh has been busy with $root for 15 minutes; stop that one first"
}

# Why the .venv that is there is of no use; nothing when it is fine or not there.
venv_fault() {
    local version
    [[ -e $venv || -L $venv ]] || return 0
    if [[ ! -f $stamp ]]; then
        echo "its installation was not finished"
    elif [[ $(stamped path) != "$root" ]]; then
        echo "it was made in another directory"
    elif ! version=$(python_version "$venv/bin/python"); then
        echo "its Python does not start"
    elif [[ $(stamped python) != "$version" ]]; then
        echo "it was made for another version of Python"
    elif [[ ! -x $venv/bin/labnode ]] || ! "$venv/bin/python" -I -c 'import labnode' 2>/dev/null; then
        echo "labnode is missing in it"
    fi
}

# Whether .venv has the libraries that pyproject.toml asks for now, those of EXTRAS too.
is_current() { # EXTRAS
    local installed
    [[ $(stamped pyproject) == "$(hash_of_pyproject)" ]] || return 1
    installed=$(stamped extras)
    [[ -z $1 || $installed == "$1" ]]
}

stamped() { # KEY: its value in the stamp, which is the last thing an installation writes
    sed -n "s/^$1 //p" "$stamp"
}

hash_of_pyproject() {
    local hash
    hash=$(sha256sum <"$root/pyproject.toml")
    echo "${hash%% *}"
}

remove_venv() {
    rm -rf -- "$venv" 2>/dev/null ||
        fail "$(id -un) cannot remove $venv, which $(stat -c %U -- "$venv") made: sudo rm -rf '$venv'"
}

make_venv() {
    [[ -w $root ]] || fail "$(id -un) may not write into $root, where .venv has to go"
    need_space 200
    choose_python
    say "making .venv with Python $(python_version "$python")"
    quietly "$python" -m venv "$venv" || fail "$python could not make $venv"
}

# The clone is installed as editable: after a `git pull` the new code runs without a new .venv.
install_labnode() { # EXTRAS
    [[ -w $venv ]] || fail "$(id -un) may not write into $venv, which $(stat -c %U -- "$venv") made:" \
        "sudo rm -rf '$venv', or go on as that user"
    [[ -z $1 ]] || need_space 400
    rm -f -- "$stamp"
    say "installing labnode and the libraries it needs${1:+, and those of its tests};" \
        "this takes about a minute, on a small Pi a few"
    pip_install "$1" ||
        fail "pip could not install labnode; does this machine reach the internet (or the index" \
            "that pip is configured for)?"
    printf '%s\n' "path $root" "python $(python_version "$venv/bin/python")" \
        "pyproject $(hash_of_pyproject)" "extras $1" >"$stamp.new"
    mv -- "$stamp.new" "$stamp"
}

pip_install() ( # EXTRAS
    cd -- "$root" || return # a relative path: pip reads [ ] in a path as extras
    # PIP_USER: `user = true` in a pip.conf cannot work in a venv. Everything else there is respected.
    PIP_USER=0 quietly "$venv/bin/python" -m pip install --no-input --disable-pip-version-check \
        --progress-bar off --editable ".${1:+[$1]}"
)

need_space() { # MEGABYTES
    local free
    free=$(LC_ALL=C df -m --output=avail -- "$root" 2>/dev/null | tail -n 1) || return 0
    [[ ! $free =~ ^[[:space:]]*[0-9]+$ ]] || ((free >= $1)) ||
        fail "the disk with $root has only ${free//[[:space:]]/} MB free; .venv needs about $1 MB"
}

# --- Python ---

# Sets `python`: new enough, and able to make a venv.
choose_python() {
    local candidate version found='' newest=''
    python=''
    if is_root && ! have python3; then
        apt_install python3 python3-venv || true
    fi
    for candidate in python3.13 python3.12 python3.11 python3; do
        # Started, not only looked up: pyenv has a file for every version it has ever seen.
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

# --- Debian packages ---

apt_install() { # PACKAGE...; false, with the reason shown, when it did not work
    have apt-get || return 1
    say "installing $* with apt-get; this can take a few minutes"
    if [[ -z ${lists_are_fresh:-} ]]; then
        quietly "${APT[@]}" update || true # old lists are often good enough
        lists_are_fresh=yes
    fi
    quietly "${APT[@]}" install --yes --no-install-recommends "$@"
}

# --- small things ---

# Runs COMMAND without a word; when it fails, shows the end of what it said and where the rest is.
quietly() { # COMMAND...
    local log status=0
    log=$(mktemp "${TMPDIR:-/tmp}/labnode-install.XXXXXX") || fail "cannot write into ${TMPDIR:-/tmp}"
    "$@" >"$log" 2>&1 </dev/null || status=$?
    if ((status)); then
        tail -n 15 -- "$log" | sed 's/^/    /' >&2
        say "everything it said is in $log"
    else
        rm -f -- "$log"
    fi
    return "$status"
}

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
