"""Configuration text that names the helper, to paste into files that ecsauth does not edit.

Sources: GitLab Runner's "Use statically defined credentials" (DOCKER_AUTH_CONFIG may name helpers,
which the runner's own process calls), docker/cli ``cli/config/configfile/file.go``,
containers-auth.json(5) and containers-registries.conf(5) (``credential-helpers``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from ecsauth.errors import UsageError
from ecsauth.installation.docker_settings import HELPER

KINDS = ("docker", "podman", "registries-conf", "gitlab-runner")

_GITLAB = """\
# In config.toml of GitLab Runner, under [[runners]], for the executors docker and docker+machine.
# The runner's own process calls the helper: the helper must be on the PATH of its service, and AWS
# credentials must be available to it (such as the instance profile of the runner's host).
environment = [{setting}]
"""
_REGISTRIES = """\
# In /etc/containers/registries.conf or ~/.config/containers/registries.conf, before any [[table]]:
# podman, skopeo and buildah call the helper for every registry without an entry in a login file.
credential-helpers = ["containers-auth.json", {helper}]
"""


def block(kind: str, registries: Sequence[str], *, is_store: bool) -> str:
    """Return the configuration text.

    Args:
        kind: one of `KINDS`.
        registries: hosts for which the helper is used.
        is_store: use it for all registries.

    Raises:
        UsageError: there are no registries, or this kind of file cannot name a store.

    """
    if kind == "registries-conf":
        return _REGISTRIES.format(helper=json.dumps(HELPER))
    if kind == "podman" and is_store:
        raise UsageError(
            "podman does not support credsStore",
            "name the registries, or use --print registries-conf",
            reference="usage-print",
        )
    if not registries and not is_store:
        raise UsageError(
            "no REGISTRY given",
            "name the registries, or use --store for all",
            reference="usage-registry-missing",
        )
    document: dict[str, object] = {}
    if registries:
        document["credHelpers"] = dict.fromkeys(registries, HELPER)
    if is_store:
        document["credsStore"] = HELPER
    if kind == "gitlab-runner":
        compact = json.dumps(document, separators=(",", ":"))
        return _GITLAB.format(setting=json.dumps(f"DOCKER_AUTH_CONFIG={compact}"))
    return json.dumps(document, indent="\t") + "\n"
