-- Sources whose documents, bytes or tokens do not add up: in is not kept + dropped + cut + held out + over budget.
-- reads:  ledger(step, source, outcome, documents, bytes, tokens)
-- yields: ledger_balances(step, source, unit, came_in, accounted_for)
-- grain:  one row per step, source and unit that does not balance; none where all is well
-- params: none
WITH amounts AS (
    SELECT step, source, outcome, 'documents' AS unit, documents AS amount FROM ledger
    UNION ALL
    SELECT step, source, outcome, 'bytes', bytes FROM ledger
    UNION ALL
    SELECT step, source, outcome, 'tokens', tokens FROM ledger WHERE tokens IS NOT NULL
), sums AS (
    SELECT
        step, source, unit, coalesce(sum(amount) FILTER (WHERE outcome = 'in'), 0)::BIGINT AS came_in,
        coalesce(sum(amount) FILTER (WHERE outcome <> 'in'), 0)::BIGINT AS accounted_for
    FROM amounts
    GROUP BY step, source, unit
)
SELECT step, source, unit, came_in, accounted_for FROM sums WHERE came_in <> accounted_for ORDER BY step, source, unit
