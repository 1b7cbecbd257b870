"""The helper in the configuration of others: text to be pasted, for those who keep it elsewhere.

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
# The runner's own process asks the helper: it must be on the PATH of its service, and the AWS
# credentials in its context (the instance profile of the host on which the runner runs).
environment = [{setting}]
"""
_REGISTRIES = """\
# In /etc/containers/registries.conf or ~/.config/containers/registries.conf, before any [[table]]:
# podman, skopeo and buildah ask the helper for every registry that no login file names.
credential-helpers = ["containers-auth.json", {helper}]
"""


def block(kind: str, registries: Sequence[str], *, is_store: bool) -> str:
    """Return the text.

    Args:
        kind: one of `KINDS`.
        registries: hosts that the helper is for.
        is_store: it is for all registries.

    Raises:
        UsageError: nothing says what it is for, or that kind cannot say it.

    """
    if kind == "registries-conf":
        return _REGISTRIES.format(helper=json.dumps(HELPER))
    if kind == "podman" and is_store:
        raise UsageError(
            "podman knows no credsStore", "name the registries, or --print registries-conf"
        )
    if not registries and not is_store:
        raise UsageError("no REGISTRY is given", "name them, or --store for all")
    document: dict[str, object] = {}
    if registries:
        document["credHelpers"] = dict.fromkeys(registries, HELPER)
    if is_store:
        document["credsStore"] = HELPER
    if kind == "gitlab-runner":
        compact = json.dumps(document, separators=(",", ":"))
        return _GITLAB.format(setting=json.dumps(f"DOCKER_AUTH_CONFIG={compact}"))
    return json.dumps(document, indent="\t") + "\n"
