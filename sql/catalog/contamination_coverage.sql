-- What the search for contamination could find, whom it searched, and its recall on planted copies.
-- reads:  stored.contamination_coverage(stage, set, items, matchable_items, searched_documents, contaminated_documents,
--           planted_copies, planted_recall)
-- yields: contamination_coverage(stage, set, items, matchable_items, searched_documents, contaminated_documents,
--           planted_copies, planted_recall)
-- grain:  one row per stage and held-out set
-- params: none
SELECT
    stage, "set", items, matchable_items, searched_documents, contaminated_documents, planted_copies, planted_recall
FROM stored.contamination_coverage
