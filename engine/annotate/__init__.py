"""Stages that add columns beside documents and never drop one."""
