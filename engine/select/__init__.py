"""Columns to decisions: kept, held out, or dropped with a reason."""
