#!/usr/bin/env bash
# Tries, tests, installs and updates labnode; `./install.sh --help` says how.
#
# Everything is in functions and the last line calls main: half a download does nothing.

[ -n "${BASH_VERSION:-}" ] || { echo "install.sh needs bash; start it as ./install.sh" >&2; exit 2; }

set -euo pipefail

readonly OLDEST_PYTHON=3.11
# A LABNODE_PORT in somebody's shell is nothing that an installation should depend on.
readonly ALONE=(env -i PATH=/usr/bin:/bin HOME=/nonexistent LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1)
readonly USER_COMMENT="labnode, made by install.sh"
readonly SHELL_SCRIPTS=(install.sh .ci/run deploy/first-boot/first-boot)
readonly APT=(env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get -qq
    -o DPkg::Lock::Timeout=120 -o Acquire::Retries=2 -o Acquire::http::Timeout=30)

# Every option: its name, what it takes (nothing: yes or no), its commands, what it is for. It is
# given as --port 8080, --port=8080 or LABNODE_INSTALL_PORT=8080; docs/install.md has the same table.
readonly OPTIONS=(
    'board|FILE|install flash|the board file, or a directory with it and all that belongs to it'
    'name|NAME|install uninstall flash|what this lab is called here (the name of the board file)'
    'host|ADDRESS|install flash|the address to listen on (0.0.0.0: all of this machine)'
    'port|N|install flash|the port to listen on (8080)'
    'base-url|URL|install flash|where the lab is for browsers, such as https://labs.example.org/lab1'
    'weblab-username|NAME|install flash|what the central server logs in as (weblab)'
    'weblab-password|WORD|install flash|its password (made up, and shown once)'
    'admin-password|WORD|install flash|the password of the administration (made up, and shown once)'
    'admin-host|ADDRESS|install flash|where the administration listens (127.0.0.1: reached through ssh)'
    'admin-port|N|install flash|its port (that of the lab plus 1000)'
    'simulate||install flash|without hardware: the pins are only pretended'
    'wheels|DIR|install upgrade flash|labnode and its libraries as wheels; no internet is needed'
    'python|FILE|install upgrade|the Python to run it with (/usr/bin/python3)'
    'wait|SECONDS|install upgrade rollback|how long to let students finish first; 0: not (600)'
    'purge||uninstall|settings, boards, history and the users, too'
    'hostname|NAME|flash|what the Pi is called in the network'
    'user|NAME|flash|who may log in on the Pi (pi)'
    'ssh-key|FILE|flash|the public key of that user'
    'wifi|NAME|flash|the wireless network to join'
    'wifi-password|WORD|flash|its password'
    'wifi-country|CC|flash|where the Pi is, such as ES or GB: decides which channels it may use'
    'yes||install upgrade rollback uninstall flash|never ask; the answer is yes'
    'dry-run||install upgrade rollback uninstall flash|only say what would be done'
    'root|DIR|install upgrade rollback uninstall status|work on the system below DIR, not on /'
)

usage() {
    local row name value commands text
    printf '%s\n' \
        'Usage: ./install.sh demo [--no-browser] [--port N] [--seconds N]' \
        '       ./install.sh test [PYTEST-ARGUMENT... | --system [PYTEST-ARGUMENT...]' \
        '                          | --real [PYTEST-ARGUMENT...] | --arm ROOT [PART]' \
        '                          | --tools | --audit]' \
        '       sudo ./install.sh --board boards/NAME.yaml [OPTION...]' \
        '       sudo ./install.sh upgrade | rollback [OPTION...]' \
        '       sudo ./install.sh uninstall [--name NAME] [--purge]' \
        '       ./install.sh status' \
        '       sudo ./install.sh flash IMAGE-OR-DEVICE --board boards/NAME.yaml [OPTION...]' \
        '' \
        '  demo       start the demo board without hardware and open the student'"'"'s page' \
        '  test       check the code and run every test; --system: install for real, in Debian roots;' \
        '             --arm: in an emulated Debian of another processor;' \
        '             --real: with a LabDiscoveryEngine of PyPI and its Redis;' \
        '             --tools: no test, only install the Debian packages that they use;' \
        '             --audit: ask the internet for known weaknesses of the libraries of a release' \
        '  install    make a board a service of this machine; again: add a lab, or change this one' \
        '  upgrade    go over to the labnode in this directory; back again when it does not work' \
        '  rollback   go back to the labnode before the last upgrade' \
        '  uninstall  remove labnode (or one lab); settings and history stay without --purge' \
        '  status     what is installed, and how it is' \
        '  flash      put a lab on an SD card (or image) with Raspberry Pi OS: it installs itself' \
        '' \
        'demo and test make .venv beside this script and change nothing else, except that root gets' \
        'missing Debian packages installed (python3-venv, chromium, mtools, nginx-light, shellcheck,' \
        'avrdude, openocd).' \
        '' \
        'Options, each also as a variable (--base-url is LABNODE_INSTALL_BASE_URL):'
    for row in "${OPTIONS[@]}"; do
        IFS='|' read -r name value commands text <<<"$row"
        printf '  %-25s %s\n' "--$name${value:+ $value}" "$text" "" "[${commands// /, }]"
    done
}

main() {
    local command=${1:-}
    case $command in
        -h | --help | help) usage; return ;;
        demo | test | install | upgrade | rollback | uninstall | status | flash) shift ;;
        --*) command=install ;;
        '') misused "say what to do: demo, test, install, upgrade, rollback, uninstall, status or flash" ;;
        *) misused "there is no command '$command'" ;;
    esac
    case ${1:-} in
        -h | --help) usage; return ;;
    esac
    case $command in
        demo | test) find_clone ;;
        *)
            read_options "$command" "$@"
            set -- "${operands[@]}"
            find_places
            ;;
    esac
    "command_$command" "$@"
}

command_demo() {
    prepare_venv ''
    exec "$venv/bin/labnode" demo "$@" # exec: Ctrl-C goes to labnode, and its exit code to the caller
}

command_test() {
    local failed='' status=0
    case ${1:-} in
        --system)
            shift
            test_system "$@"
            return
            ;;
        --arm)
            shift
            test_arm "$@"
            return
            ;;
        --real)
            shift
            test_real "$@"
            return
            ;;
        --tools)
            [[ $# == 1 ]] || misused "test --tools takes no '$2'"
            is_root || fail "only root can install the tools of the tests: sudo ./install.sh test --tools"
            choose_python
            install_test_tools
            return
            ;;
    esac
    if [[ ${1:-} == --audit ]]; then
        [[ $# == 1 ]] || misused "test --audit takes no '$2'"
        test_audit
        return
    fi
    prepare_venv test
    install_test_tools
    cd -- "$root"
    export PATH="$venv/bin:$PATH"
    if [[ -x $venv/bin/ruff && -x $venv/bin/mypy ]]; then
        check "ruff check" ruff check .
        check "ruff format" ruff format --check .
        check "mypy" mypy
    else
        say "no ruff and mypy here (not everything they need has a wheel for this machine): their checks are skipped"
    fi
    if have shellcheck; then
        check "shellcheck" shellcheck "${SHELL_SCRIPTS[@]}"
    else
        say "no shellcheck on this machine: that check is skipped"
    fi
    echo "== pytest"
    python -m pytest -n auto --maxprocesses 4 --dist worksteal "$@" || status=$?
    # Only now, and only in this case: a person who reads "passed" has to learn what failed above.
    if [[ -n $failed ]]; then
        say "failed before the tests: $failed"
        ((status)) || status=1
    fi
    return "$status"
}

# The installer itself, for real, in fresh Debian roots; tests/system/README.md says how long it takes.
test_system() {
    is_root || fail "these tests make Debian systems and install into them: sudo ./install.sh test --system"
    have mmdebstrap || apt_install mmdebstrap debian-archive-keyring || fail "these tests need mmdebstrap"
    prepare_venv test
    cd -- "$root"
    python=$venv/bin/python
    "$python" -m pytest -p no:cacheprovider tests/system/installation.py "$@"
}

# The tests in an emulated Debian of another processor; tests/arm/README.md has the roots and the times.
test_arm() { # ROOT [PART...]
    (($#)) || misused "test --arm takes a root, such as trixie-armhf"
    is_root || fail "these tests run in Debian systems of their own: sudo ./install.sh test --arm $1"
    [[ -n ${LABNODE_TEST_ARM:-} ]] || fail "LABNODE_TEST_ARM has to name the command that makes the roots;" \
        "see tests/arm/README.md"
    choose_python
    "$python" -B "$root/tests/arm/suite.py" "$@"
}

# The central servers of other people, as they are published: tests/real/README.md says what and how long.
test_real() {
    if ! have redis-server; then
        ! is_root || apt_install redis-server || true
        have redis-server || fail "these tests need Redis: sudo apt-get install redis-server"
        ! have systemctl || systemctl disable --now redis-server >/dev/null 2>&1 || true
    fi
    prepare_venv test
    cd -- "$root"
    "$venv/bin/python" -m pytest -p no:cacheprovider tests/real/scenarios.py "$@"
}

# Known weaknesses of the libraries that releases are made of, by pip-audit, which has a venv of its own.
test_audit() {
    choose_python
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/labnode-audit.XXXXXX") || fail "cannot write into ${TMPDIR:-/tmp}"
    trap 'rm -rf -- "$scratch"' EXIT
    make_tools
    PIP_USER=0 quietly "$scratch/tools/bin/python" -m pip install --no-input --disable-pip-version-check pip-audit ||
        fail "pip-audit could not be installed, and nothing was looked at; does this machine reach the internet?"
    # --strict: a library that could not be looked at fails the audit, too.
    "$scratch/tools/bin/pip-audit" --strict --disable-pip --require-hashes --progress-spinner off \
        --requirement "$root/deploy/lock/runtime.txt" --requirement "$root/deploy/lock/build.txt" ||
        fail "a library has known weaknesses, or could not be looked at; see above"
}

check() { # NAME COMMAND...: adds NAME to its caller's `failed` when COMMAND fails
    echo "== $1"
    "${@:2}" || failed+="${failed:+, }$1"
}

# Debian's browser, nginx, mtools, strace and shellcheck where they are missing and we may install them.
install_test_tools() {
    if is_root && have apt-get; then
        have shellcheck || apt_install shellcheck || true
        have nginx || install_nginx
        have mcopy || apt_install mtools || true
        have strace || apt_install strace || true
        have_browser || apt_install chromium chromium-driver || true
        have_programmers || apt_install avrdude openocd || true
    fi
    have_browser || say "no chromium with chromedriver on this machine: the browser test is skipped" \
        "(Debian: sudo apt-get install chromium chromium-driver)"
    have_programmers || say "no avrdude or no openocd on this machine: their tests are skipped" \
        "(Debian: sudo apt-get install avrdude openocd)"
    have_esptool || say "no esptool here (not everything it needs has a wheel for this machine):" \
        "its tests are skipped (Debian: sudo apt-get install esptool)"
}

# The tests start nginx themselves: Debian's service would only take this machine's port 80.
install_nginx() {
    apt_install nginx-light || return 0
    ! have systemctl || systemctl disable --now nginx >/dev/null 2>&1 || true
}

have_programmers() { have avrdude && have openocd; }

have_esptool() { [[ -x $venv/bin/esptool.py ]] || have esptool || have esptool.py; }

have_browser() { { have chromium || have chromium-browser; } && have chromedriver; }

# --- a service of this machine: the commands ---

command_install() {
    [[ $# == 0 ]] || misused "install takes no '$1'; the board goes after --board"
    given board || misused "say which board: sudo ./install.sh --board boards/NAME.yaml"
    begin
    find_board
    check_name
    check_port
    check_passwords
    check_machine
    choose_release
    build_release
    check_port_is_free
    ask_admin_host
    install_tools_of "$board"
    make_user labnode gpio dialout video spi i2c plugdev
    install_board
    install_settings
    install_system_files "$release"
    keep_listening "$name"
    configure_boot
    hold_safe_at_boot "$name"
    activate "$release" "$name"
    report_lab "$name"
}

command_upgrade() {
    local lab
    [[ $# == 0 ]] || misused "upgrade takes no '$1'"
    begin
    need_installation
    check_machine
    choose_release
    build_release
    install_system_files "$release"
    while read -r lab; do
        keep_listening "$lab"
        hold_safe_at_boot "$lab"
    done < <(labs)
    activate "$release"
    warn_of_shared_admin
}

command_rollback() {
    [[ $# == 0 ]] || misused "rollback takes no '$1'"
    begin
    need_installation
    release=$(readlink -f -- "$opt/previous") || true
    [[ -x $release/bin/labnode ]] || fail "there is no release before this one to go back to"
    install_system_files "$release"
    activate "$release"
}

command_uninstall() {
    local lab
    [[ $# == 0 ]] || misused "uninstall takes no '$1'; one lab alone goes after --name"
    begin
    if given purge; then
        consent "Remove settings, boards and history, too?" ||
            fail "nothing was removed; without --purge settings and history stay"
    fi
    if given name; then
        check_name
        [[ -e $etc/$name.yaml ]] || fail "there is no lab '$name' here$(list_of_labs)"
        remove_lab "$name"
        return
    fi
    while read -r lab; do remove_lab "$lab"; done < <(labs)
    ! systemctl --quiet is-active labnode-tool.socket 2>/dev/null ||
        change "stop labnode-tool.socket" systemctl stop labnode-tool.socket
    remove "$units/labnode@.service" "$units/labnode@.socket" "$units/labnode-safe@.service" \
        "$units/labnode-tool.socket" "$units/labnode-tool@.service" "$watchdog" "$prefix/etc/udev/rules.d/70-labnode.rules" \
        "$prefix/etc/udev/rules.d/71-labnode-buses.rules" "$prefix/etc/modules-load.d/labnode.conf"
    [[ $(readlink -- "$link") != "$opt_seen/current/bin/labnode" ]] || remove "$link"
    [[ ! -d ${watchdog%/*} ]] || dry || rmdir --ignore-fail-on-non-empty -- "${watchdog%/*}"
    remove "$opt"
    if given purge; then
        remove "$etc" "$var"
        remove_user labnode
        remove_user labnode-tool
    fi
    if [[ $changed ]]; then
        dry || reload_system_files
    else
        say "there is nothing to remove"
    fi
}

command_status() {
    local lab state worst=0
    if [[ ! -L $opt/current ]]; then
        echo "labnode is not installed."
        return 4
    fi
    echo "release     $(basename -- "$(current_release)")"
    [[ ! -L $opt/previous ]] || echo "before      $(basename -- "$(readlink -f -- "$opt/previous")")"
    while read -r lab; do
        state=$(systemctl is-active "labnode@$lab" 2>/dev/null) || worst=3
        echo "lab         $lab: ${state:-unknown}"
        [[ $state != active ]] || ! is_root ||
            as_labnode "$opt/current/bin/labnode" status --state-dir "$var_seen/$lab" | sed 's/^/    /' || worst=3
    done < <(labs)
    return "$worst"
}

# --- what is asked for ---

# Sets `option` from the environment and the arguments, and `operands` to what is not an option.
read_options() { # COMMAND ARGUMENT...
    local command=$1 row name value commands variable argument
    local -A takes=() known=()
    declare -gA option=()
    operands=()
    shift
    for row in "${OPTIONS[@]}"; do
        IFS='|' read -r name value commands _ <<<"$row"
        takes[$name]=$value known[$name]=" $commands "
        variable=${name//-/_}
        variable=LABNODE_INSTALL_${variable^^}
        # A variable may be set for all commands; an option is for this one.
        [[ ${known[$name]} != *" $command "* ]] || set_option "$name" "$value" "${!variable:-}" "$variable"
    done
    for variable in $(compgen -e LABNODE_INSTALL_ || true); do
        name=${variable#LABNODE_INSTALL_}
        name=${name,,}
        [[ -n ${known[${name//_/-}]:-} ]] || misused "there is no option for the variable $variable"
    done
    while (($#)); do
        argument=$1
        shift
        case $argument in
            -h | --help) usage; exit 0 ;;
            --*) ;;
            -*) misused "there is no option '$argument'" ;;
            *) operands+=("$argument"); continue ;;
        esac
        name=${argument#--}
        name=${name%%=*}
        [[ -n ${known[$name]:-} ]] || misused "there is no option '--$name'"
        [[ ${known[$name]} == *" $command "* ]] || misused "$command has no option '--$name'"
        if [[ -z ${takes[$name]} ]]; then
            [[ $argument != *=* ]] || misused "--$name takes nothing"
            value=yes
        elif [[ $argument == *=* ]]; then
            value=${argument#*=}
        else
            (($#)) || misused "--$name needs something after it: ${takes[$name]}"
            value=$1
            shift
        fi
        [[ -n $value ]] || misused "--$name needs something after it: ${takes[$name]}"
        option[$name]=$value
    done
}

set_option() { # NAME TAKES VALUE VARIABLE
    case $2:${3,,} in
        *:) ;;
        :1 | :yes | :true | :on) option[$1]=yes ;;
        :0 | :no | :false | :off) ;;
        :*) misused "$4 is yes or no, not '$3'" ;;
        *) option[$1]=$3 ;;
    esac
}

given() { [[ -n ${option[$1]:-} ]]; }

dry() { given dry-run; }

# Sets where things are: `X` where this script finds them, `X_seen` where labnode does.
find_places() {
    local script=${BASH_SOURCE[0]:-}
    [[ $(uname -s) == Linux ]] || fail "labnode runs on Linux only; this is $(uname -s)"
    [[ -f $script ]] || fail "install.sh has to be a file, beside the rest of labnode: git clone the" \
        "project, then start ./install.sh in its directory"
    script=$(readlink -f -- "$script")
    root=${script%/*}
    prefix=${option[root]:-}
    [[ -z $prefix || -d $prefix ]] || misused "--root: there is no directory $prefix"
    prefix=${prefix%/}
    opt_seen=/opt/labnode var_seen=/var/lib/labnode etc_seen=/etc/labnode
    opt=$prefix$opt_seen etc=$prefix$etc_seen var=$prefix$var_seen
    units=$prefix/etc/systemd/system
    watchdog=$prefix/etc/systemd/system.conf.d/50-labnode-watchdog.conf
    link=$prefix/usr/local/bin/labnode
    unset PYTHONHOME PYTHONPATH
    umask 022
}

find_board() {
    local directory boards=()
    board=${option[board]}
    if [[ -d $board ]]; then
        directory=${board%/}
        boards=("$directory"/*.yaml)
        [[ -e ${boards[0]} && ${#boards[@]} == 1 ]] ||
            fail "$directory has ${#boards[@]} YAML files; name the one that is the board"
        board=${boards[0]}
    fi
    [[ -f $board && -r $board ]] || fail "there is no board file $board"
    board=$(readlink -f -- "$board")
    name=${option[name]:-}
    if [[ -z $name ]]; then
        name=${board##*/}
        name=${name%.*}
        name=${name,,}
    else
        name=${option[name]}
    fi
}

check_name() {
    name=${name:-${option[name]}}
    [[ $name =~ ^[a-z0-9][a-z0-9_-]{0,31}$ && $name != secrets ]] ||
        misused "a lab's name has small letters, digits, '-' and '_' only, not '$name' (--name)"
}

check_port() {
    port=${option[port]:-8080}
    check_number port "$port"
    admin_host=${option[admin-host]:-127.0.0.1}
    admin_port=${option[admin-port]:-$((port <= 64535 ? port + 1000 : port - 1000))}
    check_number admin-port "$admin_port"
    [[ $admin_port != "$port" ]] || misused "--admin-port is another one than --port"
}

check_number() { # OPTION VALUE
    [[ $2 =~ ^[1-9][0-9]{0,4}$ ]] || misused "--$1 is a number, not '$2'"
    (($2 <= 65535)) || misused "--$1 is 1 to 65535, not $2"
}

check_passwords() {
    local key
    [[ ${option[weblab-username]:-}${option[weblab-password]:-} != *[![:ascii:]]* ]] ||
        misused "--weblab-username and --weblab-password are ASCII: central servers cannot send others"
    ! given simulate || return 0
    for key in weblab-password admin-password; do
        ! given "$key" || ((${#option[$key]} >= 12)) ||
            misused "--$key has 12 characters or more (without it, a good one is made up)"
    done
}

# Ports are kept in the settings: a second lab needs others.
check_port_is_free() {
    local lab taken=' '
    [[ ! -e $etc/$name.yaml ]] || return 0
    while read -r lab; do
        [[ $(setting "$lab" port) != "$port" ]] ||
            fail "the lab '$lab' has the port $port already; give this one another (--port)"
        taken+="$(setting "$lab" port) $(setting "$lab" admin port) "
    done < <(labs)
    [[ $taken != *" $port "* ]] ||
        fail "the administration of a lab has the port $port already; give this one another (--port)"
    while [[ $taken == *" $admin_port "* ]]; do
        given admin-port && fail "the port $admin_port is taken by another lab (--admin-port)"
        admin_port=$((admin_port < 65535 ? admin_port + 1 : 1024))
    done
}

ask_admin_host() {
    local answer
    [[ ! -e $etc/$name.yaml ]] && ! given admin-host && ! given yes && ! dry && [[ -t 0 ]] || return 0
    read -r -p "Where should the administration's page listen? 127.0.0.1 is reached through ssh alone. [127.0.0.1] " answer
    admin_host=${answer:-127.0.0.1}
}

# --- whether this machine will do ---

check_machine() {
    local id='' like='' version='' machine
    if [[ -r $prefix/etc/os-release ]]; then
        id=$(os_release ID) like=$(os_release ID_LIKE) version=$(os_release VERSION_ID)
    fi
    case " $id $like " in
        *' debian '* | *' raspbian '*) ;;
        *) fail "labnode is installed on Raspberry Pi OS, Debian and their relatives; this is ${id:-unknown}" ;;
    esac
    case $id:${version%%.*} in
        debian:[0-9] | debian:1[01] | raspbian:[0-9] | raspbian:1[01] | ubuntu:1? | ubuntu:2[0-3])
            fail "labnode needs Debian 12, Raspberry Pi OS 12 or Ubuntu 24.04, or newer; this is $id $version" ;;
    esac
    machine=$(uname -m)
    case $machine in
        armv6l | armv7l | armv8l | aarch64 | x86_64) ;;
        *) fail "labnode runs on ARM (a Raspberry Pi) and x86-64; this machine is $machine" ;;
    esac
    if [[ ! -d $prefix/run/systemd/system ]] || ! have systemctl; then
        fail "systemd does not run on this machine, and labnode is a service of systemd's"
    fi
    # A Pi has no clock of its own. Certificates are not valid yet in 1970, nor are packages.
    (($(date +%s) > 1735689600)) ||
        fail "the clock says $(date +%F); connect the network, or set it: sudo timedatectl set-time 'YYYY-MM-DD HH:MM'"
}

os_release() { # KEY
    sed -n "s/^$1=//p" "$prefix/etc/os-release" | tr -d "\"'"
}

need_installation() {
    [[ -L $opt/current ]] || fail "labnode is not installed; sudo ./install.sh --board boards/NAME.yaml does that"
}

# --- changing things, and taking it back ---

# To be root, alone, and able to undo: what was pushed with undo_with is run, the last first, when
# the script ends without `keep`.
begin() {
    is_root || fail "this changes the system: sudo ./install.sh ..."
    if ! dry; then
        exec 9<"${prefix:-/}"
        flock -n 9 2>/dev/null || fail "another install.sh is changing this system; wait for it"
    fi
    begin_changes
}

begin_changes() {
    undo=(restore_services) changed='' scratch='' touched='' units_changed='' devices_changed='' reboot_needed=''
    restart=() active=() moved=()
    dry || scratch=$(mktemp -d "${TMPDIR:-/tmp}/labnode-install.XXXXXX") || fail "cannot write into ${TMPDIR:-/tmp}"
    explained='' broken=$LINENO
    set -o errtrace
    trap 'broken=$LINENO' ERR
    trap 'take_back $?' EXIT
    trap 'explained=yes; say interrupted; exit 130' INT
    trap 'explained=yes; exit 143' TERM
    trap 'explained=yes; exit 129' HUP
}

take_back() { # STATUS
    local i
    trap - EXIT
    trap '' INT TERM HUP
    ((!$1)) || [[ $explained ]] || say "this was not expected to fail: line $broken"
    if (($1 && ${#undo[@]} > 1)); then
        say "taking back what was changed"
        for ((i = ${#undo[@]} - 1; i >= 0; i--)); do
            eval "${undo[i]}" || say "that did not work: ${undo[i]}"
        done
    fi
    [[ -z $scratch ]] || rm -rf -- "$scratch"
    (($1)) || ! dry || say "nothing of this was done: --dry-run"
    exit "$1"
}

undo_with() { # COMMAND...
    local words
    printf -v words '%q ' "$@"
    undo+=("$words")
}

keep() { undo=(); }

change() { # WORDS COMMAND...: says what is done, and does it
    say "$1"
    changed=yes
    dry || "${@:2}"
}

consent() { # QUESTION
    local answer
    ! given yes && ! dry || return 0
    [[ -t 0 ]] || {
        say "$1 There is nobody to ask; --yes is a yes."
        return 1
    }
    read -r -p "$1 [y/N] " answer
    [[ ${answer,,} == y* ]]
}

make_directory() { # DIRECTORY, and those above it
    [[ ! -d $1 ]] || return 0
    make_directory "${1%/*}"
    mkdir -- "$1"
    undo_with rmdir --ignore-fail-on-non-empty -- "$1"
}

put_file() { # SOURCE DESTINATION MODE: as SOURCE, and nothing where it is already
    ! cmp -s -- "$1" "$2" || return 0
    note_kind "$2"
    change "write $2" copy_file "$@"
}

put_text() { # TEXT DESTINATION MODE
    [[ ! -f $2 || $(<"$2") != "$1" ]] || return 0
    note_kind "$2"
    change "write $2" copy_text "$@"
}

note_kind() { # PATH
    case $1 in
        "$units"/labnode@.* | "$units"/labnode-tool*) units_changed=yes ;;
        */labnode@*.socket.d/*) ;; # keep_listening() says whose it is
        "$units"/labnode-*@.service) ;;
        "$units"/*) restart+=("$name") ;; # a drop-in of the lab that is being installed
        */udev/* | */modules-load.d/*) devices_changed=yes ;;
    esac
}

copy_text() {
    (umask 077; printf '%s\n' "$1" >"$scratch/text")
    copy_file "$scratch/text" "$2" "$3"
}

copy_file() { # SOURCE DESTINATION MODE
    local kept
    make_directory "${2%/*}"
    if [[ -e $2 ]]; then
        kept=$(mktemp "$scratch/kept.XXXXXX")
        cp -p -- "$2" "$kept"
        undo_with mv -f -- "$kept" "$2"
    else
        undo_with rm -f -- "$2"
    fi
    install -m "$3" -- "$1" "$2.new"
    mv -f -- "$2.new" "$2"
}

remove() { # PATH...
    local path
    for path in "$@"; do
        [[ ! -e $path && ! -L $path ]] || change "remove $path" rm -rf -- "$path"
    done
}

set_link() { # LINK TARGET: at once, so that it always leads somewhere
    rm -f -- "$1.new" # of a power cut
    ln -s -- "$2" "$1.new"
    mv -T -- "$1.new" "$1"
}

systemctl() { command systemctl "$@" 9<&-; } # a service must not inherit the lock

# --- releases: each a whole virtual environment, beside the others ---

# The release that runs; nothing before there is one.
current_release() { [[ ! -L $opt/current ]] || readlink -f -- "$opt/current" || true; }

# Sets `release`: where this labnode belongs. Its name says what is in it, so the same is built once.
choose_release() {
    local hash version wheel=''
    python=${option[python]:-/usr/bin/python3}
    source=$root
    if given wheels; then
        [[ -d ${option[wheels]} ]] || fail "--wheels: there is no directory ${option[wheels]}"
        wheels=$(readlink -f -- "${option[wheels]}")
        wheel=$(printf '%s\n' "$wheels"/labnode-*.whl | sort -V | tail -n 1)
        [[ ! -f $wheel ]] || source=$wheel
    fi
    if [[ $source == "$root" && ! -f $root/labnode/__init__.py && $root == "$(current_release)"/* ]]; then
        release=$(current_release) # started as /opt/labnode/current/share/labnode/install.sh
        return
    fi
    [[ -f $source || -f $root/pyproject.toml ]] ||
        fail "$root is not a clone of labnode, and no wheel of labnode is there (--wheels)"
    ensure_python
    choose_libraries
    hash=$(cd -- "$root" && list_source | xargs -0 sha256sum | sha256sum) || fail "cannot read $root"
    if [[ $source == "$wheel" ]]; then
        version=${wheel##*/labnode-}
        version=${version%%-*}
    else
        version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$root/labnode/__init__.py")
    fi
    release=$opt/releases/$version-${hash:0:8}-py$(python_version "$python")
    [[ $pins != none ]] || release+=-simulated
    readonly release_stamp=share/labnode/release
}

# What makes a release what it is, with zeros between; paths from the clone.
list_source() {
    if [[ $source == "$root" ]]; then
        find labnode boards pyproject.toml -type f -not -path '*/__pycache__/*' -print0
    fi
    find deploy install.sh -type f -print0
    [[ -z ${wheels:-} ]] || find "$wheels" -name '*.whl' -print0
} 

# The system's own Python: one in somebody's home would be out of a service's reach.
ensure_python() {
    local version
    version=$(python_version "$python") || {
        given python && fail "--python: $python does not start"
        change "install python3 and python3-venv" apt_install python3 python3-venv || fail_without_python ''
        version=$(python_version "$python") || fail_without_python ''
    }
    is_new_enough "$version" || fail_without_python "$version"
    can_make_venvs "$python" ||
        change "install python3-venv" apt_install "python$version-venv" ||
        fail "$python cannot make virtual environments; install the package python$version-venv"
}

# Sets `libraries`: what labnode.install is told of those that do not come as wheels of the lock.
choose_libraries() {
    local lacking
    lacking=" $(labnode_install without-wheel | tr '\n' ' ')"
    choose_pins
    libraries=()
    case $pins in
        apt) libraries+=(--debian lgpio) ;;
        none) libraries+=(--left-out lgpio) ;;
        *) [[ $lacking != *' lgpio '* ]] || pins=source ;;
    esac
    [[ $lacking == *' pyyaml '* ]] || return 0 # a 32-bit ARM
    libraries+=(--debian pyyaml)
    "$python" -c 'import yaml' 2>/dev/null ||
        change "install python3-yaml" apt_install python3-yaml ||
        fail "apt-get could not install python3-yaml: there is no wheel of PyYAML for this machine"
}

labnode_install() { # STEP ARGUMENT...
    (cd -- "$root" && "$python" -B -m labnode.install "$@" ${wheels:+--wheels "$wheels"})
}

# Sets `pins`, how lgpio comes: apt (the system has it), pip, or none.
choose_pins() {
    if ! needs_pins; then
        pins=none
    elif has_lgpio "$python"; then
        pins=apt
    elif compgen -G "${wheels:-/nowhere}/lgpio-*.whl" >/dev/null; then
        pins=pip
    elif apt_offers python3-lgpio; then
        pins=apt
        change "install python3-lgpio" apt_install python3-lgpio ||
            fail "apt-get could not install python3-lgpio, the library for the pins"
    else
        pins=pip
    fi
}

# A pip that finds no wheel installs an empty lgpio without complaint: look for what is in it.
has_lgpio() { # PYTHON
    "$1" -B -c 'import lgpio; lgpio.gpiochip_open' 2>/dev/null
}

needs_pins() {
    local lab
    ! given board || given simulate || return 0
    while read -r lab; do
        [[ -e $(simulation_of "$lab") || $lab == "${name:-}" ]] || return 0
    done < <(labs)
    return 1
}

build_release() {
    [[ ! -f $release/${release_stamp:-} ]] || return 0
    if [[ -e $release ]]; then
        change "remove ${release##*/}, which was not finished" rm -rf -- "$release"
    fi
    case $pins in
        apt) say "the library for the pins is the system's lgpio: nothing is compiled" ;;
        source) say "lgpio, the library for the pins, has no wheel for Python $(python_version "$python") on" \
            "this machine and no package in this Debian: it is compiled, which takes some minutes more on a Pi" ;;
    esac
    change "install labnode as $release; this takes a minute, on a small Pi a few" make_release
}

make_release() {
    make_directory "$opt/releases"
    need_space 250 labnode "$opt/releases"
    undo_with rm -rf -- "$release"
    quietly "$python" -m venv --without-pip "$release" || fail "$python could not make $release$(why_it_failed)"
    [[ $pins != source || ${wheels:-} ]] || apt_install gcc libc6-dev python3-dev swig ||
        fail "apt-get could not install what lgpio is compiled with"
    make_tools
    quietly labnode_install fill "$release" "$source" --tools "$scratch/tools" "${libraries[@]}" ||
        fail "pip could not install labnode$(why_it_failed)"
    [[ $pins == none ]] || has_lgpio "$release/bin/python" ||
        fail "the library for the pins, lgpio, does not work in $release"
    mkdir -p -- "$release/share/labnode"
    cp -R -- "$root/deploy/." "$release/share/labnode/"
    cp -- "$root/install.sh" "$release/share/labnode/"
    "$release/bin/labnode" --version >"$scratch/version" 2>&1 ||
        fail "the new labnode does not start: $(tail -n 1 "$scratch/version")"
    cp -- "$scratch/version" "$release/$release_stamp"
    sync -f "$release" || true # before a link leads there: a power cut must not leave empty files
}

# The pip that installs: it is thrown away afterwards, and no release has one.
make_tools() { quietly "$python" -m venv "$scratch/tools" || fail "$python could not make a virtual environment"; }

why_it_failed() {
    if (($(free_space "$opt/releases") < 20)); then
        echo ": the disk with $opt is full"
    elif [[ -n ${wheels:-} ]]; then
        echo " from $wheels; something is missing or broken there"
    else
        why_pip_failed
    fi
}

# --- what a lab needs of the system ---

install_tools_of() { # BOARD
    local driver program package
    while read -r driver; do
        case $driver in
            avrdude | openocd | esptool | picotool) program=$driver package=$driver ;;
            dfu_util) program=dfu-util package=dfu-util ;;
            openfpgaloader) program=openFPGALoader package=openfpgaloader ;;
            st_flash) program=st-flash package=stlink-tools ;;
            usb_power) program=uhubctl package=uhubctl ;;
            mjpeg) program=ustreamer package=ustreamer ;;
            *) continue ;;
        esac
        have "$program" || have "$program.py" ||
            change "install $package, which the board needs" apt_install "$package" ||
            fail "the board needs $package, and apt-get could not install it"
    done < <(sed -nE 's/.*\bdriver: *["'\'']?([a-z0-9_]+).*/\1/p' "$1" | sort -u)
}

make_user() { # NAME GROUP...
    local name=$1 group missing=()
    shift
    if ! grep -q "^$name:" "$prefix/etc/passwd"; then
        change "add the user $name" add_user "$name"
    fi
    for group; do
        grep -q "^$group:" "$prefix/etc/group" || continue
        grep -qE "^$group:.*[:,]$name(,|\$)" "$prefix/etc/group" || missing+=("$group")
    done
    [[ ${#missing[@]} == 0 ]] || change "put $name into the groups ${missing[*]}" \
        usermod ${prefix:+--prefix "$prefix"} --append --groups "$(IFS=,; echo "${missing[*]}")" "$name"
}

add_user() { # NAME
    useradd ${prefix:+--prefix "$prefix"} --system --user-group --no-create-home --home-dir "$var_seen" \
        --shell /usr/sbin/nologin --comment "$USER_COMMENT" "$1"
    undo_with delete_user "$1"
}

remove_user() { # NAME
    grep -q "^$1:.*:$USER_COMMENT:" "$prefix/etc/passwd" || return 0
    change "remove the user $1" delete_user "$1"
}

delete_user() { userdel ${prefix:+--prefix "$prefix"} "$1"; } # NAME

# udev, modules-load.d, the units and the command: as RELEASE has them.
install_system_files() { # RELEASE
    local shared=$1/share/labnode group module lines unit
    dry && [[ ! -d $shared ]] && shared=$root/deploy
    put_file "$shared/systemd/labnode@.service" "$units/labnode@.service" 644
    if [[ -f $shared/systemd/labnode-safe@.service ]]; then # in releases since it was made
        put_file "$shared/systemd/labnode-safe@.service" "$units/labnode-safe@.service" 644
        # The machine's own watchdog, which resets it when the kernel hangs. systemd reads this with daemon-reload.
        ! needs_pins || [[ ! $(boot_file) && ! -e $prefix/dev/watchdog ]] ||
            put_file "$shared/systemd/labnode-watchdog.conf" "$watchdog" 644
    fi
    if [[ -e $shared/systemd/labnode@.socket ]]; then
        put_file "$shared/systemd/labnode@.socket" "$units/labnode@.socket" 644
    fi
    if [[ -e $shared/systemd/labnode-tool.socket ]]; then # an older release has none, and uses none
        make_user labnode-tool dialout plugdev gpio spi
        for unit in labnode-tool.socket labnode-tool@.service; do
            put_file "$shared/systemd/$unit" "$units/$unit" 644
        done
    fi
    put_file "$shared/udev/70-labnode.rules" "$prefix/etc/udev/rules.d/70-labnode.rules" 644
    lines=$(<"$shared/udev/71-labnode-buses.rules")
    for group in gpio i2c spi; do
        ! grep -q "^$group:" "$prefix/etc/group" || lines=$(sed "/^SUBSYSTEM==\"$group/d" <<<"$lines")
    done
    if [[ $lines == *SUBSYSTEM* ]]; then
        put_text "$lines" "$prefix/etc/udev/rules.d/71-labnode-buses.rules" 644
    fi
    lines=''
    while read -r module; do
        [[ $module == '#'* ]] || modprobe --dry-run --quiet "$module" 2>/dev/null || continue
        lines+=${lines:+$'\n'}$module
    done <"$shared/modules-load/labnode.conf"
    put_text "$lines" "$prefix/etc/modules-load.d/labnode.conf" 644
    if [[ ! -e $link && ! -L $link ]]; then
        change "link $link" link_command
    elif [[ $(readlink -- "$link") != "$opt_seen/current/bin/labnode" ]]; then
        say "$link is something else and stays; labnode is $opt_seen/current/bin/labnode"
    fi
}

link_command() {
    make_directory "${link%/*}"
    set_link "$link" "$opt_seen/current/bin/labnode"
    undo_with rm -f -- "$link"
}

reload_system_files() {
    systemctl daemon-reload
    ! have udevadm || udevadm control --reload 2>/dev/null || true
}

# --- labs ---

labs() {
    local file
    for file in "$etc"/*.yaml; do
        [[ ! -e $file || ${file##*/} == secrets.yaml ]] || basename -- "$file" .yaml
    done
}

list_of_labs() {
    local names
    names=$(labs | tr '\n' ' ')
    echo "${names:+; there are: ${names% }}"
}

# A key of a lab's settings, or one below it; nothing when it is not there.
setting() { # LAB KEY [KEY]
    local by=${release:-}
    [[ -x $by/bin/python ]] || by=$(current_release)
    [[ ! -x $by/bin/python ]] || setting_by "$by" "$@"
}

setting_by() { # RELEASE LAB KEY [KEY]
    "$1/bin/python" -I -c 'import sys, yaml
value = yaml.load(open(sys.argv[1]), yaml.BaseLoader) # all texts; !secret, too
for key in sys.argv[2:]:
    value = value.get(key) if isinstance(value, dict) else None
print("" if value is None else value)' "$etc/$2.yaml" "${@:3}"
}

simulation_of() { echo "$units/labnode@$1.service.d/simulate.conf"; } # LAB

# As the service does it: the user labnode, nothing of this environment, nothing written.
as_labnode() { runuser -u labnode -- "${ALONE[@]}" "$@"; } # COMMAND...

# COMMAND...: for what needs settings that root alone may read. labnode becomes the owner of the
# lab's state directory, or of the board, before it loads a board's Python.
undisturbed() { "${ALONE[@]}" "$@"; }

# The board goes where the service may read it, with the files that it names.
install_board() {
    local home=$etc/boards/$name file files=() same=yes
    installed_board=$etc_seen/boards/$name/${board##*/}
    if [[ $board == "$(readlink -m -- "$home")"/* ]]; then
        installed_board=$etc_seen/boards/$name/${board#"$(readlink -m -- "$home")"/}
        check_board "$prefix$installed_board"
        return
    fi
    if dry && [[ ! -x $release/bin/python ]]; then
        say "write $home/${board##*/} and the files that it names"
        return
    fi
    mapfile -d '' files < <(list_board_files)
    for file in "${files[@]}"; do
        cmp -s -- "${board%/*}/$file" "$home/$file" || same=''
    done
    [[ -z $same ]] || return 0
    if [[ -f $home/.installed ]] && ! (cd -- "$home" && sha256sum --check --status .installed); then
        consent "The board in $home was changed there. Replace it (it is kept as $home.old)?" ||
            fail "the board in $home was changed there; to keep it: --board $home/${board##*/}"
        change "keep the board of before as $home.old" keep_old_board "$home"
    fi
    change "write $home/ (${files[*]})" copy_board "$home" "${files[@]}"
    restart+=("$name")
}

keep_old_board() { # DIRECTORY
    rm -rf -- "$1.old"
    cp -Rp -- "$1" "$1.old"
}

# Relative paths, with zeros between: the board, its Python, and every file below the board's
# directory that is named in it, or in a YAML file named in it; secrets.yaml. A directory given as
# --board: all of it.
list_board_files() {
    if [[ -d ${option[board]} ]]; then
        (cd -- "${board%/*}" && find . -type f -not -path '*/.*' -not -path '*/__pycache__/*' -printf '%P\0')
        return
    fi
    "$release/bin/python" -I - "$board" <<'PYTHON'
import sys
from pathlib import Path

import yaml

board = Path(sys.argv[1])
files, found = [board.name, "secrets.yaml"], []


def named(node):
    if isinstance(node, yaml.ScalarNode):
        yield node.value
    elif isinstance(node, yaml.SequenceNode):
        for part in node.value:
            yield from named(part)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from named(value)


while files:
    name = files.pop()
    path = board.parent / name
    inside = path.resolve().is_relative_to(board.parent.resolve())
    if name in found or not name or name.startswith("/") or not inside or not path.exists():
        continue
    if path.is_dir():
        if name != ".":
            files += [str(file.relative_to(board.parent)) for file in path.rglob("*") if file.is_file()]
        continue
    found.append(name)
    if path.suffix in (".yaml", ".yml"):
        try:
            tree = yaml.compose(path.read_text())
        except (yaml.YAMLError, UnicodeDecodeError):
            continue  # labnode check says what is wrong with it
        files += [word for word in named(tree) if len(word) < 200 and "\n" not in word and "\0" not in word]
sys.stdout.write("".join(f"{name}\0" for name in sorted(found)))
PYTHON
}

copy_board() { # DIRECTORY FILE...
    local home=$1 file
    shift
    make_directory "$etc/boards"
    if [[ -d $home ]]; then
        cp -Rp -- "$home" "$scratch/board-before"
        undo_with cp -RpT -- "$scratch/board-before" "$home"
    fi
    undo_with rm -rf -- "$home"
    undo_with rm -rf -- "$home.new"
    rm -rf -- "$home.new"
    mkdir -- "$home.new"
    [[ ! -d $home ]] || cp -RpT -- "$home" "$home.new"
    for file in "$@"; do
        mkdir -p -- "$(dirname -- "$home.new/$file")"
        cp -- "${board%/*}/$file" "$home.new/$file"
    done
    (cd -- "$home.new" && sha256sum -- "$@" >.installed)
    chgrp -R labnode -- "$home.new"
    chmod -R u=rwX,g=rX,o= -- "$home.new"
    check_board "$home.new/${board##*/}"
    rm -rf -- "$home"
    mv -T -- "$home.new" "$home"
}

check_board() { # FILE: as the service will load it
    dry && [[ ! -x $release/bin/labnode ]] && return
    as_labnode "$release/bin/labnode" check "$1" >/dev/null || fail "the board has mistakes; see above"
}

# Written once. Afterwards they belong to those who run the lab, and an option that says something
# else is not quietly ignored.
install_settings() {
    local file=$etc/$name.yaml key value
    if [[ ! -e $file ]]; then
        password=${option[weblab-password]:-$(make_word)}
        admin_password=${option[admin-password]:-$(make_word)}
        change "write $file" copy_text "$(settings)" "$file" 600
    else
        for key in host port base-url weblab-password weblab-username admin-password admin-host admin-port; do
            given "$key" || continue
            case $key in
                weblab-* | admin-*) value=$(setting "$name" "${key%-*}" "${key#*-}") ;;
                *) value=$(setting "$name" "${key//-/_}") ;;
            esac
            [[ $value == "${option[$key]}" ]] ||
                fail "--$key does not count for a lab that is there already: change it in $file, then" \
                    "sudo systemctl restart labnode@$name"
        done
        value=$(setting "$name" board)
        [[ $value == "$installed_board" ]] ||
            fail "the lab '$name' has the board $value; a board with another name is another lab (--name)," \
                "or change $file"
    fi
    [[ -d $var/$name ]] || change "make $var/$name" make_state_directory "$var/$name"
    if given simulate; then
        put_text "$(simulation)" "$(simulation_of "$name")" 644
    elif [[ -e $(simulation_of "$name") ]]; then
        change "remove $(simulation_of "$name"): the lab has its hardware now" forget_simulation
    fi
}

# As systemd makes it when the lab starts; before that it says already whose the lab is.
make_state_directory() { # DIRECTORY
    make_directory "$1"
    chmod 700 -- "$1"
    chown labnode:labnode -- "$1"
}

settings() {
    echo "# The settings of the lab '$name', for root's eyes alone. Afterwards: sudo systemctl restart labnode@$name"
    echo "board: $(quoted "$installed_board")"
    echo "state_dir: $(quoted "$var_seen/$name")"
    echo "host: $(quoted "${option[host]:-0.0.0.0}")"
    echo "port: $port"
    ! given base-url || echo "base_url: $(quoted "${option[base-url]}")"
    echo "cookie_name: labnode_$name # cookies ignore ports: labs with the same board would share one"
    echo "weblab: {username: $(quoted "${option[weblab-username]:-weblab}"), password: $(quoted "$password")}"
    echo "admin: {username: admin, password: $(quoted "$admin_password"), host: $(quoted "$admin_host"), port: $admin_port}"
}

quoted() { printf "'%s'" "${1//\'/\'\'}"; } # TEXT: for YAML

make_word() { head -c 18 /dev/urandom | base64 | tr '+/' '-_'; }

simulation() {
    echo '# Written by install.sh --simulate: the pins are only pretended.'
    echo '[Service]'
    echo 'ExecStart='
    sed -n 's/^ExecStart=\(.*\) run /ExecStart=\1 run --simulate /p' "$root/deploy/systemd/labnode@.service"
    echo 'ExecStopPost='
}

forget_simulation() {
    local file
    file=$(simulation_of "$name")
    cp -- "$file" "$scratch/simulate.conf"
    undo_with cp -- "$scratch/simulate.conf" "$file"
    undo_with mkdir -p -- "${file%/*}"
    rm -- "$file"
    rmdir --ignore-fail-on-non-empty -- "${file%/*}"
    restart+=("$name")
}

# systemd listens where the lab's settings say, and keeps who comes while the node is started again.
# Where they name a host instead of its address, the node listens itself.
keep_listening() { # LAB
    local host=${option[host]:-0.0.0.0} at=${port:-8080} file=$units/labnode@$1.socket.d/address.conf text
    if [[ -e $etc/$1.yaml ]]; then
        host=$(setting "$1" host) at=$(setting "$1" port)
    fi
    host=${host:-127.0.0.1}
    if [[ $host == *[!0-9a-fA-F.:]* ]]; then
        [[ -e $file ]] || return 0
        remove "${file%/*}"
        restart+=("$1") moved+=("$1")
        return
    fi
    [[ $host != *:* ]] || host=[$host]
    text=$(printf '%s\n' '# Written by install.sh from the settings.' '[Socket]' "ListenStream=$host:${at:-8080}")
    [[ ! -f $file || $(<"$file") != "$text" ]] || return 0
    put_text "$text" "$file" 644
    restart+=("$1") moved+=("$1")
}

# A lab with hardware has its outputs made safe early in each boot; one without has not.
hold_safe_at_boot() { # LAB
    local unit=labnode-safe@$1
    if is_simulated "$1"; then
        forget_safe_at_boot "$1"
    elif ! systemctl --quiet is-enabled "$unit" 2>/dev/null; then
        change "make the outputs of '$1' safe early in each boot: $unit" switch_unit enable disable "$unit"
    fi
}

forget_safe_at_boot() { # LAB
    local unit=labnode-safe@$1
    ! systemctl --quiet is-enabled "$unit" 2>/dev/null || change "remove $unit" switch_unit disable enable "$unit"
}

switch_unit() { # COMMAND OPPOSITE UNIT
    undo_with systemctl --quiet "$2" "$3"
    systemctl --quiet "$1" "$3" || fail "systemd does not take the service $3"
}

is_simulated() { # LAB: the one that is being installed as asked for, others as they are
    if given board && [[ $1 == "$name" ]]; then
        given simulate
    else
        [[ -e $(simulation_of "$1") ]]
    fi
}

remove_lab() { # LAB
    is_disabled "$1" || change "stop labnode@$1" systemctl --quiet disable --now "labnode@$1"
    forget_safe_at_boot "$1"
    remove "$(dirname -- "$(simulation_of "$1")")" "$units/labnode@$1.socket.d"
    forget_boot "$1"
    given purge || return 0
    remove "$etc/$1.yaml" "$etc/boards/$1" "$etc/boards/$1.old" "$var/$1"
}

is_disabled() { # LAB
    ! systemctl --quiet is-enabled "labnode@$1" 2>/dev/null &&
        ! systemctl --quiet is-active "labnode@$1" 2>/dev/null
}

# --- going over to a release ---

# All labs that run go over to RELEASE, and back again when one of them does not get ready with it.
# LAB, new or changed, has to get ready, too.
activate() { # RELEASE [LAB]
    local old lab targets=()
    old=$(current_release)
    while read -r lab; do
        if is_active "$lab"; then
            active+=("$lab")
            if [[ $1 != "$old" || $units_changed || " ${restart[*]} " == *" $lab "* ]]; then
                targets+=("$lab")
            fi
        elif [[ $lab == "${2:-}" ]]; then
            targets+=("$lab")
        fi
    done < <(labs)
    if dry; then
        [[ $1 == "$old" ]] || say "go over to ${1##*/}"
        ((${#targets[@]} == 0)) || say "start ${targets[*]}"
    fi
    if ((${#targets[@]} == 0)) && [[ $1 == "$old" ]]; then
        if [[ ! $changed ]]; then
            say "nothing to change"
        elif ! dry; then
            refresh_system
        fi
        keep
        return
    fi
    ! dry || return 0
    self_test "$1"
    drain "${targets[@]}"
    touched=yes
    [[ $1 == "$old" ]] || go_over "$1" "$old"
    refresh_system
    for lab in "${targets[@]}"; do
        start_lab "$lab"
    done
    keep
    [[ $1 == "$old" ]] || forget_old_releases
}

go_over() { # RELEASE OLD
    say "go over to ${1##*/}"
    if [[ -n $2 ]]; then
        undo_with set_link "$opt/current" "$(readlink -- "$opt/current")"
        if [[ -L $opt/previous ]]; then
            undo_with set_link "$opt/previous" "$(readlink -- "$opt/previous")"
        else
            undo_with rm -f -- "$opt/previous"
        fi
        set_link "$opt/previous" "releases/${2##*/}"
    else
        undo_with rm -f -- "$opt/current"
    fi
    set_link "$opt/current" "releases/${1##*/}"
}

refresh_system() {
    systemctl daemon-reload
    [[ ! $units_changed || ! -e $units/labnode-tool.socket ]] || systemctl try-restart labnode-tool.socket
    [[ $devices_changed ]] || return 0
    if have udevadm; then
        udevadm control --reload 2>/dev/null || true
        udevadm trigger --subsystem-match=tty --subsystem-match=usb --subsystem-match=gpio \
            --subsystem-match=i2c-dev --subsystem-match=spidev 2>/dev/null || true
    fi
    grep -v '^#' "$prefix/etc/modules-load.d/labnode.conf" | xargs -r modprobe --all --quiet 2>/dev/null || true
}

# The new release has to understand every lab's settings and board before a link leads to it.
self_test() { # RELEASE
    local lab
    while read -r lab; do
        undisturbed "$1/bin/labnode" weblab-config --settings "$etc/$lab.yaml" >/dev/null ||
            fail "labnode ${1##*/} does not understand the lab '$lab'; see above"
        as_labnode "$1/bin/labnode" check "$prefix$(setting_by "$1" "$lab" board)" >/dev/null ||
            fail "labnode ${1##*/} finds mistakes in the board of the lab '$lab'; see above"
    done < <(labs)
}

# Lets students finish: nobody new gets in, and those who are in may stay for as long as --wait says.
drain() { # LAB...
    local lab left=${option[wait]:-600} busy
    [[ $left =~ ^[0-9]+$ ]] || misused "--wait is a number of seconds, not '$left'"
    ((left)) || return 0
    for lab in "$@"; do
        [[ " ${active[*]} " != *" $lab "* ]] || {
            ask "$lab" drain >/dev/null
            undo_with ask "$lab" undrain
        }
    done
    while true; do
        busy=''
        for lab in "$@"; do
            [[ " ${active[*]} " != *" $lab "* ]] || ! has_students "$lab" || busy+=" $lab"
        done
        [[ $busy ]] || return 0
        ((left > 0)) || fail "students are still at work ($busy ): try again later, or with --wait 0 (their" \
            "sessions go on after the restart)"
        [[ ${told:-} ]] || say "waiting until students have finished ($busy ); --wait says how long"
        told=yes
        sleep 2
        left=$((left - 2))
    done
}

ask() { # LAB COMMAND...: of a lab that runs
    as_labnode "$opt/current/bin/labnode" "${@:2}" --state-dir "$var_seen/$1"
}

has_students() { # LAB
    ask "$1" status --json 2>/dev/null | grep -q '"sessions": \[{'
}

start_lab() { # LAB
    local unit=labnode@$1
    if [[ " ${active[*]} " != *" $1 "* ]]; then
        undo_with systemctl --quiet disable --now "$unit"
        systemctl --quiet enable "$unit" || fail "systemd does not take the service $unit"
    fi
    if [[ $reboot_needed ]]; then
        say "the lab '$1' starts with the next boot, which its hardware needs: sudo reboot"
        return
    fi
    say "start $unit"
    # Its socket opens before it, and not while a node has the port; afterwards it stays open.
    if [[ $units_changed || " ${moved[*]} " == *" $1 "* ]] || ! systemctl --quiet is-active "$unit.socket"; then
        systemctl --quiet stop "$unit" "$unit.socket" 2>/dev/null || true
    fi
    if ! systemctl restart "$unit" || ! is_active "$1" || ! answers "$1"; then
        ! have journalctl || journalctl --unit "$unit" --lines 12 --no-pager --output cat 2>/dev/null | sed 's/^/    /' >&2
        fail "the lab '$1' does not get ready with labnode $(basename -- "$(current_release)")"
    fi
}

is_active() { systemctl --quiet is-active "labnode@$1" 2>/dev/null; } # LAB

# Whether the lab's own address says that labnode is there.
answers() { # LAB
    "$opt/current/bin/python" -I - "$etc/$1.yaml" <<'PYTHON'
import json
import sys
import time
import urllib.request
from pathlib import Path

from labnode.settings import load_settings

settings = load_settings(Path(sys.argv[1]), {}, {})
host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
url = f"http://{host}:{settings.port}{settings.base_path}/weblab/sessions/api"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for attempt in range(20):
    try:
        with opener.open(url, timeout=5) as answer:
            sys.exit(0 if "api_version" in json.load(answer) else 1)
    except (OSError, ValueError):
        time.sleep(0.5)
sys.exit(1)
PYTHON
}

# Before there was an address for it, the administration was where students come. It stays there.
warn_of_shared_admin() {
    local lab
    while read -r lab; do
        [[ $(setting "$lab" admin username) && ! $(setting "$lab" admin host) ]] || continue
        say "the administration of the lab '$lab' is where students come; to move it, add" \
            "host: 127.0.0.1, port: 9080 to admin: {...} in $etc/$lab.yaml (docs/admin.md)"
    done < <(labs)
}

restore_services() {
    local lab
    [[ $touched ]] || return 0
    systemctl daemon-reload || true
    for lab in "${active[@]}"; do
        systemctl --quiet stop "labnode@$lab" "labnode@$lab.socket" 2>/dev/null || true
        if systemctl restart "labnode@$lab" && answers "$lab"; then
            say "labnode@$lab runs as before"
        else
            say "labnode@$lab does not run: journalctl --unit labnode@$lab"
        fi
    done
}

forget_old_releases() {
    local one
    for one in "$opt"/releases/*; do
        [[ $one == "$(current_release)" || $one == "$(readlink -f -- "$opt/previous")" ]] || rm -rf -- "$one"
    done
}

# --- the boot configuration ---

# What the board needs of the firmware (buses, pins that are safe from power-on) goes to the end of
# config.txt, between two lines with the lab's name.
configure_boot() {
    local file lines old line
    file=$(boot_file)
    [[ $file ]] && ! given simulate && [[ -f $prefix$installed_board ]] || return 0
    "$release/bin/labnode" bootconfig --help >/dev/null 2>&1 || return 0
    lines=$(as_labnode "$release/bin/labnode" bootconfig "$prefix$installed_board") ||
        fail "labnode cannot say what the board needs in $file"
    lines+=$'\n\n# A kernel that hangs resets the Pi.\ndtparam=watchdog=on'
    old=$(without_block "$name" "$file")
    [[ "$(with_block "$name" "$old" "$lines")" != "$(<"$file")" ]] || return 0
    if ! consent "The board needs lines in $file (as it was stays in $file.before-labnode). Add them?"; then
        printf '%s\n' "$lines"
        say "the lines above belong to the end of $file; they were not added"
        return
    fi
    while read -r line; do
        [[ ! $line =~ ^(dt|enable_) || $line == dtparam=watchdog=on ]] || grep -qxF -- "$line" "$file" || reboot_needed=yes
    done <<<"$lines"
    [[ -e $file.before-labnode ]] || change "keep $file as $file.before-labnode" cp -- "$file" "$file.before-labnode"
    put_text "$(with_block "$name" "$old" "$lines")" "$file" 755
}

boot_file() {
    local file
    for file in "$prefix/boot/firmware/config.txt" "$prefix/boot/config.txt"; do
        if [[ -f $file ]]; then
            echo "$file"
            return
        fi
    done
}

without_block() { sed "/^# labnode $1: begin\$/,/^# labnode $1: end\$/d" "$2"; } # LAB FILE

with_block() { printf '%s\n' "$2" "# labnode $1: begin" "$3" "# labnode $1: end"; } # LAB TEXT LINES

forget_boot() { # LAB
    local file
    file=$(boot_file)
    [[ $file ]] && grep -q "^# labnode $1: begin\$" "$file" || return 0
    put_text "$(without_block "$1" "$file")" "$file" 755
    ! given purge || remove "$file.before-labnode"
}

# --- the end of an installation ---

report_lab() { # LAB
    local file=$etc/$1.yaml
    ! dry && [[ $changed ]] || return 0
    printf '%s\n' '' "The lab '$1' is installed." \
        "  settings   $file" \
        "  board      $(setting "$1" board)" \
        "  how it is  ./install.sh status" \
        "  its log    journalctl --unit labnode@$1" ''
    echo "The administrator of the central server has to enter:"
    undisturbed "$opt/current/bin/labnode" weblab-config --settings "$file" \
        ${password:+--show-password} | sed 's/^/  /'
    if [[ ! $reboot_needed ]]; then
        # What is not as it should be on this machine; the lab runs all the same.
        undisturbed "$opt/current/bin/labnode" doctor --settings "$file" 2>/dev/null |
            grep -E -A 1 '^(PROBLEM|warning)' | sed 's/^--$//' || true
    fi
    [[ ! ${password:-} ]] || {
        printf '%s\n' '' \
            'These passwords are not shown again (they are in the settings, which only root can read):' \
            "  central server    ${option[weblab-username]:-weblab}  $(shown "$password")" \
            "  administration    admin  $(shown "$admin_password")"
        report_admin "${SUDO_USER:-$(id -un)}@$(uname -n)"
    }
}

shown() { [[ $1 == scrypt\$* ]] && echo "(the one that was hashed)" || echo "$1"; } # PASSWORD

# How a laptop gets to the administration of the lab that was just installed.
report_admin() { # USER@HOST
    local path=${option[base-url]:-}
    path=${path#*://}
    [[ $path == */* ]] && path=/${path#*/} || path=''
    case $admin_host in
        127.* | localhost | ::1)
            printf '%s\n' '' "The administration is at http://localhost:$admin_port${path%/}/admin after this, on your own computer:" \
                "  ssh -L $admin_port:${admin_host/#::1/[::1]}:$admin_port $1" ;;
        *)
            printf '%s\n' '' "The administration listens on port $admin_port of $admin_host: http://${1#*@}:$admin_port${path%/}/admin" ;;
    esac
}

# --- an SD card with Raspberry Pi OS that becomes a lab by itself ---

command_flash() {
    begin_changes
    [[ $# == 1 ]] || misused "flash takes one image or device, such as raspios.img or /dev/sdb"
    given board || misused "say which board: ./install.sh flash $1 --board boards/NAME.yaml"
    find_board
    check_name
    find_clone
    check_port
    check_passwords
    check_answers
    have mcopy || { is_root && change "install mtools" apt_install mtools; } ||
        fail "flash needs mtools: sudo apt-get install mtools"
    check_target "$1"
    find_boot_partition "$1"
    dry || prepare_venv ''
    ! dry || [[ -x $venv/bin/labnode ]] || fail "a dry run needs .venv, which ./install.sh demo makes"
    undisturbed "$venv/bin/labnode" check "$board" >/dev/null || fail "the board has mistakes; see above"
    password=${option[weblab-password]:-$(make_word)}
    admin_password=${option[admin-password]:-$(make_word)}
    change "put labnode and the lab '$name' on $1" write_card
    keep
    dry || report_card "$1"
}

check_answers() {
    ! given hostname || [[ ${option[hostname]} =~ ^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$ ]] ||
        misused "--hostname has small letters, digits and '-' only, not '${option[hostname]}'"
    ! given user || [[ ${option[user]} =~ ^[a-z][a-z0-9_-]{0,31}$ ]] ||
        misused "--user has small letters, digits, '-' and '_' only, not '${option[user]}'"
    if given ssh-key; then
        ssh_key=$(grep -m 1 -E '^(ssh|ecdsa|sk)-[^ ]+ [A-Za-z0-9+/=]+' -- "${option[ssh-key]}" 2>/dev/null) ||
            misused "--ssh-key: there is no public key in ${option[ssh-key]} (such as ~/.ssh/id_ed25519.pub)"
    fi
    if given wifi; then
        [[ ${option[wifi-country]:-} =~ ^[A-Z]{2}$ ]] ||
            misused "--wifi needs --wifi-country, two letters such as ES: without it the Pi's radio stays off"
    fi
}

# A card or an image that nobody uses, and never a disk of this machine.
check_target() { # TARGET
    local mounted
    [[ -e $1 ]] || fail "there is no $1"
    [[ -w $1 ]] || fail "$(id -un) may not write to $1; try it with sudo"
    [[ ! -f $1 ]] || return 0
    [[ -b $1 ]] || fail "$1 is neither an image file nor a disk"
    mounted=$(lsblk --noheadings --raw --output MOUNTPOINTS -- "$1" | sed 's/\\x0a/\n/g' | sed '/^$/d')
    if grep -qxE '/|/boot|/boot/firmware|/usr|/home|/var|\[SWAP\]' <<<"$mounted"; then
        fail "$1 is a disk of this machine (it has $(head -n 1 <<<"$mounted")): nothing was written"
    fi
    [[ -z $mounted ]] || fail "$1 is in use at $(tr '\n' ' ' <<<"$mounted"); unmount that first"
    case $(lsblk --nodeps --noheadings --raw --output RM,HOTPLUG,TYPE -- "$1") in
        '0 0 '*) fail "$1 looks like a disk of this machine (it cannot be taken out): nothing was written" ;;
        *' disk' | *' loop') ;;
        *) fail "$1 is not a whole disk; flash takes the disk, such as /dev/sdb or /dev/mmcblk0" ;;
    esac
}

# Sets `card`, what mtools call the FAT partition that the firmware starts from.
find_boot_partition() { # TARGET
    local start
    start=$(LC_ALL=C partx --raw --noheadings --output START,TYPE -- "$1" 2>/dev/null |
        sed -nE 's/^([0-9]+) 0x(b|c|e|6)$/\1/p' | head -n 1) || true
    [[ $start ]] || fail "$1 has no FAT partition: it is not a Raspberry Pi OS"
    card=$1@@$((start * 512))
    on_card mdir -b "::/config.txt" >/dev/null 2>&1 ||
        fail "the first FAT partition of $1 has no config.txt: it is not a Raspberry Pi OS"
    on_card mdir -b "::/meta-data" >/dev/null 2>&1 ||
        fail "this Raspberry Pi OS has no cloud-init (no meta-data on its boot partition); those since" \
            "October 2025 have it"
    from_card user-data | sed '/^# labnode: begin$/,/^# labnode: end$/d' | grep -q '^bootcmd:' &&
        fail "the user-data on $1 has a bootcmd of its own, which flash would not get along with"
    return 0
}

on_card() { MTOOLS_SKIP_CHECK=1 MTOOLSRC=/dev/null "$1" -i "$card" "${@:2}"; } # MTOOL ARGUMENT...

from_card() { on_card mtype "::/$1" 2>/dev/null | tr -d '\r' || true; } # NAME

write_card() {
    local bundle=$scratch/labnode file files=()
    mkdir -p -- "$bundle" "$scratch/board"
    release=$venv
    mapfile -d '' files < <(list_board_files)
    for file in "${files[@]}"; do
        mkdir -p -- "$(dirname -- "$scratch/board/$file")"
        cp -- "${board%/*}/$file" "$scratch/board/$file"
    done
    tar -czf "$bundle/labnode.tar.gz" --exclude=__pycache__ --owner=0 --group=0 -C "$root" install.sh \
        pyproject.toml README.md LICENSE labnode boards deploy -C "$scratch" board
    cp -- "$root/deploy/first-boot/"* "$bundle/"
    write_answers >"$bundle/answers"
    if given wheels; then
        copy_wheels "$bundle/wheels"
    fi
    undo_with on_card mdeltree ::/labnode
    on_card mdeltree ::/labnode 2>/dev/null || true
    on_card mcopy -s "$bundle" ::/ || fail "the boot partition has no room for labnode"
    if given wifi; then
        network_config | put_on_card network-config
    fi
    # Another instance-id: a card that has been started before does all this again.
    { from_card meta-data | sed '/^instance[-_]id:/d'; echo "instance-id: labnode-$(date +%s)"; } >"$scratch/meta-data"
    put_on_card meta-data <"$scratch/meta-data"
    user_data >"$scratch/user-data"
    put_on_card user-data <"$scratch/user-data"
    sync -- "${card%@@*}"
}

put_on_card() { # NAME: what comes in
    cat >"$scratch/$1.new"
    on_card mcopy -o "$scratch/$1.new" "::/$1" || fail "$1 cannot be written to the boot partition"
}

copy_wheels() { # DIRECTORY
    [[ -d ${option[wheels]} ]] || fail "--wheels: there is no directory ${option[wheels]}"
    mkdir -- "$1"
    cp -- "${option[wheels]}"/*.whl "$1/" || fail "there are no wheels in ${option[wheels]}"
    ! compgen -G "$1/labnode-*.whl" >/dev/null || return 0
    python=$venv/bin/python
    make_tools
    quietly labnode_install wheel "$1" --tools "$scratch/tools" || fail "pip could not make a wheel of labnode"
}

# The options of the installation on the Pi, as variables.
write_answers() {
    local row key value commands variable
    for row in "${OPTIONS[@]}"; do
        IFS='|' read -r key value commands _ <<<"$row"
        case $key in
            board) value=/var/tmp/labnode-first-boot/board/${board##*/} ;;
            name) value=$name ;;
            weblab-password) value=$password ;;
            admin-password) value=$admin_password ;;
            yes | dry-run | wheels) continue ;;
            *)
                [[ $commands == 'install flash' ]] || continue
                given "$key" || continue
                value=${option[$key]}
                ;;
        esac
        variable=${key//-/_}
        printf 'LABNODE_INSTALL_%s=%q\n' "${variable^^}" "$value"
    done
}

network_config() {
    local password=' {}'
    ! given wifi-password || password=$'\n          password: '$(quoted "${option[wifi-password]}")
    printf '%s\n' '# written by labnode'"'"'s install.sh' 'network:' '  version: 2' '  ethernets:' \
        '    eth0: {dhcp4: true, optional: true}' '  wifis:' '    wlan0:' '      dhcp4: true' \
        '      optional: true' "      regulatory-domain: $(quoted "${option[wifi-country]}")" '      access-points:' \
        "        $(quoted "${option[wifi]}"):$password"
}

# What is there already (the Raspberry Pi Imager may have written it), and then what labnode needs.
user_data() {
    local old
    old=$(from_card user-data | sed '/^# labnode: begin$/,/^# labnode: end$/d')
    [[ $old == '#cloud-config'* ]] || old=$'#cloud-config\n'$old
    printf '%s\n' "$old" '# labnode: begin'
    if given hostname; then
        ! grep -q '^hostname:' <<<"$old" || fail "the card has a hostname already: leave out --hostname"
        printf '%s\n' "hostname: ${option[hostname]}" 'manage_etc_hosts: true'
    fi
    if grep -qE '^users?:' <<<"$old"; then
        [[ -z ${option[user]:-}${option[ssh-key]:-} ]] ||
            fail "the card has a user already: leave out --user and --ssh-key"
    else
        # Without a user Raspberry Pi OS asks for one on the screen, and waits.
        printf '%s\n' 'users:' "- name: ${option[user]:-pi}" '  shell: /bin/bash' '  lock_passwd: true' \
            '  sudo: ALL=(ALL) NOPASSWD:ALL' \
            '  groups: users,adm,dialout,audio,netdev,video,plugdev,cdrom,games,input,gpio,spi,i2c,render,sudo'
        [[ ! ${ssh_key:-} ]] || printf '%s\n' '  ssh_authorized_keys:' "  - $ssh_key" 'enable_ssh: true'
    fi
    printf '%s\n' 'bootcmd:' \
        '- [cloud-init-per, instance, labnode, bash, /boot/firmware/labnode/first-boot, prepare]' '# labnode: end'
}

report_card() { # TARGET
    local address=${option[hostname]:-raspberrypi}.local:$port
    printf '%s\n' '' "$1 becomes the lab '$name' in its first boot, which takes some minutes; then it is at" \
        "  http://$address/weblab/health" \
        "If it is not: labnode/result.txt on the card's boot partition says why."
    given ssh-key || echo "Nobody can log in on this Pi, unless the card has a user already (--ssh-key)."
    given wheels || echo "It needs the internet for that (--wheels: it does not)."
    printf '%s\n' '' "The administrator of the central server has to enter:"
    undisturbed LABNODE_WEBLAB_USERNAME="${option[weblab-username]:-weblab}" \
        LABNODE_WEBLAB_PASSWORD="$password" LABNODE_BASE_URL="${option[base-url]:-}" \
        "$venv/bin/labnode" weblab-config "$board" --host "$address" --show-password | sed 's/^/  /'
    printf '%s\n' '' 'These passwords are not shown again:' \
        "  central server    ${option[weblab-username]:-weblab}  $(shown "$password")" \
        "  administration    admin  $(shown "$admin_password")"
    report_admin "${option[user]:-pi}@${option[hostname]:-raspberrypi}.local"
}

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
    if [[ ! -d $venv ]] || ! is_current; then
        [[ -d $venv ]] || make_venv
        install_labnode
        say "ready after $((SECONDS - started)) s"
    fi
    [[ -z $extras || $(stamped extras) == "$extras" ]] || install_extras "$extras"
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

# Whether .venv has the libraries that pyproject.toml asks for now.
is_current() { [[ $(stamped pyproject) == "$(hash_of_pyproject)" ]]; }

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
    need_space 200 .venv "$root"
    choose_python
    say "making .venv with Python $(python_version "$python")"
    quietly "$python" -m venv "$venv" || fail "$python could not make $venv"
}

# The clone is installed as editable: after a `git pull` the new code runs without a new .venv.
install_labnode() {
    need_venv
    rm -f -- "$stamp"
    say "installing labnode and the libraries it needs; this takes about a minute, on a small Pi a few"
    pip_install . || fail "pip could not install labnode$(why_pip_failed)"
    write_stamp ''
}

# The stamp stays: where this fails or is interrupted, the demo goes on with what there was. Only a
# wheel is taken of what is not needed everywhere: 32-bit machines have none of some, and a compiler
# (for cryptography one of Rust) would take an hour. esptool itself is Python, without a wheel.
install_extras() { # EXTRAS
    local part started=$SECONDS
    need_venv
    need_space 400 .venv "$root"
    say "installing the libraries of the tests; this takes about a minute, on a small Pi a few"
    pip_install '.[suite]' || fail "pip could not install the libraries of the tests$(why_pip_failed)"
    for part in linters esptool; do
        pip_install ".[$part]" --only-binary=:all: --no-binary=esptool 2>/dev/null ||
            say "$part: left out, because pip found no wheel of everything; what it said is in $said"
    done
    write_stamp "$1"
    say "ready after $((SECONDS - started)) s"
}

need_venv() {
    [[ -w $venv ]] || fail "$(id -un) may not write into $venv, which $(stat -c %U -- "$venv") made:" \
        "sudo rm -rf '$venv', or go on as that user"
}

write_stamp() { # EXTRAS
    printf '%s\n' "path $root" "python $(python_version "$venv/bin/python")" \
        "pyproject $(hash_of_pyproject)" "extras $1" >"$stamp.new"
    mv -- "$stamp.new" "$stamp"
}

# PIP_USER: `user = true` in a pip.conf cannot work in a venv. Everything else there is respected.
pip_install() { # .[EXTRA] OPTION...; started in the clone, because pip reads [ ] in its path as extras
    quietly env -C "$root" PIP_USER=0 "$venv/bin/python" -m pip install --no-input \
        --disable-pip-version-check --progress-bar off --editable "$@"
}

# The end of the sentence "pip could not install ...", by what it said last.
why_pip_failed() {
    if grep -qE "command '?[^ ]*(gcc|cc|c\+\+|clang)'? failed: No such file" -- "$said"; then
        echo ": a library has no wheel for this machine, and there is no compiler to make one with" \
            "(Debian: sudo apt-get install gcc python3-dev)"
    elif grep -qF 'No space left on device' -- "$said"; then
        echo ": the disk is full"
    elif grep -qE 'Retrying \(|Could not fetch URL|No matching distribution|timed out|ProxyError' -- "$said"; then
        echo "; does this machine reach the internet (or the index that pip is configured for)?"
    else
        echo "; what it said is above"
    fi
}

need_space() { # MEGABYTES WHAT DIRECTORY
    local free
    free=$(free_space "$3")
    ((free >= $1)) || fail "the disk with $3 has only $free MB free; $2 needs about $1 MB"
}

free_space() { # DIRECTORY: in megabytes; plenty, where df does not say
    local free
    free=$(LC_ALL=C df -m --output=avail -- "$1" 2>/dev/null | tail -n 1) || true
    free=${free//[[:space:]]/}
    [[ $free =~ ^[0-9]+$ ]] || free=999999
    echo "$free"
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

apt_offers() { # PACKAGE
    have apt-cache || return 1
    dry || refresh_lists
    LC_ALL=C apt-cache policy "$1" 2>/dev/null | grep -q '^  Candidate: [0-9]'
}

refresh_lists() {
    [[ -z ${lists_are_fresh:-} ]] || return 0
    quietly "${APT[@]}" update || true # old lists are often good enough
    lists_are_fresh=yes
}

apt_install() { # PACKAGE...; false, with the reason shown, when it did not work
    have apt-get || return 1
    say "installing $* with apt-get; this can take a few minutes"
    refresh_lists
    quietly "${APT[@]}" install --yes --no-install-recommends "$@"
}

# --- small things ---

# Runs COMMAND without a word; when it fails, shows the end of what it said and where the rest is.
quietly() { # COMMAND...
    local status=0
    said=$(mktemp "${TMPDIR:-/tmp}/labnode-install.XXXXXX") || fail "cannot write into ${TMPDIR:-/tmp}"
    "$@" >"$said" 2>&1 </dev/null 9<&- || status=$?
    if ((status)); then
        tail -n 15 -- "$said" | sed 's/^/    /' >&2
        say "everything it said is in $said"
    else
        rm -f -- "$said"
    fi
    return "$status"
}

have() { command -v "$1" >/dev/null; }

is_root() { [[ $(id -u) == 0 ]]; }

# What we say goes to stderr: stdout belongs to labnode and to the tests.
say() { printf 'install.sh: %s\n' "$*" >&2; }

fail() {
    explained=yes
    say "$*"
    exit 1
}

misused() {
    explained=yes
    say "$*"
    usage >&2
    exit 2
}

main "$@"
