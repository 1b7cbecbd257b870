#!/bin/sh
# samples/marathon/build.sh [REGISTRY...]: builds the image that puts the credential helper onto
# each agent of DC/OS. With REGISTRY (an ECR host) docker asks the helper for these only.
#
# The helper comes with a Python of its own, so that the agents need none; but they need a C library
# (glibc, and libz) at least as new as the one here: build on the oldest distribution that they have.
# Needs no root, but a docker that this user may use.
#
#   IMAGE    name of the image (default ecsauth-helper); empty: build none, only what goes into it
#   BASE     what it is made from (default: see Dockerfile)
#   OUT      where to work (default dist/marathon, beside this repository's README.md)
#   PYTHON   Python 3.9 or later (default python3)
#   PACKAGE  what pip installs (default: this repository)
#
# Debian: apt-get install python3-venv binutils; Amazon Linux: dnf install python3-pip binutils.
set -eu
umask 022

fail() {
    echo "build.sh: error: $*" >&2
    exit 2
}

here=$(cd "$(dirname "$0")" && pwd)
OUT=${OUT:-$here/../../dist/marathon}
name=docker-credential-ecr-login
image=${IMAGE-ecsauth-helper}
python=${PYTHON:-python3}

command -v objcopy >/dev/null || fail "objcopy is not here: install binutils"
[ -z "$image" ] || command -v docker >/dev/null || fail "docker is not here: install it, or IMAGE="
"$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 9))' ||
    fail "$python is not Python 3.9 or later with venv (Debian: python3-venv)"

mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
context=$OUT/context
"$python" -m venv "$OUT/venv"
"$OUT/venv/bin/pip" install --quiet --disable-pip-version-check --upgrade \
    "${PACKAGE:-$here/../..}" "pyinstaller>=6,<7"

rm -rf "$context"
mkdir -p "$context"
"$OUT/venv/bin/ecsauth" bundle --quiet "$context/docker.tar.gz" "$@"
rm -f "$context/.docker.tar.gz.ecsauth-lock"
PYTHONHASHSEED=1 PYINSTALLER_CONFIG_DIR=$OUT/cache "$OUT/venv/bin/pyinstaller" --noconfirm --clean \
    --log-level ERROR --workpath "$OUT/work" --distpath "$context" "$here/helper.spec"
"$context/$name/$name" version
chmod -R u=rwX,go=rX "$context"
(cd "$context/$name" && find . -type f -exec sha256sum {} +) >"$context/SHA256SUMS"
cp "$here/put.sh" "$here/Dockerfile" "$context/"
echo "$context: $(du -sm "$context" | cut -f1) MB, for hosts with $(getconf GNU_LIBC_VERSION) or later"

if [ -n "$image" ]; then
    docker build ${BASE:+--build-arg "BASE=$BASE"} --tag "$image" "$context"
    echo "$image: built; push it to a registry that the agents can pull from, and name it in helper.json"
fi
