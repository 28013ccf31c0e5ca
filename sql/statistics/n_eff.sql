-- Effective number of sources, exp of the entropy of their shares: of what was read, kept, and put into each current mixture.
-- reads:  documents(source, num_bytes), ledger(step, source, outcome, bytes),
--           mixture_sources(mixture, version, is_current, source, tokens)
-- yields: n_eff(level, unit, num_sources, n_eff)
-- grain:  one row per level (read, kept, name@v<version>)
-- params: none
WITH amounts AS (
    SELECT 1 AS place, 'read' AS level, 'bytes' AS unit, source, sum(num_bytes) AS amount FROM documents GROUP BY source
    UNION ALL
    SELECT 2, 'kept', 'bytes', source, sum(bytes)
    FROM ledger
    WHERE step = 'selection' AND outcome = 'kept'
    GROUP BY source
    UNION ALL
    SELECT 3, mixture || '@v' || version, 'tokens', source, sum(tokens)
    FROM mixture_sources
    WHERE is_current
    GROUP BY mixture, version, source
), shares AS (
    SELECT place, level, unit, amount / sum(amount) OVER (PARTITION BY level) AS fraction FROM amounts WHERE amount > 0
)
SELECT level, unit, count(*) AS num_sources, round(exp(-sum(fraction * ln(fraction))), 4) AS n_eff
FROM shares
GROUP BY place, level, unit
ORDER BY place, level
