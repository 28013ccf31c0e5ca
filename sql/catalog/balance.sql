-- What every rule of balance asked of groups with a quota or a loss, what came and what was kept; of a quota in the end, missing is the rest.
-- reads:  stored.balance(rule, unit, group, is_quota, asked, available, kept, missing, available_documents, kept_documents)
-- yields: balance(rule, unit, group, is_quota, asked, available, kept, missing, available_documents, kept_documents)
-- grain:  one row per rule and group; amounts are in the rule's unit
-- params: none
SELECT rule, unit, "group", is_quota, asked, available, kept, missing, available_documents, kept_documents
FROM stored.balance
