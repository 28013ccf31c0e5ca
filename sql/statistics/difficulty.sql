-- Easy, medium and hard documents of every source, and the values their bins hold.
-- reads:  stored.stage_difficulty(stage, source, difficulty__bin, difficulty__value)
-- yields: difficulty(stage, source, bin, documents, fraction, min_value, median_value, max_value)
-- grain:  one row per stage, source and bin, and of all sources together as (all); bin null: documents without a value;
--           fraction is of the source's documents
-- params: none
SELECT
    stage, coalesce(source, '(all)') AS source, difficulty__bin AS bin, count(*) AS documents,
    round(count(*) / sum(count(*)) OVER (PARTITION BY stage, source), 4) AS fraction,
    min(difficulty__value) AS min_value, quantile_disc(difficulty__value, 0.5) AS median_value,
    max(difficulty__value) AS max_value
FROM stored.stage_difficulty
GROUP BY GROUPING SETS ((stage, source, difficulty__bin), (stage, difficulty__bin))
ORDER BY stage, grouping(source) DESC, source, list_position(['easy', 'medium', 'hard'], bin) NULLS LAST
