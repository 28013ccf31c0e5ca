-- What domains the documents of every source have, and what decided: the source, a rule, the model, or nothing.
-- reads:  stored.stage_domain(stage, source, num_bytes, domain__label, domain__score, domain__from)
-- yields: domains(stage, source, domain, decided_by, documents, bytes, fraction, mean_score)
-- grain:  one row per stage, source, domain (null: unknown) and decided_by; fraction is of the source's bytes
-- params: $source  text = null; only this source
WITH counted AS (
    SELECT
        stage, source, domain__label AS domain, domain__from AS decided_by, count(*) AS documents,
        sum(num_bytes)::BIGINT AS bytes,
        -- Ten-thousandths are integers: their sum is the same in any order.
        round(avg(round(domain__score * 10000)::BIGINT) / 10000, 4) AS mean_score
    FROM stored.stage_domain
    WHERE $source IS NULL OR source = $source
    GROUP BY stage, source, domain__label, domain__from
)
SELECT
    stage, source, domain, decided_by, documents, bytes,
    round(bytes / nullif(sum(bytes) OVER (PARTITION BY stage, source), 0), 4) AS fraction, mean_score
FROM counted
ORDER BY stage, source, bytes DESC, domain NULLS LAST, decided_by
