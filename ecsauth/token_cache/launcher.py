"""The launcher: a shell script that prints a ready answer without starting another process.

It applies the rules of `answers` and hands every request that it cannot decide to the package.
``read``, ``[`` and ``printf`` are builtins of every ``sh`` that Linux distributions ship (dash,
bash, busybox), so a hit needs no fork. The modification time of ``/proc/self`` is the present: the
script compares a file's time with it to learn whether that time has passed.

``sh`` can test no permission bit for other users, only the sticky bit. That is why answers have it
as a seal: a numeric ``chmod`` and copying remove it. If others can write a file that kept its seal,
a write sets the file's time to the present. To pass the checks, the forger would have to write the
``+at`` file and then the answer within the microseconds between the launcher's tests.
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
"""The Python code that the launcher runs; from its start, Ctrl-C ends it without a traceback."""

_HOST = f"{string.ascii_lowercase}{string.digits}.-"
_PROFILE = f"{string.ascii_letters}{string.digits}._-"

_TEMPLATE = """\
#!/bin/sh
MARK (ecsauth VERSION), which overwrites it.
# Prints ready answers of the cache, by the rules of ecsauth/token_cache/answers.py; the package
# handles everything else.

program() {
    if [ -x PYTHON ]; then return; fi
    printf '%s\\n' 'NOT_FOUND'
    printf '%s\\n' 'PROGRAM: PYTHON is missing; run: ecsauth install helper' >&2
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

# The file $1 has not changed since $2 was made: neither exists, or both have the same time.
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

# Own, sealed, not links; the times of the answer and its +at in the future, the folder's past.
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
        command: program and first arguments that run the package's helper.

    Raises:
        UsageError: the program's path has characters that the script cannot hold.

    """
    program = command[0]
    if not program.isprintable() or set(program) & set("'\"\\$`\n"):
        raise UsageError(
            "this path cannot be written in a shell script",
            "install ecsauth under a path without quotes, $, ` and backslashes",
            subject=repr(program),
            reference="usage-path-characters",
        )
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
        "'PROGRAM: PYTHON is missing": f"'{PROGRAM}: {program} is missing",
        "-x PYTHON": f"-x {shlex.quote(program)}",
    }
    text = _TEMPLATE
    for mark in sorted(replaced, key=len, reverse=True):
        text = text.replace(mark, replaced[mark])
    return text
