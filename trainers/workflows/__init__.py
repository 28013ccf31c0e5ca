"""Verbs that cross both halves; the one folder that may import engine.run, engine.recipe and engine.report."""
