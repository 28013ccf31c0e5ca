-- What every mixture version takes from every source; a source used as domain text and as replay stands twice.
-- reads:  stored.mixture_sources(mixture, version, is_current, source, is_replay, budget_tokens, available_documents, available_tokens,
--           documents, unique_tokens, tokens, supervised_tokens, max_repeats)
-- yields: mixture_sources(mixture, version, is_current, source, is_replay, budget_tokens, available_documents, available_tokens,
--           documents, unique_tokens, tokens, supervised_tokens, max_repeats)
-- grain:  one row per mixture version, source and is_replay
-- params: none
SELECT
    mixture, version, is_current, source, is_replay, budget_tokens, available_documents, available_tokens,
    documents, unique_tokens, tokens, supervised_tokens, max_repeats
FROM stored.mixture_sources
