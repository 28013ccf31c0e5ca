-- What became of every document: kept, dropped or held_out, and why.
-- reads:  stored.decisions(doc_id, source, decision, reason)
-- yields: decisions(doc_id, source, decision, reason)
-- grain:  one row per document
-- params: none
SELECT doc_id, source, decision, reason FROM stored.decisions
