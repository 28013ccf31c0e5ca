-- How many tokens the target tokenizer needs for the text of every source and domain, against the general text.
-- reads:  stored.tokenizer_fit(stage, source, domain, is_general, documents, bytes, words, tokens, tokens_per_word,
--           tokens_per_byte, bytes_per_token, ratio_per_word, ratio_per_byte, tokens_over_general)
-- yields: tokenizer_fit(stage, source, domain, is_general, documents, bytes, words, tokens, tokens_per_word,
--           tokens_per_byte, bytes_per_token, ratio_per_word, ratio_per_byte, tokens_over_general)
-- grain:  one row per stage, source and domain that has text
-- params: none
SELECT
    stage, source, domain, is_general, documents, bytes, words, tokens, tokens_per_word, tokens_per_byte,
    bytes_per_token, ratio_per_word, ratio_per_byte, tokens_over_general
FROM stored.tokenizer_fit
