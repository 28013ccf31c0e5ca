-- Verified pairs of near-duplicates, down to the floor the stage recorded.
-- reads:  stored.duplicate_pairs(stage, doc_id, other_id, similarity)
-- yields: duplicate_pairs(stage, doc_id, other_id, similarity)
-- grain:  one row per stage and unordered pair; doc_id is the smaller id
-- params: none
SELECT stage, least(doc_id, other_id) AS doc_id, greatest(doc_id, other_id) AS other_id, similarity
FROM stored.duplicate_pairs
