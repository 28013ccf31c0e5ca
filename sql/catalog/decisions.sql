-- What became of every document: kept, dropped, held_out or over_budget, and why; tags are reasons that only tagged it.
-- reads:  stored.decisions(doc_id, source, decision, reason, tags)
-- yields: decisions(doc_id, source, decision, reason, tags)
-- grain:  one row per document
-- params: none
SELECT doc_id, source, decision, reason, tags FROM stored.decisions
