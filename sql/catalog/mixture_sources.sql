-- What every mixture version takes from every source; a source used as domain text and as replay stands twice.
-- reads:  stored.mixture_sources(mixture, version, is_current, source, is_replay, budget_tokens, available_documents, available_tokens,
--           documents, unique_tokens, tokens, supervised_tokens, max_repeats)
-- yields: mixture_sources(mixture, version, is_current, source, is_replay, budget_tokens, available_documents, available_tokens,
--           documents, unique_tokens, tokens, supervised_tokens, max_repeats, repeated_fraction)
-- grain:  one row per mixture version, source and is_replay; repeated_fraction is of the tokens
-- params: none
SELECT
    mixture, version, is_current, source, is_replay, budget_tokens, available_documents, available_tokens,
    documents, unique_tokens, tokens, supervised_tokens, max_repeats,
    round((tokens - unique_tokens) / nullif(tokens, 0), 4) AS repeated_fraction
FROM stored.mixture_sources
