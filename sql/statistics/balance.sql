-- Groups that balance looked at: unmet quotas first, with what is missing, then the groups of which most was left over.
-- reads:  balance(rule, unit, group, asked, kept, missing, available_documents, kept_documents)
-- yields: balance(rule, group, unit, asked, kept, missing, left_over_documents)
-- grain:  one row per rule and group; the view balance has what was available, too
-- params: none
SELECT rule, "group", unit, asked, kept, missing, available_documents - kept_documents AS left_over_documents
FROM balance
ORDER BY missing > 0 DESC, missing / nullif(asked, 0) DESC NULLS LAST, left_over_documents DESC, rule, "group"
