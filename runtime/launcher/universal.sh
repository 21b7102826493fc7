# solofile: this file is a Windows program, a shell script, and an archive with a model. Start it by its name, or as: sh FILE
# The script takes the launcher for this machine out of the file into the cache, checks it, and becomes it.
IFS=' 	
'
umask 077
fail() {
    printf 'solofile: %s\n' "$1" >&2
    exit 1
}
system=$(uname -s) machine=$(uname -m)
# A shell that Rosetta translates says x86_64 on a Mac that is none.
case $system-$machine in
Darwin-x86_64) [ "$(sysctl -n sysctl.proc_translated 2>/dev/null)" = 1 ] && machine=arm64 ;;
esac
case $system-$machine in
@ROWS@
*) fail "This file has no program for $system on $machine, only for: @TARGETS@; get the file for this machine." ;;
esac
case $0 in
/*) SOLOFILE_FILE=$0 ;;
*) SOLOFILE_FILE=$(pwd -P)/$0 ;;
esac
[ -f "$SOLOFILE_FILE" ] || fail "The file $SOLOFILE_FILE cannot be found; start it by its full path."
user=$(id -u)

sum_of() {
    if command -v sha256sum >/dev/null 2>&1; then
        sha256sum <"$1"
    elif command -v shasum >/dev/null 2>&1; then
        shasum -a 256 <"$1"
    elif command -v openssl >/dev/null 2>&1; then
        openssl dgst -sha256 -r <"$1"
    else
        fail 'None of sha256sum, shasum and openssl is there to check the launcher; install one of them.'
    fi
}
is_whole() {
    [ -f "$1" ] && [ ! -L "$1" ] && [ -O "$1" ] || return 1
    found=$(sum_of "$1") || exit 1
    [ "${found%% *}" = "$sum" ]
}
# The rule of cache.zig: a folder that programs are started from is this user's own, and nobody else can write to it.
fault_of() {
    entry=$(LC_ALL=C ls -ldn "$1" 2>/dev/null) || { fault='it cannot be reached'; return 0; }
    mode=${entry%% *}
    case $mode in
    d????-??-*) ;;
    d*) fault="others can write to $1 (chmod go-w takes that away)"; return 0 ;;
    *) fault="$1 is not a folder"; return 0 ;;
    esac
    [ -O "$1" ] || { fault="$1 belongs to another user"; return 0; }
    return 1
}
take() {
    {
        dd bs=512 skip="$block" count=$((size / 512)) 2>/dev/null
        dd bs=1 skip=0 count=$((size % 512)) 2>/dev/null
    } <"$SOLOFILE_FILE"
}
# Leaves the launcher's path in $program; returns 1 with the reason in $fault where the folder does not do.
try() {
    mkdir -p "$1/launchers" 2>/dev/null || { fault='it cannot be created'; return 1; }
    for folder in "$1" "$1/launchers"; do
        fault_of "$folder" && return 1
    done
    program=$1/launchers/$sum
    if ! is_whole "$program"; then
        temporary=$1/launchers/.tmp-$sum-$$
        trap 'rm -f "$temporary"' EXIT
        trap 'exit 129' HUP
        trap 'exit 130' INT
        trap 'exit 143' TERM
        rm -f "$temporary"
        take 2>/dev/null >"$temporary" && chmod 700 "$temporary" || { fault='it cannot be written'; return 1; }
        is_whole "$temporary" || fail "$SOLOFILE_FILE is damaged: its launcher is not what it should be; copy or download it again."
        mv -f "$temporary" "$program" || { fault='it cannot be written'; return 1; }
        trap - EXIT HUP INT TERM
    fi
    [ -x "$program" ] || { fault='no program can be started from it (noexec)'; return 1; }
}
start() {
    export SOLOFILE_FILE
    exec "$program" "$@"
}
pass_over() {
    printf 'solofile: the cache folder %s is passed over: %s.\n' "$1" "$fault" >&2
}

if [ -n "$SOLOFILE_CACHE" ]; then
    case $SOLOFILE_CACHE in
    /*) ;;
    *) SOLOFILE_CACHE=$(pwd -P)/$SOLOFILE_CACHE ;;
    esac
    try "$SOLOFILE_CACHE" && start "$@"
    fail "SOLOFILE_CACHE=$SOLOFILE_CACHE cannot be used: $fault; set SOLOFILE_CACHE to a folder of your own that programs can be started from."
fi
case $system in
Darwin) below=Library/Caches/solofile ;;
*) below=.cache/solofile ;;
esac
case $XDG_CACHE_HOME in
/*) try "$XDG_CACHE_HOME/solofile" && start "$@"; pass_over "$XDG_CACHE_HOME/solofile" ;;
esac
# Root with another user's HOME must not leave root's files in that user's home.
case $HOME in
/*) if [ -O "$HOME" ]; then
        try "$HOME/$below" && start "$@"
    else
        fault="$HOME belongs to another user, or is not there"
    fi
    pass_over "$HOME/$below" ;;
esac
for base in /var/tmp /tmp; do
    try "$base/solofile-$user" && start "$@"
    pass_over "$base/solofile-$user"
done
fail 'No cache folder can be used; set SOLOFILE_CACHE to a folder of your own.'
