-- What the search for contamination could find, whom it searched, its recall on planted copies, its false flags.
-- reads:  stored.coverage(stage, benchmark, items, matchable_items, searched_documents, flagged_documents,
--           planted_copies, planted_recall, control_documents, control_flag_rate)
-- yields: coverage(stage, benchmark, items, matchable_items, searched_documents, flagged_documents,
--           planted_copies, planted_recall, control_documents, control_flag_rate)
-- grain:  one row per stage and benchmark or held-out set
-- params: none
SELECT
    stage, benchmark, items, matchable_items, searched_documents, flagged_documents, planted_copies, planted_recall,
    control_documents, control_flag_rate
FROM stored.coverage
