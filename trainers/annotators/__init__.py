"""Annotators that need torch, found through the entry-point group provender.annotators."""
