-- Quality scores of every source in ten bins: documents per tenth of the score, and their share of the source's scored documents.
-- reads:  stored.stage_quality(stage, source, quality__score)
-- yields: quality(stage, source, score_from, documents, fraction)
-- grain:  one row per stage, source and tenth that has documents; score_from null are those without a score
-- params: $source  text = null; only this source
WITH binned AS (
    SELECT
        stage, source, count(*) AS documents,
        CASE WHEN quality__score >= 0.9 THEN 0.9 ELSE floor(quality__score * 10 + 1e-9)::DOUBLE / 10 END AS score_from
    FROM stored.stage_quality
    WHERE $source IS NULL OR source = $source
    GROUP BY ALL
)
SELECT
    stage, source, score_from, documents,
    CASE
        WHEN score_from IS NOT NULL
            THEN round(
                documents / sum(documents) FILTER (WHERE score_from IS NOT NULL) OVER (PARTITION BY stage, source), 4
            )
    END AS fraction
FROM binned
ORDER BY stage, source, score_from NULLS LAST
