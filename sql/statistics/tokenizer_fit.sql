-- Where the target tokenizer fits worst: tokens over what the same bytes take in the general text, and the words at fault.
-- reads:  tokenizer_fit(stage, source, domain, is_general, documents, tokens, tokens_per_word, tokens_per_byte,
--           ratio_per_word, ratio_per_byte, tokens_over_general),
--         shattered_words(stage, source, domain, word, extra_tokens)
-- yields: tokenizer_fit(stage, source, domain, is_general, documents, tokens, tokens_per_word, tokens_per_byte,
--           ratio_per_word, ratio_per_byte, tokens_over_general, shattered)
-- grain:  one row per stage, source and domain; shattered: the words that cost most; domain unknown where none is stated
-- params: $words  integer = 5; words listed in each row
WITH words AS (
    SELECT stage, source, domain, word, extra_tokens,
        row_number() OVER (PARTITION BY stage, source, domain ORDER BY extra_tokens DESC, word) AS place
    FROM shattered_words
), listed AS (
    SELECT stage, source, domain, string_agg(word, ', ' ORDER BY place) AS shattered
    FROM words
    WHERE place <= $words
    GROUP BY stage, source, domain
)
SELECT
    f.stage, f.source, coalesce(f.domain, 'unknown') AS domain, f.is_general, f.documents, f.tokens,
    f.tokens_per_word, f.tokens_per_byte, f.ratio_per_word, f.ratio_per_byte, f.tokens_over_general, l.shattered
FROM tokenizer_fit AS f
LEFT JOIN listed AS l ON l.stage = f.stage AND l.source = f.source AND l.domain IS NOT DISTINCT FROM f.domain
ORDER BY f.stage, f.tokens_over_general DESC NULLS LAST, f.tokens DESC, f.source, f.domain
