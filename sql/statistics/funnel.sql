-- What the selection did to every source: read, dropped by reason, held out, kept; fraction is of its documents.
-- reads:  ledger(step, source, outcome, reason, documents, bytes, tokens)
-- yields: funnel(source, outcome, reason, documents, fraction, bytes, tokens)
-- grain:  one row per source, outcome and reason; source (all) is the sum of all sources
-- params: $source  text = null; only this source
WITH totals AS (
    SELECT
        coalesce(source, '(all)') AS source, grouping(source) AS is_total, outcome, reason,
        sum(documents)::BIGINT AS documents, sum(bytes)::BIGINT AS bytes, sum(tokens)::BIGINT AS tokens
    FROM ledger
    WHERE step = 'selection' AND ($source IS NULL OR source = $source)
    GROUP BY GROUPING SETS ((source, outcome, reason), (outcome, reason))
)
SELECT
    source, outcome, reason, documents,
    round(documents / sum(documents) FILTER (WHERE outcome = 'in') OVER (PARTITION BY source), 4) AS fraction,
    bytes, tokens
FROM totals
ORDER BY
    is_total DESC, source, list_position(['in', 'dropped', 'cut', 'held_out', 'over_budget', 'kept'], outcome),
    documents DESC, reason
