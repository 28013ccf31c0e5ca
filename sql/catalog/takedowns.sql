-- Documents that were taken down in this workspace, and why each left: it was asked for, or is equal or similar to one that was.
-- reads:  stored.takedowns(position, doc_id, source, why, of, similarity, taken_down_at, by, reason)
-- yields: takedowns(doc_id, source, why, of, similarity, taken_down_at, by, reason)
-- grain:  one row per takedown and document; `of` is the document that was asked for
-- params: none
SELECT doc_id, source, why, "of", similarity, taken_down_at, "by", reason
FROM stored.takedowns
ORDER BY position, doc_id
