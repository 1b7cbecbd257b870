#!/bin/sh
# In the container: puts the helper and the archive onto the host, says what it did, and ends.
#
# /host/bin is a directory on the PATH of the host's Mesos agent, /host/etc the one of the archive.
# The program is a link to a folder of its own beside it: a new folder is complete before the link
# leads to it, and the old one stays for an hour, for those who run it. STAY: seconds to stay after
# that, so that Marathon, which counts running tasks, starts one on each agent.
set -eu
umask 022
name=docker-credential-ecr-login
parts=${PARTS:-/parts} bin=${HOST_BIN:-/host/bin} etc=${HOST_ETC:-/host/etc}

say() { echo "ecsauth-helper: $*"; }
fail() {
    echo "ecsauth-helper: error: $*" >&2
    exit 1
}

is_whole() { # whether all files of folder $1 are there as they should be
    (cd "$1" 2>/dev/null && sha256sum -c "$parts/SHA256SUMS" >/dev/null 2>&1)
}

set_aside() { # keep a program, or a link, of others under another name
    if [ -d "$program" ] && [ ! -L "$program" ]; then fail "$program is a directory"; fi
    rm -f "$program.ecsauth-previous"
    cp -pP "$program" "$program.ecsauth-previous"
    say "$program: was not ecsauth's; it is $name.ecsauth-previous now"
}

put_program() {
    program=$bin/$name
    link=$(readlink "$program" || true)
    case $link in
    ".$name"-*/"$name")
        if is_whole "$bin/${link%/*}"; then
            say "$program: up to date"
            return
        fi
        ;;
    *)
        if [ -n "$link" ] || [ -e "$program" ]; then set_aside; fi
        ;;
    esac
    new=$(mktemp -d "$bin/.$name.new-XXXXXX") || fail "$bin cannot be written"
    trap 'rm -rf "$new"' EXIT
    cp -R "$parts/$name/." "$new/"
    is_whole "$new" || fail "$new was not written whole: is the disk full?"
    chmod 755 "$new"
    sync
    made=.$name-${new##*-}
    mv "$new" "$bin/$made"
    ln -s "$made/$name" "$bin/.$name.link-${new##*-}"
    mv -f "$bin/.$name.link-${new##*-}" "$program"
    if [ -n "$link" ]; then touch -c "$bin/${link%/*}" 2>/dev/null || true; fi # its hour begins now
    trap - EXIT
    say "$program: written"
    find "$bin" -maxdepth 1 -name ".$name*-*" ! -name "$made" -mmin +60 -exec rm -rf {} +
}

put_archive() {
    archive=$etc/docker.tar.gz
    [ ! -d "$archive" ] || fail "$archive is a directory"
    if cmp -s "$parts/docker.tar.gz" "$archive"; then
        say "$archive: up to date"
        return
    fi
    new=$(mktemp "$etc/.docker.tar.gz.XXXXXX") || fail "$etc cannot be written"
    trap 'rm -f "$new"' EXIT
    cat "$parts/docker.tar.gz" >"$new"
    chmod 644 "$new"
    sync
    mv -f "$new" "$archive"
    trap - EXIT
    say "$archive: written"
}

for directory in "$bin" "$etc"; do
    [ -d "$directory" ] || fail "$directory is not mounted"
done
put_program
put_archive
if [ "${STAY:-0}" != 0 ]; then
    say "done; staying for $STAY s"
    trap 'exit 0' TERM INT
    sleep "$STAY" &
    wait $!
fi
