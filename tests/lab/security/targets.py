"""What is fuzzed: each strategy with the property that must hold for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.lab.security import inputs, properties


@dataclass(frozen=True)
class Target:
    """One of them.

    Attributes:
        name: for people.
        strategy: of hypothesis.
        check: takes one input and raises if the property does not hold.
        kind: of an input: ``bytes``, ``text``, or ``values`` that only the strategy can make.

    """

    name: str
    strategy: st.SearchStrategy[Any]
    check: Callable[[Any], object]
    kind: str

    def from_bytes(self) -> Callable[[bytes], object]:
        """Return a function that makes an input of any bytes and checks it."""
        if self.kind == "bytes":
            return self.check
        if self.kind == "text":
            return lambda data: self.check(data.decode("utf-8", "surrogateescape"))

        def check(value: Any) -> None:
            self.check(value)

        checked = given(self.strategy)(check)
        quick = settings(
            database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
        )
        return quick(checked).hypothesis.fuzz_one_input  # type: ignore[attr-defined, no-any-return]


TARGETS = (
    Target("login file", inputs.LOGIN_FILES, properties.login_file, "bytes"),
    Target("ecs.config", inputs.ECS_CONFIGS, properties.ecs_config_text, "bytes"),
    Target("agent JSON", inputs.AGENT_JSONS, properties.agent_json_text, "bytes"),
    Target("settings file", inputs.SETTINGS_FILES, properties.settings_file, "bytes"),
    Target("names", inputs.NAMES, properties.name, "text"),
    Target("SOURCE and TARGET", inputs.PLACES, properties.place, "text"),
    Target("secret", inputs.SECRETS, properties.secret, "text"),
    Target("mangled JSON", inputs.SECRETS, properties.mangled, "text"),
    Target("logins", inputs.CREDENTIALS, properties.credentials, "values"),
)
