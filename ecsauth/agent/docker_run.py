"""An agent that somebody ran by hand with ``docker run --env-file``: re-created with new settings.

Docker keeps a container's environment for its whole life, so that another container has to take
its place. The order makes every step safe to be interrupted:

1. create the new one under a name of its own: what Docker refuses is refused now;
2. stop the old one, take its restart policy away, rename it aside, rename the new one;
3. start the new one; remove the old one when the new one has proved itself.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ecsauth.agent.constants import DOCKER
from ecsauth.agent.container import NAME, connected, probe
from ecsauth.engine_auth.codec import AUTH_DATA_KEY, AUTH_TYPE_KEY, EngineAuth
from ecsauth.errors import AgentError, RestartRefusedError

ASIDE = f"{NAME}-ecsauth-before"
NEW = f"{NAME}-ecsauth-new"

_STOP_SECONDS = 30
_TIMEOUT_SECONDS = 90
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
_NO_POLICY = {"Name": "no", "MaximumRetryCount": 0}


class Container:
    """A `service.Service` for an agent that only Docker supervises.

    Args:
        environment: for Docker, see `inspect_agent`.
        settings: that the new container gets; None leaves the environment as it is, so that a
            restart of the same container will do (the agent's JSON file).

    """

    name = DOCKER
    command = "ecsauth agent restart (docker restart does not read the settings again)"

    def __init__(self, environment: Mapping[str, str], settings: EngineAuth | None) -> None:
        self._environment = environment
        self._settings = settings
        self._made = ""
        """Id of the container that replaced the old one."""

    def is_down(self) -> bool:
        """Return False: Docker's own answer tells whether it runs."""
        return False

    def is_stopped(self) -> bool:
        """Return False: Docker does not tell a stopped container from one that ended."""
        return False

    def repair(self) -> str:
        """Clean up after an interrupted restart.

        Raises:
            AgentError: Docker refuses.

        """
        try:
            probe(self._environment)
        except Exception:  # without Docker there is nothing to clean up; a later step reports it
            return ""
        with self._docker("could not clean up after an interrupted restart") as client:
            found = {name: _find(client, name) for name in (NAME, NEW, ASIDE)}
            return _clean_up(found[NAME], found[NEW], found[ASIDE])

    def check(self) -> None:
        """Refuse to replace a container that could not be restored.

        Raises:
            RestartRefusedError: it was run with ``--rm``.

        """
        if self._settings is None:
            return
        try:
            with self._docker("the agent's container cannot be looked at") as client:
                found = _find(client, NAME)
        except AgentError as error:
            raise error.as_kind(RestartRefusedError) from error
        if found is not None and (found.attrs.get("HostConfig") or {}).get("AutoRemove"):
            raise RestartRefusedError(
                f"{NAME} was run with --rm: Docker would remove it, so it could not be restored",
                "run it without --rm",
                reference="agent-run-with-rm",
            )

    def start_if_blocked(self) -> None:
        """Do nothing: no other job can block it."""

    def restart(self) -> bool:
        """Replace the container with a new one.

        Raises:
            AgentError: Docker refuses; the old one runs on unless it says otherwise.

        """
        with self._docker("the agent's container could not be replaced") as client:
            old = client.containers.get(NAME)
            if self._settings is None:
                old.restart(timeout=_stop_seconds(old))
                return True
            new = self._create(client, old)
            self._made = new.id
            old.stop(timeout=_stop_seconds(old))
            old.update(restart_policy=_NO_POLICY)
            old.rename(ASIDE)
            new.rename(NAME)
            new.start()
        return True

    def discard_rollback(self) -> None:
        """Remove the old container; its volumes stay, because the new one uses them."""
        with contextlib.suppress(AgentError), self._docker("") as client:
            old = _find(client, ASIDE)
            if old is not None:
                old.remove()

    def roll_back(self) -> None:
        """Restore the old container.

        Raises:
            AgentError: Docker refuses.

        """
        with self._docker("the container before could not be brought back") as client:
            current, new, old = (_find(client, name) for name in (NAME, NEW, ASIDE))
            is_foreign = current is not None and self._made not in ("", current.id)
            if old is not None and is_foreign:
                raise AgentError(
                    f"something else has started a container {NAME} meanwhile; the previous one is"
                    f" kept as {ASIDE}",
                    "find out what starts it, such as a unit of your own",
                    reference="agent-started-elsewhere",
                )
            if old is not None:
                _restore(current, old)
            elif not _clean_up(current, new, None):
                current = client.containers.get(NAME)
                current.restart(timeout=_stop_seconds(current))

    def _create(self, client: Any, old: Any) -> Any:
        config = new_config(old.attrs, self._settings or EngineAuth("", ""))
        same = old.attrs["Image"]
        if not _means(client, str(config.get("Image")), same):
            config["Image"] = same  # its name means another image by now, or none
        made = client.api.create_container_from_config(config, NEW)
        new = client.containers.get(made["Id"])
        for name, endpoint in other_networks(old.attrs).items():
            client.api.connect_container_to_network(new.id, name, **endpoint)
        return new

    @contextlib.contextmanager
    def _docker(self, failed: str) -> Iterator[Any]:
        """Provide a client; turn Docker's errors into AgentError."""
        from docker.errors import APIError, DockerException

        try:
            with connected(self._environment, _TIMEOUT_SECONDS) as client:
                yield client
        except APIError as error:
            said = str(error.explanation or "").splitlines()[:1]
            raise AgentError(f"{failed}: {_safe(said[0] if said else 'Docker refuses')}") from error
        except (DockerException, OSError, KeyError, TypeError, ValueError) as error:
            raise AgentError(
                f"{failed}: {type(error).__name__}", "check that Docker is up"
            ) from error


def new_config(attributes: Mapping[str, Any], settings: EngineAuth) -> dict[str, Any]:
    """Return the body of ``POST /containers/create`` for the same container with new settings.

    Unnamed volumes are named, so that the new container has them and not fresh ones. A host name
    that Docker made out of the id is not carried over.

    Args:
        attributes: of docker inspect.
        settings: to be in its environment; empty ones are not.

    """
    config = dict(attributes["Config"])
    host = dict(attributes["HostConfig"])
    config["Env"] = new_environment(config.get("Env") or [], settings)
    mode = str(host.get("NetworkMode", ""))
    is_own_name = config.get("Hostname") == str(attributes.get("Id", ""))[:12]
    if is_own_name or host.get("UTSMode") == "host" or mode.startswith(("host", "container:")):
        config.pop("Hostname", None)
        config.pop("Domainname", None)
    binds = list(host.get("Binds") or [])
    for mount in attributes.get("Mounts") or []:
        if mount.get("Type") == "volume" and _ANONYMOUS.fullmatch(str(mount.get("Name", ""))):
            read_only = "" if mount.get("RW", True) else ":ro"
            bind = f"{mount['Name']}:{mount['Destination']}{read_only}"
            if not _name_mount(host, mount) and not any(
                item.split(":")[:2] == bind.split(":")[:2] for item in binds
            ):
                binds.append(bind)
    host["Binds"] = binds or None
    config["HostConfig"] = host
    networks = (attributes.get("NetworkSettings") or {}).get("Networks") or {}
    if mode in networks and mode not in ("bridge", "host", "none"):
        config["NetworkingConfig"] = {
            "EndpointsConfig": {mode: _endpoint(networks[mode], attributes)}
        }
    return config


def _name_mount(host: dict[str, Any], mount: Mapping[str, Any]) -> bool:
    """Name an unnamed volume where it was asked for with --mount; False if it was not."""
    mounts = [dict(item) for item in host.get("Mounts") or []]
    for item in mounts:
        if item.get("Target") == mount["Destination"]:
            item["Source"] = mount["Name"]
            host["Mounts"] = mounts
            return True
    return False


def new_environment(lines: Sequence[str], settings: EngineAuth) -> list[str]:
    """Return the lines with the two settings replaced and the others unchanged, in order."""
    wanted = {AUTH_TYPE_KEY: settings.auth_type, AUTH_DATA_KEY: settings.auth_data}
    kept = []
    for line in lines:
        name = line.partition("=")[0]
        if name not in wanted:
            kept.append(line)
        elif wanted[name]:
            kept.append(f"{name}={wanted.pop(name)}")
    named = {line.partition("=")[0] for line in kept}
    return kept + [
        f"{name}={value}" for name, value in wanted.items() if value and name not in named
    ]


def other_networks(attributes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the additional networks: name → arguments for connecting the container."""
    mode = str((attributes.get("HostConfig") or {}).get("NetworkMode", ""))
    own = {mode, "bridge" if mode in ("", "default") else mode}
    networks = (attributes.get("NetworkSettings") or {}).get("Networks") or {}
    found = {}
    for name, endpoint in networks.items():
        if name not in own:
            kept = _endpoint(endpoint, attributes)
            ipam = kept.get("IPAMConfig") or {}
            found[name] = {
                "aliases": kept.get("Aliases"),
                "links": kept.get("Links"),
                "driver_opt": kept.get("DriverOpts"),
                "ipv4_address": ipam.get("IPv4Address"),
                "ipv6_address": ipam.get("IPv6Address"),
                "link_local_ips": ipam.get("LinkLocalIPs"),
            }
    return found


def _endpoint(endpoint: Mapping[str, Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the requested network options, without what Docker assigned or derived from the id."""
    own = str(attributes.get("Id", ""))[:12]
    aliases = [item for item in endpoint.get("Aliases") or [] if item != own]
    return {
        "IPAMConfig": endpoint.get("IPAMConfig"),
        "Links": endpoint.get("Links"),
        "Aliases": aliases or None,
        "DriverOpts": endpoint.get("DriverOpts"),
    }


def _clean_up(current: Any, new: Any, aside: Any) -> str:
    """Undo or finish an interrupted restart; return what was done."""
    if new is None and aside is None:
        return ""
    words = "undid an interrupted restart of the agent: the previous container runs again"
    if aside is not None and current is not None and current.status == "running":
        return ""  # the new one is up: it is proved next, and until then the old one is kept
    policy = _policy(new) or _policy(current)
    if aside is not None:
        for half in (item for item in (current, new) if item is not None):
            half.remove(force=True)
        aside.rename(NAME)
        current = aside
    else:
        new.remove(force=True)
    if current is None:
        return ""
    if policy and _policy(current) != policy:
        current.update(restart_policy=policy)
    if current.status == "running":
        return "removed what an interrupted restart of the agent had left"
    current.start()
    return words


def _restore(failed: Any, old: Any) -> None:
    policy = _policy(failed)
    if failed is not None:
        failed.remove(force=True)
    old.rename(NAME)
    if policy:
        old.update(restart_policy=policy)
    old.start()


def _stop_seconds(container: Any) -> int:
    """Return its stop timeout: the one it was run with, else what an agent needs."""
    own = (container.attrs.get("Config") or {}).get("StopTimeout")
    return int(own) if own is not None and 0 <= int(own) < _TIMEOUT_SECONDS else _STOP_SECONDS


def _means(client: Any, name: str, image: str) -> bool:
    """Return whether an image name refers to this image."""
    from docker.errors import ImageNotFound

    try:
        return bool(client.images.get(name).id == image)
    except ImageNotFound:
        return False


def _policy(container: Any) -> dict[str, Any] | None:
    if container is None:
        return None
    found = (container.attrs.get("HostConfig") or {}).get("RestartPolicy")
    return dict(found) if found else None


def _find(client: Any, name: str) -> Any:
    from docker.errors import NotFound

    try:
        return client.containers.get(name)
    except NotFound:
        return None


def _safe(text: str) -> str:
    """Return Docker's message, unless it may contain a setting."""
    return "Docker refuses" if "{" in text or "ECS_" in text else text[:200]
