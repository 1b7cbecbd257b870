"""The launcher: a shell script that prints a ready answer by itself, without starting a process.

It follows the rules of `answers` beside this; all that it cannot judge it hands to the package.
``read``, ``[`` and ``printf`` are built into every ``sh`` that Linux distributions ship (dash,
bash, busybox), so that a hit takes no fork. ``/proc/self`` is a folder that is as old as the look
at it: a modification time is compared with it in order to know whether it has passed.

What ``sh`` cannot see are permission bits but the sticky one. That is why answers carry it as a
seal: ``chmod`` with a number and copies take it away. Where it was kept and others may write
nevertheless, a write sets the file's time to the present; to be taken for later than its mark, and
that for later than the look, both would have to be written, one after the other, within the
microseconds between the looks.
"""

from __future__ import annotations

import shlex
import string
from collections.abc import Sequence

from ecsauth import __version__
from ecsauth.aws.deciding import PRINCIPAL
from ecsauth.errors import UsageError
from ecsauth.host.machine import BOOT_ID
from ecsauth.token_cache.answers import (
    ANSWERS_FOLDER,
    AT,
    CACHE_FOLDER,
    CONFIG,
    CREDENTIALS,
    INTRICATE,
)
from ecsauth.token_cache.server import NOT_FOUND, PROGRAM

MARK = '# Put in place by "ecsauth install helper"'

PACKAGE_CODE = (
    "import _signal as s; s.signal(2, s.SIG_DFL); from ecsauth.helper.entry import main; main()"
)
"""What the launcher gives to Python: from its first moment on, Ctrl-C ends it without a word."""

_HOST = f"{string.ascii_lowercase}{string.digits}.-"
_PROFILE = f"{string.ascii_letters}{string.digits}._-"

_TEMPLATE = """\
#!/bin/sh
MARK (ecsauth VERSION), which writes over it.
# Ready answers of the cache are printed here, by the rules of ecsauth/helper/answers.py; all else
# goes to the package.

program() {
    if [ -x PYTHON ]; then return; fi
    printf '%s\\n' 'NOT_FOUND'
    printf '%s\\n' 'PROGRAM: PYTHON is gone; repeat: ecsauth install helper' >&2
    exit 1
}

if [ "$#$*" != 1get ]; then
    program
    exec COMMAND "$@"
fi

unset url more account own_profile own_role cache profile answers answer config credentials boot
unset kept key reply
url= more=
if IFS= read -r url && IFS= read -r more; then
    program
    { printf '%s\\n%s\\n' "$url" "$more" && cat; } | COMMAND get
    exit
fi

doubt() {
    program
    printf '%s\\n%s' "$url" "$more" | COMMAND get
    exit
}

# The file $1 is as it was when $2 was made: there is neither, or both have one time.
same() {
    if [ -e "$1" ]; then
        [ -e "$2" ] && ! [ "$1" -nt "$2" ] && ! [ "$1" -ot "$2" ]
    else
        ! [ -e "$2" ]
    fi
}

account= own_profile= own_role=
[ -z "$more" ] || doubt
case $url in
'' | *[!HOST]*) doubt ;;
public.ecr.aws) ;;
[0-9]*.dkr[.-]ecr*)
    account=${url%%.*}
    case $account in
    *[!0123456789]*) doubt ;;
    esac
    eval "own_profile=\\${AWS_PROFILE_$account-} own_role=\\${AWS_ROLE_ARN_$account-}"
    ;;
*) doubt ;;
esac

[ -z "${AWS_ECR_DISABLE_CACHE-}${ECSAUTH_DEBUG-}INTRICATE" ] || doubt
cache=${AWS_ECR_CACHE_DIR:-${HOME-}/.ecr}
config=${AWS_CONFIG_FILE:-${HOME-}/.aws/config}
credentials=${AWS_SHARED_CREDENTIALS_FILE:-${HOME-}/.aws/credentials}
case $cache$config$credentials in
*'$'*) doubt ;;
esac
case ${HOME-} in /*) ;; *) doubt ;; esac
case $cache in /*) ;; *) doubt ;; esac
case $config in /*) ;; *) doubt ;; esac
case $credentials in /*) ;; *) doubt ;; esac
profile=${own_profile:-${AWS_PROFILE-}}
case $profile in
*[!PROFILE]*) doubt ;;
esac
kept=$cache/CACHE_FOLDER
answers=$kept/ANSWERS_FOLDER
answer=$answers/$url@$profile

# Ours, sealed, no link; its time and that of its mark in the future, the folder's in the past.
[ -O "$cache" ] && [ -O "$kept" ] && [ -k "$kept" ] && [ ! -L "$kept" ] &&
    [ -O "$answers" ] && [ -k "$answers" ] && [ ! -L "$answers" ] &&
    [ -O "$answer" ] && [ -k "$answer" ] && [ ! -L "$answer" ] && [ -f "$answer" ] &&
    [ "$answer" -nt "$answerAT" ] && [ "$answerAT" -nt /proc/self ] &&
    [ /proc/self -nt "$answers" ] &&
    same "$config" "$answerCONFIG" && same "$credentials" "$answerCREDENTIALS" || doubt

boot= key= reply=
{ IFS= read -r boot; } 2>/dev/null <BOOT_ID || boot=
{ IFS= read -r key && IFS= read -r reply; } 2>/dev/null <"$answer" || doubt
[ "$key" = "KEY" ] || doubt
printf '%s\\n' "$reply"
"""


def launcher_text(command: Sequence[str]) -> str:
    """Return the launcher.

    Args:
        command: program and first arguments that run the package's own helper.

    Raises:
        UsageError: the path of the program cannot stand in it.

    """
    program = command[0]
    if not program.isprintable() or set(program) & set("'\"\\$`\n"):
        raise UsageError(f"the path {program!r} cannot stand in a script", "use a plain one")
    names = ["$own_profile", "$own_role", *(f"${{{name}-}}" for name in PRINCIPAL)]
    replaced = {
        "MARK": MARK,
        "VERSION": __version__,
        "NOT_FOUND": NOT_FOUND,
        "PROGRAM": PROGRAM,
        "[!HOST]": f"[!{_HOST}]",
        "[!PROFILE]": f"[!{_PROFILE}]",
        "CACHE_FOLDER": CACHE_FOLDER,
        "ANSWERS_FOLDER": ANSWERS_FOLDER,
        "$answerAT": f"$answer{AT}",
        "$answerCONFIG": f"$answer{CONFIG}",
        "$answerCREDENTIALS": f"$answer{CREDENTIALS}",
        "<BOOT_ID": f"<{BOOT_ID}",
        '}INTRICATE"': f'}}{"".join(f"${{{name}-}}" for name in INTRICATE)}"',
        '"KEY"': f'"2|$boot|$url|$HOME|{"|".join(names)}"',
        "COMMAND": " ".join(shlex.quote(item) for item in command),
        "'PROGRAM: PYTHON is gone": f"'{PROGRAM}: {program} is gone",
        "-x PYTHON": f"-x {shlex.quote(program)}",
    }
    text = _TEMPLATE
    for mark in sorted(replaced, key=len, reverse=True):
        text = text.replace(mark, replaced[mark])
    return text
