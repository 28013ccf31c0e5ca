-- How much every source contributes: to what was read, to what was kept, and to each current mixture.
-- reads:  documents(source, num_bytes), ledger(step, source, outcome, documents, bytes),
--           mixture_sources(mixture, version, is_current, source, first_documents, tokens)
-- yields: source_mix(level, source, documents, amount, unit, fraction)
-- grain:  one row per level (read, kept, name@v<version>) and source; documents of a mixture count once each
-- params: none
WITH amounts AS (
    SELECT 1 AS place, 'read' AS level, source, count(*) AS documents, sum(num_bytes) AS amount, 'bytes' AS unit
    FROM documents
    GROUP BY source
    UNION ALL
    SELECT 2, 'kept', source, sum(documents), sum(bytes), 'bytes'
    FROM ledger
    WHERE step = 'selection' AND outcome = 'kept'
    GROUP BY source
    UNION ALL
    SELECT 3, mixture || '@v' || version, source, sum(first_documents), sum(tokens), 'tokens'
    FROM mixture_sources
    WHERE is_current
    GROUP BY mixture, version, source
)
SELECT
    level, source, documents::BIGINT AS documents, amount::BIGINT AS amount, unit,
    round(amount / sum(amount) OVER (PARTITION BY level), 4) AS fraction
FROM amounts
ORDER BY place, level, amount DESC, source
