"""The launcher: a shell script that prints a ready answer by itself, without starting a process.

It follows the rules of `ecsauth.helper.answers`; all that it cannot judge it hands to the package.
``read``, ``[`` and ``printf`` are built into every ``sh`` that Linux distributions ship (dash,
bash, busybox), so that a hit takes no fork. ``/proc/$$`` is a file that is as old as the process:
a modification time is compared with it in order to know whether it has passed.

What ``sh`` cannot see are permission bits but the sticky one. That is why answers carry it as a
seal: ``chmod`` with a number and copies take it away. Where it was kept and others may write
nevertheless, a write sets the file's time to the present, and then it is no hit either.
"""

from __future__ import annotations

import shlex
import string
from collections.abc import Sequence

from ecsauth import __version__
from ecsauth.errors import UsageError
from ecsauth.helper.answers import DECIDING, FOLDER
from ecsauth.helper.protocol import NOT_FOUND, PROGRAM

MARK = '# Put in place by "ecsauth install helper"'

_HOST = f"{string.ascii_lowercase}{string.digits}.-"
_PROFILE = f"{string.ascii_letters}{string.digits}._-"

_TEMPLATE = """\
#!/bin/sh
MARK (ecsauth VERSION), which writes over it.
# Ready answers of the cache are printed here, by the rules of ecsauth/helper/answers.py; all else
# goes to the package.

program() {
    if [ ! -x PYTHON ]; then
        printf '%s\\n' 'NOT_FOUND'
        printf '%s\\n' 'PROGRAM: PYTHON is gone; repeat: ecsauth install helper' >&2
        exit 1
    fi
}

if [ "$#$*" != 1get ]; then
    program
    exec COMMAND "$@"
fi

unset url more account own_profile own_role cache profile answers answer key reply
url= more=
IFS= read -r url && IFS= read -r more

doubt() {
    program
    exec COMMAND get <<END
$url
$more
END
}

account= own_profile= own_role=
case $url$more in
'' | *[!HOST]*) doubt ;;
esac
[ -z "$more" ] || doubt
case $url in
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

[ -z "${AWS_ECR_DISABLE_CACHE-}${ECSAUTH_DEBUG-}" ] || doubt
cache=${AWS_ECR_CACHE_DIR:-${HOME-}/.ecr}
case ${HOME-} in
/*) ;;
*) doubt ;;
esac
case $cache in
/*) ;;
*) doubt ;;
esac
profile=${own_profile:-${AWS_PROFILE-}}
case $profile in
*[!PROFILE]*) doubt ;;
esac
answers=$cache/FOLDER
answer=$answers/$url@$profile

# Ours, sealed, no link, its time in the future; the folder's in the past; the settings older.
[ -O "$cache" ] && [ -O "$answers" ] && [ -k "$answers" ] && [ ! -L "$answers" ] &&
    [ -O "$answer" ] && [ -k "$answer" ] && [ ! -L "$answer" ] && [ -f "$answer" ] &&
    [ "/proc/$$" -nt "$answers" ] && [ "$answer" -nt "/proc/$$" ] &&
    ! [ "${AWS_CONFIG_FILE:-$HOME/.aws/config}" -nt "$answers" ] &&
    ! [ "${AWS_SHARED_CREDENTIALS_FILE:-$HOME/.aws/credentials}" -nt "$answers" ] || doubt

key= reply=
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
    names = ["$own_profile", "$own_role", *(f"${{{name}-}}" for name in DECIDING)]
    replaced = {
        "MARK": MARK,
        "VERSION": __version__,
        "NOT_FOUND": NOT_FOUND,
        "PROGRAM": PROGRAM,
        "[!HOST]": f"[!{_HOST}]",
        "[!PROFILE]": f"[!{_PROFILE}]",
        "FOLDER": FOLDER,
        '"KEY"': f'"1|$url|$HOME|{"|".join(names)}"',
        "COMMAND": " ".join(shlex.quote(item) for item in command),
        "'PROGRAM: PYTHON is gone": f"'{PROGRAM}: {program} is gone",
        "-x PYTHON": f"-x {shlex.quote(program)}",
    }
    text = _TEMPLATE
    for mark in sorted(replaced, key=len, reverse=True):
        text = text.replace(mark, replaced[mark])
    return text
