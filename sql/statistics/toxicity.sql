-- How many documents hold an entry of the word list of their language, and how often: rates, not judgements.
-- reads:  stored.stage_toxicity(stage, source, toxicity__list, toxicity__num_hits, toxicity__rate)
-- yields: toxicity(stage, source, list, documents, documents_with_hits, hits, fraction, p90_rate, p99_rate, max_rate)
-- grain:  one row per stage, source and list; list null: documents without text or list. Rates are hits per 1,000 words,
--           fraction is of the documents of the row that have a hit
-- params: none
SELECT
    stage, source, toxicity__list AS list, count(*) AS documents,
    count(*) FILTER (WHERE toxicity__num_hits > 0) AS documents_with_hits, sum(toxicity__num_hits)::BIGINT AS hits,
    round(count(*) FILTER (WHERE toxicity__num_hits > 0) / nullif(count(toxicity__num_hits), 0), 4) AS fraction,
    quantile_disc(toxicity__rate, 0.9) AS p90_rate, quantile_disc(toxicity__rate, 0.99) AS p99_rate,
    max(toxicity__rate) AS max_rate
FROM stored.stage_toxicity
GROUP BY stage, source, toxicity__list
ORDER BY stage, source, list NULLS LAST
