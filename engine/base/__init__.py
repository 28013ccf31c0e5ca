"""The floor everything else stands on; imports nothing of ours."""
