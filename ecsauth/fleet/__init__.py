"""A command for many instances: who gets it, in which portions, when to stop. Pure: no I/O."""

from ecsauth.fleet.drive import Runner, Surroundings, run_rollout
from ecsauth.fleet.rollout import Rollout

__all__ = ["Rollout", "Runner", "Surroundings", "run_rollout"]
