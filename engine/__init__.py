"""The curation half of Provender: raw text in, versioned training mixture, tokens and schedule out."""

__version__ = "0.1.0"
