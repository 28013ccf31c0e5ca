-- Documents that hold a passage meant for measuring, with the passage; kept ones too, where the share was small.
-- reads:  stored.contamination_hits(stage, doc_id, item_id, set, fraction, evidence)
-- yields: contamination_hits(stage, doc_id, item_id, set, fraction, evidence)
-- grain:  one row per stage, document and item (the held-out document it resembles)
-- params: none
SELECT stage, doc_id, item_id, "set", fraction, evidence FROM stored.contamination_hits
