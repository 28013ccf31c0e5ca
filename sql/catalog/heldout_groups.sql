-- Documents that no mixture may hold: every member of a held-out group of the split.
-- reads:  stored.heldout_groups(doc_id, group_id, set)
-- yields: heldout_groups(doc_id, group_id, set)
-- grain:  one row per document of a held-out group
-- params: none
SELECT doc_id, group_id, "set" FROM stored.heldout_groups
