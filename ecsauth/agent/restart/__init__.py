"""Make the agent read what was written: the policy, the procedure, the proof, the way back."""
