#!/bin/sh
# samples/build-lambda.sh OUTPUT [PACKAGE]: the archive for AWS Lambda that publisher.yaml names.
#
# OUTPUT is a name that ends in .zip, or a directory for the same files. PACKAGE is what pip installs
# (a wheel, its URL); by default this copy of the project.
# Needs Python 3.9 or later with pip, and a package index; no root, no Docker.
#
# Everything is in it, boto3 as well: the runtime's own changes without notice. All of it is pure
# Python, so that the same archive is for arm64 and x86_64. About 20 MB; Lambda takes 50 MB.
# The same versions give the same bytes. For the same versions another day, freeze the dependencies:
#   PIP_CONSTRAINT=constraints.txt samples/build-lambda.sh ecsauth-lambda.zip
# LAMBDA_PYTHON is the runtime's version (3.13). PYTHON is the interpreter that builds (python3).
set -eu
output=${1:?usage: build-lambda.sh OUTPUT [PACKAGE]}
python=${PYTHON:-python3}
runtime=${LAMBDA_PYTHON:-3.13}
project=$(cd "$(dirname "$0")/.." && pwd)
package=${2:-}
if [ -z "$package" ]; then
    if [ ! -f "$project/pyproject.toml" ]; then
        echo "usage: build-lambda.sh OUTPUT PACKAGE" >&2
        exit 2
    fi
    package=$project
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
pip() { "$python" -m pip --disable-pip-version-check --quiet "$@"; }

# First the wheel, which may have to be built; then the wheels of the dependencies, built by nobody
# here: those for no platform in particular.
pip wheel --no-deps --wheel-dir "$work/wheel" "$package"
pip install --target "$work/files" --no-compile --only-binary=:all: --upgrade \
    --platform any --implementation py --abi none --python-version "$runtime" "$work"/wheel/*.whl

"$python" - "$work/files" "$output" <<'PYTHON'
"""Leaves out what differs from build to build, and packs the rest in order, without its times."""
import pathlib
import shutil
import sys
import zipfile

files, output = map(pathlib.Path, sys.argv[1:])
shutil.rmtree(files / "bin", ignore_errors=True)  # its first lines name an interpreter of here
for info in files.glob("*.dist-info"):
    for name in ("RECORD", "REQUESTED", "INSTALLER", "direct_url.json"):
        (info / name).unlink(missing_ok=True)
foreign = [path.name for path in files.rglob("*.so")]
if foreign:
    sys.exit(f"build-lambda.sh: not pure Python: {', '.join(foreign)}")
names = sorted(path.relative_to(files).as_posix() for path in files.rglob("*") if path.is_file())
if output.suffix == ".zip":
    partial = output.with_name(f".{output.name}.partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in names:
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, (files / name).read_bytes())
    partial.replace(output)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB", end="")
else:
    output.mkdir(parents=True, exist_ok=True)
    if any(output.iterdir()):
        sys.exit(f"build-lambda.sh: {output} is not empty")
    for name in names:
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files / name, output / name)
    print(f"{output}:", end="")
total = sum((files / name).stat().st_size for name in names)
print(f" {len(names)} files, {total / 1e6:.0f} MB")
PYTHON
