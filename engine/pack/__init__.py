"""Documents to token ids, and token ids to a schedule of training rows."""
