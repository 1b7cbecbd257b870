"""Make the agent read what was written: the policy, the restart, the proof, the way back.

The agent reads its settings only when it starts, and a careless restart orphans every task on
the instance. AWS's procedure: look for ECS_DATADIR in ``docker inspect ecs-agent``, and stop the
tasks first if it is not there (Amazon ECS Developer Guide, "Using non-AWS container images").
"""

AUTO, ALWAYS, NEVER = "auto", "always", "never"
POLICIES = (AUTO, ALWAYS, NEVER)

MIN_INTERVAL = 300.0
"""Seconds between two restarts, unless told otherwise."""
