-- Quality scores of every source in ten bins: documents per tenth of the score, and their share of the source's scored documents.
-- reads:  annotations(source, quality__score, ...)
-- yields: quality(source, score_from, documents, fraction)
-- grain:  one row per source and tenth that has documents; score_from null are those without a score
-- params: none
WITH binned AS (
    SELECT
        source, count(*) AS documents,
        CASE WHEN quality__score >= 0.9 THEN 0.9 ELSE floor(quality__score * 10 + 1e-9)::DOUBLE / 10 END AS score_from
    FROM annotations
    GROUP BY ALL
)
SELECT
    source, score_from, documents,
    CASE
        WHEN score_from IS NOT NULL
            THEN round(documents / sum(documents) FILTER (WHERE score_from IS NOT NULL) OVER (PARTITION BY source), 4)
    END AS fraction
FROM binned
ORDER BY source, score_from NULLS LAST
