-- Words of a domain that the target tokenizer breaks into most pieces, counted in a sample of its texts.
-- reads:  stored.shattered_words(stage, source, domain, word, occurrences, documents, pieces, pieces_per_occurrence,
--           extra_tokens, general_occurrences, rate_ratio, sampled_words)
-- yields: shattered_words(stage, source, domain, word, occurrences, documents, pieces, pieces_per_occurrence,
--           extra_tokens, general_occurrences, rate_ratio, sampled_words)
-- grain:  one row per stage, source, domain and word
-- params: none
SELECT
    stage, source, domain, word, occurrences, documents, pieces, pieces_per_occurrence, extra_tokens,
    general_occurrences, rate_ratio, sampled_words
FROM stored.shattered_words
