-- Groups that balance looked at: unmet quotas first, with what is missing, then the groups of which most was left over.
-- reads:  balance(rule, unit, group, is_quota, asked, available, kept, missing, available_documents, kept_documents)
-- yields: balance(rule, group, unit, is_quota, asked, available, kept, missing, over_budget, over_budget_documents,
--           met_fraction)
-- grain:  one row per rule and group; over_budget is what was there and not kept, met_fraction of what a quota asked, at
--           most 1: protected documents can be more than that
-- params: none
SELECT
    rule, "group", unit, is_quota, asked, available, kept, missing, available - kept AS over_budget,
    available_documents - kept_documents AS over_budget_documents,
    CASE WHEN is_quota THEN round(least(kept, asked) / nullif(asked, 0), 4) END AS met_fraction
FROM balance
ORDER BY missing > 0 DESC, missing / nullif(asked, 0) DESC NULLS LAST, over_budget_documents DESC, rule, "group"
