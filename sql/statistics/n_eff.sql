-- Effective number of sources, exp of the entropy of their shares: of what was read, kept, and put into each current mixture.
-- reads:  documents(source, num_bytes), ledger(step, source, outcome, documents, bytes, tokens),
--           mixture_sources(mixture, version, is_current, source, first_documents, first_tokens, tokens)
-- yields: n_eff(level, unit, num_sources, n_eff)
-- grain:  one row per level (read, kept, name@v<version>) and unit: documents, bytes, tokens; unique_tokens of a mixture
--           count a document once, however often it is used. Units that nobody counted are left out
-- params: none
WITH levels AS (
    SELECT 1 AS place, 'read' AS level, source, count(*) AS documents, sum(num_bytes)::BIGINT AS bytes, NULL::BIGINT AS tokens,
        NULL::BIGINT AS unique_tokens
    FROM documents
    GROUP BY source
    UNION ALL
    SELECT 1, 'read', source, NULL, NULL, tokens, NULL FROM ledger WHERE step = 'selection' AND outcome = 'in'
    UNION ALL
    SELECT 2, 'kept', source, documents, bytes, tokens, NULL FROM ledger WHERE step = 'selection' AND outcome = 'kept'
    UNION ALL
    SELECT 3, mixture || '@v' || version, source, first_documents, NULL, tokens, first_tokens
    FROM mixture_sources
    WHERE is_current
), amounts AS (
    SELECT place, level, list_position(['documents', 'bytes', 'tokens', 'unique_tokens'], unit) AS unit_place, unit,
        source, sum(amount) AS amount
    FROM levels UNPIVOT (amount FOR unit IN (documents, bytes, tokens, unique_tokens))
    GROUP BY place, level, unit, source
    HAVING sum(amount) > 0
), shares AS (
    SELECT *, amount / sum(amount) OVER (PARTITION BY level, unit) AS fraction FROM amounts
)
SELECT
    -- Summed in one order, and so to the same bits.
    level, unit, count(*) AS num_sources, round(exp(-sum(fraction * ln(fraction) ORDER BY amount, source)), 4) AS n_eff
FROM shares
GROUP BY place, level, unit_place, unit
ORDER BY place, level, unit_place
